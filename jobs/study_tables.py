"""A study's tables: the rows of all its measurements, and what compares them.

What compares models (`comparisons`, `across`, `selection`) is about the study's targets and structures; probes of a
representation are a question of their own and take no part in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.store import Store
from jobs.task import Task
from shards.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluator.compare import Analysis
    from evaluator.measure import MeasureSettings

#: The usage whose results are a question of their own.
PROBE = "representation"
#: Tables of a study, each a file ``<table>/<study>.parquet`` of the schema of that name.
TABLES = ("metrics", "gaps", "comparisons", "across", "selection")


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study.

    Attributes
    ----------
    metrics, gaps, curves
        Rows of all measurements; p-values of gaps are corrected over the study.
    comparisons, across, selection
        What compares the results, see :mod:`evaluator.compare`.
    failures
        Failed samples by group.
    """

    metrics: pd.DataFrame
    gaps: pd.DataFrame
    curves: pd.DataFrame
    comparisons: pd.DataFrame
    across: pd.DataFrame
    selection: pd.DataFrame
    failures: pd.DataFrame


def read_tables(store: Store, measured: tuple[Task, ...], settings: MeasureSettings) -> StudyTables:
    """Read and join the committed measurements, correct p-values over the whole study, and compare the results."""
    from evaluator.statistics.multiplicity import adjust
    from evaluator.tables import CURVES, GAPS, METRICS

    metrics = _joined(store, measured, "metrics", METRICS)
    gaps = adjust(_joined(store, measured, "gaps", GAPS), alpha=settings.alpha)
    compared = _compared(store, measured, metrics, gaps, settings)
    return StudyTables(
        metrics=metrics,
        gaps=gaps,
        curves=_joined(store, measured, "curves", CURVES),
        comparisons=compared.comparisons,
        across=compared.across,
        selection=compared.selection,
        failures=_failures(store, measured),
    )


def read_written(store: Store, name: str, measured: tuple[Task, ...]) -> StudyTables:
    """Read the tables of a study that are up to date; what is in no file of the study is joined."""
    import pyarrow.parquet as pq

    from evaluator.tables import CURVES

    written = {
        table: pq.read_table(store.path / table / f"{name}.parquet", partitioning=None).to_pandas()
        for table in TABLES
    }
    curves = _joined(store, measured, "curves", CURVES)
    return StudyTables(**written, curves=curves, failures=_failures(store, measured))


def _failures(store: Store, measured: tuple[Task, ...]) -> pd.DataFrame:
    import pandas as pd

    from evaluator.tables import FAILURES

    failures = []
    for task in measured:
        frame = store.read(task, name="failures").to_pandas()
        for position, key in enumerate(("dataset", "model", "usage")):
            frame.insert(position, key, getattr(task, key))
        failures.append(frame)
    empty = FAILURES.empty_table().to_pandas().assign(dataset="", model="", usage="")
    filled = [frame for frame in failures if len(frame)]
    joined: pd.DataFrame = pd.concat(filled, ignore_index=True) if filled else empty
    return joined


def _compared(
    store: Store,
    measured: tuple[Task, ...],
    metrics: pd.DataFrame,
    gaps: pd.DataFrame,
    settings: MeasureSettings,
) -> Analysis:
    """Compare the results of models; a baseline that has no result yet is not waited for."""
    from evaluator.compare import analyse
    from evaluator.tables import REPLICATES

    results = tuple(task for task in measured if task.usage != PROBE)
    replicates = _joined(store, results, "replicates", REPLICATES)
    metrics, gaps = without_probes(metrics), without_probes(gaps)
    baseline = settings.baseline if settings.baseline in set(metrics["model"]) else None
    return analyse(metrics, gaps, replicates, alpha=settings.alpha, baseline=baseline, seed=settings.seed)


def _joined(store: Store, measured: tuple[Task, ...], name: str, schema: pa.Schema) -> pd.DataFrame:
    import pyarrow as pa

    parts = [
        store.read(task, name=name)
        for task in sorted(measured, key=lambda task: (task.dataset, task.model, task.id))
    ]
    frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *parts]).to_pandas()
    return frame


def read_views(store: Store, measured: tuple[Task, ...]) -> list[dict[str, Any]]:
    """Return what the views of a study are made of, a row per dataset, view and group (see :func:`evaluator.views.record`).

    Models whose rows were lost alike share a view; where they differ there are several of one name, told apart by the hash.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for task in measured:
        if task.kind == "measure" and getattr(task.inputs.measure, "view", None) is not None:
            for row in store.read(task, name="view").to_pylist():
                rows[(task.dataset, *row.values())] = {"dataset": task.dataset, **row}
    return [rows[key] for key in sorted(rows)]


def write_tables(store: Store, name: str, tables: StudyTables, views: list[dict[str, Any]]) -> None:
    """Write the files of :data:`TABLES`; those of numbers hold what their views are made of as Parquet metadata ``views``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    import evaluator.tables as schemas

    for folder in TABLES:
        frame, schema = getattr(tables, folder), getattr(schemas, folder.upper())
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        told = (
            {"views": json.dumps(views, ensure_ascii=False)}
            if views and folder in ("metrics", "gaps")
            else None
        )
        table = table.replace_schema_metadata(told)
        write: Callable[..., None] = lambda out, table=table: pq.write_table(table, out, compression="zstd")  # noqa: E731
        write_atomically(store.path / folder / f"{name}.parquet", write, staging=store.staging)


def without_probes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are not of probes of a representation."""
    kept: pd.DataFrame = table[table["usage"] != PROBE].reset_index(drop=True)
    return kept


def probe_rows(metrics: pd.DataFrame, settings: MeasureSettings) -> pd.DataFrame:
    """Return the AUC over all samples of every probe of a representation."""
    of_all = (metrics["attribute"] == "all") & (metrics["metric"] == "auc")
    return metrics[(metrics["usage"] == PROBE) & of_all & (metrics["split"] == settings.split)]
