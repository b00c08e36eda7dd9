"""Registry entries of the two shipped models. Reads their training records; imports no torch.

The record is written by the training command together with the weights, so the hash that a loader demands is
the one of the file that was trained.
"""

from __future__ import annotations

import json
from pathlib import Path

from evaluator.models.card import ModelCard, Preprocessing, Weights

FOLDER = Path(__file__).parent

_NOTES = (
    "Test equipment: a few hundred thousand parameters trained on generated phantoms, useless in medicine.",
    "Its training phantoms come from the same generators as the phantom datasets, but show other subjects.",
)


def record_file(name: str) -> Path:
    """Return where the training record of a tiny model lies."""
    return FOLDER / f"{name}.json"


def _weights(name: str) -> Weights:
    record = json.loads(record_file(name).read_text(encoding="utf-8"))
    return Weights(file=f"{name}.safetensors", sha256=str(record["sha256"]), shipped=True)


TINY_CARDS: tuple[ModelCard, ...] = (
    ModelCard(
        name="tiny-clip",
        family="openclip",
        architecture="tiny-clip",
        weights=_weights("tiny-clip"),
        preprocessing=Preprocessing(
            size=64,
            resize="shortest-crop",
            interpolation="bicubic",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        licence="Apache-2.0",
        abilities=frozenset({"encode", "text"}),
        feature="mean of patch tokens before the projection",
        dimension=96,
        projected=64,
        context_length=80,
        trained_on=("phantom-cxr", "phantom-fundus"),
        gflops=0.06,
        notes=_NOTES,
    ),
    ModelCard(
        name="tiny-sam",
        family="sam",
        architecture="tiny-sam",
        weights=_weights("tiny-sam"),
        preprocessing=Preprocessing(
            size=128,
            resize="longest-pad",
            interpolation="bilinear",
            mean=(123.675 / 255, 116.28 / 255, 103.53 / 255),
            std=(58.395 / 255, 57.12 / 255, 57.375 / 255),
        ),
        licence="Apache-2.0",
        abilities=frozenset({"encode", "segment"}),
        feature="mean over positions of the image embedding after the neck",
        dimension=64,
        prompts=("center", "rand", "rands", "bbox"),
        mask_threshold=0.0,
        trained_on=("phantom-cxr", "phantom-fundus"),
        gflops=0.3,
        notes=_NOTES,
    ),
)
