"""Estimates of small groups drawn towards the common mean, as far as their uncertainty asks for it (empirical Bayes).

Scope: estimates of groups, rankings and selection. Never the gap: that of shrunk values understates the true one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evaluator.metrics.metric import Array


class Shrunk(NamedTuple):
    """Estimates of G groups that borrow strength from each other.

    Attributes
    ----------
    tau2
        Variance of the true values between groups, at least 0; NaN with fewer than two groups.
    mean
        Common mean; NaN likewise.
    factors
        ``[G]`` share of the common mean in each estimate, in [0, 1].
    values, standard_errors
        ``[G]`` estimates with the uncertainty of the common mean included; NaN for groups without a value. That of `tau2` is
        not, so with a handful of groups the errors are too small.
    """

    tau2: float
    mean: float
    factors: Array
    values: Array
    standard_errors: Array


def shrink(values: Array, variances: Array) -> Shrunk:
    """Shrink the values of groups.

    Parameters
    ----------
    values
        ``[G]``; NaN where undefined. Groups too small to be shown may be among them: shrinkage is what makes them usable.
    variances
        ``[G]`` squared standard errors, at least 0; NaN where undefined.

    Returns
    -------
    Shrunk
        A group without value or variance stays NaN and takes no part. One with variance 0 keeps its value and takes no part
        either: nothing is known about its error. With fewer than two groups that take part nothing is shrunk.

    Raises
    ------
    ValueError
        If a variance is negative or the shapes do not agree.

    Notes
    -----
    DerSimonian and Laird 1986. ``w = 1/s^2``, ``mu = sum w x / sum w``, ``Q = sum w (x - mu)^2``,
    ``tau^2 = max(0, (Q - (G - 1)) / (sum w - sum w^2 / sum w))``, ``w* = 1/(s^2 + tau^2)``, ``mu*`` likewise,
    ``B = s^2/(s^2 + tau^2)``, estimate ``B mu* + (1 - B) x``, variance ``(1 - B) s^2 + B^2 / sum w*`` (the last term is that of
    mu*).

    Examples
    --------
    >>> rate, n = np.array([0.80, 0.81, 0.78, 0.90]), np.array([2000, 400, 120, 50])
    >>> [round(x, 6) for x in shrink(rate, rate * (1 - rate) / (n - 1)).values.tolist()]
    [0.801723, 0.810463, 0.803863, 0.827866]
    """
    if values.shape != variances.shape or values.ndim != 1:
        raise ValueError(f"values and variances must be [groups], got {values.shape} and {variances.shape}")
    known = ~(np.isnan(values) | np.isnan(variances))
    if (variances[known] < 0.0).any():
        raise ValueError(f"variances must be at least 0, got {variances[known].min()}")
    shrunk, errors = (np.where(known, x, np.nan) for x in (values, np.sqrt(np.where(known, variances, 0.0))))
    factors = np.where(known, 0.0, np.nan)
    part = known & (np.where(known, variances, 0.0) > 0.0)
    if part.sum() < 2:
        return Shrunk(float("nan"), float("nan"), factors, shrunk, errors)
    value, variance = values[part], variances[part]
    tau2 = _between(value, variance)
    weight = 1.0 / (variance + tau2)
    mean = float(np.sum(weight * value) / np.sum(weight))
    share = variance / (variance + tau2)
    factors[part] = share
    shrunk[part] = share * mean + (1.0 - share) * value
    errors[part] = np.sqrt((1.0 - share) * variance + share**2 / np.sum(weight))
    return Shrunk(tau2, mean, factors, shrunk, errors)


def _between(value: Array, variance: Array) -> float:
    weight = 1.0 / variance
    total = np.sum(weight)
    excess = np.sum(weight * (value - np.sum(weight * value) / total) ** 2) - (len(value) - 1)
    return float(max(0.0, excess / (total - np.sum(weight**2) / total)))
