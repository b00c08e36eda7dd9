"""Whether a study is really there: what is committed, and whether the bytes and the rows are what the markers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.combination import WHOLE, sample_ids, shard_of
from jobs.plan import Plan
from jobs.store import Marker, Store
from jobs.task import Task
from shards.files import sha256_file


@dataclass(frozen=True)
class TaskState:
    """How far one task is.

    Attributes
    ----------
    task
        Which.
    parts_done, rows, failed
        What is committed.
    """

    task: Task
    parts_done: int
    rows: int
    failed: int

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.parts_done == len(self.task.parts)


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes
    ----------
    task, part
        Where.
    kind
        ``"missing"``, ``"altered"``, ``"missing samples"``, ``"unexpected samples"``, ``"duplicate rows"``.
    detail
        File and first ids.
    """

    task: str
    part: str
    kind: str
    detail: str


def states(plan: Plan, store: Store) -> tuple[TaskState, ...]:
    """Return how far every task of a plan is."""
    found = []
    for task in plan.tasks:
        markers = list(store.markers(task))
        found.append(
            TaskState(task, len(markers), sum(m.rows for m in markers), sum(m.failed for m in markers))
        )
    return tuple(found)


def find_faults(plan: Plan, store: Store) -> Iterator[Fault]:
    """Compare every committed file with its marker and every table with the samples it must cover.

    Yields
    ------
    Fault
        Parts that are not committed, files that changed, and samples that are missing, unexpected or doubled.
    """
    for task in plan.tasks:
        for part in task.parts:
            marker = store.marker(task, part)
            if marker is None:
                yield Fault(
                    task.id,
                    part,
                    "missing",
                    f"not committed; run the study again ({task.model} on {task.dataset})",
                )
                continue
            altered = list(_altered(store, task, marker))
            yield from altered
            if not altered:
                yield from _rows(plan, store, task, marker)


def drop(store: Store, fault: Fault) -> Path:
    """Remove the marker of a faulty part, so that the next run makes it again."""
    path = store.marker_path(fault.task, fault.part)
    path.unlink(missing_ok=True)
    return path


def _altered(store: Store, task: Task, marker: Marker) -> Iterator[Fault]:
    for file in marker.files:
        found = sha256_file(store.path / file.path)
        if found != file.sha256:
            detail = f"{file.path} has sha256 {found[:12]}..., its marker says {file.sha256[:12]}..."
            yield Fault(task.id, marker.part, "altered", detail)


def _rows(plan: Plan, store: Store, task: Task, marker: Marker) -> Iterator[Fault]:
    """Compare the rows with the dataset's index, independently of what the worker checked."""
    if task.table == "measures":
        return
    table = store.read(task, (marker.part,))
    expected = set(_expected_ids(plan, task, marker.part))
    names = [n for n in ("sample_id", "structure", "prompt", "target") if n in table.column_names]
    keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    found = {key[0] for key in keys}
    doubled = [key for key, count in Counter(keys).items() if count > 1]
    for kind, ids in (
        ("missing samples", sorted(expected - found)),
        ("unexpected samples", sorted(found - expected)),
        ("duplicate rows", doubled),
    ):
        if ids:
            shown = ", ".join(str(i) for i in ids[:3])
            yield Fault(task.id, marker.part, kind, f"{len(ids)} in {marker.files[0].path}: {shown}")


def _expected_ids(plan: Plan, task: Task, part: str) -> Iterator[str]:
    dataset = plan.datasets[task.dataset]
    if part == WHOLE:  # a fit, which predicts all but its training split
        for split, name in task.inputs.split_parts:
            if split != "train":
                yield from sample_ids(dataset, shard_of(name))
    else:
        yield from sample_ids(dataset, shard_of(part))
