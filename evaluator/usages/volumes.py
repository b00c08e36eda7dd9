"""Volumes for models of images: which slices are shown, and how their answers become one for the volume.

Slices are chosen from the 8-bit volume that the reader hands out (the dataset's window is applied already), and shown as grey
RGB. A slice's place is its number from 0, a fraction of one where it was made between two.

``foreground`` takes the slices whose true mask holds any structure: an oracle, as prompts are. A sample without a mask has none
to take them from; there a slice counts where at least :data:`FILLED` of its pixels are brighter than the volume's darkest
value by more than :data:`CONTRAST` of the volume's range. ``resampled`` takes the centres of `count` equal parts of the
volume's depth, as torch's ``interpolate(align_corners=False)`` does, and interpolates linearly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.usages.options import (
    LinearProbeOptions,
    Pool,
    RepresentationOptions,
    SegmentOptions,
    SliceOptions,
    ZeroShotOptions,
)
from evaluator.usages.predictions import softmax

if TYPE_CHECKING:
    import pyarrow as pa

    from shards.card import DatasetCard
    from shards.sample import Sample

#: Share of a slice's pixels, and of the volume's range of intensities, from which a slice without a mask is not empty.
FILLED, CONTRAST = 0.01, 0.1


class Slice(NamedTuple):
    """One slice as a model sees it.

    Attributes
    ----------
    place
        Where it lies along the volume's first axis, in slices from 0.
    image
        ``[H, W, 3]`` uint8 RGB.
    """

    place: float
    image: NDArray[np.uint8]


def depth_shown(options: SliceOptions, depth: int) -> int:
    """Return how many slices a policy takes of a volume; of ``foreground`` the most it can."""
    if options.policy == "central":
        return min(depth, options.count or depth)
    return options.count or depth


def places(
    options: SliceOptions, volume: NDArray[np.uint8], structures: NDArray[np.bool_] | None = None
) -> list[float]:
    """Return the places of the slices that a policy takes, ascending; empty where none has foreground.

    Parameters
    ----------
    options
        The policy.
    volume
        ``[D, H, W]`` uint8.
    structures
        ``[D, H, W]``: where any structure is; None where there is no mask. Read by ``foreground`` only.
    """
    depth, shown = len(volume), depth_shown(options, len(volume))
    if options.policy == "foreground":
        return [float(place) for place in np.flatnonzero(_foreground(volume, structures))]
    if options.policy == "resampled":
        centres = (np.arange(shown) + 0.5) * (depth / shown) - 0.5
        return [float(place) for place in np.clip(centres, 0, depth - 1)]
    first = (depth - shown) // 2
    return [float(place) for place in range(first, first + shown)]


def slices_of(sample: Sample, options: SliceOptions, card: DatasetCard) -> Iterator[Slice]:
    """Yield the slices of a readable volume that a policy takes, one at a time; `card` says what is a structure."""
    volume = sample.image
    assert volume is not None  # noqa: S101 - asked of readable samples only
    structures = None
    if sample.mask is not None and options.policy == "foreground":
        structures = np.isin(sample.mask, [value for one in card.structures for value in one.values])
    for place in places(options, volume, structures):
        yield Slice(place, to_rgb(_at(volume, place)))


def to_rgb(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey slice ``[H, W]`` as ``[H, W, 3]``."""
    return np.repeat(grey[..., None], 3, axis=2)


def _at(volume: NDArray[np.uint8], place: float) -> NDArray[np.uint8]:
    below = int(place)
    share = place - below
    if share == 0:
        return np.asarray(volume[below])
    between = volume[below] * (1 - share) + volume[below + 1] * share
    return np.asarray(np.rint(between).astype(np.uint8))


