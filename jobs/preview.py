"""What a plan would cost, and which groups are too small for it to say anything about."""

from __future__ import annotations

from typing import Any

from evaluator.groups import assign_groups
from jobs.conversion import adapter_of, unconverted
from jobs.plan import Plan
from jobs.scheduler import ASSUMED_GFLOPS
from jobs.store import Store
from jobs.study import Study


def preview_conversions(study: Study, datasets: str) -> list[dict[str, Any]]:
    """Return a row per dataset that a run would convert first: adapter and number of samples of its manifest."""
    return [
        {
            "dataset": name,
            "adapter": entry.adapter or name,
            "samples": len(adapter_of(name, entry).manifest()),
            "into": str(entry.shards),
        }
        for name, entry in unconverted(study, datasets).items()
    ]


def preview_tasks(plan: Plan, store: Store | None) -> list[dict[str, Any]]:
    """Return a row per task: what it is, whether it is done, what it is predicted to take."""
    rows = []
    for task in plan.tasks:
        done = 0 if store is None else sum(store.marker(task, part) is not None for part in task.parts)
        rows.append(
            {
                "task": task.id,
                "dataset": task.dataset,
                "model": task.model,
                "target": task.inputs.target or "",
                "state": "done" if done == len(task.parts) else f"{done}/{len(task.parts)}",
                "images": task.cost.images,
                "predicted_s": round(task.cost.seconds(ASSUMED_GFLOPS), 1),
                "predicted_MB": round(task.cost.bytes / 1e6, 2),
            }
        )
    return rows


def small_groups(plan: Plan) -> list[dict[str, Any]]:
    """Return the groups of the measured split that have fewer subjects than the study's minimum."""
    settings = plan.study.measure
    rows = []
    for name, dataset in plan.datasets.items():
        columns = [column for rule in plan.groups[name] for column in rule.columns]
        frame = dataset.index.select(list(dict.fromkeys(["subject_id", "split", *columns]))).to_pandas()
        measured = (frame["split"] == settings.split).to_numpy()
        for rule in plan.groups[name]:
            grouping = assign_groups(rule, frame)
            for code, group in enumerate(grouping.groups):
                subjects = frame.loc[measured & (grouping.codes == code), "subject_id"].nunique()
                if subjects < settings.minimum_subjects:
                    rows.append(
                        {"dataset": name, "attribute": rule.name, "group": group, "subjects": int(subjects)}
                    )
    return rows
