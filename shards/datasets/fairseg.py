"""``fairseg``: SLO fundus photographs with outlines of optic cup and rim (Harvard-FairSeg, Tian et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from pydantic import Field

from shards.adapter import Access, Facts, Pixels, UnreadableSample
from shards.card import DatasetCard, GroupPreset, Structure
from shards.datasets import _harvard as harvard
from shards.datasets._raw_folder import RawFolder
from shards.errors import UserError
from shards.formats.arrays import npz_names, read_npz
from shards.masks import fit_mask, recode

if TYPE_CHECKING:
    import pandas as pd

#: Names of image and mask in the archives, by what is known to use them.
KEYS: Mapping[str, tuple[str, str]] = {
    "documented": ("slo_fundus", "disc_cup_mask"),
    "FairSeg code": ("fundus_slo", "disc_cup"),
    "FairMedFM script": ("fundus", "disc_cup_borders"),
}
_TABLES = ("data_summary.csv", "ReadMe/data_summary.csv")
_FOLDERS = ("", "All", "Dataset", *harvard.part_folders("", "Dataset/"))
_FILES = tuple(f"{folder}/data_*.npz".removeprefix("/") for folder in _FOLDERS)
_LISTS = "lists/FairSeg_final"
#: Column of a summary table -> names of the same fact in the archives.
_CODES = {
    "age": ("age",),
    "gender": ("gender", "male"),
    "race": ("race",),
    "ethnicity": ("ethnicity", "hispanic"),
    "language": ("language",),
    "maritalstatus": ("maritalstatus",),
}
#: Archives that tell which release it is.
_LOOKED_AT = 64


class FairSeg(harvard.Harvard):
    """The publisher's folder: archives, with or without a summary table and the lists of train and test.

    Attributes
    ----------
    lists
        Folder with the code's ``train.txt`` and ``test.txt``; by default ``lists/FairSeg_final`` of the raw folder, and
        without one column ``use`` of the table, if it has one.
    """

    name: ClassVar[str] = "fairseg"
    summary: ClassVar[str] = (
        "10,000 SLO fundus photographs: optic cup and rim; sex, age, race, ethnicity, language, marital status"
    )
    facts: ClassVar[Facts] = Facts(
        "segmentation",
        "SLO fundus photograph",
        harvard.LICENCE,
        10_000,
        ("sex", "age", "race", "ethnicity", "language", "marital_status"),
        Access(
            "request",
            "https://ophai.hms.harvard.edu/datasets/harvard-fairseg10k/",
            f"{harvard.STEPS} Lists of train and test are in the code's repository "
            "(github.com/Harvard-Ophthalmology-AI-Lab/FairSeg, lists/FairSeg_final): copy that folder beside the archives.",
            expected=("data_*.npz", "ReadMe/data_summary.csv"),
        ),
    )
    source: ClassVar[str] = "https://ophai.hms.harvard.edu/datasets/harvard-fairseg10k/"
    structures: ClassVar[tuple[Structure, ...]] = (
        Structure("rim", (1,)),
        Structure("cup", (2,)),
        Structure("disc", (1, 2)),
    )
    presets: ClassVar[tuple[GroupPreset, ...]] = harvard.FAIRSEG
    notes: ClassVar[tuple[str, ...]] = ("One image per patient; the disc is the rim and the cup together.",)
    mask_codes: ClassVar[Mapping[int, int]] = {-1: 1, -2: 2}
    landmarks: ClassVar[tuple[str, ...]] = (*_FILES, *_TABLES)
    arrays: ClassVar[tuple[str, ...]] = tuple(image for image, _ in KEYS.values())

    lists: Path | None = Field(default=None, description="folder with train.txt and test.txt")

    def card(self) -> DatasetCard:
        """Describe the dataset, and which of its releases this is."""
        raw, card = self.folder(), super().card()
        files = raw.files(*_FILES)[:_LOOKED_AT]
        table = self._table(raw, files)
        found = next((note for note in map(_keys_note, files) if note is not None), None)
        unit = "days, turned into years" if harvard.age_unit(table["age"]) == "d" else "years"
        known = table["age"].notna().any()
        notes = [found, f"Ages of this release are in {unit}." if known else "This release has no ages."]
        if self._lists(raw) is not None:
            notes.append("Train and test are the lists of the FairSeg code; val is drawn from its train.")
        return replace(card, notes=(*card.notes, *(note for note in notes if note is not None)))

    def rows(self, raw: RawFolder) -> pd.DataFrame:
        """Turn the summary table, or the archives' own codes, into rows."""
        there = raw.files(*_FILES)
        table = self._table(raw, there)
        rows = harvard.people(table)
        if "_reject" in table.columns:
            rows = rows.assign(_reject=table["_reject"], _detail=table["_detail"])
        rows = self._split(raw, rows)
        files = {_number(path.name): path.name for path in there}
        names: list[Any] = [
            None if name is None else files.get(_number(name), name) for name in table["filename"]
        ]
        stems: list[Any] = [None if name is None else Path(name).stem for name in names]
        rows = rows.assign(sample_id=stems, subject_id=stems)
        return harvard.with_files(raw, rows, names, _FOLDERS, "data_*.npz")

    def read(self, row: Mapping[str, Any]) -> Pixels:
        """Read image and label map of one archive, under whichever of the known names they have."""
        path = Path(row["_image"])
        there = npz_names(path)
        keys = next((pair for pair in KEYS.values() if set(pair) <= set(there)), None)
        if keys is None:
            known = "; ".join(" and ".join(pair) for pair in KEYS.values())
            raise UnreadableSample("missing_array", f"{path.name} has {', '.join(there)}; expected {known}")
        image = harvard.read_array(path, keys[:1], self.scale)
        labels = read_npz(path, keys[1])[keys[1]]
        if labels.ndim != 2:
            raise UnreadableSample(
                "mask_shape_mismatch", f"mask {keys[1]!r} has the shape {labels.shape}; expected two axes"
            )
        fitted = fit_mask(recode(labels, self.mask_codes, path.name), (image.shape[0], image.shape[1]))
        return Pixels(image, fitted.mask, mask_resized=fitted.resized)

    def _table(self, raw: RawFolder, files: Iterable[Path]) -> pd.DataFrame:
        """Return the summary table or, where there is none, the codes that some archives hold."""
        if raw.find(*_TABLES) is not None:
            return raw.table(*_TABLES, columns=harvard.COLUMNS)
        import pandas as pd

        return pd.DataFrame([_codes(path) for path in files], dtype=object)

    def _lists(self, raw: RawFolder) -> Path | None:
        if self.lists is None:
            return raw.find(_LISTS)
        folder = self.lists.expanduser().absolute()
        if not folder.is_dir():
            raise UserError(
                f"lists must be the folder with train.txt and test.txt, got {folder}: no such folder."
            )
        return folder

    def _split(self, raw: RawFolder, rows: pd.DataFrame) -> pd.DataFrame:
        folder = self._lists(raw)
        if folder is None:
            return rows
        splits: dict[int | None, str] = {}
        for split in ("train", "test"):
            path = RawFolder(folder, self.name, self.facts.access).need(f"{split}.txt")
            numbers = {_number(line) for line in path.read_text().split()}
            both = [number for number in numbers if number in splits]
            if both:
                raise UserError(
                    f"{folder}: image {both[0]} is in train.txt and in test.txt; it must be in one."
                )
            splits.update(dict.fromkeys(numbers, split))
        found: list[Any] = [splits.get(_number(stem)) for stem in rows["sample_id"]]
        return rows.assign(split=found, **_rejected(rows, found))


