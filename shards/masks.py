"""Label maps as publishers store them, brought to the frame of their image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.images import read_bytes, read_mask, resize_mask


class FittedMask(NamedTuple):
    """A label map of its image's size.

    Attributes
    ----------
    mask
        ``[H, W]`` uint8.
    resized
        Whether the publisher's had another size.
    """

    mask: NDArray[np.uint8]
    resized: bool


def load_mask(path: Path, shape: tuple[int, int], values: Collection[int]) -> FittedMask:
    """Read a label map for an image.

    Parameters
    ----------
    path
        The publisher's file.
    shape
        (height, width) of the image.
    values
        Grey values that mean something, background included.

    Raises
    ------
    UnreadableSample
        ``missing_mask``; ``mask_values`` if it holds another value (an antialiased or JPEG-compressed mask
        does); ``mask_shape_mismatch`` if it shows another frame than the image; and as
        :func:`shards.images.read_mask`.
    """
    mask = read_mask(read_bytes(path, missing="missing_mask"))
    strange = np.ones(256, dtype=bool)
    strange[list(values)] = False
    if strange[mask].any():
        found = np.unique(mask[strange[mask]]).tolist()
        shown = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")
        expected = ", ".join(map(str, sorted(values)))
        raise UnreadableSample("mask_values", f"mask {path.name} has the values {shown}; expected {expected}")
    return fit_mask(mask, shape)


def fit_mask(mask: NDArray[np.uint8], shape: tuple[int, int]) -> FittedMask:
    """Bring a mask to the size of its image, where both show the same frame.

    Parameters
    ----------
    mask
        ``[h, w]`` label map.
    shape
        (height, width) of the image.

    Returns
    -------
    FittedMask
        Resized by nearest neighbour, so no label is invented.

    Raises
    ------
    UnreadableSample
        ``mask_shape_mismatch`` if the ratios of width to height differ by more than 1 %.
    """
    if mask.shape == shape:
        return FittedMask(mask, False)
    (height, width), (mask_height, mask_width) = shape, mask.shape
    if 100 * abs(mask_width * height - mask_height * width) > mask_height * width:
        raise UnreadableSample(
            "mask_shape_mismatch",
            f"the mask is {mask_width}x{mask_height} and the image {width}x{height}: not the same frame",
        )
    return FittedMask(resize_mask(mask, shape), True)


def recode(labels: NDArray[Any], codes: Mapping[int, int] | None, name: str) -> NDArray[np.uint8]:
    """Bring a publisher's labels to those that are stored.

    Parameters
    ----------
    labels
        Array of whole numbers, of any kind and shape.
    codes
        Publisher's label -> stored label, 1 to 255; 0 is background and stays 0. None keeps labels as they are.
    name
        Of the file, for messages.

    Raises
    ------
    UnreadableSample
        ``mask_values`` if a label is not a whole number, is not in `codes`, or does not fit 0-255.
    """
    found = np.unique(labels)
    whole = bool((found == np.rint(found)).all())
    known = {0: 0, **codes} if codes is not None else {value: value for value in range(256)}
    strange = [value for value in found.tolist() if not whole or value not in known]
    if strange:
        shown = ", ".join(f"{value:g}" for value in strange[:5]) + (", ..." if len(strange) > 5 else "")
        expected = ", ".join(map(str, sorted(known))) if codes is not None else "0 to 255"
        raise UnreadableSample("mask_values", f"mask {name} has the values {shown}; expected {expected}")
    if labels.dtype == np.uint8 and codes is None:
        return labels
    stored = np.zeros(labels.shape, np.uint8)
    for value in found.tolist():
        stored[labels == value] = known[value]
    return stored
