"""Skin tone from a photograph: the individual typology angle (ITA) of the skin around a lesion.

An estimate, not a record: light, camera and tan move it, and in pictures with a bluish cast (b* below 0) it is above 90
degrees. Where it serves as an attribute, the card marks it as derived.

References: Chardon, Cretois and Hourseau, "Skin colour typology and suntanning pathways" (1991); Kinyanjui et al.,
"Estimating skin tone and effects on classification performance in dermatology datasets" (2019), from whom the trimming of
the means is; Kolkur et al., "Human skin detection using RGB, HSV and YCbCr color models" (2017) for pixels of skin.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.card import Attribute, GroupPreset

ITA = Attribute("ita", "number", "degrees", derived=True)
#: Types as two papers read them off the angle. Bins hold their upper edges.
TONE_PRESETS = (
    GroupPreset(
        "kinyanjui",
        "ita",
        "ita",
        ("VI", "V", "IV", "III", "II", "I"),
        bins=(10.0, 19.0, 28.0, 41.0, 55.0),
        closed="right",
        note="Fitzpatrick types by the thresholds of Kinyanjui et al. (2019); estimated from the image, not recorded.",
    ),
    GroupPreset(
        "fitzpatrick17k",
        "ita",
        "ita",
        ("VI", "V", "IV", "III", "II", "I"),
        bins=(-20.0, 5.0, 17.0, 28.0, 45.0),
        closed="right",
        note="Fitzpatrick types by the empirical thresholds of the authors of Fitzpatrick17k; estimated from the image, not "
        "recorded. An angle of exactly 45 counts as II, to them as I.",
    ),
)
#: Pixels that are looked at; more tell no more.
_MOST = 65_536
#: Share of the pixels that must be skin for its tone to be known.
_LEAST = 0.01
#: Linear sRGB to CIE XYZ (IEC 61966-2-1), divided by the white of D65.
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array([[0.95047], [1.0], [1.08883]])


def typology_angle(image: NDArray[Any], lesion: NDArray[np.bool_] | None) -> float | None:
    """Return the individual typology angle of the skin in a photograph.

    Parameters
    ----------
    image
        ``[H, W, 3]`` uint8 sRGB.
    lesion
        ``[H, W]`` pixels that are no healthy skin; None where nobody outlined them: then skin is told by its colour.

    Returns
    -------
    float or None
        ``atan2(mean(L*) - 50, mean(b*))`` in degrees, to a tenth: the larger, the lighter. The means are of values that
        are not 0 and lie within one standard deviation of the mean. None for a grey image, or where less than 1 % of it
        is skin.
    """
    if image.ndim != 3:
        return None
    step = max(1, math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _MOST)))
    seen = image[::step, ::step]
    skin = ~lesion[::step, ::step] if lesion is not None else skin_by_colour(seen)
    if np.count_nonzero(skin) < max(1.0, _LEAST * skin.size):
        return None
    lightness, yellowness = lab(seen[skin])[:, [0, 2]].T
    return round(math.degrees(math.atan2(_trimmed(lightness) - 50.0, _trimmed(yellowness))), 1)


def lab(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Return CIE L*a*b* (D65) ``[N, 3]`` of sRGB pixels ``[N, 3]`` uint8.

    Examples
    --------
    >>> lab(np.array([[255, 0, 0]], np.uint8)).round(1).tolist()
    [[53.2, 80.1, 67.2]]
    """
    srgb = pixels.astype(np.float64) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=1)


def skin_by_colour(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell skin by its colour in RGB and YCbCr (Kolkur et al. 2017): ``[H, W]`` bool of ``[H, W, 3]`` uint8."""
    red, green, blue = np.moveaxis(image.astype(np.float64), 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = 128.0 + 0.564 * (blue - y), 128.0 + 0.713 * (red - y)
    rgb = (red > 95) & (green > 40) & (blue > 20) & (red > green) & (red > blue) & (np.abs(red - green) > 15)
    lines = (
        (cr <= 1.5862 * cb + 20.0)
        & (cr >= 0.3448 * cb + 76.2069)
        & (cr >= -4.5652 * cb + 234.5652)
        & (cr <= -1.15 * cb + 301.75)
        & (cr <= -2.2857 * cb + 432.85)
    )
    found: NDArray[np.bool_] = rgb & (y > 80) & (cb > 85) & (cr > 135) & lines
    return found


def _trimmed(values: NDArray[np.float64]) -> float:
    """Return the mean of values that are not 0 and within one standard deviation of their mean."""
    there = values[values != 0]
    if not len(there):
        return 0.0
    near = there[np.abs(there - there.mean()) <= there.std()]
    return float(near.mean() if len(near) else there.mean())
