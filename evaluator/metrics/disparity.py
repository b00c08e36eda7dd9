"""Every published function of the groups' values by name: gap, ratio, equity scaling, equalized odds and the rest.

What a kind is and how chance is taken off it: :mod:`evaluator.metrics.group_values`.

References
----------
Equity scaling: Tian et al. 2024 (FairSeg), Luo et al. 2024 (FairCLIP, Harvard-GF; also PSD), Jin et al. 2024 (FairMedFM).
Equalized odds, equal opportunity: Hardt, Price and Srebro 2016; Zong et al. 2023 (MEDFAIR); fairlearn. Corrected variance:
Lum, Zhang and Bower 2022. Generalised entropy: Speicher et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evaluator.metrics.group_values import (
    AgainstChance,
    Disparity,
    Formula,
    GroupValues,
    Need,
    Scope,
    against_chance,
    require_fractions,
)
from evaluator.metrics.metric import Array
from shards.errors import UserError, unknown_name

__all__ = [
    "DISPARITIES",
    "AgainstChance",
    "Disparity",
    "GroupValues",
    "against_chance",
    "convert_equity_scaled",
    "disparity",
    "kinds",
    "mean_over_classes",
    "require_fractions",
]


def mean_over_classes(kind: Disparity, classes: Sequence[GroupValues]) -> Array:
    """Average a kind over one-against-rest problems, as FairCLIP and FairVision do for several classes.

    Parameters
    ----------
    kind
        E.g. ``dp:diff`` or ``eqodds:max``.
    classes
        Group values of each class against the rest, decided by the highest score.

    Returns
    -------
    ``[...]``
        NaN where any class has no value.
    """
    return np.asarray(np.mean([kind.compute(groups) for groups in classes], axis=0))


def convert_equity_scaled(
    published: float,
    *,
    source: str,
    target: str,
    overall: float,
    groups: Sequence[float] | None,
    tolerance: float = 2e-4,
) -> float:
    """Convert a published equity-scaled value to another convention.

    Parameters
    ----------
    published
        The value, a fraction.
    source, target
        Kinds ``es:...``.
    overall
        The value over all samples, a fraction.
    groups
        The groups' values; without them there is nothing to convert from.
    tolerance
        How far the published value may be from its own formula (its printed rounding, and that of its parts).

    Returns
    -------
    float
        The value under `target`.

    Raises
    ------
    UserError
        If group values are missing, or the published value does not follow from them under `source`.

    Examples
    --------
    >>> round(convert_equity_scaled(
    ...     0.7243, source="es:sum", target="es:popstd", overall=0.7727, groups=(0.7974, 0.7360, 0.7782)
    ... ), 6)
    0.753379
    """
    known = [name for name in kinds() if name.startswith("es:")]
    for name in (source, target):
        if name not in known:
            raise unknown_name("equity-scaled convention", name, known)
    if groups is None:
        raise UserError(
            f"converting {source} to {target} requires the groups' values, got none: one equity-scaled number belongs to many"
            " sets of groups. Give the values of all groups."
        )
    values = GroupValues(np.asarray([groups], np.float64), np.asarray([overall], np.float64))
    expected = float(disparity(source).compute(values))
    if not abs(expected - published) <= tolerance:
        raise UserError(
            f"published value {published:g} is not {source} of these groups, which is {expected:.6f}. Check the convention,"
            " and that overall and group values are of the same row."
        )
    return float(disparity(target).compute(values))


def disparity(kind: str, *, higher_is_better: bool = True) -> Disparity:
    """Return a kind by name.

    Parameters
    ----------
    kind
        Name in the table of gaps.
    higher_is_better
        Direction of the compared metric; decides which group is the worst (kind ``worst``), and nothing else.

    Raises
    ------
    UserError
        If there is no such kind; names the nearest.
    """
    if kind == _WORST_LOSS.kind and not higher_is_better:
        return _WORST_LOSS
    for known in DISPARITIES:
        if known.kind == kind:
            return known
    raise unknown_name("kind of disparity", kind, kinds())


def kinds() -> tuple[str, ...]:
    """List the names of all kinds."""
    return tuple(known.kind for known in DISPARITIES)


def _gap(values: Array) -> Array:
    return np.asarray(values.max(axis=-1) - values.min(axis=-1))


def _ratio(values: Array) -> Array:
    return np.asarray(values.min(axis=-1) / values.max(axis=-1))


def _distance(
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


def _towards_one(
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


def _equity_scaled(kind: str, meaning: str, spread: Formula, *, centre: Formula) -> Disparity:
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


def _second_order(
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


def _worst(meaning: str, pick: Callable[[Array], Array], sign: float) -> Disparity:
    """Describe the worst group's value; a worst group that beats the overall value departs by 0."""
    return Disparity(
        "worst",
        meaning,
        formula=lambda g: pick(g.values[0]),
        departure=lambda g: np.maximum(0.0, sign * (g.overall[0] - pick(g.values[0]))) ** 2,
        restore=lambda d, g: g.overall[0] - sign * np.sqrt(d),
        fair_value=None,
    )


