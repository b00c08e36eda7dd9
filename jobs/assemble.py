"""From committed measurements to the study's tables and its report."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.changes import claim_changes
from jobs.kinds import MEASURES
from jobs.plan import Plan, find_tasks
from jobs.record import versions
from jobs.store import Store
from jobs.study import Study
from jobs.study_tables import (
    PROBE,
    TABLES,
    StudyTables,
    read_tables,
    read_views,
    read_written,
    without_probes,
    write_tables,
)
from jobs.task import Task
from shards.files import digest, write_json

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.report.content import DatasetFacts, ModelFacts, StudyContent, TaskFacts

#: Raised when the assembled tables or the report change for the same measurements.
REPORT_VERSION = 4


@dataclass(frozen=True)
class Assembled:
    """What assembling gave.

    Attributes
    ----------
    tables
        The study's tables.
    page
        The report.
    changes
        How claims differ from those of the tables that were here before, one line each; empty for a first run.
    """

    tables: StudyTables
    page: Path
    changes: tuple[str, ...]


def report_path(store: Store, study: str) -> Path:
    """Return where a study's HTML page is."""
    return store.path / "studies" / study / "report" / "report.html"


def assemble(store: Store, plan: Plan) -> Assembled:
    """Write the tables of a study (:data:`TABLES`) and its report, unless they are up to date.

    Parameters
    ----------
    store
        With the committed measurements; tasks that are not complete are left out and named in the report.
    plan
        The study's plan.
    """
    name, settings = plan.study.study, plan.study.measure
    measured = tuple(task for task in find_tasks(plan, MEASURES) if store.is_complete(task))
    stamp = store.path / "studies" / name / "assembled.json"
    current = {
        "digest": digest(
            [
                REPORT_VERSION,
                sorted(task.id for task in plan.tasks if store.is_complete(task)),
                settings.model_dump(mode="json"),
                plan.skipped,
                plan.blocked,
                len(plan.tasks),
                *_presets(plan),  # told in the report; the same groups written out are the same tasks
            ]
        )
    }
    page = report_path(store, name)
    written = [page, *(store.path / table / f"{name}.parquet" for table in TABLES)]
    if all(path.exists() for path in written) and _stamp(stamp) == current:
        return Assembled(read_written(store, name, measured), page, ())
    tables = read_tables(store, measured, settings)
    changes = claim_changes(store.path / "gaps" / f"{name}.parquet", tables.gaps, settings)
    write_tables(store, name, tables, read_views(store, measured))
    write_page(content_of(store, plan, tables), page.parent)
    write_json(stamp, current, staging=store.staging)
    return Assembled(tables, page, changes)


def write_page(content: StudyContent, folder: Path) -> Path:
    """Write the report's files below a folder."""
    from evaluator.report.html import write

    return write(content, folder)


def content_of(store: Store, plan: Plan, tables: StudyTables) -> StudyContent:
    """Gather what the report shows."""
    from evaluator.report.content import StudyContent
    from evaluator.report.methods import methods_text
    from evaluator.statistics.findings import findings

    study = plan.study
    unfinished = tuple(
        f"not finished: {t.kind} of {t.model} on {t.dataset}." for t in plan.tasks if not store.is_complete(t)
    )
    content = StudyContent(
        name=study.study,
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        metrics=without_probes(tables.metrics),
        gaps=tables.gaps,
        findings=findings(
            tables.gaps,
            alpha=study.measure.alpha,
            relevant=study.measure.relevant_gap,
            permutations=study.measure.permutations,
        ),
        failures=without_probes(tables.failures),
        datasets=tuple(_dataset_facts(plan, name) for name in plan.datasets),
        models=tuple(_model_facts(plan, name) for name in plan.cards),
        tasks=tuple(_task_facts(store, task) for task in plan.tasks if store.is_complete(task)),
        skipped=plan.skipped + plan.blocked + tuple(dict.fromkeys(unfinished)) + _no_baseline(study, tables),
        provenance=_provenance(store, plan),
        alpha=study.measure.alpha,
        curves=without_probes(tables.curves),
        comparisons=tables.comparisons,
        across=tables.across,
        selection=tables.selection,
        representation=_read_from_features(tables.metrics, study.measure.split),
    )
    return replace(content, methods_text=methods_text(content, study.measure))


def _read_from_features(metrics: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return how well each attribute can be read from each model's features: overall, and by group."""
    mine = (metrics["usage"] == PROBE) & (metrics["metric"] == "auc") & (metrics["split"] == split)
    order = ["dataset", "target", "model", "seed"]
    return metrics[mine].sort_values(order, kind="stable").reset_index(drop=True)


def _no_baseline(study: Study, tables: StudyTables) -> tuple[str, ...]:
    baseline = study.measure.baseline
    if baseline is None or baseline in set(tables.metrics["model"]):
        return ()
    return (f"the baseline {baseline} has no result yet: models are compared with the best one.",)


def _dataset_facts(plan: Plan, name: str) -> DatasetFacts:
    from evaluator.report.content import DatasetFacts
    from evaluator.usages.volumes import in_words

    dataset = plan.datasets[name]
    card = dataset.card
    if dataset.volumetric:
        card = replace(card, notes=card.notes + in_words(plan.study.usages))
    counts = dataset.counts
    return DatasetFacts(
        card, counts.samples, counts.rejected, dataset.fingerprint, named=name, audit=dataset.audit
    )


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
    facts += _presets(plan)
    facts += _views(store, plan)
    facts += [(f"version of {name}", version) for name, version in versions().items()]
    return tuple(facts)


def _presets(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what the study's presets stand for on each dataset."""
    from evaluator.presets import NotRecorded, presets_of

    for name, dataset in plan.datasets.items():
        for rule in plan.study.groups():
            if len(rule.parts) > 1:
                continue  # an intersection takes the groups of its parts
            try:
                found = presets_of(rule, dataset.card)
            except NotRecorded:
                continue  # said by the plan
            for preset in found:
                told = f"preset {preset.name}: {', '.join(preset.labels)} (column {preset.column})"
                yield f"groups of {preset.attribute} in {name}", ". ".join(filter(None, (told, preset.note)))


def _views(store: Store, plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what the views are made of."""
    measured = tuple(task for task in find_tasks(plan, MEASURES) if store.is_complete(task))
    views: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in read_views(store, measured):
        views.setdefault((row["dataset"], row["split"], row["ids_sha256"]), []).append(row)
    for (dataset, split, digested), rows in views.items():
        first = rows[0]
        groups = ", ".join(f"{row['kept']:,} of {row['available']:,} {row['group']}" for row in rows)
        told = f"{first['units']}: {groups}; version {first['version']}, seed {first['seed']}, sha256 of the ids {digested}"
        yield f"{split} of {dataset}", told


def _stamp(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
