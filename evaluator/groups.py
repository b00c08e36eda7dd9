"""Groups of subjects, formed from raw attributes at the moment of measuring.

Guarantee: an unknown value is the group ``unknown`` and nothing else; a declared group stays a group when nobody is in it;
the order of groups never depends on the order of rows. Groups are strings; codes exist inside this project only.
Scope: one attribute (its values, or bins of its numbers) and intersections of several. No metric is known here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
ALL = "all"
_OPTIONS = ("bins", "groups")


@dataclass(frozen=True)
class GroupSpec:
    """How one attribute becomes groups.

    Attributes
    ----------
    attribute
        Column of the index.
    bins
        Strictly rising edges of a number's bins; ``(60,)`` gives ``<60`` and ``60+``. None for a category.
    groups
        Values of a category that are groups even when no subject has them. None: the values found.
    """

    attribute: str
    bins: tuple[float, ...] | None = None
    groups: tuple[str, ...] | None = None


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
        """Columns of the index that this rule reads."""
        return tuple(part.attribute for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON-ready values (part of a measure's identity)."""
        parts = [{"attribute": p.attribute, "bins": p.bins, "groups": p.groups} for p in self.parts]
        return {"name": self.name, "parts": parts}


@dataclass(frozen=True)
class Grouping:
    """Which group each row is in.

    Attributes
    ----------
    name
        Name of the rule.
    groups
        Group names in the order of tables, without ``unknown``.
    codes
        ``[n]`` index into `groups`, -1 where unknown.
    """

    name: str
    groups: tuple[str, ...]
    codes: NDArray[np.int64]


def parse_groups(options: Mapping[str, Mapping[str, Any] | None]) -> tuple[GroupRule, ...]:
    """Read the ``attributes`` part of a study.

    Parameters
    ----------
    options
        Attribute (or attributes joined by ``*``) -> options: ``bins`` (rising numbers) or ``groups`` (declared values).
        Intersections take the options of their parts.

    Returns
    -------
    tuple of GroupRule
        In the order given.

    Raises
    ------
    UserError
        For an unknown option, bins that do not rise, the reserved name ``all``, an attribute twice in an intersection, or
        options on an intersection.

    Examples
    --------
    >>> [rule.name for rule in parse_groups({"sex": {}, "age": {"bins": [60]}, "sex*age": {}})]
    ['sex', 'age', 'sex*age']
    """
    singles = {name: _spec(name, given or {}) for name, given in options.items() if "*" not in name}
    return tuple(_rule(name, options[name] or {}, singles) for name in options)


def _spec(name: str, options: Mapping[str, Any]) -> GroupSpec:
    if name in (ALL, "") or name != name.strip():
        raise UserError(
            f"attribute {name!r} cannot be grouped: the name is reserved or blank. Rename the column."
        )
    for key in options:
        if key not in _OPTIONS:
            raise unknown_name(f"option of attribute {name!r}:", str(key), _OPTIONS)
    if "bins" in options and "groups" in options:
        raise UserError(
            f"attribute {name!r} has both bins and groups; bins are for numbers, groups for categories. Keep one."
        )
    return GroupSpec(name, _bins(name, options.get("bins")), _declared(name, options.get("groups")))


