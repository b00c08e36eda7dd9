"""What a comparison must know of a metric and finds in no table: its default convention, and which class sets its error."""

from __future__ import annotations

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
    "specificity": ("negatives",),
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
        Samples of the two classes, or None where there are no two classes.

    Returns
    -------
    int
        Subjects, or the rarer of the classes that the metric conditions on where that is less: an AUC of ten positives rests on
        ten, whatever the number of negatives.
    """
    counts = {"positives": positives, "negatives": negatives}
    sides = [counts[side] for side in _SIDES.get(metric, ())]
    return min([subjects, *(side for side in sides if side is not None)])
