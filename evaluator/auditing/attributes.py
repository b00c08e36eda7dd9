"""Attributes of samples as groups: unknown spellings, default bins, and what cannot be grouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluator.auditing.columns import Ages, Coded, ages, coded, is_number, numbers, shown
from evaluator.auditing.names import AGE_BINS, normal
from evaluator.auditing.options import Hints
from evaluator.auditing.questions import Missing, Questions
from evaluator.groups import GroupRule, bin_names, parse_groups
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

#: More values than this are no groups.
MOST_GROUPS = 50
#: A number with at most this many different whole values is a code, not a measurement.
MOST_CODES = 10


class Attributes(NamedTuple):
    """Attributes of every row.

    Attributes
    ----------
    columns
        Attribute -> ``[n]`` texts (None where unknown) or float64 numbers (NaN where unknown).
    rules
        How they become groups.
    notes
        What was assumed, one sentence each.
    left_out
        Attribute -> why its groups are not compared, though it is called like an attribute.
    """

    columns: Mapping[str, Any]
    rules: tuple[GroupRule, ...]
    notes: tuple[str, ...]
    left_out: Mapping[str, str]


def read_attributes(
    frame: pd.DataFrame, attributes: Sequence[str], hints: Hints, questions: Questions
) -> Attributes:
    """Read the attributes of every row.

    Parameters
    ----------
    frame
        The table.
    attributes
        Columns.
    hints
        Bins, intersections, and whether the attributes were asked for.
    questions
        Takes the numbers that need bins.

    Raises
    ------
    UserError
        If an attribute has too many values, or an intersection names another column.
    """
    columns: dict[str, Any] = {}
    options: dict[str, Mapping[str, Any]] = {}
    notes: list[str] = []
    left_out: dict[str, str] = {}
    for name in attributes:
        if name in ("all", "sample_id", "subject_id", "split"):
            raise UserError(
                f"attribute {name!r} has a name that the tables use otherwise. Rename the column."
            )
        column, spelled = _in_years(frame[name]) if _is_age(name) or name in hints.bins else (frame[name], [])
        values = coded(column)
        notes += [*_told_unknown(name, values), *spelled]
        edges = hints.bins.get(name) or _default_bins(name, column, values)
        if edges is not None:
            columns[name], options[name] = _number(column), {"bins": list(edges)}
            given = "" if name in hints.bins else f" (no bins were given; change them with --bins {name}=...)"
            notes.append(f"{name}: groups {', '.join(bin_names(edges))}{given}")
            continue
        problem = _not_groups(column, values)
        if problem and name not in hints.attributes and not _crosses(name, hints):
            left_out[name] = problem
            continue
        if problem:
            told = f"attribute {name!r} {problem}."
            if not _measures(column, values):
                raise UserError(told)
            questions.add(Missing(told, ("--bins", f"{name}={_middle(column):.3g}")))
            continue
        notes += _told_codes(name, column, values)
        columns[name], options[name] = values.texts(), {}
    rules = () if questions else _rules(options, columns, hints, left_out)
    return Attributes(columns, rules, tuple(notes), left_out)


def _is_age(name: str) -> bool:
    return "age" in normal(name).split("_")


def _in_years(column: pd.Series[Any]) -> tuple[pd.Series[Any], list[str]]:
    """Return a column of ages such as ``058Y`` as years, and say so; any other column as it is."""
    import pandas as pd

    read = None if is_number(column) else ages(column)
    if read is None:
        return column, []
    told = f"{column.name}: ages such as {read.example} were read as years ({_years_of(read, column):g})"
    return pd.Series(read.values, column.index, name=column.name), [told]


def _years_of(read: Ages, column: pd.Series[Any]) -> float:
    first = int(np.flatnonzero(column.astype(str).str.strip() == read.example)[0])
    return float(round(float(read.values[first]), 2))


def _rules(
    options: Mapping[str, Mapping[str, Any]],
    columns: Mapping[str, Any],
    hints: Hints,
    left_out: Mapping[str, str],
) -> tuple[GroupRule, ...]:
    for crossed in hints.intersections:
        for part in crossed.split("*"):
            if part.strip() not in columns:
                raise unknown_name(
                    "attribute", part.strip(), list(columns), hint=f"(--intersections {crossed})"
                )
    if not options:
        dropped = "".join(f" {name} {why}." for name, why in left_out.items())
        raise UserError(
            f"no attribute is left whose groups could be compared.{dropped} Name some with --attributes."
        )
    return parse_groups({**options, **{name: {} for name in hints.intersections}})


def _crosses(name: str, hints: Hints) -> bool:
    return any(name in [part.strip() for part in crossed.split("*")] for crossed in hints.intersections)


def _number(column: pd.Series[Any]) -> Any:
    read = numbers(column)
    if read.strangers:
        raise UserError(
            f"attribute {column.name!r} has bins but is not a number everywhere (found {shown(read.strangers)}). Make these"
            " cells empty or numbers."
        )
    known = read.values[~np.isnan(read.values)]
    if not np.isfinite(known).all():
        raise UserError(
            f"attribute {column.name!r} has an infinite value. Make it empty where it is not known."
        )
    if _is_age(str(column.name)) and len(known) and known.min() < 0:
        raise UserError(
            f"attribute {column.name!r} has negative values (down to {known.min():g}). Make ages that are not known empty."
        )
    return read.values


def _default_bins(name: str, column: pd.Series[Any], values: Coded) -> tuple[float, ...] | None:
    """Return the bins of an age in years; codes such as 0 and 1 are no ages."""
    if not _is_age(name) or not is_number(column):
        return None
    return None if len(values.values) <= 3 and _largest(column) < 10 else AGE_BINS


def _largest(column: pd.Series[Any]) -> float:
    return float(np.nanmax(numbers(column).values))


def _not_groups(column: pd.Series[Any], values: Coded) -> str | None:
    if _measures(column, values):
        read = numbers(column).values
        low, high = float(np.nanmin(read)), float(np.nanmax(read))
        return (
            f"is a number ({low:g} to {high:g}) and needs bins to form groups, e.g. --bins"
            f" {column.name}={_middle(column):.3g}"
        )
    if len(values.values) > MOST_GROUPS:
        return (
            f"has {len(values.values):,} different values (at most {MOST_GROUPS} groups), e.g. {shown(values.values, 3)}; join"
            " rare values in the table, or leave it out"
        )
    return None


def _measures(column: pd.Series[Any], values: Coded) -> bool:
    """Return whether a column measures something, instead of coding groups by a few whole numbers."""
    return is_number(column) and not (len(values.values) <= MOST_CODES and _whole(column))


def _middle(column: pd.Series[Any]) -> float:
    read = numbers(column).values
    return (float(np.nanmin(read)) + float(np.nanmax(read))) / 2


def _whole(column: pd.Series[Any]) -> bool:
    values = numbers(column).values
    known = values[np.isfinite(values)]
    return bool((known == np.floor(known)).all())


def _told_unknown(name: str, values: Coded) -> list[str]:
    if not values.unknown:
        return []
    told = ", ".join(f"{text or 'empty'} ({count:,})" for text, count in values.unknown.items())
    return [f"{name}: {sum(values.unknown.values()):,} rows are unknown: {told}"]


def _told_codes(name: str, column: pd.Series[Any], values: Coded) -> list[str]:
    notes = []
    if values.values and is_number(column):
        notes.append(f"{name}: groups are called by their codes {', '.join(values.values)}")
    folded: dict[str, list[str]] = {}
    for value in values.values:
        folded.setdefault(" ".join(value.lower().split()), []).append(value)
    alike = [shown(spellings) for spellings in folded.values() if len(spellings) > 1]
    if alike:
        notes.append(
            f"{name}: values that differ in case or blanks only are different groups: {'; '.join(alike)}"
        )
    return notes
