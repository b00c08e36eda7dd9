"""What a comparison must know of a metric and finds in no table: default convention, units, use of replicates."""

from __future__ import annotations

from evaluator.measure.uncertainty import BIASED, centred
from evaluator.metrics.metric import Array

#: Of several conventions of a primary metric, those that stand for it.
DEFAULT_CONVENTIONS = frozenset(("auc:midrank", "auc:macro_ovr", "auc:macro_labels", "mean:subject"))

_SIDES = {
    "auc": ("positives", "negatives"),
    "average_precision": ("positives", "negatives"),
    "auprg": ("positives", "negatives"),
    "balanced_accuracy": ("positives", "negatives"),
    "f1": ("positives", "negatives"),
    "sensitivity": ("positives",),
    "underdiagnosis": ("positives", "negatives"),
    "fnr": ("positives",),
    "specificity": ("negatives",),
    "fpr": ("negatives",),
    "overdiagnosis": ("positives", "negatives"),
}


def independent_units(metric: str, *, subjects: int, positives: int | None, negatives: int | None) -> int:
    """Return how many independent units the error of a metric rests on.

    Parameters
    ----------
    metric
        Name.
    subjects
        Subjects of the result.
    positives, negatives
        Subjects with a sample of each class, or None where there are no two classes.

    Returns
    -------
    int
        Subjects, or the rarer of the classes that the metric conditions on where that is less: an AUC of ten positives rests on
        ten, whatever the number of negatives.
    """
    counts = {"positives": positives, "negatives": negatives}
    sides = [counts[side] for side in _SIDES.get(metric, ())]
    return min([subjects, *(side for side in sides if side is not None)])


def why_untested(metric: str) -> str | None:
    """Return why differences of a metric have neither an interval nor a test; None where they can have both.

    Notes
    -----
    The bias of the plain calibration error depends on how noisy and how wrong the probabilities are, so it does not cancel in
    the difference of two results.
    """
    return BIASED if metric == "ece" else None


def fair_replicates(metric: str, value: float, replicates: Array) -> Array:
    """Return the replicates ``[B]`` of a value as far as they are biased for it brought back to it.

    Notes
    -----
    As for the interval of the value itself, see :mod:`evaluator.measure.uncertainty`.
    """
    return centred(replicates, value) if metric == "ce2" and len(replicates) else replicates
