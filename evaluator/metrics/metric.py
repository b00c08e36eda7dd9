"""What a metric is, so that one mechanism computes its value, its replicates and its permutations.

Two families cover the set:

* :class:`Ratios`: the value is a fixed function of sums over rows (accuracy, sensitivity, Brier score,
  calibration error, mean Dice). A replicate is a matrix product of weights with per-subject sums.
* :class:`Ranks`: the value is a mean of areas under ROC curves. Rows are sorted once; a replicate is a
  cumulative sum.

Weights are whole numbers (how often a subject was drawn), so counts are exact and a value depends neither on
the order of rows nor on the number of threads. The point value is the replicate in which every weight is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Need = Literal["positives", "negatives", "classes"]
Exchange = Literal["subjects", "subjects within labels"]


@dataclass(frozen=True)
class Ratios:
    """A value made of ratios of weighted sums of terms: ``scale * sum_r h(N_r / D_r)``.

    Attributes
    ----------
    terms
        Data -> ``[n, K]`` float64 terms of every row (0 where a row does not contribute).
    numerators, denominators
        For each ratio, which column is summed above and below the line.
    scale
        Factor of the sum, e.g. one over the number of ratios for their mean.
    h
        ``"identity"``, or ``"absolute"`` for calibration errors.
    within
        How the rows of a subject (inside one group) are joined: ``"sum"``, every row counts; ``"mean"``,
        every subject counts once with the mean of its rows that have a value.
    proportion
        Whether the value is a plain share k/n of rows, so that an interval for proportions applies.
    """

    terms: Callable[[Any], Array]
    numerators: tuple[int, ...]
    denominators: tuple[int, ...]
    scale: float = 1.0
    h: Literal["identity", "absolute"] = "identity"
    within: Literal["sum", "mean"] = "sum"
    proportion: bool = False

    def value(self, sums: Array) -> Array:
        """Evaluate sums ``[..., K]``; NaN where a denominator is 0."""
        total = np.zeros(sums.shape[:-1])
        for ratio in self._ratios(sums):
            total = total + (np.abs(ratio) if self.h == "absolute" else ratio)
        return self.scale * total

    def gradient(self, sums: Array) -> Array:
        """Differentiate :meth:`value` by the sums ``[..., K]``; a row's influence is gradient . terms."""
        slopes = np.zeros(sums.shape)
        pairs = zip(self._ratios(sums), self.numerators, self.denominators, strict=True)
        for ratio, above, below in pairs:
            factor = (
                self.scale * (np.sign(ratio) if self.h == "absolute" else 1.0) / _positive(sums[..., below])
            )
            slopes[..., above] += factor
            slopes[..., below] -= factor * ratio
        return slopes

    def _ratios(self, sums: Array) -> list[Array]:
        pairs = zip(self.numerators, self.denominators, strict=True)
        return [sums[..., above] / _positive(sums[..., below]) for above, below in pairs]


@dataclass(frozen=True)
class Ranks:
    """A value that is the mean of areas under ROC curves.

    Attributes
    ----------
    problems
        Data -> one ``(score [n] float64, positive [n] bool)`` per curve.
    """

    problems: Callable[[Any], list[tuple[Array, NDArray[np.bool_]]]]


@dataclass(frozen=True)
class Metric:
    """A metric under one convention.

    Attributes
    ----------
    name, convention
        As in the tables, e.g. ``"ece"`` under ``"ece:fixed15"``.
    higher_is_better
        Direction; decides which group is best.
    form
        How it is computed.
    needs
        Classes that must be present in a group: ``"positives"``, ``"negatives"``, ``"classes"`` (every
        class).
    exchange
        What a permutation of groups keeps: ``"subjects"`` moves any subject; ``"subjects within labels"``
        moves subjects among those with the same true labels, so that a metric that conditions on the label
        is not confounded by prevalence.
    """

    name: str
    convention: str
    higher_is_better: bool
    form: Ratios | Ranks
    needs: tuple[Need, ...] = ()
    exchange: Exchange = "subjects"


def evaluate(metric: Metric, data: Any, subject: NDArray[np.int64], weights: Array) -> Array:
    """Compute a metric over all rows for a batch of subject weights.

    Parameters
    ----------
    metric, data
        What to compute, of what.
    subject
        ``[n]`` index of each row's subject.
    weights
        ``[P, B]`` weight of each subject in each replicate, 0 or more.

    Returns
    -------
    ``[B]`` float64
        NaN where undefined.
    """
    if isinstance(metric.form, Ranks):
        curves = [RankedRows.sort(score, positive) for score, positive in metric.form.problems(data)]
        return np.asarray(np.mean([curve.areas(weights, subject) for curve in curves], axis=0))
    sums = unit_terms(metric.form, data, subject, len(weights)).T @ weights
    return metric.form.value(sums.T)


