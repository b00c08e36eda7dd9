"""What a run writes beside the tables so that they can be read alone: the study, the tasks, the datasets' indexes."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import yaml

from jobs.plan import Plan
from jobs.store import Store
from jobs.task import Task, hive
from shards.dataset import Dataset
from shards.files import write_atomically, write_json, write_text

#: Whose versions can matter to a number.
LIBRARIES = (
    "fairray", "torch", "torchvision", "open_clip_torch", "timm", "segment-anything", "monai", "numpy", "scipy",
    "scikit-learn", "numba", "pandas", "pyarrow", "pillow", "ray",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of those of the libraries that compute that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def record_study(store: Store, plan: Plan) -> None:
    """Write ``studies/<name>/study.yaml`` and ``plan.json``, the tasks' specifications, and the datasets' indexes."""
    folder = store.path / "studies" / plan.study.study
    study = plan.study.model_dump(mode="json")
    write_text(
        folder / "study.yaml",
        yaml.safe_dump(study, sort_keys=False, allow_unicode=True),
        staging=store.staging,
    )
    write_json(
        folder / "plan.json",
        {
            "tasks": [task.id for task in plan.tasks],
            "skipped": list(plan.skipped),
            "blocked": list(plan.blocked),
        },
        staging=store.staging,
    )
    for dataset_name, dataset in plan.datasets.items():
        _record_dataset(store, dataset_name, dataset)
    for task in plan.tasks:
        path = store.path / "tasks" / f"{task.id}.json"
        if not path.exists():
            write_json(path, _specification(task), staging=store.staging)


def record_totals(store: Store, tasks: tuple[Task, ...]) -> None:
    """Add rows, failures, seconds and hosts to the files of tasks that are complete."""
    for task in tasks:
        markers = list(store.markers(task))
        if len(markers) < len(task.parts):
            continue
        seconds: dict[str, float] = {}
        for marker in markers:
            for key, value in marker.seconds.items():
                seconds[key] = round(seconds.get(key, 0.0) + value, 3)
        path = store.path / "tasks" / f"{task.id}.json"
        totals = {
            "parts": len(markers),
            "rows": sum(marker.rows for marker in markers),
            "failed": sum(marker.failed for marker in markers),
            "seconds": seconds,
            "hosts": sorted({marker.host for marker in markers}),
        }
        if _recorded(path).get("totals") != totals:
            write_json(path, {**_specification(task), "totals": totals}, staging=store.staging)


def _recorded(path: Path) -> dict[str, Any]:
    """Return what a task's file says; nothing where it is absent or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _specification(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "kind": task.kind,
        "dataset": task.dataset,
        "model": task.model,
        "usage": task.usage,
        "target": task.inputs.target,
        "seed": task.inputs.seed,
        "identity": dict(task.identity),
        "requires": list(task.requires),
        "parts": list(task.parts),
        "predicted": {
            "images": task.cost.images,
            "gflop": round(task.cost.gflop, 3),
            "bytes": task.cost.bytes,
        },
        "versions": versions(),
    }


def _record_dataset(store: Store, name: str, dataset: Dataset) -> None:
    """Copy the index, so that attributes can be joined where the shards are not at hand."""
    folder = store.path / "datasets" / f"dataset={hive(name)}" / f"fingerprint={dataset.fingerprint[:16]}"
    for file in ("index.parquet", "dataset.json"):
        if not (folder / file).exists():
            source = dataset.path / file
            write_atomically(folder / file, functools.partial(_copy, source), staging=store.staging)


def _copy(source: Path, out: Any) -> None:
    with source.open("rb") as file:
        shutil.copyfileobj(file, out)
