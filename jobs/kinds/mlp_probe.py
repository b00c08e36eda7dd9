"""Probe with one hidden layer: see :mod:`jobs.kinds.trained` for what it shares with other trained heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from evaluator.usages.training_options import MlpProbeOptions
from jobs.kinds import trained
from jobs.kinds.output import Bench, Output
from jobs.task import Item, Task
from shards.card import Target

if TYPE_CHECKING:
    from evaluator.usages.trained import HeadPlan
    from jobs.combination import Combination


def _head(item: Item, bench: Bench, target: Target) -> HeadPlan:
    from evaluator.usages import mlp_probe

    options = item.task.inputs.options
    assert isinstance(options, MlpProbeOptions)  # noqa: S101 - as planned
    return mlp_probe.plan(options)


_USAGE = trained.TrainedUsage("mlp_probe", _head)


def plan(combination: Combination, options: MlpProbeOptions) -> Iterator[Task]:
    """Plan the embeddings and the fits."""
    return trained.plan(_USAGE, combination, options)


def run(item: Item, bench: Bench) -> Output:
    """Fit and predict."""
    return trained.run(_USAGE, item, bench)
