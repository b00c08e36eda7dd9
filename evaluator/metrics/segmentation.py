"""How well a predicted mask matches the true one: overlap, surface distances, sizes.

Guarantee: nothing undefined becomes a number; what an empty mask means is one named rule, ``empty:ours``:

============ ============ ==== ========== ===========================
predicted    true         dice distances  case
============ ============ ==== ========== ===========================
non-empty    non-empty    as measured     ``"both"``
non-empty    empty        0    null       ``"false_positive_structure"``
empty        non-empty    0    null       ``"missed_structure"``
empty        empty        1    0          ``"true_negative"``
============ ============ ==== ========== ===========================

(IoU as dice; NSD 1 where distances are 0.) Distances in mm exist only where the pixel spacing is known.

Masks are images ``[H, W]`` or volumes ``[D, H, W]``; "pixel" means voxel there. Surfaces and distances are
MONAI's: the surface of a mask is its pixels with a neighbour outside (4 neighbours in an image, 6 in a volume;
outside the image counts as outside), distances run between pixel centres. Masks are cropped to their common
bounding box first, which changes nothing because all surface pixels lie inside it. MONAI is imported on first
use (it takes seconds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Case = Literal["both", "false_positive_structure", "missed_structure", "true_negative"]

Mask = NDArray[np.bool_]
#: Size of a pixel along each axis of a mask.
Spacing = tuple[float, ...]


@dataclass(frozen=True)
class MaskScores:
    """Point metrics of one mask.

    Attributes
    ----------
    dice, iou
        In [0, 1].
    hd95_px, hd95_mm
        95th percentile Hausdorff distance, in pixels and mm; None where undefined.
    assd_px, assd_mm
        Average symmetric surface distance, in pixels and mm; None where undefined.
    nsd
        Normalised surface Dice at the tolerance, in [0, 1]; None where undefined.
    volume_true, volume_predicted
        Area in mm2 (of a volume: mm3), or in pixels when the spacing is unknown.
    case
        Which of the masks are empty, see the module's text.
    """

    dice: float
    iou: float
    hd95_px: float | None
    hd95_mm: float | None
    assd_px: float | None
    assd_mm: float | None
    nsd: float | None
    volume_true: float
    volume_predicted: float
    case: Case


def score_mask(
    predicted: Mask, true: Mask, *, spacing_mm: Spacing | None, tolerance_mm: float = 1.0
) -> MaskScores:
    """Compare two masks.

    Parameters
    ----------
    predicted, true
        ``[H, W]`` or ``[D, H, W]`` bool, of one shape.
    spacing_mm
        Size of a pixel along each axis in mm: (row, column) or (slice, row, column); None when unknown.
    tolerance_mm
        Distance up to which a surface pixel counts as matched.

    Returns
    -------
    MaskScores
        Under the rule ``empty:ours``.

    Raises
    ------
    ValueError
        If the shapes differ, the masks are not boolean, or the spacing has another number of axes.
    """
    _check(predicted, true, spacing_mm)
    inside, n_predicted, n_true = (int(np.count_nonzero(m)) for m in (predicted & true, predicted, true))
    unit = math.prod(spacing_mm) if spacing_mm else 1.0
    case = _case(n_predicted, n_true)
    exact = case == "true_negative"
    surfaces = (
        _distances(predicted, true, spacing_mm) if case == "both" else _nowhere(spacing_mm, exact=exact)
    )
    return MaskScores(
        dice=dice_score(inside, n_predicted, n_true),
        iou=iou_score(inside, n_predicted, n_true),
        hd95_px=_hd95(surfaces.pixels),
        hd95_mm=_hd95(surfaces.mm),
        assd_px=_assd(surfaces.pixels),
        assd_mm=_assd(surfaces.mm),
        nsd=_nsd(surfaces.mm, tolerance_mm),
        volume_true=n_true * unit,
        volume_predicted=n_predicted * unit,
        case=case,
    )


def dice_score(inside: int, predicted: int, true: int) -> float:
    """Return 2 |P and T| / (|P| + |T|) from pixel counts; 1 when both masks are empty."""
    return 2 * inside / (predicted + true) if predicted + true else 1.0


def iou_score(inside: int, predicted: int, true: int) -> float:
    """Return |P and T| / |P or T| from pixel counts; 1 when both masks are empty."""
    union = predicted + true - inside
    return inside / union if union else 1.0


def hd95(predicted: Mask, true: Mask, *, spacing: Spacing | None = None) -> float | None:
    """Return the 95th percentile Hausdorff distance of two masks, in the unit of `spacing` (None: pixels).

    Returns
    -------
    float or None
        The larger of the two directed 95th percentiles (linear interpolation); 0 when both masks are empty,
        None when one is.

    Notes
    -----
    Definition of MONAI and of google-deepmind/surface-distance; some tools take one percentile over both
    directions together, which weighs the longer surface more.
    """
    return _hd95(_measured(predicted, true, spacing))


def assd(predicted: Mask, true: Mask, *, spacing: Spacing | None = None) -> float | None:
    """Return the average symmetric surface distance of two masks, in the unit of `spacing` (None: pixels).

    Returns
    -------
    float or None
        The mean distance of all surface pixels of both masks to the other surface; 0 when both masks are empty,
        None when one is.

    Notes
    -----
    Definition of MONAI (``symmetric=True``): every surface pixel counts once. Some tools take the mean of the
    two directed means instead, which weighs the pixels of the shorter surface more.
    """
    return _assd(_measured(predicted, true, spacing))


def nsd(predicted: Mask, true: Mask, *, spacing: Spacing, tolerance: float) -> float | None:
    """Return the normalised surface Dice of two masks at a tolerance in the unit of `spacing`.

    Returns
    -------
    float or None
        Share of surface pixels of both masks that lie within the tolerance of the other surface; 1 when both
        masks are empty, None when one is.

    Notes
    -----
    Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
    radiotherapy" (arXiv 1809.04430), with surface pixels counted instead of surface areas.
    """
    return _nsd(_measured(predicted, true, spacing), tolerance)


_Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class _Distances:
    """Distances predicted -> true and true -> predicted, in pixels and in mm; None where there are none."""

    pixels: _Pair | None
    mm: _Pair | None


def _check(predicted: Mask, true: Mask, spacing: Spacing | None) -> None:
    if predicted.shape != true.shape or predicted.ndim not in (2, 3):
        raise ValueError(
            f"masks must be [H, W] or [D, H, W] of one shape, got {predicted.shape} and {true.shape}"
        )
    if predicted.dtype != np.bool_ or true.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {predicted.dtype} and {true.dtype}")
    if spacing is not None and len(spacing) != predicted.ndim:
        raise ValueError(f"spacing must have {predicted.ndim} numbers, one per axis, got {spacing}")


def _case(predicted: int, true: int) -> Case:
    if predicted and true:
        return "both"
    if predicted:
        return "false_positive_structure"
    return "missed_structure" if true else "true_negative"


def _measured(predicted: Mask, true: Mask, spacing: Spacing | None) -> _Pair | None:
    """Return the distances of two masks in the unit of `spacing`, or in pixels."""
    _check(predicted, true, spacing)
    case = _case(int(np.count_nonzero(predicted)), int(np.count_nonzero(true)))
    if case != "both":
        return _nowhere(spacing, exact=case == "true_negative").pixels
    found = _distances(predicted, true, spacing)
    return found.mm if spacing else found.pixels


def _nowhere(spacing_mm: Spacing | None, *, exact: bool) -> _Distances:
    """Return what stands for distances when a mask is empty: none; or 0 between two empty masks."""
    zero = (np.zeros(1), np.zeros(1)) if exact else None
    return _Distances(zero, zero if spacing_mm else None)


def _distances(predicted: Mask, true: Mask, spacing_mm: Spacing | None) -> _Distances:
    """Measure the surfaces of two non-empty masks."""
    from monai.metrics.utils import get_mask_edges

    window = np.ix_(*union_box(predicted | true))
    edges = get_mask_edges(predicted[window], true[window], crop=False)
    pixels = _directed(edges, (1.0,) * predicted.ndim)
    return _Distances(pixels, _directed(edges, spacing_mm) if spacing_mm else None)


def union_box(mask: Mask) -> tuple[NDArray[np.intp], ...]:
    """Return the indices along each axis of a non-empty mask's tight box."""
    axes = range(mask.ndim)
    inside = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return tuple(np.arange(found[0], found[-1] + 1) for found in inside)


def _directed(edges: tuple[Mask, Mask], spacing: Spacing) -> _Pair:
    from monai.metrics.utils import get_surface_distance

    predicted, true = edges
    there = get_surface_distance(predicted, true, spacing=spacing)
    back = get_surface_distance(true, predicted, spacing=spacing)
    return np.asarray(there, dtype=np.float64), np.asarray(back, dtype=np.float64)


def _hd95(pair: _Pair | None) -> float | None:
    return None if pair is None else float(max(np.percentile(directed, 95) for directed in pair))


def _assd(pair: _Pair | None) -> float | None:
    return None if pair is None else float(np.concatenate(pair).mean())


def _nsd(pair: _Pair | None, tolerance: float) -> float | None:
    if pair is None:
        return None
    # MONAI's distances are float32: 2 pixels of 0.6 mm are 1.2000000477 and still within 1.2 mm.
    reach = tolerance * (1.0 + 1e-6)
    matched = sum(int(np.count_nonzero(directed <= reach)) for directed in pair)
    return matched / sum(len(directed) for directed in pair)