def unit_terms(form: Ratios, data: Any, unit: NDArray[np.int64], units: int) -> Array:
    """Join the terms of the rows of each unit (a subject inside a group).

    Returns
    -------
    ``[units, K]`` float64
        Rounded so that any sum with whole weights is exact, see :func:`exactly_summable`.
    """
    rows = form.terms(data)
    joined = np.stack(
        [sums_by(unit, column, units) for column in exactly_summable(rows, len(rows)).T], axis=1
    )
    if form.within == "mean":
        counted = joined[:, [form.denominators[0]]]
        joined = exactly_summable(joined / np.where(counted > 0, counted, 1.0), units)
    return joined


def sums_by(cell: NDArray[np.integer[Any]], values: NDArray[Any], cells: int) -> Array:
    """Sum ``[n]`` values by cell; ``[cells]`` float64."""
    return np.asarray(np.bincount(cell, values, minlength=cells), np.float64)


def exactly_summable(columns: Array, weight: float) -> Array:
    """Round values to a grid so fine that nobody notices and so coarse that float64 sums are exact.

    Parameters
    ----------
    columns
        ``[n, K]`` finite values.
    weight
        The largest total weight of a sum.

    Returns
    -------
    ``[n, K]`` float64
        Whole numbers are returned as they are. The error of a mean is below ``max|x| * n * 2**-50`` in the
        worst case (2e-11 for 20,000 rows) and far smaller in practice, because roundings cancel.

    Notes
    -----
    With every value a multiple of ``q`` and every partial sum below ``2**53 * q`` (8 times `weight` here),
    no addition rounds: sums are the same in any order, on any number of threads, on any processor.
    """
    if not columns.size:
        return columns
    bound = np.maximum(np.abs(columns).max(axis=0), 1.0) * max(weight, 1.0)
    grid = np.exp2(np.ceil(np.log2(bound)) - 50)
    return np.asarray(np.round(columns / grid) * grid)


@dataclass(frozen=True)
class RankedRows:
    """Rows of one ROC curve, sorted once for any number of weightings.

    Attributes
    ----------
    ladder, climbers
        Row indices of the larger and the smaller class, each in rising order of score.
    below, upto
        For each climber, how many ladder rows score less, and not more.
    climbers_positive
        Whether the climbers are the positive class.
    """

    ladder: NDArray[np.int64]
    climbers: NDArray[np.int64]
    below: NDArray[np.int64]
    upto: NDArray[np.int64]
    climbers_positive: bool

    @classmethod
    def sort(cls, score: Array, positive: NDArray[np.bool_]) -> RankedRows:
        """Sort the rows ``[n]``."""
        order = np.argsort(score, kind="stable")
        climbers_positive = 2 * int(positive.sum()) <= len(positive)
        climbs = positive[order] == climbers_positive
        ladder, climbers = order[~climbs], order[climbs]
        below = np.searchsorted(score[ladder], score[climbers], side="left")
        upto = np.searchsorted(score[ladder], score[climbers], side="right")
        return cls(ladder, climbers, below, upto, climbers_positive)

    def areas(self, weights: Array, unit: NDArray[np.int64]) -> Array:
        """Compute P(positive scores higher) + P(equal)/2 (mid-ranks) for each column of unit weights.

        Parameters
        ----------
        weights
            ``[units, B]`` whole numbers.
        unit
            ``[n]`` unit of each row.

        Returns
        -------
        ``[B]`` float64
            NaN where a class has no weight.
        """
        heights = np.zeros((len(self.ladder) + 1, weights.shape[1]))
        np.cumsum(weights[unit[self.ladder]], axis=0, out=heights[1:])
        climb = weights[unit[self.climbers]]
        twice = np.einsum("ib,ib->b", climb, heights[self.below] + heights[self.upto])
        pairs = climb.sum(axis=0) * heights[-1]
        if not self.climbers_positive:
            twice = 2.0 * pairs - twice
        return np.asarray(twice / _positive(2.0 * pairs))


def _positive(denominator: Array) -> Array:
    """Replace 0 by NaN, so that an undefined ratio is NaN and warns nobody."""
    return np.asarray(np.where(denominator > 0, denominator, np.nan), np.float64)
