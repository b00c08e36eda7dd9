"""Thyroid ultrasound cine-clips: 37 nodules with three or so frames each, in both layouts.

``arrays``: the publisher's ``dataset.hdf5`` and ``metadata.csv``; names end with an underscore, frames of a clip follow each
other. ``folders``: a part of the frames as files, with ``meta.csv``. Age, location and single TI-RADS values are missing here
and there; two nodules are of one patient.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

COLUMNS = (
    *("annot_id", "age", "sex", "location", "size_x", "size_y", "size_z", "ti-rads_level"),
    *("ti-rads_composition", "ti-rads_echogenicity", "ti-rads_shape", "ti-rads_margin"),
    *("ti-rads_echogenicfoci", "histopath_diagnosis"),
)
SHAPE = (40, 48)
NUMBERS = (*range(3, 39), 103)
#: The second nodule of patient 103.
SECOND = "103_2_"
ANNOTATIONS = (*(f"{number}_" for number in NUMBERS), SECOND)


def number_of(annot_id: str) -> int:
    """Return the patient's number."""
    return int(annot_id.split("_")[0])


def frames_of(annot_id: str) -> int:
    """Return how many frames a clip has."""
    return 2 + number_of(annot_id) % 2


def sex(number: int) -> str:
    """Return Female or Male, one man in four."""
    return "Male" if number % 4 == 1 else "Female"


def age(number: int) -> str:
    """Return an age in years; empty for one, 60 for some."""
    return "" if number == 8 else "60" if number % 9 == 4 else str(21 + number * 11 % 60)


def malignant(number: int) -> int:
    """Return the tissue diagnosis."""
    return int(number // 4 % 3 == 1)


def frame(annot_id: str, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame and its outline, which moves along the clip."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    number = number_of(annot_id) + len(annot_id)
    nodule = np.hypot(rows - 20, columns - 18 - 3 * place) < 5 + number % 4
    speckle = (rows * 13 + columns * (7 + number)) % 17
    image = 70 + rows + 2 * speckle - (45 if malignant(number_of(annot_id)) else 25) * nodule + place
    return image.clip(0, 255).astype(np.uint8), nodule.astype(np.uint8) * 255


def frames() -> list[tuple[str, int]]:
    """Return (annot_id, place in its clip) of all frames, in the order of the publisher's file."""
    return [(name, place) for name in sorted(ANNOTATIONS) for place in range(frames_of(name))]


def make(folder: Path, layout: Literal["arrays", "folders"] = "arrays") -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ("metadata.csv" if layout == "arrays" else "meta.csv")).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in ANNOTATIONS:
            number = number_of(name)
            place = "" if number == 5 else ("left lobe", "right lobe", "isthmus")[number % 3]
            sizes = (f"{1 + number % 3}.2", "0.9", f"{number % 2}.8")
            shown = (2 + number % 4, 2, 1, 0, 0, "" if number == 6 else number % 2 * 3)
            writer.writerow([name, age(number), sex(number), place, *sizes, *shown, malignant(number)])
    (_write_arrays if layout == "arrays" else _write_folders)(folder)
    return {"raw": folder}


def _write_arrays(folder: Path) -> None:
    import h5py

    pairs = [frame(*one) for one in frames()]
    with h5py.File(folder / "dataset.hdf5", "w") as file:
        file["annot_id"] = [name.encode() for name, _ in frames()]
        for name, stack in zip(("image", "mask"), zip(*pairs, strict=True), strict=True):
            file.create_dataset(name, data=np.stack(stack), chunks=(1, *SHAPE), compression="gzip")


def _write_folders(folder: Path) -> None:
    for part in ("image", "label"):
        (folder / part).mkdir()
    for name, place in frames():
        for part, pixels in zip(("image", "label"), frame(name, place), strict=True):
            Image.fromarray(pixels).save(folder / part / f"{name}{place}.png")
