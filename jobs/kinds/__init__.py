"""The kinds of tasks, one module each: how a usage is planned, and what a worker does for one part.

A new usage is one module here (``plan`` and ``run``) and a line in each table below.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluator.usages.options import (
    LinearProbeOptions,
    RepresentationOptions,
    SegmentOptions,
    ZeroShotOptions,
)
from evaluator.usages.training_options import (
    ClipAdapterOptions,
    MlpProbeOptions,
    PrototypeTuningOptions,
    TipAdapterFOptions,
    TipAdapterOptions,
)
from jobs.kinds import (
    embed,
    family,
    linear_probe,
    measure,
    mlp_probe,
    representation,
    segment,
    text_heads,
    trained,
    zero_shot,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from evaluator.models.card import Ability
    from jobs.combination import Combination
    from jobs.kinds.output import Bench, Output
    from jobs.task import Item, Task


@dataclass(frozen=True)
class Usage:
    """A way of using a model, as a study names it.

    Attributes
    ----------
    options
        What the study may say about it.
    ability
        What a model must be able to do.
    lacking
        Why a model without that ability cannot be used, for people.
    field
        What the dataset's card must have (``"targets"``, ``"structures"`` or ``"attributes"``).
    plan
        Plans the tasks for one dataset and model.
    left_out
        Says what of one dataset and model is not planned, one line each.
    """

    options: type[BaseModel]
    ability: Ability
    lacking: str
    field: str
    plan: Callable[[Combination, Any], Iterator[Task]]
    left_out: Callable[[Combination, Any], Iterator[str]] = lambda combination, options: iter(())


_TEXT_HEADS: Mapping[str, type[BaseModel]] = {
    "prototype_tuning": PrototypeTuningOptions,
    "clip_adapter": ClipAdapterOptions,
    "tip_adapter": TipAdapterOptions,
    "tip_adapter_f": TipAdapterFOptions,
}

USAGES: Mapping[str, Usage] = {
    "zero_shot": Usage(ZeroShotOptions, "text", "it has no text tower", "targets", zero_shot.plan),
    "linear_probe": Usage(
        LinearProbeOptions, "encode", "it gives no image features", "targets", linear_probe.plan
    ),
    "mlp_probe": Usage(
        MlpProbeOptions,
        "encode",
        "it gives no image features",
        "targets",
        mlp_probe.plan,
        trained.left_out,
    ),
    **{
        name: Usage(
            options,
            "text",
            "it has no text tower",
            "targets",
            functools.partial(text_heads.plan, name),
            trained.left_out,
        )
        for name, options in _TEXT_HEADS.items()
    },
    "segment": Usage(SegmentOptions, "segment", "it does not segment", "structures", segment.plan),
    "representation": Usage(
        RepresentationOptions,
        "encode",
        "it gives no image features",
        "attributes",
        representation.plan,
        representation.left_out,
    ),
}

RUN: Mapping[str, Callable[[Item, Bench], Output]] = {
    "embed": embed.run,
    "zero_shot": zero_shot.run,
    "linear_probe": linear_probe.run,
    "mlp_probe": mlp_probe.run,
    **{name: functools.partial(text_heads.run, name) for name in _TEXT_HEADS},
    "segment": segment.run,
    "representation": representation.run,
    "measure": measure.run,
    "family": family.run,
}

#: The kinds whose rows are those of the study's tables.
MEASURES = ("measure", "family")
