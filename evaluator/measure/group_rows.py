"""Rows of the metrics table: for every group and metric its value with interval and counts, or why there is none.

Statuses of a metric row: ``ok``; ``absent``, the group is declared and no sample of the split is in it; ``suppressed``, fewer
subjects than the declared minimum (the row stays, the value does not); ``undefined``, the metric has no value here. The reason
says more; an ``ok`` row has one too where its interval is missing or samples without a value were left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluator.groups import ALL, UNKNOWN
from evaluator.measure.cohort import Cohort
from evaluator.measure.evaluation import AttributeResult, Evaluation, Mask
from evaluator.measure.settings import MeasureSettings
from evaluator.measure.uncertainty import Estimate, interval_of, shrunken
from evaluator.metrics.metric import Array, Metric

Row = dict[str, Any]


@dataclass(frozen=True)
class Counts:
    """Samples and subjects of some rows, by class where there are classes.

    Attributes
    ----------
    samples, subjects
        How many.
    positive
        Samples of the positive class; None without one.
    positives, negatives
        Subjects with a sample of each class.
    classes
        Subjects with a sample of each class, by name.
    """

    samples: int
    subjects: int
    positive: int | None = None
    positives: int = 0
    negatives: int = 0
    classes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, cohort: Cohort, evaluation: Evaluation, rows: Mask) -> Counts:
        """Count the measured rows that are marked."""
        subject, label = cohort.subject[evaluation.measured], evaluation.label
        samples, subjects = int(rows.sum()), _distinct(subject[rows])
        if label is None:
            return cls(samples, subjects)
        of_class = {
            name: _distinct(subject[rows & (label == code)]) for code, name in enumerate(evaluation.classes)
        }
        if evaluation.positive is None:
            return cls(samples, subjects, classes=of_class)
        positive = label == evaluation.positive
        names = evaluation.classes
        return cls(
            samples,
            subjects,
            int((rows & positive).sum()),
            of_class[names[evaluation.positive]],
            of_class[names[1 - evaluation.positive]],
            of_class,
        )

    def of_side(self, side: str) -> int:
        """Return the subjects of ``"positives"`` or ``"negatives"``."""
        return self.positives if side == "positives" else self.negatives


def _distinct(codes: Any) -> int:
    return int(np.count_nonzero(np.bincount(codes))) if len(codes) else 0


def group_rows(
    cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings, result: AttributeResult, group: int
) -> Iterator[Row]:
    """Make the rows of one group, one for each metric, in the order of the evaluation."""
    inside = result.codes == group
    failed = int((evaluation.failed & inside).sum())
    counted: dict[int, Counts] = {}
    for place, metric in enumerate(evaluation.metrics):
        present = evaluation.present[place]
        if id(present) not in counted:  # metrics of one kind share their mask
            counted[id(present)] = Counts.of(cohort, evaluation, inside[evaluation.measured] & present)
        counts = counted[id(present)]
        yield {
            "attribute": result.name,
            "group": result.groups[group],
            "metric": metric.name,
            "convention": metric.convention,
            **_value(evaluation, settings, result, group, place, counts, inside),
            "n": counts.samples,
            "n_pos": counts.positive,
            "n_neg": None if counts.positive is None else counts.samples - counts.positive,
            "n_subjects": counts.subjects,
            "n_subjects_pos": None if counts.positive is None else counts.positives,
            "n_subjects_neg": None if counts.positive is None else counts.negatives,
            "n_failed": failed,
        }


def _value(
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    group: int,
    place: int,
    counts: Counts,
    inside: Mask,
) -> Row:
    """Return value, interval, shrunken value, status and reason."""
    metric, value = evaluation.metrics[place], float(result.points[place, group])
    status, reason = _standing(metric, counts, settings, limited=result.name != ALL)
    blocked = evaluation.undefined[place] if evaluation.undefined else None
    if not inside.any():
        status, reason = "absent", "no measured sample is in this group"
    elif blocked is not None:
        status, reason = "undefined", blocked
    elif status == "ok" and np.isnan(value):
        status, reason = "undefined", "no_value: nothing to divide by, or no fit"
    elif status == "ok" and result.name != ALL and _is_rare(result, place, group, settings):
        few = int(result.spread[place].size[0, group])
        limit = settings.minimum_positives
        status, reason = "suppressed", f"too_small: {few} subjects in the denominator (minimum {limit})"
    row: Row = {"value": None, "ci_low": None, "ci_high": None, "interval": None}
    if status == "ok":
        interval = interval_of(
            metric, _estimate(result, group, place, counts), settings.interval, settings.alpha
        )
        row["value"] = value
        if not isinstance(interval, str):
            row |= {"ci_low": interval.low, "ci_high": interval.high, "interval": interval.method}
        told = (
            f"no interval: {interval}" if isinstance(interval, str) else None,
            evaluation.notes[place],
            metric.note,
            _left_out(evaluation, place, inside),
        )
        reason = "; ".join(text for text in told if text)
    shrinks = status in ("ok", "suppressed") and result.name != ALL and result.groups[group] != UNKNOWN
    return {
        **row,
        "shrunk": _shrunk(result, place, group) if shrinks else None,
        "status": status,
        "reason": reason or None,
    }


def _is_rare(result: AttributeResult, place: int, group: int, settings: MeasureSettings) -> bool:
    """Say whether a share is one of too few subjects, e.g. PPV of two who were decided positive."""
    shared = not np.isnan(result.trials[place, group])
    return shared and bool(result.spread[place].size[0, group] < settings.minimum_positives)


def estimate_of(result: AttributeResult, group: int, place: int, row: Row) -> Estimate:
    """Return what the interval of a row of the metrics table is made of."""
    sides = int(row["n_subjects_pos"] or 0), int(row["n_subjects_neg"] or 0)
    return _estimate_of(result, group, place, *sides)


def _estimate(result: AttributeResult, group: int, place: int, counts: Counts) -> Estimate:
    return _estimate_of(result, group, place, counts.positives, counts.negatives)


def _estimate_of(result: AttributeResult, group: int, place: int, positives: int, negatives: int) -> Estimate:
    spread = result.spread[place]
    return Estimate(
        float(result.points[place, group]),
        float(spread.variance[0, group]),
        float(np.nan_to_num(spread.size[0, group])),
        float(result.trials[place, group]),
        positives,
        negatives,
        result.replicates[place, group],
        result.jackknife[place, group],
    )


def _shrunk(result: AttributeResult, place: int, group: int) -> float | None:
    known = len(result.groups) - 1
    found: Array = shrunken(result.spread[place], known)
    return float(found[group]) if np.isfinite(found[group]) else None


def _standing(
    metric: Metric, counts: Counts, settings: MeasureSettings, *, limited: bool
) -> tuple[str, str | None]:
    """Decide whether a value may be shown, and why not. `limited`: the smallest group sizes apply."""
    minimum = {"positives": settings.minimum_positives, "negatives": settings.minimum_negatives}
    if counts.samples == 0:
        return "undefined", "no_samples: none could be measured"
    if limited and counts.subjects < settings.minimum_subjects:
        return "suppressed", f"too_small: {counts.subjects} subjects (minimum {settings.minimum_subjects})"
    if "classes" in metric.needs:
        missing = [name for name, subjects in counts.classes.items() if subjects == 0]
        if missing:
            return "undefined", f"missing_class: no sample of {', '.join(missing)}"
        name, subjects = min(counts.classes.items(), key=lambda item: item[1])
        if limited and subjects < minimum["positives"]:
            return "suppressed", f"too_small: {subjects} subjects of {name} (minimum {minimum['positives']})"
    sides = [side for side in metric.needs if side != "classes"]
    empty = [side for side in sides if counts.of_side(side) == 0]
    if empty:
        return "undefined", "one_class" if len(sides) > 1 else f"no_{empty[0]}"
    for side in sides:
        found = counts.of_side(side)
        if limited and found < minimum[side]:
            return "suppressed", f"too_small: {found} subjects with {side} (minimum {minimum[side]})"
    return "ok", None


def _left_out(evaluation: Evaluation, place: int, inside: Mask) -> str | None:
    """Say how many measured samples of a group have no value."""
    measured = inside[evaluation.measured]
    missing = int((measured & ~evaluation.present[place]).sum())
    return f"{missing} of {int(measured.sum())} samples have no value" if missing else None
