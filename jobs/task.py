"""Tasks: the units of work that have an identity, and the items (one per part) that workers execute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shards.files import digest

if TYPE_CHECKING:
    from pydantic import BaseModel

    from evaluator.groups import GroupRule
    from evaluator.mitigation.options import MitigationOptions
    from evaluator.models.card import ModelCard
    from evaluator.models.weights import LocatedWeights

Table = Literal["embeddings", "predictions", "segmentations", "measures"]


@dataclass(frozen=True)
class Cost:
    """What a task is predicted to take.

    Attributes
    ----------
    images
        Images that go through a model or are read.
    gflop
        Floating-point work in 1e9 operations.
    bytes
        Bytes its tables will take, roughly.
    """

    images: int = 0
    gflop: float = 0.0
    bytes: int = 0

    def seconds(self, gflops_per_second: float) -> float:
        """Return the predicted seconds on one worker of that speed: decoding at 250 images/s, then the model."""
        return self.images / 250 + self.gflop / gflops_per_second


@dataclass(frozen=True)
class Task:
    """One unit of work with an identity.

    Attributes
    ----------
    kind
        What is done: a name of ``jobs.kinds``.
    table
        The store's table that holds the rows.
    dataset, model, usage
        What the rows belong to; the Hive partition of the task's folder.
    identity
        Everything that can change the result, as JSON-ready values; nothing else.
    requires
        Ids of tasks whose tables it reads.
    parts
        Its units of commit: shard names, or one name for the whole task.
    inputs
        What a worker needs to do it. Nothing in here that is not also in the identity may change the result.
    cost
        Predicted cost of all parts.
    needs_model
        Whether a worker must hold the model in memory.
    """

    kind: str
    table: Table
    dataset: str
    model: str
    usage: str
    identity: Mapping[str, Any]
    requires: tuple[str, ...]
    parts: tuple[str, ...]
    inputs: Inputs
    cost: Cost = Cost()
    needs_model: bool = False

    @cached_property
    def id(self) -> str:
        """Kind and the first 16 hex digits of the identity's sha256, e.g. ``embed-0f3a...``."""
        return f"{self.kind}-{digest({'kind': self.kind, **self.identity})[:16]}"

    @property
    def folder(self) -> Path:
        """Folder of the task's parts, relative to the table."""
        names = (("dataset", self.dataset), ("model", self.model), ("usage", self.usage), ("task", self.id))
        return Path(*(f"{key}={hive(value)}" for key, value in names))


@dataclass(frozen=True)
class Inputs:
    """What a worker needs for a task besides the store; each field is set for the kinds that use it.

    Attributes
    ----------
    shards
        Folder of the converted dataset, or its address in an object store.
    card, weights, precision
        The model, for kinds that load one.
    options
        The usage's own options.
    target
        Name of the target that is predicted.
    probed
        The attribute whose groups are predicted, for probes of a representation.
    seed
        Seed of the fit.
    mitigation, mitigate
        How a fit tries to be fair, and the attribute whose groups it uses.
    split_parts
        For fits: the parts of each split that are read, as ``(split, part)``.
    groups, measure
        For measuring.
    batch_size
        Images decoded and moved to the device at once; never changes a result.
    """

    shards: Path | str
    card: ModelCard | None = None
    weights: LocatedWeights | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    options: BaseModel | None = None
    target: str | None = None
    probed: GroupRule | None = None
    seed: int = 0
    mitigation: MitigationOptions | None = None
    mitigate: GroupRule | None = None
    split_parts: tuple[tuple[str, str], ...] = ()
    groups: tuple[GroupRule, ...] = ()
    measure: BaseModel | None = None
    batch_size: int = field(default=32)


@dataclass(frozen=True)
class Item:
    """What one worker does at a time: one part of one task.

    Attributes
    ----------
    task, part
        What to do.
    sources
        The tasks named by ``task.requires``.
    """

    task: Task
    part: str
    sources: tuple[Task, ...] = ()

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.task.id}/{self.part}"

    def reads(self, source: Task) -> tuple[str, ...]:
        """Return the parts of a source that this item reads: the part of its own name where there is one, else all."""
        return (self.part,) if self.part in source.parts else source.parts

    @property
    def affinity(self) -> str | None:
        """Which model a worker should already hold; None for work without a model."""
        return self.task.model if self.task.needs_model else None


@dataclass(frozen=True)
class Report:
    """What a worker says when a part is committed.

    Attributes
    ----------
    rows, failed
        Rows of the part, and how many of them have a failure status.
    seconds
        Where the time went: ``load``, ``read``, ``infer``, ``write``, ``total``.
    host
        Which machine did it.
    """

    rows: int
    failed: int
    seconds: Mapping[str, float]
    host: str


def hive(value: str) -> str:
    """Escape what would break a folder name (as Hive does): percent-encode it."""
    from urllib.parse import quote

    return quote(value, safe="-_.")
