"""The checks between an adapter's manifest and the conversion.

Guarantee: every manifest row comes out once, as a :class:`Row` to convert or as a :class:`Rejection` with its
reason; what would make the whole table meaningless (no subject, a subject in two splits, a missing column) is
a UserError.

Columns that start with ``_`` are the adapter's own. Of these, ``_source`` names the raw file for people
(relative to the raw folder) and goes to the index; any other that holds an absolute path (or several) stands
for that file's content (see :mod:`shards.stamps`).
"""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.card import Attribute, DatasetCard, Target
from shards.errors import UserError
from shards.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

#: Columns of ``index.parquet`` and ``rejected.parquet`` that no target or attribute may be called.
RESERVED = frozenset(
    {
        *("sample_id", "subject_id", "split", "key", "shard", "offset", "size", "sha256", "source"),
        *("width", "height", "depth", "spacing_mm", "orientation", "mask_resized", "image", "mask", "json"),
        *(
            "original_width",
            "original_height",
            "pixels_sha256",
            "phash",
            "phash_fine",
            "intensity_mean",
            "intensity_sd",
        ),
        *("status", "reason", "detail"),
        *(
            f"{part}_{what}"
            for part in ("image", "mask", "json")
            for what in ("name", "offset", "size", "sha256")
        ),
    }
)


