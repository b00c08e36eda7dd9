"""What a metric is, so that one mechanism computes its value, its replicates and its permutations.

The forms a value can have:

* :class:`Sums`: a smooth function of sums over rows. A replicate is a matrix product of weights with per-subject sums.
  :class:`Ratios` is the common case (accuracy, F1, Brier score, calibration error, mean Dice).
* :class:`Ranks`: an area under an ROC or precision-recall curve. Rows are sorted once; a replicate is one pass over them.
* :class:`Line`: a logistic calibration line, fitted anew in each replicate.
* :class:`Pointwise`: any function of a group's rows; it has a value, but no interval and no test (published conventions only).

Weights are whole numbers (how often a subject was drawn), so counts are exact and a value depends neither on
the order of rows nor on the number of threads. The point value is the replicate in which every weight is 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Need = Literal["positives", "negatives", "classes"]
Exchange = Literal["subjects", "subjects within labels"]
Terms = Callable[[Any], Array]
Curves = Callable[[Any], list[tuple[Array, NDArray[np.bool_]]]]


@dataclass(frozen=True)
class Sums(ABC):
    """A smooth function of weighted sums of terms.

    Attributes
    ----------
    terms
        Data -> ``[n, K]`` float64 terms of every row (0 where a row does not contribute). Forms whose terms are equal
        (frozen dataclasses with a ``__call__``) share one table.
    within
        How the rows of a subject (inside one group) are joined: ``"sum"``, every row counts; ``"mean"``,
        every subject counts once with the mean of its rows that have a value.
    proportion
        Whether the value is a plain share k/n of rows, so that an interval for proportions applies.
    """

    terms: Terms
    within: Literal["sum", "mean"] = field(default="sum", kw_only=True)
    proportion: bool = field(default=False, kw_only=True)

    def used(self, width: int) -> NDArray[np.intp]:
        """Return which of `width` columns this value depends on; a unit with none of them does not contribute."""
        return np.arange(width)

    def counter(self) -> int:
        """Return the column that counts the rows of a subject with a value; needed for ``within="mean"``."""
        raise TypeError(f"{type(self).__name__} has no means of subjects: no column counts their rows")

    def extend(self, joined: Array) -> Array:
        """Add columns that depend on a whole unit (products of its sums) to ``[units, K]`` joined terms."""
        return joined

    @abstractmethod
    def value(self, sums: Array) -> Array:
        """Evaluate sums ``[..., K]``; NaN where undefined."""

    @abstractmethod
    def gradient(self, sums: Array) -> Array:
        """Differentiate :meth:`value` by the sums ``[..., K]``; a row's influence is gradient . terms."""


@dataclass(frozen=True)
class Ratios(Sums):
    """A value made of ratios of sums: ``scale * sum_r h(N_r / D_r)``, or the variance of the ratios.

    Attributes
    ----------
    numerators, denominators
        For each ratio, which columns are added above and below the line (one that is named twice counts twice).
    scale
        Factor of the sum, e.g. one over the number of ratios for their mean.
    h
        ``"identity"``, ``"absolute"`` for calibration errors, or ``"variance"`` for the (population) variance
        of the ratios.
    """

    numerators: tuple[int | tuple[int, ...], ...] = (0,)
    denominators: tuple[int | tuple[int, ...], ...] = (1,)
    scale: float = 1.0
    h: Literal["identity", "absolute", "variance"] = "identity"

    def used(self, width: int) -> NDArray[np.intp]:
        """Return the columns above or below a line."""
        columns = [c for part in (*self.numerators, *self.denominators) for c in _columns(part)]
        return np.unique(np.asarray(columns, np.intp))

    def counter(self) -> int:
        """Return the denominator of a single ratio."""
        return _columns(self.denominators[0])[0]

    def value(self, sums: Array) -> Array:
        """Evaluate sums ``[..., K]``; NaN where a denominator is 0."""
        ratios = self._ratios(sums)
        if self.h == "variance":
            return np.asarray(self.scale * ratios.var(axis=-1))
        return np.asarray(self.scale * (np.abs(ratios) if self.h == "absolute" else ratios).sum(axis=-1))

    def gradient(self, sums: Array) -> Array:
        """Differentiate :meth:`value` by the sums ``[..., K]``."""
        ratios = self._ratios(sums)
        outer = self.scale * self._slope(ratios)
        slopes = np.zeros(sums.shape)
        for place, (above, below) in enumerate(zip(self.numerators, self.denominators, strict=True)):
            factor = outer[..., place] / positive(_added(sums, below))
            for column in _columns(above):
                slopes[..., column] += factor
            for column in _columns(below):
                slopes[..., column] -= factor * ratios[..., place]
        return slopes

    def trials(self, sums: Array) -> Array:
        """Return what the first ratio is a share of."""
        return np.asarray(_added(sums, self.denominators[0]))

    def _slope(self, ratios: Array) -> Array:
        if self.h == "variance":
            return np.asarray(2.0 * (ratios - ratios.mean(axis=-1, keepdims=True)) / ratios.shape[-1])
        return np.sign(ratios) if self.h == "absolute" else np.ones_like(ratios)

    def _ratios(self, sums: Array) -> Array:
        pairs = zip(self.numerators, self.denominators, strict=True)
        return np.stack(
            [_added(sums, above) / positive(_added(sums, below)) for above, below in pairs], axis=-1
        )


