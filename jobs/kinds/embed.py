"""Image embeddings: one pass of the encoder over every shard, read by all usages of the same model and dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluator.usages.options import Pool, SliceOptions
from jobs.combination import (
    Combination,
    count_images,
    count_samples,
    encoder_cost,
    part_of,
    sample_ids,
    shard_of,
)
from jobs.kinds.output import Bench, Output
from jobs.task import Item, Task

if TYPE_CHECKING:
    import pyarrow as pa

#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 1


def plan(combination: Combination, splits: tuple[str, ...], slices: SliceOptions) -> Task:
    """Plan the embeddings of some splits. Its identity does not depend on the splits, so plans share parts.

    `slices` belong to it where there are volumes, and to nothing else.
    """
    shards = combination.of_splits(*splits)
    card = combination.card
    volumes = combination.dataset.volumetric
    images, samples = count_images(combination.dataset, shards, slices), count_samples(shards)
    vectors = samples + (images if volumes else 0)
    floats = card.dimension + (card.projected or 0)
    return Task(
        kind="embed",
        table="embeddings",
        dataset=combination.name,
        model=card.name,
        usage="embed",
        identity={
            "dataset": combination.dataset.fingerprint,
            **combination.model_identity,
            "version": VERSION,
            **({"slices": slices.model_dump(mode="json")} if volumes else {}),
        },
        requires=(),
        parts=tuple(part_of(shard) for shard in shards),
        inputs=replace(combination.inputs, options=slices if volumes else None),
        cost=encoder_cost(card, images, vectors, bytes_per_row=4 * floats),
        needs_model=True,
    )


def run(item: Item, bench: Bench) -> Output:
    """Embed one shard."""
    from evaluator.usages.embed import embed_shard

    task = item.task
    dataset = bench.workshop.dataset(task)
    slices = task.inputs.options
    assert slices is None or isinstance(slices, SliceOptions)  # noqa: S101 - as planned
    embedded = embed_shard(
        bench.workshop.model(task),
        dataset,
        shard_of(item.part),
        batch_size=task.inputs.batch_size,
        slices=slices,
    )
    ids = sample_ids(dataset, shard_of(item.part))
    seconds = {"read": embedded.timings.read_s, "infer": embedded.timings.infer_s}
    return Output(tables={item.part: embedded.table}, sample_ids=ids, seconds=seconds)


def pool_identity(combination: Combination, pool: Pool) -> dict[str, Pool]:
    """Return what a usage's identity says of pooling: nothing where there are no volumes."""
    return {"pool": pool} if combination.dataset.volumetric else {}


def read_pooled(bench: Bench, embedding: Task, parts: Sequence[str], pool: Pool) -> pa.Table:
    """Read embeddings for a probe; the slices of volumes are pooled part by part, so that never all are in memory."""
    import pyarrow as pa

    from evaluator.usages.volumes import pool_table

    tables = [pool_table(bench.store.read(embedding, (part,)), pool) for part in parts]
    return pa.concat_tables(tables).combine_chunks()
