"""``adni-15t``: brain MRI of people with and without Alzheimer's disease (ADNI 1, screening scans at 1.5 tesla)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from shards.adapter import Access, Facts
from shards.card import Attribute, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import kept, words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, SEX, Scans, age_groups

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_COLUMNS = ("Image Data ID", "Subject", "Group", "Sex", "Age", "Visit")
_SCANS = ("ADNI/**/*.nii", "ADNI/**/*.nii.gz")
_IMAGE = re.compile(r"I\d+")
_BINARY = ("CN", "AD")
#: The visit whose scans FairMedFM and MEDFAIR take.
_SCREENING = "sc"


class Adni15T(Scans):
    """The list of a LONI image collection beside its folder ``ADNI``.

    Attributes
    ----------
    table
        Glob of the list, for the other collections: ``ADNI1_Baseline_3T*.csv`` are the scans at 3 tesla.
    """

    name: ClassVar[str] = "adni-15t"
    summary: ClassVar[str] = (
        "1,075 brain MRIs (ADNI 1, 1.5 T): Alzheimer's disease, mild impairment or neither; sex, age"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "brain MRI",
        "ADNI data use agreement",
        1_075,
        ("sex", "age", "visit"),
        Access(
            "request",
            "https://ida.loni.usc.edu",
            "Apply for ADNI, then download the image collection ADNI1:Screening 1.5T (NIfTI) with its CSV list, and unpack "
            "both in one folder.",
            expected=("ADNI1_Screening_1.5T*.csv", "ADNI/*_S_*"),
        ),
    )
    source: ClassVar[str] = "https://adni.loni.usc.edu"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("alzheimers", _BINARY, positive="AD"),
        Target("alzheimers_fairmedfm", _BINARY, positive="AD"),
        Target("diagnosis", ("CN", "MCI", "AD")),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("visit"))
    published: ClassVar[tuple[str, ...]] = ("description",)
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        *(
            PromptSet(name, "fairmedfm-1", ("a brain MRI of {}",), (("normal",), ("Alzheimer's disease",)))
            for name in ("alzheimers", "alzheimers_fairmedfm")
        ),
        PromptSet(
            "diagnosis",
            "fairray-1",
            ("a brain MRI of {}", "a T1-weighted MRI of the brain, {}"),
            (("a cognitively normal person",), ("mild cognitive impairment",), ("Alzheimer's disease",)),
        ),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        age_groups("medfair", 75, closed="right", note="As the notebook of MEDFAIR groups: 75 is young."),
        replace(
            FAIRMEDFM_AGES[0],
            note="Only eight of the 550 scans are of people below 60: FairMedFM's own test part has none.",
        ),
        FAIRMEDFM_AGES[1],
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Target alzheimers is null for mild cognitive impairment (MCI), which is a class of diagnosis; alzheimers_fairmedfm is "
        "null for visits other than screening (sc) too, as in FairMedFM and MEDFAIR (550 scans of 417 subjects).",
        "A subject has several scans; FairMedFM split them by scan, so that the same people were in training and test.",
    )
    shown: ClassVar[str | None] = "mri"
    plane: ClassVar[Plane] = "axial"
    landmarks: ClassVar[tuple[str, ...]] = ("ADNI1_*.csv",)

    table: str = Field(default="ADNI1_Screening_1.5T*.csv", description="glob of the collection's list")

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Find the scans of the list in the nested folders, by the number of each."""
        import pandas as pd

        facts = raw.table(raw.match(self.table).relative_to(raw.path), columns=_COLUMNS)
        raw.need("ADNI")
        places = _places(raw.files(*_SCANS))
        names, groups = facts["Image Data ID"], facts["Group"]
        binary = [None if group == "MCI" else group for group in groups]
        here = [places.get(name) for name in names]
        return pd.DataFrame(
            {
                "sample_id": names,
                "subject_id": facts["Subject"],
                "alzheimers": binary,
                "alzheimers_fairmedfm": [
                    group if visit == _SCREENING else None
                    for group, visit in zip(binary, facts["Visit"], strict=True)
                ],
                "diagnosis": groups,
                "sex": words(facts["Sex"], SEX_CODES),
                "age": years(facts["Age"]),
                "visit": kept(facts["Visit"]),
                "description": facts["Description"] if "Description" in facts.columns else None,
                "_image": [None if path is None else str(path) for path in here],
                "_reject": [None if path is not None else "missing_image" for path in here],
                "_detail": [
                    None if path is not None else f"no file below ADNI/{subject} is of image {name}"
                    for path, subject, name in zip(here, facts["Subject"], names, strict=True)
                ],
            },
            dtype=object,
        )


def _places(files: list[Path]) -> dict[str, Path]:
    """Return files by the number of their image: a folder above them, or the end of their name."""
    places: dict[str, Path] = {}
    for path in files:
        last = path.name.split(".nii")[0].rsplit("_", 1)[-1]
        for name in (last, *(part.name for part in path.parents)):
            if _IMAGE.fullmatch(name):
                places.setdefault(name, path)
    return places
