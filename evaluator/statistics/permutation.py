"""What gaps would be if groups did not matter: units swap groups, and metrics are computed again.

The p-value comes from a studentised statistic, the Wald form ``Q = sum_g w_g (x_g - xbar_w)^2``, ``w_g = 1 /
V_g`` (for two groups the squared difference over the sum of the variances). Permuting the raw gap would
reject far too often when a small group is noisier than a large one; Q has the same limit law in both cases
(Janssen 1997; Chung and Romano 2013). ``V_g`` is the variance of the value's influence over units
(subjects): the delta method for ratios, placement values (DeLong 1988; Obuchowski 1997 for several samples
per subject) for areas. So that a group in which everything is right does not get variance 0, each group's
variance per unit is averaged with one pseudo-unit of the pooled variance.

Statistics are compared with a relative tolerance of 1e-9, because equal ones may differ by rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Metric, Ranks, Ratios, exactly_summable, sums_by, unit_terms
from evaluator.statistics.bootstrap import BLOCK, stream
from evaluator.statistics.partition import Ints, Partition

_TOLERANCE = 1e-9
#: Rows x assignments sorted at once: bounds memory.
_CELLS = 2_000_000
#: Pseudo-units of pooled variance added to each group.
_POOLED = 1.0


class Spread(NamedTuple):
    """Values of groups with their uncertainty, for each of b assignments of units to groups.

    Attributes
    ----------
    value, variance
        ``[b, G]`` value and squared standard error; NaN where undefined.
    size
        ``[b, G]`` how many units' worth of information the variance rests on.
    """

    value: Array
    variance: Array
    size: Array


def ratio_spread(form: Ratios, terms: Array, codes: Ints, groups: int) -> Spread:
    """Compute a ratio metric for assignments of units to groups.

    Parameters
    ----------
    form
        The metric's form.
    terms
        ``[m, K]`` terms of the units.
    codes
        ``[b, m]`` group of each unit in each assignment.
    groups
        G.

    Returns
    -------
    Spread
        The variance is ``n / (n - 1) sum_i (gradient . terms_i)^2`` over the n units that contribute.
    """
    width = terms.shape[1]
    upper = np.triu_indices(width)
    products = exactly_summable(terms[:, upper[0]] * terms[:, upper[1]], len(terms))
    touches = (terms != 0).any(axis=1, keepdims=True).astype(np.float64)
    everything = np.concatenate([terms, products, touches], axis=1)
    shape = (len(codes), groups)
    spread = Spread(np.empty(shape), np.empty(shape), np.empty(shape))
    twice = np.where(upper[0] == upper[1], 1.0, 2.0)
    for group in range(groups):
        sums = (codes == group).astype(np.float64) @ everything
        slope = form.gradient(sums[:, :width])
        moments = sums[:, width:-1]
        squares = np.einsum("bk,bk,bk,k->b", slope[:, upper[0]], slope[:, upper[1]], moments, twice)
        size = sums[:, -1]
        spread.value[:, group] = form.value(sums[:, :width])
        spread.variance[:, group] = np.maximum(squares, 0.0) * _small_sample(size)
        spread.size[:, group] = size
    return spread


def rank_spread(form: Ranks, data: Any, partition: Partition, codes: Ints, groups: int) -> Spread:
    """Compute a rank metric for assignments of units to groups (see :func:`ratio_spread`).

    Notes
    -----
    For one sample per unit the variance is DeLong's.
    """
    curves = [_SortedRows.sort(score, positive, partition) for score, positive in form.problems(data)]
    step = max(1, _CELLS // max(1, len(partition.row_unit)))
    parts = [
        _rank_spread(curves, codes[start : start + step], groups) for start in range(0, len(codes), step)
    ]
    return Spread(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class _SortedRows(NamedTuple):
    score: Array
    positive: NDArray[np.bool_]
    unit: Ints
    units: int

    @classmethod
    def sort(cls, score: Array, positive: NDArray[np.bool_], partition: Partition) -> _SortedRows:
        order = np.argsort(score, kind="stable")
        return cls(score[order], positive[order], partition.row_unit[order], partition.units)


def _rank_spread(curves: Sequence[_SortedRows], codes: Ints, groups: int) -> Spread:
    values, influences, sizes = zip(*(_areas(rows, codes, groups) for rows in curves), strict=True)
    influence = np.mean(influences, axis=0)
    variance = _per_segment(_segments(codes, groups), influence.ravel() ** 2, codes, groups)
    return Spread(np.mean(values, axis=0), variance, np.mean(sizes, axis=0))


def _areas(rows: _SortedRows, codes: Ints, groups: int) -> tuple[Array, Array, Array]:
    """Return areas ``[b, G]``, each unit's influence on its group's area ``[b, m]``, and sizes ``[b, G]``.

    Notes
    -----
    All assignments are laid end to end and sorted by (assignment, group); the sort is stable, so every
    segment keeps the order of scores and every count is a difference of cumulative sums.
    """
    segment = _segments(codes[:, rows.unit], groups)
    segments, count = len(codes) * groups, len(rows.score)
    order = np.argsort(segment.astype(np.uint16) if segments <= 0xFFFF else segment, kind="stable")
    row, segment = order % count, segment[order]
    positive = rows.positive[row]
    positives = sums_by(segment, positive, segments)
    negatives = sums_by(segment, ~positive, segments)
    start = np.flatnonzero(_changes(rows.score[row]) | _changes(segment))
    place = _placements(positive, segment, start, positives, negatives)
    pairs = _or_nan(positives) * _or_nan(negatives)
    area = sums_by(segment, np.where(positive, place, 0.0), segments) * negatives / pairs
    cell = rows.unit[row] + (order // count) * rows.units
    units_pos = _units_with(cell[positive], rows.units, codes, groups)
    units_neg = _units_with(cell[~positive], rows.units, codes, groups)
    weight_pos = np.sqrt(_small_sample(units_pos)).ravel() / _or_nan(positives)
    weight_neg = np.sqrt(_small_sample(units_neg)).ravel() / _or_nan(negatives)
    pull = (place - area[segment]) * np.where(positive, weight_pos[segment], weight_neg[segment])
    influence = sums_by(cell, pull, len(codes) * rows.units).reshape(len(codes), rows.units)
    size = units_pos * units_neg / _or_nan(units_pos + units_neg)
    return area.reshape(len(codes), groups), influence, size


def _placements(
    positive: NDArray[np.bool_], segment: Ints, start: Ints, positives: Array, negatives: Array
) -> Array:
    """Return the share of the other class in its segment that each row is on the right side of (ties half).

    Parameters
    ----------
    positive, segment
        ``[N]`` of rows sorted by segment, then score.
    start
        First row of each run of equal segment and score.
    positives, negatives
        ``[segments]`` counts.
    """
    end = np.append(start[1:], len(positive))
    of_run = segment[start]
    halfway = []
    for marks, counts in ((positive, positives), (~positive, negatives)):
        total = np.concatenate([[0], np.cumsum(marks)])
        before_segment = np.cumsum(counts) - counts
        halfway.append((total[start] + total[end]) / 2.0 - before_segment[of_run])
    beaten = halfway[1] / _or_nan(negatives)[of_run]
    beaten_by = 1.0 - halfway[0] / _or_nan(positives)[of_run]
    length = end - start
    return np.where(positive, np.repeat(beaten, length), np.repeat(beaten_by, length))


def _segments(codes: Ints, groups: int) -> Ints:
    """Return the number of each (assignment, group) pair of ``[b, k]`` codes, flat."""
    return (codes + np.arange(len(codes))[:, None] * groups).ravel()


def _per_segment(segment: Ints, values: Array, codes: Ints, groups: int) -> Array:
    return sums_by(segment, values, len(codes) * groups).reshape(len(codes), groups)


def _units_with(cell: Ints, units: int, codes: Ints, groups: int) -> Array:
    """Count the units of each segment that have a row among `cell`."""
    has = np.zeros(len(codes) * units)
    has[cell] = 1.0
    return _per_segment(_segments(codes, groups), has, codes, groups)


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark where a value differs from the one before it."""
    changed = np.ones(len(values), bool)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _or_nan(counts: Array) -> Array:
    return np.where(counts > 0, counts, np.nan)


