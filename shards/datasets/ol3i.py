"""``ol3i``: CT slices at the third lumbar vertebra and ischemic heart disease to come (Zambrano Chaves et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from shards.adapter import Access, Facts, Pixels, UnreadableSample
from shards.card import Attribute, DatasetCard, GroupPreset, PromptSet, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import kept, words, years
from shards.datasets._published import AGE, BMI, BMI_CLASSES, SEX, Published
from shards.windows import showing

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_TABLE, _SLICES = "clinical_data.csv", "l3_slices.h5"
_COLUMNS = ("anon_id", "age", "sex", "bmi", "smoker", "label_1y", "set_1y", "label_5y", "set_5y")
#: Added to Hounsfield units, so that they fit the 16 bits without sign of a PNG: all values that int16 has keep their places.
OFFSET = 32_768
_SETS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_LABELS = {"0": "absent", "1": "present", "false": "absent", "true": "present"}
_SMOKER = {"0": "no", "1": "yes", "false": "no", "true": "yes"}
_PHRASES = (("no ischemic heart disease",), ("ischemic heart disease",))


class Ol3i(Published):
    """The publisher's folder: ``clinical_data.csv`` and ``l3_slices.h5``."""

    name: ClassVar[str] = "ol3i"
    summary: ClassVar[str] = (
        "8,139 CT slices at L3: ischemic heart disease within 1 or 5 years; sex, age, BMI, smoker"
    )
    facts: ClassVar[Facts] = Facts(
        "classification",
        "abdominal CT slice",
        "Stanford University Dataset Research Use Agreement",
        8_139,
        ("sex", "age", "bmi", "smoker"),
        Access(
            "registration",
            "https://stanfordaimi.azurewebsites.net/datasets/3263e34a-252e-460f-8f63-d585a9bfecfc",
            f"Register, accept the agreement, and download {_TABLE} and {_SLICES}.",
            expected=(_TABLE, _SLICES),
        ),
    )
    source: ClassVar[str] = (
        "https://stanfordaimi.azurewebsites.net/datasets/3263e34a-252e-460f-8f63-d585a9bfecfc"
    )
    targets: ClassVar[tuple[Target, ...]] = tuple(
        Target(f"ischemic_heart_disease_{years}", ("absent", "present"), positive="present")
        for years in ("1y", "5y")
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE, BMI, Attribute("smoker"))
    published: ClassVar[tuple[str, ...]] = ("set_1y", "set_5y", "smoker_raw")
    prompts: ClassVar[tuple[PromptSet, ...]] = tuple(
        PromptSet(
            f"ischemic_heart_disease_{years}",
            "fairray-1",
            ("an abdominal CT of a patient with {}", "a CT slice at the third lumbar vertebra, {}"),
            _PHRASES,
        )
        for years in ("1y", "5y")
    )
    notes: ClassVar[tuple[str, ...]] = (
        f"Pixels are Hounsfield units plus {OFFSET} in 16 bits; the window on this card counts that in and shows -1000 to 1000 "
        "units, as the authors do.",
        "Few have the disease within a year: look at the number of positives in each group before comparing groups.",
        "Target ischemic_heart_disease_5y is unknown where the publisher has no label, that is for those not followed so long.",
        "A subject is an exam (anon_id); the publisher is taken to have one of each patient.",
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = (BMI_CLASSES,)
    shown: ClassVar[str | None] = "ol3i"
    landmarks: ClassVar[tuple[str, ...]] = (_TABLE, _SLICES)

    horizon: Literal["1y", "5y"] = Field(
        "1y", description="whose split of the publisher's two is used: that for one year or that for five"
    )

    def card(self) -> DatasetCard:
        """Describe the dataset; its window counts in the offset of the stored pixels."""
        low, high = showing("ol3i").window or (0.0, 0.0)
        card = replace(super().card(), window=(low + OFFSET, high + OFFSET))
        note = f"The split is the publisher's set_{self.horizon}."
        first = sorted(card.targets, key=lambda target: not target.name.endswith(self.horizon))
        return replace(card, targets=tuple(first), notes=(*card.notes, note))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the table into rows; slices that it does not name are listed too."""
        import pandas as pd

        from shards.formats.hdf5 import hdf5_arrays

        facts = raw.table(_TABLE, columns=_COLUMNS)
        path = raw.need(_SLICES)
        try:
            slices = hdf5_arrays(path)
        except UnreadableSample as error:
            raise raw.refusal(f"{path} is not the publisher's file: {error.detail}.") from error
        smoker: list[Any] = [_word(text, _SMOKER) for text in kept(facts["smoker"])]
        rows = facts[["set_1y", "set_5y"]].assign(
            sample_id=facts["anon_id"],
            subject_id=facts["anon_id"],
            split=words(facts[f"set_{self.horizon}"], _SETS),
            sex=words(facts["sex"], SEX_CODES),
            age=years(facts["age"]),
            bmi=kept(facts["bmi"]),
            smoker=smoker,
            smoker_raw=facts["smoker"],
            _image=str(path),
            _source=[f"{_SLICES}/{name}" for name in facts["anon_id"]],
        )
        for years_ in ("1y", "5y"):
            rows[f"ischemic_heart_disease_{years_}"] = [
                _word(text, _LABELS) for text in kept(facts[f"label_{years_}"])
            ]
        strays = sorted(set(slices) - set(facts["anon_id"].dropna()))
        unlisted = pd.DataFrame(
            {
                "sample_id": strays,
                "_image": str(path),
                "_source": [f"{_SLICES}/{name}" for name in strays],
                "_reject": "not_listed",
                "_detail": f"the slice is in the file, but no row of {_TABLE} names it",
            },
            dtype=object,
        )
        return pd.concat([rows, unlisted], ignore_index=True) if strays else rows

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read one slice as 16 bits without sign."""
        from shards.formats.hdf5 import read_hdf5

        name = row["sample_id"]
        units = read_hdf5(Path(row["_image"]), name)
        units = units.squeeze() if units.ndim > 2 else units
        if units.ndim != 2 or units.size == 0:
            raise UnreadableSample(
                "unsupported_pixels", f"slice {name} has the shape {units.shape}; expected rows x columns"
            )
        if units.dtype.kind not in "if" or units.dtype.itemsize < 2:
            raise UnreadableSample(
                "unsupported_pixels",
                f"slice {name} holds {units.dtype}; expected Hounsfield units with a sign",
            )
        if not np.isfinite(units).all():
            raise UnreadableSample("nan_pixels", f"slice {name} has values that are no finite number")
        low, high = float(units.min()), float(units.max())
        if not -OFFSET <= low <= high < OFFSET:
            raise UnreadableSample(
                "unsupported_pixels",
                f"slice {name} has the values {low:g} to {high:g}; 16 bits do not hold them",
            )
        return Pixels((np.rint(units).astype(np.int32) + OFFSET).clip(0, 65_535).astype(np.uint16))


def _word(text: str | None, codes: Mapping[str, str]) -> str | None:
    """Translate a code; another text stays as it is."""
    return None if text is None else codes.get(text.lower().removesuffix(".0"), text)
