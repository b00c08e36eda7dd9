"""Tables of groups: one arm by one measure with everything known of each group, or by all measures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    by_attribute,
    form_of,
    group_note,
    number_cell,
    records,
    text_cell,
    tone_of,
    value_cell,
    why,
)
from evaluator.report.tables import OVERALL, Measure, group_table
from evaluator.report.terms import method_words
from evaluator.report.words import UNDEFINED, MetricWords, count, interval, metric_words


def group_grid(metrics: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out the groups of one arm and seed for one measure: counts, interval, and why a value is missing.

    Parameters
    ----------
    metrics
        Its rows of that measure; a column of positives or of shrunk values that is empty is left out.
    measure
        What is shown.
    caption
        What it is a table of.
    """
    words = metric_words(measure.metric)
    columns = (
        Column("Group", "text"),
        Column(words.label),
        Column("Interval"),
        Column(
            "Shrunk", hint="pulled toward the mean of the attribute's groups, the more the less certain it is"
        ),
        Column("Samples"),
        Column("Subjects"),
        Column("Positive", hint="samples of the class of interest"),
        Column("Failed", hint="samples that could not be used"),
        Column("Note", "text"),
    )
    methods = [text for text in dict.fromkeys(map(method_words, metrics["interval"])) if text]
    if len(methods) == 1:
        caption = f"{caption} (intervals: {methods[0]})"
        metrics = metrics.assign(interval=None)
    sections = tuple(
        by_attribute(str(attribute), (_group_row(row, words) for row in records(rows)))
        for attribute, rows in group_table(metrics).groupby("attribute", sort=False)
    )
    known = {"Positive": metrics["n_pos"], "Shrunk": metrics["shrunk"]}
    return Grid(caption, columns, sections).without(
        *(name for name, column in known.items() if column.isna().all())
    )


def _group_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    cells = (
        text_cell("all samples" if row["attribute"] == OVERALL else row["group"]),
        number_cell(row["value"], form_of(words), reason=why(row)),
        Cell(
            interval(row["ci_low"], row["ci_high"], words.decimals),
            None,
            method_words(row["interval"]),
            why(row),
        ),
        number_cell(row["shrunk"], form_of(words), reason="not computed"),
        number_cell(row["n"], count),
        number_cell(row["n_subjects"], count),
        number_cell(row["n_pos"], count),
        number_cell(row["n_failed"], count),
        Cell(group_note(row)),
    )
    return Row(cells, tone_of(row))


def wide_group_grid(metrics: pd.DataFrame, measures: Sequence[Measure], *, caption: str) -> Grid:
    """Lay out all measures of one arm and seed side by side, a row per group."""
    names = [measure.metric for measure in measures]
    labels = [
        metric_words(m.metric).label + (f" ({m.convention})" if names.count(m.metric) > 1 else "")
        for m in measures
    ]
    columns = (Column("Group", "text"), *(Column(label) for label in labels))
    by_place = {
        (m, row["attribute"], row["group"]): row for m in measures for row in records(_only(metrics, m))
    }
    sections = []
    first = group_table(_only(metrics, measures[0]))
    for attribute, rows in first.groupby("attribute", sort=False):
        laid = []
        for row in records(rows):
            found = [by_place.get((m, row["attribute"], row["group"])) for m in measures]
            values = [
                value_cell(hit, metric_words(m.metric)) if hit else Cell(UNDEFINED, reason="not measured")
                for m, hit in zip(measures, found, strict=True)
            ]
            name = "all samples" if attribute == OVERALL else row["group"]
            laid.append(Row((text_cell(name), *values), tone_of(row)))
        sections.append(by_attribute(str(attribute), laid))
    return Grid(caption, columns, tuple(sections))


def _only(metrics: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    return metrics[(metrics["metric"] == measure.metric) & (metrics["convention"] == measure.convention)]
