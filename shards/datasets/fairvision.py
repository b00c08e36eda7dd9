"""``fairvision``: SLO photographs and OCT volumes for three eye diseases (Luo et al. 2023), one disease at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from shards.adapter import Access, Facts, Pixels, Volume
from shards.card import DatasetCard, PromptSet, Target
from shards.datasets import _harvard as harvard

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_STAGES = ("normal", "early AMD", "intermediate AMD", "late AMD")
_AMD = ("no AMD", "AMD")
_DR = ("non-vision-threatening", "vision-threatening")
_GLAUCOMA = ("non-glaucoma", "glaucoma")
_TEMPLATES = (
    "a scanning laser ophthalmoscope fundus image of {}",
    "an eye scan of a patient with {}",
)


@dataclass(frozen=True)
class _Disease:
    """One of the three parts: folder, targets, and its table's words and older condition names -> classes."""

    folder: str
    targets: tuple[Target, ...]
    classes: Mapping[str, str]
    names: Mapping[str, tuple[tuple[str, ...], ...]]


DISEASES: Mapping[str, _Disease] = {
    "glaucoma": _Disease(
        "Glaucoma",
        (Target("glaucoma", _GLAUCOMA, positive="glaucoma"),),
        {"no": "non-glaucoma", "yes": "glaucoma", "0": "non-glaucoma", "1": "glaucoma"},
        {"glaucoma": (("a healthy eye", "no glaucoma"), ("glaucoma",))},
    ),
    "amd": _Disease(
        "AMD",
        (Target("amd", _AMD, positive="AMD"), Target("amd_stage", _STAGES)),
        {
            **dict.fromkeys(("normal", "not.in.icd.table", "no.amd", "no.amd.diagnosis"), "normal"),
            **dict.fromkeys(("early amd", "early.dry"), "early AMD"),
            **dict.fromkeys(("intermediate amd", "intermediate.dry"), "intermediate AMD"),
            **dict.fromkeys(
                (
                    "late amd",
                    "advanced.atrophic.dry.with.subfoveal.involvement",
                    "advanced.atrophic.dry.without.subfoveal.involvement",
                    "wet.amd.active.choroidal.neovascularization",
                    "wet.amd.inactive.choroidal.neovascularization",
                    "wet.amd.inactive.scar",
                ),
                "late AMD",
            ),
        },
        {
            "amd": (("a healthy retina",), ("age-related macular degeneration",)),
            "amd_stage": (
                ("a healthy retina",),
                ("early age-related macular degeneration",),
                ("intermediate age-related macular degeneration",),
                ("late age-related macular degeneration",),
            ),
        },
    ),
    "dr": _Disease(
        "DR",
        (Target("dr", _DR, positive="vision-threatening"),),
        {
            **dict.fromkeys(
                (
                    *("non-vision threatening dr", "no dr", "not.in.icd.table"),
                    *("no.dr.diagnosis", "mild.npdr", "moderate.npdr"),
                ),
                "non-vision-threatening",
            ),
            **dict.fromkeys(("vision threatening dr", "severe.npdr", "pdr"), "vision-threatening"),
        },
        {
            "dr": (
                ("a healthy retina", "mild diabetic retinopathy"),
                ("vision-threatening diabetic retinopathy",),
            )
        },
    ),
}


class FairVision(harvard.Harvard):
    """The publisher's folder of all three diseases, or of one.

    Attributes
    ----------
    disease
        Which of the three; each is a dataset of its own, of other people.
    pixels
        ``jpg``: the SLO pictures (512 x 664); ``npz``: their copies of 200 x 200 in the archives; ``oct``: the volumes of
        B-scans.
    """

    name: ClassVar[str] = "fairvision"
    summary: ClassVar[str] = (
        "30,000 SLO photographs and OCT volumes: glaucoma, AMD or DR (10,000 each); sex, age, race, ethnicity"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "SLO fundus photograph",
        harvard.LICENCE,
        30_000,
        ("sex", "age", "race", "ethnicity", "language", "marital_status"),
        Access(
            "request",
            "https://ophai.hms.harvard.edu/datasets/harvard-fairvision30k",
            harvard.STEPS,
            expected=("AMD", "DR", "Glaucoma"),
        ),
    )
    source: ClassVar[str] = "https://ophai.hms.harvard.edu/datasets/harvard-fairvision30k"
    #: Of all three; a card has those of its disease.
    targets: ClassVar[tuple[Target, ...]] = tuple(t for one in DISEASES.values() for t in one.targets)
    notes: ClassVar[tuple[str, ...]] = (
        "Each disease is a dataset of its own (fairvision-glaucoma, fairvision-amd, fairvision-dr) with its own target.",
        "Splits are those of column use of the publisher's table.",
        "Whether a person is in the sets of two diseases is not published; do not pool them.",
    )
    landmarks: ClassVar[tuple[str, ...]] = (
        *(disease.folder for disease in DISEASES.values()),
        *("data_summary_*.csv", "ReadMe/data_summary_*.csv"),
    )

    disease: Literal["glaucoma", "amd", "dr"] = Field(description="which of the three diseases")
    pixels: Literal["jpg", "npz", "oct"] = Field(
        default="jpg", description="pictures, their copies, or volumes"
    )

    def card(self) -> DatasetCard:
        """Describe the chosen disease's dataset."""
        chosen, volumes = DISEASES[self.disease], self.pixels == "oct"
        note = {
            "jpg": "Images are the publisher's pictures.",
            "npz": "Images are the copies of 200 x 200 pixels in the .npz files.",
            "oct": "Volumes of B-scans; the publisher gives neither the size of a voxel nor the direction of the axes.",
        }[self.pixels]
        templates = (
            tuple(text.replace("an eye", "an OCT") for text in _TEMPLATES[1:]) if volumes else _TEMPLATES
        )
        card = super().card()
        return replace(
            card,
            name=f"fairvision-{self.disease}{'-oct' if volumes else ''}",
            modality="OCT volume" if volumes else card.modality,
            targets=chosen.targets,
            prompts=tuple(
                PromptSet(target, "fairray-1", templates, names) for target, names in chosen.names.items()
            ),
            notes=(*card.notes, note),
        )

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the disease's summary table into rows."""
        chosen, file = DISEASES[self.disease], f"data_summary_{self.disease}.csv"
        table = raw.table(
            *(
                f"{folder}{file}"
                for folder in ("", f"{chosen.folder}/ReadMe/", f"{chosen.folder}/", "ReadMe/")
            ),
            columns=(*harvard.COLUMNS, self.disease, "use"),
        )
        rows = harvard.people(table)
        rows[chosen.targets[-1].name] = harvard.labels(table[self.disease], chosen.classes)
        if self.disease == "amd":
            rows["amd"] = [
                _AMD[stage != "normal"] if stage in _STAGES else None for stage in rows["amd_stage"]
            ]
        names, pattern = table["filename"].tolist(), "data_*.npz"
        if self.pixels == "jpg":
            names, pattern = [harvard.picture_name(name, "slo_") for name in names], "slo_*.jpg"
        # The folder of all diseases, or that of one with its parts.
        own = raw.find(chosen.folder) is not None
        folders = harvard.part_folders(
            *((f"{chosen.folder}/", f"{chosen.folder}/Dataset/") if own else ("",))
        )
        return harvard.with_files(raw, rows, names, folders, pattern)

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read a picture, an array or a volume."""
        return harvard.read_volume(Path(row["_image"])) if self.pixels == "oct" else super().read(row)
