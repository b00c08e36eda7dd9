"""Discrimination of a classifier: areas under curves, and shares of right decisions at a threshold or of the top class.

A decision is positive where ``score >= threshold`` (with ``>`` the boundary sample, often the one that chose the threshold,
is lost). Conventions: ``auc:midrank`` counts ties half; ``auc:macro_ovr`` is the unweighted mean over classes of one against
the rest; ``ap:step`` is average precision with step-wise interpolation; ``class:argmax`` decides for the class with the highest
score (the first of equals).

Metrics that condition on the true class (AUC, sensitivity, ...) are tested with groups exchanged among subjects of the same
class; those that mix classes (accuracy, PPV, selection rate, average precision, ...) among all subjects, so that what they find
includes differences in prevalence. ``auprc:adjusted`` takes the prevalence out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Exchange, Metric, Need, Ranks, Ratios

_BOTH: tuple[Need, ...] = ("positives", "negatives")
_WITHIN: Exchange = "subjects within labels"
TP, FP, FN, TN = range(4)


@dataclass(frozen=True)
class Scored:
    """Rows with a true class and probabilities.

    Attributes
    ----------
    label
        ``[n]`` index of the true class.
    scores
        ``[n, C]`` float64 probabilities in [0, 1].
    positive
        Index of the class of interest of a two-class target; None for more classes.
    """

    label: NDArray[np.int64]
    scores: Array
    positive: int | None = None

    @property
    def is_positive(self) -> NDArray[np.bool_]:
        """``[n]`` whether the true class is the class of interest (none is where there is no such class)."""
        return np.equal(self.label, -1 if self.positive is None else self.positive)

    @property
    def score(self) -> Array:
        """``[n]`` probability of the class of interest."""
        column = self.scores[:, self.positive if self.positive is not None else 0]
        return np.ascontiguousarray(column)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Scored:
        """Return some of the rows."""
        return Scored(self.label[rows], self.scores[rows], self.positive)


def auc(data: Scored) -> Metric:
    """Describe the area under the ROC curve (mid-ranks); the macro mean of one-versus-rest curves for many classes."""
    if data.positive is not None:
        return Metric("auc", "auc:midrank", True, Ranks(_binary), _BOTH, _WITHIN)
    return Metric("auc", "auc:macro_ovr", True, Ranks(_one_against_rest), ("classes",), _WITHIN)


def average_precision(data: Scored) -> Metric:
    """Describe average precision (step-wise): precision averaged over the positives; moves with the prevalence.

    Raises
    ------
    ValueError
        For more than two classes.
    """
    _require_binary(data, "average precision")
    return Metric("average_precision", "ap:step", True, Ranks(_binary, "precision"), _BOTH)


def adjusted_average_precision(data: Scored) -> Metric:
    """Describe 1 - ln AP / ln prevalence: 0 for a random ranking, 1 for a perfect one (Sourget et al. 2025)."""
    _require_binary(data, "adjusted average precision")
    form = Ranks(_binary, "precision:adjusted")
    return Metric("average_precision", "auprc:adjusted", True, form, _BOTH)


def _require_binary(data: Scored, what: str) -> None:
    if data.positive is None:
        raise ValueError(f"{what} needs two classes, one of them positive")


def _binary(data: Scored) -> list[tuple[Array, NDArray[np.bool_]]]:
    return [(data.score, data.is_positive)]


def _one_against_rest(data: Scored) -> list[tuple[Array, NDArray[np.bool_]]]:
    classes = range(data.scores.shape[1])
    return [(np.ascontiguousarray(data.scores[:, c]), data.label == c) for c in classes]


@dataclass(frozen=True)
class Decisions:
    """How positives are decided: ``score >= value``, or ``>`` where `strict`; by row where `value` is an array.

    Attributes
    ----------
    value
        Threshold of all rows, or one per row of the data measured (group-specific thresholds).
    strict
        Whether the boundary is negative.
    """

    value: float | tuple[float, ...]
    strict: bool = False

    def of(self, data: Scored) -> NDArray[np.bool_]:
        """Return ``[n]`` decisions."""
        limit = np.asarray(self.value)
        return np.asarray(data.score > limit if self.strict else data.score >= limit)


@dataclass(frozen=True)
class _Confusion:
    """Terms: whether a row is a true positive, false positive, false negative, true negative."""

    decisions: Decisions

    def __call__(self, data: Scored) -> Array:
        said, true = self.decisions.of(data), data.is_positive
        return np.stack([said & true, said & ~true, ~said & true, ~said & ~true], axis=1).astype(float)


def threshold_metrics(
    threshold: float | tuple[float, ...], convention: str, *, strict: bool = False
) -> tuple[Metric, ...]:
    """Describe all metrics of a confusion matrix of two classes at a threshold.

    Parameters
    ----------
    threshold
        Decisions are positive where ``score >= threshold`` (one threshold per row if it is a tuple).
    convention
        Name of the rule that chose it, e.g. ``"val:youden"``.
    strict
        Decisions are positive where ``score > threshold`` (published conventions only).

    Returns
    -------
    tuple of Metric
        accuracy, balanced accuracy, sensitivity (TPR), specificity (TNR), ppv, npv, f1, selection rate.
    """
    terms = _Confusion(Decisions(threshold, strict))
    every = (TP, FP, FN, TN)

    def share(name: str, above: tuple[int, ...], below: tuple[int, ...], **more: object) -> Metric:
        form = Ratios(terms, proportion=True, numerators=(above,), denominators=(below,))
        return Metric(name, convention, True, form, **more)  # type: ignore[arg-type]

    balanced = Ratios(terms, numerators=((TP,), (TN,)), denominators=((TP, FN), (TN, FP)), scale=0.5)
    f1 = Ratios(terms, numerators=((TP, TP),), denominators=((TP, TP, FP, FN),))
    return (
        share("accuracy", (TP, TN), every),
        Metric("balanced_accuracy", convention, True, balanced, _BOTH, _WITHIN),
        share("sensitivity", (TP,), (TP, FN), needs=("positives",), exchange=_WITHIN),
        share("specificity", (TN,), (TN, FP), needs=("negatives",), exchange=_WITHIN),
        share("ppv", (TP,), (TP, FP)),
        share("npv", (TN,), (TN, FN)),
        Metric("f1", convention, True, f1, ("positives",)),
        share("selection_rate", (TP, FP), every),
    )


def error_rates(
    threshold: float | tuple[float, ...], convention: str, *, names: tuple[str, str], strict: bool = False
) -> tuple[Metric, Metric]:
    """Describe the false negative and false positive rates under two names, e.g. under- and over-diagnosis."""
    terms = _Confusion(Decisions(threshold, strict))
    missed = Ratios(terms, proportion=True, numerators=((FN,),), denominators=((TP, FN),))
    raised = Ratios(terms, proportion=True, numerators=((FP,),), denominators=((TN, FP),))
    return (
        Metric(names[0], convention, False, missed, ("positives",), _WITHIN),
        Metric(names[1], convention, False, raised, ("negatives",), _WITHIN),
    )


@dataclass(frozen=True)
class _Benefits:
    """Terms of benefits b = decision - truth + 1 (0, 1 or 2): b^2, b and 1."""

    decisions: Decisions

    def __call__(self, data: Scored) -> Array:
        benefit = 1.0 + self.decisions.of(data) - data.is_positive
        return np.stack([benefit**2, benefit, np.ones_like(benefit)], axis=1)


@dataclass(frozen=True)
class _Entropy(Ratios):
    """(n sum b^2 / (sum b)^2 - 1) / 2."""

    def value(self, sums: Array) -> Array:
        square, total, count = (sums[..., column] for column in range(3))
        return np.asarray(0.5 * (count * square / np.where(total > 0, total, np.nan) ** 2 - 1.0))

    def gradient(self, sums: Array) -> Array:
        square, total, count = (sums[..., column] for column in range(3))
        total = np.where(total > 0, total, np.nan)
        slopes = [0.5 * count / total**2, -count * square / total**3, 0.5 * square / total**2]
        return np.stack(slopes, axis=-1)

    def used(self, width: int) -> NDArray[np.intp]:
        return np.arange(width)


def generalised_entropy(
    threshold: float | tuple[float, ...], convention: str, *, strict: bool = False
) -> Metric:
    """Describe the generalised entropy index (alpha = 2) of benefits: how unequally decisions err between individuals.

    Notes
    -----
    ``mean((b / mean b)^2 - 1) / 2`` with b = decision - truth + 1 (Speicher et al. 2018).
    """
    form = _Entropy(_Benefits(Decisions(threshold, strict)))
    return Metric("generalised_entropy", convention, False, form)


def mean_benefit(threshold: float | tuple[float, ...], convention: str, *, strict: bool = False) -> Metric:
    """Describe the mean benefit (decision - truth + 1): what generalised entropy compares between groups."""
    terms = _Benefits(Decisions(threshold, strict))
    return Metric("mean_benefit", convention, True, Ratios(terms, (1,), (2,)))


@dataclass(frozen=True)
class _ClassCounts:
    """Terms for each class c: right for c, predicted c, truly c (columns c, C + c, 2C + c); then right, and one."""

    classes: int

    def __call__(self, data: Scored) -> Array:
        said = data.scores.argmax(axis=1)
        known = np.arange(self.classes)
        predicted, true = said[:, None] == known, data.label[:, None] == known
        right = (said == data.label)[:, None]
        return np.concatenate([predicted & true, predicted, true, right, np.ones_like(right)], axis=1).astype(
            float
        )


def argmax_metrics(classes: int) -> tuple[Metric, ...]:
    """Describe accuracy, balanced accuracy (mean recall) and macro F1 of the most probable class."""
    terms = _ClassCounts(classes)
    known = range(classes)
    recall = Ratios(
        terms,
        numerators=tuple((c,) for c in known),
        denominators=tuple((2 * classes + c,) for c in known),
        scale=1.0 / classes,
    )
    hits = Ratios(terms, proportion=True, numerators=((3 * classes,),), denominators=((3 * classes + 1,),))
    parts = _f1_parts(classes)
    macro = Ratios(terms, parts.above, parts.below, 1.0 / classes)
    needs: tuple[Need, ...] = ("classes",)
    return (
        Metric("accuracy", "class:argmax", True, hits),
        Metric("balanced_accuracy", "class:argmax", True, recall, needs, _WITHIN),
        Metric("f1", "f1:macro", True, macro, needs),
    )


def class_f1_metrics(names: tuple[str, ...]) -> tuple[Metric, ...]:
    """Describe F1 of each class, and its variance over the classes (Sun et al. 2025)."""
    classes = len(names)
    terms, parts = _ClassCounts(classes), _f1_parts(classes)
    needs: tuple[Need, ...] = ("classes",)
    single = tuple(
        Metric(
            "f1",
            f"f1:class={name}",
            True,
            Ratios(terms, numerators=(parts.above[c],), denominators=(parts.below[c],)),
            needs,
        )
        for c, name in enumerate(names)
    )
    spread = Metric(
        "f1_variance", "f1:variance", False, Ratios(terms, parts.above, parts.below, h="variance"), needs
    )
    return (*single, spread)


@dataclass(frozen=True)
class _Parts:
    """Columns above and below the lines of several ratios."""

    above: tuple[tuple[int, ...], ...]
    below: tuple[tuple[int, ...], ...]


def _f1_parts(classes: int) -> _Parts:
    """F1_c = 2 right_c / (predicted_c + true_c)."""
    known = range(classes)
    return _Parts(tuple((c, c) for c in known), tuple((classes + c, 2 * classes + c) for c in known))
