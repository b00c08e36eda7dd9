"""Gaps whose chance is told by standard errors: where the numbers of groups cannot be had for permuted groups.

The p-value is Welch's on bootstrap standard errors; the gap by chance is that of normal draws with these errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluator.groups import UNKNOWN
from evaluator.measure.gap_rows import why_no_gap
from evaluator.measure.settings import MeasureSettings
from evaluator.measure.uncertainty import expanded_interval
from evaluator.metrics.metric import Array, Metric
from evaluator.statistics.bootstrap import standard_error, stream
from evaluator.statistics.gaps import measure_gap
from evaluator.statistics.permutation import NullGaps, pooled_variance, welch_p
from evaluator.statistics.simultaneous import Bounds
from evaluator.statistics.spreads import Spread

Row = dict[str, Any]

#: Normal draws that tell the gap of chance.
_DRAWS = 4000


class Groups(NamedTuple):
    """Numbers of the known groups of an attribute.

    Attributes
    ----------
    attribute, names
        As in the tables.
    points
        ``[G]`` values, NaN where undefined.
    replicates
        ``[G, B]`` bootstrap replicates, paired over groups.
    """

    attribute: str
    names: tuple[str, ...]
    points: Array
    replicates: Array


def error_gap(
    metric: Metric, rows: Sequence[Row], groups: Groups, settings: MeasureSettings, subjects: Sequence[str]
) -> Row:
    """Make the row of the gaps table.

    Parameters
    ----------
    metric
        What is compared.
    rows
        The groups' rows of the metrics table, in their order; those with a value take part.
    groups
        Their numbers.
    settings
        Seed, level, whether chance is asked for.
    subjects
        Key of the random stream.
    """
    valid = [code for code, row in enumerate(rows) if row["status"] == "ok" and row["group"] != UNKNOWN]
    row: Row = {
        "attribute": groups.attribute,
        "metric": metric.name,
        "convention": metric.convention,
        "kind": "max-min",
        "p_adjusted": None,
        "detectable_adjusted": None,
        "excluded_groups": [r["group"] for r in rows if r["status"] != "ok" or r["group"] == UNKNOWN],
    }
    if len(valid) < 2:
        return {**row, "status": "undefined", "reason": why_no_gap(rows)}
    sizes = np.array([[_subjects(rows[code]) for code in valid]])
    variances = (
        np.square([[standard_error(groups.replicates[code]) for code in valid]]) * sizes / (sizes - 1.0)
    )
    spread = Spread(groups.points[None, valid], variances, sizes)
    gap = measure_gap(
        spread.value[0],
        groups.replicates[valid],
        spread.variance[0],
        spread.size[0],
        _chance(spread, settings, subjects, f"errors:{groups.attribute}:{metric.convention}"),
        higher_is_better=metric.higher_is_better,
        alpha=settings.alpha,
        bounds=_bounds([(groups.replicates[code], rows[code]) for code in valid], settings),
    )
    numbers = {name: value for name, value in vars(gap).items() if name not in ("best", "worst")}
    best, worst = (groups.names[valid[which]] for which in (gap.best, gap.worst))
    reason = gap.reason or "chance from standard errors"
    return {**row, **numbers, "best_group": best, "worst_group": worst, "status": "ok", "reason": reason}


def _bounds(groups: Sequence[tuple[Array, Row]], settings: MeasureSettings) -> Bounds | None:
    """Return what gives the groups' intervals at any level, as for their rows; None where one method was asked for."""
    if settings.interval != "auto":
        return None

    def at(alpha: float) -> Array:
        found = [expanded_interval(replicates, rarer(row), alpha) for replicates, row in groups]
        return np.array([(np.nan, np.nan) if isinstance(one, str) else one[:2] for one in found])

    return at


def rarer(row: Row) -> float:
    """Return the subjects of the rarer class of a row."""
    return float(min(row["n_subjects_pos"] or 0, row["n_subjects_neg"] or 0))


def _chance(spread: Spread, settings: MeasureSettings, subjects: Sequence[str], purpose: str) -> NullGaps:
    """Draw gaps of groups that do not differ from their standard errors."""
    groups = spread.value.shape[1]
    if not np.isfinite(spread.variance).all() or not settings.permutations:
        return NullGaps(np.zeros((0, groups)), np.zeros((0, groups)), np.nan, np.zeros(0), np.nan)
    generator = stream(settings.seed, purpose, subjects, 0)
    values = generator.normal(size=(_DRAWS, groups)) * np.sqrt(spread.variance)
    # Every draw counts as less extreme, so that the p-value is Welch's.
    nothing = np.full(_DRAWS, -np.inf)
    variances = np.broadcast_to(spread.variance, values.shape)
    return NullGaps(values, variances, np.nan, nothing, 0.0, welch_p(spread, pooled_variance(spread)))


def _subjects(row: Row) -> float:
    """Return how many subjects' worth of information a value rests on: with two classes about those of the rarer one."""
    sides = [row["n_subjects_pos"], row["n_subjects_neg"]]
    if any(side is None or np.isnan(side) for side in sides):
        return float(max(2, row["n_subjects"]))
    positives, negatives = map(float, sides)
    return max(2.0, positives * negatives / max(1.0, positives + negatives))
