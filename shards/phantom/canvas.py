"""Drawing on arrays: coordinates, soft shapes, textures. Everything is a pure function of its arguments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Side of every phantom image in pixels.
SIDE = 128

Field = NDArray[np.float64]


class Grid(NamedTuple):
    """Where each pixel lies in the drawing's own units (-1 to 1 over the image, x to the right, y down).

    Attributes
    ----------
    x, y
        ``[SIDE, SIDE]``.
    """

    x: Field
    y: Field


def grid(*, shift: tuple[float, float] = (0.0, 0.0), turn: float = 0.0, scale: float = 1.0) -> Grid:
    """Return the coordinates of all pixel centres, seen by a camera that was moved.

    Parameters
    ----------
    shift
        (x, y) displacement of the drawing in its own units.
    turn
        Rotation of the drawing in radians.
    scale
        Magnification of the drawing.
    """
    line = (np.arange(SIDE) + 0.5) / (SIDE / 2) - 1
    x, y = line[None, :] - shift[0], line[:, None] - shift[1]
    cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
    return Grid(cosine * x + sine * y, cosine * y - sine * x)


def ellipse(at: Grid, centre: tuple[float, float], axes: tuple[float, float], *, turn: float = 0.0) -> Field:
    """Return the elliptic radius of each pixel: below 1 inside, 1 on the border.

    Parameters
    ----------
    at
        The coordinates.
    centre, axes
        (x, y) centre and half axes in the drawing's units.
    turn
        Rotation in radians.
    """
    x, y = at.x - centre[0], at.y - centre[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    along, across = (cosine * x + sine * y) / axes[0], (cosine * y - sine * x) / axes[1]
    radius: Field = np.sqrt(along * along + across * across)
    return radius


def soft(radius: Field, *, border: float = 1.0, width: float = 0.06) -> Field:
    """Return 1 inside, 0 outside and a smooth step of the given width where `radius` crosses `border`."""
    step = np.clip((border - radius) / width + 0.5, 0, 1)
    smooth: Field = step * step * (3 - 2 * step)
    return smooth


def texture(random: np.random.Generator, cells: int) -> Field:
    """Return a smooth random field of unit variance at its knots, made of `cells` x `cells` bumps.

    Parameters
    ----------
    random
        Source of the numbers.
    cells
        Bumps along a side; fewer are larger.
    """
    knots = random.standard_normal((cells, cells)).astype(np.float32)
    bumps = Image.fromarray(knots).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(bumps, dtype=np.float64)


def pixels(intensity: Field) -> NDArray[np.uint8]:
    """Round intensities in [0, 1] to 8 bits; beyond are clipped."""
    return np.rint(np.clip(intensity, 0, 1) * 255).astype(np.uint8)
