"""Tables of comparisons: paired differences between arms, what each rule chooses on val, what holds over datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    Section,
    Tone,
    arm_cell,
    arm_heading,
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
from evaluator.report.words import (
    NO_BREAK,
    UNDEFINED,
    MetricWords,
    count,
    interval,
    is_undefined,
    metric_words,
    number,
    p_value,
    readable,
    share,
)

RULES = {
    "overall": "best over all samples",
    "minimax": "best worst group",
    "dto": "nearest to the ideal of both",
}


def difference_grid(comparisons: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out paired differences of one question and measure; a positive one favours the arm that is named first.

    Parameters
    ----------
    comparisons
        Tidy rows of :data:`evaluator.tables.COMPARISONS`.
    measure
        What is compared; where less of it is better, a negative difference favours the first.
    caption
        What it is a table of.
    """
    words, rows = metric_words(measure.metric), records(comparisons)
    columns = (
        Column(arm_heading(rows), "text"),
        Column("Against", "text"),
        Column("Difference", hint="on the same subjects, with its interval"),
        Column("p"),
        Column("Adjusted p", hint="for the number of comparisons"),
        Column("Subjects"),
        Column("Note", "text"),
    )
    return simple(caption, columns, (_difference_row(row, words) for row in rows))


def _difference_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    other = {name: row[f"against_{name}"] for name in (*ARM, "seed")}
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    reason = why(row)
    cells = (
        arm_cell(row, tell_seed(row)),
        arm_cell(other, tell_seed(other)),
        number_cell(
            row["difference"],
            form_of(words),
            reason=reason,
            note="" if span == UNDEFINED else span.replace(" ", NO_BREAK),
        ),
        number_cell(row["p_value"], p_value, reason=reason or "not tested"),
        number_cell(row["p_adjusted"], p_value, reason=reason or "not tested"),
        number_cell(row["n_subjects"], count),
        Cell(reason),
    )
    tone: Tone = "muted" if is_undefined(row["difference"]) else ""
    return Row(cells, tone, str(row["model"]))


