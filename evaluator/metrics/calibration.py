"""How far probabilities are from frequencies: Brier score, log loss, calibration errors and calibration lines.

``ece:fixedK`` is ``sum_b |sum of p - sum of y| / N`` over K bins of equal width on [0, 1], the same bins for every group
(bin = min(floor(K p), K - 1)); ``ece:massK`` over K bins of equal mass of all measured rows together. Both are biased upward in
small groups: a perfectly calibrated model shows 0.085 with 100 samples. ``ce2:debiased`` is not: a squared error with the
sampling variance of each bin taken off; it can be negative and then means "no error seen". With more than two classes these
look at the most probable class (``ece:topK``), and Brier score and log loss are sums over classes (``brier:multiclass``, in
[0, 2]).

References
----------
Brier 1950; Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017 (top-label form); Broecker 2012 and Kumar et al. 2019 (debiased
form); Petersen et al. 2023, arXiv 2302.08851 (groups).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.classification import Scored
from evaluator.metrics.metric import Array, Line, Metric, Need, Ratios, Sums, positive

#: Probabilities are kept this far from 0 and 1 before a logarithm is taken.
CLIP = 1e-7
MASS_BINS = 10
_BOTH: tuple[Need, ...] = ("positives", "negatives")


@dataclass(frozen=True)
class _SquaredError:
    """Terms: squared error of the probabilities, and one."""

    def __call__(self, data: Scored) -> Array:
        if data.positive is not None:
            error = (data.score - data.is_positive) ** 2
        else:
            truth = np.arange(data.scores.shape[1]) == data.label[:, None]
            error = ((data.scores - truth) ** 2).sum(axis=1)
        return np.stack([error, np.ones_like(error)], axis=1)


def brier(data: Scored) -> Metric:
    """Describe the mean squared error of probabilities."""
    convention = "brier:binary" if data.positive is not None else "brier:multiclass"
    return Metric("brier", convention, False, Ratios(_SquaredError()))


@dataclass(frozen=True)
class _LogLoss:
    """Terms: minus the logarithm of the probability of the true class, at most `limit`; and one."""

    limit: float

    def __call__(self, data: Scored) -> Array:
        given = data.scores[np.arange(len(data.label)), data.label]
        if data.positive is not None:
            given = np.where(data.is_positive, data.score, 1.0 - data.score)
        with np.errstate(divide="ignore"):
            loss = np.minimum(-np.log(given), self.limit)
        return np.stack([loss, np.ones_like(loss)], axis=1)


def log_loss() -> Metric:
    """Describe the mean negative log probability of the true class, clipped at 1e-7."""
    return Metric("log_loss", "log_loss:clip1e-7", False, Ratios(_LogLoss(-float(np.log(CLIP)))))


def clamped_log_loss() -> Metric:
    """Describe the log loss with logarithms clamped at -100, as PyTorch's binary cross-entropy does."""
    return Metric("log_loss", "bce:clamp100", False, Ratios(_LogLoss(100.0)))


def _told(data: Scored) -> tuple[Array, Array]:
    """Return the probability that is judged, and whether it came true: of the positive class, or of the top one."""
    if data.positive is not None:
        return data.score, data.is_positive.astype(float)
    return data.scores.max(axis=1), (data.scores.argmax(axis=1) == data.label).astype(float)


@dataclass(frozen=True)
class _FixedBins:
    """Terms: ``p - y`` in the column of the row's bin of equal width, and 1 in the last column."""

    bins: int

    def __call__(self, data: Scored) -> Array:
        probability, outcome = _told(data)
        bin_of = np.minimum((self.bins * probability).astype(np.int64), self.bins - 1)
        return _spread(bin_of, probability - outcome, self.bins)


@dataclass(frozen=True)
class _MassBins:
    """Terms as :class:`_FixedBins`, with bins of equal mass of all rows."""

    bins: int

    def __call__(self, data: Scored) -> Array:
        probability, outcome = _told(data)
        return _spread(mass_bins(probability, self.bins), probability - outcome, self.bins)


def mass_bins(probability: Array, bins: int) -> NDArray[np.int64]:
    """Return the bin of each row where bins hold equally many rows; rows of equal probability share a bin."""
    edges = (
        np.unique(np.quantile(probability, np.arange(1, bins) / bins)) if len(probability) else np.zeros(0)
    )
    return np.searchsorted(edges, probability, side="right").astype(np.int64)


def _spread(bin_of: NDArray[np.int64], value: Array, bins: int) -> Array:
    spread = np.zeros((len(value), bins + 1))
    spread[np.arange(len(value)), bin_of] = value
    spread[:, bins] = 1.0
    return spread


