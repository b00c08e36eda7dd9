"""Embeddings of one shard: every image goes through the encoder once, and all probes read the table.

Guarantee: one row per sample of the shard, in index order; a sample that cannot be read or encoded keeps its
row, with a status and null vectors. Images pass through the model in tiles of a fixed size
(:mod:`evaluator.models.tiles`), so that `batch_size`, which only says how many images are held in memory at
once, never changes a bit.

Of a volume, the slices that the study's policy takes (:mod:`evaluator.usages.volumes`) pass one after the other like
images, in the same tiles. Its row holds their mean and the slices' own vectors, so that any pooling is done
later without the model. A slice that fails fails its volume.

Reading, decoding and resizing run ahead in a background thread while the model computes; one volume is in memory
at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluator.models.preprocess import Framed, Preprocessor
from evaluator.usages.ahead import Ahead
from evaluator.usages.output import ShardOutput, Timings
from evaluator.usages.volumes import pool_features, slices_of
from shards.sample import Sample

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from evaluator.models.interfaces import ImageEncoder, PromptableSegmenter
    from evaluator.usages.options import SliceOptions
    from shards.card import DatasetCard


class SampleReader(Protocol):
    """What usages need of a dataset."""

    @property
    def card(self) -> DatasetCard:
        """The dataset's card."""

    def read(self, shard: str, *, masks: bool) -> Iterator[Sample]:
        """Yield the samples of a shard in index order."""


@dataclass(frozen=True)
class Prepared:
    """One sample on its way to the model; `framed` is None where `status` is not ``"ok"``."""

    sample: Sample
    framed: Framed | None
    status: str
    reason: str | None


class _Picture(NamedTuple):
    """What goes through the model: an image, or one slice of a volume.

    Attributes
    ----------
    sample
        With the picture's own pixels.
    first
        Whether it begins a sample.
    place
        Of the slice in its volume; None for an image.
    """

    sample: Sample
    first: bool
    place: float | None


class _View(NamedTuple):
    """A picture after preprocessing."""

    prepared: Prepared
    first: bool
    place: float | None


@dataclass
class _Row:
    """One sample and the pictures of it that were encoded."""

    sample: Sample
    status: str = "ok"
    reason: str | None = None
    pictures: int = 0
    places: list[float] = field(default_factory=list)

    def add(self, view: _View) -> None:
        """Count a picture; the first failure is the sample's."""
        self.pictures += view.prepared.framed is not None
        if view.place is not None:
            self.places.append(view.place)
        if self.status == "ok":
            self.status, self.reason = view.prepared.status, view.prepared.reason


class _Vectors(NamedTuple):
    features: NDArray[np.float32]
    projected: NDArray[np.float32] | None


def embed_shard(
    model: ImageEncoder,
    dataset: SampleReader,
    shard: str,
    *,
    batch_size: int,
    slices: SliceOptions | None = None,
) -> ShardOutput:
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
    slices
        Which slices of volumes are encoded; None for a dataset of images only.

    Returns
    -------
    ShardOutput
        Table of :func:`evaluator.tables.embeddings_schema` (with `volumes` where `slices` are given), and timings.
        Statuses: the sample's own (``decode_error``, ...), ``preprocess_error``, ``no_foreground`` (the policy finds
        no slice), ``nan_output``.

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
    samples = dataset.read(shard, masks=slices is not None and slices.policy == "foreground")
    pictures = _pictures(samples, slices, dataset.card)
    ahead = Ahead(pictures, lambda picture: _view(picture, preprocessor), depth=in_flight)
    encoder = _Encoder(model, tile)
    rows: list[_Row] = []
    vectors: list[_Vectors] = []
    waiting: list[Framed] = []
    for view in ahead:
        if view.first:
            rows.append(_Row(view.prepared.sample))
        rows[-1].add(view)
        if view.prepared.framed is not None:
            waiting.append(view.prepared.framed)
        if len(waiting) == in_flight:
            vectors += encoder.encode(waiting)
            waiting = []
    if waiting:
        vectors += encoder.encode(waiting)
    table = _table(model, rows, vectors, volumes=slices is not None)
    timings = Timings(ahead.busy_s, encoder.busy_s, time.perf_counter() - started, encoder.images)
    return ShardOutput(table, timings)


