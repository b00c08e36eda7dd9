"""Logits as probabilities that keep their order.

A sigmoid in floating point makes ties: every logit above 37 becomes 1. Ranks (AUC) would change by that, so values that the
sigmoid cannot tell apart are set the smallest steps of a float apart, in the order of the logits: logits that differ give
probabilities that differ. No probability moves by more than the number of values times 1e-16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

#: Beyond this a probability is 0 or 1 for all that is written with six digits.
SATURATED = 14.0


def ordered_sigmoid(logits: Array) -> Array:
    """Turn logits into probabilities in (0, 1), strictly rising with them.

    Parameters
    ----------
    logits
        ``[n]`` finite, or NaN where there is none.

    Returns
    -------
    ``[n]`` float64
        NaN where the logit is.

    Examples
    --------
    >>> ordered_sigmoid(np.array([0.0, 800.0, 900.0])).argsort().tolist()
    [0, 1, 2]
    """
    from scipy.special import expit

    out = np.full(len(logits), np.nan)
    known = np.isfinite(logits)
    values, place = np.unique(logits[known], return_inverse=True)
    out[known] = _strictly_rising(np.asarray(expit(values), np.float64))[place]
    return out


def _strictly_rising(values: Array) -> Array:
    """Set values in [0, 1], given in rising order, apart and inside (0, 1); positive floats are ordered like their bits."""
    step = np.arange(len(values))
    one = np.array(1.0).view(np.int64)
    bits = np.maximum(values, np.finfo(np.float64).tiny).view(np.int64)
    up = np.maximum.accumulate(bits - step) + step
    ceiling = one - len(values) + step
    down: NDArray[np.int64] = np.minimum(up, ceiling)
    return down.view(np.float64)


def ordered_softmax(logits: Array) -> Array:
    """Turn logits into probabilities of classes; those of one class rise strictly with its odds against all others.

    Parameters
    ----------
    logits
        ``[n, C]``; a row with NaN has no probabilities.

    Returns
    -------
    ``[n, C]`` float64
        Rows sum to 1 as nearly as floats do.
    """
    from scipy.special import logsumexp

    known = np.isfinite(logits).all(axis=1)
    out = np.full(logits.shape, np.nan)
    for place in range(logits.shape[1]):
        others = np.delete(logits[known], place, axis=1)
        odds = logits[known, place] - logsumexp(others, axis=1)
        out[known, place] = ordered_sigmoid(np.asarray(odds, np.float64))
    return out


def cautions(logits: Array) -> tuple[str, ...]:
    """Say what is odd about the logits of one class, ``[n]``."""
    finite = logits[np.isfinite(logits)]
    if not finite.size:
        return ()
    told = []
    if finite.min() >= 0 or finite.max() <= 0:
        sign, side = ("positive", "above") if finite.min() >= 0 else ("negative", "below")
        told.append(
            f"Caution: all logits are {sign}, so every probability is {side} 0.5; if they are no logits, decisions and"
            " calibration mean nothing (AUC stays right)"
        )
    beyond = int((np.abs(finite) > SATURATED).sum())
    if beyond:
        told.append(
            f"Caution: {beyond:,} of {finite.size:,} logits are beyond {SATURATED:g} in size: their probabilities are 0 or 1"
            " but for a millionth. AUC ranks the logits themselves; calibration takes the probabilities at their word"
        )
    return tuple(told)
