"""Rows of the gaps table: for every metric and attribute how far apart the groups are, in every kind asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluator.groups import UNKNOWN
from evaluator.measure.cohort import Cohort
from evaluator.measure.evaluation import AttributeResult, Evaluation
from evaluator.measure.group_rows import estimate_of
from evaluator.measure.settings import MeasureSettings
from evaluator.measure.uncertainty import BIASED, centred, interval_of
from evaluator.metrics.directions import better
from evaluator.metrics.disparity import disparity
from evaluator.metrics.group_values import Disparity, GroupValues, against_chance
from evaluator.metrics.metric import Array, Metric
from evaluator.statistics.gaps import measure_gap
from evaluator.statistics.multiplicity import PRIMARY
from evaluator.statistics.permutation import NullGaps, permute_groups
from evaluator.statistics.simultaneous import Bounds

Row = dict[str, Any]
Groups = tuple[int, ...]

#: Kinds that are reported without being asked for: of primary metrics, and of decisions.
_PRIMARY_KINDS = ("ratio", "worst", "es:sum", "variance:corrected")
_DECISION_KINDS = ("dp:diff", "eqopp:tpr_gap", "eqodds:max")


@dataclass(frozen=True)
class _Comparison:
    """One row to be: metrics (places), the groups that can be compared in all of them, and the kind."""

    places: tuple[int, ...]
    groups: Groups
    kind: Disparity


def gap_rows(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    rows: Sequence[Row],
) -> list[Row]:
    """Make the rows of one attribute.

    Parameters
    ----------
    cohort, evaluation, settings, result
        What was measured.
    rows
        The attribute's metric rows, group by group, metrics in the order of the evaluation.
    """
    count = len(evaluation.metrics)
    by_metric = [rows[place::count] for place in range(count)]
    valid = [_valid_groups(group_rows, result.groups) for group_rows in by_metric]
    comparisons = list(_comparisons(evaluation.metrics, valid, settings))
    nulls = _null_gaps(cohort, evaluation, settings, result, comparisons)
    found = []
    for comparison in comparisons:
        mine = [nulls.get((place, comparison.groups)) for place in comparison.places]
        known = [null for null in mine if null is not None]
        found.append(
            _row(evaluation, settings, result, comparison, [by_metric[p] for p in comparison.places], known)
        )
    return found


def _valid_groups(rows: Sequence[Row], groups: tuple[str, ...]) -> Groups:
    names = {row["group"] for row in rows if row["status"] == "ok"} - {UNKNOWN}
    return tuple(code for code, name in enumerate(groups) if name in names)


def _comparisons(
    metrics: Sequence[Metric], valid: Sequence[Groups], settings: MeasureSettings
) -> Iterator[_Comparison]:
    asked = [disparity(token) for token in settings.tokens("disparity")]
    for place, metric in enumerate(metrics):
        direction = metric.higher_is_better
        kinds = dict.fromkeys(["max-min", *(_PRIMARY_KINDS if metric.name in PRIMARY else ())])
        kinds |= dict.fromkeys(kind.kind for kind in asked if not kind.parts)
        for name in kinds:
            kind = disparity(name, higher_is_better=direction)
            if kind.applies_to(metric.name, higher_is_better=direction):
                yield _Comparison((place,), valid[place], kind)
    places = {(metric.name, metric.convention): place for place, metric in enumerate(metrics)}
    joint = dict.fromkeys([*_DECISION_KINDS, *(kind.kind for kind in asked if kind.parts)])
    for convention in dict.fromkeys(metric.convention for metric in metrics):
        for kind in map(disparity, joint):
            parts = [places.get((part, convention)) for part in kind.parts]
            found = tuple(part for part in parts if part is not None)
            if len(found) == len(parts):
                common = set.intersection(*(set(valid[place]) for place in found))
                yield _Comparison(found, tuple(sorted(common)), kind)


def _null_gaps(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    comparisons: Sequence[_Comparison],
) -> dict[tuple[int, Groups], NullGaps]:
    """Permute once for all metrics with the same groups and the same kind of exchange."""
    shared: dict[tuple[Groups, str], dict[int, None]] = {}
    for comparison in comparisons:
        if len(comparison.groups) > 1:
            for place in comparison.places:
                key = comparison.groups, evaluation.metrics[place].exchange
                shared.setdefault(key, {})[place] = None
    found: dict[tuple[int, Groups], NullGaps] = {}
    for (groups, _), places in shared.items():
        nulls = permute_groups(
            [evaluation.metrics[place] for place in places],
            evaluation.data,
            result.partition,
            groups,
            seed=settings.seed,
            subjects=cohort.subjects if settings.permutations else (),
            attribute=result.name,
            permutations=settings.permutations,
        )
        found |= {(place, groups): null.no_surer() for place, null in zip(places, nulls, strict=True)}
    return found


def _row(
    evaluation: Evaluation,
    settings: MeasureSettings,
    result: AttributeResult,
    comparison: _Comparison,
    rows: Sequence[Sequence[Row]],
    nulls: Sequence[NullGaps],
) -> Row:
    metric, kind = evaluation.metrics[comparison.places[0]], comparison.kind
    out = [row["group"] for row in rows[0] if row["status"] != "ok" or row["group"] == UNKNOWN]
    row: Row = {
        "attribute": result.name,
        "metric": kind.metric or metric.name,
        "convention": metric.convention,
        "kind": kind.kind,
        "p_adjusted": None,
        "detectable_adjusted": None,
        "excluded_groups": list(out),
        "status": "ok",
    }
    if len(nulls) < len(comparison.places):
        return {**row, "status": "undefined", "reason": why_no_gap(rows[0])}
    groups = list(comparison.groups)
    if kind.kind == "max-min":
        return {**row, **_gap(metric, settings, result, comparison.places[0], groups, nulls[0], rows[0])}
    return {**row, **_disparity(result, comparison, rows[0], nulls)}


def _gap(
    metric: Metric,
    settings: MeasureSettings,
    result: AttributeResult,
    place: int,
    groups: list[int],
    null: NullGaps,
    rows: Sequence[Row],
) -> Row:
    points, replicates = result.points[place, groups], result.replicates[place, groups]
    gap = measure_gap(
        points,
        centred(replicates, points) if metric.name == "ce2" else replicates,
        result.spread[place].variance[0, groups],
        np.nan_to_num(result.spread[place].size[0, groups], nan=2.0),
        null,
        higher_is_better=metric.higher_is_better,
        alpha=settings.alpha,
        bounds=_bounds(metric, settings, result, place, groups, rows),
    )
    numbers = asdict(gap)
    best, worst = numbers.pop("best"), numbers.pop("worst")
    if metric.name == "ece" and settings.interval == "auto":
        told = f"no interval: {BIASED}"
        numbers |= {"ci_low": None, "ci_high": None, "interval": None, "reason": gap.reason or told}
    names = result.groups[groups[best]], result.groups[groups[worst]]
    if gap.reason is not None and gap.reason.startswith("undefined"):
        return {"status": "undefined", "reason": gap.reason}  # a gap without its chance is not shown
    if better(metric.name) == "neither":
        high, low = names if metric.higher_is_better else names[::-1]
        told = f"highest in {high}, lowest in {low}; neither is better"
        numbers["reason"] = "; ".join(text for text in (told, numbers["reason"]) if text)
        return {**numbers, "best_group": None, "worst_group": None}
    return {**numbers, "best_group": names[0], "worst_group": names[1]}


def _bounds(
    metric: Metric,
    settings: MeasureSettings,
    result: AttributeResult,
    place: int,
    groups: list[int],
    rows: Sequence[Row],
) -> Bounds | None:
    """Return what gives the groups' intervals at any level; None where one method was asked for."""
    if settings.interval != "auto":
        return None

    def at(alpha: float) -> Array:
        if alpha == settings.alpha:  # those of the rows
            return np.array([[rows[group]["ci_low"], rows[group]["ci_high"]] for group in groups], np.float64)
        found = [
            interval_of(metric, estimate_of(result, group, place, rows[group]), "auto", alpha)
            for group in groups
        ]
        return np.array([(np.nan, np.nan) if isinstance(one, str) else one[:2] for one in found])

    return at