class Record(Mapping[str, Any]):
    """One row of a table, read-only. All rows share the names of their columns: a dict each would need four times the memory.

    Parameters
    ----------
    places
        Column -> its place in `cells`.
    cells
        The row's values, by the names of their columns.
    """

    __slots__ = ("_places", "cells")

    def __init__(self, places: Mapping[str, int], cells: tuple[Any, ...]) -> None:
        self._places = places
        self.cells = cells

    def __getitem__(self, name: str) -> Any:
        """Return the value of a column (KeyError where there is none)."""
        return self.cells[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the columns."""
        return iter(self._places)

    def __len__(self) -> int:
        """Count the columns."""
        return len(self.cells)

    def __repr__(self) -> str:
        """Show it as a dict."""
        return f"Record({dict(self)})"


@dataclass(frozen=True, slots=True)
class Row:
    """One sample to convert; all values are plain Python (unknown is None).

    Attributes
    ----------
    values
        The whole manifest row, as :meth:`~shards.adapter.Adapter.read` gets it.
    given_split
        The publisher's split.
    published
        Columns kept as the publisher wrote them.
    """

    sample_id: str
    subject_id: str
    given_split: str | None
    targets: Mapping[str, str | None]
    attributes: Mapping[str, str | float | None]
    published: Mapping[str, str | None]
    source: str | None
    values: Record


@dataclass(frozen=True, slots=True)
class Rejection:
    """A sample left out, with the reason: a row of ``rejected.parquet``."""

    sample_id: str | None
    subject_id: str | None
    split: str | None
    reason: str
    detail: str
    targets: Mapping[str, str | None]
    attributes: Mapping[str, str | float | None]
    published: Mapping[str, str | None]
    source: str | None


@dataclass(frozen=True)
class CheckedManifest:
    """Rows to convert, sorted by sample id, and rows that cannot be."""

    rows: tuple[Row, ...]
    rejected: tuple[Rejection, ...]


def reject(row: Row, reason: str, detail: str, *, split: str | None = None) -> Rejection:
    """Turn a row into its rejection."""
    return Rejection(
        row.sample_id or None,
        row.subject_id or None,
        split,
        reason,
        _writable(detail),
        row.targets,
        row.attributes,
        row.published,
        row.source,
    )


def check_manifest(frame: pd.DataFrame, card: DatasetCard) -> CheckedManifest:
    """Check a manifest against the card it belongs to.

    Raises
    ------
    UserError
        For missing or clashing columns, an empty table, a row without subject, an unknown split, a subject in
        two splits, or an attribute that is to be a number and is not.
    """
    _check_columns(frame, card)
    table = {str(name): _plain_cells(frame[name].tolist()) for name in sorted(frame.columns, key=str)}
    with _no_collection():
        rows = list(_rows(table, card))
    if not rows:
        raise UserError(f"the manifest of {card.name!r} has no rows; check the raw folder and the options.")
    fit = [row for row in rows if row.values.get("_reject") is None]
    _check_subjects(fit, card)
    counts = Counter(row.sample_id for row in fit)
    doubtful = [t for t in card.targets if not {*_texts(table[t.name])} <= {None, *t.classes}]
    unfit = [_unfit(row) for row in rows if row.values.get("_reject") is not None]
    rejected: list[Rejection] = sorted(unfit, key=lambda r: (r.sample_id or "", r.source or ""))
    good: list[Row] = []
    for row in sorted(fit, key=lambda r: r.sample_id):
        finding = _finding(row, doubtful, counts[row.sample_id])
        if finding is None:
            good.append(row)
        else:
            rejected.append(reject(row, *finding))
    return CheckedManifest(tuple(good), tuple(rejected))


def rarest_class_strata(rows: Iterable[Row], target: str | None) -> dict[str, str]:
    """Return each subject's stratum: the class of `target` that it has and that fewest samples have.

    Subjects without a class, or all of them without a target, are in the stratum ``""``.
    """
    rows = list(rows)
    samples: dict[str, int] = {}
    classes: dict[str, set[str]] = {}
    for row in rows:
        label = row.targets.get(target) if target is not None else None
        owned = classes.setdefault(row.subject_id, set())
        if label is not None:
            samples[label] = samples.get(label, 0) + 1
            owned.add(label)
    return {
        subject: min(owned, key=lambda label: (samples[label], label), default="")
        for subject, owned in classes.items()
    }


def _check_columns(frame: pd.DataFrame, card: DatasetCard) -> None:
    named = [*(t.name for t in card.targets), *(a.name for a in card.attributes), *card.published]
    for name in named:
        if name in RESERVED or name.startswith("_") or named.count(name) > 1:
            what = "is used twice" if named.count(name) > 1 else "has a meaning of its own in the index"
            raise UserError(
                f"column {name!r} of {card.name!r} {what}; give every target and attribute a name of its own, not "
                f"one of {', '.join(sorted(RESERVED))} and not one that starts with '_'."
            )
    needed = ["sample_id", "subject_id", *named]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise UserError(
            f"the manifest of {card.name!r} lacks column {missing[0]!r}; expected {', '.join(needed)}; "
            f"found {', '.join(map(str, frame.columns))}."
        )
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"the manifest of {card.name!r} has two columns called {twice!r}; rename one.")


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from looking for garbage among a million rows again and again while they are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rows(table: Mapping[str, list[Any]], card: DatasetCard) -> Iterator[Row]:
    """Yield the rows of a table of plain values, given by its columns."""
    ids = table["sample_id"]
    nothing: list[Any] = [None] * len(ids)
    names = [attribute.name for attribute in card.attributes]
    attributes = [_attributes(table[attribute.name], attribute, ids) for attribute in card.attributes]
    places = {name: place for place, name in enumerate(table)}
    columns = zip(
        [text or "" for text in _texts(ids)],
        [text or "" for text in _texts(table["subject_id"])],
        _texts(table.get("split", nothing)),
        _mappings([target.name for target in card.targets], table),
        zip(*attributes, strict=True) if attributes else [()] * len(ids),
        _mappings(card.published, table),
        _texts(table.get("_source", nothing)),
        zip(*table.values(), strict=True),
        strict=True,
    )
    for sample, subject, split, targets, values, published, source, cells in columns:
        facts = dict(zip(names, values, strict=True))
        yield Row(sample, subject, split, targets, facts, published, source, Record(places, cells))


def _mappings(names: Sequence[str], table: Mapping[str, list[Any]]) -> Iterator[Mapping[str, str | None]]:
    """Yield some columns as texts, row by row; equal rows are one object, for there are many of few kinds."""
    if not names:
        yield from ({} for _ in table["sample_id"])
        return
    columns = zip(*(_texts(table[name]) for name in names), strict=True)
    made: dict[tuple[str | None, ...], Mapping[str, str | None]] = {}
    for values in columns:
        known = made.get(values)
        if known is None:
            known = made[values] = dict(zip(names, values, strict=True))
        yield known


def _unfit(row: Row) -> Rejection:
    """Turn a row that the adapter itself found unfit into its rejection; it may lack a subject."""
    reason, detail = row.values["_reject"], row.values.get("_detail")
    return reject(row, str(reason), str(detail or ""), split=row.given_split)


def _attributes(cells: list[Any], attribute: Attribute, ids: list[Any]) -> Sequence[str | float | None]:
    if attribute.kind == "category":
        return _texts(cells)
    return [
        None if value is None else _number(value, attribute, name)
        for value, name in zip(cells, ids, strict=True)
    ]


def _number(value: Any, attribute: Attribute, sample: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"attribute {attribute.name!r} of sample {sample!r} must be a finite number, got "
            f"{value!r}. Declare the attribute as a category, or list the value among the unknown ones."
        )
    return number


def _check_subjects(rows: list[Row], card: DatasetCard) -> None:
    nameless = [row.sample_id for row in rows if not row.subject_id]
    if nameless:
        raise UserError(
            f"{len(nameless)} samples of {card.name!r} have no subject_id, the first {nameless[:3]}; every sample "
            "must name its subject, or subjects would leak between splits. Fill the column in, or leave these rows "
            "out."
        )
    wrong = [row for row in rows if row.given_split is not None and row.given_split not in SPLITS]
    if wrong:
        raise UserError(
            f"split of sample {wrong[0].sample_id!r} must be one of train, val, test; got "
            f"{wrong[0].given_split!r}."
        )
    splits: dict[str, set[str]] = {}
    for row in rows:
        if row.given_split is not None:
            splits.setdefault(row.subject_id, set()).add(row.given_split)
    torn = sorted(subject for subject, found in splits.items() if len(found) > 1)
    if torn:
        examples = "; ".join(
            f"{subject!r} in {' and '.join(sorted(splits[subject]))}" for subject in torn[:3]
        )
        raise UserError(
            f"{len(torn)} subjects of {card.name!r} are in more than one split: {examples}. A subject must be in "
            "one split only. Correct the split column, or leave it out to have splits drawn by subject."
        )


def _finding(row: Row, targets: Iterable[Target], count: int) -> tuple[str, str] | None:
    if not row.sample_id:
        return "missing_id", "the sample has no sample_id"
    if count > 1:
        return (
            "duplicate_id",
            f"{count} rows have the sample_id {row.sample_id!r}; it is unknown which one is meant",
        )
    for target in targets:
        label = row.targets[target.name]
        if label is not None and label not in target.classes:
            known = ", ".join(target.classes)
            return "unknown_label", f"target {target.name!r} is {label!r}; expected one of {known}"
    return None


#: Kinds of cells that are plain as they are, and of those that are texts: a column of these alone needs no look at each cell,
#: of which there are millions.
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})
_TEXTS = frozenset({str, type(None)})


def _texts(cells: list[Any]) -> list[str | None]:
    """Return plain values as texts that can be written; the empty text is unknown."""
    texts = cells
    if not _TEXTS.issuperset(map(type, cells)):
        texts = [None if cell is None else str(cell) for cell in cells]
    if "" in texts:
        texts = [text or None for text in texts]
    whole = "".join(filter(None, texts))
    return texts if _writable(whole) is whole else [text and _writable(text) for text in texts]


def _writable(text: str) -> str:
    r"""Return a text with what no file can hold written out (``\udce9``): a file's name may have bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _plain_cells(cells: list[Any]) -> list[Any]:
    """Return a column's cells as plain Python values, every kind of missing value as None."""
    if _AS_THEY_ARE.issuperset(map(type, cells)):
        return cells
    return [cell if type(cell) in _AS_THEY_ARE else _plain(cell) for cell in cells]


def _plain(value: Any) -> Any:
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if value == value else None
    if isinstance(value, (list, tuple)):
        return _plain_cells(list(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    import pandas as pd

    return None if pd.isna(value) else str(value)
