"""Harvard-FairVision: 36 people for each of three diseases, other folders and words for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from replicas import _harvard as harvard

#: Disease -> folder, slices of a volume, words of the table by severity.
DISEASES = {
    "glaucoma": ("Glaucoma", 10, ("no", "yes")),
    "amd": ("AMD", 6, ("normal", "early amd", "intermediate amd", "late amd")),
    "dr": ("DR", 6, ("non-vision threatening dr", "vision threatening dr")),
}
_CONDITIONS = {
    "amd": ("no.amd.diagnosis", "early.dry", "intermediate.dry", "wet.amd.inactive.scar"),
    "dr": ("no.dr.diagnosis", "pdr"),
}
_SHAPE = (32, 42)


def make(folder: Path, disease: str = "glaucoma") -> dict[str, Any]:
    """Write the folder with all three diseases; returns the adapter's options for one."""
    for name in DISEASES:
        _make(folder, name)
    return {"raw": folder, "disease": disease}


def _make(folder: Path, disease: str) -> None:
    place, slices, classes = DISEASES[disease]
    rows = []
    for number in range(1, harvard.PEOPLE + 1):
        facts, coded = harvard.words(number), harvard.codes(number)
        severity = number // 2 % len(classes)
        used = facts.pop("use")
        name = f"data_{number:05d}.npz"
        rows.append({"filename": name, **facts, disease: classes[severity], "use": used})
        part = folder / place / harvard.FOLDERS[used]
        image = harvard.eye(number, _SHAPE, ill=severity > 0)
        harvard.save_picture(part / f"slo_{number:05d}.jpg", image)
        label = {"glaucoma": severity}
        if disease != "glaucoma":
            label = {"amd_condition" if disease == "amd" else "dr_subtype": _CONDITIONS[disease][severity]}
        harvard.save_archive(
            part / name,
            slo_fundus=image[::2, ::2],
            oct_bscans=np.stack([image[::2, ::2] // 2 + row for row in range(slices)]),
            race=coded["race"],
            male=coded["gender"],
            hispanic=coded["ethnicity"],
            maritalstatus=coded["maritalstatus"],
            language=coded["language"],
            **label,
        )
    # Glaucoma's table lies in its own folder's ReadMe, as in the download; the others beside the folders.
    inside = f"{place}/ReadMe/" if disease == "glaucoma" else ""
    harvard.write_table(folder / f"{inside}data_summary_{disease}.csv", rows)
