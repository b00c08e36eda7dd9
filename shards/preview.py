"""What a conversion would do, found out without writing anything.

Guarantees: splits and rejections of the manifest are exactly those that the conversion will make; nothing is written, and of
the images only a few are opened, spread evenly over the manifest and treated as the conversion would treat them. Trade-off:
what is said of the images (bytes, unreadable ones) is an estimate from these few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shards.adapter import Adapter, Pixels, UnreadableSample, Volume
from shards.card import Attribute, DatasetCard
from shards.convert import draw_splits, prepare
from shards.earlier import check_folder, look
from shards.manifest import CheckedManifest, Row
from shards.members import Stored, store
from shards.options import ConvertOptions
from shards.splits import SPLITS

#: Images opened unless the user says otherwise, examples of each reason, values of a category that are shown.
CHECKED, _EXAMPLES, _SHOWN = 16, 3, 8
#: Bytes that a tar adds to each file (a header, half a block of padding), and those of a sample's description.
_HEADER, _DESCRIPTION = 768, 1280
#: More values of a category than this, and one for every fourth subject, are no groups of people.
_GROUPS = 10


@dataclass(frozen=True)
class Example:
    """One sample that would be rejected."""

    sample_id: str | None
    source: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class AttributeSummary:
    """What is known of one attribute.

    Attributes
    ----------
    samples, unknown
        All samples, and those without a value.
    values
        For people: the range of a number, the commonest values of a category.
    """

    name: str
    kind: str
    samples: int
    unknown: int
    values: str


@dataclass(frozen=True)
class Opened:
    """What the images were that were opened.

    Attributes
    ----------
    samples
        How many were tried.
    sizes
        ``"WIDTHxHEIGHT"`` (of a volume ``"WIDTHxHEIGHTxDEPTH"``) -> number of samples.
    kinds
        E.g. ``"8-bit grey"``, ``"volume int16"`` -> number of samples.
    with_spacing, with_mask, masks_resized
        Numbers of samples.
    mask_values
        Stored label -> number of samples that have it; 0 is background.
    structures
        Structure -> number of samples in which it is there.
    bytes
        Mean of a sample's bytes in its shard; None if none could be read.
    rejected, examples
        Reason -> number, and the first of each.
    """

    samples: int
    sizes: Mapping[str, int]
    kinds: Mapping[str, int]
    with_spacing: int
    with_mask: int
    masks_resized: int
    mask_values: Mapping[int, int]
    structures: Mapping[str, int]
    bytes: float | None
    rejected: Mapping[str, int]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Preview:
    """What a conversion would do.

    Attributes
    ----------
    card
        The dataset's card.
    samples, subjects
        By split.
    classes
        By target, class (``""`` is unknown) and split.
    attributes
        What is known of each.
    rejected, examples
        Of the manifest: reason -> number, and the first of each.
    opened
        What some of the images were.
    problems
        What would make the conversion fail, one sentence each.
    remarks
        What would not, but should be known.
    """

    card: DatasetCard
    samples: Mapping[str, int]
    subjects: Mapping[str, int]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    attributes: tuple[AttributeSummary, ...]
    rejected: Mapping[str, int]
    examples: tuple[Example, ...]
    opened: Opened
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def estimated_bytes(self) -> int | None:
        """Bytes of all shards, if the others are like those opened; None if none could be read."""
        mean = self.opened.bytes
        return None if mean is None else round(mean * sum(self.samples.values()))


def preview(
    adapter: Adapter,
    options: ConvertOptions,
    out: Path | None = None,
    check: int = CHECKED,
    progress: Callable[[int, int], None] | None = None,
) -> Preview:
    """Find out what a conversion would do.

    Parameters
    ----------
    adapter, options
        As for the conversion.
    out
        Its folder, if that is known: an earlier conversion there decides splits; None if there is none.
    check
        How many images to open.
    progress
        Called after each of them with their number so far and in all.

    Raises
    ------
    UserError
        For what makes the conversion fail before any image is opened.
    """
    card, checked = prepare(adapter, options)
    known: Mapping[str, str] = {}
    if out is not None and out.exists():
        check_folder(out)
        known = look(out.absolute(), card, options, checked).splits
    splits = draw_splits(checked, card, known, options)
    opened = _open(adapter, card, options, _spread(checked.rows, check), progress)
    samples = Counter(splits[row.subject_id] for row in checked.rows)
    subjects = Counter(splits[subject] for subject in {row.subject_id for row in checked.rows})
    classes = _classes(card, checked.rows, splits)
    rejected = Counter(rejection.reason for rejection in checked.rejected)
    return Preview(
        card,
        {split: samples[split] for split in SPLITS},
        {split: subjects[split] for split in SPLITS},
        classes,
        tuple(_attributes(card, checked.rows)),
        dict(rejected.most_common()),
        tuple(_first(Example(r.sample_id, r.source, r.reason, r.detail) for r in checked.rejected)),
        opened,
        tuple(_problems(checked, opened, options)),
        tuple(_remarks(card, checked.rows, samples, classes, opened)),
    )


def _spread(rows: Sequence[Row], count: int) -> list[Row]:
    """Return rows spread evenly over all."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    return [rows[place] for place in places] if rows else []


