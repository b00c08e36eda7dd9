"""Measure the rows of one result: predictions of one target, or segmentations of every structure and prompt.

Guarantee: the two tables depend on the rows, attributes, groups and settings only, not on the order of rows or on how many
processes or threads run. Nothing here reads pixels or runs a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.groups import ALL, GroupRule
from evaluator.measure.cohort import Cohort, as_frame, gather
from evaluator.measure.evaluation import Evaluation
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.measure.tables import Measurement, Row, measure, to_tables
from evaluator.metrics.calibration import brier, ece
from evaluator.metrics.classification import Scored, argmax_metrics, auc, threshold_metrics
from evaluator.metrics.metric import Array, Metric
from evaluator.metrics.per_subject import MASK_METRICS, Measured, subject_mean
from evaluator.metrics.thresholds import VAL_RULES, Threshold, choose_threshold, fixed_value
from shards.errors import UserError, unknown_name
from shards.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

    from shards.card import Target

_SAMPLE = ("sample_id", "subject_id", "split", "status")


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
        Arrow table or DataFrame of schema :data:`evaluator.tables.PREDICTIONS`; rows of other targets are left aside. Val rows
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
        For two classes also a row ``threshold`` with the value that decisions used (its n: val rows).

    Raises
    ------
    UserError
        If columns, samples or classes do not fit together, or scores are not fractions.
    """
    columns = (*_SAMPLE, "target", "label", "score", "scores")
    frame = as_frame(predictions, columns, "predictions")
    frame = frame[frame["target"] == target.name]
    cohort = gather(frame, attributes, groups, settings.split)
    named = replace(keys, split=settings.split, target=target.name)
    scored, measured, failed = _scored(cohort.rows, target, cohort.usable)
    failed = failed | cohort.failed
    thresholds = _thresholds(frame, target, settings) if scored.positive is not None else ()
    described = _classification_metrics(scored, thresholds, settings)
    present = np.ones(len(scored.label), bool)
    evaluation = Evaluation(
        metrics=tuple(metric for metric, _ in described),
        data=scored,
        measured=measured,
        failed=failed,
        present=(present,) * len(described),
        notes=tuple(note for _, note in described),
        label=scored.label,
        classes=target.classes,
        positive=scored.positive,
    )
    metric_rows, gap_rows = measure(cohort, evaluation, settings, named)
    overall = [row for row in metric_rows if row["attribute"] == ALL]
    chosen = [{**overall[0], **_threshold_row(threshold)} for threshold in thresholds]
    return to_tables([*overall, *chosen, *metric_rows[len(overall) :]], gap_rows)


def _scored(
    rows: pd.DataFrame, target: Target, usable: NDArray[np.bool_]
) -> tuple[Scored, NDArray[np.bool_], NDArray[np.bool_]]:
    """Read labels and scores; return them with the rows they are of, and the rows whose scores are not numbers."""
    labelled = rows["label"].notna().to_numpy(bool) & usable
    strangers = sorted({str(name) for name in rows["label"][labelled]} - set(target.classes))
    if strangers:
        raise unknown_name(f"class of target {target.name!r}:", strangers[0], target.classes)
    scores = _score_matrix(rows, target)
    finite = np.isfinite(scores).all(axis=1)
    measured = labelled & finite
    position = {name: code for code, name in enumerate(target.classes)}
    label = np.array([position[str(name)] for name in rows["label"][measured]], np.int64)
    chosen = scores[measured]
    if chosen.size and (chosen.min() < -1e-6 or chosen.max() > 1 + 1e-6):
        raise UserError(
            f"scores of target {target.name!r} must be fractions in [0, 1], got {chosen.min():g} to {chosen.max():g}."
            " Give probabilities, not percentages or logits."
        )
    binary = target.positive is not None and len(target.classes) == 2
    positive = target.classes.index(target.positive) if binary and target.positive is not None else None
    return Scored(label, np.clip(chosen, 0.0, 1.0), positive), measured, usable & ~finite


def _score_matrix(rows: pd.DataFrame, target: Target) -> Array:
    """``[n, C]`` float64 scores, NaN where a row has none; a single `score` completes itself for two classes."""
    width = len(target.classes)
    matrix = np.full((len(rows), width), np.nan)
    single = rows["score"].to_numpy(np.float64, na_value=np.nan)
    for row, (scores, score) in enumerate(zip(rows["scores"], single, strict=True)):
        if scores is not None and not np.isscalar(scores):
            if len(scores) != width:
                raise UserError(
                    f"scores of target {target.name!r} must have {width} numbers per row ({', '.join(target.classes)}), got"
                    f" {len(scores)} for sample {rows['sample_id'].iloc[row]!r}."
                )
            matrix[row] = np.asarray(scores, np.float64)
        elif width == 2 and target.positive is not None:
            place = target.classes.index(target.positive)
            matrix[row, place], matrix[row, 1 - place] = score, 1.0 - score
    return matrix


