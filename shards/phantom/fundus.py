"""A fake colour photograph of the optic disc: retina, vessels, rim and cup, with the exact outline of both.

The label follows from the outline: glaucoma is a cup of more than :data:`GLAUCOMA_RATIO` of the disc's
diameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shards.phantom.canvas import SIDE, Field, ellipse, grid, pixels, soft, texture
from shards.phantom.subjects import Stream, generator

GLAUCOMA_RATIO = 0.56
#: Pixel values of the label map.
RIM, CUP = 1, 2
#: Side of a pixel in mm: a disc is about 1.9 mm wide.
PIXEL_MM = 0.033

_NORMAL_RATIOS = (0.30, 0.545)
_GLAUCOMA_RATIOS = (0.575, 0.80)
_RETINA = np.array([0.62, 0.30, 0.14])
_DISC = np.array([0.86, 0.56, 0.32])
#: What the cup adds to the colour of the disc at full contrast.
_PALLOR = np.array([0.10, 0.17, 0.16])


@dataclass(frozen=True)
class Fundus:
    """What is true of a subject's optic disc.

    Attributes
    ----------
    seed, number
        Whose it is.
    ratio
        Cup diameter over disc diameter, 0.30 to 0.80.
    centre, axes, turn
        Of the disc: place, half axes (drawing units) and rotation (radians).
    cup_centre
        Place of the cup's centre.
    pallor
        How much paler than the rim the cup is, relative to the usual, before any planted disparity.
    """

    seed: int
    number: int
    ratio: float
    centre: tuple[float, float]
    axes: tuple[float, float]
    turn: float
    cup_centre: tuple[float, float]
    pallor: float

    @property
    def label(self) -> str:
        """``"glaucoma"`` or ``"normal"``."""
        return "glaucoma" if self.ratio > GLAUCOMA_RATIO else "normal"


class FundusDrawing(NamedTuple):
    """A photograph of an optic disc.

    Attributes
    ----------
    image
        ``[128, 128, 3]`` uint8 RGB.
    mask
        ``[128, 128]`` uint8: 0 outside, 1 rim, 2 cup.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def draw_fundus(seed: int, number: int) -> Fundus:
    """Draw what is true of a subject's optic disc, before any picture of it is taken."""
    random = generator(seed, Stream.FUNDUS, number)
    ratio = random.uniform(*(_GLAUCOMA_RATIOS if random.random() < 0.5 else _NORMAL_RATIOS))
    radius = random.uniform(0.36, 0.50)
    axes = (radius * random.uniform(0.90, 1.0), radius * random.uniform(1.0, 1.10))
    centre = (random.uniform(-0.18, 0.18), random.uniform(-0.18, 0.18))
    slack = 0.45 * (1 - ratio) * radius
    return Fundus(
        seed=seed,
        number=number,
        ratio=ratio,
        centre=centre,
        axes=axes,
        turn=random.uniform(-0.3, 0.3),
        cup_centre=(centre[0] + random.uniform(-slack, slack), centre[1] + random.uniform(-slack, slack)),
        pallor=random.uniform(0.55, 1.0),
    )


def view_fundus(fundus: Fundus, *, contrast: float = 1.0) -> FundusDrawing:
    """Take the picture.

    Parameters
    ----------
    fundus
        Whose.
    contrast
        Factor on the pallor of the cup: 1 as it is, 0 no visible edge. Nothing else depends on it.
    """
    random = generator(fundus.seed, Stream.FUNDUS_VIEW, fundus.number)
    at = grid()
    disc = ellipse(at, fundus.centre, fundus.axes, turn=fundus.turn)
    cup_axes = (fundus.axes[0] * fundus.ratio, fundus.axes[1] * fundus.ratio)
    cup = ellipse(at, fundus.cup_centre, cup_axes, turn=fundus.turn)

    shade = 1 + 0.10 * texture(random, 5) + 0.05 * texture(random, 14)
    colour = _RETINA * shade[..., None]
    colour = (
        colour
        + (_DISC * (1 + 0.04 * texture(random, 12))[..., None] - colour) * soft(disc, width=0.12)[..., None]
    )
    colour = colour + contrast * fundus.pallor * _PALLOR * soft(cup, width=0.25)[..., None]
    colour = colour * (1 - 0.45 * _vessels(random, fundus.centre)[..., None] * np.array([0.6, 1.0, 0.9]))
    exposed = colour * random.uniform(0.92, 1.08) + 0.03 * random.standard_normal(colour.shape)

    mask = np.where(disc < 1, RIM, 0).astype(np.uint8)
    mask[(cup < 1) & (disc < 1)] = CUP
    return FundusDrawing(pixels(exposed), mask)


def _vessels(random: np.random.Generator, centre: tuple[float, float]) -> Field:
    """Draw branching dark lines that leave the disc upwards and downwards; ``[SIDE, SIDE]`` in [0, 1]."""
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE))
    pen = ImageDraw.Draw(canvas)
    start = (np.asarray(centre) + 1) * SIDE
    for trunk in range(6):
        heading = (np.pi / 2 if trunk % 2 else -np.pi / 2) + random.uniform(-0.8, 0.8)
        bends = np.cumsum(random.uniform(-0.22, 0.22, 14))
        steps = np.stack([np.cos(heading + bends), np.sin(heading + bends)], axis=1)
        path = start + np.vstack([np.zeros(2), np.cumsum(14 * steps, axis=0)])
        pen.line([(float(x), float(y)) for x, y in path], fill=255, width=int(random.integers(3, 7)))
    small = canvas.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255
