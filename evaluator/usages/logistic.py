"""L2-regularised multinomial logistic regression, run to convergence along a path of C.

Guarantee: the same rows in the same order give the same bits (float64, one thread). The objective is convex
and scikit-learn's; warm starts and preconditioning change the time, not the answer.

Solver: SciPy's L-BFGS in coordinates where the curvature is nearly the identity: the Cholesky factor of the
Hessian (averaged over the classes, on some of the rows) at the path's last point. Plain L-BFGS, as in
scikit-learn, needs thousands of iterations where features are correlated and the penalty is weak, which is
the common case for embeddings; preconditioned it needs tens. Trade-off: one thread, because many probes run
side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Largest gradient entry (preconditioned) at which the solver stops. Probabilities then agree with an exact Newton
#: solver to about 1e-8.
TOLERANCE = 1e-9
#: Largest gradient entry that still counts as converged: below the stopping tolerance, rounding can end the
#: search.
ACCEPTED = 1e-5
MAX_ITERATIONS = 5_000
#: Rows per feature from which the Hessian is taken; it only preconditions, in float32.
_ROWS_PER_FEATURE = 8
#: Iterations of one fit after which the Hessian is taken anew: about what that costs.
_RENEW_AFTER = 20
#: Rows that stay in a core's cache between the forward and the backward product, so that memory is read once.
_BLOCK = 256
#: Keeps the unpenalised intercept's curvature positive where all chances are 0 or 1.
_RIDGE = 1e-9


@dataclass(frozen=True)
class LogisticFit:
    """One converged fit.

    Attributes
    ----------
    coef, intercept
        ``[K, D]`` and ``[K]`` float64; both sum to zero over the K classes (two classes: one weight vector w
        is stored as -w/2 and w/2).
    c
        Inverse strength of the penalty.
    objective
        Minimum found of ``1/2 ||W||^2 + C sum_i weight_i loss_i``.
    n_iter, converged
        Iterations of the solver from its warm start, and whether it met the tolerance.
    """

    coef: Array
    intercept: Array
    c: float
    objective: float
    n_iter: int
    converged: bool


def linear_scores(features: Array, coef: Array, intercept: Array) -> Array:
    """Return ``[N, K]`` logits; each row's bits depend on that row of `features` only."""
    return np.asarray(np.einsum("nd,kd->nk", features, coef, optimize=False) + intercept)


def fit_path(
    features: Array,
    classes: NDArray[np.int64],
    *,
    weights: Array,
    grid: Sequence[float],
    tolerance: float = TOLERANCE,
) -> Iterator[LogisticFit]:
    """Fit one model per value of C, each started from the one before.

    Parameters
    ----------
    features
        ``[N, D]`` float64, standardised.
    classes
        ``[N]`` class of each row; the distinct values, ascending, are the K >= 2 columns of the result.
    weights
        ``[N]`` positive sample weights.
    grid
        Values of C, ascending (strong to weak regularisation).
    tolerance
        Largest gradient entry (preconditioned) at which the solver stops.

    Yields
    ------
    LogisticFit
        Minimiser of ``1/2 ||W||^2 + C sum_i weight_i loss_i``, the intercept unpenalised; two classes share
        one weight vector w. Both as in scikit-learn's ``LogisticRegression``.

    Notes
    -----
    L-BFGS: Liu and Nocedal (1989). Warm starts along the path: Friedman, Hastie and Tibshirani,
    "Regularization Paths for Generalized Linear Models via Coordinate Descent" (2010), section 2.5.
    """
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before threads are limited, or it escapes the limit
    from threadpoolctl import threadpool_limits

    problem = _problem(features, classes, weights)
    point = np.zeros((len(problem.coding), features.shape[1] + 1))
    hessian: Array | None = None
    for c in grid:
        with threadpool_limits(1):
            if hessian is None:
                hessian = _hessian(problem, point)
            fit, point = _solve(problem, c, point, hessian, tolerance)
        if fit.n_iter > _RENEW_AFTER:
            hessian = None
        yield fit


@dataclass(frozen=True)
class _Problem:
    """The data of one path.

    Attributes
    ----------
    features
        ``[N, D]``.
    onehot
        ``[N, K]``.
    weights
        ``[N]``, sum 1.
    total
        Sum of the weights before that.
    coding
        ``[P, K]``: logits are the P linear scores times this; the identity, or one score for two classes.
    """

    features: Array
    onehot: Array
    weights: Array
    total: float
    coding: Array


def _problem(features: Array, classes: NDArray[np.int64], weights: Array) -> _Problem:
    present, column = np.unique(classes, return_inverse=True)
    return _Problem(
        features=np.ascontiguousarray(features),
        onehot=np.eye(len(present))[column],
        weights=weights / weights.sum(),
        total=float(weights.sum()),
        coding=np.array([[-0.5, 0.5]]) if len(present) == 2 else np.eye(len(present)),
    )


