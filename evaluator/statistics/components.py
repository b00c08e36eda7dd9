"""How much of the variance of results is due to the dataset, the model, the usage: crossed random effects by REML.

``value = mean + effect of each factor's level + rest``, effects of a factor independent with one variance. Where a combination
of levels was run several times (seeds), the rest is split into what the combination has of its own and what differs between
runs. Data may be unbalanced. Shares come with profile-likelihood intervals, which are wide where a factor has few levels, as
they must be.

Cost: a likelihood needs one Cholesky factor of as many rows as there are levels, whatever the number of rows.

References
----------
Patterson and Thompson 1971 (REML); Bates et al. 2015 (profiles); Searle, Casella and McCulloch 1992.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

REST = "rest"
RUN = "seed"
_SMALLEST = 1e-7
_ROUNDING = 1e-16


@dataclass(frozen=True)
class Component:
    """One source of variance.

    Attributes
    ----------
    name
        Factor; ``"rest"``, what no factor explains; ``"seed"``, what differs between runs of one combination.
    variance, share
        REML estimate, and its share of the sum of all. None where `reason` says why.
    ci_low, ci_high
        Profile-likelihood interval of the share.
    levels
        Number of levels; of combinations for ``"rest"``, of rows for ``"seed"``.
    reason
        Why the factor was left out; None when it was not.
    """

    name: str
    variance: float | None
    share: float | None
    ci_low: float | None
    ci_high: float | None
    levels: int
    reason: str | None


def variance_components(
    values: Array, factors: Mapping[str, NDArray[Any]], *, alpha: float = 0.05
) -> tuple[Component, ...]:
    """Split the variance of a long table.

    Parameters
    ----------
    values
        ``[n]``, no NaN.
    factors
        Name -> ``[n]`` level of each row. Rows with the same levels of all factors are runs of one combination.
    alpha
        1 - level of the intervals.

    Returns
    -------
    tuple of Component
        Factors in the order given, then ``"rest"``, then ``"seed"`` where some combination has several rows. A factor is left
        out, with a reason, that has fewer than two levels, that splits the rows exactly as an earlier factor does, or that has
        a level for every combination (it could not be told from the rest).

    Raises
    ------
    ValueError
        If lengths differ or a value is NaN.

    Notes
    -----
    With a share ``p_f`` of each source, ``V = sum_f p_f Z_f Z_f' + p_rest Z_c Z_c' + p_seed I`` up to a factor of closed form;
    runs of a combination enter by their mean and the sum of squares around it. The interval of a share holds the values
    at which the restricted likelihood, maximised over all else, is within ``chi2_1(1 - alpha) / 2`` of its maximum.
    """
    if any(len(levels) != len(values) for levels in factors.values()) or np.isnan(values).any():
        raise ValueError("values must be [n] without NaN and every factor must have n levels")
    codes = {name: np.unique(levels, return_inverse=True)[1] for name, levels in factors.items()}
    cells = _combinations(codes, len(values))
    reasons = _unusable(codes, cells)
    used = {name: code for name, code in codes.items() if name not in reasons}
    combinations = int(cells.max(initial=-1)) + 1
    levels = {name: int(code.max(initial=-1)) + 1 for name, code in codes.items()} | {REST: combinations}
    if len(values) > combinations:
        levels[RUN] = len(values)
    nothing = _why_nothing(values, used, cells)
    if nothing is not None:
        return tuple(_left_out(name, count, reasons.get(name, nothing)) for name, count in levels.items())
    shares, limits, total = _fit(_Model.prepare(values, used, cells), alpha)
    position = {name: place for place, name in enumerate(name for name in levels if name not in reasons)}
    if len(shares) < len(position):
        reasons[RUN] = "no_variation: all runs of a combination are equal"
    return tuple(
        _left_out(name, count, reasons[name])
        if name in reasons
        else Component(
            name=name,
            variance=float(shares[position[name]] * total * values.var()),
            share=float(shares[position[name]]),
            ci_low=float(limits[position[name], 0]),
            ci_high=float(limits[position[name], 1]),
            levels=count,
            reason=None,
        )
        for name, count in levels.items()
    )


def _left_out(name: str, levels: int, reason: str) -> Component:
    return Component(name, None, None, None, None, levels, reason)


def _combinations(codes: Mapping[str, NDArray[np.intp]], rows: int) -> NDArray[np.intp]:
    if not codes:
        return np.zeros(rows, np.intp)
    return np.unique(np.stack(list(codes.values()), axis=1), axis=0, return_inverse=True)[1].reshape(rows)


def _unusable(codes: Mapping[str, NDArray[np.intp]], cells: NDArray[np.intp]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    combinations = int(cells.max(initial=-1)) + 1
    for name, code in codes.items():
        levels = int(code.max(initial=-1)) + 1
        pattern = np.unique(code, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(pattern[1]))[pattern[2]].astype(np.int64).tobytes()
        if levels < 2:
            reasons[name] = f"single_level: {levels} level of {name}, two are needed"
        elif order in seen:
            reasons[name] = f"confounded: {name} varies only together with {seen[order]}"
        elif levels == combinations:
            reasons[name] = (
                f"confounded: one combination for every level of {name}, nothing to tell it from the rest"
            )
        seen.setdefault(order, name)
    return reasons


def _why_nothing(values: Array, used: Mapping[str, NDArray[np.intp]], cells: NDArray[np.intp]) -> str | None:
    if not used:
        return "no_factor: no factor with two levels that can be told apart"
    if np.ptp(values) == 0.0:
        return "no_variation: all values are equal"
    first = np.unique(cells, return_index=True)[1]
    table = np.column_stack([np.eye(int(code.max()) + 1)[code[first]] for code in used.values()])
    mean = np.bincount(cells, values - values.mean()) / np.bincount(cells)
    fitted, _, rank, _ = np.linalg.lstsq(table, mean, rcond=None)
    if len(first) <= rank:
        return f"too_few: {len(first)} combinations, {rank + 1} are needed"
    if ((mean - table @ fitted) ** 2).sum() <= _ROUNDING * (mean**2).sum():
        return "no_rest: the factors explain every value without remainder"
    return None


@dataclass(frozen=True)
class _Model:
    """What the restricted likelihood needs of the data: sums of products, apart for each number of runs.

    Attributes
    ----------
    widths
        Levels of each factor; their sum is q.
    products
        ``[r, q + 2, q + 2]`` cross products of the indicators of levels, of the combinations' means and of ones, over the
        combinations with the r-th number of runs.
    runs, counts
        ``[r]`` that number, and how many combinations have it.
    inside, freedom
        Sum of squares of runs around their combination's mean, and rows - combinations; none where all runs are alike.
    split
        Whether ``"seed"`` is a source of its own.
    """

    widths: NDArray[np.intp]
    products: Array
    runs: Array
    counts: Array
    inside: float
    freedom: int
    split: bool

    @classmethod
    def prepare(cls, values: Array, used: Mapping[str, NDArray[np.intp]], cells: NDArray[np.intp]) -> _Model:
        """Sum once; values are brought to mean 0 and variance 1, which shares do not depend on."""
        scaled = (values - values.mean()) / values.std()
        size = np.bincount(cells)
        mean = np.bincount(cells, scaled) / size
        first = np.unique(cells, return_index=True)[1]
        parts = [np.eye(int(code.max()) + 1)[code[first]] for code in used.values()]
        table = np.column_stack([*parts, mean, np.ones_like(mean)])
        runs, counts = np.unique(size, return_counts=True)
        products = np.stack([table[size == number].T @ table[size == number] for number in runs])
        inside = float(((scaled - mean[cells]) ** 2).sum())
        widths = np.array([part.shape[1] for part in parts])
        left = len(values) - len(mean) if inside > _ROUNDING else 0
        return cls(widths, products, runs.astype(float), counts.astype(float), inside, left, left > 0)

    def deviance(self, shares: Array) -> tuple[float, float]:
        """Return -2 log restricted likelihood at the best total variance, up to a constant, and that total."""
        from scipy.linalg import solve_triangular

        factors = len(self.widths)
        run = max(float(shares[-1]), _SMALLEST) if self.split else 0.0
        noise = max(float(shares[factors]), _SMALLEST) + run / self.runs
        sums = (self.products / noise[:, None, None]).sum(axis=0)
        scale = np.repeat(np.sqrt(shares[:factors]), self.widths)
        lower = np.linalg.cholesky(np.eye(len(scale)) + scale[:, None] * sums[:-2, :-2] * scale)
        seen = solve_triangular(lower, scale[:, None] * sums[:-2, -2:], lower=True, check_finite=False)
        squares = sums[-2:, -2:] - seen.T @ seen
        residual = squares[0, 0] - squares[0, 1] ** 2 / squares[1, 1]
        logs = self.counts @ np.log(noise) + 2.0 * np.log(np.diag(lower)).sum() + math.log(squares[1, 1])
        if self.split:
            residual += self.inside / run
            logs += self.freedom * math.log(run)
        left = float(self.counts.sum()) + self.freedom - 1.0
        total = max(float(residual), 1e-300) / left
        return float(logs) + left * math.log(total), total

    @property
    def sources(self) -> int:
        """Number of shares: the factors, the rest, and runs where they are apart."""
        return len(self.widths) + 1 + self.split


def _fit(model: _Model, alpha: float) -> tuple[Array, Array, float]:
    """Return shares ``[k]``, their intervals ``[k, 2]`` and the total variance (of values of variance 1)."""
    from scipy.special import chdtri

    starts = [np.ones(model.sources), np.where(np.arange(model.sources) < len(model.widths), 0.3, 1.0)]
    lowest, shares = min(
        (_minimise(model, start, np.zeros(model.sources), exact=True) for start in starts),
        key=lambda fit: fit[0],
    )
    allowed = lowest + float(chdtri(1, alpha))
    limits = [_limits(model, source, shares, lowest, allowed) for source in range(model.sources)]
    return shares, np.array(limits), model.deviance(shares)[1]


def _minimise(model: _Model, start: Array, fixed: Array, *, exact: bool) -> tuple[float, Array]:
    """Minimise the deviance over shares; those with ``fixed > 0`` stay, the others divide what is left.

    Free shares go as squares of the parameters, so that 0 is inside their range.
    """
    from scipy.optimize import minimize

    free = fixed == 0.0
    left = 1.0 - fixed.sum()

    def shares_of(roots: Array) -> Array:
        shares = fixed.copy()
        shares[free] = left * roots**2 / max(float((roots**2).sum()), 1e-300)
        return shares

    if free.sum() == 1:
        shares = shares_of(np.ones(1))
        return model.deviance(shares)[0], shares
    found = minimize(
        lambda roots: model.deviance(shares_of(roots))[0],
        np.maximum(start[free], 0.05),
        method="L-BFGS-B",
        jac="3-point" if exact else "2-point",
        options={"ftol": 1e-14 if exact else 1e-9, "gtol": 1e-8 if exact else 1e-4},
    )
    return float(found.fun), shares_of(found.x)


def _limits(model: _Model, source: int, best: Array, lowest: float, allowed: float) -> tuple[float, float]:
    """Return the smallest and largest share of a source whose profile deviance is allowed."""
    from scipy.optimize import brentq

    edge = 1e-5
    inside = min(max(float(best[source]), edge), 1.0 - edge)

    def excess(share: float) -> float:
        if share == inside:
            return lowest - allowed
        fixed = np.zeros(model.sources)
        fixed[source] = share
        return _minimise(model, np.sqrt(best), fixed, exact=False)[0] - allowed

    low = 0.0 if excess(edge) <= 0.0 else float(brentq(excess, edge, inside, xtol=1e-4))
    high = 1.0 if excess(1.0 - edge) <= 0.0 else float(brentq(excess, inside, 1.0 - edge, xtol=1e-4))
    return low, high
