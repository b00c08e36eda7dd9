"""``papila``: colour fundus photographs of both eyes of the same patients (Kovalyk et al. 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, GroupPreset, PromptSet, Target
from shards.datasets._coding import words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, MEDFAIR_AGES, SEX, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

#: Eye -> ending of its files' names.
_EYES = {"right": "OD", "left": "OS"}
_COLUMNS = ("Age", "Gender", "Diagnosis")
DIAGNOSES: Mapping[str, str] = {"0": "healthy", "1": "glaucoma", "2": "suspect"}


class Papila(Published):
    """The publisher's folder: clinical data of right and left eyes, and the photographs."""

    name: ClassVar[str] = "papila"
    summary: ClassVar[str] = (
        "488 fundus photographs, both eyes of 244 patients: glaucoma, suspects kept apart; sex, age, eye"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "colour fundus photograph",
        "CC BY 4.0",
        488,
        ("sex", "age", "eye"),
        Access(
            "open",
            "https://doi.org/10.6084/m9.figshare.14798004",
            "Download the archive of the figshare record (about 560 MB) and unpack it.",
            files=("figshare:14798004",),
            expected=(
                "ClinicalData/patient_data_od.*",
                "ClinicalData/patient_data_os.*",
                "FundusImages",
            ),
        ),
    )
    source: ClassVar[str] = "doi:10.6084/m9.figshare.14798004; doi:10.1038/s41597-022-01388-1"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("glaucoma", ("healthy", "glaucoma"), positive="glaucoma"),
        Target("diagnosis", tuple(DIAGNOSES.values())),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, Attribute("eye"))
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet("glaucoma", "fairmedfm-1", ("a fundus image of a {}",), (("normal",), ("glaucoma",))),
        PromptSet(
            "diagnosis",
            "fairray-1",
            ("a fundus photograph of {}",),
            (("a healthy eye",), ("an eye with glaucoma",), ("an eye that may have glaucoma",)),
        ),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        replace(
            FAIRMEDFM_AGES[0],
            note="What its other loaders do. FairMedFM's own loader of this dataset compares a 0/1 column with 60, so that "
            "everybody is in one group and the gap is 0.",
        ),
        FAIRMEDFM_AGES[1],
        MEDFAIR_AGES,
    )
    notes: ClassVar[tuple[str, ...]] = (
        "A patient has two eyes, which stay in one split; each eye has a diagnosis of its own.",
        "Target glaucoma is unknown for suspects, whom FairMedFM and MEDFAIR drop (420 eyes are left); "
        "target diagnosis has them as a class.",
        "The experts' outlines of disc and cup are not converted.",
    )
    landmarks: ClassVar[tuple[str, ...]] = ("ClinicalData", "FundusImages")
    listed: ClassVar[tuple[str, ...]] = ("FundusImages/*.jpg",)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the tables of both eyes into rows."""
        import pandas as pd

        return pd.concat([_eye(raw, eye, ending) for eye, ending in _EYES.items()])


def _eye(raw: RawFolder, eye: str, ending: str) -> pd.DataFrame:
    stem = f"ClinicalData/patient_data_{ending.lower()}"
    table = _below_header(raw.table(f"{stem}.csv", f"{stem}.xlsx", columns=_COLUMNS))
    patients: list[Any] = [_patient(text) for text in table["ID"]]
    names: list[Any] = [None if patient is None else f"RET{patient}{ending}" for patient in patients]
    diagnosis: list[Any] = [
        None if code is None else DIAGNOSES.get(code.removesuffix(".0"), code) for code in table["Diagnosis"]
    ]
    binary: list[Any] = [None if label == "suspect" else label for label in diagnosis]
    images: list[Any] = [
        None if name is None else str(raw.path / "FundusImages" / f"{name}.jpg") for name in names
    ]
    return table[[]].assign(
        sample_id=names,
        subject_id=patients,
        diagnosis=diagnosis,
        glaucoma=binary,
        sex=words(table["Gender"], {"0": "male", "1": "female"}),
        age=years(table["Age"]),
        eye=eye,
        _image=images,
    )


def _below_header(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out what remains of a header of several rows.

    The publisher's sheets have three: groups of columns, columns, and a row with nothing but ``ID``, whose column has no
    other name. Tables that were saved again have one.
    """
    if "ID" not in table.columns:
        table = table.rename(columns={table.columns[0]: "ID"})
    header = table["ID"].isna() & (table["Age"].isna() | (table["Age"] == "Age")) | (table["ID"] == "ID")
    return table[~header]


def _patient(text: str | None) -> str | None:
    """Return a patient's number with three digits, from ``#002`` or, where a sheet lost it, ``2``."""
    found = None if text is None else re.fullmatch(r"#?(\d+)(?:\.0)?", text)
    return text if found is None else f"{int(found[1]):03d}"