def _small_sample(size: Array) -> Array:
    """``n / (n - 1)``, NaN below 2."""
    return np.where(size > 1, size / np.where(size > 1, size - 1.0, 1.0), np.nan)


@dataclass(frozen=True)
class NullGaps:
    """Gaps under permutation, for one metric.

    Attributes
    ----------
    gap
        ``[R]`` max - min of the groups' values; NaN where a value was undefined.
    statistic
        ``[R]`` Q; NaN likewise.
    observed
        Q of the data.
    """

    gap: Array
    statistic: Array
    observed: float

    @property
    def mean(self) -> float:
        """Mean gap when groups do not matter."""
        return float(np.mean(self._defined(self.gap)))

    @property
    def mean_square(self) -> float:
        """Mean squared gap when groups do not matter."""
        return float(np.mean(self._defined(self.gap) ** 2))

    @property
    def p_value(self) -> float:
        """(b + 1) / (R + 1), b permutations at least as extreme; undefined ones count as extreme."""
        extreme = ~(self.statistic < self.observed * (1 - _TOLERANCE))
        return float((extreme.sum() + 1) / (len(self.statistic) + 1))

    @property
    def reason(self) -> str | None:
        """Why nothing can be said; None when it can."""
        undefined = int(np.isnan(self.gap).sum())
        if not len(self.gap):
            return "no_permutations"
        if undefined > 0.05 * len(self.gap):
            return f"undefined_permutations: {undefined} of {len(self.gap)}"
        return "undefined_variance" if np.isnan(self.observed) else None

    @staticmethod
    def _defined(values: Array) -> Array:
        return values[~np.isnan(values)]


