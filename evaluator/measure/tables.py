"""Rows of the two measured tables, from the numbers of one evaluation.

Statuses of a metric row: ``ok``; ``absent``, the group is declared and no sample of the split is in it; ``suppressed``, fewer
subjects than the declared minimum (the row stays, the value does not); ``undefined``, the metric has no value here. The reason
says more; an ``ok`` row has one too where its interval is missing or samples without a value were left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.groups import ALL, UNKNOWN
from evaluator.measure.cohort import Cohort
from evaluator.measure.evaluation import AttributeResult, Evaluation, Mask, compute
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.metrics.metric import Array, Metric, Ratios
from evaluator.statistics.bootstrap import percentile_interval, wilson_interval
from evaluator.statistics.gaps import measure_gap
from evaluator.statistics.permutation import NullGaps, permute_groups

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """What was measured.

    Attributes
    ----------
    metrics
        Schema :data:`evaluator.tables.METRICS`; first the rows of attribute ``all``, then the attributes in the order of the
        rules, groups in the order of their names (bins rising, ``unknown`` last), metrics in one fixed order.
    gaps
        Schema :data:`evaluator.tables.GAPS`; `p_adjusted` is null until the family is known (see
        :func:`evaluator.statistics.multiplicity.adjust`).
    """

    metrics: pa.Table
    gaps: pa.Table


def measure(
    cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings, keys: ResultKeys
) -> tuple[list[Row], list[Row]]:
    """Compute the rows of both tables: (metrics, gaps), as dicts of the schemas' columns.

    Uses one thread: many measurements run side by side, and threads that wait for each other cost more than they bring.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return _measure(cohort, evaluation, settings, keys)


def _measure(
    cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings, keys: ResultKeys
) -> tuple[list[Row], list[Row]]:
    metric_rows: list[Row] = []
    gap_rows: list[Row] = []
    for result in compute(cohort, evaluation, settings):
        rows = [
            _metric_row(cohort, evaluation, settings, result, group, position)
            for group in range(len(result.groups))
            if result.groups[group] != UNKNOWN or (result.codes == group).any()
            for position in range(len(evaluation.metrics))
        ]
        metric_rows += [{**asdict(keys), **row} for row in rows]
        if result.name != ALL:
            gaps = _gap_rows(cohort, evaluation, settings, result, rows)
            gap_rows += [{**asdict(keys), **row} for row in gaps]
    return metric_rows, gap_rows


def _metric_row(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    group: int,
    position: int,
) -> Row:
    metric = evaluation.metrics[position]
    inside = result.codes == group
    rows = inside[evaluation.measured] & evaluation.present[position]
    counts = _count(cohort, evaluation, rows)
    status, reason = _standing(metric, counts, settings, limited=result.name != ALL)
    if not inside.any():
        status, reason = "absent", f"no sample of the {settings.split} split is in this group"
    value = low = high = None
    if status == "ok":
        value = float(result.points[position, group])
        low, high, note = _interval(
            metric, value, result.replicates[position, group], _trials(metric, counts), settings
        )
        reason = "; ".join(
            text
            for text in (note, evaluation.notes[position], _left_out(evaluation, position, inside))
            if text
        )
    return {
        "attribute": result.name,
        "group": result.groups[group],
        "metric": metric.name,
        "convention": metric.convention,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": counts["n"],
        "n_pos": counts["positive"] if evaluation.positive is not None else None,
        "n_neg": counts["n"] - counts["positive"] if evaluation.positive is not None else None,
        "n_subjects": counts["subjects"],
        "n_failed": int((evaluation.failed & inside).sum()),
        "status": status,
        "reason": reason or None,
    }


def _count(cohort: Cohort, evaluation: Evaluation, rows: Mask) -> dict[str, Any]:
    """Count the samples and subjects of some measured rows, by class where there are classes."""
    subject = cohort.subject[evaluation.measured]
    counts: dict[str, Any] = {
        "n": int(rows.sum()),
        "subjects": _distinct(subject[rows]),
        "positive": 0,
        "classes": {},
    }
    if evaluation.label is None:
        return counts
    label = evaluation.label
    counts["classes"] = {
        name: _distinct(subject[rows & (label == code)]) for code, name in enumerate(evaluation.classes)
    }
    if evaluation.positive is not None:
        positive = label == evaluation.positive
        counts["positive"] = int((rows & positive).sum())
        counts["positives"] = _distinct(subject[rows & positive])
        counts["negatives"] = _distinct(subject[rows & ~positive])
    return counts


def _distinct(codes: Any) -> int:
    return len(np.unique(codes))


def _trials(metric: Metric, counts: dict[str, Any]) -> int:
    """Return how many subjects a share rests on: for sensitivity those with a positive sample, and so on."""
    sides = [side for side in metric.needs if side != "classes"]
    return min((int(counts[side]) for side in sides), default=int(counts["subjects"]))


