"""SPIDER as unpacked from its Zenodo record: ``images``, ``masks``, ``overview.csv``, ``radiological_gradings.csv``.

Of the publisher: .mha files with sagittal slices, two or three series (T1, T2, T2 SPACE) per patient, labels from below 1-8,
100, 201-207 and vertebrae cut off by the edge above 100, sex in every row, dates of birth in some, no day of the scan, rows in
an order that is not that of the patients.
"""

from __future__ import annotations

import csv

import numpy as np

from replicas._volumes import save

PATIENTS = range(1, 37)
SHAPE, SPACING = (32, 24, 7), (0.9, 0.9, 4.4)


def series_of(patient):
    return ("t1", "t2", "t2_SPACE") if patient % 6 == 0 else ("t1", "t2")


def sex_of(patient):
    return "M" if patient % 3 == 0 else "F"  # the first patient is a woman


def make(folder):
    root = folder / "SPIDER"
    rows = []
    for patient in reversed(PATIENTS):
        for series in series_of(patient):
            name = f"{patient}_{series}"
            write_series(root, name, patient)
            rows.append(
                {
                    "new_file_name": name,
                    "subset": "validation" if patient % 6 == 1 else "training",
                    "num_vertebrae": 7,
                    "num_discs": 7,
                    "sex": sex_of(patient),
                    "birth_date": f"19{40 + patient}0115" if patient % 4 == 0 else "",
                    "AngioFlag": "N",
                    "MagneticFieldStrength": "1.5",
                }
            )
    with (root / "overview.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (root / "radiological_gradings.csv").write_text("Patient,IVD label,Modic\n1,1,0\n")
    return {"raw": root}


def write_series(root, name, patient):
    """A column of vertebrae and discs from below, counted to the eighth vertebra; the ninth is cut off."""
    generator = np.random.default_rng(patient)
    image = generator.normal(120, 15, SHAPE) + 4.0 * np.arange(SHAPE[1])[None, :, None]
    mask = np.zeros(SHAPE, np.uint8)
    for level in range(8):
        height = 4 * level  # slices from feet to head
        mask[height : height + 3, 6:14, 2:5] = level + 1
        mask[height + 3, 6:14, 2:5] = 201 + level
    mask[31, 6:14, 2:5] = 109
    mask[:, 16:19, 3] = 100
    image += 200.0 * (mask > 200) + 60.0 * (mask == 100)
    for kind, voxels in (("images", np.rint(image).astype(np.int16)), ("masks", mask)):
        save(root / kind / f"{name}.mha", voxels, SPACING, axes="PIL")
