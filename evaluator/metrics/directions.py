"""Which values of a metric are better, by its name: the one place that knows, for gaps, comparisons and reports alike."""

from __future__ import annotations

from typing import Literal

Better = Literal["higher", "lower", "neither", "unknown"]

_HIGHER = frozenset(
    (
        "auc", "average_precision", "auprg", "accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv",
        "dice", "iou", "nsd",
    )
)  # fmt: skip
_LOWER = frozenset(
    (
        "brier", "log_loss", "ece", "ce2", "f1_variance", "fpr", "fnr", "underdiagnosis", "overdiagnosis",
        "generalised_entropy", "hd95_mm", "hd95_px", "assd_mm", "assd_px", "volume_error", "cdr_distance",
    )
)  # fmt: skip
_NEITHER = frozenset(
    (
        "threshold", "selection_rate", "mean_benefit", "calibration_slope", "calibration_intercept", "volume_bias",
        "dice_size_slope",
    )
)  # fmt: skip


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
