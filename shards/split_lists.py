"""Published lists of splits, given when a dataset is converted.

A list is one table of ids and splits (``.csv``, ``.tsv``, ``.txt``, ``.lst``, also packed as ``.gz``, or ``.parquet``), or one
file of ids for each split. Ids may be those of samples or of subjects, file names or paths: the column and the way of reading
it that find most of the dataset's rows are taken. Names that several people's samples share are refused.

Guarantee: the list takes the place of the publisher's split column; a subject with a listed sample is in that split with all of
its samples; subjects that no list names are dealt out as :mod:`shards.splits` does. A list that puts a subject into two splits
is refused: published image-level lists do, and a model would be tested on people it has seen. What was listed, not found and
not listed is counted and told on the dataset's card. The list's content, not its place, is part of the conversion's identity.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.card import DatasetCard
from shards.errors import UserError
from shards.files import digest
from shards.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "dev", "development"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
#: First lines of files of ids that are a heading and no id.
_HEADINGS = frozenset(
    {"id", "ids", "sample", "subject", "patient", "image", "file", "filename", "file_name", "path", "name"}
    | {f"{what}_{kind}" for what in ("sample", "subject", "patient", "image", "study") for kind in ("id", "name")}
    | {"image index", "image_path", "imagepath", "case_id", "index"}
)  # fmt: skip
_ENDINGS = (".csv", ".tsv", ".txt", ".lst", ".parquet")


@dataclass(frozen=True)
class SplitList:
    """Which split a publisher puts which ids into.

    Attributes
    ----------
    name
        Names of the files, for people.
    columns
        Column -> its texts, one per line of the list; any of them may be the ids.
    splits
        Split of each line.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    splits: tuple[str, ...]

    def digest(self) -> str:
        """Return the hash of the list's content."""
        return digest({"columns": {k: list(v) for k, v in self.columns.items()}, "splits": list(self.splits)})


def read_split_list(files: Sequence[str | Path]) -> SplitList:
    """Read a list of splits.

    Parameters
    ----------
    files
        One table with a column of splits, or one file per split: ``train=FILE``, or a file whose name holds one of the words
        train, val (valid, validation) and test.

    Raises
    ------
    UserError
        If a file cannot be read, it is not told which split it is of, or a split is none.
    """
    import pandas as pd

    given = [_named(str(file)) for file in files]
    if not given:
        raise UserError("a list of splits needs at least one file.")
    tables = [_read(path) for _, path in given]
    if len(given) == 1 and given[0][0] is None:
        table = _with_splits(tables[0], given[0][1])
    else:
        splits = [split or _split_in_name(path) for split, path in given]
        for (_, path), split in zip(given, splits, strict=True):
            if splits.count(split) > 1:
                raise UserError(
                    f"splits file {path} is the second one of split {split!r}; give one file for each."
                )
        named = [t.assign(**{"": split}) for t, split in zip(tables, splits, strict=True)]
        table = pd.concat(named, join="inner", ignore_index=True)
    columns = [str(name) for name in table.columns if name != ""]
    if not columns or not len(table):
        raise UserError(
            f"splits file {given[0][1]} holds no ids; expected lines such as 'id,train', or a file of ids for each split."
        )
    return SplitList(
        ", ".join(path.name for _, path in given),
        {name: tuple(str(v) for v in table[name]) for name in columns},
        tuple(table[""]),
    )


def _named(text: str) -> tuple[str | None, Path]:
    word, equals, rest = text.partition("=")
    if equals and word.strip().lower() in _SPLIT_OF:
        return _SPLIT_OF[word.strip().lower()], Path(rest)
    return None, Path(text)


def _split_in_name(path: Path) -> str:
    found = {_SPLIT_OF[word] for word in re.split(r"[^a-z]+", path.name.lower()) if word in _SPLIT_OF}
    if len(found) != 1:
        raise UserError(
            f"splits file {path}: its name does not tell which split its ids are in. Say it: train={path} (or val=, test=);"
            " ids that are divided into train and val later go to train."
        )
    return found.pop()


def _read(path: Path) -> pd.DataFrame:
    """Read a file as texts; columns of files without a heading are numbered."""
    import pandas as pd

    name = path.name.lower().removesuffix(".gz")
    if not name.endswith(_ENDINGS):
        raise UserError(
            f"splits file {path} must end in one of {', '.join(_ENDINGS)} (.gz); got {path.suffix!r}."
        )
    try:
        if name.endswith(".parquet"):
            return pd.read_parquet(path).astype(object).map(_text)
        if name.endswith((".txt", ".lst")):
            table = _lines(path)
        else:
            table = pd.read_csv(
                path,
                sep="\t" if name.endswith(".tsv") else ",",
                header=None,
                dtype=str,
                keep_default_na=False,
            )
    except FileNotFoundError:
        raise UserError(f"splits file {path} does not exist. Give the publisher's list.") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"splits file {path} cannot be read as a table: {error}") from None
    return _headed(table.map(str.strip))


