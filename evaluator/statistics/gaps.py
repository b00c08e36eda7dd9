"""The gap between groups, never alone: with chance's share, a p-value, and the smallest gap one could find.

A max - min gap of groups that do not differ is above 0, the more so the smaller and the more numerous the
groups. So every gap comes with its mean under permutation, and with ``adjusted = sqrt(max(0, gap^2 - mean of
squared permuted gaps))``.

Interval: for two groups, of the signed difference best - worst (it may cross 0), put together from those of the groups where
they are given, else percentiles. For more groups the percentile interval of the max - min gap would almost never cover the
truth; theirs comes from simultaneous intervals of all pairs, and is wide but right.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import percentile_interval, standard_error
from evaluator.statistics.differences import difference_interval, shared_error
from evaluator.statistics.intervals import Interval
from evaluator.statistics.permutation import NullGaps
from evaluator.statistics.simultaneous import Bounds, gap_interval

POWER = 0.8


@dataclass(frozen=True)
class Gap:
    """How far apart groups are.

    Attributes
    ----------
    raw
        Largest minus smallest value.
    null_mean, adjusted, p_value
        Mean gap under permutation, gap beyond chance, p of "no difference between any groups"; None where
        `reason` says why.
    detectable
        Smallest true gap that would be found with power 0.8; None where standard errors are undefined or 0.
    ci_low, ci_high, interval
        For two groups of how much better the best is than the worst, for more of max - min; and its method.
    best, worst
        Positions of the groups.
    reason
        Why something is None; None when all is there.
    """

    raw: float
    null_mean: float | None
    adjusted: float | None
    p_value: float | None
    detectable: float | None
    ci_low: float | None
    ci_high: float | None
    interval: str | None
    best: int
    worst: int
    reason: str | None


def measure_gap(
    values: Array,
    replicates: Array,
    variances: Array,
    sizes: Array,
    null: NullGaps,
    *,
    higher_is_better: bool,
    alpha: float,
    bounds: Bounds | None = None,
) -> Gap:
    """Describe the gap of one metric between valid groups.

    Parameters
    ----------
    values
        ``[G]`` point values, G >= 2. Of equal values the first group counts as best, the last as worst.
    replicates
        ``[G, B]`` bootstrap replicates, paired over groups.
    variances
        ``[G]`` squared standard errors of the values by the delta method; NaN where unknown.
    sizes
        ``[G]`` subjects' worth of information in each value.
    null
        Gaps under permutation of the same groups.
    higher_is_better
        Direction of the metric.
    alpha
        Significance level.
    bounds
        Gives the bounds ``[G, 2]`` of the values at an error rate, NaN where there are none. The gap's interval is made of
        them.

    Returns
    -------
    Gap
        Indices refer to the order of `values`.
    """
    signed = values if higher_is_better else -values
    best = int(np.argmax(signed))
    worst = len(values) - 1 - int(np.argmin(signed[::-1]))
    raw = float(values.max() - values.min())
    interval = _interval(values, replicates, variances, sizes, bounds, (best, worst), alpha)
    reason = null.reason or (interval if isinstance(interval, str) else None)
    judged = null.reason is None
    drawn = [standard_error(group) for group in replicates]
    errors = np.where(np.isfinite(variances), np.sqrt(np.maximum(variances, 0.0)), drawn)
    found = interval if not isinstance(interval, str) else None
    return Gap(
        raw=raw,
        null_mean=null.mean if judged else None,
        adjusted=float(np.sqrt(max(0.0, raw**2 - null.mean_square))) if judged else None,
        p_value=null.p_value if judged else None,
        detectable=detectable_gap(errors.tolist(), alpha=alpha),
        ci_low=found.low if found else None,
        ci_high=found.high if found else None,
        interval=found.method if found else None,
        best=best,
        worst=worst,
        reason=reason,
    )


def _interval(
    values: Array,
    replicates: Array,
    variances: Array,
    sizes: Array,
    bounds: Bounds | None,
    extremes: tuple[int, int],
    alpha: float,
) -> Interval | str:
    best, worst = extremes
    sign = 1.0 if values[best] >= values[worst] else -1.0
    own = bounds(alpha) if bounds is not None and len(values) == 2 else None
    if own is not None and np.isfinite(own).all():
        pair = [best, worst] if sign > 0.0 else [worst, best]
        return difference_interval(values[pair], own[pair], float(shared_error(replicates[pair])[0, 1]))
    if not replicates.shape[1]:
        return _normal_interval(values, variances, best, worst, alpha)
    if len(values) > 2:
        return gap_interval(values, replicates, alpha, np.maximum(2, np.round(sizes)), bounds)
    found = percentile_interval(sign * (replicates[best] - replicates[worst]), alpha)
    return Interval(*found, "percentile") if isinstance(found, tuple) else found


def _normal_interval(values: Array, variances: Array, best: int, worst: int, alpha: float) -> Interval | str:
    from scipy.special import ndtri

    if len(values) > 2 or not np.isfinite(variances).all():
        return "no_replicates"
    half = float(ndtri(1.0 - alpha / 2.0) * np.sqrt(variances.sum()))
    apart = float(abs(values[best] - values[worst]))
    return Interval(apart - half, apart + half, "normal")


def detectable_gap(errors: list[float], *, alpha: float) -> float | None:
    """Return the smallest gap that the test of :mod:`evaluator.statistics.permutation` finds with power 0.8.

    Parameters
    ----------
    errors
        Standard error of each group's value (G >= 2).
    alpha
        Significance level of one test, before any correction for many tests.

    Returns
    -------
    float or None
        None when a standard error is undefined or 0 (no variation to learn from).

    Notes
    -----
    One group, the least certain, lies d away from all others, which are equal. Then Q is noncentral
    chi-square with G - 1 degrees of freedom and noncentrality ``d^2 w (1 - w / sum w)``, ``w = 1 / SE^2``.
    For two groups this is ``(z_{1-alpha/2} + z_{0.8}) sqrt(SE_1^2 + SE_2^2)``.

    Examples
    --------
    >>> round(detectable_gap([0.03, 0.04], alpha=0.05), 4)
    0.1401
    """
    spread = np.asarray(errors)
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        return None
    needed = _needed_noncentrality(len(spread) - 1, alpha)
    weight = 1.0 / spread**2
    weakest = weight.min()
    return float(np.sqrt(needed / (weakest * (1.0 - weakest / weight.sum()))))


def detectable_among(detectable: float, *, alpha: float, tests: int) -> float:
    """Return the smallest gap found with power 0.8 where it is the only one among several tests.

    Parameters
    ----------
    detectable
        The same for a single test, see :func:`detectable_gap`.
    alpha
        Level of the family; such a gap must pass alpha / `tests`.
    tests
        Tests in the family, at least 1.

    Notes
    -----
    The factor is that of two groups, ``(z_{1-alpha/2m} + z_{0.8}) / (z_{1-alpha/2} + z_{0.8})``; with more
    groups it is smaller, so the result is then an upper limit.

    Examples
    --------
    >>> round(detectable_among(0.1, alpha=0.05, tests=40), 4)
    0.1452
    """
    needed = _needed_noncentrality(1, alpha / tests) / _needed_noncentrality(1, alpha)
    return float(detectable * np.sqrt(needed))


@functools.cache
def _needed_noncentrality(freedom: int, alpha: float) -> float:
    """Return the noncentrality at which a chi-square test of that size has the power."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    limit = chi2.isf(alpha, freedom)
    return float(brentq(lambda shift: ncx2.sf(limit, freedom, shift) - POWER, 1e-6, 1e4))