def _hessian(problem: _Problem, point: Array) -> Array:
    """Return ``[D + 1, D + 1]``: the second derivative by one score's weights, averaged over the scores."""
    step = max(1, len(problem.features) // (_ROWS_PER_FEATURE * problem.features.shape[1]))
    rows, weights = problem.features[::step], problem.weights[::step]
    chances = _chances(_logits(problem, rows, point))[0]
    # Two classes: both chances have the variance p (1 - p) of the one score.
    variance = (chances * (1 - chances)).mean(axis=1) * (weights / weights.sum())
    half = np.ones((len(rows), rows.shape[1] + 1), dtype=np.float32)
    half[:, :-1] = rows
    half *= np.sqrt(variance).astype(np.float32)[:, None]
    return np.asarray((half.T @ half).astype(np.float64))


def _logits(problem: _Problem, rows: Array, point: Array) -> Array:
    """Return the logits ``[len(rows), K]`` of some rows."""
    return np.asarray((rows @ point[:, :-1].T + point[:, -1]) @ problem.coding)


def _solve(
    problem: _Problem, c: float, start: Array, hessian: Array, tolerance: float
) -> tuple[LogisticFit, Array]:
    """Minimise at one C; also return the minimum ``[P, D + 1]``, to start the next one."""
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import minimize

    penalty = np.full(start.shape[1], 1.0 / (c * problem.total))
    penalty[-1] = 0.0
    # Rounding in float32 can leave eigenvalues slightly below 0 where the penalty is weak.
    lift = np.maximum(penalty, _RIDGE + 1e-6 * np.trace(hessian) / len(hessian))
    factor = cholesky(hessian + np.diag(lift), lower=True)

    def unpack(point: Array) -> Array:
        scores = point.reshape(start.shape).T
        return np.asarray(solve_triangular(factor, scores, lower=True, trans=1, check_finite=False).T)

    def value_and_gradient(point: Array) -> tuple[float, Array]:
        scores = unpack(point)
        loss, gradient = _loss(problem, scores)
        gradient += penalty * scores
        scaled = solve_triangular(factor, gradient.T, lower=True, check_finite=False)
        return loss + float((penalty * scores**2).sum()) / 2, np.ascontiguousarray(scaled.T).ravel()

    options = {
        "gtol": tolerance,
        "ftol": 0.0,
        "maxiter": MAX_ITERATIONS,
        "maxfun": 2 * MAX_ITERATIONS,
        "maxcor": 20,
    }
    first = np.ascontiguousarray((factor.T @ start.T).T).ravel()
    found = minimize(value_and_gradient, first, jac=True, method="L-BFGS-B", options=options)
    scores = unpack(found.x)
    columns = problem.coding.T @ scores
    columns -= columns.mean(axis=0)
    fit = LogisticFit(
        coef=np.ascontiguousarray(columns[:, :-1]),
        intercept=columns[:, -1].copy(),
        c=float(c),
        objective=float(found.fun) * c * problem.total,
        n_iter=int(found.nit),
        converged=bool(np.abs(found.jac).max() <= max(tolerance, ACCEPTED)),
    )
    return fit, scores


def _chances(logits: Array) -> tuple[Array, Array]:
    """Return the soft-max and its logarithm."""
    logits = logits - logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    sums = chances.sum(axis=1, keepdims=True)
    chances /= sums
    return chances, logits - np.log(sums)


def _loss(problem: _Problem, scores: Array) -> tuple[float, Array]:
    """Return the weighted mean log-loss and its gradient ``[P, D + 1]``."""
    loss, gradient = 0.0, np.zeros_like(scores)
    for start in range(0, len(problem.features), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows, onehot, weights = problem.features[block], problem.onehot[block], problem.weights[block]
        chances, logs = _chances(_logits(problem, rows, scores))
        loss -= float(weights @ (logs * onehot).sum(axis=1))
        residual = ((chances - onehot) * weights[:, None]) @ problem.coding.T
        gradient[:, :-1] += residual.T @ rows
        gradient[:, -1] += residual.sum(axis=0)
    return loss, gradient


def log_loss(logits: Array, classes: NDArray[np.int64], *, weights: Array | None = None) -> float:
    """Return the weighted mean negative log-probability of the true classes, from logits (no clipping).

    Parameters
    ----------
    logits
        ``[N, K]``, N >= 1.
    classes
        ``[N]`` column of the true class of each row.
    weights
        ``[N]`` weight of each row; None: all the same.
    """
    top = logits.max(axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return float(np.average(normaliser - logits[np.arange(len(classes)), classes], weights=weights))
