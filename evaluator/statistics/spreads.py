"""Values of groups with their variances, for many assignments of units to groups at once.

Sums: the delta method. Few columns: sums of terms and of their products by group. Many (bins, classes): two sparse passes, one
for the sums and one for the squared influences. Areas under curves: placement values (DeLong 1988; Obuchowski 1997 for several
samples per subject), influences of average precision; lines: the sandwich.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Line, Metric, Ranks, Sums, positive
from evaluator.metrics.summing import exactly_summable
from evaluator.statistics.curves import Curve
from evaluator.statistics.kernels_ranks import (
    area_influences,
    permuted_areas,
    precision_influences,
)
from evaluator.statistics.kernels_sums import dense_sums, sparse_squares, sparse_sums, squares_by_group
from evaluator.statistics.lines import LinePoints
from evaluator.statistics.partition import Partition
from evaluator.statistics.resampling import adjusted_precision
from evaluator.statistics.terms import TermTable

Codes = NDArray[np.int16]

#: Forms with more columns are summed sparsely: their products would be more than the passes cost.
_DENSE = 6


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
class Spreads:
    """All metrics of one call, prepared for any number of assignments.

    Attributes
    ----------
    metrics
        What is computed.
    units
        m.
    dense, sparse
        Tables of the forms of sums, by their place among the metrics.
    curves, lines
        Sorted rows of ranks, and points of lines, by place.
    """

    metrics: tuple[Metric, ...]
    units: int
    dense: DenseForms
    sparse: dict[int, SparseForm]
    curves: dict[int, tuple[Curve, ...]]
    lines: dict[int, LinePoints]

    @classmethod
    def prepare(
        cls, metrics: Sequence[Metric], data: Any, partition: Partition, share: Array | None = None
    ) -> Spreads:
        """Sort and sum once what every assignment needs; `share` ``[n]`` re-weights rows of sums."""
        forms = [metric.form if isinstance(metric.form, Sums) else None for metric in metrics]
        table = TermTable.build(forms, data, partition, share)
        widths = {place: where.stop - where.start for place, where in enumerate(table.where) if where}
        row_unit = partition.row_unit
        return cls(
            tuple(metrics),
            partition.units,
            DenseForms.build([p for p, width in widths.items() if width <= _DENSE], forms, table),
            _sparse_forms([p for p, width in widths.items() if width > _DENSE], forms, table),
            {
                place: tuple(
                    Curve.sort(score, marked, row_unit) for score, marked in metric.form.curves(data)
                )
                for place, metric in enumerate(metrics)
                if isinstance(metric.form, Ranks)
            },
            {
                place: LinePoints.of(*metric.form.points(data), row_unit, metric.form.parameter)
                for place, metric in enumerate(metrics)
                if isinstance(metric.form, Line)
            },
        )

    def __call__(self, codes: Codes, groups: int, places: Sequence[int] | None = None) -> Iterator[Spread]:
        """Yield the spread of each metric for assignments ``[b, m]``; codes from `groups` on stay out.

        With `places` only that of the metrics at these places, in their order.
        """
        codes = np.ascontiguousarray(codes, np.int16)
        wanted = range(len(self.metrics)) if places is None else places
        dense = self.dense.spreads(codes, groups, [place for place in wanted if place in self.dense.forms])
        for place in wanted:
            metric = self.metrics[place]
            if place in dense:
                yield dense[place]
            elif place in self.sparse:
                yield self.sparse[place].spread(codes, groups)
            elif isinstance(metric.form, Ranks):
                yield _rank_spread(metric.form, self.curves[place], self.units, codes, groups)
            elif isinstance(metric.form, Line):
                yield Spread(*self.lines[place].spread(codes, groups))
            else:
                nothing = np.full((len(codes), groups), np.nan)
                yield Spread(nothing, nothing, nothing)


@dataclass(frozen=True)
class DenseForms:
    """Forms of few columns: terms, products of terms, and whether a unit contributes.

    Attributes
    ----------
    forms, columns
        Each form with its columns of `table`, by its place among the metrics.
    pairs
        Products: columns of the two factors, and of the product.
    touches
        Column that counts the contributing units, by place.
    table
        ``[m, K]``.
    """

    forms: dict[int, Sums]
    columns: dict[int, slice]
    pairs: dict[tuple[int, int], int]
    touches: dict[int, int]
    table: Array

    @classmethod
    def build(cls, places: Sequence[int], forms: Sequence[Sums | None], terms: TermTable) -> DenseForms:
        """Compute products that are not 0 everywhere, once for all forms that share terms."""
        units = len(terms.table)
        extra: list[Array] = []
        pairs: dict[tuple[int, int], int] = {}
        touches: dict[int, int] = {}
        counted: dict[tuple[int, ...], int] = {}
        chosen: dict[int, Sums] = {}
        width = terms.table.shape[1]
        for place in places:
            form = forms[place]
            assert form is not None  # noqa: S101 - a form of sums, as chosen
            chosen[place] = form
            where = terms.columns(place)
            mine = terms.table[:, where]
            for first, second in zip(*np.triu_indices(mine.shape[1]), strict=True):
                key = (where.start + int(first), where.start + int(second))
                if key in pairs:
                    continue
                product = mine[:, first] * mine[:, second]
                if product.any():
                    pairs[key] = width + len(extra)
                    extra.append(exactly_summable(product[:, None], units)[:, 0])
            used = form.used(mine.shape[1])
            shared = (where.start, *used.tolist())
            if shared not in counted:
                counted[shared] = width + len(extra)
                extra.append((mine[:, used] != 0).any(axis=1).astype(np.float64))
            touches[place] = counted[shared]
        table = np.column_stack([terms.table, *extra]) if places else np.zeros((units, 0))
        return cls(chosen, {p: terms.columns(p) for p in places}, pairs, touches, np.ascontiguousarray(table))

    def spreads(self, codes: Codes, groups: int, places: Sequence[int]) -> dict[int, Spread]:
        """Compute some forms; the variance is ``n / (n - 1) sum_i (gradient . terms_i)^2`` over n contributing units."""
        if not places:
            return {}
        sums = np.zeros((len(codes), groups, self.table.shape[1]))
        wanted = self._columns(places)
        sums[..., wanted] = dense_sums(np.ascontiguousarray(self.table[:, wanted]), codes, groups)
        return {place: self._spread(place, self.forms[place], sums) for place in places}

    def _columns(self, places: Sequence[int]) -> list[int]:
        """Return the columns that some forms need."""
        blocks = {(self.columns[place].start, self.columns[place].stop) for place in places}
        terms = {column for start, stop in blocks for column in range(start, stop)}
        products = {column for (first, _), column in self.pairs.items() if first in terms}
        return sorted(terms | products | {self.touches[place] for place in places})

    def _spread(self, place: int, form: Sums, sums: Array) -> Spread:
        where, size = self.columns[place], sums[..., self.touches[place]]
        slope = form.gradient(sums[..., where])
        squares = np.zeros(size.shape)
        for (first, second), column in self.pairs.items():
            if where.start <= first and second < where.stop:
                times = 1.0 if first == second else 2.0
                both = slope[..., first - where.start] * slope[..., second - where.start]
                squares = squares + times * both * sums[..., column]
        return Spread(form.value(sums[..., where]), np.maximum(squares, 0.0) * _small_sample(size), size)


class SparseRows(NamedTuple):
    """Rows of few columns each: unit u has `columns` and `values` from ``offsets[u]`` on."""

    offsets: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: Array

    @classmethod
    def of(cls, table: Array, kept: NDArray[np.intp]) -> SparseRows:
        """Take what is not 0 in some columns of ``[m, K]``."""
        filled = np.zeros(table.shape, bool)
        filled[:, kept] = table[:, kept] != 0.0
        offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int64)
        return cls(offsets, np.nonzero(filled)[1].astype(np.int32), table[filled])


class SparseForm(NamedTuple):
    """A form of many columns of which a unit has few: all of them, and those that its gradient depends on."""

    form: Sums
    width: int
    terms: SparseRows
    pulling: SparseRows

    def spread(self, codes: Codes, groups: int) -> Spread:
        """Compute the form (see :meth:`DenseForms.spreads`)."""
        sums = sparse_sums(*self.terms, self.width, codes, groups)
        slope = np.ascontiguousarray(self.form.gradient(sums))
        squares, size = sparse_squares(*self.pulling, slope, codes, groups)
        return Spread(self.form.value(sums), squares * _small_sample(size), size)


def _sparse_forms(
    places: Sequence[int], forms: Sequence[Sums | None], terms: TermTable
) -> dict[int, SparseForm]:
    found: dict[int, SparseForm] = {}
    for place in places:
        form = forms[place]
        assert form is not None  # noqa: S101 - a form of sums, as chosen
        mine = terms.table[:, terms.columns(place)]
        width = mine.shape[1]
        rows, pulling = SparseRows.of(mine, np.arange(width)), SparseRows.of(mine, form.used(width))
        found[place] = SparseForm(form, width, rows, pulling)
    return found


def _rank_spread(form: Ranks, curves: Sequence[Curve], units: int, codes: Codes, groups: int) -> Spread:
    if form.area != "roc":
        return _precision_spread(form, curves[0], units, codes, groups)
    if len(curves) == 1 and units == len(curves[0].unit):
        return _delong(curves[0], codes, groups)
    influence = np.zeros((len(codes), units))
    found = [
        area_influences(curve.positive, curve.unit, curve.ends, codes, groups, 1.0 / len(curves), influence)
        for curve in curves
    ]
    value, size = (np.mean([part[which] for part in found], axis=0) for which in (0, 1))
    return Spread(value, np.where(np.isnan(value), np.nan, squares_by_group(influence, codes, groups)), size)


def _delong(curve: Curve, codes: Codes, groups: int) -> Spread:
    """Return areas with DeLong's variance: every unit has one row."""
    won, upper, lower, above, below = permuted_areas(curve.positive, curve.unit, curve.ends, codes, groups)
    area = won / positive(2.0 * above * below)
    variance = np.zeros(area.shape)
    for squares, own, other in ((upper, above, below), (lower, below, above)):
        spread = squares / (4.0 * positive(other) ** 2) - own * area**2
        variance = variance + np.maximum(spread, 0.0) * _small_sample(own) / positive(own) ** 2
    return Spread(area, variance, above * below / positive(above + below))


