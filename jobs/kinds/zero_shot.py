"""Zero-shot classification: one task per target that has prompts, one part per shard of val and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from evaluator.models.weights import require_tokenizer
from evaluator.usages.options import ZeroShotOptions
from evaluator.usages.zero_shot import choose_prompts
from jobs.combination import Combination, count_samples, part_of
from jobs.kinds import embed
from jobs.kinds.output import Bench, Output
from jobs.task import Cost, Item, Task

#: Validation rows are predicted too: thresholds are chosen there, never on test.
SPLITS = ("val", "test")


#: Raised when the numbers of this kind of task change for the same inputs.
VERSION = 1


def plan(combination: Combination, options: ZeroShotOptions) -> Iterator[Task]:
    """Plan the embeddings and one task per target."""
    require_tokenizer(combination.card, combination.weights)
    embedding = embed.plan(combination, SPLITS, options.slices)
    yield embedding
    card = combination.dataset.card
    for target in combination.targets:
        if options.targets is not None and target.name not in options.targets:
            continue
        if options.templates is None and not any(p.target == target.name for p in card.prompts):
            continue  # said by the plan: see jobs.plan
        prompts = choose_prompts(card, target, options)
        yield Task(
            kind="zero_shot",
            table="predictions",
            dataset=combination.name,
            model=combination.card.name,
            usage="zero_shot",
            identity={
                "dataset": combination.dataset.fingerprint,
                "embedding": embedding.id,
                "target": asdict(target),
                "prompts": asdict(prompts),
                "version": VERSION,
                **tokenizer_identity(combination),
                **embed.pool_identity(combination, options.pool),
            },
            requires=(embedding.id,),
            parts=tuple(part_of(shard) for shard in combination.of_splits(*SPLITS)),
            inputs=replace(combination.inputs, options=options, target=target.name),
            cost=Cost(bytes=60 * count_samples(combination.of_splits(*SPLITS))),
            needs_model=True,
        )


def tokenizer_identity(combination: Combination) -> dict[str, str]:
    """Return what an identity says of the tokenizer: its file's hash; nothing where the family's library has it."""
    found = combination.weights.tokenizer_sha256
    return {} if found is None else {"tokenizer": found}


def run(item: Item, bench: Bench) -> Output:
    """Predict one shard from its embeddings."""
    from evaluator.usages.predictions import labels_of
    from evaluator.usages.zero_shot import classifier, predict

    task, (embedding,) = item.task, item.sources
    dataset = bench.workshop.dataset(task)
    options = task.inputs.options
    assert isinstance(options, ZeroShotOptions)  # noqa: S101 - as planned
    assert task.inputs.target is not None  # noqa: S101
    target = dataset.card.target(task.inputs.target)
    texts = bench.workshop.remember(
        task.id,
        lambda: classifier(bench.workshop.model(task), choose_prompts(dataset.card, target, options), target),
    )
    rows = bench.store.read(embedding, item.reads(embedding))
    predictions = predict(rows, labels_of(dataset.index, target), target, texts, pool=options.pool)
    return Output(tables={item.part: predictions}, sample_ids=rows["sample_id"].to_pylist())
