"""ChestX-ray14 of 2020: one table with CRLF and commas in its header, images in numbered folders, two lists of the split.

60 patients, every third with a follow-up whose labels differ. Odd on purpose: some images are RGBA, one age is written 058Y,
one is 411 (as in the release of 2017), one is 0, and lists that name images of the whole release that are not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from replicas._cxr import picture, save

PEOPLE = range(1, 61)
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
LABELS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Effusion", "Pneumonia", "Pneumothorax"),
    *(
        "No Finding",
        "No Finding",
        "Cardiomegaly|Effusion|Pleural_Thickening",
        "Infiltration|Mass|Nodule|Edema|Emphysema|Fibrosis|Hernia",
    ),
)
TEXTUAL_AGE, IMPOSSIBLE_AGE, AGE_ZERO = {5: "058Y"}, {14: "411"}, {20: "0"}


def make(folder: Path) -> dict[str, Any]:
    """Write the publisher's folder and return the adapter's options."""
    root = folder / "NIH"
    rows, lists = [HEADER], {"train_val_list.txt": ["00099999_000.png"], "test_list.txt": []}
    for number in PEOPLE:
        for follow_up in (0, 1) if number % 3 == 0 else (0,):
            name = f"{number:08d}_{follow_up:03d}.png"
            found = labels(number, follow_up)
            width, height = 2500 + number, 2048
            view = ("PA", "AP")[number % 2]
            facts = [name, found, str(follow_up), str(number), age(number), "MF"[number // 3 % 2], view]
            rows.append(",".join([*facts, str(width), str(height), "0.168", "0.171"]))
            lists["test_list.txt" if number % 4 == 3 else "train_val_list.txt"].append(name)
            pixels = picture(number, sick=found != "No Finding", height=48)
            if number % 9 == 4:
                pixels = np.dstack([pixels, pixels, pixels, np.full_like(pixels, 255)])
            save(root / f"images_{1 + number % 2:03d}" / "images" / name, pixels)
    (root / "Data_Entry_2017_v2020.csv").write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    for name, images in lists.items():
        (root / name).write_text("".join(f"{image}\n" for image in images))
    return {"raw": root}


def labels(number: int, follow_up: int) -> str:
    """Return the cell ``Finding Labels``."""
    return LABELS[(number + 3 * follow_up) % len(LABELS)]


def age(number: int) -> str:
    """Return the cell ``Patient Age``; some people are 60."""
    return (TEXTUAL_AGE | IMPOSSIBLE_AGE | AGE_ZERO | {9: "60", 10: "60"}).get(
        number, str(5 + number * 17 % 90)
    )
