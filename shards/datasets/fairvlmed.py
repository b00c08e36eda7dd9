"""``fairvlmed``: SLO fundus photographs of glaucoma patients and others (FairCLIP, Luo et al. 2024)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from shards.adapter import Access, Facts
from shards.card import DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets import _harvard as harvard

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLES = ("data_summary.csv", "ReadMe/data_summary.csv")
_GLAUCOMA = {"no": "non-glaucoma", "yes": "glaucoma", "0": "non-glaucoma", "1": "glaucoma"}


class FairVlMed(harvard.Harvard):
    """The publisher's folder: summary table and the parts' pictures and archives.

    Attributes
    ----------
    pixels
        ``jpg``: the pictures, as FairMedFM reads; ``npz``: the array ``slo_fundus``, as FairCLIP reads.
    """

    name: ClassVar[str] = "fairvlmed"
    summary: ClassVar[str] = (
        "10,000 SLO fundus photographs: glaucoma; sex, age, race, ethnicity, language, marital status"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "SLO fundus photograph",
        harvard.LICENCE,
        10_000,
        ("sex", "age", "race", "ethnicity", "language", "marital_status"),
        Access(
            "request",
            "https://github.com/Harvard-Ophthalmology-AI-Lab/FairCLIP",
            harvard.STEPS,
            expected=("data_summary.csv", "Training", "Validation", "Test"),
        ),
    )
    source: ClassVar[str] = "https://github.com/Harvard-Ophthalmology-AI-Lab/FairCLIP"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("glaucoma", ("non-glaucoma", "glaucoma"), positive="glaucoma"),
    )
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet(
            "glaucoma",
            "fairmedfm-1",
            ("a scanning laser ophthalmoscope fundus image of a {}",),
            (("normal",), ("glaucoma",)),
        ),
        PromptSet("glaucoma", "fairclip-1", ("A photo of {}",), (("non-glaucoma",), ("glaucoma",))),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (*harvard.FAIRMEDFM, *harvard.FAIRCLIP)
    notes: ClassVar[tuple[str, ...]] = (
        "Splits are the publisher's (7,000 / 1,000 / 2,000); FairMedFM merges them and draws its own.",
        harvard.SEX_NOTE,
        "One image per patient. The clinical notes and their summaries are not converted.",
    )
    landmarks: ClassVar[tuple[str, ...]] = _TABLES

    pixels: Literal["jpg", "npz"] = Field(default="jpg", description="which of the two copies of an image")

    def card(self) -> DatasetCard:
        """Describe the dataset, and which copies of the images were read."""
        card = super().card()
        if self.pixels == "jpg":
            return card
        return replace(card, notes=(*card.notes, "Images are the arrays slo_fundus of the .npz files."))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the summary table into rows."""
        table = raw.table(*_TABLES, columns=(*harvard.COLUMNS, "glaucoma", "use"))
        rows = harvard.people(table).assign(glaucoma=harvard.labels(table["glaucoma"], _GLAUCOMA))
        names, pattern = table["filename"].tolist(), "data_*.npz"
        if self.pixels == "jpg":
            pattern = "slo_fundus_*.jpg"
            names = [harvard.picture_name(name, "slo_fundus_") for name in names]
        return harvard.with_files(raw, rows, names, harvard.part_folders("", "Dataset/"), pattern)
