"""Reads what was drawn on the slices of a DICOM series and stored as one more file per slice, in a folder for each structure.

Guarantees: a mask's file belongs to the slice whose file has the same name, and must then lie where that slice lies (files
that do not say where are taken at their name's word): a name and a place that contradict each other, a slice without its file
and a file without its slice are refused, never guessed. Inside is one value and outside 0, whatever that one value is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.formats._dicom_header import Header, is_dicom, read_header
from shards.formats._dicom_pixels import stored_values

#: Largest difference of places (mm), and of directions and sizes of pixels, of one frame.
_SAME_MM, _SAME = 0.05, 1e-3


def read_slice_masks(folder: Path, slices: Sequence[Header]) -> NDArray[np.bool_]:
    """Read one structure.

    Parameters
    ----------
    folder
        Holds a file for each slice, named as the slice's own (an ending ``.dcm`` does not matter).
    slices
        Of the image, in their order (:attr:`shards.formats.dicom.Stack.slices`).

    Returns
    -------
    ndarray
        ``[D, H, W]``: whether a voxel belongs to the structure.

    Raises
    ------
    UnreadableSample
        ``missing_mask``; ``missing_slice`` if a slice has no file; ``mask_geometry_mismatch`` if a file has no slice or lies
        elsewhere; ``mask_values`` for several values beside 0; ``empty_file``, ``decode_error``, ``unsupported_pixels``.
    """
    if not folder.is_dir():
        raise UnreadableSample("missing_mask", f"folder {folder.name} does not exist")
    files = {_stem(path): path for path in sorted(folder.iterdir()) if path.is_file()}
    names = [_stem(header.path) for header in slices]
    lacking = [name for name in names if name not in files]
    if lacking:
        raise UnreadableSample(
            "missing_slice",
            f"mask {folder.name} lacks {lacking[0]}: {len(lacking)} of {len(names)} slices have no file of their name",
        )
    more = [path.name for name, path in files.items() if name not in names and is_dicom(path)]
    if more:
        raise UnreadableSample(
            "mask_geometry_mismatch", f"mask {folder.name} has {more[0]}, the image has no slice of that name"
        )
    found = [_read(files[name], header, folder.name) for name, header in zip(names, slices, strict=True)]
    inside = sorted({value for values in found for value in np.unique(values[values != 0]).tolist()})
    if len(inside) > 1:
        shown = ", ".join(f"{value:g}" for value in inside[:5])
        raise UnreadableSample(
            "mask_values", f"mask {folder.name} has the values {shown} beside 0; expected one"
        )
    return np.stack([values != 0 for values in found])


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() == ".dcm" else path.name


def _read(path: Path, slice_: Header, name: str) -> NDArray[Any]:
    """Return ``[H, W]`` stored values; 0 is outside."""
    header = read_header(path, missing="missing_mask")
    _check_same_place(header, slice_, name)
    if header.frames > 1 or header.photometric != "MONOCHROME2":
        raise UnreadableSample(
            "unsupported_pixels",
            f"{path.name} of mask {name} has {header.frames} frames of {header.photometric}; expected one grey slice",
        )
    values, rescaled = stored_values(header)
    if values.shape != header.shape:
        raise UnreadableSample(
            "decode_error",
            f"{path.name} of mask {name} has pixels {values.shape}; its header says {header.shape}",
        )
    return values - header.intercept if rescaled else values


def _check_same_place(mask: Header, slice_: Header, name: str) -> None:
    if mask.shape != slice_.shape:
        raise UnreadableSample(
            "mask_geometry_mismatch",
            f"{mask.path.name} of mask {name} has {mask.shape} pixels, the slice of that name {slice_.shape}",
        )
    for what, one, other, most in (
        ("place", mask.position, slice_.position, _SAME_MM),
        ("directions", mask.axes, slice_.axes, _SAME),
        ("pixel size", mask.spacing, slice_.spacing, _SAME),
    ):
        if one is not None and other is not None and not np.allclose(one, other, rtol=0.0, atol=most):
            shown = [", ".join(f"{value:g}" for value in values) for values in (one, other)]
            raise UnreadableSample(
                "mask_geometry_mismatch",
                f"{mask.path.name} of mask {name} has the {what} {shown[0]}, the slice of that name {shown[1]}",
            )
