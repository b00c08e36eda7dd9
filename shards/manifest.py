"""The checks between an adapter's manifest and the conversion.

Guarantee: every manifest row comes out once, as a :class:`Row` to convert or as a :class:`Rejection` with its
reason; what would make the whole table meaningless (no subject, a subject in two splits, a missing column) is
a UserError.

Columns that start with ``_`` are the adapter's own. Of these, ``_source`` names the raw file for people
(relative to the raw folder) and goes to the index; any other that holds an absolute path (or a list of them) stands
for that file's content, so its size and time of change decide whether a finished shard is still good.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
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


@dataclass(frozen=True)
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
    values: Mapping[str, Any]


@dataclass(frozen=True)
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
        detail,
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
    records = plain_records(frame)
    if not records:
        raise UserError(f"the manifest of {card.name!r} has no rows; check the raw folder and the options.")
    unfit = [_unfit(record, card) for record in records if record.get("_reject") is not None]
    rows = [_row(record, card) for record in records if record.get("_reject") is None]
    _check_subjects(rows, card)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.sample_id] = counts.get(row.sample_id, 0) + 1
    good: list[Row] = []
    rejected: list[Rejection] = sorted(unfit, key=lambda r: (r.sample_id or "", r.source or ""))
    for row in sorted(rows, key=lambda r: r.sample_id):
        finding = _finding(row, card.targets, counts[row.sample_id])
        if finding is None:
            good.append(row)
        else:
            rejected.append(reject(row, *finding))
    return CheckedManifest(tuple(good), tuple(rejected))


def plain_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as plain Python values, every kind of missing value as None."""
    columns = [[_plain(value) for value in frame[name].tolist()] for name in frame.columns]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def file_stamps(row: Row) -> dict[str, tuple[int, int] | None]:
    """Return (bytes, time of change in ns) of every raw file that a row names, also in lists; None for absent files.

    A folder (of a DICOM series) has the bytes of all its files and the time of its newest change.
    """
    stamps: dict[str, tuple[int, int] | None] = {}
    for name, value in row.values.items():
        if name.startswith("_") and name != "_source":
            stamps.update((key, _stamp(path)) for key, path in _paths(name, value))
    return stamps


def _paths(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every absolute path in a value, with a name for it."""
    if isinstance(value, str) and value.startswith("/"):
        yield name, value
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(f"{name}[{place}]", item)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size, found.st_mtime_ns
        inside = [entry.stat() for entry in os.scandir(path)]
    except (OSError, ValueError):
        return None
    return sum(one.st_size for one in inside), max(one.st_mtime_ns for one in [found, *inside])


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


def _row(record: Mapping[str, Any], card: DatasetCard) -> Row:
    return Row(
        sample_id=_text(record["sample_id"]) or "",
        subject_id=_text(record["subject_id"]) or "",
        given_split=_text(record.get("split")),
        targets={t.name: _text(record[t.name]) for t in card.targets},
        attributes={a.name: _attribute(record[a.name], a, record) for a in card.attributes},
        published={name: _text(record[name]) for name in card.published},
        source=_text(record.get("_source")),
        values=record,
    )


def _unfit(record: Mapping[str, Any], card: DatasetCard) -> Rejection:
    """Turn a row that the adapter itself found unfit into its rejection; it may lack a subject."""
    described = {name: _text(record.get(name)) for name in card.published}
    row = _row({"subject_id": None, **record, **described}, card)
    return reject(row, str(record["_reject"]), str(record.get("_detail") or ""), split=row.given_split)


def _attribute(value: Any, attribute: Attribute, record: Mapping[str, Any]) -> str | float | None:
    if value is None or attribute.kind == "category":
        return _text(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"attribute {attribute.name!r} of sample {record['sample_id']!r} must be a finite number, got "
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


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _plain(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if pd.isna(value):
        return None
    return value if isinstance(value, float) else str(value)
