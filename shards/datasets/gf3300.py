"""``gf3300``: OCT thickness maps and volumes, balanced over three races (Harvard-GF, Luo et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from shards.adapter import Access, Facts, Pixels, Volume
from shards.card import DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets import _harvard as harvard

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLES = ("data_summary.csv", "ReadMe/data_summary.csv")
_GLAUCOMA = {"no": "non-glaucoma", "yes": "glaucoma", "0": "non-glaucoma", "1": "glaucoma"}


class Gf3300(harvard.Harvard):
    """The publisher's folder: summary table and the parts' archives.

    Attributes
    ----------
    pixels
        ``rnflt``: thickness maps of the retinal nerve fibre layer; ``oct``: the volumes of B-scans.
    """

    name: ClassVar[str] = "gf3300"
    summary: ClassVar[str] = (
        "3,300 OCT thickness maps (or volumes), races balanced: glaucoma; sex, age, race, ethnicity, language"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "OCT RNFL thickness map",
        harvard.LICENCE,
        3_300,
        ("sex", "age", "race", "ethnicity", "language", "marital_status"),
        Access(
            "request",
            "https://ophai.hms.harvard.edu/datasets/harvard-glaucoma-fairness-3300-samples/",
            harvard.STEPS,
            expected=("data_summary.csv", "Training", "Validation", "Test"),
        ),
    )
    source: ClassVar[str] = "https://ophai.hms.harvard.edu/datasets/harvard-glaucoma-fairness-3300-samples/"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("glaucoma", ("non-glaucoma", "glaucoma"), positive="glaucoma"),
    )
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet("glaucoma", "fairmedfm-1", ("a photo of a {}",), (("normal",), ("glaucoma",))),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = harvard.FAIRMEDFM
    notes: ClassVar[tuple[str, ...]] = (
        "Splits are the publisher's (2,100 / 300 / 900), its three races have equal shares: shares of races are not those of "
        "a population. FairMedFM merges the splits and draws its own.",
        harvard.SEX_NOTE,
    )
    landmarks: ClassVar[tuple[str, ...]] = _TABLES
    arrays: ClassVar[tuple[str, ...]] = ("rnflt",)
    scale: ClassVar[tuple[float, float]] = (-2.0, 350.0)

    pixels: Literal["rnflt", "oct"] = Field(default="rnflt", description="thickness maps or volumes")

    def card(self) -> DatasetCard:
        """Describe the dataset; volumes have a name of their own."""
        card = super().card()
        if self.pixels == "oct":
            note = "Volumes of B-scans; the publisher gives neither the size of a voxel nor the direction of the axes."
            return replace(card, name="gf3300-oct", modality="OCT volume", notes=(*card.notes, note))
        note = "Thickness in micrometres is shown with 8 bits: -2 and below is 0, 350 and above is 255."
        return replace(card, notes=(*card.notes, note))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the summary table into rows."""
        table = raw.table(*_TABLES, columns=(*harvard.COLUMNS, "glaucoma", "use"))
        rows = harvard.people(table).assign(glaucoma=harvard.labels(table["glaucoma"], _GLAUCOMA))
        return harvard.with_files(
            raw, rows, table["filename"].tolist(), harvard.part_folders("", "Dataset/"), "data_*.npz"
        )

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read a thickness map or a volume."""
        return super().read(row) if self.pixels == "rnflt" else harvard.read_volume(Path(row["_image"]))
