"""Prompted segmentation: one task for all prompts and structures, one part per shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from evaluator.usages.options import SegmentOptions, SliceOptions
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

#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 2


def plan(combination: Combination, options: SegmentOptions) -> Iterator[Task]:
    """Plan the one task."""
    shards = combination.of_splits(*options.splits)
    if not combination.dataset.card.structures:
        return  # said by the plan: see jobs.plan
    # Of a volume at most all slices: only the masks tell which hold a structure.
    images = count_images(combination.dataset, shards, SliceOptions())
    yield Task(
        kind="segment",
        table="segmentations",
        dataset=combination.name,
        model=combination.card.name,
        usage="segment",
        identity={
            "dataset": combination.dataset.fingerprint,
            **combination.model_identity,
            # The splits only choose parts; a part's rows do not depend on them.
            "options": options.model_dump(mode="json", exclude={"splits"}),
            "version": VERSION,
        },
        requires=(),
        parts=tuple(part_of(shard) for shard in shards),
        inputs=replace(combination.inputs, options=options),
        cost=encoder_cost(
            combination.card, images, count_samples(shards), bytes_per_row=60 * len(options.prompts)
        ),
        needs_model=True,
    )


def run(item: Item, bench: Bench) -> Output:
    """Segment one shard."""
    from evaluator.usages.segment import segment_shard

    task = item.task
    options = task.inputs.options
    assert isinstance(options, SegmentOptions)  # noqa: S101 - as planned
    dataset = bench.workshop.dataset(task)
    shard = shard_of(item.part)
    output = segment_shard(bench.workshop.model(task), dataset, shard, options)
    return Output(
        tables={item.part: output.table},
        sample_ids=sample_ids(dataset, shard),
        seconds={"read": output.timings.read_s, "infer": output.timings.infer_s},
    )