def _precision_spread(form: Ranks, curve: Curve, units: int, codes: Codes, groups: int) -> Spread:
    influence = np.zeros((len(codes), units))
    value, above, below = precision_influences(
        curve.positive, curve.unit, curve.ends, codes, groups, influence
    )
    if form.area == "precision:adjusted":
        influence = _adjust(influence, curve, codes, value, above, below)
        value = adjusted_precision(value, above, below)
    owners = dense_sums(_classes_of_units(curve, units), codes, groups)
    positives, negatives, all_units = (owners[..., column] for column in range(3))
    size = positives * negatives / positive(positives + negatives)
    squares = squares_by_group(influence, codes, groups) * _small_sample(all_units)
    return Spread(value, np.where(np.isnan(value), np.nan, squares), size)


def _classes_of_units(curve: Curve, units: int) -> Array:
    """Return ``[units, 3]`` whether each unit has a positive row, a negative one, and any."""
    has = [
        np.bincount(curve.unit, marked, minlength=units) > 0 for marked in (curve.positive, ~curve.positive)
    ]
    return np.stack([*has, has[0] | has[1]], axis=1).astype(np.float64)


def _adjust(
    influence: Array, curve: Curve, codes: Codes, precision: Array, above: Array, below: Array
) -> Array:
    """Carry influences on AP over to 1 - ln AP / ln prevalence by the chain rule."""
    outside = np.full((len(codes), 1), np.nan)
    total = above + below
    log_prevalence = np.log(positive(above / positive(total)))
    inner = np.concatenate([-1.0 / (precision * log_prevalence), outside], axis=1)
    outer = np.concatenate([np.log(precision) / log_prevalence**2, outside], axis=1)
    per_positive = np.concatenate([1.0 / positive(above), outside], axis=1)
    per_row = np.concatenate([1.0 / positive(total), outside], axis=1)
    rows = np.bincount(curve.unit, minlength=codes.shape[1])
    marked = np.bincount(curve.unit, curve.positive, minlength=codes.shape[1])
    group = np.minimum(codes, precision.shape[1]).astype(np.intp)
    share = marked * _of_unit(per_positive, group) - rows * _of_unit(per_row, group)
    return np.asarray(_of_unit(inner, group) * influence + _of_unit(outer, group) * share)


def _of_unit(table: Array, group: NDArray[np.intp]) -> Array:
    """Return for each assignment and unit ``[b, m]`` the number of its group ``[b, G + 1]``."""
    return np.asarray(np.take_along_axis(table, group, axis=1))


def _small_sample(size: NDArray[Any]) -> Array:
    """``n / (n - 1)``, NaN below 2."""
    return np.asarray(np.where(size > 1, size / np.where(size > 1, size - 1.0, 1.0), np.nan))
