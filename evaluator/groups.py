"""Groups of subjects, formed from raw attributes at the moment of measuring.

Guarantee: an unknown value is the group ``unknown`` and nothing else; a declared group stays a group when nobody is in it;
the order of groups never depends on the order of rows. Groups are strings; codes exist inside this project only.
Scope: one attribute (its values, bins of its numbers, or values put together) and intersections of several. No metric is
known here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.group_rules import ALL, UNKNOWN, GroupRule, GroupSpec, bin_names, parse_groups
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ALL",
    "UNKNOWN",
    "GroupRule",
    "GroupSpec",
    "Grouping",
    "assign_groups",
    "bin_names",
    "parse_groups",
]


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
    if spec.source not in attributes.columns:
        found = sorted(str(c) for c in attributes.columns if c not in ("sample_id", "subject_id", "split"))
        raise unknown_name(
            "attribute", spec.source, found, hint="Attributes are columns of the dataset's index."
        )
    column = attributes[spec.source]
    if spec.bins is not None:
        return _by_bins(spec, column)
    return _by_mapping(spec, column) if spec.values is not None else _by_value(spec, column)


def _by_bins(spec: GroupSpec, column: pd.Series[Any]) -> Grouping:
    import pandas as pd

    bins = spec.bins or ()
    known = column.notna().to_numpy(bool)
    # A publisher's own column is kept as text.
    numbers = column if spec.column is None else pd.to_numeric(column, errors="coerce")
    if known.any() and not (_is_number(numbers) and numbers.notna().to_numpy(bool)[known].all()):
        example = str(column[known & ~_read(numbers)].iloc[0])
        raise UserError(
            f"attribute {spec.attribute!r} has bins but is not a number (found {example!r}). Leave the bins out, or list its"
            f" values: {{groups: [...]}}."
        )
    values = pd.to_numeric(numbers).to_numpy(np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise UserError(
            f"attribute {spec.attribute!r} has an infinite value. Make it null where it is not known."
        )
    codes = np.searchsorted(np.asarray(bins), values, side="right" if spec.closed == "left" else "left")
    return Grouping(spec.attribute, spec.names, np.where(known, codes.astype(np.int64), -1))


def _read(numbers: pd.Series[Any]) -> NDArray[np.bool_]:
    """Return which rows hold a number."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(numbers) and not pd.api.types.is_bool_dtype(numbers):
        return np.asarray(numbers.notna(), bool)
    return np.array([isinstance(v, int | float) and not isinstance(v, bool) for v in numbers], bool)


def _by_mapping(spec: GroupSpec, column: pd.Series[Any]) -> Grouping:
    """Put the values of a category together under the labels of a rule."""
    import pandas as pd

    names, labels = spec.names, spec.labels or ()
    place = {value: code for code, members in enumerate(spec.values or ()) for value in members}
    codes, values = pd.factorize(column, use_na_sentinel=True)
    texts = [_spelled(value) for value in values]
    rest = -1 if spec.otherwise in (None, UNKNOWN) else names.index(str(spec.otherwise))
    # In an attribute the word unknown is unknown; in a publisher's own column it is a word like any other.
    reserved = {UNKNOWN} if spec.column is None else set()
    strangers = sorted(text for text in texts if text not in place and text not in reserved)
    if strangers and spec.otherwise is None:
        raise UserError(
            f"attribute {spec.attribute!r} has values that are in none of its groups {', '.join(labels)}:"
            f" {', '.join(strangers[:10])}. List them, or say where all others go: {{otherwise: NAME}} for a group,"
            f" {{otherwise: unknown}} to leave them out of the gaps."
        )
    mapped = [place.get(text, -1 if text in reserved else rest) for text in texts]
    return Grouping(spec.attribute, names, np.array([*mapped, place.get("", -1)], np.int64)[codes])


def _spelled(value: Any) -> str:
    """Write a value as a study would: whole numbers without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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
