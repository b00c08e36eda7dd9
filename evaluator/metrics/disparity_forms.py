"""How the kinds of disparity are computed from groups' values, and the forms by which chance is taken off them.

A form (distance, second order, towards one, ...) makes a :class:`~evaluator.metrics.group_values.Disparity` of a formula: it
says how far a value departs from fairness, and the way back once chance is off. The catalogue is
:mod:`evaluator.metrics.disparity`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluator.metrics.group_values import Disparity, Formula, GroupValues, Need, Scope
from evaluator.metrics.metric import Array


def gap(values: Array) -> Array:
    """Return the largest minus the smallest of the groups (last axis)."""
    return np.asarray(values.max(axis=-1) - values.min(axis=-1))


def ratio(values: Array) -> Array:
    """Return the smallest over the largest of the groups (last axis)."""
    return np.asarray(values.min(axis=-1) / values.max(axis=-1))


def distance(
    kind: str,
    meaning: str,
    distance: Formula,
    *,
    metric: str | None = None,
    parts: tuple[str, ...] = (),
    scope: Scope = "any",
) -> Disparity:
    """Describe a kind whose result is itself a distance, 0 when fair."""
    return Disparity(
        kind,
        meaning,
        formula=distance,
        departure=lambda g: distance(g) ** 2,
        restore=lambda d, g: np.sqrt(d),
        metric=metric,
        parts=parts,
        scope="parts" if parts else scope,
    )


def towards_one(
    kind: str, meaning: str, formula: Formula, *, metric: str | None = None, parts: tuple[str, ...] = ()
) -> Disparity:
    """Describe a kind that is 1 when fair and below otherwise."""
    return Disparity(
        kind,
        meaning,
        formula=formula,
        departure=lambda g: (1.0 - formula(g)) ** 2,
        restore=lambda d, g: 1.0 - np.sqrt(d),
        fair_value=1.0,
        metric=metric,
        parts=parts,
        scope="parts" if parts else "any",
    )


def equity_scaled(kind: str, meaning: str, spread: Formula, *, centre: Formula) -> Disparity:
    """Describe centre / (1 + spread)."""
    return Disparity(
        f"es:{kind}",
        meaning,
        formula=lambda g: centre(g) / (1.0 + spread(g)),
        # A centre of 0 hides any spread, so nothing can be said about it.
        departure=lambda g: np.where(centre(g) > 0.0, spread(g), np.nan) ** 2,
        restore=lambda d, g: centre(g) / (1.0 + np.sqrt(d)),
        fair_value=None,
        scope="scores",
    )


def second_order(
    kind: str,
    meaning: str,
    formula: Formula,
    *,
    needs: tuple[Need, ...] = (),
    metric: str | None = None,
    parts: tuple[str, ...] = (),
) -> Disparity:
    """Describe a kind that is a squared distance already (a variance)."""
    return Disparity(
        kind,
        meaning,
        formula=formula,
        departure=formula,
        restore=lambda d, g: d,
        metric=metric,
        parts=parts,
        scope="parts" if parts else "any",
        needs=needs,
    )


def worst(meaning: str, pick: Callable[[Array], Array], sign: float) -> Disparity:
    """Describe the worst group's value; a worst group that beats the overall value departs by 0."""
    return Disparity(
        "worst",
        meaning,
        formula=lambda g: pick(g.values[0]),
        departure=lambda g: np.maximum(0.0, sign * (g.overall[0] - pick(g.values[0]))) ** 2,
        restore=lambda d, g: g.overall[0] - sign * np.sqrt(d),
        fair_value=None,
    )


def overall(g: GroupValues) -> Array:
    """Return the value over all samples."""
    return np.asarray(g.overall[0])


def group_mean(g: GroupValues) -> Array:
    """Return the mean of the groups' values."""
    return np.asarray(g.values[0].mean(axis=-1))


def std(g: GroupValues) -> Array:
    """Return the standard deviation of the groups' values, divided by G."""
    return np.asarray(g.values[0].std(axis=-1))


def sample_std(g: GroupValues) -> Array:
    """Return the standard deviation of the groups' values, divided by G - 1."""
    return np.asarray(g.values[0].std(axis=-1, ddof=1))


def variance(g: GroupValues) -> Array:
    """Return the variance of the groups' values, divided by G - 1."""
    return np.asarray(g.values[0].var(axis=-1, ddof=1))


def corrected_variance(g: GroupValues) -> Array:
    """Return the variance between groups less the mean squared error of their values (Lum, Zhang and Bower 2022)."""
    noise = np.nan if g.squared_errors is None else g.squared_errors[0].mean(axis=-1)
    return np.asarray(variance(g) - noise)


def from_overall(g: GroupValues) -> Array:
    """Return each group's distance from the value over all samples."""
    return np.asarray(np.abs(g.values[0] - g.overall[0][..., None]))


def between_entropy(g: GroupValues) -> Array:
    """Generalised entropy with alpha 2 of samples that each have their group's mean benefit."""
    sizes = np.ones_like(g.values[0]) if g.sizes is None else g.sizes
    share = sizes / sizes.sum(axis=-1, keepdims=True)
    mean = (share * g.values[0]).sum(axis=-1, keepdims=True)
    return np.asarray(0.5 * (share * ((g.values[0] / mean) ** 2 - 1.0)).sum(axis=-1))


def two_groups(formula: Formula) -> Formula:
    """Leave more than two groups undefined."""
    return lambda g: formula(g) if g.values.shape[-1] == 2 else np.full(g.values.shape[1:-1], np.nan)


def mean_gap(g: GroupValues) -> Array:
    """Return the mean over the parts of the gap of each."""
    return np.asarray(gap(g.values).mean(axis=0))


def odds_ratio(g: GroupValues) -> Array:
    """Return the smaller of the ratios of sensitivities and of false positive rates."""
    return np.minimum(ratio(g.values[0]), ratio(1.0 - g.values[1]))
