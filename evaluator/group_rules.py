"""The rules that form groups: what users write under ``attributes:`` of a study, checked before any data is read.

Guarantee: the JSON of a rule, which is part of a measurement's identity, holds only what differs from the default and can
change a group. Rules that form the same groups under the same names are the same rule, whether written or taken from a preset.
Scope: no data and no dataset is known here; presets are resolved in :mod:`evaluator.presets`, groups are formed in
:mod:`evaluator.groups`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shards.errors import UserError, unknown_name

UNKNOWN = "unknown"
ALL = "all"

Closed = Literal["left", "right"]
_OPTIONS = ("bins", "closed", "labels", "groups", "values", "otherwise", "preset")
_EDGES = ("left", "right")


@dataclass(frozen=True)
class GroupSpec:
    """How one attribute becomes groups.

    Attributes
    ----------
    attribute
        Name in the tables; the column of the index unless `column` says another.
    bins
        Strictly rising edges of a number's bins; ``(60,)`` gives ``<60`` and ``60+``. None for a category.
    groups
        Values of a category that are groups even when no subject has them. None: the values found.
    closed
        Which of its two edges a bin holds: ``"left"`` puts 60 into ``60+``, ``"right"`` into ``<=60``.
    labels
        Names of the bins or of the `values`, in their order. None: bins are named by their edges.
    values
        Of a category: for each label the values that belong to it; an empty text stands for an empty cell.
    otherwise
        Label of every known value that `values` do not list; ``"unknown"`` makes them unknown, None refuses them.
    column
        Column of the index that is read; None for the one called like the attribute.
    preset
        Name of a dataset's own rule that is still to be looked up (see :mod:`evaluator.presets`).
    """

    attribute: str
    bins: tuple[float, ...] | None = None
    groups: tuple[str, ...] | None = None
    closed: Closed = "left"
    labels: tuple[str, ...] | None = None
    values: tuple[tuple[str, ...], ...] | None = None
    otherwise: str | None = None
    column: str | None = None
    preset: str | None = None

    @property
    def source(self) -> str:
        """Column of the index that is read."""
        return self.column or self.attribute

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups where they are known before the data: of bins, of mapped values, declared ones."""
        if self.bins is not None:
            return self.labels or bin_names(self.bins, closed=self.closed)
        if self.values is not None:
            extra = () if self.otherwise in (None, UNKNOWN, *(self.labels or ())) else (str(self.otherwise),)
            return (*(self.labels or ()), *extra)
        return self.groups or ()

    def to_json(self) -> dict[str, Any]:
        """Return what can change a group, as JSON-ready values."""
        value: dict[str, Any] = {"attribute": self.attribute, "bins": self.bins, "groups": self.groups}
        later = {
            "closed": None if self.closed == "left" else self.closed,
            "labels": self.labels,
            "values": self.values,
            "otherwise": self.otherwise,
            "column": self.column,
            "preset": self.preset,
        }
        return {**value, **{name: given for name, given in later.items() if given is not None}}


