"""A fake abdominal CT in Hounsfield units: body, spine, one organ, and in half of the subjects a darker lesion in it.

Slices run from the feet to the head, rows toward the back, columns toward the patient's left: the organ, like a liver, is the
patient's right and so on the left of each slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shards.phantom.canvas import Field, Grid, ellipse, soft
from shards.phantom.subjects import Stream, generator

#: Pixel values of the label map; the lesion lies inside the organ.
ORGAN, LESION = 1, 2
#: Size of the whole stack in mm, (slice, row, column): an abdomen and its surroundings.
EXTENT_MM = (160.0, 340.0, 340.0)
ORIENTATION = "SPL"

_AIR, _FAT, _TISSUE, _BONE, _ORGAN = -1000.0, -100.0, 45.0, 350.0, 110.0
#: What the lesion takes from the organ at full contrast.
_DARKER = 70.0
_NOISE = 12.0


@dataclass(frozen=True)
class Abdomen:
    """What is true of a subject's abdomen.

    Attributes
    ----------
    seed, number
        Whose it is.
    lesion
        Whether there is one.
    centre, axes
        (x, y, z) place and half axes of the lesion, in drawing units (-1 to 1 over the stack); also set when there
        is none.
    strength
        How much darker than the usual it is, before any planted disparity.
    build
        (width, height) of this body relative to the standard one.
    organ_centre, organ_axes
        (x, y, z) of the organ.
    """

    seed: int
    number: int
    lesion: bool
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    strength: float
    build: tuple[float, float]
    organ_centre: tuple[float, float, float]
    organ_axes: tuple[float, float, float]


class AbdomenScan(NamedTuple):
    """A scan of an abdomen.

    Attributes
    ----------
    image
        ``[D, S, S]`` int16 Hounsfield units.
    mask
        ``[D, S, S]`` uint8: 0 outside, 1 organ, 2 lesion.
    """

    image: NDArray[np.int16]
    mask: NDArray[np.uint8]


def draw_abdomen(seed: int, number: int) -> Abdomen:
    """Draw what is true of a subject's abdomen, before any scan of it is made."""
    random = generator(seed, Stream.ABDOMEN, number)
    lesion = bool(random.random() < 0.5)
    build = (random.uniform(0.92, 1.08), random.uniform(0.92, 1.08))
    centre = (random.uniform(-0.38, -0.32), random.uniform(-0.14, -0.04), random.uniform(-0.1, 0.1))
    axes = (random.uniform(0.38, 0.44), random.uniform(0.36, 0.42), random.uniform(0.7, 0.85))
    radius = random.uniform(0.15, 0.20)
    # Somewhere in the inner half of the organ, so that all of the lesion lies inside.
    turn, rise = random.uniform(0, 2 * np.pi), random.uniform(-0.4, 0.4)
    reach = random.uniform(0.0, 0.42)
    place = (
        centre[0] + reach * axes[0] * np.cos(turn),
        centre[1] + reach * axes[1] * np.sin(turn),
        centre[2] + rise * axes[2],
    )
    return Abdomen(
        seed=seed,
        number=number,
        lesion=lesion,
        centre=(float(place[0]), float(place[1]), float(place[2])),
        axes=(
            radius * random.uniform(0.9, 1.1),
            radius * random.uniform(0.9, 1.1),
            random.uniform(0.3, 0.45),
        ),
        strength=random.uniform(0.8, 1.2),
        build=build,
        organ_centre=centre,
        organ_axes=axes,
    )


def scan_abdomen(abdomen: Abdomen, *, slices: int, side: int, contrast: float = 1.0) -> AbdomenScan:
    """Make the scan.

    Parameters
    ----------
    abdomen
        Whose.
    slices, side
        Of the stack; the body stays as large, so more of them are a finer scan.
    contrast
        Factor on how much darker the lesion is: 1 as it is, 0 invisible. Nothing else depends on it.
    """
    at = _grid(side, abdomen.build)
    heights = (np.arange(slices) + 0.5) / (slices / 2) - 1
    body = _body(at)
    drawn = [_slice(abdomen, at, body, number, height, contrast) for number, height in enumerate(heights)]
    image = np.stack([one.image for one in drawn])
    return AbdomenScan(image, np.stack([one.mask for one in drawn]))


def voxel_mm(slices: int, side: int) -> tuple[float, float, float]:
    """Return the (slice, row, column) size of a voxel in mm."""
    return EXTENT_MM[0] / slices, EXTENT_MM[1] / side, EXTENT_MM[2] / side


def _slice(
    abdomen: Abdomen, at: Grid, body: Field, number: int, height: float, contrast: float
) -> AbdomenScan:
    random = generator(abdomen.seed, Stream.ABDOMEN_VIEW, abdomen.number, view=number)
    organ = _ellipsoid(at, height, abdomen.organ_centre, abdomen.organ_axes)
    spot = _ellipsoid(at, height, abdomen.centre, abdomen.axes)
    inside = soft(organ, width=0.12)
    hounsfield = body + inside * (_ORGAN - body)
    if abdomen.lesion:
        hounsfield = hounsfield - contrast * abdomen.strength * _DARKER * soft(spot, width=0.3)
    grain = 6.0 * _texture(random, len(hounsfield)) * (body > _AIR / 2)
    noisy = hounsfield + grain + _NOISE * random.standard_normal(hounsfield.shape)
    mask = np.where(organ < 1, ORGAN, 0).astype(np.uint8)
    if abdomen.lesion:
        mask[(spot < 1) & (organ < 1)] = LESION
    return AbdomenScan(np.rint(np.clip(noisy, -1024, 3071)).astype(np.int16), mask)


def _grid(side: int, build: tuple[float, float]) -> Grid:
    line = (np.arange(side) + 0.5) / (side / 2) - 1
    return Grid(np.tile(line[None, :], (side, 1)) / build[0], np.tile(line[:, None], (1, side)) / build[1])


def _body(at: Grid) -> Field:
    """Return what every slice shows: air, fat beneath the skin, soft tissue, spine; ``[S, S]`` HU."""
    outer, inner = ellipse(at, (0.0, 0.0), (0.88, 0.66)), ellipse(at, (0.0, 0.0), (0.80, 0.58))
    spine = ellipse(at, (0.0, 0.34), (0.11, 0.11))
    body = _AIR + soft(outer, width=0.08) * (_FAT - _AIR)
    body = body + soft(inner, width=0.08) * (_TISSUE - body)
    filled: Field = body + soft(spine, width=0.3) * (_BONE - body)
    return filled


def _ellipsoid(
    at: Grid, height: float, centre: tuple[float, float, float], axes: tuple[float, float, float]
) -> Field:
    """Return the radius of each pixel of the slice at `height`: below 1 inside the ellipsoid."""
    flat = ellipse(at, centre[:2], axes[:2])
    radius: Field = np.sqrt(flat**2 + ((height - centre[2]) / axes[2]) ** 2)
    return radius


def _texture(random: np.random.Generator, side: int) -> Field:
    knots = random.standard_normal((8, 8)).astype(np.float32)
    return np.asarray(Image.fromarray(knots).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64)
