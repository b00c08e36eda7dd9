"""L2-regularised multinomial logistic regression, run to convergence along a path of C.

Guarantee: the same rows in the same order give the same bits (float64, one thread). Solver: scikit-learn's
L-BFGS; the objective is convex, so warm starts change the time, not the answer (up to the tolerance).
Trade-off: one thread; features are small matrices, and many probes run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Largest absolute entry of the gradient of the *mean* objective at which the solver stops.
TOLERANCE = 1e-7
MAX_ITERATIONS = 20_000


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
    n_iter, converged
        Iterations of the solver from its warm start, and whether it met the tolerance.
    """

    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    c: float
    n_iter: int
    converged: bool

    def logits(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``[N, K]`` logits; each row depends on that row of `features` only."""
        return np.asarray(np.einsum("nd,kd->nk", features, self.coef, optimize=False) + self.intercept)


def fit_path(
    features: NDArray[np.float64],
    classes: NDArray[np.int64],
    *,
    weights: NDArray[np.float64],
    grid: Sequence[float],
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

    Yields
    ------
    LogisticFit
        Minimiser of ``1/2 ||W||^2 + C sum_i weight_i loss_i``, the intercept unpenalised. Two classes share
        one weight vector w (scikit-learn's binary form).

    Notes
    -----
    The path of warm starts: Friedman, Hastie and Tibshirani, "Regularization Paths for Generalized Linear
    Models via Coordinate Descent" (2010), section 2.5; L-BFGS: Liu and Nocedal (1989).
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=1.0, tol=TOLERANCE, max_iter=MAX_ITERATIONS, warm_start=True)
    for c in grid:
        model.set_params(C=c)
        with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(features, classes, sample_weight=weights)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
        coef, intercept = model.coef_, model.intercept_
        if len(model.classes_) == 2:
            coef, intercept = (
                np.vstack([-coef / 2, coef / 2]),
                np.concatenate([-intercept / 2, intercept / 2]),
            )
        yield LogisticFit(
            np.ascontiguousarray(coef), intercept.copy(), float(c), int(model.n_iter_.max()), converged
        )


def log_loss(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Return the mean negative log-probability of the true classes, from logits (no clipping).

    Parameters
    ----------
    logits
        ``[N, K]``, N >= 1.
    classes
        ``[N]`` column of the true class of each row.
    """
    top = logits.max(axis=1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return float((normaliser - logits[np.arange(len(classes)), classes]).mean())