def _pictures(
    samples: Iterator[Sample], slices: SliceOptions | None, card: DatasetCard
) -> Iterator[_Picture]:
    """Yield every image once and every volume slice by slice; what cannot be read, as it is."""
    for sample in samples:
        if slices is None or not sample.volumetric or sample.image is None:
            yield _Picture(sample, True, None)
            continue
        first = True
        for one in slices_of(sample, slices, card):
            yield _Picture(replace(sample, image=one.image, mask=None), first, one.place)
            first = False
        if first:
            reason = f"no slice has foreground (policy {slices.policy})"
            yield _Picture(replace(without_pixels(sample), status="no_foreground", reason=reason), True, None)
        del sample  # a volume goes before the next one is read


def _view(picture: _Picture, preprocessor: Preprocessor) -> _View:
    prepared = prepare(picture.sample, preprocessor)
    bare = replace(prepared, sample=without_pixels(prepared.sample))
    return _View(bare, picture.first, picture.place)


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


def _table(model: ImageEncoder, rows: list[_Row], vectors: list[_Vectors], *, volumes: bool) -> pa.Table:
    """Spread the encoded pictures' vectors over all rows."""
    import pyarrow as pa

    from evaluator.tables import embeddings_schema

    card = model.card
    joined = _joined(vectors) if vectors else _nothing(card.dimension, card.projected)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(joined.features).all(axis=1))
    if joined.projected is not None:
        finite &= np.isfinite(joined.projected).all(axis=1)
    ends = np.cumsum([row.pictures for row in rows], dtype=np.int64)
    spans = [slice(int(end) - row.pictures, int(end)) for row, end in zip(rows, ends, strict=True)]
    for row, span in zip(rows, spans, strict=True):
        if row.status == "ok" and not finite[span].all():
            row.status, row.reason = "nan_output", "the model gave NaN or infinity"
    columns: dict[str, object] = {
        name: [getattr(row.sample, name) for row in rows] for name in ("sample_id", "subject_id", "split")
    }
    for name, values in (("embedding", joined.features), ("projected", joined.projected)):
        if values is not None:
            columns[name] = _pooled(values, rows, spans)
            columns[f"slice_{name}"] = _of_slices(values, rows, spans) if volumes else None
    columns["slice_place"] = [row.places if _has_slices(row) else None for row in rows]
    columns |= {"status": [row.status for row in rows], "reason": [row.reason for row in rows]}
    schema = embeddings_schema(card.dimension, card.projected, volumes=volumes)
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _has_slices(row: _Row) -> bool:
    return row.status == "ok" and bool(row.places)


def _nothing(dimension: int, projected: int | None) -> _Vectors:
    """Return the vectors of no picture at all."""
    return _Vectors(
        np.zeros((0, dimension), np.float32),
        None if projected is None else np.zeros((0, projected), np.float32),
    )


def _pooled(values: NDArray[np.float32], rows: list[_Row], spans: list[slice]) -> pa.Array:
    """Return a fixed-size list column: an image's vector, a volume's mean, null where a row is not usable."""
    import pyarrow as pa

    length = values.shape[1]
    full = np.zeros((len(rows), length), dtype=np.float32)
    for place, (row, span) in enumerate(zip(rows, spans, strict=True)):
        if row.status == "ok":
            full[place] = pool_features(values[span], "mean") if row.places else values[span.start]
    failed = pa.array(np.array([row.status != "ok" for row in rows], dtype=bool))
    return pa.FixedSizeListArray.from_arrays(pa.array(full.reshape(-1)), length, mask=failed)


def _of_slices(values: NDArray[np.float32], rows: list[_Row], spans: list[slice]) -> pa.Array:
    """Return a column of lists of vectors, null where a row is no volume or not usable."""
    import pyarrow as pa

    length = values.shape[1]
    has = np.array([_has_slices(row) for row in rows], dtype=bool)
    chosen = [values[span] for span, one in zip(spans, has, strict=True) if one]
    flat = np.concatenate(chosen) if chosen else np.zeros((0, length), np.float32)
    counts = [row.pictures if one else 0 for row, one in zip(rows, has, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), length)
    return pa.ListArray.from_arrays(pa.array(offsets), vectors, mask=pa.array(~has))
