"""From committed measurements to the study's two tables and its report."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.plan import Plan, find_tasks
from jobs.record import versions
from jobs.store import Store
from jobs.task import Task
from shards.files import digest, write_atomically, write_json

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluator.measure import MeasureSettings
    from evaluator.report.content import DatasetFacts, ModelFacts, StudyContent, TaskFacts

#: Raised when the assembled tables or the report change for the same measurements.
REPORT_VERSION = 1


@dataclass(frozen=True)
class StudyTables:
    """The two tables of a study, and the failures by group."""

    metrics: pd.DataFrame
    gaps: pd.DataFrame
    failures: pd.DataFrame


def report_path(store: Store, study: str) -> Path:
    """Return where a study's HTML page is."""
    return store.path / "studies" / study / "report" / "report.html"


def assemble(store: Store, plan: Plan) -> tuple[StudyTables, Path]:
    """Write ``metrics/<study>.parquet``, ``gaps/<study>.parquet`` and the report, unless they are up to date.

    Parameters
    ----------
    store
        With the committed measurements; tasks that are not complete are left out and named in the report.
    plan
        The study's plan.

    Returns
    -------
    tuple of StudyTables and Path
        The tables and the path of the page.
    """
    name = plan.study.study
    measured = tuple(task for task in find_tasks(plan, ["measure"]) if store.is_complete(task))
    tables = read_tables(store, measured, plan.study.measure.alpha)
    stamp = store.path / "studies" / name / "assembled.json"
    current = {
        "digest": digest(
            [
                REPORT_VERSION,
                sorted(task.id for task in plan.tasks if store.is_complete(task)),
                plan.skipped,
                plan.blocked,
                len(plan.tasks),
            ]
        )
    }
    page = report_path(store, name)
    written = [page, *(store.path / table / f"{name}.parquet" for table in ("metrics", "gaps"))]
    if not (all(path.exists() for path in written) and _stamp(stamp) == current):
        _write_tables(store, name, tables)
        write_page(content_of(store, plan, tables), page.parent)
        write_json(stamp, current, staging=store.staging)
    return tables, page


def write_page(content: StudyContent, folder: Path) -> Path:
    """Write the report's files below a folder."""
    from evaluator.report.html import write

    return write(content, folder)


def read_tables(store: Store, measured: tuple[Task, ...], alpha: float) -> StudyTables:
    """Read and join the committed measurements, and correct the gaps' p-values over the whole study."""
    import pandas as pd

    from evaluator.statistics.multiplicity import adjust
    from evaluator.tables import FAILURES, GAPS, METRICS

    metrics = _joined(store, measured, "metrics", METRICS)
    gaps = adjust(_joined(store, measured, "gaps", GAPS))
    failures = []
    for task in measured:
        frame = store.read(task, name="failures").to_pandas()
        for position, key in enumerate(("dataset", "model", "usage")):
            frame.insert(position, key, getattr(task, key))
        failures.append(frame)
    empty = FAILURES.empty_table().to_pandas().assign(dataset="", model="", usage="")
    filled = [frame for frame in failures if len(frame)]
    return StudyTables(metrics, gaps, pd.concat(filled, ignore_index=True) if filled else empty)


def _joined(store: Store, measured: tuple[Task, ...], name: str, schema: pa.Schema) -> pd.DataFrame:
    import pyarrow as pa

    parts = [
        store.read(task, name=name)
        for task in sorted(measured, key=lambda task: (task.dataset, task.model, task.id))
    ]
    frame: pd.DataFrame = pa.concat_tables([schema.empty_table(), *parts]).to_pandas()
    return frame


def _write_tables(store: Store, name: str, tables: StudyTables) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from evaluator.tables import GAPS, METRICS

    for folder, frame, schema in (("metrics", tables.metrics, METRICS), ("gaps", tables.gaps, GAPS)):
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).replace_schema_metadata(None)
        write: Callable[..., None] = lambda out, table=table: pq.write_table(table, out, compression="zstd")  # noqa: E731
        write_atomically(store.path / folder / f"{name}.parquet", write, staging=store.staging)


def content_of(store: Store, plan: Plan, tables: StudyTables) -> StudyContent:
    """Gather what the report shows."""
    from evaluator.report.content import StudyContent
    from evaluator.statistics.findings import findings

    study = plan.study
    unfinished = tuple(
        f"not finished: {t.kind} of {t.model} on {t.dataset}." for t in plan.tasks if not store.is_complete(t)
    )
    return StudyContent(
        name=study.study,
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=tables.metrics,
        gaps=tables.gaps,
        findings=findings(
            tables.gaps,
            alpha=study.measure.alpha,
            relevant=study.measure.relevant_gap,
            permutations=study.measure.permutations,
        ),
        failures=tables.failures,
        datasets=tuple(_dataset_facts(plan, name) for name in plan.datasets),
        models=tuple(_model_facts(plan, name) for name in plan.cards),
        tasks=tuple(_task_facts(store, task) for task in plan.tasks if store.is_complete(task)),
        skipped=plan.skipped + plan.blocked + tuple(dict.fromkeys(unfinished)),
        provenance=_provenance(store, plan),
        methods=_methods(study.measure),
        alpha=study.measure.alpha,
    )


def _methods(settings: MeasureSettings) -> tuple[str, ...]:
    return (
        f"Intervals: percentile of {settings.bootstrap} bootstrap replicates that draw subjects with all their samples, "
        f"seed {settings.seed}, shared by all models of a dataset; level {1 - settings.alpha:.0%}.",
        f"Gaps: difference between best and worst group, compared with {settings.permutations} permutations of the groups "
        "over subjects; p-values are corrected by Holm over all gaps of the primary metric of a dataset (AUC, Dice), by "
        "Benjamini-Hochberg for the other metrics.",
        f"Thresholds: {settings.threshold}; never chosen on the measured split.",
        f"A group needs {settings.minimum_subjects} subjects ({settings.minimum_positives} positive and "
        f"{settings.minimum_negatives} negative where the metric needs them) to be judged.",
    )


def _dataset_facts(plan: Plan, name: str) -> DatasetFacts:
    from evaluator.report.content import DatasetFacts

    dataset = plan.datasets[name]
    return DatasetFacts(dataset.card, dataset.counts.samples, dataset.counts.rejected, dataset.fingerprint)


def _model_facts(plan: Plan, name: str) -> ModelFacts:
    from evaluator.report.content import ModelFacts

    card, weights = plan.cards[name]
    return ModelFacts(card.name, card.licence, weights.sha256, card.notes, card.trained_on)


def _task_facts(store: Store, task: Task) -> TaskFacts:
    from evaluator.report.content import TaskFacts

    markers = list(store.markers(task))
    return TaskFacts(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        model=task.model,
        usage=task.usage,
        seed=task.inputs.seed,
        rows=sum(marker.rows for marker in markers),
        failed_rows=sum(marker.failed for marker in markers),
        seconds=sum(marker.seconds.get("total", 0.0) for marker in markers),
        host=", ".join(sorted({marker.host for marker in markers})),
    )


def _provenance(store: Store, plan: Plan) -> tuple[tuple[str, str], ...]:
    study = plan.study
    facts = [("study", study.study), ("store", str(study.store)), ("precision", study.precision)]
    facts += [("bootstrap seed", str(study.measure.seed))]
    facts += [(f"version of {name}", version) for name, version in versions().items()]
    return tuple(facts)


def _stamp(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
