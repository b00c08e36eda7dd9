"""Train the two shipped models anew: ``python -m evaluator.models.tiny.train [--only clip|sam] [--out DIR]``.

Guarantee: the same command on the same machine, library versions and number of threads writes the same
weights; other machines come close. Training subjects have seeds that no dataset can use. Each
``.safetensors`` comes with a ``.json`` record: how it was trained, how good it is, its sha256 (which the
model's card demands when loading).
"""

from __future__ import annotations

import argparse
import logging
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
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
    parser.add_argument("--threads", type=int, default=2, help="torch threads (changes the last digits)")
    parser.add_argument("--seed", type=int, default=1, help="another seed trains other weights")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(chosen.threads)
    torch.use_deterministic_algorithms(True)
    if chosen.only in (None, "clip"):
        write_clip(ClipTraining(seed=chosen.seed), chosen.out)
    if chosen.only in (None, "sam"):
        write_sam(SamTraining(seed=chosen.seed), chosen.out)


def write_clip(training: ClipTraining, out: Path) -> None:
    """Train and validate ``tiny-clip``; write ``tiny-clip.safetensors`` and ``tiny-clip.json``."""
    model, losses = train_clip(training, draw_pool(training))
    _write("tiny-clip", model, losses, asdict(training), validate_clip(model, training), out)


def write_sam(training: SamTraining, out: Path) -> None:
    """Train and validate ``tiny-sam``; write ``tiny-sam.safetensors`` and ``tiny-sam.json``."""
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
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {library: version(library) for library in _LIBRARIES},
    }
    write_json(out / f"{name}.json", record)


def _write_bytes(file: Any, content: bytes) -> None:
    file.write(content)


def _mean(losses: list[float]) -> float:
    return round(float(np.mean(losses)), 4)


if __name__ == "__main__":
    main()
