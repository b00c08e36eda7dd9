"""Resize a gray image by area, as OpenCV's ``INTER_AREA`` does it, with numpy alone.

Why it is here: a publisher's pixels went through that filter, and no filter of Pillow or torch is it. Pillow's ``BOX`` and
torch's ``area`` give a source pixel to a target pixel whole or not at all; OpenCV gives it by the fraction that lies inside.

Guarantee: the arithmetic is OpenCV's own, step by step and in the same precision (single-precision weights and sums for the
general case, integers where a factor is whole and where an image grows, rounding of each kind as there), so that the result
does not depend on the library being installed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Fractions of a source pixel below this count as nothing.
_SLIVER = 1e-3
#: Fixed-point one of the weights with which an image grows.
_ONE = 2048


def resize_area(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize a gray image.

    Parameters
    ----------
    image
        ``[H, W]`` uint8.
    height, width
        Of the result, at least 1.

    Returns
    -------
    numpy.ndarray
        ``[height, width]`` uint8.
    """
    down, across = _factor(image.shape[0], height), _factor(image.shape[1], width)
    if image.shape == (height, width):
        return image
    if down < 1 or across < 1:
        return _grown(image, height, width)
    if down == round(down) and across == round(across):
        return _block_means(image, height, width)
    rows, by_row = _shares(image.shape[0], height, down)
    columns, by_column = _shares(image.shape[1], width, across)
    narrow = _weighted(image.T.astype(np.float32), columns, by_column)
    return _rounded(_weighted(narrow.T, rows, by_row))


def _factor(source: int, target: int) -> float:
    # OpenCV divides twice, and the last bit can decide whether a factor is whole.
    return 1.0 / (target / source)


def _block_means(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    down, across = image.shape[0] // height, image.shape[1] // width
    sums = image.reshape(height, down, width, across).sum(axis=(1, 3), dtype=np.int32)
    if (down, across) == (2, 2):
        return np.asarray((sums + 2) >> 2, dtype=np.uint8)  # halves up here, to even elsewhere
    return _rounded(sums.astype(np.float32) * np.float32(1.0 / (down * across)))


@lru_cache(maxsize=64)
def _shares(source: int, target: int, factor: float) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the source pixels ``[target, taps]`` of every target pixel and their weights (0 fills up)."""
    taps: list[list[tuple[int, float]]] = []
    for place in range(target):
        start = place * factor
        end = start + factor
        cell = min(factor, source - start)
        last = min(int(np.floor(end)), source - 1)
        first = min(int(np.ceil(start)), last)
        own = [(first - 1, (first - start) / cell)] if first - start > _SLIVER else []
        own += [(pixel, 1.0 / cell) for pixel in range(first, last)]
        if end - last > _SLIVER:
            own.append((last, min(end - last, 1.0, cell) / cell))
        taps.append(own)
    longest = max(len(own) for own in taps)
    filled = [own + [(0, 0.0)] * (longest - len(own)) for own in taps]
    pixels = np.array([[pixel for pixel, _ in own] for own in filled], dtype=np.intp)
    weights = np.array([[weight for _, weight in own] for own in filled], dtype=np.float32)
    return pixels, weights


def _weighted(
    image: NDArray[np.float32], pixels: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sum rows of ``[source, N]`` to ``[target, N]``, one tap after the other as OpenCV adds them."""
    total = image[pixels[:, 0]] * weights[:, 0, None]
    for tap in range(1, pixels.shape[1]):
        total += image[pixels[:, tap]] * weights[:, tap, None]
    return total


def _rounded(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)  # halves to even


def _grown(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Interpolate between two pixels where the target pixel lies over both: what OpenCV does when a side grows."""
    rows, below, by_row = _neighbours(image.shape[0], height)
    columns, right, by_column = _neighbours(image.shape[1], width)
    whole = image.astype(np.int32)
    wide = whole[:, columns] * by_column[0] + whole[:, right] * by_column[1]
    upper, lower = wide[rows] >> 4, wide[below] >> 4
    blended = ((upper * by_row[0][:, None]) >> 16) + ((lower * by_row[1][:, None]) >> 16)
    return ((blended + 2) >> 2).astype(np.uint8)


def _neighbours(
    source: int, target: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Return the two source pixels of every target pixel and their fixed-point weights."""
    inverse = target / source
    factor = 1.0 / inverse
    place = np.arange(target)
    first = np.floor(place * factor).astype(np.intp)
    share = ((place + 1) - (first + 1) * inverse).astype(np.float32)
    share = np.where(share <= 0, np.float32(0), share - np.floor(share)).astype(np.float32)
    beyond = first >= source - 1
    share[beyond] = 0
    first[beyond] = source - 1
    second = np.minimum(first + 1, source - 1)
    weights = (np.rint((1 - share) * np.float32(_ONE)), np.rint(share * np.float32(_ONE)))
    return first, second, (weights[0].astype(np.int32), weights[1].astype(np.int32))
