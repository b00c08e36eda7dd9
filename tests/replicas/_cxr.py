"""Pictures and labels of the chest X-ray replicas."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: Labels of the CheXpert labeller in the order of CheXpert's tables.
LABELS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)


def picture(number: int, *, sick: bool, height: int = 40, width: int = 48) -> np.ndarray:
    """Return ``[height, width]`` uint8: two dark lungs on a bright body and, in the sick, a bright spot in one lung."""
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    grey = 120 + 60 * rows + 3 * (number % 7)
    for centre in (0.3, 0.7):
        grey -= 90 * (((columns - centre) / 0.16) ** 2 + ((rows - 0.5) / 0.35) ** 2 < 1)
    if sick:
        grey += 80 * ((columns - 0.3) ** 2 + (rows - 0.4 - 0.02 * (number % 5)) ** 2 < 0.006)
    return np.clip(grey, 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    """Save a picture as its name says, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def codes(number: int) -> dict[str, str]:
    """Return a study's row of labels: health of every other pair of people, else findings of all codes and blanks."""
    if number // 2 % 2:
        return {**dict.fromkeys(LABELS, ""), "No Finding": "1.0"}
    made = {
        label: ("", "1.0", "0.0", "-1.0")[(number // 4 + 3 * place) % 4] for place, label in enumerate(LABELS)
    }
    return {**made, "No Finding": ""}


def table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a CSV file, gzipped if its name says so."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
