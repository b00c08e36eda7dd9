"""Rows of one ROC or precision-recall curve, sorted once for any number of weightings and permutations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """Rows in rising order of score.

    Attributes
    ----------
    row
        ``[n]`` where each stands in the data.
    positive
        ``[n]`` class.
    unit
        ``[n]`` unit (a subject inside a group).
    ends
        ``[ties]`` where each run of equal scores ends.
    share
        ``[n]`` factor of each row beside its unit's weight.
    """

    row: Ints
    positive: NDArray[np.bool_]
    unit: Ints
    ends: Ints
    share: Array

    @classmethod
    def sort(cls, score: Array, positive: NDArray[np.bool_], unit: Ints, share: Array | None = None) -> Curve:
        """Sort rows ``[n]``; equal scores keep the order of the rows. Without `share` every row counts fully."""
        order = np.argsort(score, kind="stable")
        factors = np.ones(len(score)) if share is None else share[order]
        return cls(order, positive[order], unit[order], _ends(score[order]), factors)

    def take(self, kept: NDArray[np.bool_]) -> Curve:
        """Keep the rows marked by ``[n]`` (in this curve's order)."""
        before = np.concatenate([[0], np.cumsum(kept)])
        edges = before[self.ends]
        ends = edges[np.diff(edges, prepend=0) > 0]
        return Curve(self.row[kept], self.positive[kept], self.unit[kept], ends, self.share[kept])


def _ends(ordered: Array) -> Ints:
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return np.append(changes, len(ordered))[: len(ordered)].astype(np.int64)
