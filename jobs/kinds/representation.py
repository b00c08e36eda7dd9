"""Representation: a task per attribute and seed; probes frozen embeddings for the attribute's groups, in one part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluator.usages.options import OF_VOLUMES, RepresentationOptions
from jobs.combination import WHOLE, Combination, is_subset, part_of
from jobs.kinds import embed
from jobs.kinds.linear_probe import SPLITS, fit_cost, held_out
from jobs.kinds.output import Bench, Output
from jobs.task import Item, Task

if TYPE_CHECKING:
    from evaluator.groups import GroupRule

#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 1


def plan(combination: Combination, options: RepresentationOptions) -> Iterator[Task]:
    """Plan the embeddings and one task per attribute and seed."""
    rules = [rule for rule, groups in _probed(combination, options) if len(groups) > 1]
    if not rules:
        return  # said by left_out
    embedding = embed.plan(combination, SPLITS, options.slices)
    yield embedding
    for rule in rules:
        for seed in range(options.seeds):
            yield _task(combination, options, embedding, rule, seed)


def left_out(combination: Combination, options: RepresentationOptions) -> Iterator[str]:
    """Say which attributes of a dataset cannot be probed."""
    for rule, groups in _probed(combination, options):
        if len(groups) < 2:
            found = (
                f"all known samples are in group {groups[0]!r}" if groups else "no sample has a known group"
            )
            yield f"{combination.name}: {found} of {rule.name}; representation of it is left out."


def _probed(
    combination: Combination, options: RepresentationOptions
) -> Iterator[tuple[GroupRule, tuple[str, ...]]]:
    """Yield the attributes to probe, each with its groups that have samples."""
    from evaluator.usages.representation import groups_with_samples, probed

    for rule in probed(options, combination.groups):
        yield rule, groups_with_samples(rule, combination.dataset.index)


def _task(
    combination: Combination, options: RepresentationOptions, embedding: Task, rule: GroupRule, seed: int
) -> Task:
    from evaluator.usages.representation import target_name

    limited = {"parts": list(embedding.parts)} if is_subset(combination) else {}
    return Task(
        kind="representation",
        table="predictions",
        dataset=combination.name,
        model=combination.card.name,
        usage="representation",
        identity={
            "dataset": combination.dataset.fingerprint,
            "embedding": embedding.id,
            "attribute": rule.to_json(),
            "options": options.model_dump(mode="json", exclude={"seeds", "attributes", *OF_VOLUMES}),
            "seed": seed,
            "version": VERSION,
            **embed.pool_identity(combination, options.pool),
            **limited,
        },
        requires=(embedding.id,),
        parts=(WHOLE,),
        inputs=replace(
            combination.inputs,
            options=options,
            target=target_name(rule),
            probed=rule,
            seed=seed,
            split_parts=tuple((shard.split, part_of(shard)) for shard in combination.of_splits(*SPLITS)),
        ),
        cost=fit_cost(combination, len(options.grid)),
    )


def run(item: Item, bench: Bench) -> Output:
    """Fit and predict."""
    from evaluator.usages.linear_probe import fit, predict_table
    from evaluator.usages.representation import probe_options, probing

    task, (embedding,) = item.task, item.sources
    options = task.inputs.options
    assert isinstance(options, RepresentationOptions)  # noqa: S101 - as planned
    assert task.inputs.probed is not None  # noqa: S101
    asked = probing(task.inputs.probed, bench.workshop.dataset(task).index)
    rows = embed.read_pooled(bench, embedding, item.reads(embedding), options.pool)
    probe = fit(rows, asked.labels, asked.target, probe_options(options), seed=task.inputs.seed)
    predictions = predict_table(probe, rows, asked.labels, asked.target)
    return Output(tables={item.part: predictions}, tensors=probe.to_tensors(), sample_ids=held_out(rows))