def _bins(name: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
    numbers = numbers and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    edges = tuple(float(v) for v in value) if numbers else ()
    if not numbers or any(low >= high for low, high in itertools.pairwise(edges)):
        raise UserError(f"bins of attribute {name!r} must be rising numbers such as [40, 60], got {value!r}.")
    return edges


def _declared(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
    if not names or not all(isinstance(v, str) and v for v in names) or len(set(names)) < len(names):
        raise UserError(f"groups of attribute {name!r} must be a list of different names, got {value!r}.")
    return names


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
    return GroupRule("*".join(parts), tuple(singles.get(part, GroupSpec(part)) for part in parts))


def assign_groups(rule: GroupRule, attributes: pd.DataFrame) -> Grouping:
    """Put every row into a group.

    Parameters
    ----------
    rule
        What to form.
    attributes
        One row per sample with the raw attribute columns. Values of the whole dataset, not of one split only, so that a
        group that is empty in the test split is still known.

    Returns
    -------
    Grouping
        Codes in the order of the rows of `attributes`. A row with any part unknown is unknown.

    Raises
    ------
    UserError
        If a column is missing, a number has no bins, a category has bins, a number is infinite, or a value is not among the
        declared groups.
    """
    parts = [_assign_one(part, attributes) for part in rule.parts]
    names = tuple("*".join(cell) for cell in itertools.product(*(part.groups for part in parts)))
    codes = np.zeros(len(attributes), np.int64)
    known = np.ones(len(attributes), bool)
    for part in parts:
        known &= part.codes >= 0
        codes = codes * max(len(part.groups), 1) + part.codes
    return Grouping(rule.name, names, np.where(known, codes, -1))


def _assign_one(spec: GroupSpec, attributes: pd.DataFrame) -> Grouping:
    if spec.attribute not in attributes.columns:
        found = sorted(str(c) for c in attributes.columns if c not in ("sample_id", "subject_id", "split"))
        raise unknown_name(
            "attribute", spec.attribute, found, hint="Attributes are columns of the dataset's index."
        )
    column = attributes[spec.attribute]
    return _by_bins(spec, column) if spec.bins is not None else _by_value(spec, column)


def _by_bins(spec: GroupSpec, column: pd.Series[Any]) -> Grouping:
    import pandas as pd

    bins = spec.bins or ()
    known = column.notna().to_numpy(bool)
    if known.any() and not _is_number(column):
        example = str(column[known].iloc[0])
        raise UserError(
            f"attribute {spec.attribute!r} has bins but is not a number (found {example!r}). Leave the bins out, or list its"
            f" values: {{groups: [...]}}."
        )
    values = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise UserError(
            f"attribute {spec.attribute!r} has an infinite value. Make it null where it is not known."
        )
    codes = np.searchsorted(np.asarray(bins), values, side="right").astype(np.int64)
    return Grouping(spec.attribute, bin_names(bins), np.where(known, codes, -1))


def _by_value(spec: GroupSpec, column: pd.Series[Any]) -> Grouping:
    import pandas as pd

    if column.notna().any() and _is_number(column):
        low, high = float(column.min()), float(column.max())
        raise UserError(
            f"attribute {spec.attribute!r} is a number ({low:g} to {high:g}) and needs bins to form groups. Give them in the"
            f" study: attributes: {{{spec.attribute}: {{bins: [{(low + high) / 2:g}]}}}}."
        )
    codes, values = pd.factorize(column, use_na_sentinel=True)
    texts = [str(value) for value in values]
    found = sorted({text for text in texts if text != UNKNOWN})
    groups = spec.groups if spec.groups is not None else tuple(found)
    strangers = [text for text in found if text not in groups]
    if strangers:
        raise UserError(
            f"attribute {spec.attribute!r} has values that are not among its declared groups: {', '.join(strangers[:10])}"
            f" (declared: {', '.join(groups)}). Declare them, or make them null where they mean unknown."
        )
    position = {name: code for code, name in enumerate(groups)}
    mapped = np.array([*(position.get(text, -1) for text in texts), -1], np.int64)
    return Grouping(spec.attribute, groups, mapped[codes])


def _is_number(column: pd.Series[Any]) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column):
        return not is_bool_dtype(column)
    known = column[column.notna()].unique()
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)


def bin_names(bins: Sequence[float]) -> tuple[str, ...]:
    """Name the groups of a number: each bin holds its lower edge, not its upper.

    Examples
    --------
    >>> bin_names([40, 60])
    ('<40', '40-60', '60+')
    """
    edges = [str(int(edge)) if float(edge).is_integer() else repr(float(edge)) for edge in bins]
    between = [f"{low}-{high}" for low, high in itertools.pairwise(edges)]
    return (f"<{edges[0]}", *between, f"{edges[-1]}+")
