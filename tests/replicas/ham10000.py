"""HAM10000: lesions with two images each, masks three times as large as images, some with an inverted palette.

Sexes and sites may be ``unknown``; one age is empty; ages are multiples of 5, as published.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")


def make(folder: Path, images: int = 84) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    masks = folder / "HAM10000_segmentations_lesion_tschandl"
    (folder / "HAM10000_images").mkdir(parents=True)
    masks.mkdir()
    rows = []
    for number in range(images):
        name = f"ISIC_00{number:05d}"
        pixels = np.random.default_rng(number).integers(0, 256, (15, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "HAM10000_images" / f"{name}.jpg")
        _mask(masks / f"{name}_segmentation.png", inverted=number % 3 == 0)
        lesion = f"HAM_{number // 2:07d}"
        age = "" if number == 3 else f"{min(5.0 * number, 85.0)}"
        sex = ("male", "female", "unknown")[number % 3]
        site = "unknown" if number == 5 else "back"
        rows.append((lesion, name, DIAGNOSES[number // 2 % 7], "histo", age, sex, site, "rosendahl"))
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return {"raw": folder}


def _mask(path: Path, *, inverted: bool) -> None:
    """Write a mask; 402 of the published ones are palette images whose palette is inverted."""
    mask = np.zeros((45, 60), np.uint8)
    mask[15:30, 15:45] = 255
    if not inverted:
        Image.fromarray(mask).save(path)
        return
    image = Image.fromarray((mask == 0).astype(np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(path)
