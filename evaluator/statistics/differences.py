"""The interval of the difference of two groups, put together from the intervals of the groups themselves.

Percentiles of the replicates' difference take a small group in which nearly all is right for a certain one: its replicates
hardly vary. Its own interval knows better, and so does a difference that is made of it.

References
----------
Newcombe 1998 (two proportions, method 10); Zou and Donner 2008 (any two numbers).
"""

from __future__ import annotations

import numpy as np

from evaluator.metrics.metric import Array
from evaluator.statistics.intervals import Interval

#: A correlation of replicates below this many standard errors is that of chance: groups rarely share subjects.
_CERTAIN = 4.0


def difference_interval(values: Array, intervals: Array, correlation: float = 0.0) -> Interval:
    """Return the interval of the first value less the second one.

    Parameters
    ----------
    values
        ``[2]`` values.
    intervals
        ``[2, 2]`` low and high bound of each, at the level that the difference shall have; no NaN.
    correlation
        Of the two values' errors; not 0 where groups share subjects.

    Notes
    -----
    With ``a`` in [l, u] and ``b`` in [l', u'] the bounds are ``a - b - sqrt((a - l)^2 + (u' - b)^2 - 2 r (a - l) (u' - b))``
    and ``a - b + sqrt((u - a)^2 + (b - l')^2 - 2 r (u - a) (b - l'))``. Simulated coverage of nominal 95 % for rates of .7
    to .95 in groups of 10 to 500 with 10 to 500: 94 to 99 %, where percentiles cover 63 to 96 %.

    Examples
    --------
    >>> found = difference_interval(np.array([0.8, 0.6]), np.array([[0.6912, 0.8774], [0.4904, 0.7004]]))
    >>> [round(x, 3) for x in found[:2]]
    [0.052, 0.334]
    """
    below, above = values - intervals[:, 0], intervals[:, 1] - values
    apart = float(values[0] - values[1])
    low = _length(float(below[0]), float(above[1]), correlation)
    high = _length(float(above[0]), float(below[1]), correlation)
    return Interval(apart - low, apart + high, "recovered")


def _length(first: float, second: float, correlation: float) -> float:
    return float(np.sqrt(max(0.0, first**2 + second**2 - 2.0 * correlation * first * second)))


def shared_error(replicates: Array) -> Array:
    """Return the correlations ``[G, G]`` of groups' replicates ``[G, B]``; 0 where they cannot be told from none."""
    defined = replicates[:, ~np.isnan(replicates).any(axis=0)]
    if defined.shape[1] < 3:
        return np.zeros((len(replicates), len(replicates)))
    apart = defined - defined.mean(axis=1, keepdims=True)
    varies = np.ptp(defined, axis=1, keepdims=True) > 0.0
    length = np.sqrt(np.sum(apart**2, axis=1, keepdims=True))
    unit = np.where(varies, apart / np.where(varies, length, 1.0), 0.0)
    found = unit @ unit.T
    return np.where(np.abs(found) > _CERTAIN / np.sqrt(defined.shape[1]), found, 0.0)
