"""Discrimination of a classifier: area under the ROC curve, and shares of right decisions at a threshold.

A decision is positive where ``score >= threshold`` (with ``>`` the boundary sample, often the one that chose the threshold,
is lost). Conventions: ``auc:midrank`` counts ties half; ``auc:macro_ovr`` is the unweighted mean over classes of one against
the rest; ``class:argmax`` decides for the class with the highest score (the first of equals).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Exchange, Metric, Need, Ranks, Ratios


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


def auc(data: Scored) -> Metric:
    """Describe the area under the ROC curve (mid-ranks); the macro mean of one-versus-rest curves for many classes."""
    if data.positive is not None:
        form = Ranks(lambda d: [(d.score, d.is_positive)])
        needs: tuple[Need, ...] = ("positives", "negatives")
        return Metric("auc", "auc:midrank", True, form, needs, exchange="subjects within labels")
    form = Ranks(_one_against_rest)
    return Metric("auc", "auc:macro_ovr", True, form, ("classes",), exchange="subjects within labels")


def _one_against_rest(data: Scored) -> list[tuple[Array, NDArray[np.bool_]]]:
    classes = range(data.scores.shape[1])
    return [(np.ascontiguousarray(data.scores[:, c]), data.label == c) for c in classes]


def threshold_metrics(threshold: float, convention: str) -> tuple[Metric, ...]:
    """Describe accuracy, balanced accuracy, sensitivity and specificity of two classes at a threshold.

    Parameters
    ----------
    threshold
        Decisions are positive where ``score >= threshold``.
    convention
        Name of the rule that chose it, e.g. ``"val:youden"``.
    """
    terms = partial(_confusion, threshold=threshold)
    both: tuple[Need, ...] = ("positives", "negatives")
    within: Exchange = "subjects within labels"
    return (
        Metric("accuracy", convention, True, Ratios(terms, (4,), (5,), proportion=True)),
        Metric("balanced_accuracy", convention, True, Ratios(terms, (0, 2), (1, 3), 0.5), both, within),
        Metric(
            "sensitivity",
            convention,
            True,
            Ratios(terms, (0,), (1,), proportion=True),
            ("positives",),
            within,
        ),
        Metric(
            "specificity",
            convention,
            True,
            Ratios(terms, (2,), (3,), proportion=True),
            ("negatives",),
            within,
        ),
    )


def _confusion(data: Scored, threshold: float) -> Array:
    """Columns: true positives, positives, true negatives, negatives, right, all."""
    positive, decided = data.is_positive, data.score >= threshold
    right = positive == decided
    return np.stack(
        [positive & right, positive, ~positive & right, ~positive, right, np.ones_like(right)], 1
    ).astype(float)


def argmax_metrics(classes: int) -> tuple[Metric, ...]:
    """Describe accuracy and balanced accuracy (mean recall of the classes) of the most probable class."""
    recall = Ratios(_recalls, tuple(range(0, 2 * classes, 2)), tuple(range(1, 2 * classes, 2)), 1.0 / classes)
    within: Exchange = "subjects within labels"
    return (
        Metric("accuracy", "class:argmax", True, Ratios(_hits, (0,), (1,), proportion=True)),
        Metric("balanced_accuracy", "class:argmax", True, recall, ("classes",), within),
    )


def _hits(data: Scored) -> Array:
    right = data.scores.argmax(axis=1) == data.label
    return np.stack([right, np.ones_like(right)], axis=1).astype(float)


def _recalls(data: Scored) -> Array:
    right = data.scores.argmax(axis=1) == data.label
    columns = [
        part for c in range(data.scores.shape[1]) for part in ((data.label == c) & right, data.label == c)
    ]
    return np.stack(columns, axis=1).astype(float)
