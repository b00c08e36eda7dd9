"""Compiled loops over units: sums by group for many groupings, and the shuffles that make these.

As in :mod:`evaluator.statistics.kernels_ranks`: one fixed order, no lock, cached. Group codes are ``[b, units]``; a code of
`groups` or more stays out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
def squares_by_group(
    values: Array, codes: NDArray[np.int16], groups: int
) -> Any:  # pragma: no cover - compiled
    """Sum squared values ``[b, units]`` by group; ``[b, groups]``."""
    squares = np.zeros((len(codes), groups))
    for b in range(len(codes)):
        for unit in range(codes.shape[1]):
            group = codes[b, unit]
            if group < groups:
                squares[b, group] += values[b, unit] * values[b, unit]
    return squares


@njit(cache=True, nogil=True)
def dense_sums(table: Array, codes: NDArray[np.int16], groups: int) -> Any:  # pragma: no cover - compiled
    """Sum the rows of ``[units, K]`` by group; ``[b, groups, K]``. Units go in blocks, so that the table stays in cache."""
    units, width = table.shape
    sums = np.zeros((len(codes), groups, width))
    for start in range(0, units, 128):
        stop = min(start + 128, units)
        for b in range(len(codes)):
            for unit in range(start, stop):
                group = codes[b, unit]
                if group < groups:
                    for column in range(width):
                        sums[b, group, column] += table[unit, column]
    return sums


@njit(cache=True, nogil=True)
def sparse_sums(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: Array,
    width: int,
    codes: NDArray[np.int16],
    groups: int,
) -> Any:  # pragma: no cover - compiled
    """Sum sparse rows (unit u holds `columns` and `values` from ``offsets[u]`` on) by group; ``[b, groups, K]``."""
    sums = np.zeros((len(codes), groups, width))
    for b in range(len(codes)):
        for unit in range(codes.shape[1]):
            group = codes[b, unit]
            if group < groups:
                for place in range(offsets[unit], offsets[unit + 1]):
                    sums[b, group, columns[place]] += values[place]
    return sums


@njit(cache=True, nogil=True)
def sparse_squares(
    offsets: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: Array,
    slope: Array,
    codes: NDArray[np.int16],
    groups: int,
) -> Any:  # pragma: no cover - compiled
    """Sum by group the squares of slope ``[b, groups, K]`` . terms over units with a term; also count those units."""
    squares, size = np.zeros((len(codes), groups)), np.zeros((len(codes), groups))
    for b in range(len(codes)):
        for unit in range(codes.shape[1]):
            group = codes[b, unit]
            if group < groups and offsets[unit + 1] > offsets[unit]:
                pull = 0.0
                for place in range(offsets[unit], offsets[unit + 1]):
                    pull += slope[b, group, columns[place]] * values[place]
                squares[b, group] += pull * pull
                size[b, group] += 1.0
    return squares, size


@njit(cache=True, nogil=True)
def shuffled(
    codes: NDArray[np.int16], places: NDArray[np.int64], draws: NDArray[np.uint32]
) -> None:  # pragma: no cover
    """Shuffle the codes at `places` of each row of ``[b, units]`` in place, from random bits ``[b, places]``.

    Notes
    -----
    Fisher and Yates; ``draw * k >> 32`` is uniform on 0..k-1 up to k / 2**32.
    """
    for b in range(len(codes)):
        for last in range(len(places) - 1, 0, -1):
            other = (np.uint64(draws[b, last]) * np.uint64(last + 1)) >> np.uint64(32)
            here, there = places[last], places[np.int64(other)]
            codes[b, here], codes[b, there] = codes[b, there], codes[b, here]
