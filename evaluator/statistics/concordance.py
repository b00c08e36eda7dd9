"""Whether models, or datasets, agree on which group is worse off.

Two questions that look alike have different units. *Do the models agree?* All models of a dataset see the same subjects: if by
chance the women in the test set are hard cases, every model will say that women are worse off. So models are not independent
votes, and a binomial test over models is wrong; here the replicates that models share say how often noise of that kind makes
so many models agree. *Do the datasets agree?* Datasets have different subjects and are independent votes: there the exact sign
test and Kendall's W with a permutation test apply.

References
----------
Kendall and Babington Smith 1939 (W); Dixon and Mood 1946 (sign test).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.metrics.metric import Array
from evaluator.statistics.bootstrap import percentile_interval
from evaluator.statistics.friedman import rank_rows

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Concordance:
    """Kendall's W of raters that are independent of each other.

    Attributes
    ----------
    w
        0 (no agreement) to 1 (all rank alike); NaN where every rater has nothing but ties.
    chi2, chi2_p_value
        ``m (G - 1) W`` and its p by chi-square with G - 1 degrees of freedom, right for many raters.
    p_value
        By permutation of each rater's ranks, ``(b + 1) / (B + 1)``, right for any number.
    """

    w: float
    chi2: float
    chi2_p_value: float
    p_value: float


@dataclass(frozen=True)
class Agreement:
    """How far results on the same subjects rank groups alike.

    Attributes
    ----------
    value
        Kendall's W. It has no interval: resampled values are noisier, so their W is not centred at W.
    p_value
        Chance of at least that much agreement without any true difference between groups, given how much the results share;
        None where `reason` says why.
    reason
        Why something is None; None when all is there.
    """

    value: float
    p_value: float | None
    reason: str | None


@dataclass(frozen=True)
class Share:
    """For how many of the results on the same subjects a group is worse off.

    Attributes
    ----------
    value
        Between 0 and 1.
    ci_low, ci_high
        Percentile interval; None where `reason` says why.
    reason
        Why something is None; None when all is there.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    reason: str | None


@dataclass(frozen=True)
class SignTest:
    """Exact two-sided sign test.

    Attributes
    ----------
    negative, count
        How many are below 0, of how many that are not 0.
    p_value
        Of "above and below are equally likely"; 1 where `count` is 0.
    """

    negative: int
    count: int
    p_value: float


def kendall_w(values: Array) -> Array:
    """Return Kendall's coefficient of concordance, corrected for ties.

    Parameters
    ----------
    values
        ``[..., m, G]`` value that each of m raters gives to each of G groups, no NaN.

    Returns
    -------
    ``[...]`` float64
        NaN where every rater has nothing but ties.

    Notes
    -----
    ``W = sum_g (R_g - m (G + 1) / 2)^2 / (m sum_ig (r_ig - (G + 1) / 2)^2)`` over rank sums R_g; without ties the denominator
    is ``m^2 (G^3 - G) / 12``. For two groups without ties it is ``(2 s - 1)^2``, s the share of raters that agree.

    Examples
    --------
    >>> float(kendall_w(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])).round(4))
    0.7778
    """
    ranks = rank_rows(values)
    raters, groups = values.shape[-2:]
    between = ((ranks.sum(axis=-2) - raters * (groups + 1) / 2) ** 2).sum(axis=-1)
    spread = ((ranks - (groups + 1) / 2) ** 2).sum(axis=(-2, -1))
    return np.asarray(between / np.where(spread > 0, raters * spread, np.nan), np.float64)


def kendall_test(values: Array, generator: np.random.Generator, *, permutations: int = 9999) -> Concordance:
    """Test whether independent raters rank groups alike.

    Parameters
    ----------
    values
        ``[m, G]``, m and G at least 2, no NaN.
    generator
        Of the permutations.
    permutations
        How many.

    Notes
    -----
    Without agreement W is 1 / m on average, whatever the sizes of the groups: the squares of one rater's ranks always
    have the same sum.
    """
    from scipy.special import chdtrc

    if values.ndim != 2 or min(values.shape) < 2 or np.isnan(values).any():
        raise ValueError(f"values must be [m, G] without NaN, m and G at least 2, got shape {values.shape}")
    raters, groups = values.shape
    w = float(kendall_w(values))
    if math.isnan(w):
        return Concordance(math.nan, math.nan, math.nan, math.nan)
    ranks = np.broadcast_to(rank_rows(values), (permutations, raters, groups))
    sums = generator.permuted(ranks, axis=-1).sum(axis=1)
    between = ((sums - raters * (groups + 1) / 2) ** 2).sum(axis=-1)
    seen = ((rank_rows(values).sum(axis=0) - raters * (groups + 1) / 2) ** 2).sum()
    reached = int((between >= seen - _ROUNDING).sum())
    chi2 = raters * (groups - 1) * w
    return Concordance(w, chi2, float(chdtrc(groups - 1, chi2)), (reached + 1) / (permutations + 1))


