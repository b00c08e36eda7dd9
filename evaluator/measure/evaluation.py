"""Metrics computed on the measurable rows of a cohort, in every group, with all bootstrap replicates and variances."""

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
from evaluator.statistics.resampling import Resampler
from evaluator.statistics.spreads import Spread, Spreads

Mask = NDArray[np.bool_]

#: Blocks of the jackknife that BCa intervals take their acceleration from.
_BLOCKS = 256


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
    notes
        For each metric a remark on its rows, or None.
    label
        ``[len(data)]`` true class; None for segmentations.
    classes
        Class names; empty for segmentations.
    positive
        Index of the positive class; None where there is none.
    undefined
        For each metric why it has no value for any group, or None; empty where all have one.
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
    undefined: tuple[str | None, ...] = ()


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
    spread
        For each metric value, variance and size ``[1, groups]`` by the delta method.
    trials
        ``[metrics, groups]`` rows that a proportion is a share of; NaN for other metrics.
    replicates
        ``[metrics, groups, B]``, NaN where undefined.
    jackknife
        ``[metrics, groups, J]`` values without one of J blocks of subjects; J = 0 unless BCa intervals are asked for.
    """

    name: str
    groups: tuple[str, ...]
    codes: Ints
    partition: Partition
    points: Array
    spread: tuple[Spread, ...]
    trials: Array
    replicates: Array
    jackknife: Array


def compute(cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings) -> list[AttributeResult]:
    """Compute every metric in every group of every attribute, ``all`` first.

    All attributes see the same replicates; one block of replicates is in memory at a time.
    """
    named = [(ALL, (ALL,), np.zeros(len(cohort.subject), np.int64)), *map(with_unknown, cohort.groupings)]
    subject = cohort.subject[evaluation.measured]
    partitions = [
        Partition.cut(subject, codes[evaluation.measured], len(groups)) for _, groups, codes in named
    ]
    prepared = [Resampler.prepare(evaluation.metrics, evaluation.data, partition) for partition in partitions]
    points = [values(unit_weights(cohort.people))[:, :, 0] for values in prepared]
    replicates = draw(cohort, prepared, settings)
    left_out = _jackknife(cohort.people, prepared, _BLOCKS if settings.interval == "bca" else 0)
    return [
        AttributeResult(
            *name,
            values.partition,
            point,
            _spread(evaluation, values.partition),
            values.trials(),
            draws,
            without,
        )
        for name, point, values, draws, without in zip(
            named, points, prepared, replicates, left_out, strict=True
        )
    ]


def draw(cohort: Cohort, prepared: list[Resampler], settings: MeasureSettings) -> list[Array]:
    """Compute the bootstrap replicates of prepared values; for each ``[metrics, groups, B]``."""
    shapes = [(len(values.metrics), values.partition.groups, settings.bootstrap) for values in prepared]
    replicates = [np.full(shape, np.nan) for shape in shapes]
    if cohort.people and settings.bootstrap:
        for where, weights in subject_weights(settings.seed, cohort.subjects, settings.bootstrap):
            for values, target in zip(prepared, replicates, strict=True):
                target[:, :, where] = values(weights)
    return replicates


def _jackknife(people: int, prepared: list[Resampler], blocks: int) -> list[Array]:
    """Compute all values without each of so many blocks of subjects."""
    block = np.arange(people) % max(blocks, 1)
    without = np.where(block[:, None] == np.arange(blocks), 0.0, 1.0)
    return [values(without) for values in prepared]


def _spread(evaluation: Evaluation, partition: Partition) -> tuple[Spread, ...]:
    spreads = Spreads.prepare(evaluation.metrics, evaluation.data, partition)
    return tuple(spreads(partition.unit_group[None].astype(np.int16), partition.groups))


def with_unknown(grouping: Grouping) -> tuple[str, tuple[str, ...], Ints]:
    """Return name, groups and codes of a grouping in which unknown is the last group."""
    codes = np.where(grouping.codes < 0, len(grouping.groups), grouping.codes)
    return grouping.name, (*grouping.groups, UNKNOWN), codes
