"""BRSET: 36 patients with one to four photographs, in the releases 1.0.0 and 1.0.1 and in one with other names.

Odd values as the publisher has them: ages that are missing or, in 1.0.0, have a letter O or a comma; ``bv`` among the codes of
the optic disc, 0 among those of the focus; ``No`` and ``yes``; a row whose photograph was never published; a photograph with
grade 0 that is flagged as retinopathy.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

Release = Literal["1.0.0", "1.0.1", "renamed"]
COLUMNS = (
    *("image_id", "patient_id", "camera", "patient_age", "comorbidities", "diabetes_time_y", "insuline"),
    *("patient_sex", "exam_eye", "diabetes", "nationality", "optic_disc", "vessels", "macula", "DR_SDRG"),
    *("DR_ICDR", "focus", "Illuminaton", "image_field", "artifacts", "diabetic_retinopathy", "macular_edema"),
    *("scar", "nevus", "amd", "vascular_occlusion", "hypertensive_retinopathy", "drusens", "hemorrhage"),
    *("retinal_detachment", "myopic_fundus", "increased_cup_disc", "other", "quality"),
)
FINDINGS = COLUMNS[20:33]
PATIENTS = 36
#: In the table, but not among the photographs.
NEVER_PUBLISHED = "img00009"
#: Grade 0, flagged as retinopathy all the same.
FLAGGED = "img00002"
_RENAMED = {
    "Illuminaton": "illumination",
    "patient_sex": "Sex",
    "patient_age": "Age",
    "exam_eye": "Eye",
    "DR_ICDR": "ICDR",
}


def photographs() -> list[tuple[str, int, int]]:
    """Return (image_id, patient, place among the patient's photographs)."""
    owned = [(patient, place) for patient in range(PATIENTS) for place in range(1 + (patient * 7 + 1) % 4)]
    return [(f"img{number:05d}", *one) for number, one in enumerate(owned, start=1)]


def sex(patient: int) -> str:
    """Return the publisher's code: 1 male, 2 female."""
    return str(1 + (patient % 3 > 0))


def age(patient: int, release: Release = "1.0.1") -> str:
    """Return an age in years, empty for a third; some are 60."""
    if patient % 3 == 2:
        return ""
    years = 60 if patient % 7 == 0 else 21 + patient * 13 % 68
    if release == "1.0.0" and patient == 7:
        return "6O"  # the letter
    return f"{years},5" if release == "1.0.0" and patient == 4 else f"{years}.0"


def grade(patient: int) -> int:
    """Return DR_ICDR."""
    return (0, 0, 1, 0, 2, 0, 0, 3, 0, 4)[patient % 10]


def make(folder: Path, release: Release = "1.0.1") -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    (folder / "fundus_photos").mkdir(parents=True)
    rows = []
    for name, patient, place in photographs():
        row = dict.fromkeys(COLUMNS, "1") | dict.fromkeys(FINDINGS, "0")
        found = grade(patient)
        row |= {
            "image_id": name,
            "patient_id": str(100 + patient),
            "camera": ("Canon CR", "NIKON NF5050")[patient % 2],
            "patient_age": age(patient, release),
            "comorbidities": "" if patient % 2 else "diabetes1, HAS",
            "diabetes_time_y": "",
            "insuline": "" if patient % 5 else "yes",
            "patient_sex": sex(patient),
            "exam_eye": str(1 + place % 2),
            "diabetes": "yes" if found else "No",
            "nationality": "Brazil",
            "DR_ICDR": str(found),
            "DR_SDRG": str(found),
            "diabetic_retinopathy": str(int(found > 0 or name == FLAGGED)),
            "quality": "Inadequate" if (patient + place) % 8 == 5 else "Adequate",
        }
        row |= {finding: str(int((patient + spot) % 9 == 4)) for spot, finding in enumerate(FINDINGS[1:])}
        rows.append(row)
        if name != NEVER_PUBLISHED:
            _photograph(folder / "fundus_photos" / f"{name}.jpg", patient, place, found)
    rows[3]["optic_disc"], rows[5]["focus"] = "bv", "0"
    header = {
        "1.0.0": {"Illuminaton": "iluminaton"},
        "1.0.1": {},
        "renamed": _RENAMED,
    }[release]
    path = folder / ("labels.csv" if release == "1.0.0" else "labels_brset.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([header.get(name, name) for name in COLUMNS])
        writer.writerows([list(row.values()) for row in rows])
    return {"raw": folder}


def _photograph(path: Path, patient: int, place: int, found: int) -> None:
    rows, columns = np.mgrid[:36, :44]
    disc = np.hypot(rows - 18, columns - (32 if place % 2 == 0 else 12)) < 6
    spots = (rows * columns + patient) % 11 < found
    red = 100 + columns + 60 * disc - 70 * spots
    image = np.stack([red, red // 2 + patient, red // 4 + 5 * place], axis=2)
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path, quality=95)
