"""Harvard-GF3300: 36 people; table in ``ReadMe``, one archive each with thickness map, volume and codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from replicas import _harvard as harvard

#: Languages as this table spells them.
_LANGUAGES = {"other": "other languages"}


def thickness(number: int, *, ill: bool) -> np.ndarray:
    """Return ``[20, 20]`` float64 micrometres; the corners lie outside of the range that FairMedFM shows."""
    image = harvard.eye(number, (20, 20), ill=ill).astype(np.float64) * (0.8 if ill else 1.4)
    image[0, 0], image[0, -1] = -2.0, 350.0
    image[-1, 0], image[-1, -1] = -30.0, 520.0
    return image


def make(folder: Path) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    rows = []
    for number in range(1, harvard.PEOPLE + 1):
        facts, coded = harvard.words(number), harvard.codes(number)
        ill = coded["glaucoma"] == 1
        name = f"data_{number:04d}.npz"
        used = facts.pop("use")
        facts["language"] = _LANGUAGES.get(facts["language"], facts["language"])
        rows.append({"filename": name, **facts, "glaucoma": ("no", "yes")[ill], "use": used})
        image = harvard.eye(number, (20, 20), ill=ill)
        harvard.save_archive(
            folder / harvard.FOLDERS[used] / name,
            rnflt=thickness(number, ill=ill),
            oct_bscans=np.stack([image // 2 + place for place in range(8)]),
            md=-4.0 * ill,
            tds=np.zeros(52),
            glaucoma=int(ill),
            race=coded["race"],
            male=coded["gender"],
            hispanic=coded["ethnicity"],
            language=coded["language"],
            maritalstatus=coded["maritalstatus"],
            age=harvard.age(number),
        )
    harvard.write_table(folder / "ReadMe" / "data_summary.csv", rows)
    return {"raw": folder}
