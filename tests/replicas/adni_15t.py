"""ADNI 1, screening scans at 1.5 tesla, as LONI packs a collection: a CSV list and a tree of folders.

Of the publisher: quoted values after a comma and a blank, folders ``ADNI/{subject}/{processing}/{day}/{image}/`` with one .nii
each, two scans of many subjects, ages 55 to 91 with few below 60, some visits that are not screening, MCI as the largest group.
"""

from __future__ import annotations

import numpy as np

from replicas._volumes import ball, save

SUBJECTS = range(36)
SHAPE, SPACING = (10, 14, 12), (1.2, 0.94, 0.94)
COLUMNS = (
    *("Image Data ID", "Subject", "Group", "Sex", "Age", "Visit", "Modality", "Description", "Type"),
    *("Acq Date", "Format", "Downloaded"),
)
PROCESSING = "MPR; GradWarp; B1 Correction; N3; Scaled"


def subject_of(number):
    return f"{number % 7 + 2:03d}_S_{295 + number:04d}"


def rows():
    """Return the list's rows: one scan of each subject, a second of every second, and two of later visits."""
    scans = [(number, "sc") for number in SUBJECTS]
    scans += [(number, "sc") for number in SUBJECTS if number % 2 == 0]
    scans += [(number, visit) for number, visit in ((0, "m06"), (1, "m12"))]
    return [
        {
            "Image Data ID": f"I{45_100 + 13 * place}",
            "Subject": subject_of(number),
            "Group": ("CN", "MCI", "AD", "MCI")[number % 4],
            "Sex": "FM"[number // 2 % 2],
            "Age": str(55 if number == 4 else 60 + (number * 7) % 32),
            "Visit": visit,
            "Modality": "MRI",
            "Description": PROCESSING if place % 5 else f"{PROCESSING}_2",
            "Type": "Processed",
            "Acq Date": "4/18/2006",
            "Format": "NiFTI",
            "Downloaded": "8/18/2018",
        }
        for place, (number, visit) in enumerate(scans)
    ]


def make(folder):
    root = folder / "ADNI_download"
    for row in rows():
        write_scan(root, row)
    lines = [
        ", ".join(f'"{value}"' for value in values) for values in (COLUMNS, *(r.values() for r in rows()))
    ]
    (root / "ADNI1_Screening_1.5T_8_18_2018.csv").write_text("\n".join(lines) + "\n")
    return {"raw": root}


def write_scan(root, row):
    """A head with ventricles, wide in Alzheimer's disease; MR units, as floats."""
    image, subject = row["Image Data ID"], row["Subject"]
    generator = np.random.default_rng(int(image[1:]))
    head = ball(SHAPE, (0.5, 0.5, 0.5), 5.0, SPACING)
    ventricles = ball(SHAPE, (0.5, 0.5, 0.5), 3.0 if row["Group"] == "AD" else 1.5, SPACING)
    voxels = (head * 300.0 - ventricles * 200.0 + generator.normal(20, 4, SHAPE) + 0.25).astype(np.float32)
    words = row["Description"].replace("; ", "__").replace(" ", "_")
    where = root / "ADNI" / subject / words / "2006-04-18_08_20_30.0" / image
    name = f"ADNI_{subject}_MR_{words}_Br_20070216232854688_S13408_{image}.nii"
    save(where / name, voxels, SPACING, axes="PSR")
