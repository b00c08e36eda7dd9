"""``chexpert``: chest X-rays of Stanford (Irvin et al. 2019), with the demographics published beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from shards.adapter import Access, Facts
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import joined, kept, words, years
from shards.datasets._cxr import (
    AGE_PRESETS,
    BLANK_NOTE,
    HEALTHY,
    LABELLER_COLUMNS,
    LABELLER_FINDINGS,
    NO_FINDING,
    UNCERTAIN_NOTES,
    Uncertain,
    column,
    containing,
    finding_prompts,
    finding_target,
    health_prompts,
    labelled,
)
from shards.datasets._published import AGE, SEX, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_DEMOGRAPHICS = "CHEXPERT DEMO.xlsx"
_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELLER_COLUMNS)
_PEOPLE = ("PATIENT", "PRIMARY_RACE", "GENDER", "AGE_AT_CXR", "ETHNICITY")
#: The full release comes in four archives; those of train have the patients' folders at their top.
_TABLES, _BATCHES = "CheXpert-v1.0 batch 1 (validate & csv)", "CheXpert-v1.0 batch * (train *)"
_PATH = r"((train|valid)/(patient\d+)/.+)\.jpg$"
_REFUSED = ("race and ethnicity unknown", "patient refused")

#: Every race of the publisher's spreadsheet, by the group of a coarser division.
RACES = {
    "asian": ("Asian", "Asian, non-Hispanic", "Asian, Hispanic", "Asian - Historical Conv"),
    "black": ("Black or African American", "Black, non-Hispanic", "Black, Hispanic"),
    "native": (
        "American Indian or Alaska Native",
        "Native American, non-Hispanic",
        "Native American, Hispanic",
    ),
    "pacific": (
        "Native Hawaiian or Other Pacific Islander",
        "Pacific Islander, non-Hispanic",
        "Pacific Islander, Hispanic",
    ),
    "white": ("White", "White, non-Hispanic", "White, Hispanic", "White or Caucasian"),
    "other": ("Other", "Other, non-Hispanic", "Other, Hispanic"),
}
_WHITE = containing([race for races in RACES.values() for race in races], "White")


class Chexpert(Published):
    """The publisher's folder, small, full size or in the four batches of the full release, and the spreadsheet of demographics.

    Attributes
    ----------
    uncertain
        What an uncertain label (-1) stands for.
    demographics
        The spreadsheet, where it lies elsewhere.
    """

    name: ClassVar[str] = "chexpert"
    summary: ClassVar[str] = (
        "223,648 chest X-rays: no finding and 13 findings; sex, age, race, ethnicity, view"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "chest X-ray",
        "Stanford University Dataset Research Use Agreement",
        223_648,
        ("sex", "age", "race", "ethnicity", "view", "projection"),
        Access(
            "registration",
            "https://stanfordmlgroup.github.io/competitions/chexpert/",
            "Register, download CheXpert-v1.0-small or CheXpert-v1.0, and put the spreadsheet of demographics (a download of "
            "its own: https://stanfordaimi.azurewebsites.net/datasets/192ada7c-4d43-466e-b8bb-b81992bb80cf) into its folder.",
            expected=("train.csv", "valid.csv", _DEMOGRAPHICS, "train", "valid"),
        ),
    )
    source: ClassVar[str] = "https://stanfordmlgroup.github.io/competitions/chexpert/"
    targets: ClassVar[tuple[Target, ...]] = (NO_FINDING, HEALTHY, *map(finding_target, LABELLER_FINDINGS))
    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        *map(Attribute, ("race", "ethnicity", "view", "projection")),
    )
    published: ClassVar[tuple[str, ...]] = (
        *(f"{column(label)}_code" for label in LABELLER_COLUMNS),
        *("race_raw", "ethnicity_raw", "sex_demographics", "age_demographics"),
    )
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        *health_prompts(healthy=True),
        *(prompts for label in LABELLER_FINDINGS for prompts in finding_prompts(label)),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        *AGE_PRESETS,
        GroupPreset(
            "fairmedfm",
            "race",
            "race_raw",
            ("white", "non-white"),
            values=(_WHITE,),
            otherwise="non-white",
            note="FairMedFM counts whoever is not called White as non-white: a quarter of these are unknown or refused to say.",
        ),
        GroupPreset("fairray", "race", "race", tuple(RACES), values=tuple(RACES.values())),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Labels of train.csv are read from reports by a program; those of valid.csv were set by three radiologists. The split "
        "val is valid.csv (200 patients); test is carved out of train.csv.",
        BLANK_NOTE,
        "Target healthy_fairmedfm is that of FairMedFM: the positive class is health (No Finding), blank and uncertain are "
        "diseased.",
        "Sex and age are those of the image tables; sex_demographics and age_demographics hold what the spreadsheet says of "
        "the patient, which differs for a few. Patients whom the spreadsheet lacks have no race and ethnicity.",
        "Ages are capped at 90; age 0 stands in a few rows and is kept.",
        "Race is kept in the publisher's twenty words, many of which name an ethnicity too: preset fairray joins them into six "
        "groups.",
        "MedCLIP, MoCo-CXR, GLoRIA and RAD-DINO were trained on CheXpert images; C2L and MedMAE perhaps.",
    )
    landmarks: ClassVar[tuple[str, ...]] = ("train.csv", f"{_TABLES}/train.csv")
    listed: ClassVar[tuple[str, ...]] = (
        *("train/*/*/*.jpg", "valid/*/*/*.jpg"),
        *(f"{_TABLES}/valid/*/*/*.jpg", f"{_BATCHES}/*/*/*.jpg"),
    )

    uncertain: Uncertain = Field(default="ignore", description="what an uncertain label (-1) stands for")
    demographics: Path | None = Field(default=None, description=f"{_DEMOGRAPHICS}, where it lies elsewhere")

    def card(self) -> DatasetCard:
        """Describe the dataset; what uncertain labels count as is said."""
        card = super().card()
        return replace(card, notes=(*card.notes, UNCERTAIN_NOTES[self.uncertain]))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the two tables of images and the spreadsheet of patients into rows."""
        import pandas as pd

        tables = [
            raw.table(f"{part}.csv", f"{_TABLES}/{part}.csv", columns=_COLUMNS) for part in ("train", "valid")
        ]
        facts = pd.concat(tables, ignore_index=True)
        places = facts["Path"].str.extract(_PATH)
        if places[0].isna().any():
            strange = facts["Path"][places[0].isna()].iloc[0]
            raise raw.refusal(
                f"column 'Path' of {raw.path}/train.csv or valid.csv has {strange!r}; expected paths such as "
                "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg."
            )
        facts = joined(facts.assign(PATIENT=places[2]), self._people(raw), "PATIENT", what=_DEMOGRAPHICS)
        return labelled(facts, self.uncertain).assign(
            sample_id=places[0],
            subject_id=places[2],
            split=places[1].map({"train": "train", "valid": "val"}),
            sex=words(facts["Sex"], SEX_CODES),
            age=years(facts["Age"]),
            race=kept(facts["PRIMARY_RACE"], unknown=_REFUSED),
            ethnicity=kept(facts["ETHNICITY"], unknown=_REFUSED),
            view=words(facts["Frontal/Lateral"], {"frontal": "frontal", "lateral": "lateral"}),
            projection=kept(facts["AP/PA"]),
            race_raw=facts["PRIMARY_RACE"],
            ethnicity_raw=facts["ETHNICITY"],
            sex_demographics=facts["GENDER"],
            age_demographics=facts["AGE_AT_CXR"],
            _image=_images(raw, places[0]),
        )

    def _people(self, raw: RawFolder) -> pd.DataFrame:
        given = [str(self.demographics.expanduser().absolute())] if self.demographics is not None else []
        names = given or [_DEMOGRAPHICS, f"../{_DEMOGRAPHICS}"]
        return raw.table(*names, columns=_PEOPLE)[list(_PEOPLE)].drop_duplicates()


def _images(raw: RawFolder, places: pd.Series[str]) -> list[str]:
    """Return where the images of paths such as ``train/patient00001/study1/view1_frontal`` are, or should be."""
    homes = {f"train/{folder.name}": str(folder) for folder in raw.path.glob(f"{_BATCHES}/patient*")}
    homes |= {f"valid/{folder.name}": str(folder) for folder in raw.path.glob(f"{_TABLES}/valid/patient*")}
    parts = [place.split("/", 2) for place in places]
    return [
        f"{homes.get(f'{part}/{patient}', f'{raw.path}/{part}/{patient}')}/{rest}.jpg"
        for part, patient, rest in parts
    ]
