"""Measuring: one task per table of predictions or segmentations; gives the metrics and the gaps of its groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evaluator import views
from jobs.combination import WHOLE
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evaluator.groups import GroupRule
    from evaluator.measure import Measurement, MeasureSettings, ResultKeys
    from evaluator.views import View

#: Raised when the numbers of a measurement change for the same rows.
VERSION = 3


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
        if settings.view is not None and task.inputs.probed is None and applied.view is None:
            continue  # said by the plan: the dataset has no groups for the view
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
                "measure": _dumped(applied),
                "version": VERSION,
                **({} if applied.view is None else {"view_version": views.VERSION}),
            },
            requires=(task.id,),
            parts=(WHOLE,),
            inputs=replace(task.inputs, card=None, weights=None, groups=groups, measure=applied),
            # About 25 series of replicates, of 8 bytes each.
            cost=Cost(gflop=120.0, bytes=50_000 + 200 * settings.bootstrap),
        )


def _dumped(settings: MeasureSettings) -> dict[str, Any]:
    """Return the settings that can change a measurement; those that came later only where they are used."""
    unused = {"view"} if settings.view is None else set()
    return settings.model_dump(
        mode="json", exclude={"baseline", *unused}
    )  # models are compared when assembling


def _applicable(settings: MeasureSettings, task: Task, groups: tuple[GroupRule, ...]) -> MeasureSettings:
    """Leave out what this table cannot be re-weighted to, or has no view by: attributes its dataset lacks, classes of masks.

    Probes of a representation are measured on all rows.
    """
    names = [*(rule.name for rule in groups), *(["target"] if task.table == "predictions" else [])]
    known = {name.casefold(): name for name in names}
    asked = [known.get(name.casefold()) for name in settings.standardize]
    view = (
        None if settings.view is None or task.inputs.probed is not None else views.parse_view(settings.view)
    )
    rule = None if view is None else view_rule(view, groups)
    return settings.model_copy(
        update={
            "standardize": tuple(name for name in asked if name is not None),
            "view": None if view is None or rule is None else replace(view, attribute=rule.name).name,
        }
    )


def view_rule(view: View, groups: Iterable[GroupRule]) -> GroupRule | None:
    """Return the rule whose groups a view makes equal; None where there is none."""
    return next((rule for rule in groups if rule.name.casefold() == view.attribute.casefold()), None)


def result_keys(task: Task, made_by: str) -> ResultKeys:
    """Return what the measured rows of a task are called; `made_by` is the task that made the rows."""
    from evaluator.measure import MeasureSettings, ResultKeys

    inputs = task.inputs
    assert isinstance(inputs.measure, MeasureSettings)  # noqa: S101 - as planned
    return ResultKeys(
        dataset=task.dataset,
        model=task.model,
        usage=task.usage,
        mitigation=_mitigation(task),
        seed=inputs.seed,
        split=inputs.measure.split,
        target=inputs.target,
        task=made_by,
    )


def _mitigation(task: Task) -> str | None:
    """Return how training tried to be fair; ``erm`` for a fit that knows no such methods, None where nothing is trained."""
    if task.inputs.mitigation is not None:
        return task.inputs.mitigation.label
    return "erm" if task.usage == "linear_probe" else None


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
    made = None if inputs.measure.view is None else _look(rows, attributes, results.table, task)
    rows = rows if made is None else made[0]
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
    tables = {
        **tables_of(measured, inputs.measure),
        "failures": count_failures(rows, attributes, inputs.groups),
    }
    return Output(tables=tables if made is None else {**tables, "view": made[1]})


def tables_of(measured: Measurement, settings: MeasureSettings) -> dict[str, pa.Table]:
    """Return the measured tables by their names, the rows of a view under the split of the view."""
    names = ("metrics", "gaps", "curves", "replicates")
    tables: dict[str, pa.Table] = {name: getattr(measured, name) for name in names}
    if settings.view is None:
        return tables
    return {name: views.relabel(table, settings.view) for name, table in tables.items()}


def _look(rows: pa.Table, attributes: pd.DataFrame, table: str, task: Task) -> tuple[pa.Table, pa.Table]:
    """Leave only the rows of the view among those that are measured (and all of val), and say what it is made of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from evaluator.groups import assign_groups
    from evaluator.measure import MeasureSettings

    settings = task.inputs.measure
    assert isinstance(settings, MeasureSettings)  # noqa: S101 - as planned
    view = views.parse_view(settings.view or "")
    rule = view_rule(view, task.inputs.groups)
    assert rule is not None  # noqa: S101 - as planned
    everything = table == "segmentations"  # nothing was fitted: all rows are measured
    measured = rows if everything else rows.filter(pc.equal(rows["split"], settings.split))
    mine = attributes["sample_id"].isin(set(measured["sample_id"].to_pylist())).to_numpy()
    people, grouping = attributes[mine], assign_groups(rule, attributes)
    inside = replace(grouping, codes=grouping.codes[mine])
    drawn = views.draw(
        view, people["sample_id"].tolist(), people["subject_id"].tolist(), inside, seed=settings.seed
    )
    chosen = pc.is_in(rows["sample_id"], value_set=pa.array(drawn.ids, rows.schema.field("sample_id").type))
    kept = chosen if everything else pc.or_(chosen, pc.not_equal(rows["split"], settings.split))
    there = set(measured["split"].to_pylist())
    split = "+".join(name for name in ("train", "val", "test") if name in there)
    return rows.filter(kept), views.record(view, drawn, split, settings.seed)
