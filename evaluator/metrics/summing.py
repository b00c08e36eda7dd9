"""Sums whose value depends on nothing but their terms: not on the order of rows, nor on threads or processors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Sums


def unit_terms(form: Sums, data: Any, unit: NDArray[np.int64], units: int) -> Array:
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
        counted = joined[:, form.counter(), None]
        joined = exactly_summable(joined / np.where(counted > 0, counted, 1.0), units)
    whole = form.extend(joined)
    return joined if whole is joined else exactly_summable(whole, units)


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
