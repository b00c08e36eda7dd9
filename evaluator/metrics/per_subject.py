"""Means over subjects of a number measured per sample: overlap, distances and volumes of masks.

Conventions
-----------
``mean:subject``
    The mean over subjects of the mean over a subject's samples, so that a subject with many slices does not count more than
    one with few. Samples without a value (a distance to an empty mask) are left out and counted.
``mean:subject|size-adjusted``
    The same after the linear effect of log true volume is taken off: ``dice - b (log V - mean log V)`` with one least-squares
    slope ``b`` of all subjects. Small structures have lower Dice for the same errors at the border, so a gap that shrinks here
    is partly one of size. `b` is not fitted again in replicates and permutations.
``ols:log-volume``
    Metric ``dice_size_slope``: the slope itself, in each group: change of Dice when the volume grows 2.7-fold (log V by 1).
``mean:subject|empty:exclude``
    Of samples whose true mask is not empty.
``mean:subject|empty:fairseg``
    With the scores that FairSeg's published code gives to empty masks: a structure invented where there is none is perfect
    (Dice 1, IoU 1, HD95 0), an empty mask where there is none scores 0, and a miss has HD95 0, the best value. For comparison
    with its published tables only.

References
----------
Tian et al. 2024 (FairSeg; empty masks, cup-to-disc ratio); size bias of Dice: arXiv 2509.19778.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array, Metric, Ratios, Sums

#: Column of the segmentations table -> whether higher is better.
MASK_METRICS = {
    "dice": True,
    "iou": True,
    "hd95_mm": False,
    "hd95_px": False,
    "assd_mm": False,
    "assd_px": False,
    "nsd": True,
}
#: Numbers derived from stored volumes -> whether higher is better.
VOLUME_METRICS = {"volume_error": False, "volume_bias": True, "cdr_distance": False}

SUBJECT_MEAN = "mean:subject"
SIZE_ADJUSTED = "mean:subject|size-adjusted"
SIZE_SLOPE = "ols:log-volume"
EmptyRule = Literal["empty:exclude", "empty:fairseg"]
EMPTY_RULES: tuple[EmptyRule, ...] = ("empty:exclude", "empty:fairseg")  # beside the default, empty:ours

_NOTES = {
    "volume_bias": "signed: 0 is best; best_group is the one with the larger predicted volumes",
    "dice_size_slope": "signed: 0 is best; best_group is the one with the lower slope",
    SIZE_ADJUSTED: "one slope of all subjects, not fitted again in replicates",
    "mean:subject|empty:fairseg": "legacy: FairSeg's scores of empty masks; an invented structure counts as perfect",
}
#: What FairSeg scores: metric -> (true mask empty, prediction not; prediction empty, true mask not; both empty).
_FAIRSEG = {
    "dice": (1.0, 0.0, 0.0),
    "iou": (1.0, 0.0, 0.0),
    "hd95_mm": (0.0, 0.0, 0.0),
    "hd95_px": (0.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Volumes:
    """Sizes of the true and predicted masks of some rows.

    Attributes
    ----------
    true, predicted
        ``[n]`` float64 in one unit, NaN where unknown.
    """

    true: Array
    predicted: Array

    def error(self) -> Array:
        """Return |Vp - Vt| / Vt; NaN where the true mask is empty."""
        return np.abs(self.bias())

    def bias(self) -> Array:
        """Return (Vp - Vt) / Vt; NaN where the true mask is empty."""
        return _divided(self.predicted - self.true, self.true)

    def log_true(self) -> Array:
        """Return the natural logarithm of the true volume; NaN where there is none."""
        return np.log(np.where(self.true > 0, self.true, np.nan))


@dataclass(frozen=True)
class Measured:
    """Rows with some numbers each.

    Attributes
    ----------
    values
        Name -> ``[n]`` float64, NaN where a row has none. Variants of a metric are named by :func:`variant`.
    """

    values: Mapping[str, Array]


def variant(name: str, convention: str) -> str:
    """Return the name of a column of :class:`Measured`: the metric's own, with the convention where it is not the default.

    Examples
    --------
    >>> variant("dice", "mean:subject"), variant("dice", "mean:subject|size-adjusted")
    ('dice', 'dice|size-adjusted')
    """
    return name + convention.removeprefix(SUBJECT_MEAN)


def subject_mean(name: str, convention: str = SUBJECT_MEAN) -> Metric:
    """Describe the mean over subjects of a column.

    Parameters
    ----------
    name
        Of :data:`MASK_METRICS` or :data:`VOLUME_METRICS`.
    convention
        Of this module's list.
    """
    higher = (MASK_METRICS | VOLUME_METRICS)[name]
    form = Ratios(_Present(variant(name, convention)), ((0,),), ((1,),), within="mean")
    return Metric(name, convention, higher, form, note=_NOTES.get(convention) or _NOTES.get(name))


def size_slope() -> Metric:
    """Describe the least-squares slope of Dice on the column ``log_volume``."""
    form = Slope(_Products("log_volume", "dice"), within="mean")
    return Metric("dice_size_slope", SIZE_SLOPE, False, form, note=_NOTES["dice_size_slope"])


def cdr_distance(cup: Volumes, disc: Volumes) -> Array:
    """Return the cup-to-disc ratio distance of FairSeg: | cup/disc predicted - cup/disc true |, of areas.

    Parameters
    ----------
    cup, disc
        Sizes of the two structures of the same samples.

    Returns
    -------
    ``[n]`` float64
        NaN where a disc is empty. Clinics use the ratio of vertical diameters, which is about the square root.
    """
    return np.abs(_divided(cup.predicted, disc.predicted) - _divided(cup.true, disc.true))


def under(rule: EmptyRule) -> str:
    """Return the convention of a mean over subjects under another rule for empty masks.

    Examples
    --------
    >>> under("empty:exclude")
    'mean:subject|empty:exclude'
    """
    return f"{SUBJECT_MEAN}|{rule}"


def with_empty_rule(name: str, values: Array, volumes: Volumes, rule: EmptyRule) -> Array | None:
    """Return a metric's values under another rule for empty masks; None where the rule does not speak of the metric.

    Parameters
    ----------
    name
        Of :data:`MASK_METRICS`.
    values
        ``[n]`` under ``empty:ours``.
    volumes
        Say which masks are empty.
    rule
        ``"empty:exclude"``: NaN where the true mask is empty. ``"empty:fairseg"``: see the module's text.
    """
    absent, missed = volumes.true == 0, volumes.predicted == 0
    if rule == "empty:exclude":
        return np.where(absent, np.nan, values)
    if name not in _FAIRSEG:
        return None
    if np.isnan(values).all():
        return None  # no distance in mm without spacing, and the zeros of empty masks would look like one
    invented, miss, both = _FAIRSEG[name]
    scored = np.where(absent & ~missed, invented, values)
    scored = np.where(~absent & missed, miss, scored)
    return np.where(absent & missed, both, scored)


def size_adjusted(dice: Array, log_volume: Array, subject: NDArray[np.int64]) -> Array | None:
    """Return Dice after the pooled linear effect of log true volume is taken off.

    Parameters
    ----------
    dice, log_volume
        ``[n]``, NaN where a row has none.
    subject
        ``[n]`` codes; every subject has the same weight in the slope.

    Returns
    -------
    ``[n]`` float64 or None
        NaN where a row lacks one of both; None where the volumes do not vary.
    """
    known = ~(np.isnan(dice) | np.isnan(log_volume))
    if not known.any():
        return None
    _, person, counts = np.unique(subject[known], return_inverse=True, return_counts=True)
    weight = 1.0 / counts[person]
    size = log_volume[known] - np.average(log_volume[known], weights=weight)
    spread = np.average(size**2, weights=weight)
    if spread < 1e-12:
        return None
    slope = np.average(size * dice[known], weights=weight) / spread
    adjusted = np.full(len(dice), np.nan)
    adjusted[known] = dice[known] - slope * size
    return adjusted


@dataclass(frozen=True)
class Slope(Sums):
    """A least-squares slope of y on x from sums of 1, x, y, x², xy."""

    def counter(self) -> int:
        """Return the column of ones."""
        return 0

    def value(self, sums: Array) -> Array:
        """Evaluate sums ``[..., 5]``; NaN where x does not vary."""
        one, x, y, _, xy = np.moveaxis(sums, -1, 0)
        return np.asarray((one * xy - x * y) / self._spread(sums))

    def gradient(self, sums: Array) -> Array:
        """Differentiate the slope by the sums ``[..., 5]``."""
        one, x, y, xx, xy = np.moveaxis(sums, -1, 0)
        slope, spread = self.value(sums), self._spread(sums)
        by = (xy - slope * xx, 2.0 * slope * x - y, -x, -slope * one, one)
        return np.stack([part / spread for part in by], axis=-1)

    def _spread(self, sums: Array) -> Array:
        one, x, _, xx, _ = np.moveaxis(sums, -1, 0)
        spread = one * xx - x * x
        return np.asarray(np.where(spread > 1e-9 * one * xx, spread, np.nan))


@dataclass(frozen=True)
class _Present:
    """Terms (value, 1) of the rows that have a value."""

    column: str

    def __call__(self, data: Measured) -> Array:
        value = data.values[self.column]
        has = ~np.isnan(value)
        return np.stack([np.where(has, value, 0.0), has], axis=1)


@dataclass(frozen=True)
class _Products:
    """Terms (1, x, y, x², xy) of the rows that have both."""

    x: str
    y: str

    def __call__(self, data: Measured) -> Array:
        x, y = data.values[self.x], data.values[self.y]
        has = ~(np.isnan(x) | np.isnan(y))
        x, y = np.where(has, x, 0.0), np.where(has, y, 0.0)
        return np.stack([has, x, y, x * x, x * y], axis=1)


def _divided(above: Array, below: Array) -> Array:
    return np.asarray(above / np.where(below > 0, below, np.nan), np.float64)
