"""Measuring: one task per table of predictions or segmentations; gives the metrics and the gaps of its groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from jobs.combination import WHOLE
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task

if TYPE_CHECKING:
    from evaluator.groups import GroupRule
    from evaluator.measure import MeasureSettings, ResultKeys

#: Raised when the numbers of a measurement change for the same rows.
VERSION = 2


def plan(
    tasks: Iterable[Task], groups_of: Mapping[str, tuple[GroupRule, ...]], settings: MeasureSettings
) -> Iterator[Task]:
    """Plan the measuring of every task whose rows are results; `groups_of` has the rules for each dataset.

    A probe of a representation is measured in the groups of the other attributes only.
    """
    for task in tasks:
        if task.table not in ("predictions", "segmentations"):
            continue
        predicted = set(task.inputs.probed.attributes) if task.inputs.probed is not None else set()
        others = (rule for rule in groups_of[task.dataset] if predicted.isdisjoint(rule.attributes))
        groups = tuple(sorted(others, key=lambda rule: rule.name))
        applied = _applicable(settings, task, groups)
        yield Task(
            kind="measure",
            table="measures",
            dataset=task.dataset,
            model=task.model,
            usage=task.usage,
            identity={
                "dataset": task.identity["dataset"],
                "name": task.dataset,  # it is in the rows, and two studies may name one dataset differently
                "results": task.id,
                "parts": list(task.parts),
                "groups": [group.to_json() for group in groups],
                "measure": applied.model_dump(mode="json", exclude={"baseline"}),  # compared when assembling
                "version": VERSION,
            },
            requires=(task.id,),
            parts=(WHOLE,),
            inputs=replace(task.inputs, card=None, weights=None, groups=groups, measure=applied),
            # About 25 series of replicates, of 8 bytes each.
            cost=Cost(gflop=120.0, bytes=50_000 + 200 * settings.bootstrap),
        )


def _applicable(settings: MeasureSettings, task: Task, groups: tuple[GroupRule, ...]) -> MeasureSettings:
    """Leave out what this table cannot be re-weighted to: attributes its dataset lacks, classes of masks."""
    names = [*(rule.name for rule in groups), *(["target"] if task.table == "predictions" else [])]
    known = {name.casefold(): name for name in names}
    asked = [known.get(name.casefold()) for name in settings.standardize]
    return settings.model_copy(update={"standardize": tuple(name for name in asked if name is not None)})


def result_keys(task: Task, made_by: str) -> ResultKeys:
    """Return what the measured rows of a task are called; `made_by` is the task that made the rows."""
    from evaluator.measure import MeasureSettings, ResultKeys

    inputs = task.inputs
    assert isinstance(inputs.measure, MeasureSettings)  # noqa: S101 - as planned
    return ResultKeys(
        dataset=task.dataset,
        model=task.model,
        usage=task.usage,
        mitigation="erm" if task.usage == "linear_probe" else None,
        seed=inputs.seed,
        split=inputs.measure.split,
        target=inputs.target,
        task=made_by,
    )


def run(item: Item, bench: Bench) -> Output:
    """Measure one table."""
    from evaluator.failures import count_failures
    from evaluator.measure import MeasureSettings, measure_predictions, measure_segmentations
    from evaluator.usages.representation import probing

    task, (results,) = item.task, item.sources
    inputs = task.inputs
    assert isinstance(inputs.measure, MeasureSettings)  # noqa: S101 - as planned
    dataset = bench.workshop.dataset(task)
    names = [attribute.name for attribute in dataset.card.attributes]
    # A preset may read a publisher's own column.
    read = [column for rule in inputs.groups for column in rule.columns]
    columns = dict.fromkeys(["sample_id", "subject_id", "split", *names, *read])
    attributes = dataset.index.select(list(columns)).to_pandas()
    rows = bench.store.read(results)
    keys = result_keys(task, results.id)
    if inputs.probed is not None:
        # That an attribute is easier to read in one group than in another is no harm: nothing is tested, no gap is kept.
        settings = inputs.measure.model_copy(update={"permutations": 0, "standardize": ()})
        target = probing(inputs.probed, dataset.index).target
        measured = measure_predictions(rows, attributes, target, inputs.groups, settings, keys)
        measured = replace(measured, gaps=measured.gaps.slice(0, 0))
    elif results.table == "predictions":
        target = dataset.card.target(inputs.target or "")
        measured = measure_predictions(rows, attributes, target, inputs.groups, inputs.measure, keys)
    else:
        measured = measure_segmentations(rows, attributes, inputs.groups, inputs.measure, keys)
    failures = count_failures(rows, attributes, inputs.groups)
    return Output(
        tables={
            "metrics": measured.metrics,
            "gaps": measured.gaps,
            "curves": measured.curves,
            "replicates": measured.replicates,
            "failures": failures,
        }
    )
