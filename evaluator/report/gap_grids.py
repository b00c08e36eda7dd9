"""Tables of gaps between groups: the primary one with what chance gives, and the same in other conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    Tone,
    arm_cell,
    arm_heading,
    by_attribute,
    form_of,
    number_cell,
    present,
    records,
    simple,
    tell_seed,
    text_cell,
    why,
)
from evaluator.report.tables import ARM, Measure
from evaluator.report.terms import kind_words
from evaluator.report.words import (
    UNDEFINED,
    MetricWords,
    interval,
    is_undefined,
    metric_words,
    p_value,
)


def gap_grid(gaps: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out the gaps of one measure (see :func:`~evaluator.report.tables.gap_table`) by attribute.

    Of a single arm and seed a row is named by its attribute, else by the arm below a heading for the attribute.
    """
    words, rows = metric_words(measure.metric), records(gaps)
    columns = (
        Column("Raw gap", hint="with its interval"),
        Column("By chance", hint="mean gap if groups did not differ"),
        Column("Adjusted gap"),
        Column("p"),
        Column("Detectable", hint="smallest true gap this test set would probably have found"),
        Column("Worst group", "text"),
        Column("Best group", "text"),
        Column("Left out", "text", "groups that take no part, with too few subjects"),
    )
    if _alone(gaps):
        named = (_gap_row(row, words, text_cell(row["attribute"])) for row in rows)
        return simple(caption, (Column("Attribute", "text"), *columns), named)
    sections = tuple(
        by_attribute(
            str(attribute),
            (_gap_row(row, words, arm_cell(row, tell_seed(row))) for row in records(mine)),
        )
        for attribute, mine in gaps.groupby("attribute", sort=False)
    )
    return Grid(caption, (Column(arm_heading(rows), "text"), *columns), sections)


def _alone(gaps: pd.DataFrame) -> bool:
    """Return whether all rows are of one arm and seed."""
    return len(gaps[[*ARM, "seed"]].drop_duplicates()) < 2


def _gap_row(row: Mapping[str, Any], words: MetricWords, name: Cell) -> Row:
    form, reason = form_of(words), why(row)
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    left_out = row["excluded_groups"]
    listed = ", ".join(map(str, left_out)) if hasattr(left_out, "__iter__") else ""
    cells = (
        name,
        number_cell(row["raw"], form, reason=reason, note="" if span == UNDEFINED else span),
        *(number_cell(row[name], form, reason=reason) for name in ("null_mean", "adjusted")),
        number_cell(row["p"], p_value, reason=reason),
        number_cell(row["detectable"], form, reason=reason),
        text_cell(row["worst_group"] if present(row["worst_group"]) else None),
        text_cell(row["best_group"] if present(row["best_group"]) else None),
        text_cell(listed or None, reason),
    )
    tone: Tone = "muted" if is_undefined(row["adjusted"]) else ""
    return Row(cells, tone, str(row["model"]), str(row["attribute"]))


def other_gap_grid(gaps: pd.DataFrame, *, caption: str) -> Grid:
    """Lay out fairness measures other than the judged gap (see :func:`~evaluator.report.tables.other_gaps`).

    Scores of which more is fairer, as equity-scaled ones, say so in their sentence.
    """
    columns = (
        Column("Measure", "text"),
        Column(arms := arm_heading(records(gaps)), "text"),
        Column("Of", "text", "the metric, and its convention"),
        Column("Value", hint="as the convention defines it"),
        Column("By chance", hint="mean if groups did not differ"),
        Column("Adjusted"),
        Column("p"),
        Column("What it means", "text"),
    )
    sections = tuple(
        by_attribute(str(attribute), (_other_row(row) for row in records(rows)))
        for attribute, rows in gaps.groupby("attribute", sort=False)
    )
    grid = Grid(caption, columns, sections)
    return grid.without(arms) if _alone(gaps) else grid


def _other_row(row: Mapping[str, Any]) -> Row:
    words, reason = metric_words(row["metric"]), why(row)
    finer = 2 if str(row["kind"]).startswith("variance") else 0  # squares of small numbers
    form = form_of(replace(words, decimals=words.decimals + finer))
    cells = (
        text_cell(row["kind"]),
        arm_cell(row, tell_seed(row)),
        text_cell(words.label, row["convention"]),
        number_cell(row["raw"], form, reason=reason),
        *(
            number_cell(row[name], form, reason=reason or "not computed")
            for name in ("null_mean", "adjusted")
        ),
        number_cell(row["p"], p_value, reason=reason or "not tested"),
        Cell(kind_words(row["kind"])),
    )
    return Row(cells, "muted" if is_undefined(row["raw"]) else "", str(row["model"]), str(row["attribute"]))
