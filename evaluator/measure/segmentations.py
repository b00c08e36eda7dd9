"""Measure segmentations, structure by structure and prompt by prompt, from the numbers stored per sample.

Guarantee: as in :mod:`evaluator.measure.predictions`. Nothing here reads pixels or runs a model.

Where a dataset has the structures ``cup`` and ``disc``, the rows of the derived structure ``cup/disc`` hold the distance of
their ratios; a sample takes part where both were measured with the same prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.groups import GroupRule
from evaluator.measure.cohort import MEASURED, SAMPLE_COLUMNS, Cohort, as_frame, gather
from evaluator.measure.evaluation import Evaluation
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.measure.standardised import standardised_rows
from evaluator.measure.tables import Measurement, Rows, measure, to_tables
from evaluator.metrics.metric import Array, Metric
from evaluator.metrics.per_subject import (
    EMPTY_RULES,
    MASK_METRICS,
    SIZE_ADJUSTED,
    Measured,
    Volumes,
    cdr_distance,
    size_adjusted,
    size_slope,
    subject_mean,
    under,
    variant,
    with_empty_rule,
)
from shards.errors import UserError
from shards.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

CUP, DISC, CUP_TO_DISC = "cup", "disc", "cup/disc"
_VOLUMES = ("volume_true", "volume_predicted")


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
        Arrow table or DataFrame of schema :data:`evaluator.tables.SEGMENTATIONS`; of the columns of metrics at least one, and
        without the two of volumes nothing that needs them. All rows are measured: nothing was fitted or
        chosen on any split, so the usage alone says which splits count. Rows of several are named e.g. ``train+val+test``.
    attributes, groups, settings, keys
        As in :func:`measure_predictions` (`structure` and `prompt` are filled here).

    Returns
    -------
    Measurement
        Sorted by structure and prompt, each as in :func:`measure_predictions`; derived structures last.

    Raises
    ------
    UserError
        If columns or samples do not fit together, or no column of a metric is there.
    """
    frame = as_frame(segmentations, (*SAMPLE_COLUMNS, "structure", "prompt"), "segmentations")
    if not any(name in frame.columns for name in MASK_METRICS):
        raise UserError(
            f"segmentations must have a column of a metric ({', '.join(MASK_METRICS)}); found:"
            f" {', '.join(map(str, frame.columns))}."
        )
    rows = Rows()
    for (structure, prompt), part in frame.groupby(["structure", "prompt"], sort=True):
        cohort = gather(part, attributes, groups, None)
        named = replace(keys, split=_split_name(part), structure=str(structure), prompt=str(prompt))
        evaluation = _mask_evaluation(cohort, settings)
        rows = rows + measure(cohort, evaluation, settings, named)
        rows = rows + standardised_rows(cohort, evaluation, settings).keyed(named)
    for prompt, part in _cup_to_disc(frame):
        cohort = gather(part, attributes, groups, None)
        named = replace(keys, split=_split_name(part), structure=CUP_TO_DISC, prompt=prompt)
        rows = rows + measure(cohort, _ratio_evaluation(cohort), settings, named)
    return to_tables(rows)


def _split_name(rows: pd.DataFrame) -> str:
    present = set(rows["split"])
    return "+".join(split for split in SPLITS if split in present)


@dataclass
class _Columns:
    """Metrics and the columns they read, in the order of the tables."""

    metrics: list[Metric] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)
    present: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, metric: Metric, values: Array) -> None:
        """Add a mean over subjects."""
        self.metrics.append(metric)
        self.values[variant(metric.name, metric.convention)] = values
        self.present.append(~np.isnan(values))


def _mask_evaluation(cohort: Cohort, settings: MeasureSettings) -> Evaluation:
    """Describe everything that is measured of the masks of one structure."""
    names = [name for name in MASK_METRICS if name in cohort.rows.columns]
    columns = _Columns()
    for name in names:
        columns.add(subject_mean(name), _numbers(cohort, name))
    if set(_VOLUMES) <= set(cohort.rows.columns):
        volumes = Volumes(*(_numbers(cohort, name) for name in _VOLUMES))
        columns.add(subject_mean("volume_error"), volumes.error())
        columns.add(subject_mean("volume_bias"), volumes.bias())
        if "dice" in names:
            _add_size_check(columns, volumes, cohort.subject[cohort.usable])
        asked = settings.tokens("empty")
        for rule in (rule for rule in EMPTY_RULES if rule in asked):
            for name in names:
                scored = with_empty_rule(name, columns.values[name], volumes, rule)
                if scored is not None:
                    columns.add(subject_mean(name, under(rule)), scored)
    return _evaluation(cohort, columns)


def _add_size_check(columns: _Columns, volumes: Volumes, subject: NDArray[np.int64]) -> None:
    """Add Dice without the effect of size, and that effect, where sizes vary."""
    size = volumes.log_true()
    adjusted = size_adjusted(columns.values["dice"], size, subject)
    if adjusted is None:
        return
    columns.add(subject_mean("dice", SIZE_ADJUSTED), adjusted)
    # Centred, so that sums of squares lose no digits; a slope does not change.
    columns.values["log_volume"] = size - np.nanmean(size)
    columns.metrics.append(size_slope())
    columns.present.append(~np.isnan(adjusted))


def _ratio_evaluation(cohort: Cohort) -> Evaluation:
    columns = _Columns()
    columns.add(subject_mean("cdr_distance"), _numbers(cohort, "cdr_distance"))
    return _evaluation(cohort, columns)


def _evaluation(cohort: Cohort, columns: _Columns) -> Evaluation:
    return Evaluation(
        metrics=tuple(columns.metrics),
        data=Measured(columns.values),
        measured=cohort.usable,
        failed=cohort.failed,
        present=tuple(columns.present),
        notes=(None,) * len(columns.metrics),
    )


def _numbers(cohort: Cohort, name: str) -> Array:
    """Return a column of the measurable rows; NaN where it is null."""
    return cohort.rows[name].to_numpy(np.float64, na_value=np.nan)[cohort.usable]


def _cup_to_disc(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield for each prompt the samples of both structures, with `cdr_distance` and the status of the pair."""
    if not set(_VOLUMES) <= set(frame.columns):
        return
    pair = frame[frame["structure"].isin([CUP, DISC])]
    for prompt, part in pair.groupby("prompt", sort=True):
        cup, disc = (
            part[part["structure"] == name].drop_duplicates("sample_id").set_index("sample_id")
            for name in (CUP, DISC)
        )
        common = cup.index.intersection(disc.index)
        if not len(common):
            continue
        cup, disc = cup.loc[common], disc.loc[common]
        distance = cdr_distance(
            *(Volumes(*(_floats(rows, name) for name in _VOLUMES)) for rows in (cup, disc))
        )
        both = cup["status"].isin(MEASURED) & disc["status"].isin(MEASURED)
        rows = cup[["subject_id", "split"]].assign(
            status=cup["status"].where(~cup["status"].isin(MEASURED), disc["status"]),
            cdr_distance=np.where(both, distance, np.nan),
        )
        yield str(prompt), rows.reset_index(names="sample_id")


def _floats(rows: pd.DataFrame, name: str) -> Array:
    return np.asarray(rows[name].to_numpy(np.float64, na_value=np.nan), np.float64)