def ece(data: Scored, *, bins: int) -> Metric:
    """Describe the expected calibration error with `bins` bins of equal width on [0, 1]."""
    kind = "fixed" if data.positive is not None else "top"
    return Metric("ece", f"ece:{kind}{bins}", False, _absolute(_FixedBins(bins), bins))


def mass_ece(*, bins: int) -> Metric:
    """Describe the expected calibration error with `bins` bins of equal mass of all rows."""
    return Metric("ece", f"ece:mass{bins}", False, _absolute(_MassBins(bins), bins))


def _absolute(terms: _FixedBins | _MassBins, bins: int) -> Ratios:
    above, below = tuple((b,) for b in range(bins)), ((bins,),) * bins
    return Ratios(terms, numerators=above, denominators=below, h="absolute")


@dataclass(frozen=True)
class _BinCounts:
    """Terms for each bin b of equal mass: one, y, and p (columns b, K + b, 2K + b)."""

    bins: int

    def __call__(self, data: Scored) -> Array:
        probability, outcome = _told(data)
        bin_of, rows = mass_bins(probability, self.bins), np.arange(len(probability))
        terms = np.zeros((len(probability), 3 * self.bins))
        terms[rows, bin_of] = 1.0
        terms[rows, self.bins + bin_of] = outcome
        terms[rows, 2 * self.bins + bin_of] = probability
        return terms


@dataclass(frozen=True)
class _Debiased(Sums):
    """``sum_b n_b/N [(ybar_b - pbar_b)^2 - V_b]`` over bins of at least two units.

    V_b is the variance of ybar_b over units (subjects), for one row per unit ybar (1 - ybar) / (n - 1). Columns: n, y, p of
    each bin, then of each unit y^2, y n, n^2 and whether it has a row in the bin.
    """

    def extend(self, joined: Array) -> Array:
        """Add the products of a unit's counts."""
        count, outcome, _ = np.split(joined, 3, axis=1)
        products = (outcome**2, outcome * count, count**2, count > 0)
        return np.concatenate([joined, *products], axis=1)

    def used(self, width: int) -> NDArray[np.intp]:
        """Return the columns that the gradient depends on: n, y and p."""
        return np.arange(3 * (width // 7))

    def value(self, sums: Array) -> Array:
        """Evaluate the signed error; NaN without a bin of two units."""
        count, outcome, probability, square, mixed, counts, units = np.split(sums, 7, axis=-1)
        kept = units >= 2
        filled = np.where(kept, count, 1.0)
        share = outcome / filled
        scatter = square - 2.0 * share * mixed + share**2 * counts
        noise = scatter / filled**2 * units / np.where(kept, units - 1.0, 1.0)
        error = ((outcome - probability) / filled) ** 2 - noise
        total = np.where(kept, count, 0.0).sum(axis=-1)
        return np.asarray(np.where(kept, count * error, 0.0).sum(axis=-1) / positive(total))

    def gradient(self, sums: Array) -> Array:
        """Differentiate the leading term; the correction is of order 1/n and moves the influence by as little."""
        count, outcome, probability, *_, units = np.split(sums, 7, axis=-1)
        kept = units >= 2
        apart = (outcome - probability) / np.where(kept, count, 1.0)
        total = positive(np.where(kept, count, 0.0).sum(axis=-1, keepdims=True))
        value = np.where(kept, count * apart**2, 0.0).sum(axis=-1, keepdims=True) / total
        by_outcome = np.where(kept, 2.0 * apart, 0.0) / total
        by_count = np.where(kept, -(apart**2) - value, 0.0) / total
        nothing = np.zeros_like(by_count)
        return np.concatenate([by_count, by_outcome, -by_outcome, *[nothing] * 4], axis=-1)


def debiased_ce2(*, bins: int = MASS_BINS) -> Metric:
    """Describe the debiased squared calibration error over `bins` bins of equal mass of all rows; may be negative."""
    return Metric("ce2", "ce2:debiased", False, _Debiased(_BinCounts(bins)))


def calibration_line(data: Scored) -> tuple[Metric, Metric]:
    """Describe slope (1 is right) and intercept (0 is right) of the logistic calibration line of two classes.

    Raises
    ------
    ValueError
        For more than two classes.
    """
    if data.positive is None:
        raise ValueError("a calibration line needs two classes, one of them positive")
    return (
        Metric("calibration_slope", "calibration:line", True, Line(_logits, "slope"), _BOTH),
        Metric("calibration_intercept", "calibration:line", True, Line(_logits, "intercept"), _BOTH),
    )


def _logits(data: Scored) -> tuple[Array, NDArray[np.bool_]]:
    probability = np.clip(data.score, CLIP, 1.0 - CLIP)
    return np.log(probability) - np.log1p(-probability), data.is_positive
