"""Within one dataset: how every arm differs from the best arm, or from a named baseline, on the same subjects.

Guarantee: two arms are compared only where both were measured on as many subjects and with the same replicates; else the row
says ``undefined`` and why. Family of Holm's adjustment: one question (dataset, split, target, structure, metric, convention).
The best arm is found by looking at all, so against it the family is all pairs of arms; against a baseline it is the arms.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from evaluator.compare.arms import (
    Arm,
    Entry,
    Place,
    Results,
    Row,
    joined,
    matching_baseline,
    number,
    table_of,
)
from evaluator.compare.measures import why_untested
from evaluator.groups import ALL
from evaluator.metrics.directions import better
from evaluator.statistics.multiplicity import holm
from evaluator.statistics.paired import paired_difference, paired_p_value, untested_difference
from evaluator.tables import COMPARISONS

if TYPE_CHECKING:
    import pandas as pd

VAL = "val"


def compare(
    metrics: pd.DataFrame, replicates: pd.DataFrame, *, alpha: float, baseline: str | None = None
) -> pd.DataFrame:
    """Compare arms within every question, paired by subject.

    Parameters
    ----------
    metrics, replicates
        Columns of :data:`evaluator.tables.METRICS` and :data:`~evaluator.tables.REPLICATES`; rows of all results of a study.
    alpha
        1 - level of the intervals.
    baseline
        Model to compare with, by its arm most like the other one. None: the best arm of each question.

    Returns
    -------
    DataFrame
        Columns of :data:`evaluator.tables.COMPARISONS`: a row for every arm but the one compared with. `difference` is value -
        value of `against`, both means over seeds; `seed` is null where several seeds were averaged. Where nothing can be
        compared (a single arm, different subjects, an undefined value) the row is ``undefined`` with a reason. Values of val
        without replicates are there for selection and are not compared; nor are metrics of which no value is better (a
        threshold), unless with a baseline.

    Raises
    ------
    UserError
        If no row is of the baseline.

    Notes
    -----
    See :func:`evaluator.statistics.paired.paired_difference`. Differences of the plain calibration error (``ece``) stay without
    interval and p: its replicates are biased. Those of ``ce2`` are brought back to the values first. Without a
    baseline the best of k arms is partly the luckiest: differences to it are somewhat too large, and Holm over k - 1 of them
    would find equal arms different too often (13 % for ten arms); over all k (k - 1) / 2 pairs it keeps its level.
    """
    overall = metrics[metrics["attribute"] == ALL] if len(metrics) else metrics
    draws = replicates[replicates["attribute"] == ALL] if len(replicates) else replicates
    results = Results.read(overall, draws)
    results.check_baseline(baseline)
    places = sorted({*results.entries, *results.missing}, key=lambda place: place.order)
    places = [place for place in places if place.split != VAL or _replicated(results.entries.get(place, {}))]
    rows: list[Row] = []
    for place in places:
        entries = results.entries.get(place, {})
        rows += _undefined(place, results.missing.get(place, {}))
        if baseline is None:
            rows += _against_best(place, entries, alpha)
        else:
            rows += _against_model(place, entries, alpha, baseline)
    return table_of(rows, COMPARISONS)


def tied(comparisons: pd.DataFrame, *, alpha: float) -> pd.Series[bool]:
    """Mark the rows whose arm cannot be told from the one it is compared with: adjusted p not below alpha, or none."""
    return ~(comparisons["p_adjusted"] < alpha)


def _replicated(entries: Mapping[Arm, Entry]) -> bool:
    return any(len(entry.mean.replicates) for entry in entries.values())


def _against_best(place: Place, entries: Mapping[Arm, Entry], alpha: float) -> list[Row]:
    if not entries or better(place.metric) == "neither":
        return []
    if len(entries) == 1:
        ((arm, entry),) = entries.items()
        return [_row(place, arm, entry, reason="single_arm: nothing to compare with")]
    if better(place.metric) == "unknown":
        reason = (
            f"no_direction: it is not known whether high or low {place.metric} is better; name a baseline"
        )
        return [_row(place, arm, entry, reason=reason) for arm, entry in entries.items()]
    peers = _largest_peers(entries)
    best = max(peers, key=lambda arm: entries[arm].mean.value * _sign(place.metric))
    adjusted = {} if why_untested(place.metric) else _all_pairs(entries, peers)
    note = None
    if len(peers) > 2:
        pairs = len(peers) * (len(peers) - 1) // 2
        note = f"against the best of {len(peers)} arms, found on these subjects: p adjusted over all {pairs} pairs"
    rows = [_compared(place, arm, best, entries, alpha, note) for arm in entries if arm != best]
    for row, arm in zip(rows, (arm for arm in entries if arm != best), strict=True):
        row["p_adjusted"] = adjusted.get(frozenset((arm, best))) if row["p_value"] is not None else None
    return rows


def _against_model(place: Place, entries: Mapping[Arm, Entry], alpha: float, baseline: str) -> list[Row]:
    rivals = {
        arm: _sign(place.metric) * entry.mean.value for arm, entry in entries.items() if arm.model == baseline
    }
    if not rivals:
        reason = f"no_baseline: {baseline} has no value here"
        return [_row(place, arm, entry, reason=reason) for arm, entry in entries.items()]
    others = [arm for arm in entries if arm not in rivals]
    if not others:
        reason = "single_arm: nothing to compare with" if len(entries) == 1 else "no other model here"
        return [_row(place, arm, entry, reason=reason) for arm, entry in entries.items()]
    rows = [_compared(place, arm, matching_baseline(arm, rivals), entries, alpha, None) for arm in others]
    tested = [row for row in rows if row["p_value"] is not None]
    for row, p in zip(tested, holm([row["p_value"] for row in tested]).tolist(), strict=True):
        row["p_adjusted"] = p
    return rows


def _sign(metric: str) -> int:
    return -1 if better(metric) == "lower" else 1


def _largest_peers(entries: Mapping[Arm, Entry]) -> list[Arm]:
    """Return the arms of the most common number of subjects; of equally common ones the larger number."""
    counts = Counter(entry.subjects for entry in entries.values())
    subjects = max(counts, key=lambda count: (counts[count], count))
    return [arm for arm, entry in entries.items() if entry.subjects == subjects]


def _all_pairs(entries: Mapping[Arm, Entry], peers: list[Arm]) -> dict[frozenset[Arm], float]:
    """Return Holm's p of every pair that can be tested."""
    found = {
        frozenset(pair): paired_p_value(first.mean, second.mean, units=min(first.units, second.units))
        for pair in itertools.combinations(peers, 2)
        for first, second in [(entries[pair[0]], entries[pair[1]])]
        if _why_not(first, second) is None
    }
    tested = {pair: p for pair, p in found.items() if p is not None}
    return dict(zip(tested, holm(np.array(list(tested.values()))).tolist(), strict=True))


