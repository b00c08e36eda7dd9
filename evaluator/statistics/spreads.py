"""Values of groups with their variances, for many assignments of units to groups at once.

Ratios: the delta method on sums of terms and of their products, one matrix product for all metrics. Areas
under ROC curves: every assignment is sorted by group and score in one stable sort, and placement values
(DeLong 1988; Obuchowski 1997 for several samples per subject) are differences of cumulative sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Metric, Ranks, Ratios, exactly_summable, sums_by, unit_terms
from evaluator.statistics.partition import Ints, Partition

Codes = NDArray[np.int16]

#: Rows x assignments sorted at once: bounds memory.
_CELLS = 2_000_000


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


@dataclass(frozen=True)
class RatioMoments:
    """Sums of terms and of their products for several ratio metrics: one matrix product serves them all.

    Attributes
    ----------
    forms
        The metrics' forms.
    table
        ``[m, columns]`` per unit: for each form its terms, the products of two terms that are not 0
        everywhere, and whether the unit contributes at all.
    layouts
        For each form where its columns are.
    """

    forms: tuple[Ratios, ...]
    table: Array
    layouts: tuple[_Layout, ...]

    @classmethod
    def prepare(cls, forms: Sequence[Ratios], data: Any, partition: Partition) -> RatioMoments:
        """Compute the table."""
        tables: list[Array] = [np.zeros((partition.units, 0))]
        layouts: list[_Layout] = []
        for form in forms:
            terms = unit_terms(form, data, partition.row_unit, partition.units)
            first, second = np.triu_indices(terms.shape[1])
            products = exactly_summable(terms[:, first] * terms[:, second], len(terms))
            kept = np.flatnonzero(products.any(axis=0))
            touches = (terms != 0).any(axis=1, keepdims=True).astype(np.float64)
            start = sum(table.shape[1] for table in tables)
            layouts.append(_Layout(start, terms.shape[1], first[kept], second[kept]))
            tables.append(np.concatenate([terms, products[:, kept], touches], axis=1))
        return cls(tuple(forms), np.concatenate(tables, axis=1), tuple(layouts))

    def spreads(self, codes: Codes, groups: int) -> list[Spread]:
        """Compute all forms for assignments of units to groups.

        Parameters
        ----------
        codes
            ``[b, m]`` group of each unit in each assignment; codes from `groups` on stay out.
        groups
            G.

        Returns
        -------
        list of Spread
            One per form. The variance is ``n / (n - 1) sum_i (gradient . terms_i)^2`` over the n units that
            contribute.
        """
        members = [(codes == group).astype(np.float64) for group in range(groups)]
        sums = np.stack([inside @ self.table for inside in members], axis=1)
        return [layout.spread(form, sums) for form, layout in zip(self.forms, self.layouts, strict=True)]


class _Layout(NamedTuple):
    """Columns of one form: terms from `start`, then products of terms `first` and `second`, then the count."""

    start: int
    width: int
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    def spread(self, form: Ratios, sums: Array) -> Spread:
        middle = self.start + self.width
        end = middle + len(self.first)
        terms, products, size = sums[..., self.start : middle], sums[..., middle:end], sums[..., end]
        slope = form.gradient(terms)
        times = np.where(self.first == self.second, 1.0, 2.0)
        squares = (slope[..., self.first] * slope[..., self.second] * products * times).sum(axis=-1)
        return Spread(form.value(terms), np.maximum(squares, 0.0) * _small_sample(size), size)


def rank_spread(form: Ranks, data: Any, partition: Partition, codes: Codes, groups: int) -> Spread:
    """Compute a rank metric for assignments of units to groups (see :meth:`RatioMoments.spreads`).

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
    """Rows of one curve in rising order of score; rows of equal `tie` have equal scores."""

    tie: Ints
    positive: NDArray[np.bool_]
    unit: Ints
    units: int

    @classmethod
    def sort(cls, score: Array, positive: NDArray[np.bool_], partition: Partition) -> _SortedRows:
        order = np.argsort(score, kind="stable")
        tie = np.cumsum(_changes(score[order]), dtype=np.int64)
        return cls(tie, positive[order], partition.row_unit[order], partition.units)


class _Segments(NamedTuple):
    """Rows of all assignments, sorted by (assignment, group), then score.

    Attributes
    ----------
    cell
        Number of the (assignment, unit).
    positive
        Class of the row.
    won
        Twice the number of rows of the other class in the same segment that the row is on the right side of;
        equals count 1.
    segment
        Number of the (assignment, group).
    positives, negatives
        ``[segments]`` counts.
    """

    cell: Ints
    positive: NDArray[np.bool_]
    won: Ints
    segment: Ints
    positives: Ints
    negatives: Ints


def _rank_spread(curves: Sequence[_SortedRows], codes: Codes, groups: int) -> Spread:
    parts = [_place(rows, codes, groups) for rows in curves]
    areas = [_area(part) for part in parts]
    shape = (len(codes), groups)
    if len(parts) == 1 and curves[0].units == len(curves[0].unit):
        variance, size = _variance_of_rows(parts[0], areas[0])
        return Spread(areas[0].reshape(shape), variance.reshape(shape), size.reshape(shape))
    cell_segment = _segment_of(codes, groups)
    influences, sizes = zip(
        *(_influence(part, area, cell_segment) for part, area in zip(parts, areas, strict=True)), strict=True
    )
    influence = np.mean(influences, axis=0)
    variance = sums_by(cell_segment, influence**2, len(codes) * groups)
    value, size = np.mean(areas, axis=0), np.mean(sizes, axis=0)
    return Spread(value.reshape(shape), variance.reshape(shape), size.reshape(shape))


