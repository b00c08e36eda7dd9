"""Subject-level bootstrap by weights, and the streams of random numbers it and the permutations use.

A replicate draws P subjects with replacement from P; a subject drawn w times weighs w. All samples of a subject come and go
together, so intervals are right when a subject has many images. Guarantee: replicate b depends on the seed, the set of subject
ids of the test split and b only, so all models, metrics and groups of a study see the same replicates (differences are paired),
in any number of processes. Memory: one block of replicates at a time.

References
----------
Efron and Tibshirani 1993 (percentile interval); Field and Welsh 2007 (clusters).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.metric import Array

#: Replicates made and held at once. Part of the numbers' identity: every block has its own stream.
BLOCK = 128


def stream(seed: int, purpose: str, subjects: Sequence[str], block: int) -> np.random.Generator:
    """Return the generator of one block of one purpose on one set of subjects.

    Parameters
    ----------
    seed
        Of the study's measures.
    purpose
        E.g. ``"bootstrap"`` or ``"permutation:sex"``.
    subjects
        Subject ids of the split, sorted.
    block
        Number of the block.
    """
    text = "\x1f".join([purpose, *subjects])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32)
    key = np.random.SeedSequence([seed, *words.tolist()], spawn_key=(block,))
    return np.random.Generator(np.random.Philox(key))


def subject_weights(seed: int, subjects: Sequence[str], replicates: int) -> Iterator[tuple[slice, Array]]:
    """Draw the bootstrap weights block by block.

    Parameters
    ----------
    seed
        Of the study's measures.
    subjects
        Subject ids of the split, sorted.
    replicates
        How many; fewer replicates are a prefix of more.

    Yields
    ------
    (slice, ``[P, b]`` float64)
        Which replicates, and how often each subject was drawn in them; every column sums to P.
    """
    people = len(subjects)
    for block, start in enumerate(range(0, replicates, BLOCK)):
        draws = stream(seed, "bootstrap", subjects, block).integers(0, people, (people, BLOCK))
        cells = (draws * BLOCK + np.arange(BLOCK)).ravel()
        weights = np.bincount(cells, minlength=people * BLOCK).reshape(people, BLOCK)
        stop = min(start + BLOCK, replicates)
        yield slice(start, stop), weights[:, : stop - start].astype(np.float64)


def percentile_interval(replicates: Array, alpha: float, units: float = np.inf) -> tuple[float, float] | str:
    """Return the percentile interval of replicates, or why there is none.

    Parameters
    ----------
    replicates
        ``[B]``, NaN where the metric was undefined.
    alpha
        1 - level.
    units
        Independent units that the value rests on, at least 2: the interval is expanded for so few. Infinite for plain
        percentiles.

    Returns
    -------
    (low, high) or str
        A reason when more than 5 % of the replicates are undefined or all of them are the same number.

    Raises
    ------
    ValueError
        If `units` is below 2.

    Notes
    -----
    Replicates of n units vary by ``sqrt((n - 1) / n)`` too little, and their quantiles are those of a normal distribution
    where Student's holds. The expanded interval takes the quantiles at ``Phi(-+ sqrt(n / (n - 1)) t)`` with the t quantile of
    n - 1 degrees of freedom (Hesterberg 2015, What Teachers Should Know about the Bootstrap, section 3.3).
    """
    if not units >= 2.0:
        raise ValueError(f"units must be at least 2, got {units}")
    defined = replicates[~np.isnan(replicates)]
    if not len(replicates):
        return "no_replicates"
    if len(defined) < 0.95 * len(replicates):
        return f"undefined_replicates: {len(replicates) - len(defined)} of {len(replicates)}"
    if np.ptp(defined) == 0.0:
        return "no_variation"
    tail = _expanded(alpha / 2, units)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _expanded(tail: float, units: float) -> float:
    """Return the share of replicates to leave out at each end."""
    if np.isinf(units):
        return tail
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(units / (units - 1.0)) * stdtrit(units - 1.0, tail)))


def standard_error(replicates: Array) -> float:
    """Return the standard deviation of the replicates (ddof 1); NaN under the rules of :func:`percentile_interval`."""
    defined = replicates[~np.isnan(replicates)]
    if len(defined) < max(2, 0.95 * len(replicates)):
        return float("nan")
    return float(np.std(defined, ddof=1))


def wilson_interval(share: float, n: int, alpha: float) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Used where all bootstrap replicates are equal (every sample right, or none): the percentile interval would be a point.

    Parameters
    ----------
    share
        k / n.
    n
        Independent trials: subjects.
    alpha
        1 - level.

    Notes
    -----
    centre ``(p + z^2/2n) / (1 + z^2/n)``, half-width ``z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)`` (Wilson 1927).

    Examples
    --------
    >>> [round(x, 6) for x in wilson_interval(0.8, 5, 0.05)]
    [0.375535, 0.963776]
    """
    from scipy.special import ndtri

    z = float(ndtri(1 - alpha / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def unit_weights(people: int) -> NDArray[np.float64]:
    """Return the replicate in which every subject weighs 1: the point value."""
    return np.ones((people, 1))
