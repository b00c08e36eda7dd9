"""Models over datasets: ranks, the Friedman test, the critical difference, and signed-rank tests against one model.

A row is a dataset, a column a model; datasets are the units, so N counts datasets and nothing finer (two attributes of one
dataset share its images). The Friedman test says whether any model differs, the critical difference which mean ranks are
too close to tell apart, the signed-rank test by how much one differs from another.

References
----------
Friedman 1937; Iman and Davenport 1980; Nemenyi 1963; Wilcoxon 1945; Demsar 2006; Hodges and Lehmann 1963.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array


@dataclass(frozen=True)
class Friedman:
    """The Friedman test.

    Attributes
    ----------
    ranks
        ``[k]`` mean ranks, 1 is best.
    chi2, p_value
        Statistic with ties corrected, and its p by chi-square with k - 1 degrees of freedom; NaN where all rows are ties.
    f, f_p_value
        Iman and Davenport's F, less conservative for few datasets. Where all datasets rank alike F is infinite, and p is the
        chance of that without any difference, ``D^(1 - N)``, instead of 0. D counts the orders that these ranks can have:
        ``k!`` without ties.
    """

    ranks: Array
    chi2: float
    p_value: float
    f: float
    f_p_value: float


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired differences.

    Attributes
    ----------
    shift, ci_low, ci_high
        Hodges-Lehmann estimate of the differences and its exact interval; the limits are None where so few differences
        cannot reach the level.
    p_value
        Exact, two-sided; 1 where all differences are 0.
    count
        Differences that are not 0.
    smallest
        The smallest p-value that so many differences other than 0 can have.
    """

    shift: float
    ci_low: float | None
    ci_high: float | None
    p_value: float
    count: int
    smallest: float


def rank_rows(values: Array) -> Array:
    """Rank the last axis, 1 for the highest value, ties by their mean rank.

    Parameters
    ----------
    values
        ``[..., k]``, no NaN.

    Examples
    --------
    >>> rank_rows(np.array([[0.7, 0.9, 0.7, 0.1]])).tolist()
    [[2.5, 1.0, 2.5, 4.0]]
    """
    ranks = np.full(values.shape, 0.5)
    for other in range(values.shape[-1]):
        rival = values[..., other : other + 1]
        ranks += (rival > values) + 0.5 * (rival == values)
    return ranks


def friedman_test(values: Array) -> Friedman:
    """Test whether any model differs from the others.

    Parameters
    ----------
    values
        ``[N, k]`` higher is better, no NaN; N and k at least 2.

    Raises
    ------
    ValueError
        If there are fewer rows or columns, or a NaN.

    Notes
    -----
    ``chi2 = (k - 1) sum_j (R_j - N (k + 1) / 2)^2 / (sum_ij r_ij^2 - N k (k + 1)^2 / 4)`` with rank sums R_j (Conover 1999),
    which is the usual formula divided by the correction for ties; ``F = (N - 1) chi2 / (N (k - 1) - chi2)`` with k - 1 and
    (k - 1)(N - 1) degrees of freedom.
    """
    from scipy.special import chdtrc, fdtrc

    count, models = _checked(values).shape
    ranks = rank_rows(values)
    spread = float(((ranks - (models + 1) / 2) ** 2).sum())
    if spread == 0.0:
        return Friedman(ranks.mean(axis=0), math.nan, math.nan, math.nan, math.nan)
    between = float(((ranks.sum(axis=0) - count * (models + 1) / 2) ** 2).sum())
    chi2 = (models - 1) * between / spread
    p_value = float(chdtrc(models - 1, chi2))
    left = count * (models - 1) - chi2
    if left <= 1e-9 * count * models:
        return Friedman(ranks.mean(axis=0), chi2, p_value, math.inf, _all_alike(ranks[0], count))
    f = (count - 1) * chi2 / left
    f_p_value = float(fdtrc(models - 1, (models - 1) * (count - 1), f))
    return Friedman(ranks.mean(axis=0), chi2, p_value, f, f_p_value)


def _all_alike(ranks: Array, count: int) -> float:
    """Return the chance that `count` rows in random order all have the order of these ranks."""
    ties = np.unique(ranks, return_counts=True)[1]
    orders = math.lgamma(len(ranks) + 1) - sum(math.lgamma(several + 1) for several in ties.tolist())
    return math.exp((1 - count) * orders)


