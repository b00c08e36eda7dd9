"""Volumes on their way into shards and out of them: arrays ``[D, H, W]`` with spacing, never loose slices.

Guarantees: intensities are stored as the publisher means them (int16 Hounsfield units stay int16) and become 8 bits only on
reading, by the window or the percentiles that the dataset's card records: clipped, never wrapped. Resizing is linear in the
plane of the slices, of masks by nearest neighbour, and leaves the number of slices alone. Arrays are stored as ``.npy``
without objects; nothing is unpickled.
"""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shards.adapter import UnreadableSample, Volume
from shards.images import fitting_size, resize_mask

VolumeArray = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.uint16] | NDArray[np.float32]
#: Kinds of numbers that a stored volume may have.
KINDS = (np.uint8, np.int16, np.uint16, np.float32)


def check_volume(volume: Volume) -> None:
    """Refuse a volume that cannot be stored as it is.

    Raises
    ------
    UnreadableSample
        ``unsupported_pixels`` for other shapes or numbers, ``nan_pixels``, ``mask_shape_mismatch``, ``bad_spacing``.
    """
    image, mask, spacing = volume.image, volume.mask, volume.spacing_mm
    if image.ndim != 3 or image.dtype not in KINDS:
        raise UnreadableSample("unsupported_pixels", f"volume of shape {image.shape} and kind {image.dtype}")
    if image.size == 0:
        raise UnreadableSample("unsupported_pixels", "the volume has no voxels")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise UnreadableSample("nan_pixels", "the volume has voxels that are no finite number")
    if mask is not None and (mask.shape != image.shape or mask.dtype != np.uint8):
        raise UnreadableSample(
            "mask_shape_mismatch", f"mask {mask.shape} of {mask.dtype}, volume {image.shape}"
        )
    if spacing is not None and not all(np.isfinite(mm) and mm > 0 for mm in spacing):
        raise UnreadableSample("bad_spacing", f"the size of a voxel must be positive, got {spacing}")


def fit_volume(volume: Volume, max_side: int | None) -> Volume:
    """Return a volume whose slices are at most `max_side` long and wide, its spacing scaled with it."""
    depth, height, width = volume.image.shape
    size = fitting_size((height, width), max_side)
    if size == (height, width):
        return volume
    spacing = volume.spacing_mm
    if spacing is not None:
        spacing = (spacing[0], spacing[1] * height / size[0], spacing[2] * width / size[1])
    mask = volume.mask
    if mask is not None:
        mask = np.stack([resize_mask(mask[place], size) for place in range(depth)])
    image = np.stack([_resize_slice(volume.image[place], size) for place in range(depth)])
    return Volume(image, spacing, volume.orientation, mask, volume.mask_resized)


def _resize_slice(slice_: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize one slice linearly, with antialiasing where it shrinks; its kind of number stays."""
    values = Image.fromarray(slice_.astype(np.float32))
    resized = np.asarray(values.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    if slice_.dtype == np.float32:
        return resized
    limits = np.iinfo(slice_.dtype)
    rounded: NDArray[Any] = np.clip(np.rint(resized), limits.min, limits.max).astype(slice_.dtype)
    return rounded


def encode_npy(array: NDArray[Any]) -> bytes:
    """Encode an array as ``.npy``, C order, little endian: the same array gives the same bytes."""
    buffer = io.BytesIO()
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    np.lib.format.write_array(buffer, little, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def decode_npy(data: bytes) -> VolumeArray:
    """Decode a stored volume or its mask.

    Raises
    ------
    UnreadableSample
        ``decode_error`` if the bytes are no such array.
    """
    try:
        array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UnreadableSample("decode_error", f"not a stored array: {error}") from error
    if array.ndim != 3 or array.dtype not in KINDS:
        raise UnreadableSample("decode_error", f"array of shape {array.shape} and kind {array.dtype}")
    return cast("VolumeArray", array)


def show_volume(
    image: VolumeArray, window: tuple[float, float] | None, normalise: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Show a volume as 8-bit grey.

    Parameters
    ----------
    image
        ``[D, H, W]``.
    window
        (low, high) intensities that become 0 and 255.
    normalise
        Without a window: (low, high) percentiles of this volume's intensities that become 0 and 255.

    Returns
    -------
    ndarray
        ``[D, H, W]`` uint8; what lies outside is clipped. A volume of one single intensity becomes 0.

    Raises
    ------
    UnreadableSample
        ``window_missing`` if the voxels have more than 8 bits and neither is given.
    """
    if image.dtype == np.uint8 and window is None and normalise is None:
        return cast("NDArray[np.uint8]", image)
    if window is not None:
        low, high = window
    elif normalise is not None:
        low, high = np.percentile(image, list(normalise)).tolist()
    else:
        raise UnreadableSample(
            "window_missing",
            "the voxels have more than 8 bits; the dataset must say which intensities to show (window or normalise)",
        )
    scale = 255.0 / (high - low) if high > low else 0.0
    shown = np.empty(image.shape, np.uint8)
    for place, slice_ in enumerate(image):  # slice by slice: a float copy of a whole CT would be 0.5 GB
        shown[place] = np.clip(np.rint((slice_.astype(np.float32) - low) * scale), 0, 255)
    return shown