@dataclass
class _Seen:
    """Counts what is opened."""

    sizes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[int] = field(default_factory=Counter)
    structures: Counter[str] = field(default_factory=Counter)
    spacing: int = 0
    masks: int = 0
    resized: int = 0
    bytes: list[int] = field(default_factory=list)

    def add(self, pixels: Pixels | Volume, stored: Stored, card: DatasetCard) -> None:
        """Count one sample."""
        depth = f"x{pixels.image.shape[0]}" if isinstance(pixels, Volume) else ""
        self.sizes[f"{stored.original_width}x{stored.original_height}{depth}"] += 1
        self.kinds[_kind(pixels)] += 1
        self.spacing += stored.spacing_mm is not None
        self.bytes.append(sum(len(data) + _HEADER for data in stored.files.values()) + _DESCRIPTION)
        if pixels.mask is None:
            return
        self.masks += 1
        self.resized += bool(stored.mask_resized)
        found = np.unique(pixels.mask).tolist()
        self.values.update(found)
        self.structures.update(s.name for s in card.structures if set(s.values) & set(found))


def _open(
    adapter: Adapter,
    card: DatasetCard,
    options: ConvertOptions,
    rows: Sequence[Row],
    progress: Callable[[int, int], None] | None,
) -> Opened:
    """Treat samples as the conversion would, and keep nothing."""
    seen, failed = _Seen(), []
    for place, row in enumerate(rows):
        try:
            pixels = adapter.read(row.values)
            seen.add(pixels, store(pixels, card, options.max_side), card)
        except UnreadableSample as error:
            failed.append(Example(row.sample_id, row.source, error.reason, error.detail))
        except OSError as error:
            detail = f"a raw file cannot be read: {error.strerror or error}"
            failed.append(Example(row.sample_id, row.source, "decode_error", detail))
        if progress is not None:
            progress(place + 1, len(rows))
    return Opened(
        len(rows),
        dict(seen.sizes.most_common()),
        dict(seen.kinds.most_common()),
        seen.spacing,
        seen.masks,
        seen.resized,
        dict(sorted(seen.values.items())),
        {structure.name: seen.structures[structure.name] for structure in card.structures},
        sum(seen.bytes) / len(seen.bytes) if seen.bytes else None,
        dict(Counter(example.reason for example in failed).most_common()),
        tuple(_first(failed)),
    )


def _kind(pixels: Pixels | Volume) -> str:
    if isinstance(pixels, Volume):
        return f"volume {pixels.image.dtype}"
    colours = "grey" if pixels.image.ndim == 2 else "RGB"
    return f"{pixels.image.dtype.itemsize * 8}-bit {colours}"


