"""What a worker keeps between items: the model it holds, and the datasets it has opened.

A worker holds one model at a time, because memory is what limits a worker; the scheduler sends it items of that model first.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.task import Task
from shards.dataset import Dataset, open_dataset
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.models.interfaces import ImageEncoder, PromptableSegmenter, VisionLanguageModel


class Workshop:
    """Models and datasets of one worker process.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device
        self._held: tuple[tuple[str, str, str], Any] | None = None
        self._datasets: dict[tuple[Path | str, str], Dataset] = {}
        self._remembered: tuple[str, Any] | None = None
        self.load_seconds = 0.0

    def dataset(self, task: Task) -> Dataset:
        """Open the dataset of a task, once per worker and content."""
        path = task.inputs.shards
        key = (path, str(task.identity["dataset"]))
        if key not in self._datasets:
            dataset = open_dataset(path)
            if dataset.fingerprint != key[1]:
                raise UserError(
                    f"{path} on {socket.gethostname()} holds other samples (fingerprint {dataset.fingerprint[:16]}) than were "
                    f"planned ({key[1][:16]}). Put the dataset on storage that all machines share, and run again."
                )
            self._datasets[key] = dataset
        return self._datasets[key]

    def model(self, task: Task) -> Any:
        """Return the task's model, loading it if another one (or none) is held."""
        inputs = task.inputs
        if inputs.card is None or inputs.weights is None:
            raise ValueError(f"task {task.id} needs no model")
        key = (inputs.card.name, inputs.weights.sha256, inputs.precision)
        if self._held is None or self._held[0] != key:
            self._held = None  # frees the old model before the new one takes its place
            started = time.perf_counter()
            self._held = (key, self._load(task))
            self.load_seconds = time.perf_counter() - started
        return self._held[1]

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """Return what `make` gave for this key; the last key only, because items of one task follow each other."""
        if self._remembered is None or self._remembered[0] != key:
            self._remembered = (key, make())
        return self._remembered[1]

    def _load(self, task: Task) -> ImageEncoder | VisionLanguageModel | PromptableSegmenter:
        import torch

        from evaluator.models.loading import load_model

        # One thread a worker: results must not depend on how many cores a machine has, and workers are the parallelism.
        torch.set_num_threads(1)
        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        inputs = task.inputs
        assert inputs.card is not None  # noqa: S101 - checked by model()
        assert inputs.weights is not None  # noqa: S101
        return load_model(inputs.card, inputs.weights, device=device, precision=inputs.precision)
