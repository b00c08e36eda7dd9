"""Fitzpatrick17k: 60 photos with skin types by two annotators who disagree, quality flags, a row without an address.

``folder`` is where the images lie below the raw folder.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLUMNS = (
    *("md5hash", "fitzpatrick_scale", "fitzpatrick_centaur", "label", "nine_partition_label"),
    *("three_partition_label", "qc", "url", "url_alphanum"),
)
#: (condition, nine, three) as the publisher groups them.
CONDITIONS = (
    ("psoriasis", "inflammatory", "non-neoplastic"),
    ("squamous cell carcinoma", "malignant epidermal", "malignant"),
    ("vitiligo", "inflammatory", "non-neoplastic"),
    ("seborrheic keratosis", "benign epidermal", "benign"),
    ("melanoma", "malignant melanoma", "malignant"),
    ("ichthyosis vulgaris", "genodermatoses", "non-neoplastic"),
)
QC = {4: "1 Diagnostic", 9: "3 Wrongly labelled", 14: "5 Potentially", 20: "4 Other"}
PHOTOS = 60
#: Nobody could download it: its row has no address, and there is no file.
WITHOUT_ADDRESS = 31
#: The same picture under two names, and one of another quality.
TWINS = (40, 46)


def md5(photo: int) -> str:
    """Return a photo's name."""
    return hashlib.md5(str(photo).encode(), usedforsecurity=False).hexdigest()


def scale(photo: int) -> int:
    """Return Scale AI's skin type; -1 is unknown."""
    return -1 if photo % 20 == 7 else 1 + photo * 5 % 6


def centaur(photo: int) -> int:
    """Return that of Centaur Labs, which is lighter where they disagree."""
    return -1 if photo % 15 == 3 else max(1, scale(photo) - (photo % 3 == 0)) if scale(photo) > 0 else 2


def make(folder: Path, images: str = "images") -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    (folder / images).mkdir(parents=True)
    with (folder / "fitzpatrick17k.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for photo in range(PHOTOS):
            condition = CONDITIONS[photo // 6 % 6]
            url = "" if photo == WITHOUT_ADDRESS else f"https://example.org/{condition[0]}/{photo}.jpg"
            address = "".join(c for c in url if c.isalnum()) + (".jpg" if url else "")
            kinds = (scale(photo), centaur(photo))
            writer.writerow([md5(photo), *kinds, *condition, QC.get(photo, ""), url, address])
            if url:
                _photo(folder / images / f"{md5(photo)}.jpg", photo)
    return {"raw": folder}


def _photo(path: Path, photo: int) -> None:
    look = TWINS[0] if photo in TWINS else photo
    rows, columns = np.mgrid[: 30 + look % 5, :40]
    skin = 235 - 28 * max(scale(look), 1)
    lesion = np.hypot(rows - 10 - look % 9, columns - 20) < 4 + look % 5
    red = skin + columns // 2 - 60 * lesion
    image = np.stack([red, red - 20 - 10 * lesion, red - 40], axis=2)
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=95 if photo == look else 80)
