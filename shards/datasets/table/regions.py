"""Regions of structures as texts and outlines, and how several make one label map.

Formats: run lengths as Kaggle's competitions write them (``start length start length ...``, counted from 1 down the columns;
``-1`` or nothing for an empty region), COCO's run lengths, uncompressed and compressed, and COCO's polygons. All are checked
before anything is filled: a region that does not fit its image is refused, never clipped. Guarantee: with ``keep`` (up to eight
structures) a pixel that belongs to several structures stays in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.card import Structure
from shards.errors import UserError

Overlaps = Literal["keep", "smaller_on_top", "reject"]
#: A label map has 8 bits, one for each structure that may overlap others.
_BITS = 8


@dataclass(frozen=True)
class Coding:
    """How the regions of several structures are stored in one label map.

    Attributes
    ----------
    names
        The structures.
    overlaps
        ``"keep"`` stores a bit per structure; ``"smaller_on_top"`` gives a pixel to the structure of fewest pixels (of equal
        ones, the later one); ``"reject"`` refuses a sample with such a pixel.
    """

    names: tuple[str, ...]
    overlaps: Overlaps

    def __post_init__(self) -> None:
        """Check that the structures fit 8 bits (UserError)."""
        most = _BITS if self.overlaps == "keep" else 255
        if len(self.names) > most:
            raise UserError(
                f"{len(self.names)} structures cannot be stored with overlaps: {self.overlaps}, at most {most} can. Choose "
                "fewer, or say what becomes of a pixel in several structures: overlaps: smaller_on_top (or reject)."
            )

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures with the stored values that belong to each."""
        if self.overlaps != "keep":
            return tuple(Structure(name, (place + 1,)) for place, name in enumerate(self.names))
        values = range(1, 2 ** len(self.names))
        return tuple(
            Structure(name, tuple(value for value in values if value >> place & 1))
            for place, name in enumerate(self.names)
        )

    def combine(self, regions: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
        """Make a label map of one region per structure, all of one shape.

        Raises
        ------
        UnreadableSample
            ``overlapping_structures``, if they overlap and must not.
        """
        stored = np.zeros(regions[0].shape, np.uint8)
        if self.overlaps == "keep":
            for place, region in enumerate(regions):
                stored |= region.astype(np.uint8) << place
            return stored
        if self.overlaps == "reject":
            self._refuse_overlaps(regions)
        order = sorted(range(len(regions)), key=lambda place: (-int(regions[place].sum()), place))
        for place in order:
            stored[regions[place]] = place + 1
        return stored

    def _refuse_overlaps(self, regions: Sequence[NDArray[np.bool_]]) -> None:
        owners = np.zeros(regions[0].shape, np.uint8)
        for region in regions:
            owners += region
        if (owners > 1).any():
            inside = owners > 1
            torn = [name for name, region in zip(self.names, regions, strict=True) if region[inside].any()]
            raise UnreadableSample(
                "overlapping_structures", f"{int(inside.sum())} pixels belong to several of {', '.join(torn)}"
            )


def read_text(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a region from a cell: Kaggle's run lengths, or JSON of COCO's.

    Raises
    ------
    UnreadableSample
        ``bad_rle``; ``mask_shape_mismatch`` if it is of another size than the image.
    """
    if not text.startswith(("{", "[")):
        return read_runs(text, shape)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnreadableSample("bad_rle", f"the region is no JSON: {error}") from error
    return read_segmentation(value, shape)


def read_runs(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read Kaggle's run lengths: pairs of start (from 1, down the columns) and length.

    Raises
    ------
    UnreadableSample
        ``bad_rle`` if they are no such pairs, overlap, are out of order or leave the image.

    Examples
    --------
    >>> read_runs("1 2 6 1", (3, 2)).astype(int).tolist()
    [[1, 0], [1, 0], [0, 1]]
    """
    parts = text.split()
    filled = np.zeros(shape[0] * shape[1], bool)
    if parts in ([], ["-1"]):
        return filled.reshape(shape)
    if len(parts) % 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise UnreadableSample(
            "bad_rle",
            f"run lengths must be pairs of a start and a length, got {len(parts)} parts, {text[:40]!r}",
        )
    if max(map(len, parts)) > 12:
        raise UnreadableSample("bad_rle", "a run is longer than any image")
    numbers = np.array(parts, np.int64)
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    if starts[0] < 0 or (starts[1:] < ends[:-1]).any() or ends[-1] > filled.size:
        raise UnreadableSample(
            "bad_rle",
            f"runs must follow each other from pixel 1 to {filled.size} of a {shape[1]}x{shape[0]} image; got one from "
            f"{starts.min() + 1} and one to {ends.max()}",
        )
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        filled[start:end] = True
    return filled.reshape(shape, order="F")


def read_segmentation(value: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read COCO's ``segmentation``: polygons, or run lengths with their size.

    Raises
    ------
    UnreadableSample
        ``bad_rle``, ``bad_polygon``, ``mask_shape_mismatch``.
    """
    if isinstance(value, list):
        return _polygons(value, shape)
    if not isinstance(value, dict) or "counts" not in value:
        raise UnreadableSample("bad_rle", "a region must be polygons, or have 'size' and 'counts'")
    size = value.get("size")
    if list(size or ()) != list(shape):
        raise UnreadableSample(
            "mask_shape_mismatch", f"the region is of size {size} (height, width), the image of {list(shape)}"
        )
    counts = value["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise UnreadableSample("bad_rle", "run lengths must be whole numbers from 0")
    if sum(runs) != shape[0] * shape[1]:
        raise UnreadableSample(
            "bad_rle",
            f"the runs have {sum(runs)} pixels in all, the image {shape[0] * shape[1]} ({shape[1]}x{shape[0]})",
        )
    return _filled(runs, shape)


def _filled(runs: list[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a region from the lengths of its runs: outside, inside, outside, ..., down the columns."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, np.array(runs, np.int64)).reshape(shape, order="F")


def _uncompressed(text: str) -> list[int]:
    """Read COCO's compressed counts: 5 bits per character, from the third run on the difference to the run two before."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 50:
            raise UnreadableSample("bad_rle", f"compressed run lengths cannot hold {character!r} there")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise UnreadableSample("bad_rle", "compressed run lengths end within a number")
    return runs


def _polygons(polygons: list[Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    from pycocotools import mask as coco

    height, width = shape
    for polygon in polygons:
        try:
            points = np.array(polygon, np.float64)
        except (TypeError, ValueError):
            points = np.zeros(0)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise UnreadableSample(
                "bad_polygon", f"a polygon must be 6 or more numbers x, y, x, y, ..., got {str(polygon)[:60]}"
            )
        across, down = points[::2], points[1::2]
        if across.min() < -1 or down.min() < -1 or across.max() > width + 1 or down.max() > height + 1:
            raise UnreadableSample(
                "bad_polygon",
                f"a polygon reaches from ({across.min():g}, {down.min():g}) to ({across.max():g}, {down.max():g}); the image "
                f"is {width}x{height}",
            )
    if not polygons:
        return np.zeros(shape, bool)
    outlines = coco.frPyObjects([[float(number) for number in p] for p in polygons], height, width)
    return _filled(_uncompressed(coco.merge(outlines)["counts"].decode()), shape)
