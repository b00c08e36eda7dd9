"""What the eye datasets of the Harvard Ophthalmology AI Lab share: codes, summary tables, arrays, the papers' groups.

Their tables hold words and their ``.npz`` files codes for the same facts; both come out as the same words here. Archives are
read without unpickling (see :mod:`shards.formats.arrays`): fields that are pickled texts, such as clinical notes, are never
touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shards.adapter import Pixels, UnreadableSample, Volume
from shards.card import Attribute, GroupPreset
from shards.datasets._coding import SEX as SEX_WORDS
from shards.datasets._coding import kept, words, years
from shards.datasets._published import AGE, FAIRMEDFM_AGES, SEX, Published, age_groups
from shards.errors import UserError
from shards.formats.arrays import npz_names, read_npz

if TYPE_CHECKING:
    import pandas as pd

    from shards.datasets._raw_folder import RawFolder

LICENCE = "CC BY-NC-ND 4.0"
STEPS = "Ask for access on the page (non-commercial research), download the folder and unpack its archives."
#: For the cards of datasets that FairMedFM groups by sex.
SEX_NOTE = (
    "FairMedFM's loader compares sexes with the letter M, but the table has words: all people are in one group, and its "
    "results by sex may say nothing."
)
#: Columns of every summary table.
COLUMNS = ("filename", "age", "gender", "race", "ethnicity", "language", "maritalstatus")
#: Value of column ``use`` -> our split, and the folders that releases keep that part in.
_USES = {
    "training": "train",
    "train": "train",
    "validation": "val",
    "val": "val",
    "test": "test",
    "testing": "test",
}
PARTS = {"train": ("Training", "train"), "val": ("Validation", "val"), "test": ("Test", "Testing", "test")}


def _numbered(*words: str) -> dict[str, str]:
    """Return a coding of words by themselves (tables) and by their number (archives)."""
    return {**{word: word for word in words}, **{str(code): word for code, word in enumerate(words)}}


_SEX = {**SEX_WORDS, **_numbered("female", "male")}
_RACE = {
    **_numbered("asian", "black", "white"),
    "black or african american": "black",
    "white or caucasian": "white",
}
#: Codes of the hospital's records, which one release holds; its own loaders use 2, 3 and 7 only.
_RECORD_RACE = {
    "1": "american indian or alaska native",
    "2": "asian",
    "3": "black",
    "4": "hispanic or latino",
    "5": "native hawaiian or other pacific islander",
    "6": "other",
    "7": "white",
}
_ETHNICITY = _numbered("non-hispanic", "hispanic")
_LANGUAGE = {**_numbered("english", "spanish", "other"), "others": "other", "other languages": "other"}
_MARITAL = {
    **_numbered("married or partnered", "single", "divorced", "widowed", "legally separated"),
    "married": "married or partnered",
    "leg-sep": "legally separated",
}
_UNKNOWN = ("unavailable",)

FAIRMEDFM = (
    *FAIRMEDFM_AGES,
    GroupPreset(
        "fairmedfm",
        "race",
        "race",
        ("white", "non-white"),
        values=(("white",), ("asian", "black", "")),
        otherwise="non-white",
        note="FairMedFM counts everybody who is not white as non-white, an unknown race too.",
    ),
    GroupPreset(
        "fairmedfm",
        "language",
        "language_raw",
        ("english", "non-english"),
        values=(("english",), ("spanish", "other", "other languages", "unknown", "")),
        otherwise="non-english",
        note="FairMedFM counts an unknown language as non-english; read from the publisher's words.",
    ),
)


def _named(paper: str, attribute: str, *groups: str, note: str = "") -> GroupPreset:
    """Return groups of one value each; every other value is unknown."""
    return GroupPreset(
        paper, attribute, attribute, groups, values=tuple((group,) for group in groups), note=note
    )


_CLIP = "FairCLIP leaves out people with any unknown value, in val and test only; here they are unknown in all splits."
FAIRCLIP = (
    _named("fairclip", "sex", "female", "male", note=_CLIP),
    _named("fairclip", "race", "asian", "black", "white", note=_CLIP),
    _named("fairclip", "ethnicity", "non-hispanic", "hispanic", note=_CLIP),
    _named("fairclip", "language", "english", "spanish", "other", note=_CLIP),
)
FAIRSEG = (
    age_groups(
        "fairseg",
        60,
        note="FairSeg divides days by 365; years of 365.2425 days differ for people within 15 days of 60.",
    ),
    _named("fairseg", "sex", "female", "male"),
    _named("fairseg", "race", "asian", "black", "white"),
    _named("fairseg", "ethnicity", "non-hispanic", "hispanic"),
    _named("fairseg", "language", "english", "spanish", "other"),
    GroupPreset(
        "fairseg",
        "marital_status",
        "marital_status",
        ("married or partnered", "not married"),
        values=(("married or partnered",), ("single", "divorced", "widowed", "legally separated")),
    ),
)


class Harvard(Published):
    """A dataset of the group: a summary table with a row per patient, one image or archive each."""

    attributes: ClassVar[tuple[Attribute, ...]] = (
        SEX,
        AGE,
        *(Attribute(name) for name in ("race", "ethnicity", "language", "marital_status")),
    )
    published: ClassVar[tuple[str, ...]] = ("language_raw",)
    #: Arrays of the archives that may hold the pixels (the first that is there), and what 0 and 255 stand for.
    arrays: ClassVar[tuple[str, ...]] = ("slo_fundus",)
    scale: ClassVar[tuple[float, float]] = (0.0, 255.0)

    def read(self, row: Mapping[str, Any]) -> Pixels | Volume:
        """Read a picture, or an array of an archive."""
        path = Path(row["_image"])
        return (
            Pixels(read_array(path, self.arrays, self.scale)) if path.suffix == ".npz" else super().read(row)
        )


def people(table: pd.DataFrame) -> pd.DataFrame:
    """Turn a summary table, or codes under its column names, into ids, split and attributes.

    Raises
    ------
    UserError
        For a value outside of the group's codings, and for ages in years and days at once.
    """
    import pandas as pd

    stems = [None if name is None else Path(name).stem for name in table["filename"]]
    rows = pd.DataFrame({"sample_id": stems, "subject_id": stems}, dtype=object, index=table.index)
    if "use" in table.columns:
        rows["split"] = words(table["use"], _USES)
    return rows.assign(
        sex=words(table["gender"], _SEX),
        age=years(table["age"], unit=age_unit(table["age"])),
        race=_races(table["race"]),
        ethnicity=words(table["ethnicity"], _ETHNICITY, unknown=_UNKNOWN),
        language=words(table["language"], _LANGUAGE, unknown=_UNKNOWN),
        marital_status=words(table["maritalstatus"], _MARITAL, unknown=_UNKNOWN),
        language_raw=table["language"],
    )


def age_unit(column: pd.Series[str]) -> str:
    """Return ``"y"`` or ``"d"``: releases hold ages in years or in days, and do not say which.

    Raises
    ------
    UserError
        If a column holds both.
    """
    numbers = [float(text) for text in kept(column) if text is not None and re.fullmatch(r"[\d.]+", text)]
    few, many = sum(number <= 120 for number in numbers), sum(number > 365 for number in numbers)
    if many and len(numbers) > many:
        raise UserError(
            f"column {column.name!r} mixes years and days: {few} values up to 120, {many} above 365. Which release is "
            "this? Give the table of one release only."
        )
    return "d" if many else "y"


def _races(column: pd.Series[str]) -> pd.Series[Any]:
    """Translate races; the same code means another race in the releases with the hospital's own codes."""
    found = {text.lower().removesuffix(".0") for text in column if isinstance(text, str)}
    documented, record = found & {"0"}, found & {"3", "4", "5", "6", "7"}
    if found & {"1", "2"} and bool(documented) == bool(record):
        seen = ", ".join(sorted(found))
        raise UserError(
            f"column {column.name!r} has the codes {seen}, which fit neither of its two codings alone: 0 asian, 1 black, 2 "
            "white, or 2 asian, 3 black, 7 white. Which release is this? Give a table with words."
        )
    return words(column, _RECORD_RACE if record else _RACE, unknown=_UNKNOWN)


