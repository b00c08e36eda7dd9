"""``brset``: colour fundus photographs from São Paulo (Nakayama et al. 2024).

Releases spell some columns and the table itself differently; the one at hand is known by its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import kept, words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, SEX, Published

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLES = ("labels_brset.csv", "labels.csv")
_IMAGES = "fundus_photos"
#: The one column whose spelling tells the releases apart.
_RELEASES = {"iluminaton": "1.0.0", "Illuminaton": "1.0.1"}
#: Our name of a column -> spellings, without capitals and signs.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "image_id": ("imageid", "image"),
    "patient_id": ("patientid", "patient"),
    "camera": ("camera", "cameramodel"),
    "patient_age": ("patientage", "age"),
    "patient_sex": ("patientsex", "sex"),
    "exam_eye": ("exameye", "eye", "laterality"),
    "diabetes": ("diabetes",),
    "nationality": ("nationality",),
    "quality": ("quality", "imagequality"),
    "DR_ICDR": ("dricdr", "icdr"),
    "DR_SDRG": ("drsdrg", "sdrg"),
}
_EYES = {"right": "right", "left": "left", "od": "right", "os": "left", "r": "right", "l": "left"}
#: Digits of the eye in the releases that document them.
_EYE_CODES = {**_EYES, "1": "right", "2": "left"}
GRADES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
SCOTTISH = ("no retinopathy", "mild background", "moderate background", "severe background", "proliferative")
_SCALES = {"DR_ICDR": GRADES, "DR_SDRG": SCOTTISH}
_BINARY = {GRADES[0]: "normal", **dict.fromkeys(GRADES[1:], "retinopathy")}
#: The publisher's findings (0 or 1) and words for them.
FINDINGS: Mapping[str, str] = {
    "diabetic_retinopathy": "diabetic retinopathy",
    "macular_edema": "macular edema",
    "scar": "a scar",
    "nevus": "a nevus",
    "amd": "age-related macular degeneration",
    "vascular_occlusion": "a vascular occlusion",
    "hypertensive_retinopathy": "hypertensive retinopathy",
    "drusens": "drusen",
    "hemorrhage": "a hemorrhage",
    "retinal_detachment": "a retinal detachment",
    "myopic_fundus": "a myopic fundus",
    "increased_cup_disc": "an increased cup-to-disc ratio",
    "other": "another disease",
}
_PRESENCE = {"0": "absent", "1": "present"}


class Brset(Published):
    """The publisher's folder: the table of labels and ``fundus_photos``."""

    name: ClassVar[str] = "brset"
    summary: ClassVar[str] = (
        "16,266 fundus photographs of 8,524 patients: retinopathy, its grades, 13 findings; sex, age, camera, eye, quality"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "colour fundus photograph",
        "PhysioNet Credentialed Health Data License 1.5.0",
        16_266,
        ("sex", "age", "camera", "eye", "quality", "nationality", "diabetes"),
        Access(
            "credentialed",
            "https://physionet.org/content/brazilian-ophthalmological/",
            "Become a credentialed user, complete the training, sign the agreement and download the table and fundus_photos.",
            expected=(_TABLES[0], _IMAGES),
        ),
    )
    source: ClassVar[str] = "doi:10.13026/1pht-2b69"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("retinopathy", ("normal", "retinopathy"), positive="retinopathy"),
        Target("dr_icdr", GRADES),
        Target("dr_sdrg", SCOTTISH),
        *(Target(name, ("absent", "present"), positive="present", family="findings") for name in FINDINGS),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        *map(Attribute, ("camera", "eye", "quality", "nationality", "diabetes")),
    )
    published: ClassVar[tuple[str, ...]] = ("age_raw", "eye_raw")
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet("retinopathy", "fairmedfm-1", ("a fundus image of a {}",), (("normal",), ("retinopathy",))),
        *(
            PromptSet(
                name,
                "fairray-1",
                ("a fundus photograph with {}",),
                (
                    ("no diabetic retinopathy",),
                    *((f"{grade} diabetic retinopathy",) for grade in grades[1:]),
                ),
            )
            for name, grades in (("dr_icdr", GRADES), ("dr_sdrg", SCOTTISH))
        ),
        *(
            PromptSet(
                name,
                "fairray-1",
                ("a fundus photograph with {}",),
                ((f"no {phrase.removeprefix('a ').removeprefix('an ')}",), (phrase,)),
            )
            for name, phrase in FINDINGS.items()
        ),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = FAIRMEDFM_AGES
    notes: ClassVar[tuple[str, ...]] = (
        "A patient has up to four photographs, which stay in one split; FairMedFM splits them by photograph.",
        "Target retinopathy is the grade DR_ICDR above 0, as FairMedFM has it; the finding diabetic_retinopathy differs from "
        "it in about 15 photographs.",
        "The age of a third of the patients is not published: unknown, a row of its own. The nationality of all is one and the "
        "same.",
    )
    landmarks: ClassVar[tuple[str, ...]] = (_TABLES[0], _IMAGES)
    listed: ClassVar[tuple[str, ...]] = (f"{_IMAGES}/*.jpg",)

    def card(self) -> DatasetCard:
        """Describe the dataset and the release that is there."""
        card, release = super().card(), _release(self.folder().table(*_TABLES, columns=()))
        if release != "unknown":
            return replace(card, version=release)
        note = "The table is of a release that is not known here: eyes coded by digits are unknown (column eye_raw has them)."
        return replace(card, version="unknown release", notes=(*card.notes, note))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the table into rows."""
        table = raw.table(*_TABLES, columns=())
        facts = _renamed(raw, table)
        grade, scottish = (_grades(facts[name], names) for name, names in _SCALES.items())
        digits = () if _release(table) != "unknown" else ("0", "1", "2", "3")
        images: list[Any] = [
            None if name is None else f"{raw.path}/{_IMAGES}/{name}.jpg" for name in facts["image_id"]
        ]
        rows = facts[["image_id"]].assign(
            sample_id=facts["image_id"],
            subject_id=facts["patient_id"],
            retinopathy=[_BINARY.get(name, name) for name in grade],
            dr_icdr=grade,
            dr_sdrg=scottish,
            sex=words(facts["patient_sex"], {"1": "male", "2": "female", **SEX_CODES}),
            age=years(facts["patient_age"].map(_age, na_action="ignore")),
            camera=kept(facts["camera"]),
            eye=words(facts["exam_eye"], _EYES if digits else _EYE_CODES, unknown=digits),
            quality=kept(facts["quality"]),
            nationality=kept(facts["nationality"]),
            diabetes=words(facts["diabetes"], {"yes": "yes", "no": "no"}),
            age_raw=facts["patient_age"],
            eye_raw=facts["exam_eye"],
            _image=images,
        )
        for name in FINDINGS:
            rows[name] = [_PRESENCE.get(text, text) for text in _codes(facts[name])]
        return rows


def _release(table: pd.DataFrame) -> str:
    return next((version for name, version in _RELEASES.items() if name in table.columns), "unknown")


def _renamed(raw: RawFolder, table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns under our names, whatever the release calls them."""
    plain = {re.sub(r"[^a-z0-9]", "", str(name).lower()): name for name in table.columns}
    wanted = {**_COLUMNS, **{name: (name.replace("_", ""),) for name in FINDINGS}}
    found = {ours: next((plain[x] for x in theirs if x in plain), None) for ours, theirs in wanted.items()}
    missing = [ours for ours, theirs in found.items() if theirs is None]
    if missing:
        raise raw.refusal(
            f"{raw.need(*_TABLES)} has no column for {missing[0]!r}; expected {', '.join(wanted)}, found "
            f"{', '.join(map(str, table.columns))}. Is this another release?"
        )
    return table[list(found.values())].set_axis(list(found), axis=1)


def _codes(column: Iterable[str | None]) -> list[Any]:
    return [None if text is None else text.removesuffix(".0") for text in column]


def _grades(column: Iterable[str | None], names: tuple[str, ...]) -> list[Any]:
    """Name the grades 0 to 4; what is none stays as it is and is rejected by name."""
    known = {str(place): name for place, name in enumerate(names)}
    return [known.get(text, text) for text in _codes(column)]


def _age(text: str) -> str:
    """Mend numbers of the first release, some of which have the letter O for a zero, or a comma."""
    slip = re.fullmatch(r"[\dOo]+([.,][\dOo]+)?", text)
    return text if slip is None else text.upper().replace("O", "0").replace(",", ".")
