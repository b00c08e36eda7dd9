"""What is asked of the evaluator, and what a number of simulated runs answer.

A run gives outcomes: each adds a pair (numerator, denominator) to one question, and the question's value is the ratio of the
sums. So a share of intervals that cover, a size, a ratio of mean gaps and a ratio of squared errors are one thing, with one
Monte Carlo error (the delta method over runs). Sums are added in the order of runs, so they do not depend on who did them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from evaluator.metrics.metric import Array

#: Monte Carlo errors by which a value may miss its range: more shows that the truth lies outside.
SLACK = 2.0

#: Runs that a question must have an answer in, as a share of all.
_ANSWERED = 0.5


class Rule(NamedTuple):
    """Range that the value of a question must be in, and why it is the range; `note` is empty for those of the guarantee."""

    low: float
    high: float
    note: str = ""


COVERAGE = Rule(0.93, 0.97)
SIZE = Rule(0.0, 0.06)
POWER = Rule(0.0, 1.0, "reported, not judged")
BOUND = Rule(0.93, 1.0, "simultaneous over all pairs: bounds the gap, and is wide but right")
WIDE = Rule(0.93, 1.0, "binned errors: replicates scatter more than samples do, so the interval is wide")
AT_THE_EDGE = Rule(
    0.93, 1.0, "no error at all, where replicates of a square scatter most: the interval is wide"
)
FEW_SUBJECTS = Rule(
    0.93, 1.0, "fewer than 150 subjects, or 30 of a class: exact and score intervals of few are wide"
)
HALF_OF_RAW = Rule(0.0, 0.5)
NEAR_TRUTH = Rule(0.9, 1.1)
SMALLER = Rule(0.0, 0.999)
UNBIASED = Rule(-0.1, 0.1, "in units of what sampling alone adds")


class Question(NamedTuple):
    """What is asked.

    Attributes
    ----------
    what
        E.g. ``"coverage"``.
    of
        Of which metric, attribute, group: words for the table.
    rule
        Range of the answer.
    """

    what: str
    of: str
    rule: Rule


class Outcome(NamedTuple):
    """What one run adds to a question; NaN where the run has no answer."""

    question: Question
    numerator: float
    denominator: float = 1.0


@dataclass
class Tally:
    """Sums of the outcomes of many runs, by question: runs, n, d, n^2, d^2, n d."""

    sums: dict[Question, Array] = field(default_factory=dict)
    runs: int = 0

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Add one run."""
        self.runs += 1
        for question, n, d in outcomes:
            known = self.sums.setdefault(question, np.zeros(6))
            if np.isfinite(n) and np.isfinite(d):
                known += np.array([1.0, n, d, n * n, d * d, n * d])

    def __add__(self, other: Tally) -> Tally:
        """Append the runs of another tally."""
        sums = {question: known.copy() for question, known in self.sums.items()}
        for question, more in other.sums.items():
            sums[question] = sums[question] + more if question in sums else more
        return Tally(sums, self.runs + other.runs)


@dataclass(frozen=True)
class Finding:
    """One row of the table of results.

    Attributes
    ----------
    study, what, of
        Which simulation, and what was asked.
    value, error
        Answer and its Monte Carlo standard error; of a share at least what it is at the nearest bound.
    low, high
        Range that the guarantee allows.
    runs
        Simulated runs with an answer.
    ok
        Whether the value is in the range, or outside by no more than chance (two Monte Carlo errors).
    note
        Why the range is what it is; empty for the guarantee's own.
    """

    study: str
    what: str
    of: str
    value: float
    error: float
    low: float
    high: float
    runs: int
    ok: bool
    note: str


def judge(study: str, tally: Tally) -> Iterator[Finding]:
    """Answer every question of a study, in the order in which they came up."""
    for question, sums in tally.sums.items():
        rule = question.rule
        count = int(sums[0])
        value, error = _ratio(sums)
        error = max(error, _least_error(sums, value, rule))
        inside = rule.low - SLACK * error <= value <= rule.high + SLACK * error
        ok = bool(inside and count >= _ANSWERED * tally.runs)
        yield Finding(
            study, question.what, question.of, value, error, rule.low, rule.high, count, ok, rule.note
        )


def _least_error(sums: Array, value: float, rule: Rule) -> float:
    """Return the error that a share would have at the nearest bound: few runs may all agree by chance. 0 for other ratios."""
    count, n, d, nn, dd, _ = sums.tolist()
    bound = min((rule.low, rule.high), key=lambda end: abs(end - value))
    share = count == d == dd and n == nn and 0.0 < bound < 1.0
    return float(np.sqrt(bound * (1.0 - bound) / count)) if share and count else 0.0


def _ratio(sums: Array) -> tuple[float, float]:
    count, n, d, nn, dd, nd = sums.tolist()
    if count < 2 or d == 0.0:
        return float("nan"), float("nan")
    ratio = n / d
    left = nn - 2.0 * ratio * nd + ratio**2 * dd
    return ratio, float(np.sqrt(max(left, 0.0) * count / (count - 1.0)) / abs(d))
