"""Intervals for numbers of small samples, and the rule by which a rate's or an area's interval is chosen.

Guarantee: an interval says by which method it was made; that of a rate or an area lies in [0, 1] and is never a point. Where
the data allow none there is a reason instead. Samples of one subject resemble each other, so sizes are not numbers of samples:
of a rate it is the number of independent samples that would be as uncertain, of an area the subjects of each class.

Percentile intervals of replicates are in :mod:`evaluator.statistics.bootstrap`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import wilson_interval

#: Below this effective size a rate's interval is exact (Clopper-Pearson) instead of approximate (Wilson).
EXACT_BELOW = 40.0

#: So it is where subjects have several samples and the rarer outcome is effectively seen less often than this.
EXACT_BELOW_RARE = 10.0


#: With fewer subjects of the rarer class an area's variance is solved for at the bounds, not taken from the data.
SOLVE_BELOW = 30


class Interval(NamedTuple):
    """Bounds with the method they come from.

    Attributes
    ----------
    low, high
        Bounds on the scale of the value.
    method
        As in column `interval` of the tables.
    """

    low: float
    high: float
    method: str


def acceleration(influence: Array) -> float:
    """Return the acceleration of the BCa interval: how fast the standard error changes with the value.

    Parameters
    ----------
    influence
        ``[units]`` influence of each unit on the value (gradient . terms, or a jackknife's differences), on any scale.

    Notes
    -----
    ``sum U^3 / (6 (sum U^2)^1.5)`` (Efron 1987); 0 where no unit has any influence.

    Examples
    --------
    >>> round(acceleration(np.array([-1.0, -1.0, 2.0])), 6)
    0.068041
    """
    squares = float(np.sum(influence**2))
    return float(np.sum(influence**3)) / (6.0 * squares**1.5) if squares > 0.0 else 0.0


def bca_interval(replicates: Array, value: float, acceleration: float, alpha: float) -> Interval | str:
    """Return the bias-corrected and accelerated interval of bootstrap replicates.

    Parameters
    ----------
    replicates
        ``[B]``, NaN where the metric was undefined.
    value
        Value of the data.
    acceleration
        See :func:`acceleration`.
    alpha
        1 - level.

    Returns
    -------
    Interval or str
        A reason under the rules of :func:`evaluator.statistics.bootstrap.percentile_interval`, and where the value lies outside
        all replicates or so far out that the correction has no answer.

    Notes
    -----
    Efron 1987: quantiles at ``Phi(z0 + (z0 + z) / (1 - a (z0 + z)))``, ``z0 = Phi^-1`` (share of replicates below the value,
    half of the equal ones).
    """
    from scipy.special import ndtr, ndtri

    defined = replicates[~np.isnan(replicates)]
    why = unusable(len(defined), replicates) or ("no_variation" if np.ptp(defined) == 0.0 else None)
    if why:
        return why
    below = (np.mean(defined < value) + np.mean(defined <= value)) / 2
    if not 0.0 < below < 1.0:
        return "value_outside_replicates"
    bias = ndtri(below)
    shifted = bias + ndtri([alpha / 2, 1 - alpha / 2])
    slack = 1.0 - acceleration * shifted
    if slack.min() <= 0.0:
        return "acceleration_too_large"
    low, high = np.quantile(defined, ndtr(bias + shifted / slack))
    return Interval(float(low), float(high), "bca")


def t_interval(value: float, standard_error: float, clusters: int, alpha: float) -> Interval | str:
    """Return the interval of a mean over few subjects, by Student's t.

    Parameters
    ----------
    value
        Mean.
    standard_error
        Of the mean, over subjects.
    clusters
        Subjects; the degrees of freedom are one less.
    alpha
        1 - level.

    Returns
    -------
    Interval or str
        Not cut to the scale of the value. A reason with fewer than two subjects or no variation.

    Examples
    --------
    >>> [round(x, 6) for x in t_interval(0.5, 0.1, 5, 0.05)[:2]]
    [0.222355, 0.777645]
    """
    from scipy.special import stdtrit

    if clusters < 2 or np.isnan(standard_error):
        return "one_subject"
    if standard_error == 0.0:
        return "no_variation"
    half = float(stdtrit(clusters - 1, 1 - alpha / 2)) * standard_error
    return Interval(value - half, value + half, "t")


def clopper_pearson(successes: float, n: float, alpha: float) -> Interval:
    """Return the exact interval of a proportion; sizes need not be whole (effective sizes).

    Parameters
    ----------
    successes
        In [0, n].
    n
        Independent trials, above 0.
    alpha
        1 - level.

    Raises
    ------
    ValueError
        If `n` is not above 0 or `successes` is outside [0, n].

    Notes
    -----
    Beta quantiles at alpha/2 of ``(k, n - k + 1)`` and at 1 - alpha/2 of ``(k + 1, n - k)`` (Clopper and Pearson 1934);
    fractions as in Korn and Graubard 1998.

    Examples
    --------
    >>> [round(x, 6) for x in clopper_pearson(0, 10, 0.05)[:2]]
    [0.0, 0.308497]
    """
    from scipy.special import betaincinv

    if not (n > 0 and 0 <= successes <= n):
        raise ValueError(f"successes must be in [0, n] and n above 0, got {successes} of {n}")
    low = float(betaincinv(successes, n - successes + 1, alpha / 2)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, n - successes, 1 - alpha / 2)) if successes < n else 1.0
    return Interval(low, high, "clopper-pearson")


def effective_size(share: float, n: float, subjects: int, variance: float, alpha: float) -> float:
    """Return how many independent samples would make a rate as uncertain as it is.

    Parameters
    ----------
    share
        Rate in [0, 1].
    n
        Samples in its denominator, from `subjects` subjects.
    variance
        Squared standard error over subjects; not used where every subject has one sample.
    alpha
        1 - level of the interval that the size is for.

    Notes
    -----
    ``share (1 - share) / variance`` times ``(z / t_{subjects-1})^2`` because the variance is itself an estimate from few
    subjects (Korn and Graubard 1998). It is cut at 4 n only, where hardly any variance is seen: a cut at n would bind half
    of the time that samples are independent, and a second copy of every sample would then narrow the interval. A rate of 0
    or 1 shows no variance: then the subjects count. So does it with a single subject.
    """
    from scipy.special import ndtri, stdtrit

    if subjects >= n:
        return float(n)
    if share in (0.0, 1.0) or subjects < 2 or np.isnan(variance):
        return float(subjects)
    size = min(4.0 * n, share * (1.0 - share) / variance) if variance > 0.0 else float(subjects)
    return size * float(ndtri(1 - alpha / 2) / stdtrit(subjects - 1.0, 1 - alpha / 2)) ** 2


def rate_interval(share: float, n: float, subjects: int, variance: float, alpha: float) -> Interval:
    """Return the interval of a proportion of samples.

    Parameters
    ----------
    share
        Rate in [0, 1].
    n
        Samples in its denominator, above 0.
    subjects
        Subjects that these samples come from.
    variance
        Squared standard error over subjects; not used where every subject has one sample.
    alpha
        1 - level.

    Returns
    -------
    Interval
        Wilson's; Clopper and Pearson's for a rate of 0 or 1, an effective size below 40 or, where subjects have several
        samples, fewer than 10 effective samples of the rarer outcome (its variance is then known badly).

    Raises
    ------
    ValueError
        If `share` is outside [0, 1] or there is no sample.

    Examples
    --------
    >>> rate_interval(0.8, 100, 100, 0.0016, 0.05).method, rate_interval(0.8, 10, 10, 0.016, 0.05).method
    ('wilson', 'clopper-pearson')
    """
    if not (0.0 <= share <= 1.0 and n > 0 and subjects > 0):
        raise ValueError(
            f"share must be in [0, 1] of at least one sample, got {share} of {n} samples, {subjects} subjects"
        )
    size = effective_size(share, n, subjects, variance, alpha)
    few = subjects < n and min(share, 1.0 - share) * size < EXACT_BELOW_RARE
    if few or size < EXACT_BELOW or share in (0.0, 1.0):
        return clopper_pearson(share * size, size, alpha)
    return Interval(*wilson_interval(share, math.floor(size), alpha), "wilson")


def logit_interval(value: float, variance: float, alpha: float, freedom: float = np.inf) -> Interval:
    """Return the interval of an area, symmetric on the scale of log odds.

    Parameters
    ----------
    value
        Area in (0, 1).
    variance
        DeLong's, or Obuchowski's over subjects; above 0.
    alpha
        1 - level.
    freedom
        Degrees of freedom of Student's t; infinite for the normal quantile.

    Raises
    ------
    ValueError
        If the value is not inside (0, 1) or the variance not above 0.

    Notes
    -----
    ``logit(A) -+ q sqrt(V) / (A (1 - A))``, the delta method; see Qin and Hotilovac 2008 for a comparison of methods.

    Examples
    --------
    >>> [round(x, 7) for x in logit_interval(0.8730158730, 0.0079994961, 0.05)[:2]]
    [0.5857965, 0.9709475]
    """
    from scipy.special import expit, logit

    if not (0.0 < value < 1.0 and variance > 0.0):
        raise ValueError(f"value must be inside (0, 1) and variance above 0, got {value} and {variance}")
    half = _quantile(alpha, freedom) * np.sqrt(variance) / (value * (1.0 - value))
    low, high = expit(logit(value) + np.array([-half, half]))
    return Interval(float(low), float(high), "delong-logit")


def newcombe_interval(
    value: float, positives: int, negatives: int, alpha: float, inflation: float = 1.0
) -> Interval:
    """Return the interval of an area whose variance is solved for at each bound; any value in [0, 1] has one.

    Parameters
    ----------
    value
        Area in [0, 1].
    positives, negatives
        Subjects of each class, at least 1.
    alpha
        1 - level.
    inflation
        Factor of the variance.

    Raises
    ------
    ValueError
        If the value is outside [0, 1] or a class is empty.

    Notes
    -----
    The bounds are the areas x with ``|A - x| = z sqrt(V(x))``,
    ``V(x) = x (1 - x) (1 + (N - 1) ((1 - x) / (2 - x) + x / (1 + x))) / (m n)``, N = (m + n) / 2: the variance of Hanley and
    McNeil 1982 with the sizes of its terms replaced by their mean (Newcombe 2006, method 5).
    """
    if not (0.0 <= value <= 1.0 and positives > 0 and negatives > 0):
        raise ValueError(
            f"value must be in [0, 1] with both classes present, got {value} of {positives} positives, {negatives} negatives"
        )
    half = _quantile(alpha, np.inf) * math.sqrt(inflation)

    def beyond(bound: float) -> float:
        return abs(value - bound) - half * math.sqrt(hanley_variance(bound, positives, negatives))

    return Interval(_bound(beyond, value, 0.0), _bound(beyond, value, 1.0), "newcombe")


def hanley_variance(value: float, positives: float, negatives: float) -> float:
    """Return the variance that an area has by its size alone (see :func:`newcombe_interval`)."""
    mean_size = (positives + negatives) / 2
    shared = (1.0 - value) / (2.0 - value) + value / (1.0 + value)
    return float(value * (1.0 - value) * (1.0 + (mean_size - 1.0) * shared) / (positives * negatives))


def auc_interval(
    value: float, variance: float, positives: int, negatives: int, alpha: float
) -> Interval | str:
    """Return the interval of an area under the ROC curve.

    Parameters
    ----------
    value
        Area in [0, 1].
    variance
        DeLong's, or Obuchowski's where subjects have several samples; NaN where undefined.
    positives, negatives
        How many subjects have a positive, and a negative, sample.
    alpha
        1 - level.

    Returns
    -------
    Interval or str
        :func:`logit_interval` by Student's t with ``min(positives, negatives) - 1`` degrees of freedom.
        :func:`newcombe_interval` where a class has fewer than 30 subjects, the value is 0 or 1, or the variance is 0 or
        undefined; its variance is never taken to be smaller than that of the data. A reason where a class is absent.

    Notes
    -----
    Simulated coverage of nominal 95 %, areas .6 to .95: logit with the normal quantile falls to 92 % where one class has 30
    subjects or subjects have several samples, with t it stays at 93 to 97 %. Newcombe's falls to 87 % where the scores of few
    positives spread more than those of many negatives; with the data's variance as the lower limit to 93 %. Subjects as sizes
    make it wide (98 to 100 %) where the samples of a subject hardly resemble each other.
    Known weak spot: an area of .95 with 30 to 60 positives whose scores spread twice as much as the negatives' (90 to 92 %).
    """
    if min(positives, negatives) < 1:
        return "one_class"
    usable = 0.0 < value < 1.0 and variance > 0.0
    if usable and min(positives, negatives) >= SOLVE_BELOW:
        return logit_interval(value, variance, alpha, min(positives, negatives) - 1)
    inflation = max(1.0, variance / hanley_variance(value, positives, negatives)) if usable else 1.0
    return newcombe_interval(value, positives, negatives, alpha, inflation)


def unusable(defined: int, replicates: NDArray[np.float64]) -> str | None:
    """Return why replicates of which so many are defined give no interval; None where they do."""
    if not len(replicates):
        return "no_replicates"
    if defined < max(2.0, 0.95 * len(replicates)):
        return f"undefined_replicates: {len(replicates) - defined} of {len(replicates)}"
    return None


def _quantile(alpha: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(1 - alpha / 2) if np.isinf(freedom) else stdtrit(freedom, 1 - alpha / 2))


def _bound(beyond: Callable[[float], float], value: float, end: float) -> float:
    """Return where `beyond` changes sign between the value, where it is below 0, and an end of the scale."""
    from scipy.optimize import brentq

    if value == end:
        return end
    # At a value of 0 or 1 the variance is 0 as well, a root that is no bound: start a hair inside.
    inside = value + (end - value) * 1e-13
    return float(brentq(beyond, inside, end, xtol=1e-12))
