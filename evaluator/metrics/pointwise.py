"""Published metrics that are no sums and no ranks of a fixed kind: they have values, but no interval and no test here."""

from __future__ import annotations

import numpy as np

from evaluator.metrics.classification import Scored
from evaluator.metrics.legacy import ece_range10
from evaluator.metrics.metric import Array, Metric, Need, Pointwise

_BOTH: tuple[Need, ...] = ("positives", "negatives")


def range_ece() -> Metric:
    """Describe the calibration error over ten bins of the range of each group's own scores (FairMedFM, MEDFAIR)."""
    form = Pointwise(lambda data: ece_range10(data.score, data.is_positive))
    note = "published convention: every group has bins of its own, groups cannot be compared by it"
    return Metric("ece", "ece:range10", False, form, note=note)


def tpr_at_tnr(specificity: float) -> Metric:
    """Describe the sensitivity at a specificity, interpolated on each group's own ROC curve (MEDFAIR).

    Parameters
    ----------
    specificity
        In (0, 1).
    """
    form = Pointwise(lambda data: _sensitivity_at(data, specificity))
    note = "published convention: threshold chosen on the rows measured, optimistic"
    return Metric("sensitivity", f"tpr_at_tnr{round(100 * specificity)}", True, form, _BOTH, note=note)


def auprg() -> Metric:
    """Describe the area under the precision-recall-gain curve (Flach and Kull 2015)."""
    return Metric("auprg", "auprg", True, Pointwise(_gain_area), _BOTH)


def _counts(data: Scored) -> tuple[Array, Array]:
    """Return true and false positives at every threshold, from the highest score down."""
    order = np.argsort(-data.score, kind="stable")
    hit = data.is_positive[order]
    last = np.flatnonzero(np.append(np.diff(data.score[order]) != 0, True))
    return np.cumsum(hit)[last].astype(float), np.cumsum(~hit)[last].astype(float)


def _sensitivity_at(data: Scored, specificity: float) -> float:
    true, false = _counts(data)
    if not true[-1] or not false[-1]:
        return float("nan")
    x, y = np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], true / true[-1]])
    steepest = np.flatnonzero(np.append(np.diff(x) > 0, True))  # of equal false positive rates the best
    return float(np.interp(1.0 - specificity, x[steepest], y[steepest]))


def _gain_area(data: Scored) -> float:
    true, false = _counts(data)
    positives, negatives = true[-1], false[-1]
    if not positives or not negatives:
        return float("nan")
    # Gain = 1 - (negatives' share of errors): 1 - (pi / (1 - pi)) (FP / TP) and 1 - (pi / (1 - pi)) (FN / TP).
    odds = positives / negatives
    with np.errstate(divide="ignore"):
        precision = 1.0 - odds * false / true
        recall = 1.0 - odds * (positives - true) / true
    return _area_from_zero(recall, precision)


def _area_from_zero(recall: Array, precision: Array) -> float:
    """Integrate precision gain over recall gain from 0 to 1; the point where recall gain is 0 is interpolated."""
    inside = np.flatnonzero(recall >= 0.0)
    first = int(inside[0])
    x, y = recall[first:], precision[first:]
    if first and x[0] > 0.0 and np.isfinite(recall[first - 1]):
        part = -recall[first - 1] / (x[0] - recall[first - 1])
        start = precision[first - 1] + part * (y[0] - precision[first - 1])
    else:
        start = y[0]
    return float(np.trapezoid(np.concatenate([[start], y]), np.concatenate([[0.0], x])))