def _why_not(first: Entry, second: Entry) -> str | None:
    if first.subjects != second.subjects:
        return f"different_subjects: {first.subjects} and {second.subjects} subjects measured"
    lengths = len(first.mean.replicates), len(second.mean.replicates)
    if lengths[0] != lengths[1]:
        return f"different_replicates: {lengths[0]} and {lengths[1]}"
    return None


def _compared(
    place: Place, arm: Arm, against: Arm, entries: Mapping[Arm, Entry], alpha: float, note: str | None
) -> Row:
    first, second = entries[arm], entries[against]
    reason = _why_not(first, second)
    if reason is not None:
        return _row(place, arm, first, against, second, reason=reason)
    untested = why_untested(place.metric)
    found = (
        paired_difference(first.mean, second.mean, units=min(first.units, second.units), alpha=alpha)
        if untested is None
        else untested_difference(first.mean, second.mean, untested)
    )
    row = _row(place, arm, first, against, second, reason=None)
    samples = None if first.n == second.n else f"{first.n} and {second.n} samples of these subjects measured"
    unknown = [
        side.name for side, entry in ((arm, first), (against, second)) if entry.seed is not None
    ]  # a run with a seed could have come out otherwise; without one there was nothing to draw
    training = f"one seed of {' and of '.join(unknown)}: variance of training not known" if unknown else None
    seeds = (
        "interval: t, subjects and seeds combined"
        if found.seed_error is not None and found.ci_low is not None
        else None
    )
    return row | {
        "difference": found.value,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "p_value": found.p_value,
        "p_adjusted": None,
        "status": "ok",
        "reason": joined(
            f"no interval: {found.reason}" if found.reason else None,
            note if found.p_value is not None else None,
            samples,
            training,
            seeds,
            first.note,
            second.note,
        ),
    }


def _undefined(place: Place, missing: Mapping[Arm, str]) -> list[Row]:
    return [_row(place, arm, None, reason=reason) for arm, reason in missing.items()]


def _row(
    place: Place,
    arm: Arm,
    entry: Entry | None,
    against: Arm | None = None,
    other: Entry | None = None,
    *,
    reason: str | None,
) -> Row:
    row: Row = {name: value for name, value in place._asdict().items() if name not in ("attribute", "group")}
    row |= arm._asdict() | {"seed": entry.seed if entry else None}
    if against is not None:
        row |= {f"against_{name}": value for name, value in against._asdict().items()}
        row["against_seed"] = other.seed if other else None
    subjects = [e.subjects for e in (entry, other) if e is not None]
    return row | {
        "n_subjects": min(subjects) if subjects else None,
        "p_value": number(None),
        "status": "undefined",
        "reason": reason,
    }