def _lines(path: Path) -> pd.DataFrame:
    """Read lines of ids, or of ids and splits with blanks, tabs or commas between."""
    import pandas as pd

    data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    lines = [line.strip() for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    pairs = [re.split(r"[,\s]\s*(?=\S+$)", line) for line in lines]
    ends = [pair[-1].lower() for pair in pairs if len(pair) > 1]
    if len(ends) == len(lines) and sum(end in _SPLIT_OF for end in ends) * 2 > len(ends):
        return pd.DataFrame([[pair[0].strip(), pair[-1]] for pair in pairs])
    return pd.DataFrame({0: lines})


def _headed(table: pd.DataFrame) -> pd.DataFrame:
    """Take the first line as the heading unless it holds a split, or a single column's first line looks like an id."""
    if not len(table):
        return table
    first = [str(value) for value in table.iloc[0]]
    heading = first[0].lower() in _HEADINGS if len(first) == 1 else not _has_split(first)
    if not heading or len(set(first)) < len(first):
        return table.rename(columns=str)
    return table.iloc[1:].set_axis(first, axis=1)


def _has_split(values: Sequence[str]) -> bool:
    # A heading may be called 'split' or 'set', but not 'train'.
    return any(value.lower() in _SPLIT_OF for value in values)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _with_splits(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Find the column of splits and call it the empty text."""
    shares = {name: sum(v.lower() in _SPLIT_OF for v in table[name]) for name in table.columns}
    best = max(shares, key=lambda name: (str(name).lower() == "split", shares[name]), default=None)
    if best is None or not shares[best]:
        raise UserError(
            f"splits file {path} has no column of splits (columns: {', '.join(map(str, table.columns)) or 'none'}); expected"
            f" one whose values are {', '.join(SPLITS)}. For one file per split say train=FILE, val=FILE, test=FILE."
        )
    strange = sorted({value for value in table[best] if value and value.lower() not in _SPLIT_OF})
    if strange:
        raise UserError(
            f"splits file {path}: column {str(best)!r} has values that are no splits: {', '.join(strange[:5])}; expected"
            f" {', '.join(sorted(_SPLIT_OF))}, or nothing for a sample that is in none."
        )
    listed = table[table[best] != ""]
    splits = [_SPLIT_OF[value.lower()] for value in listed[best]]
    return listed.drop(columns=best).assign(**{"": splits})


def apply_split_list(
    frame: pd.DataFrame, card: DatasetCard, listed: SplitList
) -> tuple[pd.DataFrame, DatasetCard]:
    """Give a manifest the splits of a list.

    Returns
    -------
    tuple
        The manifest with the column ``split`` of the list, and the card with a note of where its splits come from and how many
        ids were not found, or not listed.

    Raises
    ------
    UserError
        If no id is found, one id is in two splits, or a subject is.
    """
    found = max(_matches(frame, listed), key=lambda match: match.rows, default=None)
    if found is None or not found.rows:
        examples = "; ".join(f"{name}: {', '.join(values[:2])}" for name, values in listed.columns.items())
        raise UserError(
            f"no id of the splits in {listed.name} is one of {card.name!r}. In the list {examples}; in the dataset sample"
            f" {frame['sample_id'].iloc[0]!r} of subject {frame['subject_id'].iloc[0]!r}. Is it the list of another dataset?"
        )
    _refuse_shared(frame, found, card, listed)
    splits = _one_split_each(found.ids, listed)
    column = [None if key is None else splits.get(key) for key in found.keys]
    _refuse_torn(frame, column, card, listed)
    subjects = frame["subject_id"].nunique()
    unlisted = subjects - frame.loc[[split is not None for split in column], "subject_id"].nunique()
    unknown = len(set(splits) - set(found.keys))
    counts = Counter(splits.values())
    told = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    note = (
        f"Splits are those of {listed.name} (sha256 {listed.digest()[:12]}), a list of {found.what}: {told}. {unknown:,} ids of"
        f" the list are not in this data; {unlisted:,} of {subjects:,} subjects are not listed and were dealt out by seed."
    )
    return frame.assign(split=np.array(column, object)), replace(card, notes=(*card.notes, note))


@dataclass(frozen=True)
class _Match:
    """One way of reading a list: its ids and those of the manifest's rows, as they compare."""

    what: str
    ids: list[str]
    keys: list[str | None]
    column: str

    @property
    def rows(self) -> int:
        """Rows of the manifest that the list names."""
        return len(set(self.ids) & {key for key in self.keys if key is not None})


def _matches(frame: pd.DataFrame, listed: SplitList) -> Iterator[_Match]:
    """Yield the ways to read the list, the plainest first; the first of those that find most is taken."""
    samples = {str(value) for value in frame["sample_id"] if value is not None}
    ways: list[tuple[str, str, Callable[[str], str]]] = [
        ("samples", "sample_id", str),
        ("subjects", "subject_id", str),
        ("files", "_source", lambda text: text.replace("\\", "/")),
        ("file names", "_source", lambda text: PurePosixPath(text.replace("\\", "/")).name),
        ("samples, by the end of their path", "sample_id", lambda text: _end_of_path(text, samples)),
        ("samples, by file name", "sample_id", _stem),
        ("files, by name without ending", "_source", _stem),
    ]
    for what, column, spelled in ways:
        if column not in frame.columns:
            continue
        keys = [None if value is None or value != value else spelled(str(value)) for value in frame[column]]
        for name, values in listed.columns.items():
            told = f"{what} (column {name!r})" if len(listed.columns) > 1 else what
            yield _Match(told, [spelled(value) for value in values], keys, column)


def _end_of_path(text: str, samples: AbstractSet[str]) -> str:
    """Return the sample that a path ends with (its file's ending apart); the text where there is none."""
    path = PurePosixPath(text.replace("\\", "/"))
    parts = path.with_suffix("").parts if path.name else ()
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in samples), text)


