"""Measure the predictions of one target.

Guarantee: the tables depend on the rows, attributes, groups and settings only, not on the order of rows or on how many
processes or threads run. Nothing here reads pixels or runs a model. Thresholds are chosen on val rows; the published rules that
choose on the rows measured are computed only where they are asked for, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.groups import ALL, GroupRule
from evaluator.measure.cohort import SAMPLE_COLUMNS, Cohort, as_frame, gather
from evaluator.measure.evaluation import Evaluation
from evaluator.measure.repertoire import GIVEN, of_decisions, repertoire, undefined
from evaluator.measure.scored import Reading, has_scores, read_scored
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.measure.standardised import standardised_rows
from evaluator.measure.tables import Measurement, Row, Rows, measure, to_tables
from evaluator.metrics.metric import Metric
from evaluator.metrics.thresholds import Threshold, choose_threshold, chooses_on_measured_rows, group_rule
from evaluator.statistics.multiplicity import PRIMARY

if TYPE_CHECKING:
    import pandas as pd

    from shards.card import Target


def measure_predictions(
    predictions: Any,
    attributes: pd.DataFrame,
    target: Target,
    groups: Sequence[GroupRule],
    settings: MeasureSettings,
    keys: ResultKeys,
) -> Measurement:
    """Measure predictions of one target.

    Parameters
    ----------
    predictions
        Arrow table or DataFrame of schema :data:`evaluator.tables.PREDICTIONS`, of which `label` and one of `scores`, `score`
        (two classes) and `predicted` (decisions without scores) are needed; rows of other targets are left aside. Val rows
        choose the threshold, rows of ``settings.split`` are measured.
    attributes
        `sample_id` and the raw attributes of every sample of the dataset (its index).
    target
        Classes in the order of the scores; two classes with a positive one are measured as a binary problem.
    groups
        What :func:`evaluator.groups.parse_groups` gave.
    settings, keys
        How to measure, and what the rows are called (`split` and `target` are filled here).

    Returns
    -------
    Measurement
        For two classes also a row ``threshold`` with the value that decisions used (its n: the rows it was chosen on). Where
        there are val rows, the primary metric of the test split is also measured on them (rows of split ``val``), so that
        models can be chosen without looking at test.

    Raises
    ------
    UserError
        If columns, samples or classes do not fit together, or scores are not fractions.
    """
    frame = as_frame(predictions, (*SAMPLE_COLUMNS, "target", "label"), "predictions")
    mine = (frame["target"] == target.name).to_numpy(bool)
    frame = frame if mine.all() else frame[mine]
    scores = has_scores(frame)
    as_frame(frame, () if scores else ("predicted",), "predictions without scores")
    # Where nothing at all was answered there are no decisions either: rows without a score.
    decided = not scores and bool(frame["predicted"].notna().any())
    named = replace(keys, split=settings.split, target=target.name)
    cohort = gather(frame, attributes, groups, settings.split)
    reading = read_scored(cohort.rows, target, cohort.usable, decided_only=decided)
    val = gather(frame, attributes, groups, "val")
    val_reading = read_scored(
        val.rows, target, val.rows["status"].eq("ok").to_numpy(bool), decided_only=decided
    )
    thresholds = _thresholds(reading, val_reading, settings)
    metrics = repertoire(reading, target, thresholds, settings)
    evaluation = _evaluation(cohort, reading, metrics, target)
    rows = measure(cohort, evaluation, settings, named)
    overall = [row for row in rows.metrics if row["attribute"] == ALL]
    chosen = [
        {**overall[0], **_threshold_row(threshold)}
        for threshold in thresholds
        if threshold.convention != GIVEN
    ]
    rows = replace(rows, metrics=[*overall, *chosen, *rows.metrics[len(overall) :]])
    rows = rows + _group_thresholds(cohort, reading, val, val_reading, target, settings, named)
    rows = rows + standardised_rows(cohort, evaluation, settings).keyed(named)
    return to_tables(rows + _val_rows(val, val_reading, metrics, target, settings, named))


def _evaluation(cohort: Cohort, reading: Reading, metrics: Sequence[Metric], target: Target) -> Evaluation:
    present = np.ones(len(reading.data.label), bool)
    return Evaluation(
        metrics=tuple(metrics),
        data=reading.data,
        measured=reading.measured,
        failed=reading.failed | cohort.failed,
        present=(present,) * len(metrics),
        notes=(None,) * len(metrics),
        label=reading.data.label,
        classes=target.classes,
        positive=reading.data.positive,
        undefined=undefined(reading, metrics),
    )


def _thresholds(reading: Reading, val: Reading, settings: MeasureSettings) -> tuple[Threshold, ...]:
    """Choose the thresholds that are asked for: on val rows, or on those measured where a published rule says so."""
    if reading.data.positive is None:
        return ()
    if reading.decided_only:
        return (Threshold(0.5, GIVEN),)
    chosen: list[Threshold] = []
    for rule in (settings.threshold, *settings.tokens("threshold")):
        if group_rule(rule) is not None:
            continue
        rows = reading if chooses_on_measured_rows(rule) else val
        threshold = choose_threshold(rule, rows.data.score, rows.data.is_positive)
        seen = settings.split == "val" and threshold.n > 0
        chosen.append(replace(threshold, optimistic=True) if seen else threshold)
    first: dict[str, Threshold] = {}
    for threshold in chosen:  # the default one stays in front where a preset names it again
        first.setdefault(threshold.convention, threshold)
    return tuple(first.values())


def _threshold_row(threshold: Threshold) -> Row:
    told = "chosen on the rows measured: optimistic" if threshold.optimistic else None
    return {
        "metric": "threshold",
        "convention": threshold.convention,
        "value": threshold.value,
        "ci_low": None,
        "ci_high": None,
        "interval": None,
        "n": threshold.n,
        "n_pos": None,
        "n_neg": None,
        "n_subjects": 0,
        "n_subjects_pos": None,
        "n_subjects_neg": None,
        "n_failed": 0,
        "status": "ok",
        "reason": "; ".join(text for text in (threshold.reason, told) if text) or None,
    }


def _group_thresholds(
    cohort: Cohort,
    reading: Reading,
    val: Cohort,
    val_reading: Reading,
    target: Target,
    settings: MeasureSettings,
    keys: ResultKeys,
) -> Rows:
    """Measure decisions at thresholds of each group's own, attribute by attribute."""
    rules = [rule for rule in settings.tokens("threshold") if group_rule(rule) is not None]
    found = Rows()
    if reading.data.positive is None or reading.decided_only:
        return found
    for rule in rules:
        for grouping, val_grouping in zip(cohort.groupings, val.groupings, strict=True):
            of_group = dict(
                _by_group(rule, val_reading, val_grouping.codes[val_reading.measured], len(grouping.groups))
            )
            lacking = [code for code, threshold in of_group.items() if threshold.reason]
            kept = _without(reading, grouping.codes, lacking)
            by_row = tuple(of_group[code].value for code in grouping.codes[kept.measured].tolist())
            named = Threshold(0.5, rule, reason="a threshold for each group: an analysis of sensitivity")
            metrics = tuple(of_decisions(named, target, settings, by_row))
            only = replace(cohort, groupings=(grouping,))
            rows = measure(only, _evaluation(only, kept, metrics, target), settings, keys)
            told = {grouping.groups[code]: of_group[code].reason for code in lacking if code >= 0}
            mine = [
                {**row, "reason": f"no_threshold: {told[row['group']]}"} if row["group"] in told else row
                for row in rows.metrics
                if row["attribute"] != ALL
            ]
            found = found + Rows(mine, rows.gaps)
    return found


