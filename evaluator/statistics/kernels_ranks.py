"""Compiled loops over rows in rising order of score: areas under curves for many weightings and many groupings.

Every kernel is a plain loop with counters per replicate or per group, so a value takes one pass and no memory. Whole
weights make all counts exact; what is not exact is added in one fixed order, so results do not depend on threads. Kernels
release the interpreter's lock and are compiled once per machine (cached on disk).

Rows of a curve are given as `positive` and `unit` ``[n]``, and `ends` ``[ties]``: where each run of equal scores ends. Group
codes are ``[b, units]``; a code of `groups` or more stays out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
def weighted_areas(
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    ends: NDArray[np.int64],
    share: Array,
    weights: Array,
) -> Any:  # pragma: no cover - compiled
    """Count pairs won by positives for each column of unit weights.

    Parameters
    ----------
    positive, unit, ends
        The curve.
    share
        ``[n]`` factor of each row beside its unit's weight (1 where rows are not re-weighted).
    weights
        ``[units, B]``.

    Returns
    -------
    (won, positives, negatives)
        ``[B]`` each; `won` counts ties half.
    """
    width = weights.shape[1]
    won, above, below = np.zeros(width), np.zeros(width), np.zeros(width)
    tied_positive, tied_negative = np.zeros(width), np.zeros(width)
    start = 0
    for end in ends:
        if end - start == 1:
            row, factor = unit[start], share[start]
            if positive[start]:
                for b in range(width):
                    weight = weights[row, b] * factor
                    won[b] += weight * below[b]
                    above[b] += weight
            else:
                for b in range(width):
                    below[b] += weights[row, b] * factor
        else:
            tied_positive[:] = 0.0
            tied_negative[:] = 0.0
            for place in range(start, end):
                row, factor = unit[place], share[place]
                if positive[place]:
                    for b in range(width):
                        tied_positive[b] += weights[row, b] * factor
                else:
                    for b in range(width):
                        tied_negative[b] += weights[row, b] * factor
            for b in range(width):
                won[b] += tied_positive[b] * (below[b] + 0.5 * tied_negative[b])
                above[b] += tied_positive[b]
                below[b] += tied_negative[b]
        start = end
    return won, above, below


@njit(cache=True, nogil=True)
def weighted_precisions(
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    ends: NDArray[np.int64],
    share: Array,
    weights: Array,
) -> Any:  # pragma: no cover - compiled
    """Sum precision over positives, from the highest score down, for each column of unit weights.

    Returns
    -------
    (summed, positives, negatives)
        ``[B]`` each; average precision is summed / positives (step-wise interpolation).
    """
    width = weights.shape[1]
    summed, true, false, fresh = np.zeros(width), np.zeros(width), np.zeros(width), np.zeros(width)
    for run in range(len(ends) - 1, -1, -1):
        start, end = (ends[run - 1] if run else 0), ends[run]
        any_positive = False
        fresh[:] = 0.0
        for place in range(start, end):
            row, factor = unit[place], share[place]
            if positive[place]:
                any_positive = True
                for b in range(width):
                    fresh[b] += weights[row, b] * factor
            else:
                for b in range(width):
                    false[b] += weights[row, b] * factor
        if any_positive:
            for b in range(width):
                true[b] += fresh[b]
                found = true[b] + false[b]
                if found > 0.0:
                    summed[b] += fresh[b] * true[b] / found
    return summed, true, false


@njit(cache=True, nogil=True)
def permuted_areas(
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    ends: NDArray[np.int64],
    codes: NDArray[np.int16],
    groups: int,
) -> Any:  # pragma: no cover - compiled
    """Compute areas and sums of squared placements where every unit has one row.

    Returns
    -------
    (won, squares_positive, squares_negative, positives, negatives)
        ``[b, groups]`` each: twice the pairs won, and the sums over rows of each class of the squared
        (doubled) number of rows of the other class that a row is on the right side of.
    """
    shape = (len(codes), groups)
    won, upper, lower = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    positives, negatives = np.zeros(shape), np.zeros(shape)
    tied_positive, tied_negative = np.zeros(groups), np.zeros(groups)
    for b in range(len(codes)):
        above, below = np.zeros(groups), np.zeros(groups)
        squares, linear = np.zeros(groups), np.zeros(groups)
        start = 0
        for end in ends:
            if end - start == 1:
                group = codes[b, unit[start]]
                if group < groups:
                    if positive[start]:
                        beaten = 2.0 * below[group]
                        won[b, group] += beaten
                        upper[b, group] += beaten * beaten
                        above[group] += 1.0
                    else:
                        lost = 2.0 * above[group]
                        linear[group] += lost
                        squares[group] += lost * lost
                        below[group] += 1.0
            else:
                tied_positive[:] = 0.0
                tied_negative[:] = 0.0
                for place in range(start, end):
                    group = codes[b, unit[place]]
                    if group < groups:
                        if positive[place]:
                            tied_positive[group] += 1.0
                        else:
                            tied_negative[group] += 1.0
                for group in range(groups):
                    beaten = 2.0 * below[group] + tied_negative[group]
                    lost = 2.0 * above[group] + tied_positive[group]
                    won[b, group] += tied_positive[group] * beaten
                    upper[b, group] += tied_positive[group] * beaten * beaten
                    linear[group] += tied_negative[group] * lost
                    squares[group] += tied_negative[group] * lost * lost
                    above[group] += tied_positive[group]
                    below[group] += tied_negative[group]
            start = end
        for group in range(groups):
            twice = 2.0 * above[group]
            lower[b, group] = twice * twice * below[group] - 2.0 * twice * linear[group] + squares[group]
            positives[b, group] = above[group]
            negatives[b, group] = below[group]
    return won, upper, lower, positives, negatives


@njit(cache=True, nogil=True)
def _place(
    positive: NDArray[np.bool_],
    ends: NDArray[np.int64],
    group_of: NDArray[np.int16],
    placed: Array,
    groups: int,
) -> Any:  # pragma: no cover - compiled
    """Fill `placed` ``[n]``: twice the rows of the other class and the same group that score lower, ties once.

    Returns
    -------
    (seen, won)
        ``[2, groups + 1]`` rows of each class, and ``[groups + 1]`` twice the pairs won by positives.
    """
    # Rows of no group count in a group of their own that nobody looks at: no branch in the inner loop.
    seen, won, tied = np.zeros((2, groups + 1)), np.zeros(groups + 1), np.zeros((2, groups + 1))
    start = 0
    for end in ends:
        if end - start == 1:
            group, own = group_of[start], int(positive[start])
            placed[start] = 2.0 * seen[1 - own, group]
            won[group] += own * placed[start]
            seen[own, group] += 1.0
        else:
            tied[:] = 0.0
            for place in range(start, end):
                tied[int(positive[place]), group_of[place]] += 1.0
            for place in range(start, end):
                group, own = group_of[place], int(positive[place])
                placed[place] = 2.0 * seen[1 - own, group] + tied[1 - own, group]
                won[group] += own * placed[place]
            seen += tied
        start = end
    return seen, won


@njit(cache=True, nogil=True)
def _weigh(seen: Array, won: Array, owners: Array, groups: int) -> Any:  # pragma: no cover - compiled
    """Return areas and sizes ``[groups]``, and what turns a placement into an influence, by class and group.

    Notes
    -----
    A row's influence is ``scale * placed + shift``: its centred placement value (Obuchowski 1997) over the rows of its class,
    times sqrt(n / (n - 1)) of the n units that have that class.
    """
    area, size = np.full(groups, np.nan), np.full(groups, np.nan)
    scale, shift = np.zeros((2, groups + 1)), np.zeros((2, groups + 1))
    for group in range(groups):
        negatives, positives = seen[0, group], seen[1, group]
        if negatives > 0.0 and positives > 0.0:
            area[group] = won[group] / (2.0 * negatives * positives)
            size[group] = owners[0, group] * owners[1, group] / (owners[0, group] + owners[1, group])
            for own in range(2):
                count = owners[own, group]
                weight = (np.sqrt(count / (count - 1.0)) if count > 1.0 else np.nan) / seen[own, group]
                scale[own, group] = (1.0 if own else -1.0) * weight / (2.0 * seen[1 - own, group])
                shift[own, group] = weight * ((0.0 if own else 1.0) - area[group])
    return area, size, scale, shift


@njit(cache=True, nogil=True)
def _owners(
    has: NDArray[np.bool_], codes: NDArray[np.int16], groups: int
) -> Array:  # pragma: no cover - compiled
    """Count the units that have each class ``[2, units]``, by group; ``[2, groups + 1]``."""
    owners = np.zeros((2, groups + 1))
    for unit in range(len(codes)):
        group = min(codes[unit], groups)
        owners[0, group] += has[0, unit]
        owners[1, group] += has[1, unit]
    return owners


@njit(cache=True, nogil=True)
def _classes(
    positive: NDArray[np.bool_], unit: NDArray[np.int64], units: int
) -> NDArray[np.bool_]:  # pragma: no cover - compiled
    """Return ``[2, units]`` whether each unit has a negative and a positive row."""
    has = np.zeros((2, units), np.bool_)
    for place in range(len(positive)):
        has[int(positive[place]), unit[place]] = True
    return has


@njit(cache=True, nogil=True)
def area_influences(
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    ends: NDArray[np.int64],
    codes: NDArray[np.int16],
    groups: int,
    factor: float,
    influence: Array,
) -> Any:  # pragma: no cover - compiled
    """Compute areas, and add `factor` times each unit's influence on its group's area to `influence` ``[b, units]``.

    Returns
    -------
    (area, size)
        ``[b, groups]``: areas (NaN where a class is missing), and how many units' worth of information they rest on.
    """
    rows = len(positive)
    has = _classes(positive, unit, codes.shape[1])
    area, size = np.full((len(codes), groups), np.nan), np.full((len(codes), groups), np.nan)
    placed, group_of = np.zeros(rows), np.zeros(rows, np.int16)
    for b in range(len(codes)):
        for place in range(rows):
            group_of[place] = min(codes[b, unit[place]], groups)
        seen, won = _place(positive, ends, group_of, placed, groups)
        area[b], size[b], scale, shift = _weigh(seen, won, _owners(has, codes[b], groups), groups)
        for place in range(rows):
            group, own = group_of[place], int(positive[place])
            influence[b, unit[place]] += factor * (scale[own, group] * placed[place] + shift[own, group])
    return area, size


@njit(cache=True, nogil=True)
def precision_influences(
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    ends: NDArray[np.int64],
    codes: NDArray[np.int16],
    groups: int,
    influence: Array,
) -> Any:  # pragma: no cover - compiled
    """Compute average precisions, and add each unit's influence on its group's to `influence` ``[b, units]``.

    Returns
    -------
    (precision, positives, negatives)
        ``[b, groups]``; the first is NaN where there is no positive.

    Notes
    -----
    AP is the mean over positives i of TP_i / (TP_i + FP_i). A positive k adds (its own precision - AP) / P and, for each
    positive i that scores no higher, FP_i / (TP_i + FP_i)^2 / P; a negative takes TP_i / (TP_i + FP_i)^2 / P away.
    """
    rows = len(positive)
    shape = (len(codes), groups)
    precision = np.full(shape, np.nan)
    positives, negatives = np.zeros(shape), np.zeros(shape)
    own, gain, loss = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    group_of = np.zeros(rows, np.int16)
    for b in range(len(codes)):
        true, false, summed = np.zeros(groups + 1), np.zeros(groups + 1), np.zeros(groups + 1)
        for place in range(rows):
            group_of[place] = min(codes[b, unit[place]], groups)
        for run in range(len(ends) - 1, -1, -1):
            start, end = (ends[run - 1] if run else 0), ends[run]
            for place in range(start, end):
                group = group_of[place]
                true[group] += positive[place]
                false[group] += not positive[place]
            for place in range(start, end):
                if positive[place]:
                    group = group_of[place]
                    found = true[group] + false[group]
                    own[place] = true[group] / found
                    gain[place] = false[group] / (found * found)
                    loss[place] = true[group] / (found * found)
                    summed[group] += own[place]
        gained, lost, each = np.zeros(groups + 1), np.zeros(groups + 1), np.zeros(groups + 1)
        mean = np.zeros(groups + 1)
        for group in range(groups):
            positives[b, group] = true[group]
            negatives[b, group] = false[group]
            if true[group] > 0.0:
                precision[b, group] = mean[group] = summed[group] / true[group]
                each[group] = 1.0 / true[group]
        start = 0
        for end in ends:
            for place in range(start, end):
                if positive[place]:
                    gained[group_of[place]] += gain[place]
                    lost[group_of[place]] += loss[place]
            for place in range(start, end):
                group = group_of[place]
                pull = own[place] - mean[group] + gained[group] if positive[place] else -lost[group]
                influence[b, unit[place]] += pull * each[group]
            start = end
    return precision, positives, negatives
