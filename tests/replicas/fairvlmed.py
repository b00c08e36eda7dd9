"""Harvard-FairVLMed: 36 people; table in the root, pictures and archives of each by part, notes in tables of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from replicas import _harvard as harvard


def make(folder: Path) -> dict[str, Any]:
    """Write the folder; returns the adapter's options."""
    rows = []
    for number in range(1, harvard.PEOPLE + 1):
        coded = harvard.codes(number)
        facts = {**harvard.words(number), "glaucoma": ("no", "yes")[coded["glaucoma"]]}
        texts = {"note": f"person {number}, seen\nfor nothing", "gpt4_summary": "nothing, said shortly"}
        names = ("age", "gender", "race", "ethnicity", "language", "maritalstatus")
        row = {"filename": f"data_{number:05d}.npz", **{name: facts[name] for name in names}, **texts}
        rows.append({**row, "glaucoma": facts["glaucoma"], "use": facts["use"]})
        part = folder / harvard.FOLDERS[facts["use"]]
        image = harvard.eye(number, (32, 42), ill=coded["glaucoma"] == 1)
        harvard.save_picture(part / f"slo_fundus_{number:05d}.jpg", image)
        harvard.save_archive(
            part / f"data_{number:05d}.npz",
            slo_fundus=image.astype(np.float64),
            md=-4.0 * coded["glaucoma"],
            tds=np.zeros(52),
            age=harvard.age(number),
            **coded,
        )
    harvard.write_table(folder / "data_summary.csv", rows)
    for name in ("original_notes.csv", "gpt-4_summarized_notes.csv"):
        harvard.write_table(folder / name, [{"filename": row["filename"], "note": "nothing"} for row in rows])
    return {"raw": folder}