def _columns(part: int | tuple[int, ...]) -> tuple[int, ...]:
    return (part,) if isinstance(part, int) else part


def _added(sums: Array, part: int | tuple[int, ...]) -> Array:
    total = np.zeros(sums.shape[:-1])
    for column in _columns(part):
        total = total + sums[..., column]
    return total


@dataclass(frozen=True)
class Ranks:
    """A value that is the mean of areas under ROC or precision-recall curves.

    Attributes
    ----------
    curves
        Data -> one ``(score [n] float64, positive [n] bool)`` per curve.
    area
        ``"roc"``: ties count half. ``"precision"``: average precision (step-wise); ``"precision:adjusted"``: 1 - ln AP /
        ln prevalence, which is 0 for a random and 1 for a perfect ranking. The last two take a single curve.
    """

    curves: Curves
    area: Literal["roc", "precision", "precision:adjusted"] = "roc"


@dataclass(frozen=True)
class Line:
    """A parameter of the logistic calibration line logit P(y) = intercept + slope * logit(p).

    Attributes
    ----------
    points
        Data -> ``(logit(p) [n] float64, positive [n] bool)``.
    parameter
        ``"slope"``; or ``"intercept"``, then with the slope fixed at 1 (calibration in the large).
    """

    points: Callable[[Any], tuple[Array, NDArray[np.bool_]]]
    parameter: Literal["slope", "intercept"]


@dataclass(frozen=True)
class Pointwise:
    """A function of a group's rows (``data.take(rows)``) that gives its value; NaN where undefined."""

    compute: Callable[[Any], float]


Form = Sums | Ranks | Line | Pointwise


@dataclass(frozen=True)
class Metric:
    """A metric under one convention.

    Attributes
    ----------
    name, convention
        As in the tables, e.g. ``"ece"`` under ``"ece:fixed15"``.
    higher_is_better
        Direction; decides which group is best.
    form
        How it is computed.
    needs
        Classes that must be present in a group: ``"positives"``, ``"negatives"``, ``"classes"`` (every
        class).
    exchange
        What a permutation of groups keeps: ``"subjects"`` moves any subject; ``"subjects within labels"``
        moves subjects among those with the same true labels, so that a metric that conditions on the label
        is not confounded by prevalence.
    note
        What a reader of its rows must know; None when nothing.
    """

    name: str
    convention: str
    higher_is_better: bool
    form: Form
    needs: tuple[Need, ...] = ()
    exchange: Exchange = "subjects"
    note: str | None = None

    def noted(self, note: str | None) -> Metric:
        """Return the metric with a note."""
        return replace(self, note=note)


def positive(denominator: Array) -> Array:
    """Replace 0 by NaN, so that an undefined ratio is NaN and warns nobody."""
    return np.asarray(np.where(denominator > 0, denominator, np.nan), np.float64)
