"""Family: the mean over the findings of one multi-label question, from what was measured of each, in one part.

A sample can have several findings at once, each of them a target of its own; the targets of one family share its name on the
dataset's card. Every result of a model on two or more of them also has their mean (multi-label macro average), in every group,
with intervals from the replicates that all findings share, and its gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jobs.combination import WHOLE
from jobs.kinds.measure import result_keys, tables_of
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task
from shards.card import DatasetCard, Target

if TYPE_CHECKING:
    from evaluator.measure import MeasureSettings
    from shards.dataset import Dataset

#: Raised when the numbers of a mean change for the same measurements.
VERSION = 2


def plan(tasks: Iterable[Task], datasets: Mapping[str, Dataset], settings: MeasureSettings) -> Iterator[Task]:
    """Plan a mean for every result whose measurements are of two or more targets of a family."""
    if settings.metrics and "auc" not in settings.metrics:
        return
    results: dict[tuple[object, ...], dict[str, Task]] = {}
    for task in tasks:
        if task.kind == "measure" and task.inputs.target is not None and task.inputs.probed is None:
            results.setdefault(_result(task), {})[task.inputs.target] = task
    for (name, *_), measured in results.items():
        for family, members in families(datasets[str(name)].card).items():
            found = [measured[target.name] for target in members if target.name in measured]
            if len(found) > 1:
                yield _task(found, _called(family, len(found), len(members), datasets[str(name)].card))


def families(card: DatasetCard) -> dict[str, list[Target]]:
    """Return the targets of each family of a card that have an AUC: two classes, one of them of interest."""
    found: dict[str, list[Target]] = {}
    for target in card.targets:
        if target.family is not None and target.positive is not None and len(target.classes) == 2:
            found.setdefault(target.family, []).append(target)
    return found


def _result(task: Task) -> tuple[object, ...]:
    """Return what the measurements of one result share."""
    options = task.inputs.options
    told = "" if options is None else options.model_dump_json()
    return task.dataset, task.model, task.usage, task.inputs.seed, told


def _called(family: str, found: int, members: int, card: DatasetCard) -> str:
    """Name the mean: the family's name where it is of all its findings, so that means of others are told apart."""
    taken = family in {target.name for target in card.targets}
    name = f"mean of {family}" if taken else family
    return name if found == members else f"{name} ({found} of {members})"


def _task(measured: Sequence[Task], name: str) -> Task:
    first = measured[0]
    ids = tuple(task.id for task in measured)
    return Task(
        kind="family",
        table="measures",
        dataset=first.dataset,
        model=first.model,
        usage=first.usage,
        identity={
            "dataset": first.identity["dataset"],
            "name": first.dataset,
            "measured": list(ids),  # their identities hold the groups and how to measure
            "target": name,
            "version": VERSION,
        },
        requires=ids,
        parts=(WHOLE,),
        inputs=replace(first.inputs, target=name),
        cost=Cost(gflop=5.0, bytes=50_000),
    )


def run(item: Item, bench: Bench) -> Output:
    """Average the findings."""
    from evaluator.measure import Measurement, MeasureSettings, macro_average
    from evaluator.tables import FAILURES

    task = item.task
    assert isinstance(task.inputs.measure, MeasureSettings)  # noqa: S101 - as planned
    measured = [
        Measurement(
            *(bench.store.read(source, name=table) for table in ("metrics", "gaps", "curves", "replicates"))
        )
        for source in item.sources
    ]
    mean = macro_average(
        measured, task.inputs.measure, result_keys(task, task.id), name=task.inputs.target or ""
    )
    # Failures are counted with each finding.
    return Output(tables={**tables_of(mean, task.inputs.measure), "failures": FAILURES.empty_table()})