def _stem(text: str) -> str:
    name = PurePosixPath(text.replace("\\", "/")).name
    return name.split(".", 1)[0] if name.split(".", 1)[0] else name


def _one_split_each(ids: Sequence[str], listed: SplitList) -> dict[str, str]:
    splits: dict[str, str] = {}
    torn: dict[str, set[str]] = {}
    for name, split in zip(ids, listed.splits, strict=True):
        if splits.setdefault(name, split) != split:
            torn.setdefault(name, {splits[name]}).add(split)
    if torn:
        raise UserError(
            f"{len(torn)} ids are in more than one split of {listed.name}: {_examples(torn)}. Correct the list."
        )
    return splits


def _refuse_shared(frame: pd.DataFrame, found: _Match, card: DatasetCard, listed: SplitList) -> None:
    """Refuse names that stand for different things of different people (``1/image.png`` and ``2/image.png``)."""
    meant: dict[str, tuple[set[str], set[str]]] = {key: (set(), set()) for key in found.ids}
    for key, value, subject in zip(found.keys, frame[found.column], frame["subject_id"], strict=True):
        if key in meant and subject is not None and subject == subject:
            meant[key][0].add(str(value))
            meant[key][1].add(str(subject))
    shared = {key: things for key, (things, people) in meant.items() if len(things) > 1 and len(people) > 1}
    if shared:
        examples = "; ".join(
            f"{key!r} is {' and '.join(sorted(shared[key])[:3])}" for key in sorted(shared)[:3]
        )
        raise UserError(
            f"{len(shared)} ids of the splits in {listed.name} stand for samples of several subjects of {card.name!r}:"
            f" {examples}. Give the ids of the samples or subjects, or paths that tell them apart."
        )


def _refuse_torn(
    frame: pd.DataFrame, column: Sequence[str | None], card: DatasetCard, listed: SplitList
) -> None:
    found: dict[str, set[str]] = {}
    for subject, split in zip(frame["subject_id"], column, strict=True):
        if split is not None and subject is not None:
            found.setdefault(str(subject), set()).add(split)
    torn = {subject: splits for subject, splits in found.items() if len(splits) > 1}
    if torn:
        raise UserError(
            f"{len(torn)} subjects of {card.name!r} are in more than one split of {listed.name}: {_examples(torn)}. The list"
            " divides samples, not people: what a model learns of a person would be tested on that person. Leave the list"
            " out to have splits drawn by subject, or give a list of subjects."
        )


def _examples(torn: Mapping[str, set[str]]) -> str:
    return "; ".join(f"{name!r} in {' and '.join(sorted(torn[name]))}" for name in sorted(torn)[:3])