def _standing(
    metric: Metric, counts: dict[str, Any], settings: MeasureSettings, *, limited: bool
) -> tuple[str, str | None]:
    """Decide whether a value may be shown, and why not. `limited`: the smallest group sizes apply."""
    minimum = {"positives": settings.minimum_positives, "negatives": settings.minimum_negatives}
    if counts["n"] == 0:
        return "undefined", "no_samples: none could be measured"
    if limited and counts["subjects"] < settings.minimum_subjects:
        return "suppressed", f"too_small: {counts['subjects']} subjects (minimum {settings.minimum_subjects})"
    if "classes" in metric.needs:
        missing = [name for name, subjects in counts["classes"].items() if subjects == 0]
        if missing:
            return "undefined", f"missing_class: no sample of {', '.join(missing)}"
        name, subjects = min(counts["classes"].items(), key=lambda item: int(item[1]))
        if limited and subjects < minimum["positives"]:
            return "suppressed", f"too_small: {subjects} subjects of {name} (minimum {minimum['positives']})"
    sides = [side for side in metric.needs if side != "classes"]
    empty = [side for side in sides if counts[side] == 0]
    if empty:
        return "undefined", "one_class" if len(sides) > 1 else f"no_{empty[0]}"
    for side in sides:
        if limited and counts[side] < minimum[side]:
            return "suppressed", f"too_small: {counts[side]} subjects with {side} (minimum {minimum[side]})"
    return "ok", None


def _interval(
    metric: Metric, value: float, replicates: Array, subjects: int, settings: MeasureSettings
) -> tuple[float | None, float | None, str | None]:
    """Return (low, high, None), or (None, None, reason)."""
    interval = percentile_interval(replicates, settings.alpha)
    if isinstance(interval, tuple):
        return *interval, None
    if (
        interval == "no_variation"
        and isinstance(metric.form, Ratios)
        and metric.form.proportion
        and value in (0.0, 1.0)
    ):
        return *wilson_interval(value, subjects, settings.alpha), "interval: Wilson, all samples alike"
    return None, None, f"no interval: {interval}"


def _left_out(evaluation: Evaluation, position: int, inside: Mask) -> str | None:
    """Say how many measured samples of a group have no value."""
    measured = inside[evaluation.measured]
    missing = int((measured & ~evaluation.present[position]).sum())
    return f"{missing} of {int(measured.sum())} samples have no value" if missing else None


def _gap_rows(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    rows: list[Row],
) -> list[Row]:
    by_metric = [rows[position :: len(evaluation.metrics)] for position in range(len(evaluation.metrics))]
    valid = [_valid_groups(group_rows, result.groups) for group_rows in by_metric]
    nulls = dict(_null_gaps(cohort, evaluation, settings, result, valid))
    return [
        _gap_row(
            evaluation.metrics[position],
            settings,
            result,
            by_metric[position],
            valid[position],
            nulls.get(position),
            position,
        )
        for position in range(len(evaluation.metrics))
    ]


def _valid_groups(rows: list[Row], groups: tuple[str, ...]) -> tuple[int, ...]:
    names = {row["group"] for row in rows if row["status"] == "ok"} - {UNKNOWN}
    return tuple(code for code, name in enumerate(groups) if name in names)


def _null_gaps(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    valid: list[tuple[int, ...]],
) -> Iterator[tuple[int, NullGaps]]:
    """Permute once for all metrics with the same valid groups and the same kind of exchange."""
    shared: dict[tuple[tuple[int, ...], str], list[int]] = {}
    for position, groups in enumerate(valid):
        if len(groups) > 1:
            shared.setdefault((groups, evaluation.metrics[position].exchange), []).append(position)
    for (groups, _), positions in shared.items():
        nulls = permute_groups(
            [evaluation.metrics[position] for position in positions],
            evaluation.data,
            result.partition,
            groups,
            seed=settings.seed,
            subjects=cohort.subjects,
            attribute=result.name,
            permutations=settings.permutations,
        )
        yield from zip(positions, nulls, strict=True)


def _gap_row(
    metric: Metric,
    settings: MeasureSettings,
    result: AttributeResult,
    rows: list[Row],
    valid: tuple[int, ...],
    null: NullGaps | None,
    position: int,
) -> Row:
    row: Row = {
        "attribute": result.name,
        "metric": metric.name,
        "convention": metric.convention,
        "kind": "max-min",
        "p_adjusted": None,
        "excluded_groups": [r["group"] for r in rows if r["status"] != "ok" or r["group"] == UNKNOWN],
        "status": "ok",
    }
    if null is None:
        return {**row, "status": "undefined", "reason": _why_no_gap(rows)}
    groups = list(valid)
    gap = measure_gap(
        result.points[position, groups],
        result.replicates[position, groups],
        null,
        higher_is_better=metric.higher_is_better,
        alpha=settings.alpha,
    )
    numbers = asdict(gap)
    best, worst = numbers.pop("best"), numbers.pop("worst")
    return {
        **row,
        **numbers,
        "best_group": result.groups[groups[best]],
        "worst_group": result.groups[groups[worst]],
    }


def _why_no_gap(rows: list[Row]) -> str:
    known = [row for row in rows if row["group"] != UNKNOWN and row["status"] != "absent"]
    if not known:
        return "all_unknown: no subject has a known value"
    usable = [row["group"] for row in known if row["status"] == "ok"]
    return f"single_group: {len(usable)} of {len(known)} groups can be compared, two are needed"


def to_tables(metric_rows: list[Row], gap_rows: list[Row]) -> Measurement:
    """Put rows into the fixed schemas."""
    import pyarrow as pa

    from evaluator.tables import GAPS, METRICS

    return Measurement(
        pa.Table.from_pylist(metric_rows, schema=METRICS), pa.Table.from_pylist(gap_rows, schema=GAPS)
    )
