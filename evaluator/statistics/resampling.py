"""Values of many metrics in all groups of an attribute, for a block of subject weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Line, Metric, Pointwise, Ranks, Ratios, Sums, positive
from evaluator.statistics.curves import Curve
from evaluator.statistics.kernels_ranks import weighted_areas, weighted_precisions
from evaluator.statistics.lines import LinePoints
from evaluator.statistics.partition import Partition
from evaluator.statistics.terms import TermTable


@dataclass(frozen=True)
class Resampler:
    """Computes metrics of one attribute's groups for any number of weightings.

    Attributes
    ----------
    metrics
        What is computed.
    partition
        Units and groups.
    table
        Terms of all forms of sums.
    ranked
        For each metric and group its sorted curves; empty for other forms.
    lines
        For each metric and group the points of its line; empty for other forms.
    points
        ``[metrics, groups]`` values of pointwise metrics, NaN for all others.
    """

    metrics: tuple[Metric, ...]
    partition: Partition
    table: TermTable
    ranked: tuple[tuple[tuple[Curve, ...], ...], ...]
    lines: tuple[tuple[LinePoints, ...], ...]
    points: Array

    @classmethod
    def prepare(
        cls, metrics: Sequence[Metric], data: Any, partition: Partition, share: Array | None = None
    ) -> Resampler:
        """Sort and sum once what every weighting needs.

        Parameters
        ----------
        metrics, data, partition
            What is computed, of what, and the units.
        share
            ``[n]`` factor of each row, to re-weight groups to a common case mix; None counts every row fully.
        """
        row_group = partition.unit_group[partition.row_unit]
        forms = [metric.form if isinstance(metric.form, Sums) else None for metric in metrics]
        return cls(
            tuple(metrics),
            partition,
            TermTable.build(forms, data, partition, share),
            tuple(_curves(metric.form, data, partition, row_group, share) for metric in metrics),
            tuple(_lines(metric.form, data, partition, row_group) for metric in metrics),
            np.stack([_points(metric.form, data, row_group, partition.groups) for metric in metrics])
            if metrics
            else np.zeros((0, partition.groups)),
        )

    def __call__(self, weights: Array) -> Array:
        """Compute all values.

        Parameters
        ----------
        weights
            ``[P, b]`` whole weights of subjects.

        Returns
        -------
        ``[metrics, groups, b]`` float64
            NaN where undefined. A pointwise metric has its value only where all subjects weigh 1.
        """
        unit_weights = np.ascontiguousarray(weights[self.partition.unit_subject])
        values = np.full((len(self.metrics), self.partition.groups, weights.shape[1]), np.nan)
        plain = (weights == 1.0).all(axis=0)
        for group, units in enumerate(self.partition.slices()):
            sums = self.table.sums(units, unit_weights)
            for position, metric in enumerate(self.metrics):
                if isinstance(metric.form, Sums):
                    values[position, group] = metric.form.value(sums[:, self.table.columns(position)])
                elif isinstance(metric.form, Ranks):
                    values[position, group] = _areas(metric.form, self.ranked[position][group], unit_weights)
                elif isinstance(metric.form, Line):
                    values[position, group] = self.lines[position][group].fit(unit_weights)
                else:
                    values[position, group, plain] = self.points[position, group]
        return values

    def trials(self) -> Array:
        """Return ``[metrics, groups]`` how many rows the proportions are shares of; NaN for all other metrics."""
        found = np.full((len(self.metrics), self.partition.groups), np.nan)
        for group, units in enumerate(self.partition.slices()):
            sums = self.table.table[units].sum(axis=0)
            for position, metric in enumerate(self.metrics):
                if isinstance(metric.form, Ratios) and metric.form.proportion:
                    found[position, group] = metric.form.trials(sums[self.table.columns(position)])
        return found


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
    partition = Partition.cut(subject, np.zeros(len(subject), np.int64), 1)
    return np.asarray(Resampler.prepare((metric,), data, partition)(weights)[0, 0])


def _areas(form: Ranks, curves: Sequence[Curve], weights: Array) -> Array:
    if form.area == "roc":
        areas = []
        for curve in curves:
            won, above, below = weighted_areas(curve.positive, curve.unit, curve.ends, curve.share, weights)
            areas.append(won / positive(above * below))
        return np.asarray(np.mean(areas, axis=0))
    (curve,) = curves
    summed, above, below = weighted_precisions(curve.positive, curve.unit, curve.ends, curve.share, weights)
    precision = summed / positive(above)
    return precision if form.area == "precision" else adjusted_precision(precision, above, below)


def adjusted_precision(precision: Array, positives: Array, negatives: Array) -> Array:
    """Return 1 - ln AP / ln prevalence; NaN without both classes."""
    prevalence = np.where(
        (positives > 0) & (negatives > 0), positives / positive(positives + negatives), np.nan
    )
    return np.asarray(1.0 - np.log(precision) / np.log(prevalence))


def _curves(
    form: Any, data: Any, partition: Partition, row_group: NDArray[np.int64], share: Array | None
) -> tuple[tuple[Curve, ...], ...]:
    if not isinstance(form, Ranks):
        return ()
    whole = [Curve.sort(score, marked, partition.row_unit, share) for score, marked in form.curves(data)]
    groups = range(partition.groups)
    return tuple(tuple(curve.take(row_group[curve.row] == group) for curve in whole) for group in groups)


def _lines(
    form: Any, data: Any, partition: Partition, row_group: NDArray[np.int64]
) -> tuple[LinePoints, ...]:
    if not isinstance(form, Line):
        return ()
    logit, marked = form.points(data)
    return tuple(
        LinePoints.of(logit[rows], marked[rows], partition.row_unit[rows], form.parameter)
        for rows in (np.flatnonzero(row_group == group) for group in range(partition.groups))
    )


def _points(form: Any, data: Any, row_group: NDArray[np.int64], groups: int) -> Array:
    if not isinstance(form, Pointwise):
        return np.full(groups, np.nan)
    inside = [np.flatnonzero(row_group == group) for group in range(groups)]
    return np.array([form.compute(data.take(rows)) if len(rows) else np.nan for rows in inside])
