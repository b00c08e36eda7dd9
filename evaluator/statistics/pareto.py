"""Choosing among models by utility and by groups: the Pareto front, how sure it is, and three rules of selection.

A single front of point values is decided by noise, so each model has a probability of being on it: the share of bootstrap
replicates in which no other model is at least as good in both respects. Ties are kept on the front and broken by position in
the rules, so the same table always gives the same choice.

References
----------
Martinez et al. 2020 (minimax Pareto); Zong et al. 2023 (MEDFAIR: overall, minimax and distance to the optimum).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array


def non_dominated(utility: Array, gap: Array) -> NDArray[np.bool_]:
    """Mark the models that no other model beats in one respect without losing in the other.

    Parameters
    ----------
    utility
        ``[k]`` or ``[k, B]``, higher is better, no NaN.
    gap
        The same shape, lower is better, no NaN.

    Returns
    -------
    bool, the same shape
        Every column is judged by itself. Models with equal values stay or go together.

    Examples
    --------
    >>> non_dominated(np.array([0.9, 0.8, 0.7, 0.9]), np.array([0.2, 0.1, 0.1, 0.2])).tolist()
    [True, True, False, True]
    """
    if utility.shape != gap.shape:
        raise ValueError(f"utility and gap must have one shape, got {utility.shape} and {gap.shape}")
    dominated = np.zeros(utility.shape, bool)
    for own_utility, own_gap in zip(utility, gap, strict=True):
        as_good = (own_utility >= utility) & (own_gap <= gap)
        dominated |= as_good & ((own_utility > utility) | (own_gap < gap))
    return ~dominated


def front_probability(utility: Array, gap: Array) -> Array | str:
    """Return how probable it is that each model is on the Pareto front.

    Parameters
    ----------
    utility, gap
        ``[k, B]`` bootstrap replicates, paired over models.

    Returns
    -------
    ``[k]`` float64 in [0, 1], or str
        Share of replicates; a reason where more than 5 % of them are undefined for some model, or there are none.
    """
    if not utility.shape[-1]:
        return "no_replicates"
    defined = ~(np.isnan(utility) | np.isnan(gap)).any(axis=0)
    if defined.mean() < 0.95:
        return f"undefined_replicates: {int((~defined).sum())} of {utility.shape[-1]}"
    return np.asarray(non_dominated(utility[:, defined], gap[:, defined]).mean(axis=1), np.float64)


def distance_to_optimum(groups: Array) -> Array:
    """Return how far each model is from a model that would serve every group as well as the best one does.

    Parameters
    ----------
    groups
        ``[k, G]`` value of each model in each group, at least 0, higher is better, no NaN.

    Returns
    -------
    ``[k]`` float64

    Notes
    -----
    ``sqrt(sum_g (m_g / best_g - 1)^2)``, best over models (MEDFAIR). A group in which every model has 0 adds nothing.

    Examples
    --------
    >>> distance_to_optimum(np.array([[0.9, 0.6], [0.8, 0.8]])).round(4).tolist()
    [0.25, 0.1111]
    """
    best = groups.max(axis=0)
    missing = 1.0 - groups / np.where(best > 0, best, 1.0)
    return np.asarray(np.sqrt((np.where(best > 0, missing, 0.0) ** 2).sum(axis=1)), np.float64)


def choose_overall(overall: Array) -> int:
    """Return the model with the best value over all samples (``[k]``); of equals the first."""
    return int(np.argmax(overall))


def choose_minimax(groups: Array, overall: Array) -> int:
    """Return the model whose worst group is best.

    Parameters
    ----------
    groups
        ``[k, G]`` value of each model in each group, higher is better, no NaN.
    overall
        ``[k]`` value over all samples: decides among equals, then the first.
    """
    return _first_of_best(groups.min(axis=1), overall)


def choose_nearest(groups: Array, overall: Array) -> int:
    """Return the model nearest to the optimum (:func:`distance_to_optimum`); ties as in :func:`choose_minimax`."""
    return _first_of_best(-distance_to_optimum(groups), overall)


def _first_of_best(score: Array, overall: Array) -> int:
    tied = np.flatnonzero(score == score.max())
    return int(tied[np.argmax(overall[tied])])
