"""``mimic-cxr``: MIMIC-CXR-JPG (Johnson et al. 2019), joined with the patients and admissions of MIMIC-IV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
    finding_prompts,
    finding_target,
    health_prompts,
    labelled,
    values_by,
)
from shards.datasets._published import AGE, SEX, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_METADATA, _LABELS, _SPLIT = (f"mimic-cxr-2.0.0-{part}.csv" for part in ("metadata", "chexpert", "split"))
_SPLITS = {"train": "train", "validate": "val", "test": "test"}
#: Where the tables of MIMIC-IV lie below a folder, from its first release to the latest.
_HOSPITAL = ("", "hosp/", "core/")
#: What several admissions of a patient may disagree in.
_SOCIAL = ("insurance", "language", "marital_status")
_PEOPLE = ("subject_id", "sex", "anchor_age", "anchor_year", "race", "race_raw", "race_admissions")
#: How the publisher's words for races begin, by group.
RACES = {
    "white": ("white", "portuguese"),
    "black": ("black",),
    "asian": ("asian",),
    "hispanic": ("hispanic", "south american"),
    "native": ("american indian",),
    "pacific": ("native hawaiian",),
    "multiple": ("multiple",),
    "other": ("other",),
}
_UNTOLD = ("unable to obtain", "patient declined to answer")
#: The publisher's words that contain WHITE, all that FairMedFM calls White.
_WHITE = (
    "WHITE",
    "WHITE - OTHER EUROPEAN",
    "WHITE - RUSSIAN",
    "WHITE - EASTERN EUROPEAN",
    "WHITE - BRAZILIAN",
)


class MimicCxr(Published):
    """The publisher's folder of JPEG images, and the tables of MIMIC-IV in it or in a folder of their own.

    Attributes
    ----------
    uncertain
        What an uncertain label (-1) stands for.
    mimic_iv
        Folder with ``patients.csv`` and ``admissions.csv`` (or ``.csv.gz``), or with a folder ``hosp`` or ``core`` of these.
    """

    name: ClassVar[str] = "mimic-cxr"
    summary: ClassVar[str] = (
        "377,110 chest X-rays: no finding and 13 findings; sex, age, race, insurance, language, view"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "chest X-ray",
        "PhysioNet Credentialed Health Data License 1.5.0",
        377_110,
        ("sex", "age", "anchor_age", "race", *_SOCIAL, "view"),
        Access(
            "credentialed",
            "https://physionet.org/content/mimic-cxr-jpg/2.0.0/",
            "Become a credentialed user of PhysioNet, sign the agreements of MIMIC-CXR-JPG and MIMIC-IV, download both, and "
            "give the folder of MIMIC-IV as 'mimic_iv' or put patients.csv.gz and admissions.csv.gz beside the other tables.",
            expected=(f"{_METADATA}*", f"{_LABELS}*", f"{_SPLIT}*", "files"),
        ),
    )
    source: ClassVar[str] = "https://physionet.org/content/mimic-cxr-jpg/"
    targets: ClassVar[tuple[Target, ...]] = (NO_FINDING, HEALTHY, *map(finding_target, LABELLER_FINDINGS))
    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        Attribute("anchor_age", "number", "years"),
        *map(Attribute, ("race", *_SOCIAL, "view")),
    )
    published: ClassVar[tuple[str, ...]] = (
        *(f"{column(label)}_code" for label in LABELLER_COLUMNS),
        *("study_id", "race_raw", "race_admissions"),
    )
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        *health_prompts(healthy=True),
        *(prompts for label in LABELLER_FINDINGS for prompts in finding_prompts(label)),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        replace(AGE_PRESETS[0], column="anchor_age"),
        replace(AGE_PRESETS[1], column="anchor_age"),
        *AGE_PRESETS[2:],
        GroupPreset(
            "fairmedfm",
            "race",
            "race_raw",
            ("white", "non-white"),
            values=(_WHITE,),
            otherwise="non-white",
            note="FairMedFM takes a patient's first admission and counts unknown, unable to obtain and declined as non-white.",
        ),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "Labels are read from reports by a program. Images of studies that its table lacks have no class.",
        BLANK_NOTE,
        "Target healthy_fairmedfm is that of FairMedFM: the positive class is health (No Finding), blank and uncertain are "
        "diseased.",
        "Age is the age in the year of the study (anchor_age + year of StudyDate - anchor_year); anchor_age is one for all "
        "studies of a patient, and FairMedFM groups by it. An anchor_age of 91 stands for all ages above 89.",
        "Race is a coarse group of all admissions of a patient, 'multiple' where they name several groups, unknown where none "
        "tells; PORTUGUESE is taken for white. Column race_raw is the first admission's word, race_admissions all words.",
        "Insurance, language and marital status are 'multiple' where the admissions of a patient differ.",
        "Patients whom the tables of MIMIC-IV lack (about one image in 19 has no sex) have unknown attributes.",
        "MedCLIP and RAD-DINO were trained on MIMIC-CXR images; RAD-DINO publishes the list of its own. "
        "MedMAE and MedSigLIP perhaps.",
    )
    landmarks: ClassVar[tuple[str, ...]] = (_METADATA, f"{_METADATA}.gz")
    listed: ClassVar[tuple[str, ...]] = ("files/p*/p*/s*/*.jpg",)

    uncertain: Uncertain = Field(default="ignore", description="what an uncertain label (-1) stands for")
    mimic_iv: Path | None = Field(
        default=None, description="folder of MIMIC-IV, if its tables lie not with the images' tables"
    )

    def card(self) -> DatasetCard:
        """Describe the dataset: what uncertain labels count as, and whose split it has."""
        card, given = super().card(), self.folder().find(*_either(_SPLIT)) is not None
        split = (
            "Splits are the publisher's."
            if given
            else f"Converted without the publisher's split: no {_SPLIT}."
        )
        return replace(card, notes=(*card.notes, UNCERTAIN_NOTES[self.uncertain], split))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Join images with their studies' labels, their patients and, where there is one, the publisher's split."""
        needed = ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate")
        facts = raw.table(*_either(_METADATA), columns=needed)[list(needed)]
        undated = facts["StudyDate"][~facts["StudyDate"].str.fullmatch(r"\d{8}(\.0)?", na=False)]
        if len(undated):
            raise raw.refusal(
                f"column 'StudyDate' of {_METADATA} has {undated.iloc[0]!r}; expected eight digits such as 21800506."
            )
        labels = raw.table(*_either(_LABELS), columns=("study_id", *LABELLER_COLUMNS))
        labels = labelled(labels, self.uncertain).assign(study_id=labels["study_id"])
        facts = joined(facts, labels, "study_id", what=_LABELS)
        facts = joined(facts, self._people(raw), "subject_id", what="patients.csv")
        facts = facts.assign(
            sample_id=facts["dicom_id"],
            age=_age_at_study(facts),
            view=kept(facts["ViewPosition"]),
            _image=[
                f"{raw.path}/files/p{person[:2]}/p{person}/s{study}/{image}.jpg"
                for person, study, image in zip(
                    facts["subject_id"], facts["study_id"], facts["dicom_id"], strict=True
                )
            ],
        )
        if raw.find(*_either(_SPLIT)) is not None:
            splits = raw.table(*_either(_SPLIT), columns=("dicom_id", "split"))[["dicom_id", "split"]]
            splits["split"] = words(splits["split"], _SPLITS)
            facts = joined(facts, splits, "dicom_id", what=_SPLIT)
        return facts

    def _people(self, raw: RawFolder) -> pd.DataFrame:
        """Return sex, anchor, races and social facts, one row per patient."""
        root = self.mimic_iv.expanduser().absolute() if self.mimic_iv is not None else raw.path
        people, stays = (
            raw.table(
                *(f"{root}/{part}{name}" for part in _HOSPITAL for name in _either(table)), columns=columns
            )
            for table, columns in (
                ("patients.csv", ("subject_id", "gender", "anchor_age", "anchor_year")),
                ("admissions.csv", ("subject_id", "race")),
            )
        )
        stays["group"] = words(stays["race"], _groups(stays["race"]), unknown=_UNTOLD)
        said, groups = (values_by(stays, "subject_id", name) for name in ("race", "group"))
        first = stays.drop_duplicates("subject_id").set_index("subject_id")["race"].to_dict()
        who = people["subject_id"]
        words_said: list[Any] = [" | ".join(said.get(person, ())) or None for person in who]
        made = people.assign(
            sex=words(people["gender"], SEX_CODES),
            anchor_age=years(people["anchor_age"]),
            race=_one_each(who, groups),
            race_raw=who.map(first),
            race_admissions=words_said,
        )
        for name in _SOCIAL:
            known = kept(stays[name]) if name in stays else None
            made[name] = _one_each(who, values_by(stays.assign(known=known), "subject_id", "known"))
        return made[[*_PEOPLE, *_SOCIAL]]


def _either(table: str) -> tuple[str, str]:
    """Return the names of a table: as it is downloaded, and unpacked."""
    return table, f"{table}.gz"


def _groups(races: pd.Series[str]) -> dict[str, str]:
    """Return the coarse group of every word for a race that occurs, in lower case."""
    texts = {text.lower() for text in races.dropna()}
    return {text: group for text in texts for group, starts in RACES.items() if text.startswith(starts)}


def _one_each(people: pd.Series[str], values: dict[str, tuple[str, ...]]) -> list[Any]:
    """Return each person's only value, ``multiple`` where there are several, None where there is none."""
    found = [values.get(person, ()) for person in people]
    return [several[0] if len(several) == 1 else "multiple" if several else None for several in found]


def _age_at_study(facts: pd.DataFrame) -> list[Any]:
    """Return the age in the year of each study; None for patients whom MIMIC-IV lacks."""
    columns = (facts["anchor_age"], facts["anchor_year"], facts["StudyDate"])
    return [
        None if None in (age, year, date) else age + int(date[:4]) - int(year)
        for age, year, date in zip(*columns, strict=True)
    ]
