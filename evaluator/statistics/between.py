"""How much groups truly vary: the variance of their values less what sampling alone would give.

Guarantee: unbiased, therefore signed. Groups that do not differ give a negative estimate about as often as a positive one;
cutting it at 0 belongs to the display.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evaluator.metrics.metric import Array


class Between(NamedTuple):
    """Variance between groups, for any number of cases at once.

    Attributes
    ----------
    naive
        ``[...]`` sample variance of the groups' values; NaN with fewer than two groups.
    sampling
        ``[...]`` what sampling adds to it: the mean squared standard error.
    corrected
        ``[...]`` naive - sampling, signed.
    """

    naive: Array
    sampling: Array
    corrected: Array


def between_variance(values: Array, variances: Array) -> Between:
    """Estimate the variance of the true values of groups, each group counting once.

    Parameters
    ----------
    values
        ``[..., G]``; NaN where undefined.
    variances
        ``[..., G]`` squared standard errors over subjects; NaN where undefined; of a rate ``p (1 - p) / (n - 1)``.

    Returns
    -------
    Between
        Groups without value or variance are left out.

    Raises
    ------
    ValueError
        If the shapes do not agree or there is no axis of groups.

    Notes
    -----
    ``1/(G-1) sum_g (x_g - mean)^2 - 1/G sum_g SE_g^2``: the double-corrected variance of Lum, Zhang and Bower 2022 (FAccT).

    Examples
    --------
    >>> found = between_variance(np.array([0.6, 0.8]), np.array([0.004, 0.006]))
    >>> [round(float(x), 6) for x in found]
    [0.02, 0.005, 0.015]
    """
    if values.shape != variances.shape or not values.ndim:
        raise ValueError(
            f"values and variances must be [..., groups], got {values.shape} and {variances.shape}"
        )
    known = ~(np.isnan(values) | np.isnan(variances))
    groups = known.sum(axis=-1)
    enough = groups >= 2
    count = np.where(enough, groups, 2)
    mean = np.where(known, values, 0.0).sum(axis=-1) / count
    squares = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)
    naive = np.where(enough, squares / (count - 1), np.nan)
    sampling = np.where(enough, np.where(known, variances, 0.0).sum(axis=-1) / count, np.nan)
    return Between(naive, sampling, np.asarray(naive - sampling))
