"""Made-up predictions of a disease whose every metric is known: by formula, or by quadrature of the same densities.

A sample's logit is normal, with a mean and a spread that depend on the cell and the class (a binormal model), so all areas,
rates and losses of any mixture of cells have values that no evaluation was needed for. A subject is sick or not as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluator.metrics.calibration import MASS_BINS
from evaluator.metrics.metric import Array
from evaluator.selftest.people import Drawn
from shards.card import Target

if TYPE_CHECKING:
    import pandas as pd

SICK = Target("disease", ("healthy", "sick"), "sick")
#: Where decisions are cut.
THRESHOLD = 0.5

_ECE_BINS = 15
#: Logits beyond this are not met.
_FAR = 30.0
#: Nodes of the quadrature in each bin.
_NODES = 48


@dataclass(frozen=True)
class Cell:
    """What scores of one cell are like.

    Attributes
    ----------
    prevalence
        Probability that a subject is sick.
    healthy, sick
        Mean logit of each class.
    spread
        Standard deviation of logits, of both classes.
    """

    prevalence: float
    healthy: float
    sick: float
    spread: float = 1.0


@dataclass(frozen=True)
class Classifier:
    """A model: how its scores are distributed in each cell."""

    cells: tuple[Cell, ...]

    def truth(self, mixture: Array, everyone: Array) -> dict[str, float]:
        """Return the true value of every default metric.

        Parameters
        ----------
        mixture
            ``[cells]`` share of each cell among the group's subjects.
        everyone
            The same of all subjects, whose scores make the bins of equal mass.
        """
        return _truth(_Densities.of(self.cells, mixture), _Densities.of(self.cells, everyone))


def draw_predictions(
    rng: np.random.Generator, drawn: Drawn, models: Sequence[Classifier], *, alike: float = 0.7
) -> list[pd.DataFrame]:
    """Draw the predictions of several models for the same images.

    Parameters
    ----------
    rng
        Source of chance.
    drawn
        Who is there.
    models
        Their prevalences must agree.
    alike
        Correlation of the noise of two models on one image.
    """
    import pandas as pd

    prevalence = np.array([cell.prevalence for cell in models[0].cells])
    sick = (rng.random(len(drawn.cell)) < prevalence[drawn.cell])[drawn.image_subject]
    common = drawn.noise(rng)
    tables = []
    for model in models:
        noise = np.sqrt(alike) * common + np.sqrt(1.0 - alike) * drawn.noise(rng)
        healthy, ill, spread = (
            np.array([getattr(cell, name) for cell in model.cells])[drawn.image_cell]
            for name in ("healthy", "sick", "spread")
        )
        logit = np.where(sick, ill, healthy) + spread * noise
        columns = drawn.columns() | {
            "target": SICK.name,
            "label": np.where(sick, "sick", "healthy"),
            "score": 1.0 / (1.0 + np.exp(-logit)),
        }
        tables.append(pd.DataFrame(columns))
    return tables


@dataclass(frozen=True)
class _Densities:
    """Mixtures of normal densities: means, spreads and masses ``[k]`` of the sick, and of the healthy."""

    sick: tuple[Array, Array, Array]
    healthy: tuple[Array, Array, Array]

    @classmethod
    def of(cls, cells: Sequence[Cell], mixture: Array) -> _Densities:
        prevalence, healthy, sick, spread = (
            np.array([getattr(cell, name) for cell in cells])
            for name in ("prevalence", "healthy", "sick", "spread")
        )
        return cls(
            (sick, spread, mixture * prevalence),
            (healthy, spread, mixture * (1.0 - prevalence)),
        )

    def above(self, limit: float) -> tuple[float, float]:
        """Return the mass of the sick, and of the healthy, with a logit above a limit."""
        from scipy.special import ndtr

        found = [
            float(np.sum(mass * ndtr((mean - limit) / spread)))
            for mean, spread, mass in (self.sick, self.healthy)
        ]
        return found[0], found[1]

    def density(self, logit: Array) -> tuple[Array, Array]:
        """Return the densities of the sick and the healthy at some logits."""
        found = [
            sum(
                m * np.exp(-0.5 * ((logit - mu) / sd) ** 2) / (sd * np.sqrt(2.0 * np.pi))
                for mu, sd, m in zip(*kind, strict=True)
            )
            for kind in (self.sick, self.healthy)
        ]
        return np.asarray(found[0]), np.asarray(found[1])


def _truth(mine: _Densities, everyone: _Densities) -> dict[str, float]:
    from scipy.special import ndtr

    (mu1, sd1, m1), (mu0, sd0, m0) = mine.sick, mine.healthy
    positive, negative = float(m1.sum()), float(m0.sum())
    apart = (mu1[:, None] - mu0) / np.sqrt(sd1[:, None] ** 2 + sd0**2)
    tp, fp = mine.above(float(np.log(THRESHOLD / (1.0 - THRESHOLD))))
    tn, fn = negative - fp, positive - tp
    return {
        "auc": float((m1[:, None] * m0 * ndtr(apart)).sum() / (positive * negative)),
        "accuracy": tp + tn,
        "balanced_accuracy": 0.5 * (tp / positive + tn / negative),
        "sensitivity": tp / positive,
        "specificity": tn / negative,
        "ppv": tp / (tp + fp),
        "npv": tn / (tn + fn),
        "f1": 2.0 * tp / (2.0 * tp + fp + fn),
        "selection_rate": tp + fp,
        **_integrals(mine),
        "ece": float(np.abs(_bin_errors(mine, _even_edges())[0]).sum()),
        "ce2": _squared_error(mine, everyone),
    }


def _integrals(mine: _Densities) -> dict[str, float]:
    """Integrate losses, and the precision over the scores of the sick."""
    logit, weight = _nodes(np.linspace(-_FAR, _FAR, 241))
    sick, healthy = mine.density(logit)
    p = 1.0 / (1.0 + np.exp(-logit))
    above = np.array([mine.above(limit) for limit in logit.tolist()])
    total = above.sum(axis=1)
    precision = np.where(total > 0.0, above[:, 0] / np.where(total > 0.0, total, 1.0), 0.0)
    return {
        "average_precision": float((weight * sick * precision).sum() / (weight * sick).sum()),
        "brier": float((weight * (sick * (1.0 - p) ** 2 + healthy * p**2)).sum()),
        "log_loss": float(
            (weight * (sick * np.logaddexp(0.0, -logit) + healthy * np.logaddexp(0.0, logit))).sum()
        ),
    }


def _nodes(edges: Array) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Legendre between every two edges."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges) / 2.0
    return (edges[:-1, None] + half[:, None] * (node + 1.0)).ravel(), (half[:, None] * weight).ravel()


def _even_edges() -> Array:
    inner = np.arange(1, _ECE_BINS) / _ECE_BINS
    return np.concatenate([[-_FAR], np.log(inner / (1.0 - inner)), [_FAR]])


def _bin_errors(mine: _Densities, edges: Array) -> tuple[Array, Array]:
    """Return for each bin the integral of probability less share of sick, and its mass."""
    fine = np.unique(np.concatenate([edges, np.linspace(-_FAR, _FAR, 121)]))
    logit, weight = _nodes(fine)
    sick, healthy = mine.density(logit)
    p = 1.0 / (1.0 + np.exp(-logit))
    place = np.searchsorted(edges, logit, side="right") - 1
    inside = place == np.arange(len(edges) - 1)[:, None]
    return inside @ (weight * (p * (sick + healthy) - sick)), inside @ (weight * (sick + healthy))


def _squared_error(mine: _Densities, everyone: _Densities) -> float:
    """Return ``sum of mass (mean p - share sick)^2`` over bins that hold equal masses of everyone."""
    from scipy.optimize import brentq

    def beyond(limit: float, share: float) -> float:
        return sum(everyone.above(limit)) - (1.0 - share)

    inner = [brentq(beyond, -_FAR, _FAR, args=(k / MASS_BINS,), xtol=1e-12) for k in range(1, MASS_BINS)]
    error, mass = _bin_errors(mine, np.array([-_FAR, *inner, _FAR]))
    return float((error**2 / mass).sum())
