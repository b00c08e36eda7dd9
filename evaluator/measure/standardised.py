"""Groups made alike in case mix: each group's rows are re-weighted to the distribution of a stratum over all of them.

What is left of a gap when, say, age is the same everywhere. Direct standardisation: rows of group g in stratum s weigh
P(s) / P(s | g). A group without a stratum has no value. Chance is told by standard errors (Welch's test and normal
draws), because permuting groups would permute the weights. Rows carry the convention ``...|age-standardised`` and are
screened, not part of the primary family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluator.groups import Grouping
from evaluator.measure.cohort import Cohort
from evaluator.measure.error_gaps import Groups, error_gap
from evaluator.measure.evaluation import AttributeResult, Evaluation, draw, with_unknown
from evaluator.measure.group_rows import group_rows
from evaluator.measure.settings import MeasureSettings
from evaluator.measure.tables import Rows
from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import standard_error, unit_weights
from evaluator.statistics.multiplicity import PRIMARY
from evaluator.statistics.partition import Ints, Partition
from evaluator.statistics.resampling import Resampler
from evaluator.statistics.spreads import Spread
from evaluator.statistics.standardise import standard_weights
from shards.errors import UserError, unknown_name

Row = dict[str, Any]
TARGET = "target"


def standardised_rows(cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings) -> Rows:
    """Measure the primary metrics of every attribute with re-weighted rows, for each stratum asked for.

    Raises
    ------
    UserError
        If a stratum is no attribute of the study, or is the target where there are no classes.
    """
    found = Rows()
    for name in settings.standardize:
        strata, names = _strata(name, cohort, evaluation)
        for grouping in cohort.groupings:
            if name not in grouping.name.split("*"):
                found = found + _one(cohort, evaluation, settings, grouping, name, strata, names)
    return found


def _strata(name: str, cohort: Cohort, evaluation: Evaluation) -> tuple[Ints, tuple[str, ...]]:
    """Return the stratum of each measured row, -1 where unknown, and their names."""
    if name == TARGET:
        if evaluation.label is None:
            raise UserError("measure.standardize: 'target' needs classes, and masks have none.")
        return evaluation.label, evaluation.classes
    known = {grouping.name: grouping for grouping in cohort.groupings}
    if name not in known:
        raise unknown_name(
            "attribute of measure.standardize:",
            name,
            [TARGET, *known],
            hint="List it among the study's attributes, with bins.",
        )
    return known[name].codes[evaluation.measured], known[name].groups


def _one(
    cohort: Cohort,
    evaluation: Evaluation,
    settings: MeasureSettings,
    grouping: Grouping,
    name: str,
    strata: Ints,
    strata_names: tuple[str, ...],
) -> Rows:
    codes = grouping.codes[evaluation.measured]
    # Masks count every subject once, so theirs is the mix of subjects; that of rows would depend on who has more images.
    once = (
        _once(cohort.subject[evaluation.measured], codes, strata)
        if evaluation.label is None
        else np.arange(len(codes))
    )
    first, of_row = np.unique(once, return_inverse=True)
    standard = standard_weights(codes[first], strata[first], groups=len(grouping.groups))
    share = np.where(np.isfinite(standard.weights), standard.weights, 0.0)[of_row]
    places = [place for place, metric in enumerate(evaluation.metrics) if metric.name in PRIMARY]
    chosen = _of(evaluation, places, [f"{name}-standardised"] * len(places))
    result = _result(cohort, chosen, settings, grouping, share)
    lacking = [standard.reason(group, strata_names) for group in range(len(grouping.groups))]
    rows = []
    for group in range(len(grouping.groups)):
        for row in group_rows(cohort, chosen, settings, result, group):
            if row["status"] in ("ok", "undefined") and lacking[group]:
                row |= {"value": None, "ci_low": None, "ci_high": None, "interval": None}
                row |= {"status": "undefined", "reason": f"no_overlap: {lacking[group]}"}
            rows.append({**row, "shrunk": None})
    gaps = [
        error_gap(
            chosen.metrics[place],
            rows[place :: len(places)],
            Groups(
                result.name,
                result.groups[:-1],
                result.points[place, :-1],
                result.replicates[place, :-1],
            ),
            settings,
            cohort.subjects,
        )
        for place in range(len(places))
    ]
    return Rows(rows, gaps)


def _once(subject: Ints, group: Ints, stratum: Ints) -> Ints:
    """Return for each row the first row of the same subject, group and stratum."""
    cells = np.stack([subject, group, stratum], axis=1)
    _, first, of_row = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    return first[of_row.ravel()].astype(np.int64)


def _of(evaluation: Evaluation, places: Sequence[int], suffixes: Sequence[str]) -> Evaluation:
    """Return the evaluation of some metrics under conventions with a suffix."""
    from dataclasses import replace

    metrics = tuple(
        replace(evaluation.metrics[place], convention=f"{evaluation.metrics[place].convention}|{suffix}")
        for place, suffix in zip(places, suffixes, strict=True)
    )
    return replace(
        evaluation,
        metrics=metrics,
        present=tuple(evaluation.present[place] for place in places),
        notes=tuple(evaluation.notes[place] for place in places),
        undefined=tuple(evaluation.undefined[place] for place in places) if evaluation.undefined else (),
    )


def _result(
    cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings, grouping: Grouping, share: Array
) -> AttributeResult:
    name, groups, codes = with_unknown(grouping)
    partition = Partition.cut(cohort.subject[evaluation.measured], codes[evaluation.measured], len(groups))
    values = Resampler.prepare(evaluation.metrics, evaluation.data, partition, share)
    points = values(unit_weights(cohort.people))[:, :, 0]
    (replicates,) = draw(cohort, [values], settings)
    subjects = np.bincount(partition.unit_group, minlength=len(groups)).astype(float)
    spread = tuple(
        Spread(points[[place]], np.square([[standard_error(group) for group in draws]]), subjects[None])
        for place, draws in enumerate(replicates)
    )
    shape = points.shape
    return AttributeResult(
        name,
        groups,
        codes,
        partition,
        points,
        spread,
        np.full(shape, np.nan),
        replicates,
        np.zeros((*shape, 0)),
    )
