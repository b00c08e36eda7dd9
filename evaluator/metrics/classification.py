"""Discrimination of a classifier: area under the ROC curve, and shares of right decisions at a threshold.

A decision is positive where ``score >= threshold`` (with ``>`` the boundary sample, often the one that chose the threshold,
is lost). Conventions: ``auc:midrank`` counts ties half; ``auc:macro_ovr`` is the unweighted mean over classes of one against
the rest; ``class:argmax`` decides for the class with the highest score (the first of equals).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Exchange, Metric, Need, Ranks, Ratios

_Side = Literal["all", "positives", "negatives"]


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
    both: tuple[Need, ...] = ("positives", "negatives")
    within: Exchange = "subjects within labels"
    return (
        Metric("accuracy", convention, True, _shares(threshold, "all")),
        Metric(
            "balanced_accuracy", convention, True, _shares(threshold, "positives", "negatives"), both, within
        ),
        Metric("sensitivity", convention, True, _shares(threshold, "positives"), ("positives",), within),
        Metric("specificity", convention, True, _shares(threshold, "negatives"), ("negatives",), within),
    )


def _shares(threshold: float, *sides: _Side) -> Ratios:
    """Describe the mean over `sides` of the share of right decisions."""
    count = len(sides)
    above, below = tuple(range(0, 2 * count, 2)), tuple(range(1, 2 * count, 2))
    terms = partial(_decisions, threshold=threshold, sides=sides)
    return Ratios(terms, above, below, 1.0 / count, proportion=count == 1)


def _decisions(data: Scored, threshold: float, sides: tuple[_Side, ...]) -> Array:
    """Columns: for each side, whether a row is on it and rightly decided, and whether it is on it."""
    right = data.is_positive == (data.score >= threshold)
    on = {"all": np.ones_like(right), "positives": data.is_positive, "negatives": ~data.is_positive}
    return np.stack([part for side in sides for part in (on[side] & right, on[side])], axis=1).astype(float)


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
