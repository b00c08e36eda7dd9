"""Reads DICOM files: a folder of slices as one volume, and single images.

Guarantees: slices are ordered by where they lie in the patient, never by file name; a volume with a slice missing, twice, or of
another series is refused with a reason, not patched; intensities are rescaled (CT: Hounsfield units), clipped nowhere; what
says that texts are burned into its pixels is refused unless asked for; of a header nothing but pixels and geometry comes out
(see :data:`KEPT_TAGS` for what else may).

Trade-offs: a gantry-tilted scan is stacked as if it were straight; enhanced files with many frames are refused; compression
that pydicom has no decoder for here goes through SimpleITK's GDCM in a process of its own; compressed pixels that are cut off
are noticed, but wrong bits within them only where the decoder says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.formats._dicom_header import KEPT_TAGS, Header, damage, is_dicom, kept_tags, read_header
from shards.formats._dicom_pixels import stored_values
from shards.formats._dicom_stack import check_one_series, order_slices, pick_slices
from shards.formats.volume_file import Plane, VolumeFile, compact, turned
from shards.images import ImageArray

__all__ = [
    "KEPT_TAGS",
    "DicomImage",
    "Series",
    "Stack",
    "is_dicom",
    "kept_tags",
    "order_series",
    "read_dicom_image",
    "read_series",
]

#: Files without the mark of DICOM are taken for damaged ones if their names end so, and for bystanders otherwise.
_ENDINGS = (".dcm", ".dicom", ".ima", ".img")


@dataclass(frozen=True)
class Series(VolumeFile):
    """One folder's slices as a volume.

    Attributes
    ----------
    dropped
        Scouts and other images without a place among the slices, which were left out.
    """

    dropped: int = 0


@dataclass(frozen=True)
class Stack:
    """The slices of a folder in the order in which they lie, before any pixel is read.

    Attributes
    ----------
    name
        Of the folder, for messages.
    slices
        Headers, along the stack.
    spacing_mm
        (slice, row, column).
    dropped
        As of :class:`Series`.
    """

    name: str
    slices: tuple[Header, ...]
    spacing_mm: tuple[float, float, float]
    dropped: int = 0

    def intensities(self) -> NDArray[Any]:
        """Read the pixels as ``[D, H, W]``, rescaled."""
        return np.stack([_narrow(_intensities(header)) for header in self.slices])

    def turned(self, voxels: NDArray[Any], plane: Plane) -> Series:
        """Turn what lies as the slices do so that the slices show a plane.

        Parameters
        ----------
        voxels
            ``[D, H, W]``: the intensities, or a label map drawn on the slices.
        plane
            As of :func:`read_series`.
        """
        return _series(voxels, self.slices[0], self.spacing_mm, plane, self.name, self.dropped)


class DicomImage(NamedTuple):
    """One DICOM file as an image.

    Attributes
    ----------
    image
        ``[H, W]`` uint8 or uint16 (bright is bright), or ``[H, W, 3]`` uint8 RGB.
    spacing_mm
        (row, column) size of a pixel; None where the file does not say.
    """

    image: ImageArray
    spacing_mm: tuple[float, float] | None


def read_series(
    folder: Path, plane: Plane, *, allow_burned_in: bool = False, missing: str = "missing_image"
) -> Series:
    """Read the slices of a folder as one volume.

    Parameters
    ----------
    folder
        Holds the files of one series; what is no DICOM file by name and content is ignored.
    plane
        What the slices are to show. A series that does not say how it lies keeps the plane it was acquired in.
    allow_burned_in
        Read slices with burned-in texts too.
    missing
        Reason if the folder is not there or holds no DICOM file.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``, ``burned_in_annotation``, ``mixed_series`` (several series, sizes or
        directions), ``missing_position``, ``missing_spacing``, ``duplicate_position``, ``missing_slice``, ``uneven_spacing``,
        ``unsupported_pixels``.
    """
    stack = order_series(folder, allow_burned_in=allow_burned_in, missing=missing)
    return stack.turned(stack.intensities(), plane)


def order_series(folder: Path, *, allow_burned_in: bool = False, missing: str = "missing_image") -> Stack:
    """Find the slices of a folder and their order; parameters and reasons are those of :func:`read_series`."""
    slices, dropped = pick_slices(_headers(folder, missing))
    for header in slices:
        _check_burned_in(header, allow_burned_in)
    check_one_series(slices, folder.name)
    ordered, gap = order_slices(slices, folder.name)
    row_column = ordered[0].spacing
    if row_column is None:
        raise UnreadableSample(
            "missing_spacing", f"the slices of {folder.name} do not say how large a pixel is"
        )
    return Stack(folder.name, tuple(ordered), (gap, *row_column), dropped)


def read_dicom_image(
    path: Path,
    *,
    window: tuple[float, float] | Literal["file"] | None = None,
    normalise: tuple[float, float] | None = None,
    allow_burned_in: bool = False,
) -> DicomImage:
    """Read a file of one image.

    Parameters
    ----------
    path
        The file.
    window
        (low, high) intensities, after the rescale, that become 0 and 255; ``"file"`` takes the first window in the file.
        None keeps the intensities: 8 or 16 bits without a sign, to be shown later.
    normalise
        Without a window: (low, high) percentiles of the image's intensities that become 0 and 255.
    allow_burned_in
        Read images with burned-in texts too.

    Returns
    -------
    DicomImage
        MONOCHROME1 (white is low) is inverted.

    Raises
    ------
    UnreadableSample
        ``missing_image``, ``empty_file``, ``decode_error``, ``burned_in_annotation``, ``unsupported_pixels``;
        ``window_missing`` if intensities are negative or not whole and no window is given, or the file has none.
    """
    header = read_header(path)
    _check_burned_in(header, allow_burned_in)
    if header.frames > 1:
        raise UnreadableSample(
            "unsupported_pixels", f"{path.name} has {header.frames} frames; expected one image"
        )
    if not header.photometric.startswith("MONOCHROME"):
        return DicomImage(_colours(header), header.spacing)
    values = _intensities(header)
    limits = _limits(header)
    inverted = header.photometric == "MONOCHROME1"
    if window is not None or normalise is not None:
        shown = _windowed(values, _chosen_edges(header, values, window, normalise))
        return DicomImage(np.uint8(255) - shown if inverted else shown, header.spacing)
    if inverted:
        values = limits[0] + limits[1] - values
    return DicomImage(_unsigned(values, limits[1], path.name), header.spacing)


def _headers(folder: Path, missing: str) -> list[Header]:
    if not folder.is_dir():
        raise UnreadableSample(missing, f"folder {folder.name} does not exist")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    chosen = [path for path in files if path.name != "DICOMDIR" and (_named_so(path) or is_dicom(path))]
    if not chosen:
        raise UnreadableSample(missing, f"folder {folder.name} holds no DICOM file, but {len(files)} others")
    return [read_header(path) for path in chosen]


def _named_so(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS


def _check_burned_in(header: Header, allowed: bool) -> None:
    if header.burned_in and not allowed:
        raise UnreadableSample(
            "burned_in_annotation",
            f"{header.path.name} says that texts are burned into its pixels, perhaps names; look at it, then clean or allow it",
        )


def _series(
    voxels: NDArray[Any],
    first: Header,
    spacing: tuple[float, float, float],
    plane: Plane,
    name: str,
    dropped: int,
) -> Series:
    import SimpleITK as sitk

    if first.axes is None or first.position is None:
        straight = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return Series(compact(voxels), spacing, None, (0.0, 0.0, 0.0), straight, dropped)
    image = sitk.GetImageFromArray(voxels)
    row, column = np.array(first.axes[:3]), np.array(first.axes[3:])
    image.SetSpacing((spacing[2], spacing[1], spacing[0]))
    image.SetOrigin(first.position)
    try:
        image.SetDirection(np.stack([row, column, np.cross(row, column)], axis=1).ravel().tolist())
    except RuntimeError as error:
        raise UnreadableSample(
            "decode_error", f"the directions {first.axes} of {name} are no axes"
        ) from error
    found = turned(image, plane, name)
    return Series(found.image, found.spacing_mm, found.orientation, found.origin, found.directions, dropped)


def _intensities(header: Header) -> NDArray[Any]:
    """Return ``[H, W]`` rescaled intensities, int64 where they are whole; MONOCHROME1 as stored."""
    name = header.path.name
    stored, rescaled = stored_values(header)
    if stored.shape != header.shape:
        raise UnreadableSample(
            "decode_error", f"{name} has pixels {stored.shape}; its header says {header.shape}"
        )
    if rescaled:
        low, high = _limits(header)
        return (
            low + high - stored if header.photometric == "MONOCHROME1" else stored
        )  # GDCM inverts these itself
    if header.slope.is_integer() and header.intercept.is_integer() and abs(header.intercept) < 2**24:
        return stored.astype(np.int64) * int(header.slope) + int(header.intercept)
    return (stored * header.slope + header.intercept).astype(np.float32)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers in 16 or 32 bits: a whole CT of 64 would be gigabytes."""
    if values.dtype.kind != "i" or not values.size:
        return values
    low, high = int(values.min()), int(values.max())
    for kind in (np.int16, np.int32):
        limits = np.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return values.astype(kind)
    return values