@dataclass(frozen=True)
class GroupRule:
    """One attribute of the tables: a single :class:`GroupSpec`, or several whose product is taken.

    Attributes
    ----------
    name
        As in the tables: ``"sex"`` or ``"sex*age"``.
    parts
        The attributes it is made of, in the order of the name.
    """

    name: str
    parts: tuple[GroupSpec, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes it is made of."""
        return tuple(part.attribute for part in self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the index that this rule reads."""
        return tuple(part.source for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON-ready values (part of a measure's identity)."""
        return {"name": self.name, "parts": [part.to_json() for part in self.parts]}


def parse_groups(options: Mapping[str, Mapping[str, Any] | None]) -> tuple[GroupRule, ...]:
    """Read the ``attributes`` part of a study.

    Parameters
    ----------
    options
        Attribute (or attributes joined by ``*``) -> options: ``bins`` (rising numbers; with ``closed`` and ``labels``),
        ``groups`` (declared values), ``values`` (group -> its values; with ``otherwise``) or ``preset`` (the name of a rule
        that the dataset's card holds). Intersections take the options of their parts.

    Returns
    -------
    tuple of GroupRule
        In the order given.

    Raises
    ------
    UserError
        For an unknown option, options that do not go together, bins that do not rise, labels that do not fit, the reserved
        name ``all``, an attribute twice in an intersection, or options on an intersection.

    Examples
    --------
    >>> [rule.name for rule in parse_groups({"sex": {}, "age": {"bins": [60]}, "sex*age": {}})]
    ['sex', 'age', 'sex*age']
    >>> parse_groups({"age": {"bins": [60], "closed": "right"}})[0].parts[0].names
    ('<=60', '>60')
    """
    singles = {name: _spec(name, given or {}) for name, given in options.items() if "*" not in name}
    return tuple(_rule(name, options[name] or {}, singles) for name in options)


def _spec(name: str, options: Mapping[str, Any]) -> GroupSpec:
    if name in (ALL, "") or name != name.strip():
        raise UserError(
            f"attribute {name!r} cannot be grouped: the name is reserved or blank. Rename the column."
        )
    if not isinstance(options, Mapping):
        raise UserError(
            f"attribute {name!r} must have a mapping of options such as {{bins: [60]}}, got {options!r}."
        )
    for key in options:
        if key not in _OPTIONS:
            raise unknown_name(f"option of attribute {name!r}:", str(key), _OPTIONS)
    given = {key: value for key, value in options.items() if value is not None}
    _refuse_mixtures(name, given)
    if "preset" in given:
        return GroupSpec(name, preset=_text(name, "preset", given["preset"]))
    if "values" in given:
        return _mapped(name, given["values"], given.get("otherwise"))
    bins = _bins(name, given.get("bins"))
    closed = given.get("closed", "left")
    if closed not in _EDGES:
        raise UserError(
            f"closed of attribute {name!r} must be left (60 is in 60+) or right (60 is in <=60), got {closed!r}."
        )
    labels = _labels(name, given.get("labels"), bins, closed)
    return GroupSpec(name, bins, _declared(name, given.get("groups")), closed, labels)


def _refuse_mixtures(name: str, given: Mapping[str, Any]) -> None:
    if "bins" in given and "groups" in given:
        raise UserError(
            f"attribute {name!r} has both bins and groups; bins are for numbers, groups for categories. Keep one."
        )
    ways = [key for key in ("preset", "values", "groups", "bins") if key in given]
    if len(ways) > 1:
        raise UserError(
            f"attribute {name!r} has both {ways[0]} and {ways[1]}; each of them forms the groups by itself. Keep one."
        )
    for key, needed in (("closed", "bins"), ("labels", "bins"), ("otherwise", "values")):
        if key in given and needed not in given:
            raise UserError(
                f"{key} of attribute {name!r} goes with {needed}, and there are none. Add {needed}."
            )


def _text(name: str, option: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise UserError(f"{option} of attribute {name!r} must be a name, got {value!r}.")
    return value


def _bins(name: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
    numbers = numbers and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    edges = tuple(float(v) for v in value) if numbers else ()
    if not numbers or any(low >= high for low, high in itertools.pairwise(edges)):
        raise UserError(f"bins of attribute {name!r} must be rising numbers such as [40, 60], got {value!r}.")
    return edges


def _labels(name: str, value: Any, bins: tuple[float, ...] | None, closed: Closed) -> tuple[str, ...] | None:
    if value is None or bins is None:
        return None
    labels = _distinct(name, "labels", value)
    if len(labels) != len(bins) + 1:
        raise UserError(
            f"labels of attribute {name!r} must name the {len(bins) + 1} groups that its {len(bins)} bins' edges make, got"
            f" {len(labels)}: {', '.join(labels)}."
        )
    return own_labels(labels, bins, closed)


def own_labels(labels: tuple[str, ...], bins: tuple[float, ...], closed: Closed) -> tuple[str, ...] | None:
    """Return labels of bins that are not the default ones; None where they are."""
    return None if labels == bin_names(bins, closed=closed) else labels


def _declared(name: str, value: Any) -> tuple[str, ...] | None:
    return None if value is None else _distinct(name, "groups", value)


def _distinct(name: str, option: str, value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not names or not all(isinstance(v, str) and v for v in names) or len(set(names)) < len(names):
        raise UserError(f"{option} of attribute {name!r} must be a list of different names, got {value!r}.")
    _refuse_unknown(name, names)
    return names


def _refuse_unknown(name: str, labels: Sequence[str]) -> None:
    if UNKNOWN in labels:
        raise UserError(
            f"attribute {name!r} cannot have a group called {UNKNOWN!r}: values that are not known are in it by themselves and"
            " take no part in gaps. Choose another name."
        )


def _mapped(name: str, value: Any, otherwise: Any) -> GroupSpec:
    """Read ``values: {White: [White], Non-White: [Black, Asian]}``."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"values of attribute {name!r} must say which values each group has, such as"
            f" {{White: [White], Non-White: [Asian, Black]}}, got {value!r}."
        )
    groups: dict[str, tuple[str, ...]] = {}
    for label, members in value.items():
        listed = [members] if isinstance(members, str | int | float) else members
        if not isinstance(listed, Sequence) or not listed or any(isinstance(v, list | dict) for v in listed):
            raise UserError(f"group {label!r} of attribute {name!r} must list its values, got {members!r}.")
        groups[_text(name, "a group", label)] = tuple("" if v is None else str(v) for v in listed)
    _refuse_unknown(name, tuple(groups))
    everything = [member for members in groups.values() for member in members]
    twice = sorted({member for member in everything if everything.count(member) > 1})
    if twice:
        raise UserError(
            f"values of attribute {name!r} are in more than one group: {', '.join(twice)}. Keep each in one."
        )
    rest = None if otherwise is None else _text(name, "otherwise", otherwise)
    return GroupSpec(name, labels=tuple(groups), values=tuple(groups.values()), otherwise=rest)


def _rule(name: str, options: Mapping[str, Any], singles: Mapping[str, GroupSpec]) -> GroupRule:
    if name in singles:
        return GroupRule(name, (singles[name],))
    parts = [part.strip() for part in name.split("*")]
    if options:
        given = ", ".join(sorted(options))
        raise UserError(
            f"intersection {name!r} takes no options, got {given}. Give them to {' and '.join(parts)}."
        )
    if len(set(parts)) < len(parts) or "" in parts:
        raise UserError(
            f"intersection {name!r} must name different attributes joined by '*', such as 'sex*age'."
        )
    spelled = {single.casefold(): single for single in singles}
    found = [part if part in singles else spelled.get(part.casefold(), part) for part in parts]
    return GroupRule("*".join(found), tuple(singles.get(part, GroupSpec(part)) for part in found))


def bin_names(bins: Sequence[float], *, closed: Closed = "left") -> tuple[str, ...]:
    """Name the groups of a number by the edges of its bins.

    Examples
    --------
    >>> bin_names([40, 60])
    ('<40', '40-60', '60+')
    >>> bin_names([40, 60], closed="right")
    ('<=40', '>40-60', '>60')
    """
    edges = [str(int(edge)) if float(edge).is_integer() else repr(float(edge)) for edge in bins]
    pairs = itertools.pairwise(edges)
    if closed == "right":
        return (f"<={edges[0]}", *(f">{low}-{high}" for low, high in pairs), f">{edges[-1]}")
    return (f"<{edges[0]}", *(f"{low}-{high}" for low, high in pairs), f"{edges[-1]}+")
