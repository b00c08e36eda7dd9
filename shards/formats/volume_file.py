"""Reads NIfTI, MHA/MHD and NRRD files as arrays of slices, turned so that slices lie in a named anatomical plane.

Guarantees: spacing and orientation are those of the file's header, never guessed from the order of its axes; a label map is
accepted only in its image's own frame; a file that is cut off, or has more than three axes, is an
:class:`~shards.adapter.UnreadableSample`. Trade-off: oblique scans are turned to the nearest axes, not resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample, Volume
from shards.formats.whole import alone, check_whole
from shards.masks import recode
from shards.volumes import VolumeArray

if TYPE_CHECKING:
    import SimpleITK as sitk

Plane = Literal["axial", "coronal", "sagittal"]
#: Directions of the file's (column, row, slice) axes that put each plane as radiologists look at it.
_ITK_AXES: Mapping[Plane, str] = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
#: Largest difference of origins (mm), and of directions and spacings, of one frame: headers hold 32-bit floats.
_SAME_MM, _SAME = 0.05, 1e-3


@dataclass(frozen=True)
class VolumeFile:
    """One file's voxels.

    Attributes
    ----------
    image
        ``[D, H, W]``.
    spacing_mm
        (slice, row, column).
    orientation
        See :class:`shards.adapter.Volume`; None where a series of slices does not say how it lies.
    origin, directions
        Place of the first voxel in mm, and the axes' directions (nine cosines), after turning.
    """

    image: VolumeArray
    spacing_mm: tuple[float, float, float]
    orientation: str | None
    origin: tuple[float, ...]
    directions: tuple[float, ...]


def read_volume_file(path: Path, plane: Plane, *, missing: str = "missing_image") -> VolumeFile:
    """Read a file of one volume.

    Parameters
    ----------
    path
        ``.nii``, ``.nii.gz``, ``.mha``, ``.mhd`` or ``.nrrd``.
    plane
        What the slices are to show.
    missing
        Reason if the file is not there.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``, ``nan_pixels``, ``unsupported_pixels`` for other than three axes.
    """
    if not path.is_file():
        raise UnreadableSample(missing, f"file {path.name} does not exist")
    if path.stat().st_size == 0:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    check_whole(path)
    return turned(
        _read(path), plane, path.name
    )  # without a name of its own, the file's copy is freed when turned


def _read(path: Path) -> sitk.Image:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with alone(path) as place:
            return sitk.ReadImage(str(place))
    except RuntimeError as error:
        skewed = "orthonormal" in str(error)
        why = "has axes that are not at right angles" if skewed else "is damaged or no volume"
        raise UnreadableSample("decode_error", f"file {path.name} {why}") from error


def turned(found: sitk.Image, plane: Plane, name: str) -> VolumeFile:
    """Turn what SimpleITK read so that its slices lie in a plane."""
    import SimpleITK as sitk

    size = found.GetSize()
    if len(size) == 4 and size[3] == 1:
        found = found[:, :, :, 0]
    if found.GetDimension() != 3 or found.GetNumberOfComponentsPerPixel() != 1:
        shape = " x ".join(map(str, size))
        raise UnreadableSample(
            "unsupported_pixels", f"{name} has the axes {shape}; expected one grey value at each place of 3D"
        )
    if found.GetPixelID() == sitk.sitkFloat64:
        found = sitk.Cast(found, sitk.sitkFloat32)  # no more is stored; turning needs three copies
    axes = _ITK_AXES[plane]
    found = sitk.DICOMOrient(found, axes)
    column, row, slice_ = found.GetSpacing()
    shared = sitk.GetArrayViewFromImage(found)
    voxels = compact(shared)
    return VolumeFile(
        voxels.copy() if voxels is shared else voxels,  # the view ends with the image
        (slice_, row, column),
        axes[::-1],
        found.GetOrigin(),
        found.GetDirection(),
    )


def load_volume(
    image: Path, plane: Plane, mask: Path | None = None, codes: Mapping[int, int] | None = None
) -> Volume:
    """Read a volume and its label map.

    Parameters
    ----------
    image
        File of the intensities.
    plane
        What the slices are to show.
    mask
        File of the labels; None where there is none.
    codes
        Publisher's label -> stored label; what it lacks is refused. 0 stays 0. None keeps labels as they are.

    Raises
    ------
    UnreadableSample
        As :func:`read_volume_file`; ``missing_mask``, ``mask_values``, ``mask_geometry_mismatch``.
    """
    voxels = read_volume_file(image, plane)
    if mask is None:
        return Volume(voxels.image, voxels.spacing_mm, voxels.orientation)
    labels = read_volume_file(mask, plane, missing="missing_mask")
    check_same_frame(voxels, labels, mask.name)
    return Volume(voxels.image, voxels.spacing_mm, voxels.orientation, recode(labels.image, codes, mask.name))


def check_same_frame(image: VolumeFile, mask: VolumeFile, name: str) -> None:
    """Refuse a label map that was drawn in another frame than its image (``mask_geometry_mismatch``)."""
    if image.image.shape != mask.image.shape:
        raise UnreadableSample(
            "mask_geometry_mismatch",
            f"mask {name} has {mask.image.shape} voxels, the image {image.image.shape}",
        )
    for what, one, other, most in (
        ("origin", image.origin, mask.origin, _SAME_MM),
        ("voxel size", image.spacing_mm, mask.spacing_mm, _SAME),
        ("direction", image.directions, mask.directions, _SAME),
    ):
        if not np.allclose(one, other, rtol=0.0, atol=most):
            shown = ", ".join(f"{value:g}" for value in other), ", ".join(f"{value:g}" for value in one)
            raise UnreadableSample(
                "mask_geometry_mismatch", f"mask {name} has the {what} {shown[0]}, the image {shown[1]}"
            )


def compact(array: NDArray[Any]) -> VolumeArray:
    """Return the same numbers in the smallest kind that a shard stores."""
    if array.dtype in (np.uint8, np.int16, np.uint16):
        return array
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    whole = array.dtype.kind in "iu" or all(
        bool((slice_ == np.rint(slice_)).all())
        for slice_ in array  # one by one: a copy of a whole CT is 1 GB
    )  # NaN is not whole
    for kind in (np.int16, np.uint16):
        limits = np.iinfo(kind)
        if whole and limits.min <= low and high <= limits.max:
            return cast("VolumeArray", array.astype(kind))
    return array.astype(np.float32)
