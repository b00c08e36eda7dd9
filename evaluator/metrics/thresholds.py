"""Thresholds that turn a probability into a decision, chosen on validation rows and never on the rows measured.

Rules (X in [0, 1]):

===================== ===========================================================================================
``fixed:X``           X itself
``val:youden``        largest sensitivity + specificity
``val:f1``            largest F1
``val:tpr=X``         largest specificity among those with sensitivity X or more
``val:tnr=X``         largest sensitivity among those with specificity X or more; ``val:fpr=X``: with 1 - X or more
``val:prevalence``    as many decisions as positives, as nearly as the scores allow
``val:cost(FP,FN)``   smallest FP x false positives + FN x false negatives
``group:RULE``        a ``val:`` rule on the val rows of one group alone; an analysis of sensitivity, never a default
===================== ===========================================================================================

Candidates are the scores themselves (for ``tnr``, ``fpr`` and ``cost`` also one just above the highest, which
decides for nobody), a decision is positive where ``score >= threshold``, and of equally good candidates the
highest is taken.

Published protocols that choose on the very rows they measure exist by name, for comparison only, and their
thresholds say so (:attr:`Threshold.optimistic`): ``test:f1:legacy``, ``test:tnr=X:medfair``, ``test:tpr=X:medfair``.
Choosing F1 that way is optimistic by 0.090, 0.045 and 0.019 with 100, 300 and 1,000 rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array
from shards.errors import UserError

VAL_RULES = ("val:youden", "val:f1", "val:prevalence")
RULE_FORMS = (
    *VAL_RULES,
    "val:tpr=X",
    "val:tnr=X",
    "val:fpr=X",
    "val:cost(FP,FN)",
    "fixed:X",
    "group:VAL_RULE",
    "test:f1:legacy",
    "test:tnr=X:medfair",
    "test:tpr=X:medfair",
)
FALLBACK = "fixed:0.5"

_GROUP = "group:"
_NUMBER = r"\s*([^,()=:\s]+)\s*"
_GRAMMAR = {
    "fixed": re.compile(f"fixed:{_NUMBER}"),
    "youden": re.compile("val:youden"),
    "f1": re.compile("val:f1"),
    "prevalence": re.compile("val:prevalence"),
    "tpr": re.compile(f"val:tpr={_NUMBER}"),
    "tnr": re.compile(f"val:tnr={_NUMBER}"),
    "fpr": re.compile(f"val:fpr={_NUMBER}"),
    "cost": re.compile(rf"val:cost\({_NUMBER},{_NUMBER}\)"),
    "test f1": re.compile("test:f1:legacy"),
    "test tnr": re.compile(f"test:tnr={_NUMBER}:medfair"),
    "test tpr": re.compile(f"test:tpr={_NUMBER}:medfair"),
}
_WORDS = {
    "fixed": "Positive from a probability of {0} on; sensible only where probabilities are calibrated.",
    "youden": "Threshold with the largest sensitivity + specificity on validation rows (Youden 1950).",
    "f1": "Threshold with the largest F1 on validation rows; of equal ones the highest.",
    "prevalence": "Threshold that decides for as many validation rows as are positive.",
    "tpr": "Threshold with the largest specificity among those of sensitivity {0} or more on validation rows.",
    "tnr": "Threshold with the largest sensitivity among those of specificity {0} or more on validation rows.",
    "fpr": (
        "Threshold with the largest sensitivity among those of false positive rate {0} or less on validation rows."
    ),
    "cost": (
        "Threshold with the smallest cost on validation rows, where a false positive costs {0} and a missed positive {1}."
    ),
    "test f1": (
        "FairMedFM and MEDFAIR: threshold with the largest F1 on the rows that are then measured, decisions strictly"
        " above it (the sample that set the threshold is lost); optimistic, for comparison with published numbers only."
    ),
    "test tnr": (
        "MEDFAIR: threshold interpolated at specificity {0} on the ROC of the rows that are then measured, decisions"
        " strictly above it; optimistic, for comparison with published numbers only."
    ),
    "test tpr": (
        "MEDFAIR: threshold interpolated at sensitivity {0} on the ROC of the rows that are then measured, decisions"
        " strictly above it; optimistic, for comparison with published numbers only."
    ),
}


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
        Rows it was chosen on; 0 for a fixed one.
    reason
        Why it is not the rule that was asked for; None where it is.
    strict
        Whether `value` itself is still negative (``score > value``), as some peers decide.
    optimistic
        Whether it was chosen on the rows that are measured, so that what follows looks better than it is.
    """

    value: float
    convention: str
    n: int = 0
    reason: str | None = None
    strict: bool = False
    optimistic: bool = False

    def decide(self, score: Array) -> NDArray[np.bool_]:
        """Return where the decision is positive."""
        return np.asarray(score > self.value if self.strict else score >= self.value)


