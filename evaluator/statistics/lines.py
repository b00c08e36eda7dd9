"""Logistic calibration lines, fitted for many weightings and many assignments of units to groups.

logit P(y = 1) = a + b logit(p): `slope` is b of the joint fit (1 when probabilities are neither too extreme nor too timid),
`intercept` is a with b fixed at 1 (0 when they are right on average: calibration in the large). Fitted by Newton's method; a
fit that does not converge (a line that separates the classes, or a single class) is NaN.

References
----------
Cox 1958; Van Calster et al. 2016, "A calibration hierarchy for risk models was defined" (doi 10.1016/j.jclinepi.2015.12.005).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from evaluator.metrics.metric import Array


class LinePoints(NamedTuple):
    """Rows of one line.

    Attributes
    ----------
    logit, positive, unit
        ``[n]`` log-odds of the probability, class, and unit.
    parameter
        Which parameter is wanted.
    """

    logit: Array
    positive: NDArray[np.bool_]
    unit: NDArray[np.int64]
    parameter: Literal["slope", "intercept"]

    @classmethod
    def of(
        cls,
        logit: Array,
        positive: NDArray[np.bool_],
        unit: NDArray[np.int64],
        parameter: Literal["slope", "intercept"],
    ) -> LinePoints:
        """Collect rows."""
        return cls(np.ascontiguousarray(logit), positive, unit, parameter)

    def fit(self, weights: Array) -> Array:
        """Fit for each column of unit weights ``[m, b]``; ``[b]``."""
        if not len(self.logit):
            return np.full(weights.shape[1], np.nan)
        turned = np.ascontiguousarray(weights.T)
        return np.asarray(_fit(self.logit, self.positive, self.unit, turned, self.parameter == "slope"))

    def spread(self, codes: NDArray[np.int16], groups: int) -> tuple[Array, Array, Array]:
        """Fit in each group of each assignment ``[b, m]``: value, variance (sandwich over units) and units, ``[b, G]``."""
        value, variance, size = _spread(
            self.logit, self.positive, self.unit, codes, groups, self.parameter == "slope"
        )
        return value, variance, size


_STEPS = 40
_FAR = 60.0  # a parameter beyond it means that the classes are separated


@njit(cache=True, nogil=True)
def _sums(
    logit: Array, positive: NDArray[np.bool_], weight: Array, group: Any, groups: int, line: Array
) -> Any:  # pragma: no cover - compiled
    """Return gradient and Hessian sums ``[groups, 5]`` of the log-likelihood at `line` ``[groups, 2]``."""
    sums = np.zeros((groups, 5))
    for row in range(len(logit)):
        g = group[row]
        if g < groups and weight[row] > 0.0:
            x = logit[row]
            p = 1.0 / (1.0 + np.exp(-(line[g, 0] + line[g, 1] * x)))
            rest = weight[row] * ((1.0 if positive[row] else 0.0) - p)
            bend = weight[row] * p * (1.0 - p)
            sums[g, 0] += rest
            sums[g, 1] += rest * x
            sums[g, 2] += bend
            sums[g, 3] += bend * x
            sums[g, 4] += bend * x * x
    return sums


@njit(cache=True, nogil=True)
def _newton(
    logit: Array, positive: NDArray[np.bool_], weight: Array, group: Any, groups: int, free: bool
) -> Any:  # pragma: no cover - compiled
    """Fit the lines ``[groups, 2]``; NaN where there is none."""
    line = np.zeros((groups, 2))
    line[:, 1] = 1.0
    done = np.zeros(groups, np.bool_)
    for _ in range(_STEPS):
        sums = _sums(logit, positive, weight, group, groups, line)
        moving = False
        for g in range(groups):
            if done[g]:
                continue
            determinant = sums[g, 2] * sums[g, 4] - sums[g, 3] * sums[g, 3] if free else sums[g, 2]
            if not determinant > 1e-12 * max(sums[g, 2], 1e-300) * (max(sums[g, 4], 1e-300) if free else 1.0):
                line[g] = np.nan
                done[g] = True
                continue
            if free:
                first = (sums[g, 4] * sums[g, 0] - sums[g, 3] * sums[g, 1]) / determinant
                second = (sums[g, 2] * sums[g, 1] - sums[g, 3] * sums[g, 0]) / determinant
            else:
                first, second = sums[g, 0] / determinant, 0.0
            # Steps are damped, so that an early overshoot does not end in a separated line.
            scale = 1.0 / max(1.0, max(abs(first), abs(second)) / 4.0)
            line[g, 0] += scale * first
            line[g, 1] += scale * second
            if abs(line[g, 0]) > _FAR or abs(line[g, 1]) > _FAR:
                line[g] = np.nan
                done[g] = True
            elif max(abs(first), abs(second)) < 1e-10:
                done[g] = True
            else:
                moving = True
        if not moving:
            break
    for g in range(groups):
        if not done[g]:
            line[g] = np.nan
    return line


@njit(cache=True, nogil=True)
def _fit(
    logit: Array, positive: NDArray[np.bool_], unit: NDArray[np.int64], weights: Array, free: bool
) -> Any:  # pragma: no cover - compiled
    found = np.zeros(len(weights))
    group, weight = np.zeros(len(logit), np.int16), np.zeros(len(logit))
    for b in range(len(weights)):
        for row in range(len(logit)):
            weight[row] = weights[b, unit[row]]
        found[b] = _newton(logit, positive, weight, group, 1, free)[0, 1 if free else 0]
    return found


@njit(cache=True, nogil=True)
def _spread(
    logit: Array,
    positive: NDArray[np.bool_],
    unit: NDArray[np.int64],
    codes: NDArray[np.int16],
    groups: int,
    free: bool,
) -> Any:  # pragma: no cover - compiled
    shape = (len(codes), groups)
    value, variance, size = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
    group, weight = np.zeros(len(logit), np.int16), np.ones(len(logit))
    for b in range(len(codes)):
        for row in range(len(logit)):
            group[row] = codes[b, unit[row]]
        line = _newton(logit, positive, weight, group, groups, free)
        sums = _sums(logit, positive, weight, group, groups, line)
        pull = np.zeros(codes.shape[1])
        for row in range(len(logit)):
            g = group[row]
            if g < groups:
                rest = (1.0 if positive[row] else 0.0) - 1.0 / (
                    1.0 + np.exp(-(line[g, 0] + line[g, 1] * logit[row]))
                )
                if free:
                    determinant = sums[g, 2] * sums[g, 4] - sums[g, 3] * sums[g, 3]
                    pull[unit[row]] += rest * (sums[g, 2] * logit[row] - sums[g, 3]) / determinant
                else:
                    pull[unit[row]] += rest / sums[g, 2]
        squares = np.zeros(groups)
        for owner in range(codes.shape[1]):
            g = codes[b, owner]
            if g < groups:
                squares[g] += pull[owner] * pull[owner]
                size[b, g] += 1.0
        for g in range(groups):
            value[b, g] = line[g, 1 if free else 0]
            if size[b, g] > 1.0:
                variance[b, g] = squares[g] * size[b, g] / (size[b, g] - 1.0)
    return value, variance, size
