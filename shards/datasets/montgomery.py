"""``montgomery``: chest X-rays of Montgomery County with outlines of the lungs and tuberculosis (Jaeger et al. 2014)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shards.adapter import Access, Facts, Pixels
from shards.card import Attribute, PromptSet, Structure, Target
from shards.datasets._coding import SEX as SEX_CODES
from shards.datasets._coding import words, years
from shards.datasets._published import AGE, SEX, Published
from shards.images import read_image
from shards.masks import load_mask

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

_IMAGES, _READINGS = "CXR_png", "ClinicalReadings"
#: Folder of a lung's outlines -> stored label; FairMedFM merges them to the same two.
_LUNGS = {"leftMask": 128, "rightMask": 255}
_NAME = re.compile(r"MCUCXR_\d{4}_([01])")
_CLASSES = {"0": "normal", "1": "tuberculosis"}
_SEX = re.compile(r"patient'?s?\s*sex\s*[:=]?\s*([a-z]+)", re.IGNORECASE)
_AGE = re.compile(r"patient'?s?\s*age\s*[:=]?\s*(\d+\s*[a-z]*)", re.IGNORECASE)


class Montgomery(Published):
    """The publisher's folder: ``CXR_png``, ``ManualMask`` and ``ClinicalReadings``."""

    name: ClassVar[str] = "montgomery"
    summary: ClassVar[str] = (
        "138 chest X-rays: outlines of both lungs, tuberculosis (58) or normal (80); sex, age"
    )
    facts: ClassVar[Facts] = Facts(
        "classification+segmentation",
        "chest X-ray",
        "public, with attribution to the NLM and Montgomery County",
        138,
        ("sex", "age"),
        Access(
            "open",
            "https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/Montgomery-County-CXR-Set/MontgomerySet/",
            "Download the folders CXR_png, ManualMask and ClinicalReadings, or the archive that has them.",
            files=("https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",),
            expected=(_IMAGES, *(f"ManualMask/{folder}" for folder in _LUNGS), _READINGS),
        ),
    )
    source: ClassVar[str] = "doi:10.3978/j.issn.2223-4292.2014.11.20"
    targets: ClassVar[tuple[Target, ...]] = (
        Target("tuberculosis", tuple(_CLASSES.values()), positive="tuberculosis"),
    )
    structures: ClassVar[tuple[Structure, ...]] = (
        Structure("left_lung", (128,)),
        Structure("right_lung", (255,)),
        Structure("lungs", (128, 255)),
    )
    attributes: ClassVar[tuple[Attribute, ...]] = (SEX, AGE)
    published: ClassVar[tuple[str, ...]] = ("reading",)
    prompts: ClassVar[tuple[PromptSet, ...]] = (
        PromptSet(
            "tuberculosis",
            "fairray-1",
            ("a chest X-ray of {}", "a radiograph of the chest with {}"),
            (("healthy lungs",), ("tuberculosis",)),
        ),
    )
    notes: ClassVar[tuple[str, ...]] = (
        "The structure lungs has two parts with the heart between them: the centre of its bounding box lies in neither. Prompt "
        "left_lung and right_lung (sides are the publisher's) one by one.",
        "Target tuberculosis is the last digit of the file's name; column reading holds the radiologist's words.",
        "One X-ray of each patient.",
    )
    landmarks: ClassVar[tuple[str, ...]] = (f"{_IMAGES}/MCUCXR_*.png", "ManualMask")

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn images and readings into rows; one without the other is rejected by name."""
        import pandas as pd

        for folder in (_IMAGES, _READINGS, *(f"ManualMask/{lung}" for lung in _LUNGS)):
            raw.need(folder)
        found = raw.files(f"{_IMAGES}/*.png", f"{_READINGS}/*.txt")
        names = sorted({path.stem for path in found})
        readings: list[Any] = [_reading(raw.path / _READINGS / f"{name}.txt") for name in names]
        sexes, ages, words_of = zip(*map(_facts, readings), strict=True) if names else ((), (), ())
        matches = [_NAME.fullmatch(name) for name in names]
        unfit = [_unfit(*one) for one in zip(names, readings, sexes, ages, strict=True)]
        return pd.DataFrame(
            {
                "sample_id": names,
                "subject_id": names,
                "tuberculosis": [None if match is None else _CLASSES[match[1]] for match in matches],
                "sex": words(pd.Series(sexes, name="Patient's Sex", dtype=object), SEX_CODES),
                "age": years(pd.Series(ages, name="Patient's Age", dtype=object)),
                "reading": words_of,
                "_image": [f"{raw.path}/{_IMAGES}/{name}.png" for name in names],
                "_masks": [[f"{raw.path}/ManualMask/{lung}/{name}.png" for lung in _LUNGS] for name in names],
                "_reject": [None if reason is None else reason[0] for reason in unfit],
                "_detail": [None if reason is None else reason[1] for reason in unfit],
            },
            dtype=object,
        )

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read the image and both lungs; where their outlines overlap, the right one holds."""
        image, encoded = read_image(Path(row["_image"]))
        shape = (image.shape[0], image.shape[1])
        mask, resized = np.zeros(shape, np.uint8), False
        for path, label in zip(row["_masks"], _LUNGS.values(), strict=True):
            lung = load_mask(Path(path), shape, {0, 255})
            mask[lung.mask == 255] = label
            resized = resized or lung.resized
        return Pixels(image, mask, encoded=encoded, mask_resized=resized)


def _reading(path: Path) -> str | None:
    """Return the text of a clinical reading; None if it is not there."""
    return path.read_bytes().decode("utf-8-sig", "replace") if path.is_file() else None


def _facts(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Find sex and age in a reading, wherever their lines stand, and the radiologist's words, which are the rest."""
    if text is None:
        return None, None, None
    sex, age = _SEX.search(text), _AGE.search(text)
    rest = [line.strip() for line in text.splitlines() if not (_SEX.search(line) or _AGE.search(line))]
    said = " ".join(line for line in rest if line)
    return (
        None if sex is None else sex[1],
        None if age is None else age[1].replace(" ", ""),
        said or None,
    )


def _unfit(name: str, reading: str | None, sex: str | None, age: str | None) -> tuple[str, str] | None:
    """Say why a row cannot be used; every patient has both sex and age, so a file without one is damaged."""
    if _NAME.fullmatch(name) is None:
        return (
            "unknown_label",
            f"the name {name!r} is not MCUCXR_NNNN_0 (normal) or MCUCXR_NNNN_1 (tuberculosis)",
        )
    if reading is None:
        return "missing_reading", f"file {_READINGS}/{name}.txt does not exist"
    if sex is None or age is None:
        lacks = "Patient's Sex" if sex is None else "Patient's Age"
        return "unreadable_reading", f"file {_READINGS}/{name}.txt has no line {lacks!r}"
    return None