def _foreground(volume: NDArray[np.uint8], structures: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if structures is not None:
        return np.asarray(structures.any(axis=(1, 2)))
    darkest, brightest = int(volume.min()), int(volume.max())
    edge = darkest + CONTRAST * (brightest - darkest)
    filled = [np.count_nonzero(one > edge) >= FILLED * one.size for one in volume]
    return np.asarray(filled, dtype=bool)


def in_words(usages: Mapping[str, object]) -> tuple[str, ...]:
    """Say how a study's usages see volumes, one sentence each, for the reader of its results."""
    told = []
    for name, options in usages.items():
        if isinstance(options, ZeroShotOptions):
            pooled = (
                "the logits of the slice with the highest probability of the positive class (max)"
                if options.pool == "max"
                else "the mean of the slices' logits"
            )
            told.append(f"{name}: {_policy_words(options.slices)}, {pooled}.")
        elif isinstance(options, LinearProbeOptions | RepresentationOptions):
            pooled = "largest value" if options.pool == "max" else "mean"
            told.append(f"{name}: {_policy_words(options.slices)}, {pooled} of each feature over the slices.")
        elif isinstance(options, SegmentOptions):
            told.append(
                f"{name}: every slice that holds the structure is prompted from its true mask, which also tells the model "
                "where the structure begins and ends along the stack; masks are stacked and measured once, in 3D."
            )
    return tuple(told)


def _policy_words(options: SliceOptions) -> str:
    return {
        "all": "all slices",
        "foreground": "the slices with foreground (by the true mask where there is one)",
        "central": f"the {options.count} central slices",
        "resampled": f"{options.count} evenly spaced slices, interpolated",
    }[options.policy]


def pool_features(vectors: NDArray[np.float32], pool: Pool) -> NDArray[np.float32]:
    """Return one vector for ``[slices, D]``: the mean (summed in float64) or the largest value of each feature."""
    if pool == "max":
        return np.asarray(vectors.max(axis=0))
    return np.asarray(vectors.mean(axis=0, dtype=np.float64).astype(np.float32))


def pool_table(embeddings: pa.Table, pool: Pool) -> pa.Table:
    """Return an embeddings table of volumes as probes and heads read it: without slices, their vectors pooled as asked.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema` with or without slices. `embedding` and `projected` are their means
        already.
    pool
        ``"mean"`` or ``"max"``. Rows without slices (failed, or single images) keep their vector.
    """
    from evaluator.tables import SLICE_COLUMNS

    if SLICE_COLUMNS[0] not in embeddings.column_names:
        return embeddings
    kept = embeddings.drop_columns([name for name in SLICE_COLUMNS if name in embeddings.column_names])
    if pool == "mean":
        return kept
    for name, slices in (("embedding", "slice_embedding"), ("projected", "slice_projected")):
        if slices in embeddings.column_names:
            vectors = zip(embeddings[name].to_pylist(), slice_vectors(embeddings, slices), strict=True)
            pooled = [own if several is None else pool_features(several, pool) for own, several in vectors]
            place = kept.column_names.index(name)
            field = kept.schema.field(place)
            kept = kept.set_column(place, field, [_fixed(pooled, field.type)])
    return kept


def slice_vectors(embeddings: pa.Table, column: str) -> list[NDArray[np.float32] | None]:
    """Return ``[slices, D]`` for every row of a table of volumes; None where it has no slices."""
    held = embeddings[column].combine_chunks()
    width = held.type.value_type.list_size
    lengths = held.value_lengths().fill_null(0).to_numpy()
    flat = held.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    ends = np.cumsum(lengths)
    known = held.is_valid().to_numpy(zero_copy_only=False)
    return [flat[end - n : end] if has else None for end, n, has in zip(ends, lengths, known, strict=True)]


def pool_logits(logits: NDArray[np.float64], pool: Pool, positive: int | None) -> NDArray[np.float64]:
    """Return one row of logits for a volume.

    Parameters
    ----------
    logits
        ``[slices, C]``.
    pool
        ``"mean"`` of the slices, or ``"max"``: those of one slice. With a positive class that is the slice where its
        probability is highest, which is FairMedFM's rule; without one (more than two classes, about which FairMedFM says
        nothing) the slice that is surest of any class. The first of equals.
    positive
        Position of the positive class; None where the target has none.

    Returns
    -------
    ndarray
        ``[C]``; NaN where any slice has NaN.
    """
    if not np.isfinite(logits).all():
        return np.full(logits.shape[1], np.nan)
    if pool == "mean":
        return np.asarray(logits.mean(axis=0))
    scores = softmax(logits)
    surest = scores.max(axis=1) if positive is None else scores[:, positive]
    return np.asarray(logits[int(surest.argmax())])


def _fixed(rows: Sequence[object], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.array(rows, kind)
