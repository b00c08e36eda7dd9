"""The pictures ``tiny-sam`` learns from: phantoms, and random shapes on random textures.

The shapes are there so that a box on an unknown picture still works passably; the phantoms so that it works
well there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.phantom.canvas import SIDE, Field, grid, pixels, soft, texture
from shards.phantom.chest import draw_chest, view_chest
from shards.phantom.fundus import CUP, RIM, draw_fundus, view_fundus
from shards.phantom.subjects import DATASET_SEEDS, Stream, generator

#: Structures with fewer pixels are not asked for.
_SMALLEST = 30
#: What padding that is zero after normalisation looks like before it: the model's mean colour.
_PADDING = np.array([124, 116, 104], dtype=np.uint8)
#: Shorter side of the most oblong pictures.
_SHORTEST = 96


class Scene(NamedTuple):
    """A picture and what can be asked for in it.

    Attributes
    ----------
    image
        ``[128, 128, 3]`` uint8 RGB.
    structures
        ``[K, 128, 128]`` bool with K >= 1, each of at least 30 pixels.
    boxable
        How many of them, from the first, a box can ask for. Behind them stands what shares its box with
        another (the rim of a disc).
    """

    image: NDArray[np.uint8]
    structures: NDArray[np.bool_]
    boxable: int


def draw_scene(seed: int, number: int) -> Scene:
    """Draw scene `number`: half of them optic discs, a sixth chests, a third random shapes.

    Parameters
    ----------
    seed
        Added to the seeds that no dataset may use, so that no subject is shared with one.
    number
        Which scene.
    """
    draw = (_fundus, _shapes, _fundus, _chest, _fundus, _shapes)[number % 6]
    image, structures = draw(seed + DATASET_SEEDS, number)
    large = structures.sum(axis=(1, 2)) >= _SMALLEST
    boxable = int(large[:-1].sum()) if draw is _fundus else int(large.sum())
    return Scene(image, structures[large], boxable)


def _fundus(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    contrast = float(generator(seed, Stream.TRAINING, number).uniform(0.3, 1.5))
    drawing = view_fundus(draw_fundus(seed, number), contrast=contrast)
    rim, cup = drawing.mask == RIM, drawing.mask == CUP
    return drawing.image, np.stack([rim | cup, cup, rim])


def _chest(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    contrast = float(generator(seed, Stream.TRAINING, number).uniform(0.7, 1.8))
    drawing = view_chest(draw_chest(seed, number), number % 2, contrast=contrast)
    half = np.arange(SIDE) < SIDE // 2
    lungs = np.stack([drawing.lungs & half, drawing.lungs & ~half, drawing.lungs, drawing.opacity])
    return np.repeat(drawing.image[..., None], 3, axis=2), lungs


def _shapes(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    random = generator(seed, Stream.TRAINING, number)
    picture = _surface(random)
    outlines: list[NDArray[np.bool_]] = []
    for _ in range(int(random.integers(1, 4))):
        radius = _outline(random)
        inside = radius < 1
        share = soft(radius, width=random.uniform(0.05, 0.5))[..., None] * random.uniform(0.4, 1.0)
        picture = picture + (_surface(random) - picture) * share
        outlines = [outline & ~inside for outline in outlines]
        outlines.append(inside)
    image = pixels(picture + random.uniform(0.0, 0.06) * random.standard_normal(picture.shape))
    frame = _frame(random)
    image[~frame] = _PADDING
    return image, np.stack(outlines) & frame


def _frame(random: np.random.Generator) -> NDArray[np.bool_]:
    """Return which pixels are not padding: all, or as in a wide or a high picture; ``[128, 128]``."""
    inside = np.ones((SIDE, SIDE), dtype=bool)
    shape, kept = random.integers(3), int(random.integers(_SHORTEST, SIDE))
    if shape == 1:
        inside[kept:] = False
    elif shape == 2:
        inside[:, kept:] = False
    return inside


def _surface(random: np.random.Generator) -> Field:
    """Return a colour with bumps and shading, ``[128, 128, 3]``."""
    colour = random.uniform(0.1, 0.95, 3)
    bumps = random.uniform(0.0, 0.15) * texture(random, int(random.integers(3, 24)))
    surface: Field = colour * (1 + bumps[..., None])
    return surface


def _outline(random: np.random.Generator) -> Field:
    """Return the relative radius around a random place: below 1 inside a wobbly ellipse."""
    centre = random.uniform(-0.45, 0.45, 2)
    at = grid(shift=(float(centre[0]), float(centre[1])), turn=random.uniform(0, np.pi))
    size, flatness = random.uniform(0.2, 0.7), random.uniform(0.6, 1.0)
    angle = np.arctan2(at.y / flatness, at.x)
    wobble = np.ones_like(angle)
    for waves in (2, 3, 5):
        wobble = wobble + random.uniform(0, 0.14) * np.cos(waves * angle + random.uniform(0, 2 * np.pi))
    radius: Field = np.sqrt(at.x**2 + (at.y / flatness) ** 2) / (size * wobble)
    return radius
