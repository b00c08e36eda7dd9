"""Generalised entropy of benefits: how unevenly a classifier's favours fall on people, and on groups of people.

The benefit of a sample is ``decision - truth + 1``: 2 for a false positive, 1 for a right decision, 0 for a missed
positive. The index is 0 when all benefits are equal; its part between groups is that of samples that all have their
group's mean benefit, so it is never above the whole.

References
----------
Speicher et al. 2018, equations 2 and 4; AIF360 computes the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array


def benefits(positive: NDArray[np.bool_], decided: NDArray[np.bool_]) -> Array:
    """Return ``decision - truth + 1`` of each sample ``[n]``, in {0, 1, 2}."""
    return decided.astype(np.float64) - positive.astype(np.float64) + 1.0


def generalised_entropy(benefit: Array, *, alpha: float = 2.0) -> float:
    """Compute the generalised entropy index of benefits ``[n]``.

    Parameters
    ----------
    benefit
        0 or more.
    alpha
        Weight of high benefits; neither 0 nor 1 (there the limits are other formulas).

    Returns
    -------
    float
        ``mean((b / mean b)^alpha - 1) / (alpha (alpha - 1))``; NaN where no sample has a benefit.

    Raises
    ------
    ValueError
        If alpha is 0 or 1.

    Examples
    --------
    >>> generalised_entropy(np.array([0.0, 1.0, 1.0, 2.0]))
    0.25
    """
    if alpha in (0.0, 1.0):
        raise ValueError(f"alpha must be neither 0 nor 1, got {alpha:g}.")
    mean = benefit.mean() if len(benefit) else 0.0
    if not mean > 0.0:
        return float("nan")
    return float(((benefit / mean) ** alpha - 1.0).mean() / (alpha * (alpha - 1.0)))


def entropy_between_groups(benefit: Array, group: NDArray[Any], *, alpha: float = 2.0) -> float:
    """Compute the index of samples that each have their group's mean benefit.

    Parameters
    ----------
    benefit
        ``[n]``, 0 or more.
    group
        ``[n]`` group of each sample.
    alpha
        As in :func:`generalised_entropy`.

    Returns
    -------
    float
        The kind ``ge:between`` with alpha 2.
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    mean = np.bincount(code, benefit) / size
    return generalised_entropy(mean[code], alpha=alpha)
