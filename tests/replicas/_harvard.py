"""People and eyes of the Harvard group's replicas."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PEOPLE = 36
#: Column ``use`` of the tables -> the folder of that part.
FOLDERS = {"training": "Training", "validation": "Validation", "test": "Test"}
_WORDS = {
    "race": ("asian", "black", "white"),
    "ethnicity": ("non-hispanic", "hispanic", "unknown"),
    "language": ("english", "spanish", "other", "unknown"),
    "maritalstatus": (
        *("married or partnered", "single", "divorced", "widowed", "legally separated", "unknown"),
    ),
}


def codes(number: int) -> dict[str, int]:
    """Return a person's facts as the archives code them; -1 is unknown."""
    return {
        "gender": number % 2,
        "race": (2, 2, 1, 2, 0)[number % 5],
        "ethnicity": -1 if number % 12 == 7 else int(number % 9 == 4),
        "language": {3: -1, 6: 1, 9: 2}.get(number % 10, 0),
        "maritalstatus": number % 6 if number % 6 < 5 else -1,
        "glaucoma": number // 2 % 2,
    }


def age(number: int) -> float:
    """Return a person's age in years: every sixth is exactly 60."""
    return 60.0 if number % 6 == 5 else round(18.31 + number * 13 % 70, 2)


def use(number: int) -> str:
    """Return the part that a person belongs to; parts are runs of numbers, as the publisher has them."""
    return "training" if number <= 18 else "validation" if number <= 24 else "test"


def words(number: int) -> dict[str, str]:
    """Return a person's row of a summary table, without the disease."""
    coded = codes(number)
    facts = {name: texts[coded[name]] for name, texts in _WORDS.items()}
    sex = ("female", "male")[coded["gender"]]
    return {"age": f"{age(number):.2f}", "gender": sex, **facts, "use": use(number)}


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as the publisher's CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def eye(number: int, shape: tuple[int, int], *, ill: bool) -> np.ndarray:
    """Return ``[H, W]`` uint8: a shade, a disc, and in it a bright cup that is larger in an ill eye."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    shade = 40 + 60 * columns / shape[1] + number
    distance = np.hypot(rows - shape[0] * 0.5, columns - shape[1] * 0.6) / min(shape)
    return (shade + 60 * (distance < 0.3) + 60 * (distance < (0.22 if ill else 0.12))).astype(np.uint8)


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a grey JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def save_archive(path: Path, **arrays: Any) -> None:
    """Write an archive, clinical notes included: NumPy pickles texts of kind object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, note=np.array("the note of nobody", dtype=object), **arrays)