def _limits(header: Header) -> tuple[Any, Any]:
    """Return the rescaled lowest and highest value that a pixel can have; whole where the rescale is."""
    low = -(2 ** (header.bits - 1)) if header.signed else 0
    whole = header.slope.is_integer() and header.intercept.is_integer()
    ends = [value * header.slope + header.intercept for value in (low, low + 2**header.bits - 1)]
    return (int(ends[0]), int(ends[1])) if whole else (ends[0], ends[1])


def _colours(header: Header) -> NDArray[np.uint8]:
    stored, _ = stored_values(header)
    if header.photometric == "PALETTE COLOR" and stored.ndim == 2:
        import pydicom
        from pydicom.pixels.processing import apply_color_lut

        with damage(header.path, "the palette"):
            stored = apply_color_lut(stored, pydicom.dcmread(header.path, stop_before_pixels=True))
        stored = (stored >> 8).astype(np.uint8) if stored.dtype == np.uint16 else stored
    if stored.shape != (*header.shape, 3) or stored.dtype != np.uint8:
        raise UnreadableSample(
            "unsupported_pixels",
            f"{header.path.name} has {header.photometric} pixels {stored.shape} of {stored.dtype}; expected grey, or "
            "colours of 8 bits",
        )
    return stored


def _chosen_edges(
    header: Header,
    values: NDArray[Any],
    window: tuple[float, float] | Literal["file"] | None,
    normalise: tuple[float, float] | None,
) -> tuple[float, float]:
    if window == "file":
        return _edges(header)
    if window is not None:
        return window
    low, high = np.percentile(values, list(normalise or (0, 100))).tolist()
    return low, high


def _edges(header: Header) -> tuple[float, float]:
    """Return the (low, high) intensities of the file's window, as the standard defines its function."""
    if header.window is None:
        raise UnreadableSample(
            "window_missing", f"{header.path.name} has no window; give one, or none to keep 16 bits"
        )
    centre, width, function = header.window
    if function == "LINEAR" and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    if function == "SIGMOID":
        raise UnreadableSample(
            "unsupported_pixels", f"{header.path.name} has a sigmoid window; give one in numbers"
        )
    return centre - width / 2, centre + width / 2


def _windowed(values: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low) if high > low else 0.0)
    shown: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return shown


def _unsigned(values: NDArray[Any], most: float, name: str) -> ImageArray:
    """Return whole intensities from 0 to 65535, in 8 bits where `most`, the largest possible one, has no more."""
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 65535 or (values != np.rint(values)).any():
        raise UnreadableSample(
            "window_missing",
            f"{name} has intensities from {low:g} to {high:g}, which cannot be kept in 16 bits without a sign; say which "
            "ones to show (window)",
        )
    return values.astype(np.uint8) if max(most, high) < 256 else values.astype(np.uint16)
