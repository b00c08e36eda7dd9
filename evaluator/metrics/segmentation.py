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

Surfaces and distances are MONAI's: the surface of a mask is its pixels with a 4-neighbour outside (outside
the image counts as outside), distances run between pixel centres. Masks are cropped to their common bounding
box first, which changes nothing because all surface pixels lie inside it. MONAI is imported on first use (it
takes seconds).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Case = Literal["both", "false_positive_structure", "missed_structure", "true_negative"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskScores:
    """Point metrics of one mask.

    Attributes
    ----------
    dice, iou
        In [0, 1].
    hd95_px, hd95_mm
        95th percentile Hausdorff distance, in pixels and mm; None where undefined.
    nsd
        Normalised surface Dice at the tolerance, in [0, 1]; None where undefined.
    volume_true, volume_predicted
        Area in mm2, or in pixels when the spacing is unknown.
    case
        Which of the masks are empty, see the module's text.
    """

    dice: float
    iou: float
    hd95_px: float | None
    hd95_mm: float | None
    nsd: float | None
    volume_true: float
    volume_predicted: float
    case: Case


def score_mask(
    predicted: Mask, true: Mask, *, spacing_mm: tuple[float, float] | None, tolerance_mm: float = 1.0
) -> MaskScores:
    """Compare two masks.

    Parameters
    ----------
    predicted, true
        ``[H, W]`` bool, of one shape.
    spacing_mm
        (row, column) size of a pixel in mm; None when unknown.
    tolerance_mm
        Distance up to which a surface pixel counts as matched.

    Returns
    -------
    MaskScores
        Under the rule ``empty:ours``.

    Raises
    ------
    ValueError
        If the shapes differ or the masks are not boolean.
    """
    _check(predicted, true)
    inside, n_predicted, n_true = (int(np.count_nonzero(m)) for m in (predicted & true, predicted, true))
    unit = spacing_mm[0] * spacing_mm[1] if spacing_mm else 1.0
    case = _case(n_predicted, n_true)
    if case == "both":
        surfaces = _distances(predicted, true, spacing_mm)
        hd95_px, hd95_mm = _hd95(surfaces.pixels), _hd95(surfaces.mm)
        nsd = _nsd(surfaces.mm, tolerance_mm)
    else:
        exact = 0.0 if case == "true_negative" else None
        hd95_px, hd95_mm = exact, exact if spacing_mm else None
        nsd = 1.0 if case == "true_negative" and spacing_mm else None
    return MaskScores(
        dice=dice_score(inside, n_predicted, n_true),
        iou=iou_score(inside, n_predicted, n_true),
        hd95_px=hd95_px,
        hd95_mm=hd95_mm,
        nsd=nsd,
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


def hd95(predicted: Mask, true: Mask, *, spacing: tuple[float, float] = (1.0, 1.0)) -> float | None:
    """Return the 95th percentile Hausdorff distance of two masks, in the unit of `spacing`.

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
    _check(predicted, true)
    if not predicted.any() or not true.any():
        return None if predicted.any() or true.any() else 0.0
    return _hd95(_distances(predicted, true, spacing).mm)


def nsd(predicted: Mask, true: Mask, *, spacing: tuple[float, float], tolerance: float) -> float | None:
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
    _check(predicted, true)
    if not predicted.any() or not true.any():
        return None if predicted.any() or true.any() else 1.0
    return _nsd(_distances(predicted, true, spacing).mm, tolerance)


_Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class _Distances:
    """Distances predicted -> true and true -> predicted, in pixels and (None without spacing) in mm."""

    pixels: _Pair
    mm: _Pair | None


def _check(predicted: Mask, true: Mask) -> None:
    if predicted.shape != true.shape or predicted.ndim != 2:
        raise ValueError(f"masks must be [H, W] of one shape, got {predicted.shape} and {true.shape}")
    if predicted.dtype != np.bool_ or true.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {predicted.dtype} and {true.dtype}")


def _case(predicted: int, true: int) -> Case:
    if predicted and true:
        return "both"
    if predicted:
        return "false_positive_structure"
    return "missed_structure" if true else "true_negative"


def _distances(predicted: Mask, true: Mask, spacing_mm: tuple[float, float] | None) -> _Distances:
    """Measure the surfaces of two non-empty masks."""
    from monai.metrics.utils import get_mask_edges

    rows, columns = union_box(predicted | true)
    window = np.ix_(rows, columns)
    edges = get_mask_edges(predicted[window], true[window], crop=False)
    pixels = _directed(edges, (1.0, 1.0))
    return _Distances(pixels, _directed(edges, spacing_mm) if spacing_mm else None)


def union_box(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and column indices of a non-empty mask's tight box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.arange(rows[0], rows[-1] + 1), np.arange(columns[0], columns[-1] + 1)


def _directed(edges: tuple[Mask, Mask], spacing: tuple[float, float]) -> _Pair:
    from monai.metrics.utils import get_surface_distance

    predicted, true = edges
    there = get_surface_distance(predicted, true, spacing=spacing)
    back = get_surface_distance(true, predicted, spacing=spacing)
    return np.asarray(there, dtype=np.float64), np.asarray(back, dtype=np.float64)


def _hd95(pair: _Pair | None) -> float | None:
    return None if pair is None else float(max(np.percentile(directed, 95) for directed in pair))


def _nsd(pair: _Pair | None, tolerance: float) -> float | None:
    if pair is None:
        return None
    # MONAI's distances are float32: 2 pixels of 0.6 mm are 1.2000000477 and still within 1.2 mm.
    reach = tolerance * (1.0 + 1e-6)
    matched = sum(int(np.count_nonzero(directed <= reach)) for directed in pair)
    return matched / sum(len(directed) for directed in pair)
