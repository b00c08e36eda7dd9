"""What a user says about a conversion, and what the conversion tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from shards.errors import UserError
from shards.split_lists import SplitList


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert.

    Attributes
    ----------
    max_side
        Longer side of the stored images at most, in pixels; None keeps them.
    workers
        Processes; None for all processors that this process may use. Changes no byte.
    seed
        Which subjects go into which split.
    fractions
        Shares of train, val and test, for subjects that the publisher gives no split.
    stratify
        Target whose rarest class decides a subject's stratum; None for the first target.
    samples_per_shard
        Samples per tar, before rejections; fewer of datasets whose samples are large (``Adapter.most_per_shard``).
    max_rejected
        Share of samples that may be rejected before the conversion counts as failed.
    splits
        A published list that takes the place of the publisher's split column (:func:`shards.split_lists.read_split_list`).
    """

    max_side: int | None = None
    workers: int | None = None
    seed: int = 0
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    stratify: str | None = None
    samples_per_shard: int = 256
    max_rejected: float = 0.05
    splits: SplitList | None = None

    def __post_init__(self) -> None:
        """Check the values (UserError)."""
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise UserError(
                f"fractions must be three shares (train, val, test) of sum 1, got {self.fractions}."
            )
        for name in ("max_side", "workers", "samples_per_shard"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}.")
        if not 0 <= self.max_rejected <= 1:
            raise UserError(f"max_rejected must be a share between 0 and 1, got {self.max_rejected}.")

    def determining(self) -> dict[str, Any]:
        """Return the options that change bytes on disk, as JSON values."""
        left_out = {"workers", "max_rejected", "splits"}
        value = {
            field.name: getattr(self, field.name) for field in fields(self) if field.name not in left_out
        }
        listed = {} if self.splits is None else {"splits": self.splits.digest()}
        return {**value, "fractions": list(self.fractions), **listed}


@dataclass(frozen=True)
class ConvertProgress:
    """How far a conversion is; told after every shard.

    Attributes
    ----------
    samples_done, samples_total
        Samples written or rejected, and all of the manifest.
    samples_reused
        Of those done, how many an earlier, interrupted conversion had done.
    rejected
        Samples rejected so far.
    shards_done, shards_total
        The same in shards.
    """

    samples_done: int
    samples_total: int
    samples_reused: int
    rejected: int
    shards_done: int
    shards_total: int
