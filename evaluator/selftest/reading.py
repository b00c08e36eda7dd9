"""From the tables of a measurement to outcomes: what it says of people whose truth is known."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluator.groups import ALL
from evaluator.measure import Measurement
from evaluator.measure.uncertainty import BIASED
from evaluator.metrics.metric import Array
from evaluator.selftest import findings
from evaluator.selftest.classified import Classifier
from evaluator.selftest.findings import Outcome, Question, Rule
from evaluator.selftest.people import People
from evaluator.selftest.segmented import MaskCell, Segmenter

Row = dict[str, Any]
Truths = Mapping[tuple[str, str], Mapping[str, float]]

#: Group sizes from which the guarantee holds: subjects, and subjects of each class.
_ENOUGH, _ENOUGH_OF_CLASS = 150, 30
#: True values that differ by less than this are the same, up to quadrature.
_SAME = 1e-7


@dataclass(frozen=True)
class Known:
    """People with the truth about a model.

    Attributes
    ----------
    truths
        (attribute, group) -> metric -> true value.
    enough
        (attribute, group) -> whether the group is large enough for the guarantee.
    """

    truths: Truths
    enough: Mapping[tuple[str, str], bool]

    @classmethod
    def of(cls, people: People, model: Classifier | Segmenter) -> Known:
        """Compute the truth in every group."""
        mixtures = dict(people.mixtures())
        everyone = mixtures[ALL, ALL]
        truths = {group: model.truth(mixture, everyone) for group, mixture in mixtures.items()}
        enough = {
            group: people.subjects(*group) >= _ENOUGH
            and people.subjects(*group) * _rarer(model, mixture) >= _ENOUGH_OF_CLASS
            for group, mixture in mixtures.items()
        }
        return cls(truths, enough)

    def of_row(self, row: Row) -> float | None:
        """Return the true value of a row of the metrics table; None where it has none."""
        return self.truths.get((row["attribute"], row["group"]), {}).get(name_of(row))


@functools.cache
def known_of(people: People, model: Classifier | Segmenter) -> Known:
    """Return :meth:`Known.of`, computed once."""
    return Known.of(people, model)


def _rarer(model: Classifier | Segmenter, mixture: Array) -> float:
    """Return the share of the rarer class; 1 for masks, which have none."""
    prevalence = [1.0 if isinstance(cell, MaskCell) else cell.prevalence for cell in model.cells]
    share = float(np.dot(mixture, prevalence))
    return 1.0 if isinstance(model, Segmenter) else min(share, 1.0 - share)


def name_of(row: Row) -> str:
    """Return a metric's name, with its variant where it is not the default."""
    _, bar, kind = row["convention"].partition("|")
    return str(row["metric"] + bar + kind)


def intervals(
    measured: Measurement,
    known: Known,
    method: str,
    only: tuple[str, ...] = (),
    rule: Rule | None = None,
) -> Iterator[Outcome]:
    """Yield for every value whether its interval covers the truth; metrics that are refused one on principle are left out."""
    for row in measured.metrics.to_pylist():
        truth, name = known.of_row(row), name_of(row)
        refused = BIASED in (row["reason"] or "")
        if truth is None or refused or (only and name not in only):
            continue
        enough = known.enough[row["attribute"], row["group"]]
        usual = _rule(name, enough)
        asked = Question(f"coverage: {method}", f"{name} {_words(row)}", rule or usual)
        yield Outcome(asked, _covers(row, truth))


def _words(row: Row) -> str:
    return ALL if row["attribute"] == ALL else f"{row['attribute']}={row['group']}"


def _covers(row: Row, truth: float) -> float:
    if row["ci_low"] is None:
        return float("nan")
    return float(row["ci_low"] <= truth <= row["ci_high"])


def gaps(measured: Measurement, known: Known, alpha: float = 0.05) -> Iterator[Outcome]:
    """Yield size or power of the tests, the share of chance left in gaps, and whether their intervals cover."""
    values = {
        (row["attribute"], row["group"], row["metric"], row["convention"]): row["value"]
        for row in measured.metrics.to_pylist()
    }
    for row in measured.gaps.to_pylist():
        if row["kind"] != "max-min" or row["status"] != "ok":
            continue
        groups = [g for a, g in known.truths if a == row["attribute"] and g not in row["excluded_groups"]]
        truth = {group: known.truths[row["attribute"], group].get(name_of(row)) for group in groups}
        true = {group: value for group, value in truth.items() if value is not None}
        if len(true) < 2:
            continue
        name, apart = f"{name_of(row)} {row['attribute']}", max(true.values()) - min(true.values())
        same = apart < _SAME
        rejected = float("nan") if row["p_value"] is None else float(row["p_value"] <= alpha)
        yield Outcome(_tested(name, same), rejected)
        if same and row["adjusted"] is not None:
            yield Outcome(
                Question("adjusted / raw gap", name, findings.HALF_OF_RAW), row["adjusted"], row["raw"]
            )
        if BIASED in (row["reason"] or ""):
            continue
        signed = _signed(row, true, values) if len(true) == 2 else apart
        enough = all(known.enough[row["attribute"], group] for group in groups)
        asked = Question(
            f"coverage of the gap: {len(true)} groups", name, _gap_rule(name_of(row), len(true), enough)
        )
        yield Outcome(asked, _covers(row, signed))


def _tested(name: str, same: bool) -> Question:
    return Question("size", name, findings.SIZE) if same else Question("power", name, findings.POWER)


def _rule(name: str, enough: bool) -> Rule:
    if not enough:
        return findings.FEW_SUBJECTS
    return findings.WIDE if name == "ce2" else findings.COVERAGE


def _gap_rule(name: str, groups: int, enough: bool) -> Rule:
    return findings.BOUND if groups > 2 else _rule(name, enough)


def _signed(row: Row, true: Mapping[str, float], values: Mapping[tuple[str, str, str, str], Any]) -> float:
    """Return the true difference in the direction of the one seen, which the interval of two groups is of."""
    seen = {group: values[row["attribute"], group, row["metric"], row["convention"]] for group in true}
    # What is neither good nor bad names no best group; its interval is of the highest less the lowest.
    ends = (
        (row["best_group"], row["worst_group"])
        if row["best_group"]
        else sorted(seen, key=seen.__getitem__)[::-1]
    )
    first, second = ((seen[group], true[group]) for group in ends)
    sign = 1.0 if first[0] >= second[0] else -1.0
    return sign * (first[1] - second[1])


def planted(measured: Measurement, of: str, attribute: str, size: float) -> Iterator[Outcome]:
    """Yield the adjusted gap of a metric as a share of the one planted."""
    for row in measured.gaps.to_pylist():
        if (row["kind"], name_of(row), row["attribute"]) == ("max-min", of, attribute):
            asked = Question("adjusted / planted gap", f"{of} {attribute}", findings.NEAR_TRUTH)
            yield Outcome(asked, float("nan") if row["adjusted"] is None else row["adjusted"], size)