def _first(examples: Iterable[Example]) -> list[Example]:
    """Return the first few examples of each reason."""
    counts: Counter[str] = Counter()
    chosen = []
    for example in examples:
        counts[example.reason] += 1
        if counts[example.reason] <= _EXAMPLES:
            chosen.append(example)
    return chosen


def _classes(
    card: DatasetCard, rows: Sequence[Row], splits: Mapping[str, str]
) -> dict[str, dict[str, dict[str, int]]]:
    counted = {target.name: Counter[tuple[str, str]]() for target in card.targets}
    for row in rows:
        for name, label in row.targets.items():
            counted[name][label or "", splits[row.subject_id]] += 1
    return {
        target.name: {
            label: {split: counted[target.name][label, split] for split in SPLITS}
            for label in (*target.classes, "")
        }
        for target in card.targets
    }


def _attributes(card: DatasetCard, rows: Sequence[Row]) -> Iterable[AttributeSummary]:
    for attribute in _recorded(card):
        values = [row.attributes[attribute.name] for row in rows]
        known = [value for value in values if value is not None]
        yield AttributeSummary(
            attribute.name,
            attribute.kind,
            len(rows),
            len(values) - len(known),
            _values(known, attribute.kind),
        )


def _recorded(card: DatasetCard) -> list[Attribute]:
    """Return the attributes that tables hold; the others are known once all images were read."""
    return [attribute for attribute in card.attributes if not attribute.derived]


def _values(known: Sequence[Any], kind: str) -> str:
    if not known:
        return ""
    if kind == "number":
        return f"{min(known):g} to {max(known):g}, median {float(np.median(known)):g}"
    counts = Counter(known).most_common()
    shown = ", ".join(f"{value}: {count}" for value, count in counts[:_SHOWN])
    return shown + (f", and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def _problems(checked: CheckedManifest, opened: Opened, options: ConvertOptions) -> Iterable[str]:
    """Tell why the conversion would fail: certainly, or as the opened images let expect."""
    total, early = len(checked.rows) + len(checked.rejected), len(checked.rejected)
    failed, share = sum(opened.rejected.values()), options.max_rejected
    if early + failed > share * total or early == total:
        yield (
            f"{early + failed} of {total} samples would be rejected, more than the {share:.1%} allowed: {early} by the table "
            f"alone, {failed} of the {opened.samples} opened."
        )
    elif failed > 1 and early + failed / opened.samples * len(checked.rows) > share * total:
        yield (
            f"{failed} of the {opened.samples} images opened cannot be converted; if the others are like them, more than the "
            f"{share:.1%} allowed of all samples would be rejected."
        )


def _remarks(
    card: DatasetCard,
    rows: Sequence[Row],
    samples: Mapping[str, int],
    classes: Mapping[str, Mapping[str, Mapping[str, int]]],
    opened: Opened,
) -> Iterable[str]:
    empty = [split for split in SPLITS if not samples[split]]
    if empty:
        yield f"there is no sample in {' and '.join(empty)}"
    for name, by_class in classes.items():
        for label, counts in by_class.items():
            lacking = [split for split in SPLITS if label and samples[split] and not counts[split]]
            if lacking:
                yield f"target {name!r} has no sample of class {label!r} in {' and '.join(lacking)}"
    for attribute in _recorded(card):
        if all(row.attributes[attribute.name] is None for row in rows):
            yield f"attribute {attribute.name!r} is unknown for all samples"
        values = {row.attributes[attribute.name] for row in rows} - {None}
        if attribute.kind == "category" and len(values) > max(
            _GROUPS, len({row.subject_id for row in rows}) / 4
        ):
            yield (
                f"attribute {attribute.name!r} is a category with {len(values)} values, too many for groups of people; is it a "
                "number or a date?"
            )
    for structure, found in opened.structures.items():
        if opened.with_mask and not found:
            yield f"structure {structure!r} is in none of the {opened.with_mask} masks opened"
    if card.structures and opened.with_mask < opened.samples - sum(opened.rejected.values()):
        yield f"{opened.samples - sum(opened.rejected.values()) - opened.with_mask} of the samples opened have no mask"