def _rejected(rows: pd.DataFrame, found: list[str | None]) -> dict[str, list[Any]]:
    """Return reasons for the rows that no list names; other reasons stay."""
    blank = [None] * len(rows)
    reasons, details = list(rows.get("_reject", blank)), list(rows.get("_detail", blank))
    for place, split in enumerate(found):
        if split is None and reasons[place] is None:
            reasons[place], details[place] = "not_listed", "neither train.txt nor test.txt names the image"
    return {"_reject": reasons, "_detail": details}


def _number(name: str | None) -> int | None:
    """Return an image's number: releases write it with five digits or six."""
    digits = "" if name is None else Path(name).stem.rpartition("_")[2]
    return int(digits) if digits.isdecimal() else None


def _keys_note(path: Path) -> str | None:
    try:
        there = npz_names(path)
    except UnreadableSample:
        return None
    found = next(
        (f"{image} and {mask} ({who})" for who, (image, mask) in KEYS.items() if {image, mask} <= set(there)),
        None,
    )
    return None if found is None else f"Arrays of this release are called {found}."


def _codes(path: Path) -> dict[str, str | None]:
    """Return what an archive says of its patient, under the column names of a summary table; no image is read."""
    row: dict[str, str | None] = {
        "filename": path.name,
        **dict.fromkeys(_CODES),
        "_reject": None,
        "_detail": None,
    }
    try:
        there = npz_names(path)
        named = {column: next((n for n in names if n in there), None) for column, names in _CODES.items()}
        values = read_npz(path, *(name for name in named.values() if name is not None))
    except UnreadableSample as error:
        return {**row, "_reject": error.reason, "_detail": error.detail}
    return {**row, **{column: _text(values[name]) for column, name in named.items() if name is not None}}


def _text(value: NDArray[Any]) -> str:
    """Return a single value as a table would hold it."""
    if value.size != 1:
        return str(value)
    return f"{value.item():.10g}" if value.dtype.kind in "iuf" else str(value.item())