def permute_groups(
    metrics: Sequence[Metric],
    data: Any,
    partition: Partition,
    groups: Sequence[int],
    *,
    seed: int,
    subjects: Sequence[str],
    attribute: str,
    permutations: int,
) -> list[NullGaps]:
    """Permute groups and recompute metrics that share their valid groups and their kind of exchange.

    Parameters
    ----------
    metrics, data, partition
        What is computed, of what, and the units.
    groups
        Codes of the valid groups, at least two. Units of other groups (unknown, too small) stay out.
    seed, subjects, attribute
        Key of the random streams.
    permutations
        R.

    Returns
    -------
    list of NullGaps
        One per metric.
    """
    code = np.full(partition.groups, len(groups))
    code[list(groups)] = np.arange(len(groups))
    observed = code[partition.unit_group]
    exchange = metrics[0].exchange
    strata = _strata(exchange, data, partition, observed < len(groups))
    terms = [
        None if isinstance(m.form, Ranks) else unit_terms(m.form, data, partition.row_unit, partition.units)
        for m in metrics
    ]
    purpose = f"permutation:{attribute}:{exchange}"
    gaps = np.full((len(metrics), permutations), np.nan)
    statistics = gaps.copy()
    first = np.full(len(metrics), np.nan)
    for where, codes in _assignments(observed, strata, permutations, seed, subjects, purpose):
        for position, (metric, own_terms) in enumerate(zip(metrics, terms, strict=True)):
            if isinstance(metric.form, Ranks):
                spread = rank_spread(metric.form, data, partition, codes, len(groups) + 1)
            else:
                assert own_terms is not None  # noqa: S101
                spread = ratio_spread(metric.form, own_terms, codes, len(groups) + 1)
            gap, statistic = _gap_and_wald(Spread(*(column[:, :-1] for column in spread)))
            if where is None:
                first[position] = statistic[0]
            else:
                gaps[position, where], statistics[position, where] = gap, statistic
    return [NullGaps(gaps[i], statistics[i], float(first[i])) for i in range(len(metrics))]


def _strata(exchange: str, data: Any, partition: Partition, valid: NDArray[np.bool_]) -> list[Ints]:
    """List the sets of units among which groups are exchanged."""
    if exchange == "subjects":
        return [np.flatnonzero(valid)]
    labels = np.zeros((partition.units, int(data.label.max(initial=0)) + 1), bool)
    labels[partition.row_unit, data.label] = True
    _, stratum = np.unique(labels, axis=0, return_inverse=True)
    stratum = stratum.ravel()
    return [np.flatnonzero(valid & (stratum == number)) for number in range(int(stratum.max(initial=-1)) + 1)]


def _assignments(
    observed: Ints,
    strata: Sequence[Ints],
    permutations: int,
    seed: int,
    subjects: Sequence[str],
    purpose: str,
) -> Iterator[tuple[slice | None, Ints]]:
    """Yield the observed assignment (with no place), then blocks of permuted ones ``[b, m]``."""
    yield None, observed[None]
    for block, start in enumerate(range(0, permutations, BLOCK)):
        generator = stream(seed, purpose, subjects, block)
        codes = np.tile(observed, (BLOCK, 1))
        for units in strata:
            codes[:, units] = generator.permuted(codes[:, units], axis=1)
        stop = min(start + BLOCK, permutations)
        yield slice(start, stop), codes[: stop - start]


def _gap_and_wald(spread: Spread) -> tuple[Array, Array]:
    """Return max - min and Q for each assignment ``[b]``."""
    gap = spread.value.max(axis=1) - spread.value.min(axis=1)
    per_unit = spread.variance * spread.size
    pooled = (per_unit * spread.size).sum(axis=1, keepdims=True) / spread.size.sum(axis=1, keepdims=True)
    variance = (per_unit * spread.size + _POOLED * pooled) / (spread.size + _POOLED) / spread.size
    constant = pooled[:, 0] == 0.0
    weight = 1.0 / np.where(constant[:, None], 1.0, variance)
    centre = (weight * spread.value).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    wald = (weight * (spread.value - centre) ** 2).sum(axis=1)
    return gap, np.where(constant, np.where(gap > 0, np.inf, 0.0), wald)
