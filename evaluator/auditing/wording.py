"""Names of the tables as words inside sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evaluator.report.words import metric_words

_PROPER = ("Dice", "Brier")


def metric_name(metric: str) -> str:
    """Return how a metric is called inside a sentence.

    Examples
    --------
    >>> metric_name("balanced_accuracy"), metric_name("auc"), metric_name("iou"), metric_name("dice")
    ('balanced accuracy', 'AUC', 'IoU', 'Dice')
    """
    label = metric_words(metric).label
    return label if label[1:] != label[1:].lower() or label.startswith(_PROPER) else label.lower()


def claim_words(claim: Mapping[str, Any]) -> str:
    """Return a finding's sentence without its beginning "METRIC by ATTRIBUTE: "."""
    return str(claim["sentence"]).removeprefix(f"{claim['metric']} by {claim['attribute']}: ")