def _overall(g: GroupValues) -> Array:
    return np.asarray(g.overall[0])


def _group_mean(g: GroupValues) -> Array:
    return np.asarray(g.values[0].mean(axis=-1))


def _std(g: GroupValues) -> Array:
    return np.asarray(g.values[0].std(axis=-1))


def _sample_std(g: GroupValues) -> Array:
    return np.asarray(g.values[0].std(axis=-1, ddof=1))


def _variance(g: GroupValues) -> Array:
    return np.asarray(g.values[0].var(axis=-1, ddof=1))


def _corrected_variance(g: GroupValues) -> Array:
    noise = np.nan if g.squared_errors is None else g.squared_errors[0].mean(axis=-1)
    return np.asarray(_variance(g) - noise)


def _from_overall(g: GroupValues) -> Array:
    return np.asarray(np.abs(g.values[0] - g.overall[0][..., None]))


def _between_entropy(g: GroupValues) -> Array:
    """Generalised entropy with alpha 2 of samples that each have their group's mean benefit."""
    sizes = np.ones_like(g.values[0]) if g.sizes is None else g.sizes
    share = sizes / sizes.sum(axis=-1, keepdims=True)
    mean = (share * g.values[0]).sum(axis=-1, keepdims=True)
    return np.asarray(0.5 * (share * ((g.values[0] / mean) ** 2 - 1.0)).sum(axis=-1))


def _two_groups(formula: Formula) -> Formula:
    """Leave more than two groups undefined."""
    return lambda g: formula(g) if g.values.shape[-1] == 2 else np.full(g.values.shape[1:-1], np.nan)


def _mean_gap(g: GroupValues) -> Array:
    return np.asarray(_gap(g.values).mean(axis=0))


def _odds_ratio(g: GroupValues) -> Array:
    return np.minimum(_ratio(g.values[0]), _ratio(1.0 - g.values[1]))


_DP, _OPPORTUNITY, _ODDS = "demographic_parity", "equal_opportunity", "equalized_odds"
_SELECTED, _SENSITIVITY, _SPECIFICITY = ("selection_rate",), ("sensitivity",), ("specificity",)
_RATES = ("sensitivity", "specificity")

_WORST_LOSS = _worst("Value of the worst group, the largest one.", lambda v: v.max(axis=-1), -1.0)

