"""Metrics computed on the measurable rows of a cohort, in every group, with all bootstrap replicates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.groups import ALL, UNKNOWN, Grouping
from evaluator.measure.cohort import Cohort
from evaluator.measure.settings import MeasureSettings
from evaluator.metrics.metric import Array, Metric
from evaluator.statistics.bootstrap import subject_weights, unit_weights
from evaluator.statistics.partition import Ints, Partition
from evaluator.statistics.resampling import GroupValues

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """What is computed on which rows of a cohort.

    Attributes
    ----------
    metrics
        Each name and convention once.
    data
        The measured rows, as the metrics take them.
    measured, failed
        ``[n]`` which rows of the cohort `data` holds (in order), and which should have been measured and could not.
    present
        For each metric, ``[len(data)]`` which rows have a value.
    label
        ``[len(data)]`` true class; None for segmentations.
    classes
        Class names; empty for segmentations.
    positive
        Index of the positive class; None where there is none.
    notes
        For each metric a remark on its rows, or None.
    """

    metrics: tuple[Metric, ...]
    data: Any
    measured: Mask
    failed: Mask
    present: tuple[Mask, ...]
    notes: tuple[str | None, ...]
    label: Ints | None = None
    classes: tuple[str, ...] = ()
    positive: int | None = None


@dataclass(frozen=True)
class AttributeResult:
    """All numbers of one attribute.

    Attributes
    ----------
    name, groups
        As in the tables; the last group is ``unknown``, except for the attribute ``all``.
    codes
        ``[n]`` group of every row of the cohort, measured or not.
    partition
        Units of the measured rows.
    points
        ``[metrics, groups]``, NaN where undefined.
    replicates
        ``[metrics, groups, B]``, NaN where undefined.
    """

    name: str
    groups: tuple[str, ...]
    codes: Ints
    partition: Partition
    points: Array
    replicates: Array


def compute(cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings) -> list[AttributeResult]:
    """Compute every metric in every group of every attribute, ``all`` first.

    All attributes see the same replicates; one block of replicates is in memory at a time.
    """
    named = [(ALL, (ALL,), np.zeros(len(cohort.subject), np.int64)), *map(_with_unknown, cohort.groupings)]
    subject = cohort.subject[evaluation.measured]
    partitions = [
        Partition.cut(subject, codes[evaluation.measured], len(groups)) for _, groups, codes in named
    ]
    prepared = [
        GroupValues.prepare(evaluation.metrics, evaluation.data, partition) for partition in partitions
    ]
    points = [values(unit_weights(len(cohort.subjects)))[:, :, 0] for values in prepared]
    replicates = [np.full((*point.shape, settings.bootstrap), np.nan) for point in points]
    if cohort.subjects:
        for where, weights in subject_weights(settings.seed, cohort.subjects, settings.bootstrap):
            for values, target in zip(prepared, replicates, strict=True):
                target[:, :, where] = values(weights)
    columns = zip(named, partitions, points, replicates, strict=True)
    return [AttributeResult(*name, partition, point, draws) for name, partition, point, draws in columns]


def _with_unknown(grouping: Grouping) -> tuple[str, tuple[str, ...], Ints]:
    codes = np.where(grouping.codes < 0, len(grouping.groups), grouping.codes)
    return grouping.name, (*grouping.groups, UNKNOWN), codes
