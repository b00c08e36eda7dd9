"""Rows that pictures and comparisons are made of: points of ROC and calibration curves by group, bootstrap replicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evaluator.groups import ALL
from evaluator.measure.evaluation import AttributeResult, Evaluation
from evaluator.metrics.calibration import MASS_BINS, mass_bins
from evaluator.metrics.classification import Scored
from evaluator.statistics.multiplicity import PRIMARY

Row = dict[str, Any]

#: Points that are kept of an ROC curve.
_POINTS = 101


def curve_rows(evaluation: Evaluation, result: AttributeResult, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield ROC and calibration points of every group whose AUC is shown; two classes only."""
    data = evaluation.data
    if not isinstance(data, Scored) or evaluation.positive is None or not len(data.label):
        return
    shown = {row["group"] for row in rows if row["metric"] == "auc" and row["status"] == "ok"}
    row_group = result.codes[evaluation.measured]
    score, positive = data.score, data.is_positive
    bins = mass_bins(score, MASS_BINS)
    for group, name in enumerate(result.groups):
        inside = np.flatnonzero(row_group == group)
        if name not in shown or not len(inside):
            continue
        named = {"attribute": result.name, "group": name}
        yield {**named, "curve": "roc", **_roc(score[inside], positive[inside])}
        yield {**named, "curve": "calibration", **_reliability(score[inside], positive[inside], bins[inside])}


def _roc(score: Any, positive: Any) -> Row:
    """Return false and true positive rates at up to 101 thresholds, evenly spread along the curve."""
    order = np.argsort(-score, kind="stable")
    ordered, hit = score[order], positive[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    x = np.concatenate([[0.0], false / max(1, int(false[-1]))])
    y = np.concatenate([[0.0], true / max(1, int(true[-1]))])
    along = (x + y) / 2.0
    kept = np.unique(np.searchsorted(along, np.linspace(0.0, 1.0, _POINTS)))
    kept = kept[kept < len(x)]
    return {"x": x[kept].tolist(), "y": y[kept].tolist(), "n": []}


def _reliability(score: Any, positive: Any, bins: Any) -> Row:
    """Return mean probability, share of positives and samples of each filled bin of equal mass over all rows."""
    n = np.bincount(bins, minlength=MASS_BINS)
    filled = n > 0
    mean = np.bincount(bins, score, minlength=MASS_BINS)[filled] / n[filled]
    share = np.bincount(bins, positive, minlength=MASS_BINS)[filled] / n[filled]
    return {"x": mean.tolist(), "y": share.tolist(), "n": n[filled].tolist()}


def replicate_rows(evaluation: Evaluation, result: AttributeResult, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the replicates of all samples for every metric, and of groups with a value for primary metrics."""
    if not result.replicates.shape[2]:
        return
    ok = {(row["group"], row["metric"], row["convention"]) for row in rows if row["status"] == "ok"}
    for place, metric in enumerate(evaluation.metrics):
        for group, name in enumerate(result.groups):
            wanted = result.name == ALL or metric.name in PRIMARY
            if wanted and (name, metric.name, metric.convention) in ok:
                yield {
                    "attribute": result.name,
                    "group": name,
                    "metric": metric.name,
                    "convention": metric.convention,
                    "values": result.replicates[place, group],
                }
