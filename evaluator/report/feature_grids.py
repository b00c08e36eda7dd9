"""What the features of each model give away: how well attributes can be read from them, over all samples and by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    form_of,
    group_note,
    number_cell,
    records,
    simple,
    tell_seed,
    text_cell,
    tone_of,
    why,
)
from evaluator.report.tables import OVERALL, group_table
from evaluator.report.words import count, interval, metric_words
from evaluator.usages.representation import PREFIX

_COLUMNS = (
    Column("AUC", hint="of a linear probe; 0.5 is nothing to be read"),
    Column("Interval"),
    Column("Samples"),
    Column("Subjects"),
    Column("Note", "text"),
)
_METRIC = "auc"


def feature_grid(rows: pd.DataFrame) -> Grid | None:
    """Lay out how well each attribute is read from each model's features, over all samples.

    Parameters
    ----------
    rows
        Tidy rows of probes, columns of :data:`evaluator.tables.METRICS`; only those of the AUC are shown.

    Returns
    -------
    Grid or None
        None where there are no such rows.
    """
    overall = rows[(rows["metric"] == _METRIC) & (rows["attribute"] == OVERALL)]
    if overall.empty:
        return None
    columns = (Column("Model", "text"), Column("Attribute", "text"), Column("Dataset", "text"), *_COLUMNS)
    grid = simple(
        "What the features give away", columns, (_row(row, _names(row)) for row in records(overall))
    )
    return _trimmed(grid, overall)


def feature_group_grid(rows: pd.DataFrame) -> Grid | None:
    """Lay out the same within the groups of the other attributes; None where there are no such rows.

    Parameters
    ----------
    rows
        As for :func:`feature_grid`. Groups of the attribute that is read have one class each and are left out.
    """
    others = pd.Series(
        [
            attribute not in (OVERALL, *target.removeprefix(PREFIX).split("*"))
            for target, attribute in zip(rows["target"], rows["attribute"], strict=True)
        ],
        rows.index,
        bool,
    )
    grouped = rows[(rows["metric"] == _METRIC) & others]
    if grouped.empty:
        return None
    columns = (
        Column("Model", "text"), Column("Attribute", "text"), Column("Dataset", "text"), Column("Group", "text"),
        *_COLUMNS,
    )  # fmt: skip
    made = (
        _row(row, (*_names(row), text_cell(row["group"], row["attribute"])))
        for _, mine in grouped.groupby(["dataset", "model", "seed", "target"], sort=False, dropna=False)
        for row in records(group_table(mine))
    )
    return _trimmed(simple("What the features give away, within groups", columns, made), grouped)


def _names(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        text_cell(row["model"], tell_seed(row)),
        text_cell(str(row["target"]).removeprefix(PREFIX)),
        text_cell(row["dataset"]),
    )


def _row(row: Mapping[str, Any], names: tuple[Cell, ...]) -> Row:
    words = metric_words(_METRIC)
    cells = (
        *names,
        number_cell(row["value"], form_of(words), reason=why(row)),
        Cell(interval(row["ci_low"], row["ci_high"], words.decimals), reason=why(row)),
        number_cell(row["n"], count),
        number_cell(row["n_subjects"], count),
        Cell(group_note(row)),
    )
    # Each row over all samples is one of many here: none speaks louder than the others.
    return Row(cells, "" if row["attribute"] == OVERALL else tone_of(row), str(row["model"]))


def _trimmed(grid: Grid, rows: pd.DataFrame) -> Grid:
    return grid if rows["dataset"].nunique() > 1 else grid.without("Dataset")
