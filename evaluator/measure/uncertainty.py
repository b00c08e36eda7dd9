"""Which interval a value gets, and what a small group's value shrinks to.

``auto`` is, for each metric, the method that holds its level in small and clustered samples:

* AUC of one curve: DeLong's variance (Obuchowski's where subjects have several samples) on the logit scale;
  Newcombe's interval where one class has fewer than 30 subjects or the variance is 0;
* shares of samples (accuracy, sensitivity, PPV, ...): Wilson, or Clopper-Pearson where the effective number of
  samples is small, with the number of samples reduced by the design effect of clusters;
* means over fewer than 20 subjects: Student's t on the cluster standard error;
* the plain calibration error (``ece``): none. It shows an error where there is none, and its replicates show twice as much, so
  that no percentile comes near the truth (simulated: 0 to 80 % instead of 95 %);
* its debiased square (``ce2``): percentiles of replicates brought back to the value, because each replicate adds the noise of
  its draw to a square that only the data's own noise was taken off (simulated: 94 to 98 %, more where there is no error);
* everything else: percentiles of the subject bootstrap, expanded for the number of units that the value rests on (simulated in
  groups of 60: plain percentiles of average precision cover 92 %, expanded ones 95 %); without replicates, t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluator.metrics.metric import Array, Metric, Ranks, Ratios, Sums
from evaluator.statistics.bootstrap import percentile_interval
from evaluator.statistics.intervals import (
    Interval,
    acceleration,
    auc_interval,
    bca_interval,
    rate_interval,
    t_interval,
)
from evaluator.statistics.shrinkage import shrink
from evaluator.statistics.spreads import Spread

#: Why the plain calibration error has no interval.
BIASED = "biased_upward: replicates of a calibration error are farther from the truth than itself, see ce2"
#: With fewer subjects the mean's interval is Student's: their replicates take few values.
_FEW = 20
#: How many units of the pooled variance a group's own variance is mixed with before it shrinks.
_PRIOR_UNITS = 4.0


@dataclass(frozen=True)
class Estimate:
    """A value with all that an interval can be made of.

    Attributes
    ----------
    value
        The value.
    variance, size
        Squared standard error (clusters respected) and the units it rests on; NaN where unknown.
    trials
        Rows that a proportion is a share of; NaN for other metrics.
    positives, negatives
        Subjects with a sample of each class; 0 without classes.
    replicates, jackknife
        ``[B]`` bootstrap replicates, and ``[J]`` values without one block of subjects each.
    """

    value: float
    variance: float
    size: float
    trials: float
    positives: int
    negatives: int
    replicates: Array
    jackknife: Array


def interval_of(metric: Metric, estimate: Estimate, method: str, alpha: float) -> Interval | str:
    """Return the interval of a value, or the reason why there is none.

    Parameters
    ----------
    metric
        What the value is of.
    estimate
        The value and its uncertainty.
    method
        ``"auto"``, ``"percentile"``, ``"bca"`` or ``"t"``.
    alpha
        1 - level.
    """
    if method == "percentile":
        return _percentile(estimate, alpha)
    if method == "bca":
        pulls = (
            np.nan_to_num(estimate.jackknife.mean() - estimate.jackknife)
            if len(estimate.jackknife)
            else np.zeros(1)
        )
        return bca_interval(estimate.replicates, estimate.value, acceleration(pulls), alpha)
    if method == "t":
        return _t(metric, estimate, alpha)
    if metric.name == "ece":
        return BIASED
    if metric.name == "ce2":
        found = percentile_interval(centred(estimate.replicates, estimate.value), alpha)
        return Interval(*found, "percentile-centred") if isinstance(found, tuple) else found
    form = metric.form
    if isinstance(form, Ratios) and form.proportion and estimate.size >= 1:
        subjects = round(estimate.size)
        return rate_interval(estimate.value, estimate.trials, subjects, estimate.variance, alpha)
    if isinstance(form, Ranks) and metric.convention == "auc:midrank" and estimate.size > 0:
        return auc_interval(estimate.value, estimate.variance, estimate.positives, estimate.negatives, alpha)
    few = isinstance(form, Sums) and form.within == "mean" and estimate.size < _FEW
    if few or (not len(estimate.replicates) and np.isfinite(estimate.variance)):
        return _t(metric, estimate, alpha)
    return expanded_interval(estimate.replicates, estimate.size, alpha)


def expanded_interval(replicates: Array, units: float, alpha: float) -> Interval | str:
    """Return percentiles of replicates ``[B]`` expanded for `units`, at least 2 (see :func:`percentile_interval`).

    Plain ones, and called so, where it is not known how many units there are (0 or NaN).
    """
    known = units > 0.0
    found = percentile_interval(replicates, alpha, max(2.0, units) if known else np.inf)
    return (
        Interval(*found, "percentile-expanded" if known else "percentile")
        if isinstance(found, tuple)
        else found
    )


def centred(replicates: Array, value: Array | float) -> Array:
    """Move replicates ``[..., B]`` so that their mean is the value ``[...]``; for numbers that replicates are biased for."""
    defined = ~np.isnan(replicates)
    count = np.maximum(defined.sum(axis=-1, keepdims=True), 1)
    mean = np.where(defined, replicates, 0.0).sum(axis=-1, keepdims=True) / count
    return np.asarray(replicates - mean + np.asarray(value)[..., None])


def _percentile(estimate: Estimate, alpha: float) -> Interval | str:
    found = percentile_interval(estimate.replicates, alpha)
    return Interval(*found, "percentile") if isinstance(found, tuple) else found


def _t(metric: Metric, estimate: Estimate, alpha: float) -> Interval | str:
    if not np.isfinite(estimate.variance):
        return "undefined_variance"
    found = t_interval(estimate.value, float(np.sqrt(estimate.variance)), max(1, int(estimate.size)), alpha)
    if isinstance(found, str):
        return found
    low, high = bounds(metric)
    return Interval(max(found.low, low), min(found.high, high), found.method)


def bounds(metric: Metric) -> tuple[float, float]:
    """Return the smallest and largest value a metric can have, as far as intervals are cut there."""
    signed = ("ce2", "calibration_slope", "calibration_intercept", "volume_bias", "dice_size_slope")
    if metric.name in signed or metric.convention in ("auprc:adjusted",) or "|" in metric.convention:
        return -np.inf, np.inf
    return (0.0, 1.0) if metric.higher_is_better else (0.0, np.inf)


def shrunken(spread: Spread, known: int) -> Array:
    """Return empirical-Bayes estimates of the first `known` groups; NaN where there is none.

    Parameters
    ----------
    spread
        Values ``[1, groups]`` with their uncertainty.
    known
        How many of the groups are groups (the last one may be ``unknown``, which shrinks to nobody's mean).

    Notes
    -----
    DerSimonian and Laird 1986. A handful of subjects has no variance of its own worth the name (all right, all wrong), so
    each group's variance per subject is first mixed with four subjects' worth of the pooled one.
    """
    value, variance, size = (column[0, :known] for column in spread)
    usable = np.isfinite(value) & np.isfinite(size) & (size >= 1)
    result = np.full(spread.value.shape[1], np.nan)
    if usable.sum() < 2:
        return result
    own = np.where(np.isfinite(variance), variance * size, 0.0)
    weight = np.where(np.isfinite(variance), np.maximum(size - 1.0, 0.0), 0.0)
    total = weight[usable].sum()
    if not total > 0:
        return result
    pooled = (weight * own)[usable].sum() / total
    mixed = (weight * own + _PRIOR_UNITS * pooled) / (weight + _PRIOR_UNITS) / np.where(usable, size, np.nan)
    found = shrink(np.where(usable, value, np.nan), np.where(usable, mixed, np.nan))
    result[:known] = found.values
    return result
