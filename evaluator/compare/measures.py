"""What a comparison must know of a metric and finds in no table: which direction is better, and which class sets its error."""

from __future__ import annotations

from typing import Literal

Better = Literal["higher", "lower", "neither", "unknown"]

#: Of several conventions of a primary metric, those that stand for it.
DEFAULT_CONVENTIONS = frozenset(("auc:midrank", "auc:macro_ovr", "auc:macro_labels", "mean:subject"))

_HIGHER = frozenset(
    (
        "auc", "average_precision", "auprg", "accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv",
        "dice", "iou", "nsd",
    )
)  # fmt: skip
_LOWER = frozenset(
    (
        "brier", "log_loss", "ece", "ce2", "f1_variance", "underdiagnosis", "overdiagnosis", "generalised_entropy",
        "hd95_mm", "hd95_px", "assd_mm", "assd_px", "volume_error", "cdr_distance",
    )
)  # fmt: skip
_NEITHER = frozenset(
    (
        "threshold", "selection_rate", "mean_benefit", "calibration_slope", "calibration_intercept", "volume_bias",
        "dice_size_slope",
    )
)  # fmt: skip
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


def better(metric: str) -> Better:
    """Return which values of a metric are better; ``"neither"`` for what describes a result and does not judge it.

    Examples
    --------
    >>> better("auc"), better("brier"), better("threshold"), better("no_such_metric")
    ('higher', 'lower', 'neither', 'unknown')
    """
    if metric in _HIGHER:
        return "higher"
    if metric in _LOWER:
        return "lower"
    return "neither" if metric in _NEITHER else "unknown"


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
