"""A fake chest X-ray: soft tissue, ribs, lungs, heart, and in half of the subjects an opacity in one lung.

Left and right are the patient's, as on a real film: the patient's left lung is on the right of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.phantom.canvas import Field, Grid, ellipse, grid, pixels, soft, texture
from shards.phantom.subjects import Stream, generator

FINDINGS = ("none", "opacity left", "opacity right")
_FINDING_SHARES = (0.5, 0.25, 0.25)

#: Where the lungs lie in the picture: (centre, half axes), keyed by the patient's side.
_LUNGS = {"left": ((0.41, -0.02), (0.27, 0.60)), "right": ((-0.41, -0.02), (0.29, 0.62))}
_HEART = ((0.13, 0.32), (0.33, 0.30))


@dataclass(frozen=True)
class Chest:
    """What is true of a subject's chest; every view shows the same.

    Attributes
    ----------
    seed, number
        Whose chest it is.
    finding
        One of :data:`FINDINGS`.
    centre, axes, turn
        Place, half axes and rotation (radians) of the opacity, in drawing units; also set when there is none.
    strength
        Brightness that the opacity adds at its peak, before any planted disparity.
    build
        (width, height) of this chest relative to the standard one.
    rib_phase
        Where the ribs begin, in radians.
    """

    seed: int
    number: int
    finding: str
    centre: tuple[float, float]
    axes: tuple[float, float]
    turn: float
    strength: float
    build: tuple[float, float]
    rib_phase: float


class ChestDrawing(NamedTuple):
    """A view of a chest.

    Attributes
    ----------
    image
        ``[128, 128]`` uint8.
    lungs, opacity
        ``[128, 128]`` bool: where they are in this view.
    """

    image: NDArray[np.uint8]
    lungs: NDArray[np.bool_]
    opacity: NDArray[np.bool_]


def draw_chest(seed: int, number: int) -> Chest:
    """Draw what is true of a subject's chest, before any picture of it is taken."""
    random = generator(seed, Stream.CHEST, number)
    finding = FINDINGS[int(np.searchsorted(np.cumsum(_FINDING_SHARES)[:-1], random.random(), side="right"))]
    side = finding.removeprefix("opacity ") if finding != "none" else "left"
    centre, axes = _LUNGS[side]
    angle, distance = random.uniform(0, 2 * np.pi), 0.55 * np.sqrt(random.random())
    return Chest(
        seed=seed,
        number=number,
        finding=finding,
        centre=(
            centre[0] + distance * axes[0] * np.cos(angle),
            centre[1] + distance * axes[1] * np.sin(angle),
        ),
        axes=(random.uniform(0.14, 0.21), random.uniform(0.14, 0.21)),
        turn=random.uniform(0, np.pi),
        strength=random.uniform(0.17, 0.34),
        build=(random.uniform(0.92, 1.08), random.uniform(0.92, 1.08)),
        rib_phase=random.uniform(0, 2 * np.pi),
    )


def view_chest(chest: Chest, view: int, *, contrast: float = 1.0) -> ChestDrawing:
    """Take a picture.

    Parameters
    ----------
    chest
        Whose.
    view
        0 is frontal; each further one is turned, moved and exposed a little differently.
    contrast
        Factor on the brightness of the opacity: 1 as it is, 0 invisible. Nothing else depends on it.
    """
    own = generator(chest.seed, Stream.CHEST_VIEW, chest.number, view=view)
    at = _camera(chest, own, view)
    lung = {side: ellipse(at, *place) for side, place in _LUNGS.items()}
    heart = ellipse(at, *_HEART, turn=0.5)
    air = np.maximum(soft(lung["left"], width=0.12), soft(lung["right"], width=0.12)) * (
        1 - 0.85 * soft(heart, width=0.15)
    )
    spot = ellipse(at, chest.centre, chest.axes, turn=chest.turn)
    sign = np.exp(-0.5 * (1.6 * spot) ** 2) * float(chest.finding != "none")

    tissue = _tissue(at, chest, air, heart)
    shared = texture(generator(chest.seed, Stream.CHEST, chest.number, view=1), 14)
    clutter = 0.035 * shared + 0.030 * texture(own, 16)
    bright = tissue + clutter + contrast * chest.strength * sign * air
    exposed = own.uniform(0.92, 1.08) * bright + own.uniform(-0.03, 0.03)
    noisy = exposed + 0.03 * own.standard_normal(exposed.shape)
    inside = air > 0.5
    return ChestDrawing(pixels(noisy), inside, inside & (spot < 1) & (chest.finding != "none"))


def _camera(chest: Chest, random: np.random.Generator, view: int) -> Grid:
    spread = 1.0 if view == 0 else 1.8
    shift = random.uniform(-0.04, 0.04, 2) * spread
    at = grid(
        shift=(float(shift[0]), float(shift[1])),
        turn=random.uniform(-0.04, 0.04) * spread,
        scale=random.uniform(0.97, 1.03),
    )
    return Grid(at.x / chest.build[0], at.y / chest.build[1])


def _tissue(at: Grid, chest: Chest, air: Field, heart: Field) -> Field:
    torso = soft(ellipse(at, (0.0, 0.1), (0.98, 1.25)), width=0.1)
    ribs = np.clip(1.6 * np.sin(19 * (at.y + 0.35 * at.x**2) + chest.rib_phase) - 0.4, 0, 1) * soft(
        ellipse(at, (0.0, 0.0), (0.85, 0.8)), width=0.15
    )
    spine = np.exp(-0.5 * (at.x / 0.07) ** 2)
    return 0.05 + torso * (0.50 - 0.28 * air + 0.12 * spine + 0.10 * soft(heart, width=0.2) + 0.075 * ribs)
