"""Balanced views: seeded sub-samples of the measured rows in which all groups of one attribute are of one size.

FairMedFM and others report on test sets that were cut to the same number of images for each group. A view reproduces that when
measuring: no data is copied, no model runs again, and the rows of a view have a split of their own (``test|balanced:sex``), so
that they are never taken for those of the whole test set.

Guarantee: which samples are kept depends on their ids, their groups, the seed and :data:`VERSION` only, not on the order of
rows, on models or on labels. Each unit has a place in an order that hashing gives it; the first ones of each group are kept.
Trade-off: a view leaves out people, so its intervals are wider; gaps do not need one, because they are corrected for sizes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evaluator.groups import Grouping
from shards.errors import UserError
from shards.files import digest

if TYPE_CHECKING:
    import pyarrow as pa

#: Raised when other samples are kept for the same ids, groups and seed.
VERSION = 1
_KINDS = {"balanced": "samples", "balanced-subjects": "subjects"}


@dataclass(frozen=True)
class View:
    """What a view is, as a study names it.

    Attributes
    ----------
    kind
        ``"balanced"``: each group has as many samples as the smallest; ``"balanced-subjects"``: as many subjects, with all of
        their samples in that group.
    attribute
        Rule of groups, e.g. ``"sex"`` or ``"sex*age"``.
    """

    kind: Literal["balanced", "balanced-subjects"]
    attribute: str

    @property
    def name(self) -> str:
        """As in the study and in the split of the tables."""
        return f"{self.kind}:{self.attribute}"

    @property
    def units(self) -> str:
        """What is counted: ``"samples"`` or ``"subjects"``."""
        return _KINDS[self.kind]


@dataclass(frozen=True)
class Drawn:
    """A view of some samples.

    Attributes
    ----------
    ids
        Samples that are kept, sorted.
    groups, available, kept
        Of each group that has samples: its name, its units, and how many are kept (the same number for all).
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    available: tuple[int, ...]
    kept: int

    def digest(self) -> str:
        """Return the hash of the ids."""
        return digest(list(self.ids))


def parse_view(text: str) -> View:
    """Read the name of a view.

    Raises
    ------
    UserError
        If it is none.

    Examples
    --------
    >>> parse_view("balanced:sex").units
    'samples'
    """
    kind, colon, attribute = text.partition(":")
    if kind not in _KINDS or not colon or not attribute.strip():
        raise UserError(
            "view must be balanced:ATTRIBUTE (as many samples of each group) or balanced-subjects:ATTRIBUTE (as many subjects),"
            f" got {text!r}."
        )
    return View("balanced" if kind == "balanced" else "balanced-subjects", attribute.strip())


def viewed(split: str, view: str | None) -> str:
    """Return what the split of a view's rows is called.

    Examples
    --------
    >>> viewed("test", "balanced:sex"), base_split("test|balanced:sex")
    ('test|balanced:sex', 'test')
    """
    return split if view is None else f"{split}|{view}"


def base_split(split: str | None) -> str:
    """Return the split that rows are of, whether all of it or a view."""
    return split.partition("|")[0] if isinstance(split, str) else ""


def draw(
    view: View, samples: Sequence[str], subjects: Sequence[str], grouping: Grouping, *, seed: int
) -> Drawn:
    """Choose the samples of a view.

    Parameters
    ----------
    view
        Which view.
    samples, subjects
        ``[n]`` ids; a sample once.
    grouping
        ``[n]`` codes of the view's attribute; samples of unknown group are in no view.
    seed
        Gives another choice of the same sizes.

    Returns
    -------
    Drawn
        Groups without a sample take no part; without any there are no ids.
    """
    units: dict[int, dict[str, list[str]]] = {}
    for sample, subject, code in zip(samples, subjects, grouping.codes.tolist(), strict=True):
        if code >= 0:
            unit = sample if view.units == "samples" else subject
            units.setdefault(code, {}).setdefault(unit, []).append(sample)
    present = sorted(units)
    kept = min((len(units[code]) for code in present), default=0)
    ids: list[str] = []
    for code in present:
        key = f"{VERSION}\x1f{seed}\x1f{view.name}\x1f{grouping.groups[code]}"
        first = sorted(units[code], key=lambda unit: (_place(key, unit), unit))[:kept]
        ids += [sample for unit in first for sample in units[code][unit]]
    return Drawn(
        ids=tuple(sorted(ids)),
        groups=tuple(grouping.groups[code] for code in present),
        available=tuple(len(units[code]) for code in present),
        kept=kept,
    )


def _place(key: str, unit: str) -> bytes:
    return hashlib.sha256(f"{key}\x1f{unit}".encode("utf-8", "surrogatepass")).digest()


def relabel(table: pa.Table, view: str) -> pa.Table:
    """Give the measured rows of a table the split of a view; rows of val, on which models are chosen, stay."""
    import pyarrow as pa

    names = [
        name if name is None or name == "val" else viewed(name, view) for name in table["split"].to_pylist()
    ]
    place = table.column_names.index("split")
    return table.set_column(place, table.schema.field(place), pa.array(names, table.schema.field(place).type))


def record(view: View, drawn: Drawn, split: str, seed: int) -> pa.Table:
    """Return what a view is made of: a row per group."""
    import pyarrow as pa

    count = len(drawn.groups)
    return pa.table(
        {
            "split": pa.array([viewed(split, view.name)] * count, pa.string()),
            "view": pa.array([view.name] * count, pa.string()),
            "version": pa.array([VERSION] * count, pa.int32()),
            "seed": pa.array([seed] * count, pa.int64()),
            "units": pa.array([view.units] * count, pa.string()),
            "group": pa.array(drawn.groups, pa.string()),
            "available": pa.array(drawn.available, pa.int64()),
            "kept": pa.array([drawn.kept] * count, pa.int64()),
            "ids_sha256": pa.array([drawn.digest()] * count, pa.string()),
        }
    )


def smallest(view: View, subjects: Sequence[str], grouping: Grouping) -> tuple[str, int] | None:
    """Return the group that has fewest of a view's units among some samples, and how many; None where no group is known."""
    pairs = zip(grouping.codes.tolist(), subjects, strict=True)
    known = [pair for pair in pairs if pair[0] >= 0]
    counts = Counter(code for code, _ in (set(known) if view.units == "subjects" else known))
    if not counts:
        return None
    least = min(sorted(counts), key=lambda code: counts[code])
    return grouping.groups[least], counts[least]
