"""What the pixels of one sample become in its shard: files of the tar, and what the index says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shards.adapter import Pixels, UnreadableSample, Volume
from shards.card import DatasetCard
from shards.images import encode_png, fitting_size, resize_image, resize_mask, to_rgb
from shards.looks import Look, look
from shards.volumes import check_volume, encode_npy, fit_volume, show_volume


@dataclass(frozen=True)
class Stored:
    """One sample's files and their description.

    Attributes
    ----------
    files
        Ending of the member's name -> its bytes.
    depth, height, width
        Of the stored pixels; depth is 1 for an image.
    original_height, original_width
        Before `max_side`.
    spacing_mm
        (row, column) of an image, (slice, row, column) of a volume; None when unknown.
    orientation
        See :class:`shards.adapter.Volume`; None for an image.
    mask_resized
        None where there is no mask.
    look
        What the stored pixels look like.
    derived
        Values of attributes that only the pixels tell.
    """

    files: Mapping[str, bytes]
    depth: int
    height: int
    width: int
    original_height: int
    original_width: int
    spacing_mm: tuple[float, ...] | None
    orientation: str | None
    mask_resized: bool | None
    look: Look
    derived: Mapping[str, float | None] = field(default_factory=dict)


def store(pixels: Pixels | Volume, card: DatasetCard, max_side: int | None) -> Stored:
    """Check a sample's pixels, bring them to size and encode them.

    Parameters
    ----------
    pixels
        As the adapter read them.
    card
        The dataset's card.
    max_side
        Longer side at most (of a volume: of its slices); None keeps them.

    Raises
    ------
    UnreadableSample
        If they cannot be stored, or could not be shown to a model later.
    """
    return _volume(pixels, card, max_side) if isinstance(pixels, Volume) else _image(pixels, card, max_side)


def _volume(volume: Volume, card: DatasetCard, max_side: int | None) -> Stored:
    check_volume(volume)
    show_volume(volume.image[:1, :1, :1], card.window, card.normalise)  # raises where no window is recorded
    fitted = fit_volume(volume, max_side)
    files = {"image.npy": encode_npy(fitted.image)}
    if fitted.mask is not None:
        files["mask.npy"] = encode_npy(fitted.mask)
    depth, height, width = fitted.image.shape
    resized = None if fitted.mask is None else fitted.mask_resized
    return Stored(
        files,
        depth,
        height,
        width,
        volume.image.shape[1],
        volume.image.shape[2],
        fitted.spacing_mm,
        fitted.orientation,
        resized,
        look(fitted.image, card, volume=True),
    )


def _image(pixels: Pixels, card: DatasetCard, max_side: int | None) -> Stored:
    _check_image(pixels, card)
    shape = (pixels.image.shape[0], pixels.image.shape[1])
    size = fitting_size(shape, max_side)
    fitted = resize_image(pixels.image, size)
    kept = pixels.encoded if size == shape else None
    files = {"image.png": encode_png(fitted)} if kept is None else {"image.jpg": kept}
    if pixels.mask is not None:
        files["mask.png"] = encode_png(resize_mask(pixels.mask, size))
    spacing = None
    if pixels.spacing_mm is not None:
        row, column = pixels.spacing_mm
        spacing = (float(row) * shape[0] / size[0], float(column) * shape[1] / size[1])
    resized = None if pixels.mask is None else pixels.mask_resized
    looked = look(fitted, card, volume=False)
    return Stored(
        files, 1, size[0], size[1], shape[0], shape[1], spacing, None, resized, looked, pixels.derived
    )


def _check_image(pixels: Pixels, card: DatasetCard) -> None:
    image, mask = pixels.image, pixels.mask
    if (
        image.dtype not in (np.uint8, np.uint16)
        or image.ndim not in (2, 3)
        or image.shape[2:] not in ((), (3,))
    ):
        raise UnreadableSample("unsupported_pixels", f"image of shape {image.shape} and kind {image.dtype}")
    if image.size == 0:
        raise UnreadableSample("unsupported_pixels", "the image has no pixels")
    if mask is not None and mask.shape != image.shape[:2]:
        raise UnreadableSample("mask_shape_mismatch", f"mask {mask.shape}, image {image.shape[:2]}")
    if image.dtype == np.uint16 and card.window is None:
        to_rgb(image[:1, :1], None)  # raises with the reason and what to do