class _Rule(NamedTuple):
    """A rule taken apart: which one, and its numbers."""

    name: str
    numbers: tuple[float, ...]


class _Counts(NamedTuple):
    """Decisions at every candidate, highest first: ``[K]`` thresholds, true and false positives; totals."""

    candidate: Array
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    positives: int
    negatives: int


def check_rule(rule: str) -> str:
    """Return the rule if it is known.

    Raises
    ------
    UserError
        Otherwise; names the rules.
    """
    if is_rule(rule):
        return rule
    known = ", ".join(repr(name) for name in RULE_FORMS)
    raise UserError(
        f"threshold must be one of {known}, with X in [0, 1] such as 'fixed:0.5', costs 0 or more and not both 0,"
        f" and VAL_RULE any of the val rules; got {rule!r}."
    )


def is_rule(rule: str) -> bool:
    """Say whether :func:`choose_threshold` knows the rule."""
    return _parse(group_rule(rule) or rule) is not None


def group_rule(rule: str) -> str | None:
    """Return the ``val:`` rule that a group-specific one applies to each group; None for any other rule.

    Examples
    --------
    >>> group_rule("group:val:tpr=0.8")
    'val:tpr=0.8'
    """
    inner = rule.removeprefix(_GROUP)
    return inner if rule.startswith(_GROUP) and inner.startswith("val:") and _parse(inner) else None


def chooses_on_measured_rows(rule: str) -> bool:
    """Say whether the rule is one of the published ones that choose on the rows they measure."""
    return is_rule(rule) and rule.startswith("test:")


def describe_rule(rule: str) -> str:
    """Say in one sentence what a rule does, and where it comes from if it is a peer's.

    Raises
    ------
    UserError
        If the rule is unknown.
    """
    inner = group_rule(check_rule(rule))
    parsed = _parse(inner or rule)
    if parsed is None:  # check_rule has raised already
        raise ValueError(rule)
    words = _WORDS[parsed.name].format(*(f"{number:g}" for number in parsed.numbers))
    return (
        f"For each group its own threshold (an analysis of sensitivity, no fair default): {words}"
        if inner
        else words
    )


def _parse(rule: str) -> _Rule | None:
    for name, pattern in _GRAMMAR.items():
        match = pattern.fullmatch(rule)
        if match is not None:
            numbers = tuple(map(_number, match.groups()))
            return _Rule(name, numbers) if _allowed(name, numbers) else None
    return None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _allowed(name: str, numbers: tuple[float, ...]) -> bool:
    if name == "cost":
        return all(0.0 <= cost < np.inf for cost in numbers) and sum(numbers) > 0.0
    return all(0.0 <= share <= 1.0 for share in numbers)


def choose_threshold(rule: str, score: Array, positive: NDArray[np.bool_]) -> Threshold:
    """Apply a rule to rows.

    Parameters
    ----------
    rule
        As in the module's text.
    score
        ``[n]`` scores in [0, 1]: of val rows; of one group's val rows for a ``group:`` rule; of the rows that are
        measured for a ``test:`` rule.
    positive
        ``[n]`` whether a row is positive.

    Returns
    -------
    Threshold
        ``fixed:0.5`` with a reason when there are no rows of both classes to choose on.

    Raises
    ------
    UserError
        If the rule is unknown.

    Notes
    -----
    ``test:f1:legacy`` (FairMedFM, MEDFAIR): F1 = 2PR / (P + R + 1e-8) at every score, the first (lowest) of the
    largest, decisions ``>``. ``test:tnr=X:medfair`` and ``tpr``: see :func:`_interpolated`; decisions ``>``.

    Examples
    --------
    >>> choose_threshold("val:f1", np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True])).value
    0.6
    """
    inner = group_rule(check_rule(rule))
    if inner is not None:
        chosen = choose_threshold(inner, score, positive)
        return replace(chosen, convention=rule) if chosen.convention == inner else chosen
    parsed = _parse(rule)
    if parsed is None:  # check_rule has raised already
        raise ValueError(rule)
    if parsed.name == "fixed":
        return Threshold(parsed.numbers[0], rule)
    on_measured = chooses_on_measured_rows(rule)
    positives = int(positive.sum())
    if not 0 < positives < len(positive):
        where = "the measured rows" if on_measured else "val"
        found = f"{positives} positive and {len(positive) - positives} negative labelled rows in {where}"
        return Threshold(0.5, FALLBACK, reason=f"no threshold from {where} ({found}); 0.5 used")
    counts = _count(score, positive)
    value = _CHOICES[parsed.name](counts, *parsed.numbers)
    return Threshold(value, rule, n=len(positive), strict=on_measured, optimistic=on_measured)


