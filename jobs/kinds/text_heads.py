"""Heads made of texts: prototype tuning, CLIP-Adapter, Tip-Adapter. See :mod:`jobs.kinds.trained` for what they share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from evaluator.models.weights import require_tokenizer
from evaluator.usages.zero_shot import choose_prompts
from jobs.combination import Combination
from jobs.kinds import trained
from jobs.kinds.output import Bench, Output
from jobs.kinds.zero_shot import tokenizer_identity
from jobs.task import Item, Task
from shards.card import Target

if TYPE_CHECKING:
    from evaluator.usages.trained import HeadPlan

NAMES = ("prototype_tuning", "clip_adapter", "tip_adapter", "tip_adapter_f")


def _head(name: str, item: Item, bench: Bench, target: Target) -> HeadPlan:
    from evaluator.usages import text_heads
    from evaluator.usages.zero_shot import classifier

    task = item.task
    card, options = bench.workshop.dataset(task).card, task.inputs.options
    prompts = choose_prompts(card, target, options)  # type: ignore[arg-type]  # as planned
    texts = bench.workshop.remember(
        f"{task.dataset}/{task.model}/{prompts}",
        lambda: classifier(bench.workshop.model(task), prompts, target),
    )
    make: Callable[[Any, Any], HeadPlan] = getattr(text_heads, name)
    return make(options, texts)


def _identity(combination: Combination, target: Target, options: Any) -> dict[str, Any]:
    prompts = choose_prompts(combination.dataset.card, target, options)
    return {"prompts": asdict(prompts), **tokenizer_identity(combination)}


def _applies(combination: Combination, target: Target, options: Any) -> bool:
    has_prompts = any(p.target == target.name for p in combination.dataset.card.prompts)
    return options.templates is not None or has_prompts


_USAGES: Mapping[str, trained.TrainedUsage] = {
    name: trained.TrainedUsage(
        name, functools.partial(_head, name), _identity, needs_model=True, applies=_applies
    )
    for name in NAMES
}


def plan(name: str, combination: Combination, options: Any) -> Iterator[Task]:
    """Plan the embeddings and the fits of a usage."""
    require_tokenizer(combination.card, combination.weights)
    yield from trained.plan(_USAGES[name], combination, options)


def run(name: str, item: Item, bench: Bench) -> Output:
    """Fit and predict."""
    return trained.run(_USAGES[name], item, bench)
