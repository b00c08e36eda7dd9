"""MIMIC-CXR-JPG 2.0.0 as PhysioNet lays it out, and the folder ``hosp`` of MIMIC-IV, all tables gzipped.

40 patients of whom every third has a second study three years later and every fourth a lateral view. Odd on purpose: two
patients whom MIMIC-IV lacks, one without admissions, one whose first admission does not know the race, two whose admissions
name several races, one of whom only by a narrower word, one study without labels, one image without a view, people of 91
(the cap) and of exactly 60.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from replicas._cxr import LABELS, codes, picture, save, table

PEOPLE = range(1, 41)
NOT_IN_MIMIC_IV, NO_ADMISSION, NO_LABELS, NO_VIEW = (11, 24), 14, 10, 7
#: Words for the race in the order of a patient's admissions; by default one of RACES.
ADMISSIONS = {
    2: ("UNKNOWN", "WHITE"),
    3: ("WHITE", "WHITE - RUSSIAN", "WHITE"),
    5: ("WHITE", "BLACK/CAPE VERDEAN"),
    9: ("PATIENT DECLINED TO ANSWER",),
    NO_ADMISSION: (),
}
RACES = (
    *("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN - CHINESE", "WHITE"),
    *("OTHER", "PORTUGUESE", "MULTIPLE RACE/ETHNICITY", "WHITE - BRAZILIAN", "UNABLE TO OBTAIN"),
    *("AMERICAN INDIAN/ALASKA NATIVE", "SOUTH AMERICAN", "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER"),
)


def make(folder: Path) -> dict[str, Any]:
    """Write both publishers' folders and return the adapter's options."""
    root, hospital = folder / "mimic-cxr-jpg" / "2.0.0", folder / "mimiciv" / "2.2"
    images = [row for number in PEOPLE for row in _images(root, number)]
    table([row["metadata"] for row in images], root / "mimic-cxr-2.0.0-metadata.csv.gz")
    table([row["split"] for row in images], root / "mimic-cxr-2.0.0-split.csv.gz")
    studies = {row["labels"]["study_id"]: row["labels"] for row in images}
    del studies[study(NO_LABELS, 0)]
    table(list(studies.values()), root / "mimic-cxr-2.0.0-chexpert.csv.gz")
    known = [number for number in (*PEOPLE, 900) if number not in NOT_IN_MIMIC_IV]
    table([_person(number) for number in known], hospital / "hosp" / "patients.csv.gz")
    stays = [row for number in known for row in _admissions(number)]
    table(stays, hospital / "hosp" / "admissions.csv.gz")
    return {"raw": root, "mimic_iv": hospital}


def person(number: int) -> str:
    """Return a patient's ``subject_id``."""
    return str(10_000_000 + 7 * number)


def study(number: int, which: int) -> str:
    """Return the ``study_id`` of a patient's first (0) or second (1) study."""
    return str(50_000_000 + 100 * number + which)


def anchor_age(number: int) -> int:
    """Return the age in the anchor year: two are 60, one is the cap 91."""
    return {4: 60, 6: 60, 12: 91}.get(number, 19 + number * 17 % 66)


def _images(root: Path, number: int) -> list[dict[str, dict[str, str]]]:
    made = []
    for which in (0, 1) if number % 3 == 0 else (0,):
        for view in ("PA", "LATERAL") if number % 4 == 0 else ("AP",):
            image = f"{number:08x}-{which:08x}-{len(view):08x}-0000abcd-00001234"
            ids = {"subject_id": person(number), "study_id": study(number, which)}
            place = f"files/p{person(number)[:2]}/p{person(number)}/s{ids['study_id']}/{image}.jpg"
            save(root / place, picture(number, sick=not number // 2 % 2))
            metadata = {
                "dicom_id": image,
                **ids,
                "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
                "ViewPosition": "" if number == NO_VIEW else view,
                "Rows": "40",
                "Columns": "48",
                "StudyDate": f"{2150 + number + 3 * which}0506",
                "StudyTime": "213014.531",
            }
            split = "test" if number % 5 == 4 else "validate" if number % 5 == 2 else "train"
            labels = {**ids, **{label: codes(number)[label] for label in sorted(LABELS)}}
            made.append(
                {"metadata": metadata, "split": {"dicom_id": image, **ids, "split": split}, "labels": labels}
            )
    return made


def _person(number: int) -> dict[str, str]:
    return {
        "subject_id": person(number),
        "gender": "FM"[number % 2],
        "anchor_age": str(anchor_age(number)),
        "anchor_year": str(2150 + number - number % 2),
        "anchor_year_group": "2014 - 2016",
        "dod": "",
    }


def _admissions(number: int) -> list[dict[str, str]]:
    races = ADMISSIONS.get(number, (RACES[number % len(RACES)],))
    return [
        {
            "subject_id": person(number),
            "hadm_id": str(20_000_000 + 10 * number + place),
            "admittime": f"21{50 + place}-03-01 08:00:00",
            "insurance": ("Medicare", "Other", "Medicaid")[(number + (place if number == 5 else 0)) % 3],
            "language": "?" if number % 7 == 3 else "ENGLISH",
            "marital_status": ("MARRIED", "SINGLE", "")[number % 3],
            "race": race,
        }
        for place, race in enumerate(races)
    ]
