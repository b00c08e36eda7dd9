"""What running a usage over one shard gives: the rows, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Timings:
    """Where the time of one shard went.

    Attributes
    ----------
    read_s
        Seconds of reading, decoding and resizing, summed over the background thread; it runs beside
        `infer_s`.
    infer_s
        Seconds inside the model, and for segmentation also of measuring the masks.
    wall_s
        Seconds from start to end.
    images
        Images that went through the model.
    """

    read_s: float
    infer_s: float
    wall_s: float
    images: int


class ShardOutput(NamedTuple):
    """Rows of one shard, in index order, and the time they took."""

    table: pa.Table
    timings: Timings
