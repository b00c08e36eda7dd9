"""What all usages with a trained head share: a task per target, seed and mitigation, in one part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from evaluator.usages.training_options import FitOptions
from jobs.combination import WHOLE, Combination, count_samples, is_subset, part_of
from jobs.kinds import embed
from jobs.kinds.linear_probe import held_out
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task
from shards.card import Target

if TYPE_CHECKING:
    from evaluator.group_rules import GroupRule
    from evaluator.mitigation.options import MitigationOptions
    from evaluator.usages.trained import HeadPlan, SampleGroups
    from shards.dataset import Dataset

SPLITS = ("train", "val", "test")

#: Raised when the numbers of trained heads change for the same inputs.
VERSION = 1


@dataclass(frozen=True)
class TrainedUsage:
    """A usage with a trained head.

    Attributes
    ----------
    name
        As a study names it.
    head
        What one task trains.
    identity
        What of a target the head is made of, besides its classes: texts, for instance. Empty for none.
    needs_model
        Whether a worker must hold the model (to embed texts).
    applies
        Whether a target can be done at all; one that cannot is said by the plan.
    """

    name: str
    head: Callable[[Item, Bench, Target], HeadPlan]
    identity: Callable[[Combination, Target, Any], dict[str, Any]] = lambda combination, target, options: {}
    needs_model: bool = False
    applies: Callable[[Combination, Target, Any], bool] = lambda combination, target, options: True


def plan(usage: TrainedUsage, combination: Combination, options: FitOptions) -> Iterator[Task]:
    """Plan the embeddings and the fits."""
    methods = [
        (method, rule)
        for method in options.methods
        for rule in [_rule(combination, options) if method.needs_groups else None]
        if rule is not None or not method.needs_groups
    ]
    if not methods:
        return  # said by left_out
    embedding = embed.plan(combination, SPLITS, options.slices)
    yield embedding
    for target in combination.targets:
        if options.targets is not None and target.name not in options.targets:
            continue
        if not usage.applies(combination, target, options):
            continue
        for method, rule in methods:
            for seed in range(options.seeds):
                yield _task(usage, combination, options, embedding, target, method, rule, seed)


def left_out(combination: Combination, options: FitOptions) -> Iterator[str]:
    """Say which methods cannot be trained on a dataset, and which need the groups of the samples that they predict."""
    needy = [method.label for method in options.methods if method.needs_groups]
    rule = _rule(combination, options)
    told = [method.label for method in options.methods if method.groups_at_test]
    if told and rule is not None:
        yield (
            f"{combination.name}: mitigation {', '.join(told)} is told the group (by {rule.name}) of every sample that it "
            "predicts, which other methods are not; compare it only where that is known when the model is used."
        )
    if needy and rule is None:
        known = ", ".join(rule.name for rule in combination.groups) or "none"
        yield (
            f"{combination.name} has no groups of {options.grouped_by!r} (the study's attributes that it has: {known}): "
            f"mitigation {', '.join(needy)} is left out."
        )


def _rule(combination: Combination, options: FitOptions) -> GroupRule | None:
    wanted = (options.grouped_by or "").casefold()
    return next((rule for rule in combination.groups if rule.name.casefold() == wanted), None)


def _task(
    usage: TrainedUsage,
    combination: Combination,
    options: FitOptions,
    embedding: Task,
    target: Target,
    method: MitigationOptions,
    rule: GroupRule | None,
    seed: int,
) -> Task:
    limited = {"parts": list(embedding.parts)} if is_subset(combination) else {}
    groups = {} if rule is None else {"groups": rule.to_json()}
    return Task(
        kind=usage.name,
        table="predictions",
        dataset=combination.name,
        model=combination.card.name,
        usage=usage.name,
        identity={
            "dataset": combination.dataset.fingerprint,
            "embedding": embedding.id,
            "target": asdict(target),
            "options": options.of_fit(),
            "mitigation": method.model_dump(mode="json"),
            "seed": seed,
            "version": VERSION,
            **groups,
            **usage.identity(combination, target, options),
            **embed.pool_identity(combination, options.pool),
            **limited,
        },
        requires=(embedding.id,),
        parts=(WHOLE,),
        inputs=replace(
            combination.inputs,
            options=options,
            target=target.name,
            seed=seed,
            mitigation=method,
            mitigate=rule,
            split_parts=tuple((shard.split, part_of(shard)) for shard in combination.of_splits(*SPLITS)),
        ),
        cost=_cost(combination, options),
        needs_model=usage.needs_model,
    )


def _cost(combination: Combination, options: FitOptions) -> Cost:
    """Return the cost of a fit: forward and backward through about 512 units, for all epochs."""
    rows = count_samples(combination.of_splits(*SPLITS))
    epochs = options.recipe().epochs
    return Cost(gflop=rows * combination.card.dimension * 512 * 6e-9 * epochs, bytes=60 * rows)


def run(usage: TrainedUsage, item: Item, bench: Bench) -> Output:
    """Fit and predict."""
    from evaluator.usages.predictions import labels_of
    from evaluator.usages.trained import fit, predict_table

    task, (embedding,) = item.task, item.sources
    inputs = task.inputs
    options = inputs.options
    assert isinstance(options, FitOptions)  # noqa: S101 - as planned
    assert inputs.target is not None  # noqa: S101
    assert inputs.mitigation is not None  # noqa: S101
    dataset = bench.workshop.dataset(task)
    target = dataset.card.target(inputs.target)
    labels = labels_of(dataset.index, target)
    groups = _groups(dataset, inputs.mitigate)
    rows = embed.read_pooled(bench, embedding, item.reads(embedding), options.pool)
    head = usage.head(item, bench, target)
    trained = fit(rows, labels, target, head, options, inputs.mitigation, groups, seed=inputs.seed)
    predictions = predict_table(trained, rows, labels, target, groups)
    return Output(tables={item.part: predictions}, tensors=trained.to_tensors(), sample_ids=held_out(rows))


def _groups(dataset: Dataset, rule: GroupRule | None) -> SampleGroups:
    from evaluator.groups import assign_groups
    from evaluator.usages.trained import SampleGroups

    if rule is None:
        return SampleGroups()
    columns = dict.fromkeys(["sample_id", *rule.columns])
    table = dataset.index.select(list(columns)).to_pandas()
    found = assign_groups(rule, table)
    codes = zip(table["sample_id"].tolist(), found.codes.tolist(), strict=True)
    return SampleGroups(found.groups, {sample: code for sample, code in codes if code >= 0})
