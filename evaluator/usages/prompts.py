"""Spatial prompts derived from a true mask, at the mask's own resolution.

Convention (segment-anything's): a point is the integer pixel index (x, y), x to the right; a box is (x0, y0,
x1, y1) with the lower end inclusive and the upper end exclusive, so that x1 - x0 is its width in pixels. All
points are positive.

Guarantee: random prompts come from a counter-based generator keyed by (seed, sample, structure, prompt) and
nothing else; neither order, batch, worker nor the other prompts matter. The raw 64-bit stream is used because
its values are fixed across NumPy versions, while NumPy's distributions may change.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from evaluator.models.interfaces import MaskPrompt
from shards.errors import unknown_name
from shards.files import canonical_json

PROMPTS = ("center", "center:bbox", "rand", "rands", "bbox")
RANDS_POINTS = 5


def make_prompt(
    name: str, mask: NDArray[np.bool_], *, seed: int, sample_id: str, structure: str
) -> MaskPrompt | None:
    """Derive one prompt from a structure's true mask.

    Parameters
    ----------
    name
        ``"center"``: the foreground pixel deepest inside (see :func:`deepest_pixel`); ``"center:bbox"``:
        centre of the tight box, which may lie outside the structure (kept to compare with published numbers);
        ``"rand"``: one foreground pixel; ``"rands"``: five of them, without replacement where there are five;
        ``"bbox"``: the tight box.
    mask
        ``[H, W]`` bool.
    seed, sample_id, structure
        Key of the random prompts.

    Returns
    -------
    MaskPrompt or None
        In pixels of the mask; None when the mask is empty, because no prompt exists then.

    Raises
    ------
    UserError
        If there is no such prompt.
    """
    if name not in PROMPTS:
        raise unknown_name("prompt", name, PROMPTS)
    if not mask.any():
        return None
    if name == "bbox":
        return MaskPrompt(box=tight_box(mask))
    if name == "center":
        return MaskPrompt(points=(deepest_pixel(mask),))
    if name == "center:bbox":
        x0, y0, x1, y1 = tight_box(mask)
        return MaskPrompt(points=((float((x0 + x1 - 1) // 2), float((y0 + y1 - 1) // 2)),))
    stream = _stream(seed, sample_id, structure, name)
    return MaskPrompt(points=_random_pixels(mask, 1 if name == "rand" else RANDS_POINTS, stream))


def tight_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1) of a non-empty mask, upper end exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def deepest_pixel(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return (x, y) of the foreground pixel with the largest Euclidean distance to the background.

    What lies outside the image counts as background. Ties go to the smallest row-major index.
    """
    from scipy.ndimage import distance_transform_edt

    x0, y0, x1, y1 = (int(v) for v in tight_box(mask))
    depth = distance_transform_edt(np.pad(mask[y0:y1, x0:x1], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return float(x0 + x), float(y0 + y)


def _stream(seed: int, sample_id: str, structure: str, name: str) -> np.random.Philox:
    key = hashlib.sha256(canonical_json([seed, sample_id, structure, name]).encode()).digest()
    return np.random.Philox(key=int.from_bytes(key[:16], "little"))


def _random_pixels(
    mask: NDArray[np.bool_], count: int, stream: np.random.Philox
) -> tuple[tuple[float, float], ...]:
    """Draw foreground pixels, distinct if there are enough (the modulo's bias is below 2**-32)."""
    pixels = np.flatnonzero(mask)
    chosen: list[int] = []
    while len(chosen) < count:
        pixel = int(pixels[int(stream.random_raw()) % len(pixels)])
        if pixel not in chosen or len(pixels) < count:
            chosen.append(pixel)
    width = mask.shape[1]
    return tuple((float(p % width), float(p // width)) for p in chosen)
