"""Terms of all forms of sums side by side, one row per unit; forms of equal terms share their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.metrics.metric import Array, Sums
from evaluator.metrics.summing import exactly_summable, sums_by, unit_terms
from evaluator.statistics.partition import Partition


@dataclass(frozen=True)
class TermTable:
    """Unit terms of several forms.

    Attributes
    ----------
    table
        ``[m, K]`` all columns.
    where
        For each form given its columns; None where there was no form.
    """

    table: Array
    where: tuple[slice | None, ...]

    @classmethod
    def build(
        cls, forms: Sequence[Sums | None], data: Any, partition: Partition, share: Array | None = None
    ) -> TermTable:
        """Sum the rows of each unit; `share` ``[n]`` is a factor of each row."""
        blocks: list[Array] = [np.zeros((partition.units, 0))]
        known: dict[Any, slice] = {}
        where: list[slice | None] = []
        for form in forms:
            if form is None:
                where.append(None)
                continue
            key = (form.terms, form.within, type(form).extend)
            if key not in known:
                start = sum(block.shape[1] for block in blocks)
                blocks.append(_joined(form, data, partition, share))
                known[key] = slice(start, start + blocks[-1].shape[1])
            where.append(known[key])
        return cls(np.concatenate(blocks, axis=1), tuple(where))

    def columns(self, form: int) -> slice:
        """Return the columns of a form."""
        found = self.where[form]
        if found is None:
            raise ValueError(f"metric {form} is no form of sums")
        return found

    def sums(self, units: slice, weights: Array) -> Array:
        """Sum the units of one group for each column of unit weights ``[m, b]``; ``[b, K]``."""
        return np.asarray((self.table[units].T @ weights[units]).T)


def _joined(form: Sums, data: Any, partition: Partition, share: Array | None) -> Array:
    if share is None:
        return unit_terms(form, data, partition.row_unit, partition.units)
    # A re-weighted subject is the weighted sum (or mean) of its rows.
    rows = exactly_summable(form.terms(data) * share[:, None], len(share))
    joined = np.stack([sums_by(partition.row_unit, column, partition.units) for column in rows.T], axis=1)
    if form.within == "sum":
        return form.extend(joined)
    # Every subject counts once, by the mean of its rows that have a value, times its own factor.
    counted = sums_by(partition.row_unit, form.terms(data)[:, form.counter()], partition.units)
    return exactly_summable(joined / np.where(counted > 0, counted, 1.0)[:, None], partition.units)
