"""PAPILA: 37 patients with two eyes, one of them with a photograph of one eye only.

``xlsx``: the publisher's sheets with three rows of header, the first column named only in the third. ``csv``: saved again
with one row, as FairMedFM reads it.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

_GROUPS = (
    *(
        None,
        "Age",
        "Gender",
        "Diagnosis",
        "Refractive_Defect",
        None,
        None,
        "Phakic/Pseudophakic",
        "IOP",
        None,
    ),
    *("Pachymetry", "Axial_Length", "VF_MD"),
)
COLUMNS = (
    *("ID", "Age", "Gender", "Diagnosis", "dioptre_1", "dioptre_2", "astigmatism", "Phakic/Pseudophakic"),
    *("Pneumatic", "Perkins", "Pachymetry", "Axial_Length", "VF_MD"),
)
PATIENTS = range(2, 39)
#: Her left eye is in the table of left eyes only.
ONE_EYED = 38


def age(patient: int) -> int:
    """Return an age in years; every seventh patient is exactly 60."""
    return 60 if patient % 7 == 0 else 22 + patient * 11 % 65


def diagnosis(patient: int, eye: str) -> int:
    """Return 0, 1 or 2; some patients' eyes differ."""
    return 2 if patient % 6 == 5 else int(patient // 2 % 3 == 1 or (eye == "OS" and patient % 8 == 0))


def make(folder: Path, tables: Literal["xlsx", "csv"] = "xlsx") -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    for part in ("ClinicalData", "FundusImages"):
        (folder / part).mkdir(parents=True)
    for eye in ("OD", "OS"):
        rows = []
        for patient in PATIENTS:
            if patient == ONE_EYED and eye == "OD":
                continue
            found = diagnosis(patient, eye)
            measured = (0.75, -1.75, 90.0, 0.0, 21.0, None, 586.0, 23.64, None if found == 0 else -3.26)
            rows.append((f"#{patient:03d}", age(patient), patient % 2, found, *measured))
            _photograph(folder / "FundusImages" / f"RET{patient:03d}{eye}.jpg", patient, ill=found == 1)
        path = folder / "ClinicalData" / f"patient_data_{eye.lower()}.{tables}"
        header = ([COLUMNS], [_GROUPS, (None, *COLUMNS[1:]), ("ID",)])[tables == "xlsx"]
        (_write_xlsx if tables == "xlsx" else _write_csv)(path, [*header, *rows])
    return {"raw": folder}


def _photograph(path: Path, patient: int, *, ill: bool) -> None:
    rows, columns = np.mgrid[:32, :44]
    distance = np.hypot(rows - 16, columns - 26)
    red = 90 + 2 * columns + 40 * (distance < 8) + 30 * (distance < (6 if ill else 3))
    image = np.stack([red, red // 2 + patient, red // 4], axis=2)
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def _write_xlsx(path: Path, rows: list[tuple[Any, ...]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def _write_csv(path: Path, rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
