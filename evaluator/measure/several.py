"""Several findings of one model together: the mean of their AUC (multi-label macro average), by group.

The replicates of all findings are of the same draws of subjects, so the replicates of the mean are their means. A group has
a value where every finding has one in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.groups import ALL, UNKNOWN
from evaluator.measure.error_gaps import Groups, error_gap, rarer
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.measure.tables import Measurement, Rows, to_tables
from evaluator.measure.uncertainty import expanded_interval
from evaluator.metrics.metric import Array, Metric, Pointwise

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

#: Convention of the mean over findings.
MACRO = "auc:macro_labels"


@dataclass(frozen=True)
class _Cell:
    """One group of one attribute: the rows of all findings, and the mean of their replicates."""

    rows: tuple[Row, ...]
    replicates: Array

    @property
    def value(self) -> float:
        """Mean of the findings; NaN where one has none."""
        values = [row["value"] for row in self.rows]
        return float(np.mean(values)) if all(row["status"] == "ok" for row in self.rows) else float("nan")


def macro_average(
    measured: Sequence[Measurement], settings: MeasureSettings, keys: ResultKeys, *, name: str
) -> Measurement:
    """Average the AUC of several findings of one result.

    Parameters
    ----------
    measured
        One measurement per finding, two or more, of the same samples and groups.
    settings, keys
        As in the measurements.
    name
        What the findings together are called: the `target` of the rows.

    Returns
    -------
    Measurement
        Metrics, gaps and replicates of metric ``auc`` under the convention ``auc:macro_labels``; where the findings have
        rows of the val split, so has their mean, without intervals.
    """
    cells = _cells(measured, settings.bootstrap, val=settings.split == "val")
    metric = Metric("auc", MACRO, True, Pointwise(lambda data: float("nan")))
    found = Rows(
        [_row(*place, cell, settings) for place, cell in cells.items()],
        replicates=list(_replicates(cells)),
    )
    gaps = []
    for attribute in dict.fromkeys(attribute for attribute, _ in cells if attribute != ALL):
        rows = [row for row in found.metrics if row["attribute"] == attribute and row["group"] != UNKNOWN]
        mine = [cells[attribute, row["group"]] for row in rows]
        groups = Groups(
            attribute,
            tuple(row["group"] for row in rows),
            np.array([cell.value for cell in mine]),
            np.stack([cell.replicates for cell in mine]),
        )
        gaps.append(error_gap(metric, rows, groups, settings, (name, attribute)))
    named = replace(found, gaps=gaps).keyed(replace(keys, target=name, split=settings.split))
    return to_tables(named + _on_val(measured, settings).keyed(replace(keys, target=name, split="val")))


def _on_val(measured: Sequence[Measurement], settings: MeasureSettings) -> Rows:
    """Average the findings on val, for choosing between models; there are no replicates of it."""
    if settings.split == "val":
        return Rows()
    cells = _cells(measured, 0, val=True)
    return Rows([_row(*place, cell, settings) for place, cell in cells.items()])


def _cells(measured: Sequence[Measurement], replicates: int, *, val: bool) -> dict[tuple[str, str], _Cell]:
    """Collect the AUC of every group from all findings, in the order of the first."""
    tables = [_areas(one, val=val) for one in measured]
    cells = {}
    for place in tables[0][0]:
        if not all(place in rows for rows, _ in tables):
            continue  # a group without a row in one of them, e.g. unknown where all its samples lack that label
        rows = tuple(rows[place] for rows, _ in tables)
        draws = [draws.get(place) for _, draws in tables]
        complete = [draw for draw in draws if draw is not None]
        whole = len(complete) == len(draws)
        cells[place] = _Cell(rows, np.mean(complete, axis=0) if whole else np.full(replicates, np.nan))
    return cells


def _areas(
    measured: Measurement, *, val: bool
) -> tuple[dict[tuple[str, str], Row], dict[tuple[str, str], Array]]:
    metrics = _plain(measured.metrics.to_pandas(), val=val)
    replicates = _plain(measured.replicates.to_pandas(), val=val)
    rows = {(row["attribute"], row["group"]): row for row in metrics.to_dict("records")}
    named = zip(replicates["attribute"], replicates["group"], replicates["values"], strict=True)
    return rows, {(str(a), str(g)): np.asarray(values, np.float64) for a, g, values in named}  # type: ignore[return-value]


def _plain(frame: pd.DataFrame, *, val: bool) -> pd.DataFrame:
    """Keep the AUC of val or of all else, without derived conventions."""
    derived = frame["convention"].str.contains("|", regex=False)
    return frame[(frame["metric"] == "auc") & ~derived & ((frame["split"] == "val") == val)]


def _row(attribute: str, group: str, cell: _Cell, settings: MeasureSettings) -> Row:
    value, first = cell.value, cell.rows[0]
    row: Row = {
        "attribute": attribute,
        "group": group,
        "metric": "auc",
        "convention": MACRO,
        "value": None,
        "status": "ok",
        "n": max(row["n"] for row in cell.rows),
        "n_subjects": max(row["n_subjects"] for row in cell.rows),
        "n_subjects_pos": _fewest(cell.rows, "n_subjects_pos"),
        "n_subjects_neg": _fewest(cell.rows, "n_subjects_neg"),
        "n_failed": max(row["n_failed"] for row in cell.rows),
    }
    if np.isnan(value):
        told = next(row for row in cell.rows if row["status"] != "ok")
        status = first["status"] if first["status"] == "absent" else told["status"]
        return {**row, "status": status, "reason": f"{told['target']}: {told['reason']}"}
    interval = expanded_interval(cell.replicates, rarer(row), settings.alpha)
    if isinstance(interval, str):
        return {**row, "value": value, "reason": f"no interval: {interval}"}
    return {
        **row,
        "value": value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval": interval.method,
    }


def _fewest(rows: Sequence[Row], name: str) -> int | None:
    counts = [int(row[name]) for row in rows if row[name] is not None and not np.isnan(row[name])]
    return min(counts, default=None)


def _replicates(cells: dict[tuple[str, str], _Cell]) -> Iterator[Row]:
    for (attribute, group), cell in cells.items():
        if len(cell.replicates) and not np.isnan(cell.value):
            named = {"attribute": attribute, "group": group, "metric": "auc", "convention": MACRO}
            yield {**named, "values": cell.replicates}