#: All kinds, in the order of the tables.
DISPARITIES: tuple[Disparity, ...] = (
    _distance(
        "max-min",
        "Largest minus smallest value of the groups; 0 is fair, and chance alone makes it positive.",
        lambda g: _gap(g.values[0]),
    ),
    _towards_one(
        "ratio",
        "Smallest over largest value of the groups (fairlearn); 1 is fair.",
        lambda g: _ratio(g.values[0]),
    ),
    _distance(
        "std", "Standard deviation of the groups' values around their mean (divided by G); 0 is fair.", _std
    ),
    _worst("Value of the worst group, the smallest one.", lambda v: v.min(axis=-1), 1.0),
    _equity_scaled(
        "sum",
        "Overall value over 1 + the sum of the groups' distances from it (FairSeg, FairCLIP; Tian et al. 2024); stricter"
        " with more groups, so never to be compared between attributes with different numbers of groups.",
        lambda g: _from_overall(g).sum(axis=-1),
        centre=_overall,
    ),
    _equity_scaled(
        "mean",
        "Overall value over 1 + the mean distance of the groups from it.",
        lambda g: _from_overall(g).mean(axis=-1),
        centre=_overall,
    ),
    _equity_scaled(
        "popstd",
        "Overall value over 1 + the standard deviation of the groups' values (divided by G; FairMedFM's es_dice).",
        _std,
        centre=_overall,
    ),
    _equity_scaled(
        "std",
        "Overall value over 1 + the sample standard deviation of the groups' values (divided by G - 1; first version of"
        " FairSeg).",
        _sample_std,
        centre=_overall,
    ),
    _equity_scaled(
        "groupmean_popstd",
        "Mean of the groups' values over 1 + their standard deviation (divided by G); every group counts alike whatever its"
        " size.",
        _std,
        centre=_group_mean,
    ),
    _distance(
        "psd:std",
        "Performance-scaled disparity: standard deviation of the groups (divided by G) over the overall value (FairCLIP).",
        lambda g: _std(g) / g.overall[0],
        scope="scores",
    ),
    _distance(
        "psd:max",
        "Performance-scaled disparity: largest minus smallest group over the overall value (FairCLIP).",
        lambda g: _gap(g.values[0]) / g.overall[0],
        scope="scores",
    ),
    _distance(
        "psd:std_half",
        "Standard deviation of the groups (divided by G) over how far the overall AUC is from guessing.",
        lambda g: _std(g) / np.abs(g.overall[0] - 0.5),
        scope="areas",
    ),
    _distance(
        "psd:max_half",
        "Largest minus smallest group over how far the overall AUC is from guessing.",
        lambda g: _gap(g.values[0]) / np.abs(g.overall[0] - 0.5),
        scope="areas",
    ),
    Disparity(
        "ser",
        "Skewed error ratio: error of the worst group over error of the best, (1 - min) / (1 - max) (FairMedFM); 1 is fair.",
        formula=lambda g: (1.0 - g.values[0].min(axis=-1)) / (1.0 - g.values[0].max(axis=-1)),
        departure=lambda g: (_gap(g.values[0]) / (1.0 - g.values[0].max(axis=-1))) ** 2,
        restore=lambda d, g: 1.0 + np.sqrt(d),
        fair_value=1.0,
        scope="scores",
    ),
    _second_order(
        "variance:naive",
        "Variance of the groups' values (divided by G - 1), chance included.",
        _variance,
    ),
    _second_order(
        "variance:corrected",
        "Variance of the groups' values less their mean squared standard error (Lum et al. 2022); below 0 where the groups"
        " differ by less than chance.",
        _corrected_variance,
        needs=("squared_errors",),
    ),
    _distance(
        "dp:diff",
        "Demographic parity: largest minus smallest share decided positive (FairCLIP, fairlearn); 0 is fair.",
        lambda g: _gap(g.values[0]),
        metric=_DP,
        parts=_SELECTED,
    ),
    _towards_one(
        "dp:ratio",
        "Demographic parity: smallest over largest share decided positive (fairlearn); 1 is fair.",
        lambda g: _ratio(g.values[0]),
        metric=_DP,
        parts=_SELECTED,
    ),
    _towards_one(
        "dp:one_minus",
        "1 - difference between the shares decided positive of two groups (MEDFAIR's DP); 1 is fair.",
        _two_groups(lambda g: 1.0 - _gap(g.values[0])),
        metric=_DP,
        parts=_SELECTED,
    ),
    _distance(
        "eqopp:tpr_gap",
        "Equal opportunity: largest minus smallest sensitivity (FairMedFM's eo, fairlearn); 0 is fair.",
        lambda g: _gap(g.values[0]),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    _towards_one(
        "eqopp:ratio",
        "Equal opportunity: smallest over largest sensitivity (fairlearn); 1 is fair.",
        lambda g: _ratio(g.values[0]),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    _towards_one(
        "eqopp:one_minus",
        "1 - difference in sensitivity between two groups (MEDFAIR's EqOpp1, which its code prints as EqOpp0); 1 is fair.",
        _two_groups(lambda g: 1.0 - _gap(g.values[0])),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    _towards_one(
        "eqopp0:one_minus",
        "1 - difference in false positive rate between two groups (MEDFAIR's EqOpp0, which its code prints as EqOpp1); 1 is"
        " fair.",
        _two_groups(lambda g: 1.0 - _gap(g.values[0])),
        metric=_OPPORTUNITY,
        parts=_SPECIFICITY,
    ),
    _distance(
        "eqodds:max",
        "Equalized odds: the larger of the gaps in sensitivity and false positive rate (FairCLIP's DEOdds, fairlearn's"
        " default); 0 is fair.",
        lambda g: _gap(g.values).max(axis=0),
        metric=_ODDS,
        parts=_RATES,
    ),
    _distance(
        "eqodds:mean",
        "Equalized odds: mean of the gaps in sensitivity and false positive rate (fairlearn with agg='mean'); 0 is fair.",
        _mean_gap,
        metric=_ODDS,
        parts=_RATES,
    ),
    _towards_one(
        "eqodds:one_minus_mean",
        "1 - mean of the gaps in sensitivity and specificity (FairMedFM's eod); 1 is fair.",
        lambda g: 1.0 - _mean_gap(g),
        metric=_ODDS,
        parts=_RATES,
    ),
    _towards_one(
        "eqodds:medfair",
        "1 - mean of the differences in sensitivity and false positive rate between two groups (MEDFAIR's EqOdd); 1 is fair.",
        _two_groups(lambda g: 1.0 - _mean_gap(g)),
        metric=_ODDS,
        parts=_RATES,
    ),
    _towards_one(
        "eqodds:ratio",
        "Equalized odds: the smaller of the ratios of sensitivities and of false positive rates (fairlearn); 1 is fair.",
        _odds_ratio,
        metric=_ODDS,
        parts=_RATES,
    ),
    _second_order(
        "ge:between",
        "Generalised entropy (alpha 2) between groups, of the benefit 1 + decision - truth (Speicher et al. 2018); 0 is fair.",
        _between_entropy,
        needs=("sizes",),
        metric="benefit",
        parts=("mean_benefit",),
    ),
)
