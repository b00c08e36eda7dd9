"""Run a model on tiles of a fixed number of images, so that nobody's batch size shows in the numbers.

The last bits of a matrix product depend on its shape, so the features of an image depend on how many others
go with it. Here the network always sees exactly `tile` images, cut from the start of the sequence (a shard);
the last tile is filled up by repeating its last image. Results are then a function of the sequence alone:
callers may read, decode and hand over images in any chunks. Trade-off: up to one tile of work is wasted at
the end of each sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import Frames, ImageEncoder, ImageFeatures, PromptableSegmenter
from evaluator.models.preprocess import Framed

if TYPE_CHECKING:
    from torch import Tensor

#: Images of at least this side cost a GPU several GB each in attention maps.
_LARGE_SIDE = 768


def tile_size(card: ModelCard, device: str) -> int:
    """Return how many images one pass takes; part of what a result depends on, so it is a rule and no option.

    Parameters
    ----------
    card
        The model.
    device
        ``"cpu"`` or ``"cuda..."``.

    Returns
    -------
    int
        16 on the CPU and 64 on a GPU; 1 and 4 for images of 768 pixels or more.
    """
    large = card.preprocessing.size >= _LARGE_SIDE
    if device.startswith("cuda"):
        return 4 if large else 64
    return 1 if large else 16


def encode_tiles(model: ImageEncoder, images: Iterable[Framed], *, tile: int) -> Iterator[ImageFeatures]:
    """Encode a sequence of images.

    Parameters
    ----------
    model
        The encoder.
    images
        Preprocessed images, in the order that fixes the result; consumed lazily.
    tile
        Images per pass (see :func:`tile_size`).

    Yields
    ------
    ImageFeatures
        One per tile, `tile` rows each, the last one only as many as there are images.
    """
    for count, stacked, frames in _tiles(images, tile, model.card):
        features, projected = model.encode(stacked, frames)
        yield ImageFeatures(features[:count], None if projected is None else projected[:count])


def embed_tiles(model: PromptableSegmenter, images: Iterable[Framed], *, tile: int) -> Iterator[Tensor]:
    """Embed a sequence of images for prompting.

    Parameters
    ----------
    model, images, tile
        As in :func:`encode_tiles`.

    Yields
    ------
    Tensor
        One embedding per image, first axis of length 1, ready for `decode`.
    """
    import torch

    for count, stacked, frames in _tiles(images, tile, model.card):
        yield from torch.split(model.embed(stacked, frames)[:count], 1)


def _tiles(images: Iterable[Framed], tile: int, card: ModelCard) -> Iterator[tuple[int, Tensor, Frames]]:
    """Yield the number of true images, the full tile ``[tile, 3, S, S]`` and the frames of padded images."""
    import torch

    if tile < 1:
        raise ValueError(f"tile must be at least 1, got {tile}")
    padded = card.preprocessing.resize == "longest-pad"
    rest = iter(images)
    while group := list(islice(rest, tile)):
        full = [*group, *[group[-1]] * (tile - len(group))]
        stacked = torch.from_numpy(np.stack([image.pixels for image in full]))
        yield len(group), stacked, [image.frame for image in full] if padded else None
