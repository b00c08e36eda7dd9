"""Differences between two results on the same subjects, from bootstrap replicates that they share.

Position b of the replicates is the same draw of subjects in both results, so what both owe to these subjects cancels in the
difference. Two intervals are never compared by overlap. The draw of subjects and the training run (seed) are two sources of
variance: they are kept apart and then combined, ``sqrt(sample^2 + seed^2)``.

Proven by simulation in the tests: size of the test, its power beside a paired t-test, and the case of many seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import percentile_interval, standard_error

#: Replicates that differ by less than this, relative to their size, differ by rounding alone.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class SeedMean:
    """A result averaged over its training runs.

    Attributes
    ----------
    value
        Mean over seeds.
    replicates
        ``[B]`` mean over seeds of each replicate; NaN where one of them is undefined.
    sample_error
        Standard error from the draw of subjects, for these training runs; NaN where undefined.
    seed_error
        Standard error from the training run; None where there is one run only, whose variance nobody can know.
    seeds
        Number of runs.
    """

    value: float
    replicates: Array
    sample_error: float
    seed_error: float | None
    seeds: int

    @property
    def error(self) -> float:
        """Both sources combined; of a single run the draw of subjects alone. NaN where undefined."""
        return math.hypot(self.sample_error, self.seed_error or 0.0)


@dataclass(frozen=True)
class Difference:
    """First result minus second.

    Attributes
    ----------
    value
        On the scale of the metric.
    ci_low, ci_high
        Percentile interval of the replicates' differences; with several seeds ``value +- t * error``. None where `reason`
        says why.
    sample_error, seed_error, error
        Standard errors from subjects, from training runs, and both; `sample_error` and `error` are NaN where undefined,
        `seed_error` is None where neither result has several seeds.
    p_value
        Of "no difference", two-sided; None where `reason` says why.
    reason
        Why something is None or NaN; None when all is there.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    sample_error: float
    seed_error: float | None
    error: float
    p_value: float | None
    reason: str | None


def combine_seeds(values: Array, replicates: Array) -> SeedMean:
    """Average the results of several training runs.

    Parameters
    ----------
    values
        ``[S]`` value of each run.
    replicates
        ``[S, B]`` their bootstrap replicates, paired over runs; B may be 0.

    Returns
    -------
    SeedMean
        Guarantee: the order of the runs does not matter beyond rounding.

    Raises
    ------
    ValueError
        If there is no run, or the shapes do not fit.

    Notes
    -----
    ``sample_error`` is the standard deviation of the averaged replicates, ``seed_error = sd(values) / sqrt(S)`` (ddof 1). The
    spread of the values holds, beside the training run, what the run does to these very subjects, which the replicates
    hold too: the combined error is slightly too large rather than too small.

    Examples
    --------
    >>> mean = combine_seeds(np.array([0.8, 0.9]), np.array([[0.7, 0.8, 0.9], [0.9, 0.9, 0.9]]))
    >>> round(mean.value, 3), round(mean.sample_error, 3), round(mean.seed_error, 3), round(mean.error, 3)
    (0.85, 0.05, 0.05, 0.071)
    """
    if values.ndim != 1 or not len(values) or replicates.ndim != 2 or len(replicates) != len(values):
        raise ValueError(
            f"values must be [S] and replicates [S, B] with S > 0, got {values.shape} and {replicates.shape}"
        )
    seeds = len(values)
    mean = replicates.mean(axis=0)
    apart = float(np.std(values, ddof=1)) / math.sqrt(seeds) if seeds > 1 else None
    return SeedMean(float(values.mean()), mean, standard_error(mean), apart, seeds)


