"""Harvard-FairSeg: 36 archives with one of three sets of names, and what goes with each.

``documented``: five digits, codes as documented, ages in years, a summary table. ``code``: what the FairSeg code reads: six
digits, the hospital's codes of race, ages in days, no table, lists of train and test. ``script``: what FairMedFM's script
reads: six digits, pixels only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from replicas import _harvard as harvard

Release = Literal["documented", "code", "script"]
SHAPE = (30, 40)
_RECORD_RACE = (2, 3, 7)


def outlines(number: int) -> np.ndarray:
    """Return ``[30, 40]`` int16: 0, -1 in the rim of the disc, -2 in the cup."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(rows - 14, columns - 22)
    mask = np.zeros(SHAPE, np.int16)
    mask[distance < 10] = -1
    mask[distance < 3 + number % 4] = -2
    return mask


def make(folder: Path, release: Release = "documented") -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {number: f"data_{number:0{5 if release == 'documented' else 6}d}.npz" for number in range(1, 37)}
    for number, name in names.items():
        image = harvard.eye(number, SHAPE, ill=number % 4 > 1)
        coded = harvard.codes(number)
        coded.pop("glaucoma")
        if release == "documented":
            coded["age"] = harvard.age(number)
            arrays = {"slo_fundus": image, "disc_cup_mask": outlines(number), **coded}
        elif release == "code":
            arrays = {"fundus_slo": image.astype(np.float64), "disc_cup": outlines(number), **coded}
            arrays |= {"hispanic": arrays.pop("ethnicity"), "race": _RECORD_RACE[coded["race"]]}
            arrays |= {"age": round(harvard.age(number) * 365.2425), "pid": f"{number}_OD", "md": -2.5}
        else:
            arrays = {"fundus": image, "disc_cup_borders": outlines(number).astype(np.float64)}
        harvard.save_archive(folder / name, **arrays)
    if release == "documented":
        rows = [{"filename": name, **harvard.words(number)} for number, name in names.items()]
        for row in rows:
            del row["use"]
        harvard.write_table(folder / "ReadMe" / "data_summary.csv", rows)
    if release == "code":
        lists = folder / "lists" / "FairSeg_final"
        lists.mkdir(parents=True)
        # Nobody sorted them, and the publisher's have no val.
        train = [name for number, name in names.items() if number % 5]
        (lists / "train.txt").write_text("\n".join(sorted(train, reverse=True)) + "\n")
        (lists / "test.txt").write_text("".join(f"{name}\n" for name in names.values() if name not in train))
    return {"raw": folder}
