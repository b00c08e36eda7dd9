"""3D-IRCADb-01 as FairMedFM has it: nnU-Net's layout and ``overview.csv`` with names and sexes.

Of the publisher: twenty people, ten women and ten men, labels up to 513 that do not fit eight bits, int16 Hounsfield units.
There are no more people, as there are none in the release.
"""

from __future__ import annotations

import numpy as np

from replicas._volumes import ball, body, save

NAMES = [f"patient_{number:02d}" for number in range(1, 21)]
LABELS = (1, 17, 33, 65, 97, 129, 193, 257, 321, 385, 449, 451, 453, 465, 481, 513)
SHAPE, SPACING = (6, 32, 32), (1.6, 0.75, 0.75)


def make(folder):
    root = folder / "IRCADb"
    for number, name in enumerate(NAMES):
        image, mask = body(SHAPE, number), np.zeros(SHAPE, np.int16)
        liver = ball(SHAPE, (0.5, 0.5, 0.35), 6.0, SPACING)
        image[liver] += 60
        mask[liver] = 1
        for place, label in enumerate(LABELS[1:]):  # a small cube each, in rows of five
            mask[
                2:4, 2 + 3 * (place // 5) : 4 + 3 * (place // 5), 16 + 3 * (place % 5) : 18 + 3 * (place % 5)
            ] = label
        for kind, voxels in (("imagesTr", image), ("labelsTr", mask)):
            save(root / "Dataset003_3D-IRCADb" / kind / f"{name}.nii.gz", voxels, SPACING, axes="LAS")
    lines = [f"{name},{'FM'[number % 2]}" for number, name in enumerate(NAMES)]
    (root / "overview.csv").write_text("\n".join(["name,sex", *lines]) + "\n")
    return {"raw": root}
