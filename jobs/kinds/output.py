"""What a kind of task is given and what it returns; the frame around it (attempt, checks, commit) is in ``jobs.work``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.store import Store
from jobs.workshop import Workshop

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Bench:
    """Where an item is worked on.

    Attributes
    ----------
    store
        Tables of the tasks that are read.
    workshop
        Models and datasets of this worker.
    """

    store: Store
    workshop: Workshop


@dataclass(frozen=True)
class Output:
    """What an item produced, not yet committed.

    Attributes
    ----------
    tables
        File stem -> rows.
    tensors
        Fitted weights, if any.
    sample_ids
        The ids that every table with a ``sample_id`` column must hold, no more and no fewer; None where none are due.
    seconds
        Where the time went.
    """

    tables: Mapping[str, pa.Table]
    tensors: Mapping[str, Any] | None = None
    sample_ids: Sequence[str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
