"""The measured tables of one evaluation: metrics of groups, gaps between them, points of curves, bootstrap replicates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from evaluator.groups import ALL, UNKNOWN
from evaluator.measure.cohort import Cohort
from evaluator.measure.curve_rows import curve_rows, replicate_rows
from evaluator.measure.evaluation import Evaluation, compute
from evaluator.measure.gap_rows import gap_rows
from evaluator.measure.group_rows import group_rows
from evaluator.measure.settings import MeasureSettings, ResultKeys

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
    curves, replicates
        Schemas :data:`evaluator.tables.CURVES` and :data:`evaluator.tables.REPLICATES`.
    """

    metrics: pa.Table
    gaps: pa.Table
    curves: pa.Table
    replicates: pa.Table


@dataclass(frozen=True)
class Rows:
    """Rows of the measured tables before they become tables, as dicts of the schemas' columns."""

    metrics: list[Row] = field(default_factory=list)
    gaps: list[Row] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    replicates: list[Row] = field(default_factory=list)

    def __add__(self, other: Rows) -> Rows:
        """Append the rows of another measurement."""
        return Rows(
            self.metrics + other.metrics,
            self.gaps + other.gaps,
            self.curves + other.curves,
            self.replicates + other.replicates,
        )

    def keyed(self, keys: ResultKeys) -> Rows:
        """Return the rows with the keys of a result in front."""
        named = asdict(keys)
        parts = (self.metrics, self.gaps, self.curves, self.replicates)
        return Rows(*([{**named, **row} for row in part] for part in parts))


def measure(cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings, keys: ResultKeys) -> Rows:
    """Compute the rows of all measured tables.

    Uses one thread: many measurements run side by side, and threads that wait for each other cost more than they bring.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return _measure(cohort, evaluation, settings).keyed(keys)


def _measure(cohort: Cohort, evaluation: Evaluation, settings: MeasureSettings) -> Rows:
    found = Rows()
    for result in compute(cohort, evaluation, settings):
        rows = [
            row
            for group, name in enumerate(result.groups)
            if name != UNKNOWN or (result.codes == group).any()
            for row in group_rows(cohort, evaluation, settings, result, group)
        ]
        found = found + Rows(
            rows,
            [] if result.name == ALL else gap_rows(cohort, evaluation, settings, result, rows),
            list(curve_rows(evaluation, result, rows)),
            list(replicate_rows(evaluation, result, rows)),
        )
    return found


def to_tables(rows: Rows) -> Measurement:
    """Put rows into the fixed schemas."""
    import pyarrow as pa

    from evaluator.tables import CURVES, GAPS, METRICS, REPLICATES

    return Measurement(
        metrics=pa.Table.from_pylist(rows.metrics, schema=METRICS),
        gaps=pa.Table.from_pylist(rows.gaps, schema=GAPS),
        curves=pa.Table.from_pylist(rows.curves, schema=CURVES),
        replicates=pa.Table.from_pylist(rows.replicates, schema=REPLICATES),
    )
