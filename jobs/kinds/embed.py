"""Image embeddings: one pass of the encoder over every shard, read by all usages of the same model and dataset."""

from __future__ import annotations

from jobs.combination import Combination, encoder_cost, part_of, sample_ids, shard_of
from jobs.kinds.output import Bench, Output
from jobs.task import Item, Task

#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 1


def plan(combination: Combination, splits: tuple[str, ...]) -> Task:
    """Plan the embeddings of some splits. Its identity does not depend on the splits, so plans share parts."""
    shards = combination.of_splits(*splits)
    card = combination.card
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
        },
        requires=(),
        parts=tuple(part_of(shard) for shard in shards),
        inputs=combination.inputs,
        cost=encoder_cost(card, shards, bytes_per_image=4 * floats),
        needs_model=True,
    )


def run(item: Item, bench: Bench) -> Output:
    """Embed one shard."""
    from evaluator.usages.embed import embed_shard

    task = item.task
    dataset = bench.workshop.dataset(task)
    embedded = embed_shard(
        bench.workshop.model(task), dataset, shard_of(item.part), batch_size=task.inputs.batch_size
    )
    ids = sample_ids(dataset, shard_of(item.part))
    seconds = {"read": embedded.timings.read_s, "infer": embedded.timings.infer_s}
    return Output(tables={item.part: embedded.table}, sample_ids=ids, seconds=seconds)
