"""Measures the parts of a table side by side and joins their tables.

Guarantee: results do not depend on the number of workers; parts are joined in the order of the table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evaluator.auditing.coverage import losses
from evaluator.auditing.layout import Layout, Part
from evaluator.groups import GroupRule
from evaluator.measure import (
    Measurement,
    MeasureSettings,
    ResultKeys,
    macro_average,
    measure_predictions,
    measure_segmentations,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Tables:
    """All measured tables of an audit, as DataFrames.

    Attributes
    ----------
    metrics, gaps, curves
        Schemas of the same names in :mod:`evaluator.tables`; `p_adjusted` of the gaps is filled.
    comparisons, across, selection
        What several models say together, see :func:`evaluator.compare.analysis.analyse`.
    failures
        What could not be measured, by group, see :func:`evaluator.auditing.coverage.losses`.
    """

    metrics: pd.DataFrame
    gaps: pd.DataFrame
    curves: pd.DataFrame
    comparisons: pd.DataFrame
    across: pd.DataFrame
    selection: pd.DataFrame
    failures: pd.DataFrame


def measure_all(layout: Layout, settings: MeasureSettings, workers: int | None = None) -> Tables:
    """Measure every part.

    Parameters
    ----------
    layout
        What to measure.
    settings
        How.
    workers
        Parts measured at a time; all CPUs by default.
    """
    import pandas as pd
    import pyarrow as pa

    from evaluator.compare.analysis import analyse
    from evaluator.statistics.multiplicity import adjust
    from evaluator.tables import CURVES, GAPS, METRICS, REPLICATES

    def one(part: Part) -> Measurement:
        return _measure(part, layout.attributes[str(part.keys.dataset)], layout.rules, settings)

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        measured = list(pool.map(one, layout.parts))
    measured += _together(layout.parts, measured, settings)

    def joined(tables: Sequence[pa.Table], schema: pa.Schema) -> pd.DataFrame:
        frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
        return frame.assign(prompt=frame["prompt"].where(frame["prompt"] != "", None))

    lost = [losses(part, layout) for part in layout.parts]
    filled = [frame for frame in lost if len(frame)]
    metrics = joined([m.metrics for m in measured], METRICS)
    gaps = adjust(joined([m.gaps for m in measured], GAPS), alpha=settings.alpha)
    replicates = joined([m.replicates for m in measured], REPLICATES)
    together = analyse(
        metrics, gaps, replicates, alpha=settings.alpha, baseline=settings.baseline, seed=settings.seed
    )
    return Tables(
        metrics=metrics,
        gaps=gaps,
        curves=joined([m.curves for m in measured], CURVES),
        comparisons=together.comparisons,
        across=together.across,
        selection=together.selection,
        failures=pd.concat(filled, ignore_index=True) if filled else lost[0],
    )


def _together(
    parts: Sequence[Part], measured: Sequence[Measurement], settings: MeasureSettings
) -> list[Measurement]:
    """Average the findings of each model that has several, of two classes each and with scores."""
    results: dict[ResultKeys, list[Measurement]] = {}
    for part, found in zip(parts, measured, strict=True):
        if part.target is not None and part.target.positive is not None and part.scored:
            results.setdefault(replace(part.keys, target=None, task=None), []).append(found)
    return [
        macro_average(several, settings, keys, name=f"mean of {len(several)} findings")
        for keys, several in results.items()
        if len(several) > 1
    ]


def _measure(
    part: Part, attributes: pd.DataFrame, rules: tuple[GroupRule, ...], settings: MeasureSettings
) -> Measurement:
    if part.target is None:
        measured = measure_segmentations(part.rows, attributes, rules, settings, part.keys)
        return _only(measured, "metric", part.mask_metrics)
    return measure_predictions(part.rows, attributes, part.target, rules, settings, part.keys)


def _only(measured: Measurement, column: str, values: Sequence[str]) -> Measurement:
    """Leave out the metrics of masks that the table has no column of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def kept(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(table[column], pa.array(values, pa.string())))

    return Measurement(
        kept(measured.metrics), kept(measured.gaps), measured.curves, kept(measured.replicates)
    )
