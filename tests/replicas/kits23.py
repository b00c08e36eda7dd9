"""KiTS23 as its repository lies on disk after the CTs were downloaded: ``dataset/kits23.json`` and a folder per case.

Of the publisher: 38 records in an order that is not that of the folders, numbers 00000-00299 and 00400-00588, slices along
the files' first axis from the head down, one transgender record, one body mass index that is null, fields that are null,
booleans and dictionaries. Ours: one case has no record.
"""

from __future__ import annotations

import json

import numpy as np

from replicas._volumes import ball, body, save

CASES = [f"case_{number:05d}" for number in (*range(0, 288, 16), 299, *range(400, 580, 10), 588)]
TRANSGENDER, NO_BMI, NO_RECORD = "case_00420", "case_00064", "case_00298"
SHAPE, SPACING = (8, 24, 24), (5.0, 1.5, 1.25)


def make(folder):
    root = folder / "kits23" / "dataset"
    for number, case in enumerate([*CASES, NO_RECORD]):
        write_case(root / case, number)
    order = np.random.default_rng(7).permutation(len(CASES))
    (root / "kits23.json").write_text(json.dumps([record(int(number)) for number in order], indent=2))
    return {"raw": root}


def write_case(folder, number):
    """Two kidneys; a tumour in one of them, and in every third case a cyst."""
    image, mask = body(SHAPE, number, noise=20), np.zeros(SHAPE, np.uint8)
    radius = 5.0 + number % 4
    for label, units, centre, size in (
        (1, 120, (0.5, 0.5, 0.3), radius),
        (1, 120, (0.5, 0.5, 0.7), radius),
        (2, 80, (0.5, 0.4, 0.3), radius / 2),
        (3, 5, (0.5, 0.6, 0.7), radius / 2 if number % 3 == 0 else 0.0),
    ):
        inside = ball(SHAPE, centre, size, SPACING) & (size > 0)
        image[inside] = units
        mask[inside] = label
    image[0, 0, 0] = 3071  # metal
    spacing = (SPACING[0] - number % 3, *SPACING[1:])
    save(folder / "imaging.nii.gz", image, spacing, axes="IPL")
    save(folder / "segmentation.nii.gz", mask, spacing, axes="IPL")


def record(number):
    case = CASES[number]
    sex = "transgender_male_to_female" if case == TRANSGENDER else ("male", "male", "female")[number % 3]
    return {
        "case_id": case,
        "gender": sex,
        "vital_status": "censored",
        "vital_days_after_surgery": 100 + number,
        "bmi": None if case == NO_BMI else round(17.5 + number * 0.75, 2),
        "comorbidities": {"copd": number % 5 == 0, "chronic_kidney_disease": False},
        "age_at_nephrectomy": 90 if number == 1 else 20 + 2 * (number % 30),
        "surgery_type": ("open", "laparoscopic", "robotic")[number % 3],
        "surgical_procedure": ("partial_nephrectomy", "radical_nephrectomy")[number % 2],
        "smoking_history": ("never_smoked", "previous_smoker", "current_smoker")[number % 3],
        "pack_years": None if number % 2 else 20.0,
        "radiographic_size": 2.5 + number / 8,
        "malignant": number % 8 != 0,
        "pathology_t_stage": None if number % 8 == 0 else ("1a", "1b", "3")[number % 3],
        "tumor_histologic_subtype": "oncocytoma" if number % 8 == 0 else "clear_cell_rcc",
        "last_preop_egfr": {"days_before_nephrectomy": 3, "value": ">=90"},
    }
