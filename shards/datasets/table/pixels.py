"""Reads one image file of any kind that a user may have, and puts several into a stack."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.images import read_bytes, read_image

if TYPE_CHECKING:
    from shards.formats.volume_file import Plane, VolumeFile

VOLUME_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
ARRAY_ENDINGS = (".npz", ".npy")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
ENDINGS = (*VOLUME_ENDINGS, *ARRAY_ENDINGS, *DICOM_ENDINGS, *_PICTURE_ENDINGS)


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes
    ----------
    plane
        What the slices of volumes are to show.
    window, normalise
        As on the dataset's card; ``"file"`` takes a DICOM image's own window.
    array
        Name of the array in an ``.npz`` archive; None where it holds one only.
    allow_burned_in
        Read DICOM files that say that texts are burned into their pixels.
    """

    plane: Plane
    window: tuple[float, float] | Literal["file"] | None
    normalise: tuple[float, float] | None
    array: str | None
    allow_burned_in: bool


@dataclass(frozen=True)
class Found:
    """What a file, or a stack of files, holds.

    Attributes
    ----------
    image
        ``[H, W]`` or ``[H, W, 3]``; of a volume ``[D, H, W]``.
    volume
        Whether it is a volume.
    spacing_mm, orientation
        As the file says; None where it does not.
    frame
        Where a volume's voxels lie; None for arrays and stacks, of which this is not known.
    encoded
        See :class:`shards.adapter.Pixels`.
    """

    image: NDArray[Any]
    volume: bool = False
    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = None
    frame: VolumeFile | None = None
    encoded: bytes | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a mask: ``(H, W)``, or ``(D, H, W)`` of a volume."""
        return self.image.shape if self.volume else self.image.shape[:2]


def is_picture(name: str) -> bool:
    """Tell by its name whether a file holds one 2D image; arrays and folders may hold volumes."""
    return name.lower().endswith((*_PICTURE_ENDINGS, *DICOM_ENDINGS))


def read_file(path: Path, how: Reading) -> Found:
    """Read an image file, or a folder with a DICOM series.

    Raises
    ------
    UnreadableSample
        As the reader of its kind says.
    """
    name = path.name.lower()
    if name.endswith(VOLUME_ENDINGS):
        from shards.formats.volume_file import read_volume_file

        return _placed(read_volume_file(path, how.plane))
    if name.endswith(ARRAY_ENDINGS):
        return _array(read_array(path, how.array), how, path.name)
    if not name.endswith((*_PICTURE_ENDINGS, *DICOM_ENDINGS)) and path.is_dir():
        from shards.formats.dicom import read_series

        return _placed(read_series(path, how.plane, allow_burned_in=how.allow_burned_in))
    if name.endswith(DICOM_ENDINGS) or (not name.endswith(_PICTURE_ENDINGS) and _marked(path)):
        from shards.formats.dicom import read_dicom_image

        found = read_dicom_image(
            path, window=how.window, normalise=how.normalise, allow_burned_in=how.allow_burned_in
        )
        return Found(found.image, spacing_mm=found.spacing_mm)
    image, encoded = read_image(path)
    return replace(_grey(image, how, path.name), encoded=encoded)


def read_array(path: Path, name: str | None, *, missing: str = "missing_image") -> NDArray[Any]:
    """Read an array of a ``.npy`` file, or of an ``.npz`` archive: by name, or the only one.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``, ``missing_array``, ``pickled_array``.
    """
    from shards.formats.arrays import npz_names, read_npz

    if path.suffix.lower() == ".npz":
        if name is None:
            names = npz_names(path, missing=missing)
            if len(names) != 1:
                raise UnreadableSample(
                    "missing_array",
                    f"{path.name} has the arrays {', '.join(names) or 'none'}; say which one is meant",
                )
            name = names[0]
        return read_npz(path, name, missing=missing)[name]
    data = read_bytes(path, missing=missing)
    if not data:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    try:
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # a damaged header is parsed as text of Python, which raises anything
        raise UnreadableSample("decode_error", f"{path.name} is cut off or no array: {error}") from error
    return array


def stack(found: Sequence[Found], name: str) -> Found:
    """Put grey images of one size on top of each other.

    Raises
    ------
    UnreadableSample
        ``mixed_sizes``, or ``unsupported_pixels`` for colours, volumes and different kinds of numbers.
    """
    slices = [_as_slice(one, name) for one in found]
    sizes = sorted({slice_.shape for slice_ in slices})
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:4])
        raise UnreadableSample(
            "mixed_sizes",
            f"the {len(slices)} images of {name} have the sizes {shown}; a stack needs one size",
        )
    kinds = sorted({str(slice_.dtype) for slice_ in slices})
    if len(kinds) > 1:
        raise UnreadableSample(
            "unsupported_pixels",
            f"the images of {name} have pixels of {' and '.join(kinds)}; expected one kind",
        )
    return Found(np.stack(slices), volume=True)


def _as_slice(found: Found, name: str) -> NDArray[Any]:
    image = found.image
    if not found.volume and image.ndim == 3 and (image == image[:, :, :1]).all():
        image = image[:, :, 0]
    if found.volume or image.ndim != 2:
        what = "a volume" if found.volume else "a colour image"
        raise UnreadableSample(
            "unsupported_pixels", f"{what} is among the images of {name}; a stack needs grey ones"
        )
    return image


def _marked(path: Path) -> bool:
    from shards.formats.dicom import is_dicom

    return is_dicom(path)


def _placed(file: VolumeFile) -> Found:
    return Found(file.image, True, file.spacing_mm, file.orientation, file)


def _array(array: NDArray[Any], how: Reading, name: str) -> Found:
    if array.dtype.kind not in "uif":
        raise UnreadableSample(
            "unsupported_pixels", f"{name} holds an array of {array.dtype}; expected numbers"
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8):
        return _grey(array, how, name)
    if array.ndim != 3:
        raise UnreadableSample(
            "unsupported_pixels",
            f"{name} holds an array of shape {array.shape}; expected (H, W), (D, H, W), or (H, W, 3) of 8 bits",
        )
    from shards.formats.volume_file import compact

    return Found(compact(array), volume=True)


def _grey(image: NDArray[Any], how: Reading, name: str) -> Found:
    """Bring a 2D image to 8 or 16 bits without a sign: as it is where it fits, otherwise as it is to be shown."""
    if image.dtype == np.uint8:
        return Found(image)
    if image.size and not np.isfinite(image).all():
        raise UnreadableSample("nan_pixels", f"{name} has pixels that are no finite number")
    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if how.normalise is not None:
        edges = np.percentile(image, list(how.normalise)).tolist()
    elif low >= 0 and high <= 65535 and (image.dtype.kind in "ui" or (image == np.rint(image)).all()):
        return Found(image.astype(np.uint16))
    elif isinstance(how.window, tuple):
        edges = list(how.window)
    else:
        raise UnreadableSample(
            "window_missing",
            f"{name} has intensities from {low:g} to {high:g}, which do not fit 16 bits without a sign; say which ones to "
            "show (window or normalise)",
        )
    scale = 255.0 / (edges[1] - edges[0]) if edges[1] > edges[0] else 0.0
    shown = np.clip(np.rint((image.astype(np.float64) - edges[0]) * scale), 0, 255)
    return Found(shown.astype(np.uint8))