def _count(score: Array, positive: NDArray[np.bool_]) -> _Counts:
    candidates = np.unique(score)[::-1]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    return _Counts(
        candidates,
        positives - np.searchsorted(np.sort(score[positive]), candidates, side="left"),
        negatives - np.searchsorted(np.sort(score[~positive]), candidates, side="left"),
        positives,
        negatives,
    )


def _with_nobody(counts: _Counts) -> _Counts:
    """Add a candidate above all scores."""
    above = np.nextafter(counts.candidate[0], np.inf)
    return counts._replace(
        candidate=np.r_[above, counts.candidate],
        true_positives=np.r_[0, counts.true_positives],
        false_positives=np.r_[0, counts.false_positives],
    )


def _best(counts: _Counts, merit: Array | NDArray[np.int64]) -> float:
    """Return the highest of the candidates with the largest merit."""
    return float(counts.candidate[np.argmax(merit)])


def _youden(counts: _Counts) -> float:
    # One common denominator keeps equal merits equal, so that ties are ties.
    return _best(counts, counts.true_positives * counts.negatives - counts.false_positives * counts.positives)


def _f1(counts: _Counts) -> float:
    decided = counts.true_positives + counts.false_positives
    return _best(counts, 2.0 * counts.true_positives / (counts.positives + decided))


def _prevalence(counts: _Counts) -> float:
    decided = counts.true_positives + counts.false_positives
    return _best(counts, -np.abs(decided - counts.positives))


def _at_sensitivity(counts: _Counts, share: float) -> float:
    enough = counts.true_positives / counts.positives >= share
    return _best(counts, np.where(enough, counts.negatives - counts.false_positives, -1))


def _at_specificity(counts: _Counts, share: float) -> float:
    counts = _with_nobody(counts)
    enough = (counts.negatives - counts.false_positives) / counts.negatives >= share
    return _best(counts, np.where(enough, counts.true_positives, -1))


def _at_false_positive_rate(counts: _Counts, share: float) -> float:
    counts = _with_nobody(counts)
    few = counts.false_positives / counts.negatives <= share
    return _best(counts, np.where(few, counts.true_positives, -1))


def _cheapest(counts: _Counts, false_positive: float, false_negative: float) -> float:
    counts = _with_nobody(counts)
    missed = counts.positives - counts.true_positives
    return _best(counts, -(false_positive * counts.false_positives + false_negative * missed))


def _legacy_f1(counts: _Counts) -> float:
    precision = counts.true_positives / (counts.true_positives + counts.false_positives)
    recall = counts.true_positives / counts.positives
    merit = 2.0 * precision * recall / (precision + recall + 1e-8)
    return float(counts.candidate[::-1][np.argmax(merit[::-1])])


def _interpolated_specificity(counts: _Counts, share: float) -> float:
    return _interpolated(counts, share, lambda true, false: 1.0 - false)


def _interpolated_sensitivity(counts: _Counts, share: float) -> float:
    return _interpolated(counts, share, lambda true, false: true)


def _interpolated(counts: _Counts, share: float, axis: Callable[[Array, Array], Array]) -> float:
    """Interpolate the threshold linearly between the corners of the ROC curve, as MEDFAIR does.

    The curve is scikit-learn's of that time: collinear points are dropped, and the first threshold, which decides
    for nobody, is the largest score + 1.
    """
    true, false = counts.true_positives, counts.false_positives
    bends = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    corner = np.r_[True, bends, True] if len(true) > 2 else np.ones(len(true), bool)
    threshold = np.r_[counts.candidate[0] + 1.0, counts.candidate[corner]]
    rates = (
        np.r_[0, true[corner]] / counts.positives,
        np.r_[0, false[corner]] / counts.negatives,
    )
    along = axis(*rates)
    order = np.argsort(along, kind="stable")
    return float(np.interp(share, along[order], threshold[order]))


_CHOICES: dict[str, Callable[..., float]] = {
    "youden": _youden,
    "f1": _f1,
    "prevalence": _prevalence,
    "tpr": _at_sensitivity,
    "tnr": _at_specificity,
    "fpr": _at_false_positive_rate,
    "cost": _cheapest,
    "test f1": _legacy_f1,
    "test tnr": _interpolated_specificity,
    "test tpr": _interpolated_sensitivity,
}