def labels(column: pd.Series[str], classes: Mapping[str, str]) -> list[Any]:
    """Translate a target; what its coding does not know stays as it is and is rejected by name."""
    return [None if text is None else classes.get(text.lower().removesuffix(".0"), text) for text in column]


def with_files(
    raw: RawFolder, rows: pd.DataFrame, names: Sequence[str | None], folders: Iterable[str], pattern: str
) -> pd.DataFrame:
    """Add to every row its file, and to the rows the files that none of them names.

    Parameters
    ----------
    raw
        The publisher's folder.
    rows
        As :func:`people` gives them.
    names
        Each row's file name.
    folders
        Where the files may be, below the raw folder; the first is the publisher's.
    pattern
        Glob of the names of all such files.

    Raises
    ------
    UserError
        If there is no such file at all.
    """
    import pandas as pd

    folders = tuple(folders)
    globs = [f"{folder}/{pattern}".removeprefix("/") for folder in folders]
    found = raw.files(*globs)
    if not found:
        raise raw.refusal(f"{raw.path} has no file {' or '.join(globs[:4])}.")
    places = {path.name: str(path) for path in found}
    images: list[Any] = [
        None if name is None else places.get(name, str(raw.path / folders[0] / name)) for name in names
    ]
    rows = rows.assign(_image=images)
    rows["_source"] = [None if image is None else raw.relative(image) for image in images]
    strays = raw.strays(images, *globs)
    return pd.concat([rows, strays]) if len(strays) else rows