def _without(reading: Reading, codes: Any, groups: Sequence[int]) -> Reading:
    """Leave out the rows of some groups."""
    kept = ~np.isin(codes, groups)
    return replace(
        reading,
        data=reading.data.take(kept[reading.measured]),
        measured=reading.measured & kept,
        failed=reading.failed & kept,
    )


def _by_group(rule: str, val: Reading, codes: Any, groups: int) -> Iterator[tuple[int, Threshold]]:
    """Choose a group's threshold on its val rows; -1 stands for unknown."""
    for code in range(-1, groups):
        inside = codes == code
        yield code, choose_threshold(rule, val.data.score[inside], val.data.is_positive[inside])


def _val_rows(
    val: Cohort,
    reading: Reading,
    metrics: Sequence[Metric],
    target: Target,
    settings: MeasureSettings,
    keys: ResultKeys,
) -> Rows:
    """Measure the primary metric on val, for choosing between models."""
    primary = [metric for metric in metrics if metric.name in PRIMARY]
    if settings.split != "test" or reading.decided_only or not reading.measured.any():
        return Rows()
    quick = settings.model_copy(
        update={"bootstrap": 0, "permutations": 0, "split": "val", "interval": "auto"}
    )
    rows = measure(val, _evaluation(val, reading, primary, target), quick, replace(keys, split="val"))
    return Rows(rows.metrics)