def paired_difference(first: SeedMean, second: SeedMean, *, units: int, alpha: float) -> Difference:
    """Compare two results on the same subjects.

    Parameters
    ----------
    first, second
        The results; their replicates are paired.
    units
        Independent units that the smaller side of the metric rests on: subjects, or for metrics that set positives against
        negatives the rarer class.
    alpha
        1 - level of the interval.

    Returns
    -------
    Difference
        Without replicates, with more than 5 % of them undefined or all of them the same number, the value alone.

    Raises
    ------
    ValueError
        If the numbers of replicates differ: then they are not paired.

    Notes
    -----
    ``t = difference / error`` against Student's t. The bootstrap variance of a mean is ``(P - 1) / P`` of the unbiased one, so
    it is multiplied by ``P / (P - 1)``; for a mean the test is then the paired t-test, up to the noise of B replicates, with
    ``P - 1`` degrees of freedom. For an area under a curve P is the rarer class: the conservative choice of the two-sample
    t-test. With seeds the degrees of freedom are Welch and Satterthwaite's, ``(sum v)^2 / sum(v^2 / df)`` over the variances of
    subjects (``P - 1``) and of each side's runs (``S - 1``). Runs of two models are never paired by the number of the seed.
    """
    value = first.value - second.value
    apart = _differences(first, second)
    interval = percentile_interval(apart, alpha)
    seed = _seed_error(first, second)
    if isinstance(interval, str):
        return untested_difference(first, second, interval)
    sample = standard_error(apart)
    error, freedom = _combined(sample, first, second, units)
    if math.isnan(error):
        return Difference(
            value, *interval, sample, seed, error, None, "single_unit: no test with fewer than two"
        )
    if seed is not None:
        from scipy.special import stdtrit

        half = float(stdtrit(freedom, 1.0 - alpha / 2.0)) * error
        interval = (value - half, value + half)
    return Difference(value, *interval, sample, seed, error, _two_sided(value / error, freedom), None)


def untested_difference(first: SeedMean, second: SeedMean, reason: str) -> Difference:
    """Return the difference alone, where the replicates of a metric cannot be trusted or there are none."""
    value, seed = first.value - second.value, _seed_error(first, second)
    return Difference(value, None, None, math.nan, seed, math.nan, None, reason)


def paired_p_value(first: SeedMean, second: SeedMean, *, units: int) -> float | None:
    """Return the p-value of :func:`paired_difference` alone (None where it has none); for families of many pairs."""
    apart = _differences(first, second)
    sample = standard_error(apart)
    if not len(apart) or math.isnan(sample) or np.ptp(apart[~np.isnan(apart)]) == 0.0:
        return None
    error, freedom = _combined(sample, first, second, units)
    return None if math.isnan(error) else _two_sided((first.value - second.value) / error, freedom)


def _differences(first: SeedMean, second: SeedMean) -> Array:
    """Return the paired differences; those that differ by rounding alone are made equal."""
    if first.replicates.shape != second.replicates.shape:
        raise ValueError(
            f"paired results must have the same replicates, got {len(first.replicates)} and {len(second.replicates)}"
        )
    apart = first.replicates - second.replicates
    defined = apart[~np.isnan(apart)]
    if len(defined) and np.ptp(defined) <= _ROUNDING * max(1.0, float(np.nanmax(np.abs(first.replicates)))):
        return np.where(np.isnan(apart), np.nan, defined[0])
    return apart


def _seed_error(first: SeedMean, second: SeedMean) -> float | None:
    known = [side.seed_error for side in (first, second) if side.seed_error is not None]
    return math.hypot(*known) if known else None


def _combined(sample: float, first: SeedMean, second: SeedMean, units: int) -> tuple[float, float]:
    """Return the standard error of both sources and its degrees of freedom; NaN with fewer than two units."""
    if units < 2:
        return math.nan, math.nan
    parts = [(sample**2 * units / (units - 1), units - 1)]
    parts += [(side.seed_error**2, side.seeds - 1) for side in (first, second) if side.seed_error is not None]
    variance = sum(part for part, _ in parts)
    return math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return min(1.0, float(2.0 * stdtr(freedom, -abs(t))))
