"""CANDI Share as FairMedFM unpacks it: a folder per subject and four tables of demographics side by side.

Of the publisher: coronal scans, files ``{Subject}_procimg.nii.gz`` and ``{Subject}_seg.nii.gz``, FreeSurfer numbers as labels,
ages with fractions, sexes in small letters, handedness with gaps, one table per diagnosis.
"""

from __future__ import annotations

import csv

import numpy as np

from replicas._volumes import ball, save

GROUPS = {
    "BPDwithoutPsy": range(30, 39),
    "BPDwithPsy": range(65, 74),
    "HC": range(1, 11),
    "SS": range(84, 92),
}
#: [D, H, W] from feet to head, front to back, right to left: ten coronal slices.
SHAPE, SPACING = (24, 10, 20), (0.9375, 1.5, 0.9375)


#: Structures that have a voxel each.
SMALL = (5, 7, 8, 10, 11, 12, 13, 14, 15, 17, 18, 24, 26, 28, 30, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)


def make(folder):
    root = folder / "CANDI"
    for group, numbers in GROUPS.items():
        rows = []
        for number in numbers:
            subject = f"{group}_{number:03d}"
            write_subject(root / subject, subject, number)
            rows.append(
                {
                    "Subject": subject,
                    "Gender": ("female", "male")[number % 2],
                    "Age": f"{4 + number % 13 + 0.25:g}",
                    "Handedness": ("Right", "Left", "")[number % 3],
                }
            )
        with (root / f"{group}_Basic_Demographics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return {"raw": root}


def write_subject(folder, subject, number):
    """Two hemispheres of cortex and white matter with ventricles, and a brain stem."""
    mask = np.zeros(SHAPE, np.int16)
    for label, centre, radius in (
        (42, (0.6, 0.5, 0.3), 6.0),
        (3, (0.6, 0.5, 0.7), 6.0),
        (41, (0.6, 0.5, 0.3), 4.0),
        (2, (0.6, 0.5, 0.7), 4.0),
        (43, (0.6, 0.5, 0.35), 1.8),
        (4, (0.6, 0.5, 0.65), 1.8),
        (16, (0.15, 0.5, 0.5), 2.5),
        (62, (0.25, 0.5, 0.3), 1.1),
    ):
        mask[ball(SHAPE, centre, radius, SPACING)] = label
    for place, label in enumerate(SMALL):
        mask[22 + place // SHAPE[2], 5, place % SHAPE[2]] = label
    noise = np.random.default_rng(number).normal(0, 8, SHAPE)
    image = 20 + 3.0 * mask.clip(0, 30) + noise + 2.0 * np.arange(SHAPE[2])
    save(folder / f"{subject}_procimg.nii.gz", image.clip(0).astype(np.uint8), SPACING, axes="RSA")
    save(folder / f"{subject}_seg.nii.gz", mask, SPACING, axes="RSA")
