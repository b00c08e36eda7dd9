"""Areas under ROC curves of several models on the same samples, with the covariance that paired tests need.

Guarantee: the same numbers as the definition over all pairs of a positive and a negative, in O(n log n) float64.
One sample per subject: :func:`delong`. Several: :func:`clustered_delong`, which equals it where every subject has one.

References
----------
DeLong, DeLong and Clarke-Pearson 1988; Sun and Xu 2014 (mid-ranks); Obuchowski 1997 (several samples per subject).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

# Rounding leaves a difference of two equal models this far from 0, as a share of their variances.
_ROUNDING = 1e-12


class Areas(NamedTuple):
    """Areas of M models on the same samples.

    Attributes
    ----------
    values
        ``[M]`` areas in [0, 1], ties counted half; NaN where a class is absent.
    covariance
        ``[M, M]`` of the values; NaN where a class has fewer than two independent units.
    positives, negatives
        Independent units (samples or subjects) with a positive, and with a negative, sample.
    """

    values: Array
    covariance: Array
    positives: int
    negatives: int


class PairedTest(NamedTuple):
    """Whether two models differ on the same samples.

    Attributes
    ----------
    difference
        First minus second area.
    standard_error
        Of the difference.
    low, high
        Interval of the difference, in [-1, 1]; NaN where the standard error is 0 or undefined.
    p_value
        Of "no difference", two-sided; NaN likewise.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float


class _Placements(NamedTuple):
    """Share of the other class that each positive ``[M, m]``, and each negative ``[M, n]``, is on the right side of."""

    positive: Array
    negative: Array
    values: Array


def delong(scores: Array, positive: NDArray[np.bool_]) -> Areas:
    """Return areas and their covariance where every sample is another subject.

    Parameters
    ----------
    scores
        ``[M, n]`` (or ``[n]`` for one model), higher for positives; no NaN.
    positive
        ``[n]`` class.

    Returns
    -------
    Areas
        Of all models.

    Raises
    ------
    ValueError
        If a score is NaN or the shapes do not agree.

    Notes
    -----
    ``cov(V10) / m + cov(V01) / n`` with placement values V and ddof 1 (DeLong 1988).

    Examples
    --------
    >>> found = delong(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> found.values, found.covariance
    (array([0.75]), array([[0.125]]))
    """
    return clustered_delong(scores, positive, np.arange(len(positive)))


def clustered_delong(scores: Array, positive: NDArray[np.bool_], subject: NDArray[np.int64]) -> Areas:
    """Return areas over all samples, with their covariance over subjects.

    Parameters
    ----------
    scores, positive
        See :func:`delong`.
    subject
        ``[n]`` code of each sample's subject; a subject may have samples of both classes.

    Returns
    -------
    Areas
        Of all models.

    Raises
    ------
    ValueError
        If a score is NaN or the shapes do not agree.

    Notes
    -----
    Placement values less the area, summed by subject, give ``S10 / m + S01 / n + 2 S11 / (m n)`` with factors ``I / (I - 1)``
    of the subjects with a positive, with a negative, and all (Obuchowski 1997).
    """
    table = np.atleast_2d(scores)
    marked = np.asarray(positive, bool)
    if table.shape[1:] != marked.shape or np.shape(subject) != marked.shape:
        raise ValueError(
            f"scores [models, samples], positive and subject must have the same samples, got {np.shape(scores)},"
            f" {marked.shape} and {np.shape(subject)}"
        )
    if np.isnan(table).any():
        raise ValueError("scores must not be NaN; leave out the samples that have none")
    units, unit = np.unique(subject, return_inverse=True)
    with_positive, with_negative = (len(np.unique(unit[kind])) for kind in (marked, ~marked))
    models = len(table)
    if not with_positive or not with_negative:
        nothing = np.full((models, models), np.nan)
        return Areas(np.full(models, np.nan), nothing, with_positive, with_negative)
    placed = _place(table, marked)
    if min(with_positive, with_negative) < 2:
        return Areas(placed.values, np.full((models, models), np.nan), with_positive, with_negative)
    above = _by_unit(placed.positive - placed.values[:, None], unit[marked], len(units))
    below = _by_unit(placed.negative - placed.values[:, None], unit[~marked], len(units))
    crossed = above @ below.T
    covariance = (
        _small_sample(with_positive) * (above @ above.T)
        + _small_sample(with_negative) * (below @ below.T)
        + _small_sample(len(units)) * (crossed + crossed.T)
    )
    return Areas(placed.values, covariance, with_positive, with_negative)


def paired_test(areas: Areas, first: int, second: int, *, alpha: float) -> PairedTest:
    """Test whether two models have the same area.

    Parameters
    ----------
    areas
        Of models on the same samples.
    first, second
        Places of the two models.
    alpha
        1 - level of the interval.

    Returns
    -------
    PairedTest
        By Student's t with one degree of freedom less than the rarer class has independent units.

    Notes
    -----
    With the normal quantile (DeLong 1988) the test of two equal models rejects too often in small samples.
    """
    from scipy.special import stdtr, stdtrit

    difference = float(areas.values[first] - areas.values[second])
    own = areas.covariance[first, first] + areas.covariance[second, second]
    variance = float(own - areas.covariance[first, second] - areas.covariance[second, first])
    if not variance > _ROUNDING * own:
        error = 0.0 if variance <= _ROUNDING * own else float("nan")
        return PairedTest(difference, error, float("nan"), float("nan"), float("nan"))
    error = float(np.sqrt(variance))
    freedom = min(areas.positives, areas.negatives) - 1
    half = float(stdtrit(freedom, 1 - alpha / 2)) * error
    p_value = 2.0 * float(stdtr(freedom, -abs(difference) / error))
    return PairedTest(difference, error, max(-1.0, difference - half), min(1.0, difference + half), p_value)


def _place(scores: Array, positive: NDArray[np.bool_]) -> _Placements:
    m, n = int(positive.sum()), int((~positive).sum())
    above, below = np.empty((len(scores), m)), np.empty((len(scores), n))
    for model, row in enumerate(scores):
        among_all = _mid_ranks(row)
        above[model] = (among_all[positive] - _mid_ranks(row[positive])) / n
        below[model] = 1.0 - (among_all[~positive] - _mid_ranks(row[~positive])) / m
    return _Placements(above, below, above.mean(axis=1))


def _mid_ranks(values: Array) -> Array:
    """Return ranks ``[n]`` from 1; equal values share the mean of theirs."""
    _, run, lengths = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(lengths) - (lengths - 1) / 2)[run])


def _by_unit(deviations: Array, unit: NDArray[np.int64], units: int) -> Array:
    """Sum the columns of ``[M, k]`` by unit, as shares of the mean; ``[M, units]``."""
    summed = np.stack([np.bincount(unit, row, minlength=units) for row in deviations])
    return np.asarray(summed / len(unit))


def _small_sample(units: int) -> float:
    return units / (units - 1)
