"""OL3I: 40 CT slices in Hounsfield units with padding of -3024 and metal above 1000, and the publisher's two splits.

The splits for one and for five years differ, the label for five years is missing for a third, one BMI is missing.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = ("anon_id", "age", "sex", "bmi", "smoker", "label_1y", "set_1y", "label_5y", "set_5y", "followup")
PEOPLE = range(40)
SHAPE = (40, 40)


def name_of(person: int) -> str:
    """Return an anonymous id."""
    return hashlib.sha256(f"anon {person}".encode()).hexdigest()[:12]


def sex(person: int) -> str:
    """Return male or female."""
    return ("male", "female")[person // 2 % 2]


def label(person: int, horizon: str) -> str:
    """Return 0 or 1; empty where nobody was followed so long."""
    if horizon == "5y" and person % 3 == 2:
        return ""
    return str(int(person % 7 == 1 or (horizon == "5y" and person % 5 == 1)))


def part(person: int, horizon: str) -> str:
    """Return train, val or test; the sets for five years are others, and hold only those with a label."""
    if horizon == "5y" and not label(person, horizon):
        return ""
    place = person if horizon == "1y" else 39 - person
    return "train" if place < 20 else "val" if place < 30 else "test"


def units(person: int) -> np.ndarray:
    """Return a slice in Hounsfield units."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    body = np.hypot((rows - 20) / 0.8, columns - 20) < 18
    slice_ = np.where(body, -90 + rows + person, -1000)
    slice_[np.hypot(rows - 27, columns - 20) < 4] = 40 + 300 * int(label(person, "1y"))
    slice_[np.hypot(rows - 20, columns - 20) > 24] = -3024  # outside of the scanner's circle
    slice_[18:20, 18:20] = 3071  # metal
    return slice_.astype(np.int16)


def make(folder: Path) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clinical_data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for person in PEOPLE:
            bmi = "" if person == 4 else f"{18 + person % 20}.5"
            truth = [f(person, horizon) for horizon in ("1y", "5y") for f in (label, part)]
            row = [name_of(person), 30 + person * 7 % 60, sex(person), bmi, person % 2, *truth, person * 30]
            writer.writerow(row)
    with h5py.File(folder / "l3_slices.h5", "w") as file:
        for person in PEOPLE:
            file[name_of(person)] = units(person)
    return {"raw": folder}
