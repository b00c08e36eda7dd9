"""Train the two shipped models anew: ``python -m evaluator.models.tiny.train [--only clip|sam] [--out DIR]``.

Guarantee: the same command on the same kind of processor with the same library versions writes the same
weights, however many cores there are: each model is trained on one thread, both at once. Training subjects
have seeds that no dataset can use. Each ``.safetensors`` comes with a ``.json`` record: how it was trained,
how good it is, and its sha256, which the model's card demands when loading.
"""

from __future__ import annotations

import argparse
import logging
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evaluator.models.tiny.train_clip import ClipTraining, draw_pool, train_clip
from evaluator.models.tiny.train_sam import SamTraining, train_sam
from evaluator.models.tiny.validation import validate_clip, validate_sam
from shards.files import sha256_file, write_atomically, write_json

if TYPE_CHECKING:
    from torch.nn import Module

_LIBRARIES = ("torch", "numpy", "pillow", "open_clip_torch", "segment-anything", "safetensors")
#: Steps over which the first and last losses are averaged.
_WINDOW = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what was asked for and write weights and records."""
    parser = argparse.ArgumentParser(prog="python -m evaluator.models.tiny.train", description=__doc__)
    parser.add_argument("--only", choices=("clip", "sam"), help="train one of the two")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--seed", type=int, default=1, help="another seed trains other weights")
    chosen = parser.parse_args(arguments)
    names = [chosen.only] if chosen.only else sorted(_TRAININGS)
    with ProcessPoolExecutor(len(names), mp_context=get_context("spawn")) as processes:
        running = [processes.submit(train_one, name, chosen.seed, chosen.out) for name in names]
        for result in running:
            result.result()


def train_one(name: str, seed: int, out: Path) -> None:
    """Train one of the models on one thread, so that the result does not depend on the number of cores."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    _TRAININGS[name](seed, out)


def _clip(seed: int, out: Path) -> None:
    training = ClipTraining(seed=seed)
    model, losses = train_clip(training, draw_pool(training))
    _write("tiny-clip", model, losses, asdict(training), validate_clip(model, training), out)


def _sam(seed: int, out: Path) -> None:
    training = SamTraining(seed=seed)
    model, losses = train_sam(training)
    _write("tiny-sam", model, losses, asdict(training), validate_sam(model, training), out)


def _write(
    name: str,
    model: Module,
    losses: list[float],
    training: dict[str, Any],
    validation: dict[str, float],
    out: Path,
) -> None:
    from safetensors.torch import save

    weights = out / f"{name}.safetensors"
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    write_atomically(weights, lambda file: _write_bytes(file, content))
    record = {
        "model": name,
        "sha256": sha256_file(weights),
        "training": training,
        "loss": {"first": _mean(losses[:_WINDOW]), "last": _mean(losses[-_WINDOW:])},
        "validation": {key: round(value, 4) for key, value in validation.items()},
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }
    write_json(out / f"{name}.json", record)


def _write_bytes(file: Any, content: bytes) -> None:
    file.write(content)


def _mean(losses: list[float]) -> float:
    return round(float(np.mean(losses)), 4)


_TRAININGS: dict[str, Callable[[int, Path], None]] = {"clip": _clip, "sam": _sam}

if __name__ == "__main__":
    main()