def part_folders(*bases: str) -> tuple[str, ...]:
    """Return the folders of the three parts below each of several folders (``""``: the raw folder)."""
    return tuple(f"{base}{part}" for base in bases for names in PARTS.values() for part in names)


def read_array(path: Path, names: Sequence[str], scale: tuple[float, float]) -> NDArray[np.uint8]:
    """Read the pixels of an archive as 8 bits.

    Parameters
    ----------
    path
        The ``.npz`` file.
    names
        The array's names in the known releases, the first that is there counts.
    scale
        Values that become 0 and 255; others are clipped to them, never wrapped.

    Raises
    ------
    UnreadableSample
        As :func:`shards.formats.arrays.read_npz`; ``empty_image``, ``nan_pixels``, ``unsupported_pixels``.
    """
    name, array = first_array(path, names)
    low, high = scale
    if array.size == 0:
        raise UnreadableSample("empty_image", f"array {name!r} of {path.name} has no values")
    if array.dtype == np.uint8 and scale == (0.0, 255.0):
        return array
    if array.dtype.kind not in "iuf":
        raise UnreadableSample("unsupported_pixels", f"array {name!r} of {path.name} holds {array.dtype}")
    if not np.isfinite(array).all():
        raise UnreadableSample(
            "nan_pixels", f"array {name!r} of {path.name} has values that are no finite number"
        )
    if scale == (0.0, 255.0) and array.dtype.kind == "f" and 0 < array.max() <= 1:
        raise UnreadableSample(
            "unsupported_pixels",
            f"array {name!r} of {path.name} reaches {array.max():g}; expected values up to 255",
        )
    shown = (array.astype(np.float32) - low) * (255.0 / (high - low))
    clipped: NDArray[np.uint8] = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    return clipped


def first_array(path: Path, names: Sequence[str]) -> tuple[str, NDArray[Any]]:
    """Read the first of several arrays that an archive has; the error of a missing one names them all."""
    there = npz_names(path)
    name = next((name for name in names if name in there), None)
    if name is None:
        found = ", ".join(there) or "none"
        raise UnreadableSample(
            "missing_array", f"{path.name} has none of the arrays {', '.join(names)}; found {found}"
        )
    return name, read_npz(path, name)[name]


def read_volume(path: Path) -> Volume:
    """Read an archive's B-scans; spacing and orientation are not published."""
    return Volume(read_array(path, ("oct_bscans",), (0.0, 255.0)))


def picture_name(name: str | None, prefix: str) -> str | None:
    """Return the name of the picture beside an archive: ``data_00001.npz`` -> ``slo_00001.jpg``."""
    return None if name is None else f"{prefix}{Path(name).stem.rpartition('_')[2]}.jpg"