def _place(rows: _SortedRows, codes: Codes, groups: int) -> _Segments:
    """Sort the rows of all assignments and count the pairs that each row wins.

    Notes
    -----
    The sort is stable, so every segment keeps the order of scores and every count is a difference of
    cumulative sums.
    """
    segments, count = len(codes) * groups, len(rows.tie)
    unsorted = _segment_of(codes[:, rows.unit], groups)
    order = np.argsort(unsorted.astype(np.uint16) if segments <= 0xFFFF else unsorted, kind="stable")
    assignment = np.arange(len(codes))[:, None]
    row = order.reshape(len(codes), count) - assignment * count
    cell = (rows.unit[row] + assignment * rows.units).ravel()
    row = row.ravel()
    sizes = np.bincount(unsorted, minlength=segments)
    segment = np.repeat(np.arange(segments), sizes)
    positive = rows.positive[row]
    totals = [np.concatenate([[0], np.cumsum(marks)]) for marks in (~positive, positive)]
    edges = np.concatenate([[0], np.cumsum(sizes)])
    negatives, positives = (np.diff(total[edges]) for total in totals)
    start = np.flatnonzero(_changes(rows.tie[row]) | _changes(segment))
    end = np.append(start[1:], len(row))
    twice = [np.repeat(total[start] + total[end], end - start) for total in totals]
    below = twice[0] - 2 * totals[0][edges[:-1]][segment]
    above = 2 * totals[1][edges[1:]][segment] - twice[1]
    return _Segments(cell, positive, np.where(positive, below, above), segment, positives, negatives)


def _area(part: _Segments) -> Array:
    """Return the area of each segment; NaN where a class is missing."""
    won = sums_by(part.segment, np.where(part.positive, part.won, 0), len(part.positives))
    return won / (2.0 * _or_nan(part.positives) * _or_nan(part.negatives))


def _variance_of_rows(part: _Segments, area: Array) -> tuple[Array, Array]:
    """Return DeLong's variance of each segment, where every unit has one row, and the size it rests on."""
    variance = np.zeros(len(area))
    for side, own, other in (
        (part.positive, part.positives, part.negatives),
        (~part.positive, part.negatives, part.positives),
    ):
        squares = sums_by(part.segment[side], part.won[side].astype(np.float64) ** 2, len(area))
        spread = squares / (4.0 * _or_nan(other) ** 2) - own * area**2
        variance += np.maximum(spread, 0.0) * _small_sample(own) / _or_nan(own) ** 2
    return variance, part.positives * part.negatives / _or_nan(part.positives + part.negatives)


def _influence(part: _Segments, area: Array, cell_segment: Ints) -> tuple[Array, Array]:
    """Return the influence of each (assignment, unit) on its segment's area, and the size of each segment."""
    influence = np.zeros(len(cell_segment))
    units = []
    for side, own, other in (
        (part.positive, part.positives, part.negatives),
        (~part.positive, part.negatives, part.positives),
    ):
        has = np.zeros(len(cell_segment))
        has[part.cell[side]] = 1.0
        units.append(sums_by(cell_segment, has, len(area)))
        segment = part.segment[side]
        weight = np.sqrt(_small_sample(units[-1])) / _or_nan(own)
        pull = (part.won[side] / (2.0 * _or_nan(other))[segment] - area[segment]) * weight[segment]
        influence += sums_by(part.cell[side], pull, len(cell_segment))
    return influence, units[0] * units[1] / _or_nan(units[0] + units[1])


def _segment_of(codes: Codes, groups: int) -> Ints:
    """Return the number of each (assignment, group) pair of ``[b, k]`` codes, flat."""
    return (codes + np.arange(len(codes))[:, None] * groups).ravel()


def _changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark where a value differs from the one before it."""
    changed = np.ones(len(values), bool)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _or_nan(counts: NDArray[Any]) -> Array:
    return np.asarray(np.where(counts > 0, counts, np.nan), np.float64)


def _small_sample(size: NDArray[Any]) -> Array:
    """``n / (n - 1)``, NaN below 2."""
    return np.asarray(np.where(size > 1, size / np.where(size > 1, size - 1.0, 1.0), np.nan))


class Spreads(NamedTuple):
    """All metrics of one call, ratios in one matrix product."""

    metrics: tuple[Metric, ...]
    data: Any
    partition: Partition
    moments: RatioMoments

    @classmethod
    def prepare(cls, metrics: Sequence[Metric], data: Any, partition: Partition) -> Spreads:
        """Sum once what every assignment needs."""
        forms = [metric.form for metric in metrics if isinstance(metric.form, Ratios)]
        return cls(tuple(metrics), data, partition, RatioMoments.prepare(forms, data, partition))

    def __call__(self, codes: Codes, groups: int) -> Iterator[Spread]:
        """Yield the spread of each metric for assignments ``[b, m]``; codes from `groups` on stay out."""
        ratios = iter(self.moments.spreads(codes, groups))
        for metric in self.metrics:
            if isinstance(metric.form, Ranks):
                whole = rank_spread(metric.form, self.data, self.partition, codes, groups + 1)
                yield Spread(*(column[:, :groups] for column in whole))
            else:
                yield next(ratios)