def _disparity(
    result: AttributeResult, comparison: _Comparison, rows: Sequence[Row], nulls: Sequence[NullGaps]
) -> Row:
    """Compute a kind against chance; its p-value is that of the hypothesis that its metrics' gaps test, too."""
    groups, places = list(comparison.groups), list(comparison.places)
    spreads = [result.spread[place] for place in places]
    samples = {row["group"]: row["n"] for row in rows}
    sizes = np.array([samples[result.groups[group]] for group in groups], np.float64)
    overall = np.array([null.overall for null in nulls])
    observed = GroupValues(
        result.points[np.ix_(places, groups)],
        overall,
        np.stack([spread.variance[0, groups] for spread in spreads]),
        sizes,
    )
    drawn = min(len(null.values) for null in nulls)
    values = np.stack([null.values[:drawn] for null in nulls])
    if comparison.kind.scope in ("scores", "areas"):
        values = np.clip(values, 0.0, 1.0)  # where a noisy group was stretched beyond the scale
    permuted = GroupValues(
        values,
        np.broadcast_to(overall[:, None], values.shape[:2]),
        np.stack([null.variances[:drawn] for null in nulls]),
        np.broadcast_to(sizes, values.shape[1:]),
    )
    found = against_chance(comparison.kind, observed, permuted)
    status = "undefined" if found.raw is None else "ok"
    tested = found.adjusted is not None and all(null.reason is None for null in nulls)
    p_value = min(1.0, len(nulls) * min(null.p_value for null in nulls)) if tested else None
    return {
        "raw": found.raw,
        "null_mean": found.null_mean,
        "adjusted": found.adjusted,
        "p_value": p_value,
        "status": status,
        "reason": found.reason,
    }


def why_no_gap(rows: Sequence[Row]) -> str:
    """Say why fewer than two groups can be compared."""
    known = [row for row in rows if row["group"] != UNKNOWN and row["status"] != "absent"]
    if not known:
        return "all_unknown: no subject has a known value"
    usable = [row["group"] for row in known if row["status"] == "ok"]
    return f"single_group: {len(usable)} of {len(known)} groups can be compared, two are needed"