def _thresholds(frame: pd.DataFrame, target: Target, settings: MeasureSettings) -> tuple[Threshold, ...]:
    """Choose the thresholds that are asked for, on val rows only."""
    val = frame[frame["split"] == "val"].sort_values("sample_id", kind="stable", ignore_index=True)
    scored, _, _ = _scored(val, target, val["status"].eq("ok").to_numpy(bool))
    extra = [name for name in settings.conventions if name in VAL_RULES or fixed_value(name) is not None]
    chosen = [
        choose_threshold(rule, scored.score, scored.is_positive) for rule in (settings.threshold, *extra)
    ]
    if settings.split == "val":
        chosen = [
            replace(t, reason=t.reason or "threshold chosen on the rows measured") if t.n else t
            for t in chosen
        ]
    return tuple({threshold.convention: threshold for threshold in reversed(chosen)}.values())[::-1]


def _classification_metrics(
    scored: Scored, thresholds: Sequence[Threshold], settings: MeasureSettings
) -> list[tuple[Metric, str | None]]:
    """List the metrics in the order of the tables, each with a remark."""
    metrics: list[tuple[Metric, str | None]] = [(auc(scored), None)]
    for threshold in thresholds:
        metrics += [(m, threshold.reason) for m in threshold_metrics(threshold.value, threshold.convention)]
    if scored.positive is None:
        metrics += [(metric, None) for metric in argmax_metrics(scored.scores.shape[1])]
    bins = dict.fromkeys(
        [
            15,
            *(
                int(name.removeprefix("ece:fixed"))
                for name in settings.conventions
                if name.startswith("ece:")
            ),
        ]
    )
    return [*metrics, (brier(scored), None), *((ece(scored, bins=count), None) for count in bins)]


def _threshold_row(threshold: Threshold) -> Row:
    counts = {"n": threshold.n, "n_pos": None, "n_neg": None, "n_subjects": 0, "n_failed": 0}
    return {
        "metric": "threshold",
        "convention": threshold.convention,
        "value": threshold.value,
        "ci_low": None,
        "ci_high": None,
        **counts,
        "status": "ok",
        "reason": threshold.reason,
    }


def measure_segmentations(
    segmentations: Any,
    attributes: pd.DataFrame,
    groups: Sequence[GroupRule],
    settings: MeasureSettings,
    keys: ResultKeys,
) -> Measurement:
    """Measure segmentations, structure by structure and prompt by prompt.

    Parameters
    ----------
    segmentations
        Arrow table or DataFrame of schema :data:`evaluator.tables.SEGMENTATIONS`. All rows are measured: nothing was fitted or
        chosen on any split, so the usage alone says which splits count. Rows of several are named e.g. ``train+val+test``.
    attributes, groups, settings, keys
        As in :func:`measure_predictions` (`structure` and `prompt` are filled here).

    Returns
    -------
    Measurement
        Sorted by structure and prompt, each as in :func:`measure_predictions`.
    """
    frame = as_frame(segmentations, (*_SAMPLE, "structure", "prompt", *MASK_METRICS), "segmentations")
    metric_rows: list[Row] = []
    gap_rows: list[Row] = []
    for (structure, prompt), part in frame.groupby(["structure", "prompt"], sort=True):
        cohort = gather(part, attributes, groups, None)
        named = replace(keys, split=_split_name(part), structure=str(structure), prompt=str(prompt))
        metrics, gaps = measure(cohort, _mask_evaluation(cohort), settings, named)
        metric_rows += metrics
        gap_rows += gaps
    return to_tables(metric_rows, gap_rows)


def _split_name(rows: pd.DataFrame) -> str:
    present = set(rows["split"])
    return "+".join(split for split in SPLITS if split in present)


def _mask_evaluation(cohort: Cohort) -> Evaluation:
    """Describe the mean over subjects of every column of masks."""
    measured = cohort.usable
    columns = {
        name: cohort.rows[name].to_numpy(np.float64, na_value=np.nan)[measured] for name in MASK_METRICS
    }
    return Evaluation(
        metrics=tuple(subject_mean(name) for name in columns),
        data=Measured(columns),
        measured=measured,
        failed=cohort.failed,
        present=tuple(~np.isnan(values) for values in columns.values()),
        notes=(None,) * len(columns),
    )
