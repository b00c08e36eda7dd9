"""Linear probe: a task per target and seed; fits on train, chooses C on val, predicts val and test, in one part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from evaluator.usages.options import OF_VOLUMES, LinearProbeOptions
from jobs.combination import WHOLE, Combination, count_samples, is_subset, part_of
from jobs.kinds import embed
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "val", "test")


#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 1


def plan(combination: Combination, options: LinearProbeOptions) -> Iterator[Task]:
    """Plan the embeddings and one task per target and seed."""
    embedding = embed.plan(combination, SPLITS, options.slices)
    yield embedding
    for target in combination.targets:
        if options.targets is not None and target.name not in options.targets:
            continue
        for seed in range(options.seeds):
            yield _task(combination, options, embedding, target.name, seed)


def _task(
    combination: Combination, options: LinearProbeOptions, embedding: Task, target: str, seed: int
) -> Task:
    fit = options.model_dump(mode="json", exclude={"seeds", "targets", *OF_VOLUMES})
    limited = {"parts": list(embedding.parts)} if is_subset(combination) else {}
    return Task(
        kind="linear_probe",
        table="predictions",
        dataset=combination.name,
        model=combination.card.name,
        usage="linear_probe",
        identity={
            "dataset": combination.dataset.fingerprint,
            "embedding": embedding.id,
            "target": asdict(combination.dataset.card.target(target)),
            "options": fit,
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
            target=target,
            seed=seed,
            split_parts=tuple((shard.split, part_of(shard)) for shard in combination.of_splits(*SPLITS)),
        ),
        cost=fit_cost(combination, len(options.grid)),
    )


def fit_cost(combination: Combination, grid: int) -> Cost:
    """Return the cost of a fit: about 20 passes over the features for each of the values of C."""
    rows = count_samples(combination.of_splits(*SPLITS))
    return Cost(gflop=rows * combination.card.dimension * 4e-9 * 20 * grid, bytes=60 * rows)


def run(item: Item, bench: Bench) -> Output:
    """Fit and predict."""
    from evaluator.usages.linear_probe import fit, predict_table
    from evaluator.usages.predictions import labels_of

    task, (embedding,) = item.task, item.sources
    inputs = task.inputs
    options = inputs.options
    assert isinstance(options, LinearProbeOptions)  # noqa: S101 - as planned
    assert inputs.target is not None  # noqa: S101
    dataset = bench.workshop.dataset(task)
    target = dataset.card.target(inputs.target)
    labels = labels_of(dataset.index, target)
    rows = embed.read_pooled(bench, embedding, item.reads(embedding), options.pool)
    probe = fit(rows, labels, target, options, seed=inputs.seed)
    predictions = predict_table(probe, rows, labels, target)
    return Output(tables={item.part: predictions}, tensors=probe.to_tensors(), sample_ids=held_out(rows))


def held_out(rows: pa.Table) -> list[str]:
    """Return the ids of the samples that are predicted: all but those of train."""
    pairs = zip(rows["sample_id"].to_pylist(), rows["split"].to_pylist(), strict=True)
    return [sample for sample, split in pairs if split != "train"]
