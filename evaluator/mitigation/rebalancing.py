"""Rebalancing: what is seen how often, or counts how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluator.mitigation.method import UNKNOWN, Method
from evaluator.mitigation.options import Resampling, Reweighting
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows


class ResamplingMethod(Method):
    """Every cell is drawn with the same probability: a row's is inverse to the size of its cell.

    Samples of unknown group are drawn as often as they would be without resampling.
    """

    def __init__(self, options: Resampling) -> None:
        self._by = options.by

    def sampling(self, rows: TrainingRows) -> NDArray[np.float64]:
        """Return the probabilities ``[n]``.

        Raises
        ------
        UserError
            If a cell has no training sample: names it.
        """
        if self._by == "class":
            cell, names = rows.classes, list(rows.class_names)
        elif self._by == "group":
            cell, names = rows.groups, list(rows.group_names)
        else:
            width = len(rows.class_names)
            cell = np.where(rows.groups == UNKNOWN, UNKNOWN, rows.groups * width + rows.classes)
            names = [f"{group} and {name}" for group in rows.group_names for name in rows.class_names]
        known = cell != UNKNOWN
        counts = np.bincount(cell[known], minlength=len(names))
        _refuse_empty(counts, names, "resampling")
        chance = np.full(len(cell), 1.0 / len(cell))
        chance[known] = known.mean() / (len(names) * counts[cell[known]])
        return np.asarray(chance / chance.sum())


class ReweightingMethod(Method):
    """Weights ``P(a) P(y) / P(a, y)`` over the samples of known group; 1 for the others."""

    def __init__(self, options: Reweighting) -> None:
        del options

    def weights(self, rows: TrainingRows) -> NDArray[np.float64]:
        """Return the weights ``[n]``.

        Raises
        ------
        UserError
            If no training sample is in some class of some group: names the cell.
        """
        known = rows.groups != UNKNOWN
        width = len(rows.class_names)
        table = np.bincount(
            rows.groups[known] * width + rows.classes[known], minlength=len(rows.group_names) * width
        ).reshape(-1, width)
        cells = [f"{group} and {name}" for group in rows.group_names for name in rows.class_names]
        _refuse_empty(table.ravel(), cells, "reweighting")
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        weights = np.ones(len(rows.classes))
        weights[known] = (expected / table)[rows.groups[known], rows.classes[known]]
        return weights


def _refuse_empty(counts: NDArray[np.int64], names: list[str], method: str) -> None:
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise UserError(
            f"{method} cannot balance what is not there: no training sample is {', '.join(empty)}. Put groups together "
            "(bins, values) or leave the method out."
        )
