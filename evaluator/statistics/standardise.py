"""Weights that give every group the same mix of strata, so that groups are compared at equal age, prevalence or site.

Direct standardisation: a row of a group weighs as much as its stratum is rarer in the group than in the whole. With strata of
age a gap is one at equal age; with the label as stratum it is one at equal prevalence.

Guarantee: a group that lacks a stratum has no standardised value (nobody in it could stand for that stratum), and says which.
Trade-off: weights are fixed when subjects are resampled, which leaves intervals a little too wide, not too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

Ints = NDArray[np.int64]


class Standard(NamedTuple):
    """Weights of rows, and what they cost.

    Attributes
    ----------
    weights
        ``[n]`` with mean 1 in each group; 0 for rows of unknown group or stratum, NaN where the group lacks a stratum.
    effective
        ``[groups]`` how many unweighted rows would be as uncertain (Kish); NaN likewise.
    missing
        For each group the strata it lacks.
    """

    weights: Array
    effective: Array
    missing: tuple[tuple[int, ...], ...]

    def reason(self, group: int, names: Sequence[str]) -> str | None:
        """Return why a group has no weights, naming strata by `names`; None where it has."""
        lacking = [names[stratum] for stratum in self.missing[group]]
        return f"missing_strata: {', '.join(lacking)}" if lacking else None


def standard_weights(group: Ints, stratum: Ints, *, groups: int) -> Standard:
    """Compute the weights of direct standardisation to the mix of all groups together.

    Parameters
    ----------
    group
        ``[n]`` codes from 0, -1 where unknown.
    stratum
        ``[n]`` codes from 0, -1 where unknown.
    groups
        How many groups there are, also such without a row.

    Returns
    -------
    Standard
        ``(N_s / N) / (n_gs / n_g)`` for a row of group g and stratum s, counted over rows of known group and stratum.

    Raises
    ------
    ValueError
        If the shapes do not agree or a group's code is not below `groups`.

    Notes
    -----
    The weighted share of stratum s is N_s / N in every group. Effective rows: ``(sum w)^2 / sum w^2`` (Kish 1965).

    Examples
    --------
    >>> found = standard_weights(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1]), groups=2)
    >>> found.weights.tolist()
    [0.75, 0.75, 1.5, 1.5, 0.75, 0.75]
    """
    if group.shape != stratum.shape or group.ndim != 1:
        raise ValueError(
            f"group and stratum must be [samples] of the same length, got {group.shape} and {stratum.shape}"
        )
    if group.max(initial=-1) >= groups:
        raise ValueError(f"group must be codes below {groups}, got {group.max()}")
    known = (group >= 0) & (stratum >= 0)
    strata = int(stratum[known].max(initial=-1)) + 1
    cells = group[known] * strata + stratum[known]
    counts = np.bincount(cells, minlength=groups * strata).reshape(groups, strata).astype(np.float64)
    whole = counts.sum(axis=0)
    lacking = (counts == 0.0) & (whole > 0.0)
    missing = tuple(tuple(int(s) for s in np.flatnonzero(row)) for row in lacking)
    table = np.zeros((groups, strata))
    np.divide(
        np.outer(counts.sum(axis=1), whole / max(whole.sum(), 1.0)), counts, out=table, where=counts > 0.0
    )
    table[lacking.any(axis=1)] = np.nan
    weights = np.zeros(len(group))
    weights[known] = table.ravel()[cells]
    squares = np.sum(counts * table**2, axis=1)
    size = np.sum(counts * table, axis=1) ** 2
    effective = np.divide(size, squares, out=np.full(groups, np.nan), where=squares > 0.0)
    return Standard(weights, effective, missing)
