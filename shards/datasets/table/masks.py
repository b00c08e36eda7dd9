"""Reads the masks of an image: label maps, one file per structure, run lengths, or COCO's regions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.datasets.table.pixels import ARRAY_ENDINGS, VOLUME_ENDINGS, Found, Reading, read_array
from shards.datasets.table.regions import Coding, Overlaps, read_segmentation, read_text
from shards.images import read_bytes, read_mask
from shards.masks import fit_mask, recode


class Labels(NamedTuple):
    """A mask in its image's frame.

    Attributes
    ----------
    mask
        uint8 label map.
    resized
        Whether the publisher's had another size.
    """

    mask: NDArray[np.uint8]
    resized: bool


def read_label_map(
    path: Path, found: Found, how: Reading, codes: Mapping[int, int], *, others: bool
) -> Labels:
    """Read a label map.

    Parameters
    ----------
    path
        Its file.
    found
        The image.
    how
        How arrays and volumes are read.
    codes
        Label -> stored label.
    others
        Whether other labels are background; if not, they are refused.
    """
    values, resized = _values(path, found, how)
    if others:
        values = np.where(np.isin(values, list(codes)), values, 0)
    return Labels(recode(values, codes, path.name), resized)


def read_binary(path: Path, found: Found, how: Reading) -> tuple[NDArray[np.bool_], bool]:
    """Read the mask of one structure: 0 outside, one other value inside.

    Raises
    ------
    UnreadableSample
        ``mask_values`` if it has further values (an antialiased or JPEG-compressed mask does).
    """
    values, resized = _values(path, found, how)
    inside = np.unique(values[values != 0])
    if len(inside) > 1:
        shown = ", ".join(f"{value:g}" for value in inside[:5].tolist()) + (
            ", ..." if len(inside) > 5 else ""
        )
        raise UnreadableSample(
            "mask_values",
            f"mask {path.name} has the values {shown} besides 0; expected one, for one structure",
        )
    return values != 0, resized


def read_structures(
    cells: Sequence[Sequence[str]], found: Found, how: Reading, coding: Coding, *, texts: bool
) -> Labels:
    """Read one region per structure and put them into one label map.

    Parameters
    ----------
    cells
        Per structure: files, or texts of run lengths; several are united, none is an empty region.
    found
        The image.
    how
        How arrays and volumes are read.
    coding
        How structures are stored.
    texts
        Whether the cells hold run lengths and not paths.
    """
    shape = found.shape
    if texts and found.volume:
        raise UnreadableSample(
            "mask_geometry_mismatch", "run lengths describe an image, but this sample is a volume"
        )
    regions, resized = [], False
    for parts in cells:
        region = np.zeros(shape, bool)
        for part in parts:
            if texts:
                region |= read_text(part, (shape[0], shape[1]))
            else:
                inside, fitted = read_binary(Path(part), found, how)
                region |= inside
                resized = resized or fitted
        regions.append(region)
    return Labels(coding.combine(regions), resized)


def read_annotations(mask: Mapping[str, Any], found: Found, overlaps: Overlaps) -> Labels:
    """Draw COCO's regions.

    Parameters
    ----------
    mask
        ``structures`` (names), ``size`` (height and width that was drawn on, or None) and ``regions``: pairs of a
        structure's place and its segmentation as JSON.
    found
        The image.
    overlaps
        See :class:`~shards.datasets.table.regions.Coding`.
    """
    if found.volume:
        raise UnreadableSample(
            "mask_geometry_mismatch", "annotations describe an image, but this sample is a volume"
        )
    shape, size = (found.shape[0], found.shape[1]), mask["size"]
    if size is not None and tuple(size) != shape:
        raise UnreadableSample(
            "mask_shape_mismatch",
            f"the annotations are of a {size[1]}x{size[0]} image, the image is {shape[1]}x{shape[0]}",
        )
    coding = Coding(tuple(mask["structures"]), overlaps)
    drawn = [np.zeros(shape, bool) for _ in coding.names]
    for place, segmentation in mask["regions"]:
        drawn[place] |= read_segmentation(json.loads(segmentation), shape)
    return Labels(coding.combine(drawn), False)


def _values(path: Path, found: Found, how: Reading) -> tuple[NDArray[Any], bool]:
    """Return a mask's values in the frame of its image, and whether they were brought to its size."""
    name = path.name.lower()
    volume = name.endswith(VOLUME_ENDINGS)
    if volume != (found.frame is not None):
        mask, image = (
            ("is a volume that says where it lies", "does not")
            if volume
            else ("does not say where it lies", "does")
        )
        raise UnreadableSample("mask_geometry_mismatch", f"mask {path.name} {mask}, its image {image}")
    if volume and found.frame is not None:
        from shards.formats.volume_file import check_same_frame, read_volume_file

        labels = read_volume_file(path, how.plane, missing="missing_mask")
        check_same_frame(found.frame, labels, path.name)
        return labels.image, False
    if name.endswith(ARRAY_ENDINGS):
        array = read_array(path, how.array, missing="missing_mask")
        expected = found.shape
        if array.shape != expected:
            raise UnreadableSample(
                "mask_shape_mismatch", f"mask {path.name} is {array.shape}, its image {expected}"
            )
        return (array.astype(np.uint8) if array.dtype == bool else array), False
    values = read_mask(read_bytes(path, missing="missing_mask"))
    if found.volume:
        raise UnreadableSample(
            "mask_geometry_mismatch", f"mask {path.name} is one image, but its sample is a volume"
        )
    fitted = fit_mask(values, (found.shape[0], found.shape[1]))
    return fitted.mask, fitted.resized