@functools.cache
def critical_difference(models: int, count: int, alpha: float) -> float:
    """Return how far apart two mean ranks must be to differ at the level over all pairs (Nemenyi).

    Parameters
    ----------
    models
        k, at least 2.
    count
        N, datasets.
    alpha
        Level of the family of all pairs.

    Notes
    -----
    ``q sqrt(k (k + 1) / (6 N))``, q the upper alpha point of the studentised range of k with infinite degrees of freedom, over
    the square root of 2.

    Examples
    --------
    >>> round(critical_difference(5, 10, 0.05), 4)
    1.9288
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1.0 - alpha, models, np.inf)) / math.sqrt(2.0)
    return q * math.sqrt(models * (models + 1) / (6.0 * count))


def cliques(ranks: Array, difference: float) -> tuple[tuple[int, ...], ...]:
    """Return the groups of models that a critical difference does not tell apart: the bars of its diagram.

    Parameters
    ----------
    ranks
        ``[k]`` mean ranks.
    difference
        Two ranks that are no farther apart are not told apart.

    Returns
    -------
    tuple of tuples
        Positions, best rank first; only groups of two or more that are not part of a larger one.

    Examples
    --------
    >>> cliques(np.array([1.2, 3.9, 2.0, 3.0]), 1.0)
    ((0, 2), (2, 3), (3, 1))
    """
    order = np.argsort(ranks, kind="stable")
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        near = ranks[order] <= ranks[order[start]] + difference
        stop = int(np.flatnonzero(near)[-1]) + 1
        if stop > max(reached, start + 1):
            found.append(tuple(int(position) for position in order[start:stop]))
            reached = stop
    return tuple(found)


def rank_intervals(replicates: Array, alpha: float) -> tuple[Array, Array] | str:
    """Return how uncertain mean ranks are because each dataset's test set is a sample of subjects.

    Parameters
    ----------
    replicates
        ``[N, k, B]``, higher is better, paired over models.
    alpha
        1 - level.

    Returns
    -------
    (low, high) or str
        ``[k]`` percentiles of the mean rank; a reason where more than 5 % of the replicates are undefined or there are none.

    Notes
    -----
    The datasets are taken as given: this is the uncertainty of the picture on these datasets. Values that are resampled are
    noisier than the values themselves, so ranks of replicates lie a little nearer to the middle.
    """
    if not replicates.shape[-1]:
        return "no_replicates"
    defined = ~np.isnan(replicates).any(axis=(0, 1))
    if defined.mean() < 0.95:
        return f"undefined_replicates: {int((~defined).sum())} of {replicates.shape[-1]}"
    ranks = rank_rows(np.moveaxis(replicates[..., defined], 1, -1)).mean(axis=0)
    low, high = np.quantile(ranks, [alpha / 2, 1 - alpha / 2], axis=0)
    return low, high


def signed_rank_test(differences: Array, alpha: float) -> SignedRank:
    """Test whether paired differences are centred at 0.

    Parameters
    ----------
    differences
        ``[N]`` one per dataset, no NaN, N at least 1.
    alpha
        1 - level of the interval.

    Notes
    -----
    Zeros are dropped, ties of size share their mean rank, and the distribution of the rank sum over all ``2^n`` signs is exact
    for any n and any ties: twice the ranks are whole numbers, so it is a sum of n convolutions. The estimate is the median of
    the Walsh averages ``(d_i + d_j) / 2, i <= j`` of all differences, the interval their order statistics at the quantile
    of the distribution without ties.
    """
    if not len(differences) or np.isnan(differences).any():
        raise ValueError("differences must be a non-empty array without NaN")
    first, second = np.triu_indices(len(differences))
    walsh = np.sort((differences[first] + differences[second]) / 2.0)
    low, high = _walsh_limits(walsh, len(differences), alpha)
    kept = differences[differences != 0.0]
    smallest = min(1.0, 2.0 ** (1 - len(kept)))
    if not len(kept):
        return SignedRank(float(np.median(walsh)), low, high, 1.0, 0, smallest)
    doubled = np.rint(2.0 * rank_rows(-np.abs(kept))).astype(np.int64)
    chances = _sums_of_signs(tuple(sorted(doubled.tolist())))
    positive = int(doubled[kept > 0].sum())
    extreme = max(positive, int(doubled.sum()) - positive)
    p_value = min(1.0, 2.0 * float(chances[extreme:].sum()))
    return SignedRank(float(np.median(walsh)), low, high, p_value, len(kept), smallest)


def _walsh_limits(walsh: Array, count: int, alpha: float) -> tuple[float | None, float | None]:
    """Return the interval that holds every shift which the test without ties does not reject."""
    below = np.cumsum(_sums_of_signs(tuple(range(2, 2 * count + 1, 2)))[::2])
    outside = int(np.searchsorted(below, alpha / 2.0, side="right"))
    if outside == 0:
        return None, None
    return float(walsh[outside - 1]), float(walsh[-outside])


@functools.lru_cache(maxsize=256)
def _sums_of_signs(doubled: tuple[int, ...]) -> Array:
    """Return the chance of every sum of a subset of whole numbers in which each is in with chance 1/2."""
    chances: NDArray[np.float64] = np.zeros(sum(doubled) + 1)
    chances[0] = 1.0
    for size in doubled:
        chances = 0.5 * chances
        chances[size:] += chances[: len(chances) - size].copy()
    chances.setflags(write=False)
    return chances


def _checked(values: Array) -> Array:
    if values.ndim != 2 or min(values.shape) < 2 or np.isnan(values).any():
        raise ValueError(f"values must be [N, k] without NaN, N and k at least 2, got shape {values.shape}")
    return values
