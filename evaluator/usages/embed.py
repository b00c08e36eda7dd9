"""Embeddings of one shard: every image goes through the encoder once, and all probes read the table.

Guarantee: one row per sample of the shard, in index order; a sample that cannot be read or encoded keeps its
row, with a status and null vectors. Images pass through the model in tiles of a fixed size
(:mod:`evaluator.models.tiles`), so that `batch_size`, which only says how many images are held in memory at
once, never changes a bit.

Reading, decoding and resizing run ahead in a background thread while the model computes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluator.models.preprocess import Framed, Preprocessor
from evaluator.usages.ahead import Ahead
from evaluator.usages.output import ShardOutput, Timings
from shards.sample import Sample

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from evaluator.models.interfaces import ImageEncoder, PromptableSegmenter


class SampleReader(Protocol):
    """What this module needs of a dataset."""

    def read(self, shard: str, *, masks: bool) -> Iterator[Sample]:
        """Yield the samples of a shard in index order."""


@dataclass(frozen=True)
class Prepared:
    """One sample on its way to the model; `framed` is None where `status` is not ``"ok"``."""

    sample: Sample
    framed: Framed | None
    status: str
    reason: str | None


class _Vectors(NamedTuple):
    features: NDArray[np.float32]
    projected: NDArray[np.float32] | None


def embed_shard(model: ImageEncoder, dataset: SampleReader, shard: str, *, batch_size: int) -> ShardOutput:
    """Embed the images of one shard.

    Parameters
    ----------
    model
        The encoder; its card gives preprocessing and dimensions.
    dataset
        A converted dataset.
    shard
        Name of the shard.
    batch_size
        Images in flight at once, at least 1 (rounded up to whole tiles); never changes a result.

    Returns
    -------
    ShardOutput
        Table of :func:`evaluator.tables.embeddings_schema`, and timings. Statuses: the sample's own
        (``decode_error``, ...), ``preprocess_error``, ``nan_output``.

    Raises
    ------
    ValueError
        If `batch_size` is below 1.
    OutOfMemoryError
        torch's, if not even a single tile fits the device.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    started = time.perf_counter()
    tile = tile_of(model)
    in_flight = -(-batch_size // tile) * tile
    preprocessor = Preprocessor(model.card.preprocessing)
    ahead = Ahead(
        dataset.read(shard, masks=False), lambda sample: prepare(sample, preprocessor), depth=in_flight
    )
    encoder = _Encoder(model, tile)
    rows: list[Prepared] = []
    vectors: list[_Vectors] = []
    waiting: list[Framed] = []
    for prepared in ahead:
        rows.append(Prepared(without_pixels(prepared.sample), None, prepared.status, prepared.reason))
        if prepared.framed is not None:
            waiting.append(prepared.framed)
        if len(waiting) == in_flight:
            vectors += encoder.encode(waiting)
            waiting = []
    if waiting:
        vectors += encoder.encode(waiting)
    table = _table(model, rows, vectors)
    timings = Timings(ahead.busy_s, encoder.busy_s, time.perf_counter() - started, encoder.images)
    return ShardOutput(table, timings)


def prepare(sample: Sample, preprocessor: Preprocessor) -> Prepared:
    """Preprocess one sample; what goes wrong becomes its status."""
    if sample.status != "ok" or sample.image is None:
        status = sample.status if sample.status != "ok" else "decode_error"
        return Prepared(sample, None, status, sample.reason)
    try:
        framed = preprocessor(sample.image)
    except (ValueError, MemoryError) as error:
        return Prepared(sample, None, "preprocess_error", f"{type(error).__name__}: {error}")
    return Prepared(sample, framed, "ok", None)


def without_pixels(sample: Sample) -> Sample:
    """Keep what tables need, so that a shard's pixels do not pile up in memory."""
    return replace(sample, image=None, mask=None)


def tile_of(model: ImageEncoder | PromptableSegmenter) -> int:
    """Return how many images go through the model at once; a rule of the card and the device."""
    from evaluator.models.tiles import tile_size

    return tile_size(model.card, str(model.device))


class _Encoder:
    """Runs tiles through the model and keeps the time."""

    def __init__(self, model: ImageEncoder, tile: int) -> None:
        self._model = model
        self._tile = tile
        self.busy_s = 0.0
        self.images = 0

    def encode(self, images: Sequence[Framed]) -> list[_Vectors]:
        """Encode images in order; float32 on the host.

        Out of memory is tried once more with everything in flight given back (another process may have held
        the memory); the tile itself is never made smaller, because its shape is part of the result.
        """
        import torch

        started = time.perf_counter()
        try:
            done = self._tiles(images)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            done = self._tiles(images)
        self.busy_s += time.perf_counter() - started
        self.images += len(images)
        return done

    def _tiles(self, images: Sequence[Framed]) -> list[_Vectors]:
        from evaluator.models.tiles import encode_tiles

        return [
            _Vectors(on_host(features), None if projected is None else on_host(projected))
            for features, projected in encode_tiles(self._model, images, tile=self._tile)
        ]


def on_host(tensor: Tensor) -> NDArray[np.float32]:
    """Return a tensor as a float32 array."""
    return np.asarray(tensor.detach().float().cpu().numpy())


def _joined(parts: list[_Vectors]) -> _Vectors:
    projected = [part.projected for part in parts if part.projected is not None]
    return _Vectors(
        np.concatenate([part.features for part in parts]), np.concatenate(projected) if projected else None
    )


def _table(model: ImageEncoder, rows: list[Prepared], vectors: list[_Vectors]) -> pa.Table:
    """Spread the encoded images' vectors over all rows."""
    import pyarrow as pa

    from evaluator.tables import embeddings_schema

    card = model.card
    status = np.array([row.status for row in rows], dtype=object)
    reason = np.array([row.reason for row in rows], dtype=object)
    encoded = status == "ok"
    joined = _joined(vectors) if vectors else _Vectors(np.zeros((0, card.dimension), np.float32), None)
    finite = np.isfinite(joined.features).all(axis=1)
    if joined.projected is not None:
        finite &= np.isfinite(joined.projected).all(axis=1)
    bad = np.flatnonzero(encoded)[~finite]
    status[bad], reason[bad] = "nan_output", "the model gave NaN or infinity"
    usable = status == "ok"
    columns = {
        name: [getattr(row.sample, name) for row in rows] for name in ("sample_id", "subject_id", "split")
    }
    columns["embedding"] = _column(joined.features[finite], usable, card.dimension)
    if card.projected is not None:
        projected = (
            joined.projected[finite]
            if joined.projected is not None
            else np.zeros((0, card.projected), np.float32)
        )
        columns["projected"] = _column(projected, usable, card.projected)
    return pa.table(
        {**columns, "status": status.tolist(), "reason": reason.tolist()},
        schema=embeddings_schema(card.dimension, card.projected),
    )


def _column(values: NDArray[np.float32], usable: NDArray[np.bool_], length: int) -> pa.Array:
    """Return a fixed-size list column with nulls where a row is not usable."""
    import pyarrow as pa

    full = np.zeros((len(usable), length), dtype=np.float32)
    full[usable] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(full.reshape(-1)), length, mask=pa.array(~usable))
