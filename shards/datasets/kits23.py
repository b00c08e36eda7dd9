"""``kits23``: abdominal CT with kidneys, kidney tumours and cysts (Heller et al., KiTS challenge 2023)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from shards.adapter import Access, Facts
from shards.card import Attribute, GroupPreset, Structure
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import joined, kept, words, years
from shards.datasets._published import AGE, BMI, BMI_CLASSES, SEX, Scans

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder
    from shards.formats.volume_file import Plane

_RECORDS = "kits23.json"
_IMAGE, _MASK = "imaging.nii.gz", "segmentation.nii.gz"
_SEX = {**SEX_CODES, "transgender_male_to_female": "other"}
#: Our attribute -> field of a record: words, and numbers.
_WORDS = {
    "smoking": "smoking_history",
    "surgery_type": "surgery_type",
    "surgical_procedure": "surgical_procedure",
    "malignant": "malignant",
    "histology": "tumor_histologic_subtype",
    "t_stage": "pathology_t_stage",
}
_NUMBERS = {"bmi": "bmi", "tumour_size": "radiographic_size"}
_FIELDS = ("case_id", "gender", "age_at_nephrectomy", *_WORDS.values(), *_NUMBERS.values())


class Kits23(Scans):
    """The publisher's folder ``dataset``: ``kits23.json`` and a folder per case with the CT beside its labels."""

    name: ClassVar[str] = "kits23"
    summary: ClassVar[str] = (
        "489 abdominal CTs: kidney, tumour and cyst; sex, age, BMI, smoking, surgery, pathology"
    )
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "abdominal CT",
        "CC BY-NC-SA 4.0",
        489,
        ("sex", "age", "bmi", "tumour_size", *_WORDS),
        Access(
            "open",
            "https://kits-challenge.org/kits23",
            "Clone the publisher's repository (it holds kits23.json and the label volumes), then run its command "
            "kits23_download_data, which puts the CT of each case beside its labels.",
            expected=("kits23.json", "case_00000/imaging.nii.gz", "case_00000/segmentation.nii.gz"),
        ),
    )
    source: ClassVar[str] = "https://kits-challenge.org/kits23"
    structures: ClassVar[tuple[Structure, ...]] = (
        Structure("kidney", (1,)),
        Structure("tumour", (2,)),
        Structure("cyst", (3,)),
        Structure("kidney_and_mass", (1, 2, 3)),
        Structure("mass", (2, 3)),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        BMI,
        Attribute("tumour_size", "number", "cm"),
        *(Attribute(name) for name in _WORDS),
    )
    published: ClassVar[tuple[str, ...]] = ("sex_raw",)
    presets: ClassVar[tuple[GroupPreset, ...]] = (
        GroupPreset(
            "fairmedfm",
            "sex",
            "sex_raw",
            ("female", "male"),
            values=(("female",), ("male", "transgender_male_to_female")),
            note="FairMedFM counts whoever is not female as male, the one transgender woman among them.",
        ),
        BMI_CLASSES,
    )
    notes: ClassVar[tuple[str, ...]] = (
        "The regions that the challenge scores are kidney_and_mass, mass and tumour; kidney and cyst are the labels alone. "
        "Its tolerances of surface Dice are 1.0331 mm (kidney_and_mass), 1.1329 mm (mass) and 1.1498 mm (tumour).",
        "There are cases 00000 to 00299 and 00400 to 00588; FairMedFM's script leaves case_00588 out.",
        "All patients had a kidney tumour removed: these are no healthy people, and ages are those at the operation.",
    )
    shown: ClassVar[str | None] = "ct-kidney"
    plane: ClassVar[Plane] = "axial"
    mask_codes: ClassVar[Mapping[int, int]] = {1: 1, 2: 2, 3: 3}
    landmarks: ClassVar[tuple[str, ...]] = (_RECORDS,)

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Join the cases' folders with their records, by case and never by position."""
        import pandas as pd

        facts = _records(raw)
        cases = {path.name for path in raw.path.glob("case_*") if path.is_dir()}
        _check_imaging(raw, cases)
        names = pd.DataFrame({"case_id": sorted(cases | set(facts["case_id"]))}, dtype=object)
        facts = joined(names, facts, "case_id", what=_RECORDS)
        return pd.DataFrame(
            {
                "sample_id": facts["case_id"],
                "subject_id": facts["case_id"],
                "sex": words(facts["gender"], _SEX),
                "sex_raw": facts["gender"],
                "age": years(facts["age_at_nephrectomy"]),
                **{name: kept(facts[field]) for name, field in _WORDS.items()},
                **{name: facts[field] for name, field in _NUMBERS.items()},
                "_image": [str(raw.path / case / _IMAGE) for case in facts["case_id"]],
                "_mask": [str(raw.path / case / _MASK) for case in facts["case_id"]],
            },
            dtype=object,
        )


def _records(raw: RawFolder) -> pd.DataFrame:
    """Read the records as texts, one row each."""
    import pandas as pd

    path = raw.need(_RECORDS)
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise raw.refusal(f"{path} is no JSON file: {error}.") from error
    if not isinstance(records, list) or not records or not all(isinstance(one, dict) for one in records):
        raise raw.refusal(f"{path} must be a list of records, one per case.")
    for record in records:
        missing = [field for field in _FIELDS if field not in record]
        if missing:
            raise raw.refusal(
                f"a record of {path} lacks the field {missing[0]!r}; expected {', '.join(_FIELDS)}, found "
                f"{', '.join(record)}."
            )
    texts = [{field: _text(record[field]) for field in _FIELDS} for record in records]
    return pd.DataFrame(texts, columns=list(_FIELDS), dtype=object)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value is None else str(value).strip() or None


def _check_imaging(raw: RawFolder, cases: set[str]) -> None:
    """Tell apart a folder without any CT, as the repository is cloned, from one that lacks a few."""
    if any((raw.path / case / _IMAGE).is_file() for case in cases):
        return
    labels = sum((raw.path / case / _MASK).is_file() for case in cases)
    raise raw.refusal(
        f"{raw.path} has {_MASK} for {labels} cases and {_IMAGE} for none: the CTs are a download of their own. Run "
        "'kits23_download_data' of the publisher's repository, or put each case's CT beside its labels."
    )
