"""Every published function of the groups' values by name: gap, ratio, equity scaling, equalized odds and the rest.

What a kind is and how chance is taken off it: :mod:`evaluator.metrics.group_values`.

References
----------
Equity scaling: Tian et al. 2024 (FairSeg), Luo et al. 2024 (FairCLIP, Harvard-GF; also PSD), Jin et al. 2024 (FairMedFM).
Equalized odds, equal opportunity: Hardt, Price and Srebro 2016; Zong et al. 2023 (MEDFAIR); fairlearn. Corrected variance:
Lum, Zhang and Bower 2022. Generalised entropy: Speicher et al. 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluator.metrics import disparity_forms as forms
from evaluator.metrics.group_values import (
    AgainstChance,
    Disparity,
    GroupValues,
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


_DP, _OPPORTUNITY, _ODDS = "demographic_parity", "equal_opportunity", "equalized_odds"
_SELECTED, _SENSITIVITY, _SPECIFICITY = ("selection_rate",), ("sensitivity",), ("specificity",)
_RATES = ("sensitivity", "specificity")

_WORST_LOSS = forms.worst("Value of the worst group, the largest one.", lambda v: v.max(axis=-1), -1.0)

#: All kinds, in the order of the tables.
DISPARITIES: tuple[Disparity, ...] = (
    forms.distance(
        "max-min",
        "Largest minus smallest value of the groups; 0 is fair, and chance alone makes it positive.",
        lambda g: forms.gap(g.values[0]),
    ),
    forms.towards_one(
        "ratio",
        "Smallest over largest value of the groups (fairlearn); 1 is fair.",
        lambda g: forms.ratio(g.values[0]),
    ),
    forms.distance(
        "std",
        "Standard deviation of the groups' values around their mean (divided by G); 0 is fair.",
        forms.std,
    ),
    forms.worst("Value of the worst group, the smallest one.", lambda v: v.min(axis=-1), 1.0),
    forms.equity_scaled(
        "sum",
        "Overall value over 1 + the sum of the groups' distances from it (FairSeg, FairCLIP; Tian et al. 2024); stricter"
        " with more groups, so never to be compared between attributes with different numbers of groups.",
        lambda g: forms.from_overall(g).sum(axis=-1),
        centre=forms.overall,
    ),
    forms.equity_scaled(
        "mean",
        "Overall value over 1 + the mean distance of the groups from it.",
        lambda g: forms.from_overall(g).mean(axis=-1),
        centre=forms.overall,
    ),
    forms.equity_scaled(
        "popstd",
        "Overall value over 1 + the standard deviation of the groups' values (divided by G; FairMedFM's es_dice).",
        forms.std,
        centre=forms.overall,
    ),
    forms.equity_scaled(
        "std",
        "Overall value over 1 + the sample standard deviation of the groups' values (divided by G - 1; first version of"
        " FairSeg).",
        forms.sample_std,
        centre=forms.overall,
    ),
    forms.equity_scaled(
        "groupmean_popstd",
        "Mean of the groups' values over 1 + their standard deviation (divided by G); every group counts alike whatever its"
        " size.",
        forms.std,
        centre=forms.group_mean,
    ),
    forms.distance(
        "psd:std",
        "Performance-scaled disparity: standard deviation of the groups (divided by G) over the overall value (FairCLIP).",
        lambda g: forms.std(g) / g.overall[0],
        scope="scores",
    ),
    forms.distance(
        "psd:max",
        "Performance-scaled disparity: largest minus smallest group over the overall value (FairCLIP).",
        lambda g: forms.gap(g.values[0]) / g.overall[0],
        scope="scores",
    ),
    forms.distance(
        "psd:std_half",
        "Standard deviation of the groups (divided by G) over how far the overall AUC is from guessing.",
        lambda g: forms.std(g) / np.abs(g.overall[0] - 0.5),
        scope="areas",
    ),
    forms.distance(
        "psd:max_half",
        "Largest minus smallest group over how far the overall AUC is from guessing.",
        lambda g: forms.gap(g.values[0]) / np.abs(g.overall[0] - 0.5),
        scope="areas",
    ),
    Disparity(
        "ser",
        "Skewed error ratio: error of the worst group over error of the best, (1 - min) / (1 - max) (FairMedFM); 1 is fair.",
        formula=lambda g: (1.0 - g.values[0].min(axis=-1)) / (1.0 - g.values[0].max(axis=-1)),
        departure=lambda g: (forms.gap(g.values[0]) / (1.0 - g.values[0].max(axis=-1))) ** 2,
        restore=lambda d, g: 1.0 + np.sqrt(d),
        fair_value=1.0,
        scope="scores",
    ),
    forms.second_order(
        "variance:naive",
        "Variance of the groups' values (divided by G - 1), chance included.",
        forms.variance,
    ),
    forms.second_order(
        "variance:corrected",
        "Variance of the groups' values less their mean squared standard error (Lum et al. 2022); below 0 where the groups"
        " differ by less than chance.",
        forms.corrected_variance,
        needs=("squared_errors",),
    ),
    forms.distance(
        "dp:diff",
        "Demographic parity: largest minus smallest share decided positive (FairCLIP, fairlearn); 0 is fair.",
        lambda g: forms.gap(g.values[0]),
        metric=_DP,
        parts=_SELECTED,
    ),
    forms.towards_one(
        "dp:ratio",
        "Demographic parity: smallest over largest share decided positive (fairlearn); 1 is fair.",
        lambda g: forms.ratio(g.values[0]),
        metric=_DP,
        parts=_SELECTED,
    ),
    forms.towards_one(
        "dp:one_minus",
        "1 - difference between the shares decided positive of two groups (MEDFAIR's DP); 1 is fair.",
        forms.two_groups(lambda g: 1.0 - forms.gap(g.values[0])),
        metric=_DP,
        parts=_SELECTED,
    ),
    forms.distance(
        "eqopp:tpr_gap",
        "Equal opportunity: largest minus smallest sensitivity (FairMedFM's eo, fairlearn); 0 is fair.",
        lambda g: forms.gap(g.values[0]),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    forms.towards_one(
        "eqopp:ratio",
        "Equal opportunity: smallest over largest sensitivity (fairlearn); 1 is fair.",
        lambda g: forms.ratio(g.values[0]),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    forms.towards_one(
        "eqopp:one_minus",
        "1 - difference in sensitivity between two groups (MEDFAIR's EqOpp1, which its code prints as EqOpp0); 1 is fair.",
        forms.two_groups(lambda g: 1.0 - forms.gap(g.values[0])),
        metric=_OPPORTUNITY,
        parts=_SENSITIVITY,
    ),
    forms.towards_one(
        "eqopp0:one_minus",
        "1 - difference in false positive rate between two groups (MEDFAIR's EqOpp0, which its code prints as EqOpp1); 1 is"
        " fair.",
        forms.two_groups(lambda g: 1.0 - forms.gap(g.values[0])),
        metric=_OPPORTUNITY,
        parts=_SPECIFICITY,
    ),
    forms.distance(
        "eqodds:max",
        "Equalized odds: the larger of the gaps in sensitivity and false positive rate (FairCLIP's DEOdds, fairlearn's"
        " default); 0 is fair.",
        lambda g: forms.gap(g.values).max(axis=0),
        metric=_ODDS,
        parts=_RATES,
    ),
    forms.distance(
        "eqodds:mean",
        "Equalized odds: mean of the gaps in sensitivity and false positive rate (fairlearn with agg='mean'); 0 is fair.",
        forms.mean_gap,
        metric=_ODDS,
        parts=_RATES,
    ),
    forms.towards_one(
        "eqodds:one_minus_mean",
        "1 - mean of the gaps in sensitivity and specificity (FairMedFM's eod); 1 is fair.",
        lambda g: 1.0 - forms.mean_gap(g),
        metric=_ODDS,
        parts=_RATES,
    ),
    forms.towards_one(
        "eqodds:medfair",
        "1 - mean of the differences in sensitivity and false positive rate between two groups (MEDFAIR's EqOdd); 1 is fair.",
        forms.two_groups(lambda g: 1.0 - forms.mean_gap(g)),
        metric=_ODDS,
        parts=_RATES,
    ),
    forms.towards_one(
        "eqodds:ratio",
        "Equalized odds: the smaller of the ratios of sensitivities and of false positive rates (fairlearn); 1 is fair.",
        forms.odds_ratio,
        metric=_ODDS,
        parts=_RATES,
    ),
    forms.second_order(
        "ge:between",
        "Generalised entropy (alpha 2) between groups, of the benefit 1 + decision - truth (Speicher et al. 2018); 0 is fair.",
        forms.between_entropy,
        needs=("sizes",),
        metric="benefit",
        parts=("mean_benefit",),
    ),
)
