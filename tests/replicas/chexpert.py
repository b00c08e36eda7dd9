"""CheXpert-v1.0-small: two tables of images, folders of patients and studies, and the spreadsheet of demographics.

32 patients in ``train`` (every fourth with a lateral view of the same study, every eighth with a second study) and 12 in
``valid``, whose labels have neither blanks nor -1. Odd on purpose: one patient of unknown sex and age 0, one whom the
spreadsheet lacks, one whose sex differs there, one with an empty race, ages of exactly 60 and of the cap 90, races that say
that they are not known, LL for a projection, and a spreadsheet with people who have no image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from replicas._cxr import LABELS, codes, picture, save, table

TRAIN, VALID = range(1, 33), range(33, 45)
RACES = (
    *("White", "White, non-Hispanic", "Other", "Asian", "Unknown", "Black or African American"),
    *("Race and Ethnicity Unknown", "White, Hispanic", "Patient Refused", "Native American, Hispanic"),
)
ETHNICITIES = ("Non-Hispanic/Non-Latino", "Hispanic/Latino", "Unknown", "Patient Refused")
NOT_IN_THE_SPREADSHEET, NO_RACE, OTHER_SEX, UNKNOWN_SEX = 9, 12, 17, 30


def make(folder: Path) -> dict[str, Any]:
    """Write the publisher's folder and return the adapter's options."""
    root = folder / "CheXpert-v1.0-small"
    for name, numbers in (("train", TRAIN), ("valid", VALID)):
        rows = [row for number in numbers for row in _images(root, name, number)]
        table(rows, root / f"{name}.csv")
    people = [_person(number) for number in (*TRAIN, *VALID, 900, 901) if number != NOT_IN_THE_SPREADSHEET]
    with pd.ExcelWriter(root / "CHEXPERT DEMO.xlsx") as book:
        pd.DataFrame(people).to_excel(book, sheet_name="CheXpert Demo 11-13", index=False)
    return {"raw": root}


def _images(root: Path, part: str, number: int) -> list[dict[str, str]]:
    made = []
    for study in (1, 2) if part == "train" and number % 8 == 0 else (1,):
        for view in ("frontal", "lateral") if number % 4 == 0 else ("frontal",):
            place = f"{part}/patient{number:05d}/study{study}/view{1 + (view == 'lateral')}_{view}.jpg"
            save(root / place, picture(number, sick=not number // 2 % 2))
            projection = "" if view == "lateral" else "LL" if number == 7 else ("AP", "AP", "PA")[number % 3]
            labels = codes(number)
            if part == "valid":
                labels = {label: "1.0" if code == "1.0" else "0.0" for label, code in labels.items()}
            facts = {"Path": f"{root.name}/{place}", "Sex": _sex(number), "Age": str(_age(number))}
            view_facts = {"Frontal/Lateral": view.capitalize(), "AP/PA": projection}
            made.append({**facts, **view_facts, **{label: labels[label] for label in LABELS}})
    return made


def _sex(number: int) -> str:
    return "Unknown" if number == UNKNOWN_SEX else ("Female", "Male")[number % 2]


def _age(number: int) -> int:
    """Return an age: two are 60, two the cap 90, that of the person of unknown sex is 0."""
    given = {5: 60, 6: 60, 13: 90, 38: 90, UNKNOWN_SEX: 0}
    return given.get(number, 19 + number * 13 % 67)


def _person(number: int) -> dict[str, Any]:
    sex = {OTHER_SEX: "Female", UNKNOWN_SEX: "Unknown"}.get(number, _sex(number))
    return {
        "PATIENT": f"patient{number:05d}",
        "PRIMARY_RACE": None if number == NO_RACE else RACES[number % len(RACES)],
        "GENDER": sex,
        "AGE_AT_CXR": _age(number) + (number % 5 == 0),
        "ETHNICITY": ETHNICITIES[number % len(ETHNICITIES)],
    }
