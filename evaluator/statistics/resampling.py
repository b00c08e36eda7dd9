"""Values of many metrics in all groups of an attribute, for a block of subject weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.metrics.metric import Array, Metric, RankedRows, Ranks, Ratios, unit_terms
from evaluator.statistics.partition import Partition


@dataclass(frozen=True)
class GroupValues:
    """Metrics of one attribute's groups, prepared for any number of weightings.

    Attributes
    ----------
    metrics
        What is computed.
    partition
        Units and groups.
    terms
        ``[m, K]`` terms of all ratio metrics side by side, per unit.
    columns
        For each metric its columns of `terms`; None for rank metrics.
    curves
        For each metric and group its sorted curves; None for ratio metrics.
    """

    metrics: tuple[Metric, ...]
    partition: Partition
    terms: Array
    columns: tuple[slice | None, ...]
    curves: tuple[tuple[tuple[RankedRows, ...], ...] | None, ...]

    @classmethod
    def prepare(cls, metrics: Sequence[Metric], data: Any, partition: Partition) -> GroupValues:
        """Sort and sum once what every weighting needs."""
        blocks: list[Array] = [np.zeros((partition.units, 0))]
        columns: list[slice | None] = []
        curves: list[tuple[tuple[RankedRows, ...], ...] | None] = []
        for metric in metrics:
            if isinstance(metric.form, Ranks):
                columns.append(None)
                curves.append(_curves(metric.form, data, partition))
            else:
                start = sum(block.shape[1] for block in blocks)
                blocks.append(unit_terms(metric.form, data, partition.row_unit, partition.units))
                columns.append(slice(start, start + blocks[-1].shape[1]))
                curves.append(None)
        return cls(tuple(metrics), partition, np.concatenate(blocks, axis=1), tuple(columns), tuple(curves))

    def __call__(self, weights: Array) -> Array:
        """Compute all values.

        Parameters
        ----------
        weights
            ``[P, b]`` whole weights of subjects.

        Returns
        -------
        ``[metrics, groups, b]`` float64
            NaN where undefined.
        """
        unit_weights = weights[self.partition.unit_subject]
        values = np.full((len(self.metrics), self.partition.groups, weights.shape[1]), np.nan)
        for group, units in enumerate(self.partition.slices()):
            sums = (self.terms[units].T @ unit_weights[units]).T
            for position, metric in enumerate(self.metrics):
                columns, curves = self.columns[position], self.curves[position]
                if columns is not None and isinstance(metric.form, Ratios):
                    values[position, group] = metric.form.value(sums[:, columns])
                elif curves is not None:
                    areas = [curve.areas(unit_weights, self.partition.row_unit) for curve in curves[group]]
                    values[position, group] = np.mean(areas, axis=0)
        return values


def _curves(form: Ranks, data: Any, partition: Partition) -> tuple[tuple[RankedRows, ...], ...]:
    row_group = partition.unit_group[partition.row_unit]
    problems = form.problems(data)
    return tuple(
        tuple(_curve(score, positive, np.flatnonzero(row_group == group)) for score, positive in problems)
        for group in range(partition.groups)
    )


def _curve(score: Array, positive: Any, rows: Any) -> RankedRows:
    curve = RankedRows.sort(score[rows], positive[rows])
    return RankedRows(
        rows[curve.ladder], rows[curve.climbers], curve.below, curve.upto, curve.climbers_positive
    )
