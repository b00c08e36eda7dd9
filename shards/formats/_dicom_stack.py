"""The slices of one DICOM series: which files they are, whether they belong together, and in which order they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.formats._dicom_header import Header

#: Two slices nearer than this share of the usual distance lie at one place; farther than the other, one is missing.
_SAME_PLACE, _UNEVEN, _GAP = 0.1, 0.2, 1.5


def pick_slices(headers: Sequence[Header]) -> tuple[list[Header], int]:
    """Leave out scouts: what calls itself one, has no place, or lies across the others without a slice location."""
    by_position = any(header.position is not None for header in headers)
    placed = [h for h in headers if (h.position if by_position else h.location) is not None]
    slices = [h for h in placed if not h.localizer] or placed
    located = [h for h in slices if h.location is not None]
    if located and len(located) < len(slices):
        usual = {(h.shape, _rounded(h.axes)) for h in located}
        slices = [h for h in slices if h.location is not None or (h.shape, _rounded(h.axes)) in usual]
    return slices, len(headers) - len(slices)


def check_one_series(slices: Sequence[Header], name: str) -> None:
    """Refuse what is not one stack of grey slices."""
    if not slices:
        raise UnreadableSample(
            "missing_position",
            f"no file of {name} says where in the patient it lies (position or slice location)",
        )
    many = [header for header in slices if header.frames > 1 or header.photometric[:10] != "MONOCHROME"]
    if many:
        raise UnreadableSample(
            "unsupported_pixels",
            f"{many[0].path.name} has {many[0].frames} frames of {many[0].photometric}; expected one grey slice",
        )
    for what, found in (
        ("series", {header.series for header in slices}),
        ("sizes", {header.shape for header in slices}),
        ("directions", {_rounded(header.axes) for header in slices}),
        ("pixel sizes", {_rounded(header.spacing) for header in slices}),
    ):
        if len(found) > 1:
            raise UnreadableSample(
                "mixed_series", f"the {len(slices)} slices of {name} are of {len(found)} {what}; expected one"
            )


def _rounded(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(round(value, 3) + 0.0 for value in values)


def order_slices(slices: Sequence[Header], name: str) -> tuple[list[Header], float]:
    """Return the slices in the order of their places, and the distance from one to the next."""
    places = _places(slices)
    order = np.argsort(places, kind="stable")
    ordered = [slices[place] for place in order]
    if len(ordered) == 1:
        if not ordered[0].thickness or ordered[0].thickness <= 0:
            raise UnreadableSample("missing_spacing", f"the one slice of {name} does not say how thick it is")
        return ordered, ordered[0].thickness
    steps = np.diff(places[order])
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # of two middle ones the smaller: gaps are larger
    twice = np.flatnonzero(steps <= _SAME_PLACE * max(usual, 1e-6))
    if len(twice):
        one, other = ordered[twice[0]], ordered[twice[0] + 1]
        raise UnreadableSample(
            "duplicate_position",
            f"{len(twice) + 1} or more slices of {name} lie at one place, e.g. {one.path.name} and {other.path.name}",
        )
    gaps = np.flatnonzero(steps > _GAP * usual)
    if len(gaps):
        before, after = ordered[gaps[0]], ordered[gaps[0] + 1]
        raise UnreadableSample(
            "missing_slice",
            f"slices of {name} are {usual:g} mm apart, but {steps[gaps[0]]:g} mm between {before.path.name} and "
            f"{after.path.name}",
        )
    if (np.abs(steps - usual) > _UNEVEN * usual).any():
        raise UnreadableSample(
            "uneven_spacing",
            f"slices of {name} are from {steps.min():g} to {steps.max():g} mm apart; expected one distance",
        )
    return ordered, float(places[order][-1] - places[order][0]) / (len(ordered) - 1)


def _places(slices: Sequence[Header]) -> NDArray[np.float64]:
    """Return each slice's place along the stack in mm."""
    positions = [header.position for header in slices]
    axes = slices[0].axes
    if any(position is None for position in positions):
        return np.array([cast("float", header.location) for header in slices])
    found = np.array(positions, np.float64)
    if axes is not None:
        projected: NDArray[np.float64] = found @ np.cross(axes[:3], axes[3:])
        return projected
    if all(header.location is not None for header in slices):
        return np.array([cast("float", header.location) for header in slices])
    along: NDArray[np.float64] = found[:, int(np.argmax(np.ptp(found, axis=0)))]
    return along
