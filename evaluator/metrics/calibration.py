"""How far probabilities are from frequencies: Brier score and expected calibration error.

``ece:fixedK`` is ``sum_b |sum of p - sum of y| / N`` over K bins of equal width on [0, 1], the same bins for every group
(bin = min(floor(K p), K - 1)). It is biased upward in small groups: a perfectly calibrated model shows 0.085 with 100 samples;
compare groups by the gap's expectation without disparity, never by eye. With more than two classes it looks at the most
probable class (``ece:topK``), and the Brier score is the sum over classes (``brier:multiclass``, in [0, 2]).

References
----------
Brier 1950; Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017 (top-label form).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from evaluator.metrics.classification import Scored
from evaluator.metrics.metric import Array, Metric, Ratios


def brier(data: Scored) -> Metric:
    """Describe the mean squared error of probabilities."""
    if data.positive is not None:
        return Metric("brier", "brier:binary", False, Ratios(_squared_error, (0,), (1,)))
    return Metric("brier", "brier:multiclass", False, Ratios(_squared_errors, (0,), (1,)))


def _squared_error(data: Scored) -> Array:
    error = (data.score - data.is_positive) ** 2
    return np.stack([error, np.ones_like(error)], axis=1)


def _squared_errors(data: Scored) -> Array:
    truth = np.arange(data.scores.shape[1]) == data.label[:, None]
    error = ((data.scores - truth) ** 2).sum(axis=1)
    return np.stack([error, np.ones_like(error)], axis=1)


def ece(data: Scored, *, bins: int) -> Metric:
    """Describe the expected calibration error with `bins` bins of equal width on [0, 1]."""
    binary = data.positive is not None
    terms = partial(_binned_errors if binary else _top_binned_errors, bins=bins)
    form = Ratios(terms, tuple(range(bins)), (bins,) * bins, h="absolute")
    return Metric("ece", f"ece:{'fixed' if binary else 'top'}{bins}", False, form)


def _binned_errors(data: Scored, bins: int) -> Array:
    return _spread(data.score, data.is_positive.astype(float), bins)


def _top_binned_errors(data: Scored, bins: int) -> Array:
    right = (data.scores.argmax(axis=1) == data.label).astype(float)
    return _spread(data.scores.max(axis=1), right, bins)


def _spread(probability: Array, outcome: Array, bins: int) -> Array:
    """``[n, bins + 1]``: the row's ``p - y`` in the column of its bin, and 1 in the last."""
    bin_of = np.minimum((bins * probability).astype(np.int64), bins - 1)
    spread = np.zeros((len(probability), bins + 1))
    spread[np.arange(len(probability)), bin_of] = probability - outcome
    spread[:, bins] = 1.0
    return spread