def shared_kendall(values: Sequence[Array], replicates: Sequence[Array]) -> Agreement:
    """Return how far models rank groups alike within datasets, and whether shared subjects alone explain it.

    Parameters
    ----------
    values
        For each dataset ``[m, G]``: value of each model in each group; m and G at least 2 and free to differ over datasets.
    replicates
        For each dataset ``[m, G, B]``: bootstrap replicates, paired over models.

    Returns
    -------
    Agreement
        Value: mean over datasets of Kendall's W.

    Notes
    -----
    Null: replicates minus values have the noise of the values, with all that models share, around no difference. p is
    ``(b + 1) / (B + 1)``, b of the B replicates reaching the W seen. Ten models that agree prove little where their noise is
    the same.
    """
    seen = [float(kendall_w(table)) for table in values]
    defined = [not math.isnan(w) for w in seen]
    if not any(defined):
        return Agreement(math.nan, None, "no_variation: all groups are ties")
    value = float(np.mean([w for w in seen if not math.isnan(w)]))
    length = min(table.shape[-1] for table in replicates)
    if not length:
        return Agreement(value, None, "no_replicates")
    parts = [
        np.moveaxis(draws[..., :length] - table[..., None], -1, 0)
        for table, draws, there in zip(values, replicates, defined, strict=True)
        if there
    ]
    kept = _complete([part.reshape(length, -1) for part in parts])
    if isinstance(kept, str):
        return Agreement(value, None, kept)
    null = np.mean([np.nan_to_num(kendall_w(part[kept]), nan=0.0) for part in parts], axis=0)
    reached = int((null >= value - _ROUNDING).sum())
    return Agreement(value, (reached + 1) / (len(null) + 1), None)


def sign_agreement(differences: Sequence[Array], replicates: Sequence[Array], alpha: float) -> Share:
    """Return the share of models for which a group is worse off.

    Parameters
    ----------
    differences
        For each dataset ``[m]``: how much better the group is than the other groups, for each model; no NaN.
    replicates
        For each dataset ``[m, B]``: bootstrap replicates, paired over models.
    alpha
        1 - level of the interval.

    Returns
    -------
    Share
        Value: share of the models with a difference below 0 (0 counts half), mean over datasets.

    Notes
    -----
    Interval: percentiles of the share over replicates. It holds for the populations of these datasets; whether other datasets
    would agree is for :func:`sign_test` to say, and whether models agree beyond what they share for :func:`shared_kendall`.
    """
    value = float(np.mean([_share(table[:, None])[0] for table in differences]))
    length = min(table.shape[-1] for table in replicates)
    cut = [table[:, :length] for table in replicates]
    kept = _complete([table.T for table in cut])
    if isinstance(kept, str):
        return Share(value, None, None, kept)
    interval = percentile_interval(np.mean([_share(table[:, kept]) for table in cut], axis=0), alpha)
    if isinstance(interval, str):
        return Share(value, None, None, f"no interval: {interval}")
    return Share(value, *interval, None)


def sign_test(differences: Array) -> SignTest:
    """Test whether independent differences lie above and below 0 equally often.

    Parameters
    ----------
    differences
        ``[N]`` one per dataset, no NaN; zeros say nothing and are dropped.

    Examples
    --------
    >>> sign_test(np.array([-0.1, -0.2, -0.1, -0.3, -0.2, -0.1])).p_value
    0.03125
    """
    from scipy.special import bdtr

    negative, count = int((differences < 0).sum()), int((differences != 0).sum())
    if not count:
        return SignTest(0, 0, 1.0)
    return SignTest(negative, count, min(1.0, 2.0 * float(bdtr(min(negative, count - negative), count, 0.5))))


def _share(differences: Array) -> Array:
    """Return for each column the share of rows below 0; 0 counts half."""
    return np.asarray(((differences < 0) + 0.5 * (differences == 0)).mean(axis=0), np.float64)


def _complete(tables: Sequence[Array]) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | str:
    """Return which replicates (rows) are defined in all tables, or why they are too few."""
    length = len(tables[0])
    if not length:
        return "no_replicates"
    kept = ~np.any([np.isnan(table).any(axis=1) for table in tables], axis=0)
    if kept.mean() < 0.95:
        return f"undefined_replicates: {int((~kept).sum())} of {length}"
    return np.asarray(kept)
