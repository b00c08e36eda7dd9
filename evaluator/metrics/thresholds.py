"""Thresholds that turn a probability into a decision, chosen on validation rows and never on test rows.

Rules: ``val:youden`` (largest sensitivity + specificity), ``val:f1`` (largest F1), ``fixed:X`` (X in [0,
1]). Candidates are the scores themselves, a decision is positive where ``score >= threshold``, and of
equally good candidates the highest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array
from shards.errors import UserError

VAL_RULES = ("val:youden", "val:f1")
FALLBACK = "fixed:0.5"


@dataclass(frozen=True)
class Threshold:
    """A chosen threshold.

    Attributes
    ----------
    value
        Decisions are positive from here on.
    convention
        The rule that was really applied.
    n
        Validation rows it was chosen on; 0 for a fixed one.
    reason
        Why it is not the rule that was asked for; None where it is.
    """

    value: float
    convention: str
    n: int = 0
    reason: str | None = None


def check_rule(rule: str) -> str:
    """Return the rule if it is known.

    Raises
    ------
    UserError
        Otherwise; names the rules.
    """
    fixed = fixed_value(rule)
    if rule in VAL_RULES or (fixed is not None and 0.0 <= fixed <= 1.0):
        return rule
    known = ", ".join(repr(name) for name in VAL_RULES)
    raise UserError(
        f"threshold must be {known} or 'fixed:X' with X in [0, 1] such as 'fixed:0.5', got {rule!r}."
    )


def fixed_value(rule: str) -> float | None:
    """Return X of ``fixed:X``; None for anything else."""
    family, _, text = rule.partition(":")
    try:
        return float(text) if family == "fixed" else None
    except ValueError:
        return None


def choose_threshold(rule: str, score: Array, positive: NDArray[np.bool_]) -> Threshold:
    """Apply a rule to validation rows.

    Parameters
    ----------
    rule
        ``"val:youden"``, ``"val:f1"`` or ``"fixed:X"``.
    score
        ``[n]`` validation scores in [0, 1].
    positive
        ``[n]`` whether a row is positive.

    Returns
    -------
    Threshold
        ``fixed:0.5`` with a reason when a ``val:`` rule has no rows of both classes to choose on.

    Examples
    --------
    >>> choose_threshold("val:f1", np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True])).value
    0.6
    """
    fixed = fixed_value(check_rule(rule))
    if fixed is not None:
        return Threshold(fixed, rule)
    positives = int(positive.sum())
    if not 0 < positives < len(positive):
        found = f"{positives} positive and {len(positive) - positives} negative labelled rows in val"
        return Threshold(0.5, FALLBACK, reason=f"no threshold from val ({found}); 0.5 used")
    candidates = np.unique(score)[::-1]
    true_positives = positives - np.searchsorted(np.sort(score[positive]), candidates, side="left")
    negatives = len(positive) - positives
    false_positives = negatives - np.searchsorted(np.sort(score[~positive]), candidates, side="left")
    if rule == "val:f1":
        merit = 2.0 * true_positives / (positives + true_positives + false_positives)
    else:
        # One common denominator keeps equal merits equal, so that ties are ties.
        merit = (true_positives * negatives - false_positives * positives).astype(float)
    return Threshold(float(candidates[np.argmax(merit)]), rule, n=len(positive))
