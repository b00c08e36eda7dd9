"""Duke SD-OCT: 38 MATLAB files in ``AMD`` and ``Control``, whose subjects both count from 1001.

Volumes are rows x columns x B-scans. Most are whole numbers saved as doubles; one holds fractions, one is a MATLAB 7.3 file,
one has no age. Thickness maps lie beside the volume.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (24, 32, 5)
#: Group -> number of subjects.
GROUPS = {"AMD": 24, "Control": 14}
#: Saved by a newer MATLAB, as HDF5.
NEWER = ("AMD", 1003)
#: Holds fractions from 0 to 1.
FRACTIONS = ("AMD", 1004)
#: Its age is empty.
NO_AGE = ("Control", 1002)


def name_of(group: str, number: int) -> str:
    """Return a file's name without its ending."""
    return f"Farsiu_Ophthalmology_2013_{group}_Subject_{number}"


def subjects() -> list[tuple[str, int]]:
    """Return (group, number) of everybody."""
    return [(group, 1001 + place) for group, count in GROUPS.items() for place in range(count)]


def age(group: str, number: int) -> int:
    """Return an age in years, 55 to 85; some are exactly 70, some 75."""
    return {0: 70, 1: 75}.get(number % 6, 55 + (number * 7 + len(group)) % 31)


def volume(group: str, number: int) -> np.ndarray:
    """Return [rows, columns, B-scans] of bright layers, which drusen lift in AMD."""
    rows, columns, scans = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    bump = (group == "AMD") * 4 * np.exp(-((columns - 10 - scans) ** 2) / 12)
    layer = np.abs(rows - 14 + bump) < 2
    whole = 20 + rows + 3 * scans + 150 * layer + number % 5
    return whole / 255 if (group, number) == FRACTIONS else whole.astype(np.float64)


def make(folder: Path) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    import scipy.io

    for group, number in subjects():
        path = folder / group / f"{name_of(group, number)}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "images": volume(group, number),
            "layerMaps": np.full((SHAPE[2], SHAPE[1], 3), np.nan),
            "Age": np.zeros((0, 0)) if (group, number) == NO_AGE else float(age(group, number)),
        }
        if (group, number) == NEWER:
            write_newer(path, values)
        else:
            scipy.io.savemat(path, values, do_compression=True)
    return {"raw": folder}


def write_newer(path: Path, values: dict[str, Any]) -> None:
    """Write a MATLAB 7.3 file: HDF5 behind a text of 512 bytes, its axes the other way round."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in values.items():
            file[name] = np.atleast_2d(value).T
    data = bytearray(path.read_bytes())
    text = b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Mon Apr 01 2013 HDF5 schema 1.00 ."
    data[: len(text)] = text
    path.write_bytes(data)
