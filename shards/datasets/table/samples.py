"""Which rows and files of a user's table make one sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from shards.datasets.table.pixels import ENDINGS
from shards.errors import UserError

#: Region texts or mask files of each structure of one image.
Cells = list[list[str]]


@dataclass
class Sample:
    """One sample in the making.

    Attributes
    ----------
    values
        Sample and subject id, split, targets, attributes, by column of the manifest.
    images
        Its images as the table names them, in their order.
    masks
        Per image: a label map, the cells of its structures, or None where the table gives no mask.
    spacing
        Texts of the columns of pixel sizes.
    reject, detail
        Why it is unfit; None if it is not.
    """

    values: dict[str, str | None]
    images: list[str]
    masks: list[str | Cells | None]
    spacing: list[str | None]
    reject: str | None = None
    detail: str | None = None

    def unfit(self, reason: str, detail: str) -> None:
        """Note why the sample is unfit; the first reason stays."""
        if self.reject is None:
            self.reject, self.detail = reason, detail


def split_cells(cells: Sequence[str | None], separator: str | None) -> list[str]:
    """Return the parts of some columns' cells of one row, in their order; empty ones are left out."""
    return [part for cell in cells for part in _parts(cell, separator) if part]


def mask_parts(cells: Sequence[str | None], separator: str | None, count: int) -> list[str | None] | None:
    """Return one mask per image; None if the cells do not hold so many.

    An empty cell stands for no mask of any image.
    """
    if all(cell is None for cell in cells):
        return [None] * count
    parts = [part or None for cell in cells for part in _parts(cell, separator if count > 1 else None)]
    return parts if len(parts) == count else None


def complete_masks(sample: Sample, structures: int | None, *, empty: bool) -> None:
    """Settle what empty cells of masks mean.

    Parameters
    ----------
    sample
        Its masks are changed.
    structures
        Number of structures with cells of their own; None where masks are label maps.
    empty
        Whether an empty cell is an empty region; if not, it says that the mask is unknown, which must then hold for all
        structures and images of the sample.
    """
    flat = [part for mask in sample.masks for part in (mask if isinstance(mask, list) else [mask])]
    given = [bool(part) for part in flat]
    if all(given):
        return
    if empty:
        blank: Cells = [[] for _ in range(structures or 0)]
        sample.masks = [mask if mask is not None else blank for mask in sample.masks]
    elif not any(given):
        sample.masks = [None] * len(sample.masks)
    else:
        sample.unfit(
            "missing_mask",
            f"{given.count(False)} of {len(given)} masks of the sample are not given; if that means that there is nothing "
            "to mark, say so: no_mask: empty",
        )


def join_rows(rows: Sequence[Sample], order: Sequence[str | None] | None) -> list[Sample]:
    """Make one sample of all rows of one sample id; rows without an id stay alone.

    Parameters
    ----------
    rows
        One per row of the table.
    order
        Numbers that the rows of a sample are sorted by; None keeps the table's order.

    Raises
    ------
    UserError
        If an order is no number.
    """
    places = None if order is None else [_number(text) for text in order]
    groups: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.values["sample_id"] or f"\0{place}", []).append(place)
    joined = []
    for group in groups.values():
        if places is not None:
            group.sort(key=lambda place: places[place])
        joined.append(_join([rows[place] for place in group]))
    return joined


def refuse_doubles(rows: Sequence[Sample]) -> None:
    """Mark every row whose sample id another row has too as unfit."""
    counts = Counter(row.values["sample_id"] for row in rows)
    for row in rows:
        name = row.values["sample_id"]
        if name and counts[name] > 1:
            row.unfit(
                "duplicate_id",
                f"{counts[name]} rows have the sample_id {name!r}; if they are images or regions of one sample, say so: "
                "join_rows: true",
            )


def without_ending(path: str) -> str:
    """Return a path without the ending of an image's name; ``a.nii.gz`` becomes ``a``, a folder ``1.2.3`` stays."""
    ending = max((e for e in ENDINGS if path.lower().endswith(e)), key=len, default="")
    return path[: len(path) - len(ending)] if ending else path


def from_root(image: str, root: PurePosixPath) -> str:
    """Return an image's path from the folder of images; an absolute path stays one if it is not below it."""
    path = PurePosixPath(image)
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else str(path)


def _parts(cell: str | None, separator: str | None) -> list[str]:
    if cell is None:
        return [""]
    return [part.strip() for part in cell.split(separator)] if separator is not None else [cell]


def _number(text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"the column 'order' must hold numbers, got {text!r}; give the place of every image.")
    return number


def _join(rows: list[Sample]) -> Sample:
    first = rows[0]
    if len(rows) == 1:
        return first
    values: dict[str, str | None] = {}
    joined = Sample(values, [], [], first.spacing)
    for name in first.values:
        known = list(dict.fromkeys(row.values[name] for row in rows if row.values[name] is not None))
        values[name] = known[0] if known else None
        if len(known) > 1:
            shown = " and ".join(repr(value) for value in known[:3])
            joined.unfit(
                "contradicting_rows", f"rows of one sample say {shown} in column {name!r}; expected one value"
            )
    if any(row.spacing != first.spacing for row in rows):
        joined.unfit("contradicting_rows", "rows of one sample give different sizes of a pixel")
    masks: dict[str, Any] = {}
    for row in rows:
        if row.reject is not None:
            joined.unfit(row.reject, row.detail or "")
        for image, mask in zip(row.images, row.masks, strict=True):
            masks[image] = mask if image not in masks else _unite(joined, masks[image], mask)
    joined.images, joined.masks = list(masks), list(masks.values())
    return joined


def _unite(sample: Sample, one: str | Cells | None, other: str | Cells | None) -> str | Cells | None:
    """Put the masks together that two rows give of one image."""
    if one is None or other is None or one == other:
        return other if one is None else one
    if isinstance(one, str) or isinstance(other, str):
        sample.unfit("contradicting_rows", "rows of one image name different label maps; expected one")
        return one
    return [[*parts, *more] for parts, more in zip(one, other, strict=True)]