def selection_grid(selection: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out what each rule chooses on val and what that is worth on test, by attribute.

    Parameters
    ----------
    selection
        Tidy rows of :data:`evaluator.tables.SELECTION` of one question, rules of :data:`RULES` only.
    measure
        What the choice is made by.
    caption
        What it is a table of.
    """
    words = metric_words(measure.metric)
    columns = (
        Column("Rule", "text"),
        Column("Chosen on val", "text"),
        Column("On val"),
        Column("Worst group on val"),
        Column("On test"),
        Column("Worst group on test"),
        Column("Adjusted gap on test"),
    )
    sections = tuple(
        Section(str(attribute), tuple(_selection_row(row, words) for row in records(rows)), str(attribute))
        for attribute, rows in selection.groupby("attribute", sort=False)
    )
    return Grid(caption, columns, sections)


_SELECTION_NUMBERS = ("val_value", "val_worst", "test_value", "test_worst", "test_gap")


def _selection_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    reason = _reason(row)
    nothing = reason and is_undefined(row["val_value"]) and is_undefined(row["test_value"])
    chosen = text_cell(None) if nothing else arm_cell(row)
    cells = (
        text_cell(RULES.get(row["rule"], row["rule"]), reason),
        chosen,
        *(
            number_cell(row[name], form_of(words), reason=reason or "not computed")
            for name in _SELECTION_NUMBERS
        ),
    )
    return Row(cells, model=str(row["model"]))


def front_grid(selection: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out how probably each arm is not beaten in both utility and disparity at once (rows of rule ``pareto``)."""
    words = metric_words(measure.metric)
    columns = (
        Column(arm_heading(records(selection)), "text"),
        Column("Not beaten in both", hint="share of bootstrap replicates"),
        Column(f"{words.label} on test"),
        Column("Worst group on test"),
        Column("Adjusted gap on test"),
    )
    sections = []
    for attribute, rows in selection.groupby("attribute", sort=False):
        ordered = rows.sort_values("probability", ascending=False, kind="stable", na_position="last")
        laid = tuple(_front_row(row, words) for row in records(ordered))
        sections.append(Section(str(attribute), laid, str(attribute)))
    return Grid(caption, columns, tuple(sections))


def _front_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    reason = _reason(row)
    cells = (
        arm_cell(row, reason),
        number_cell(row["probability"], share, reason=reason or "not computed"),
        *(
            number_cell(row[name], form_of(words), reason=reason or "not computed")
            for name in ("test_value", "test_worst", "test_gap")
        ),
    )
    return Row(cells, model=str(row["model"]))


_ANALYSES = {
    "friedman": "Do the combinations differ at all? (Friedman test over datasets)",
    "rank": "Mean rank over datasets; 1 is best",
    "wilcoxon": "Against the best or the baseline, over datasets (Wilcoxon signed-rank test)",
    "direction": "For which share of models is a group worse off than the others? (sign test over datasets)",
    "kendall": "Do models, and do datasets, order the groups alike? (Kendall's W: 1 fully, 0 not at all)",
    "variance": "Where the differences come from (shares of variance)",
}


_ITEMS = {
    "chi2": "Friedman's χ²",
    "iman_davenport": "F by Iman and Davenport",
    "critical_difference": "critical difference of mean ranks",
}


def across_grids(across: pd.DataFrame) -> tuple[Grid, ...]:
    """Lay out what holds over datasets, a table per analysis that gave a number.

    Parameters
    ----------
    across
        Tidy rows of :data:`evaluator.tables.ACROSS`.
    """
    computed = set(across.loc[across["value"].notna(), "analysis"])
    across = across[across["analysis"].isin(computed)]
    known = [name for name in _ANALYSES if name in set(across["analysis"])]
    others = [str(name) for name in across["analysis"].unique() if name not in _ANALYSES]
    return tuple(_across_grid(across[across["analysis"] == name], name) for name in (*known, *others))


def across_notes(across: pd.DataFrame) -> tuple[str, ...]:
    """Say which analyses over datasets gave no number, and why, one sentence each."""
    computed = set(across.loc[across["value"].notna(), "analysis"])
    rows = records(across[~across["analysis"].isin(computed)])
    told = (
        f"{_ANALYSES.get(row['analysis'], row['analysis'])}, {metric_words(row['metric']).label}: "
        f"{_reason(row) or 'not computed'}."
        for row in rows
    )
    return tuple(dict.fromkeys(told))


def over_several(across: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the rows of metrics that were measured on several datasets, and a sentence on each of the others."""
    most = across["n"].astype(float).groupby(across["metric"], sort=False).max()
    alone = [str(metric) for metric, count in most.items() if not count > 1]
    told = tuple(
        f"{metric_words(metric).label} was measured on one dataset only: nothing holds over datasets."
        for metric in alone
    )
    return across[~across["metric"].isin(alone)], told


def _reason(row: Mapping[str, Any]) -> str:
    """Return the reason of a row without a status."""
    return why({**row, "status": "ok"})


def _across_grid(rows: pd.DataFrame, analysis: str) -> Grid:
    columns = (
        Column("What", "text"),
        Column("Against", "text"),
        Column("Value"),
        Column("p"),
        Column("Adjusted p"),
        Column("Number", hint="of datasets, or of what was counted"),
        Column("Note", "text"),
    )
    sections = []
    for (metric, attribute), mine in rows.groupby(["metric", "attribute"], sort=False):
        label = metric_words(str(metric)).label
        title = f"{label}, by {attribute}" if attribute else label
        laid = tuple(_across_row(row, analysis) for row in records(mine))
        sections.append(Section(title, laid, str(attribute)))
    grid = Grid(_ANALYSES.get(analysis, analysis), columns, tuple(sections))
    empty = [
        name
        for name, column in (("Against", rows["against"]), ("Note", rows["reason"]))
        if not any(present(value) for value in column)
    ]
    tests = {"p": rows["p_value"], "Adjusted p": rows["p_adjusted"]}
    return grid.without(*empty, *(name for name, column in tests.items() if column.isna().all()))


def _across_row(row: Mapping[str, Any], analysis: str) -> Row:
    reason = _reason(row)
    form = share if analysis == "variance" else number
    ends = [row["ci_low"], row["ci_high"]]
    span = "" if any(map(is_undefined, ends)) else " to ".join(map(form, ends))
    cells = (
        text_cell(_ITEMS.get(row["item"], row["item"]) or readable(analysis)),
        text_cell(row["against"]),
        number_cell(row["value"], form, reason=reason or "not computed", note=span),
        number_cell(row["p_value"], p_value, reason="not tested"),
        number_cell(row["p_adjusted"], p_value, reason="not tested"),
        number_cell(row["n"], count),
        Cell(reason),
    )
    return Row(cells, "muted" if is_undefined(row["value"]) else "")
