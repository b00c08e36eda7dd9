"""Made-up masks whose mean scores are known: Dice of a beta distribution, the other scores as functions of it.

A sample's Dice is the beta quantile of a normal number that is correlated within the subject, so it is skewed as real Dice is
and has the same distribution whatever the correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.metrics.metric import Array
from evaluator.selftest.people import Drawn

if TYPE_CHECKING:
    import pandas as pd

_NODES = 200


@dataclass(frozen=True)
class MaskCell:
    """What masks of one cell are like.

    Attributes
    ----------
    dice
        Mean Dice, in (0, 1).
    precision
        a + b of the beta distribution: the larger, the more alike all samples are.
    volume_error
        Standard deviation of the relative error of the volume.
    """

    dice: float
    precision: float = 10.0
    volume_error: float = 0.2


@dataclass(frozen=True)
class Segmenter:
    """A model: how good its masks are in each cell."""

    cells: tuple[MaskCell, ...]

    def truth(self, mixture: Array, everyone: Array) -> dict[str, float]:
        """Return the true value of every metric of :func:`draw_masks`; `everyone` is not used."""
        from scipy.special import betaincinv

        node, weight = np.polynomial.legendre.leggauss(_NODES)
        found: dict[str, float] = {}
        for share, cell in zip(mixture.tolist(), self.cells, strict=True):
            # Nodes crowd at both ends, where the quantile is steep.
            place = np.sin(np.pi * (node + 1.0) / 4.0) ** 2
            mass = weight * np.pi / 4.0 * np.sin(np.pi * (node + 1.0) / 2.0)
            a, b = cell.dice * cell.precision, (1.0 - cell.dice) * cell.precision
            for name, score in _scores(np.asarray(betaincinv(a, b, place))).items():
                found[name] = found.get(name, 0.0) + share * float((mass * score).sum())
            off = cell.volume_error * np.sqrt(2.0 / np.pi)
            found["volume_error"] = found.get("volume_error", 0.0) + share * float(off)
        return found | {"volume_bias": 0.0, "dice_size_slope": 0.0, "dice|size-adjusted": found["dice"]}


def _scores(dice: Array) -> dict[str, Array]:
    return {
        "dice": dice,
        "iou": dice / (2.0 - dice),
        "hd95_px": 30.0 * (1.0 - dice),
        "nsd": dice**2,
    }


def draw_masks(
    rng: np.random.Generator,
    drawn: Drawn,
    models: Sequence[Segmenter],
    *,
    alike: float = 0.7,
    only: Sequence[str] = (),
) -> list[pd.DataFrame]:
    """Draw the segmentations of several models for the same images.

    Parameters
    ----------
    rng
        Source of chance.
    drawn
        Who is there.
    models
        How good they are.
    alike
        Correlation of the noise of two models on one image.
    only
        Columns of metrics to keep, without volumes; none keeps everything.
    """
    import pandas as pd
    from scipy.special import betaincinv, ndtr

    common, size = drawn.noise(rng), np.exp(0.5 * drawn.noise(rng))
    tables = []
    for model in models:
        noise = np.sqrt(alike) * common + np.sqrt(1.0 - alike) * drawn.noise(rng)
        mean, precision, error = (
            np.array([getattr(cell, name) for cell in model.cells])[drawn.image_cell]
            for name in ("dice", "precision", "volume_error")
        )
        scores: dict[str, Any] = _scores(
            np.asarray(betaincinv(mean * precision, (1.0 - mean) * precision, ndtr(noise)))
        )
        scores |= {"volume_true": size, "volume_predicted": size * (1.0 + error * drawn.noise(rng))}
        kept = {name: values for name, values in scores.items() if not only or name in only}
        tables.append(pd.DataFrame(drawn.columns() | {"structure": "cup", "prompt": "bbox"} | kept))
    return tables
