"""The reports of FairMedFM, MEDFAIR and FairCLIP as their released code computes them, for comparison with published tables.

These numbers are reproduced, not recommended: thresholds are chosen on the rows that are measured (optimistic), decisions
lose the sample that set the threshold, calibration bins follow the range of each group's scores, and one mean is taken over
everybody. Every function returns a plain mapping whose keys are the published names.

Guarantee: what the peers' code turns into -1, 0 or a crash is NaN here, or an error that says what is missing.

References
----------
FairMedFM: Jin et al. 2024, package 0.4. MEDFAIR: Zong et al. 2023, code of May 2023. FairCLIP: Luo et al. 2024, released
code (shared with FairVision and Harvard-GF).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.disparity import GroupValues, disparity, mean_over_classes
from evaluator.metrics.metric import Array
from evaluator.metrics.thresholds import choose_threshold
from shards.errors import UserError

Flags = NDArray[np.bool_]
Report = dict[str, float]


class Confusion(NamedTuple):
    """Counts of decisions in each group, ``[G]`` each, in the order in which scikit-learn gives them."""

    tn: Array
    fp: Array
    fn: Array
    tp: Array

    @classmethod
    def of(cls, decided: Flags, positive: Flags, group: NDArray[Any]) -> Confusion:
        """Count rows ``[n]``; groups are in the order of their names."""
        _, code = np.unique(group, return_inverse=True)
        cells = (~decided & ~positive, decided & ~positive, ~decided & positive, decided & positive)
        return cls(*(np.bincount(code, cell).astype(np.float64) for cell in cells))

    @classmethod
    def of_counts(cls, *groups: tuple[int, int, int, int]) -> Confusion:
        """Take the (tn, fp, fn, tp) of each group as published.

        Examples
        --------
        >>> Confusion.of_counts((1, 22, 1, 4), (0, 24, 0, 4)).disparity("eqopp:tpr_gap")
        0.19999999999999996
        """
        return cls(*np.asarray(groups, np.float64).T)

    @property
    def pooled(self) -> Confusion:
        """All groups together, ``[1]``."""
        return Confusion(*(cell.sum(keepdims=True) for cell in self))

    def rate(self, name: str) -> Array:
        """Compute a metric of the table by name for each group ``[G]``; NaN where nobody is below the line."""
        above, below = {
            "sensitivity": (self.tp, self.tp + self.fn),
            "specificity": (self.tn, self.tn + self.fp),
            "selection_rate": (self.tp + self.fp, self.sizes),
            "accuracy": (self.tp + self.tn, self.sizes),
            "mean_benefit": (self.sizes + self.fp - self.fn, self.sizes),
        }[name]
        return np.asarray(above / np.where(below > 0, below, np.nan))

    @property
    def sizes(self) -> Array:
        """Samples of each group."""
        return np.asarray(self.tn + self.fp + self.fn + self.tp)

    def group_values(self, *metrics: str) -> GroupValues:
        """Return metrics of the groups and of everybody, for :mod:`evaluator.metrics.disparity`."""
        return GroupValues(
            np.stack([self.rate(name) for name in metrics]),
            np.concatenate([self.pooled.rate(name) for name in metrics]),
            sizes=self.sizes,
        )

    def disparity(self, kind: str, metric: str = "accuracy") -> float:
        """Compute a kind of disparity of its own parts, or of `metric` where it has none."""
        known = disparity(kind)
        return float(known.compute(self.group_values(*(known.parts or (metric,)))))


def fairmedfm_report(score: Array, positive: Flags, group: NDArray[Any]) -> Report:
    """Reproduce FairMedFM's summary of a binary classifier.

    Parameters
    ----------
    score
        ``[n]`` probability of the positive class.
    positive
        ``[n]`` truth.
    group
        ``[n]`` group of each sample.

    Returns
    -------
    dict
        ``overall-auc``, ``overall-acc``, ``overall-bce``, ``overall-ece``, ``worst-auc``, ``auc-gap``, ``acc-gap``,
        ``bce-gap``, ``ece-gap``, ``eo``, ``eod``; NaN where a group lacks a class.

    Raises
    ------
    UserError
        If there are no rows of both classes.

    Notes
    -----
    Accuracy, ``eo`` (gap in sensitivity) and ``eod`` (1 - mean of the gaps in sensitivity and specificity) are at
    ``test:f1:legacy``. Each group's ``ece`` has bins over its own range.
    """
    threshold = choose_threshold("test:f1:legacy", _with_both_classes(score, positive), positive)
    confusion = Confusion.of(threshold.decide(score), positive, group)
    areas = _by_group(area, score, positive, group)
    losses = _by_group(bce_clamp100, score, positive, group)
    errors = _by_group(ece_range10, score, positive, group)
    return {
        "overall-auc": area(score, positive),
        "overall-acc": float(confusion.pooled.rate("accuracy")[0]),
        "overall-bce": bce_clamp100(score, positive),
        "overall-ece": ece_range10(score, positive),
        "worst-auc": float(areas.min()),
        "auc-gap": float(np.ptp(areas)),
        "acc-gap": confusion.disparity("max-min", "accuracy"),
        "bce-gap": float(np.ptp(losses)),
        "ece-gap": float(np.ptp(errors)),
        "eo": confusion.disparity("eqopp:tpr_gap"),
        "eod": confusion.disparity("eqodds:one_minus_mean"),
    }


def fairmedfm_segmentation(dice: Array, group: NDArray[Any]) -> Report:
    """Reproduce FairMedFM's summary of a segmenter.

    Parameters
    ----------
    dice
        ``[n]`` Dice of each image, a fraction.
    group
        ``[n]`` group of each image.

    Returns
    -------
    dict
        ``mean_dice`` (over images), ``min_dice``, ``max_dice``, ``delta_dice``, ``skewness_dice``, ``std_dice`` (of the
        groups' means) and ``es_dice``.
    """
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    values = GroupValues((np.bincount(code, dice) / size)[None], np.asarray([dice.mean()]))
    return fairmedfm_segmentation_of_groups(values)


def fairmedfm_segmentation_of_groups(values: GroupValues) -> Report:
    """Reproduce the same from the groups' mean Dice ``[1, G]`` and the mean over all images ``[1]``."""
    named = {
        "min_dice": "worst",
        "delta_dice": "max-min",
        "skewness_dice": "ser",
        "std_dice": "std",
        "es_dice": "es:popstd",
    }
    report = {key: float(disparity(kind).compute(values)) for key, kind in named.items()}
    return {"mean_dice": float(values.overall[0]), "max_dice": float(values.values[0].max()), **report}


def medfair_report(score: Array, positive: Flags, group: NDArray[Any]) -> Report:
    """Reproduce MEDFAIR's fairness of a binary classifier for an attribute of two groups.

    Parameters
    ----------
    score, positive, group
        ``[n]`` each.

    Returns
    -------
    dict
        ``DP``, ``EqOpp0``, ``EqOpp1``, ``EqOdd`` at ``test:f1:legacy``; ``EqOdd_0.5``, ``EqOdd_specificity_0.8`` and
        ``EqOdd_sensitivity_0.8``; all 1 when fair, NaN where a group lacks a class.

    Raises
    ------
    UserError
        If there are not two groups, or no rows of both classes.

    Notes
    -----
    The names are those its code prints, which are swapped: its ``EqOpp0`` compares the positives (sensitivity), its
    ``EqOpp1`` the negatives. All decisions are ``>``.
    """
    groups = np.unique(group)
    if len(groups) != 2:
        raise UserError(
            f"MEDFAIR's fairness is defined for two groups, got {len(groups)}. Use 'eqodds:one_minus_mean'."
        )
    _with_both_classes(score, positive)
    best = _medfair_confusion("test:f1:legacy", score, positive, group)
    return {
        "DP": best.disparity("dp:one_minus"),
        "EqOpp0": best.disparity("eqopp:one_minus"),
        "EqOpp1": best.disparity("eqopp0:one_minus"),
        "EqOdd": best.disparity("eqodds:medfair"),
        "EqOdd_0.5": Confusion.of(score > 0.5, positive, group).disparity("eqodds:medfair"),
        **{
            f"EqOdd_{name}_0.8": _medfair_confusion(rule, score, positive, group).disparity("eqodds:medfair")
            for name, rule in (
                ("specificity", "test:tnr=0.8:medfair"),
                ("sensitivity", "test:tpr=0.8:medfair"),
            )
        },
    }


def _medfair_confusion(rule: str, score: Array, positive: Flags, group: NDArray[Any]) -> Confusion:
    return Confusion.of(choose_threshold(rule, score, positive).decide(score), positive, group)


def fairclip_report(score: Array, positive: Flags, group: NDArray[Any]) -> Report:
    """Reproduce the report of FairCLIP, FairVision and Harvard-GF for two classes.

    Parameters
    ----------
    score, positive, group
        ``[n]`` each; decisions are ``score >= 0.5``.

    Returns
    -------
    dict
        ``Acc``, ``ES-Acc``, ``AUC``, ``ES-AUC``, ``DPD``, ``DEOdds``, ``PSD-std``, ``PSD-max``, as fractions.
    """
    confusion = Confusion.of(score >= 0.5, positive, group)
    areas = GroupValues(_by_group(area, score, positive, group)[None], np.asarray([area(score, positive)]))
    return {
        "Acc": float(confusion.pooled.rate("accuracy")[0]),
        "ES-Acc": confusion.disparity("es:sum", "accuracy"),
        "AUC": float(areas.overall[0]),
        "ES-AUC": float(disparity("es:sum").compute(areas)),
        "DPD": confusion.disparity("dp:diff"),
        "DEOdds": confusion.disparity("eqodds:max"),
        "PSD-std": float(disparity("psd:std").compute(areas)),
        "PSD-max": float(disparity("psd:max").compute(areas)),
    }


def fairclip_multiclass(scores: Array, label: NDArray[np.int64], group: NDArray[Any]) -> Report:
    """Reproduce FairCLIP's DPD and DEOdds for several classes, beside what they were meant to be.

    Parameters
    ----------
    scores
        ``[n, C]``; the decision is the class with the highest score.
    label
        ``[n]`` true class.
    group
        ``[n]`` group of each sample.

    Returns
    -------
    dict
        ``DPD``, ``DEOdds``: means over classes of one against the rest. ``DPD:released``, ``DEOdds:released``: as the
        released code computes them; NaN where a class is never decided for in a group.

    Notes
    -----
    The released code hands the decision over as truth and the truth as decision. So its DPD is the gap in prevalence, which
    no model can change, and its DEOdds compares predictive values.
    """
    decided = scores.argmax(axis=1)
    classes = range(scores.shape[1])
    meant = [Confusion.of(decided == c, label == c, group) for c in classes]
    released = [Confusion.of(label == c, decided == c, group) for c in classes]
    return {
        f"{name}{suffix}": float(
            mean_over_classes(
                disparity(kind), [counts.group_values(*disparity(kind).parts) for counts in confusions]
            )
        )
        for suffix, confusions in (("", meant), (":released", released))
        for name, kind in (("DPD", "dp:diff"), ("DEOdds", "eqodds:max"))
    }


def area(score: Array, positive: Flags) -> float:
    """Compute the area under the ROC curve with mid-ranks; NaN where a class is missing."""
    from scipy.stats import rankdata

    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def bce_clamp100(score: Array, positive: Flags) -> float:
    """Compute the mean log loss with each logarithm no lower than -100, as ``torch.nn.BCELoss`` does; NaN without rows."""
    if not len(score):
        return float("nan")
    with np.errstate(divide="ignore"):
        log = np.maximum(np.log(np.where(positive, score, 1.0 - score)), -100.0)
    return float(-log.mean())


def range_bins(score: Array, *, bins: int = 10) -> NDArray[np.int64]:
    """Place scores ``[n]`` into bins of equal width over their own range, 0 the lowest, as ``pandas.cut`` does.

    Bins are closed on the right; the first is widened by a thousandth of the range so that the smallest score is inside. Where
    all scores are equal the range is widened by a thousandth of the score on either side.
    """
    low, high = float(score.min()), float(score.max())
    if low == high:
        margin = 0.001 * abs(low) if low else 0.001
        edges = np.linspace(low - margin, high + margin, bins + 1)
    else:
        edges = np.linspace(low, high, bins + 1)
        edges[0] -= 0.001 * (high - low)
    return np.asarray(np.searchsorted(edges, score, side="left") - 1, np.int64)


def ece_range10(score: Array, positive: Flags) -> float:
    """Compute the calibration error over ten bins of the scores' own range (``ece:range10``); NaN without rows.

    Stretching the same scores over another range changes it, and groups with other ranges have other bins, so groups cannot be
    compared by it.

    Examples
    --------
    >>> ece_range10(np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True]))
    0.25
    """
    if not len(score):
        return float("nan")
    off = np.bincount(range_bins(score), score - positive)
    return float(np.abs(off).sum() / len(score))


def _by_group(function: Any, score: Array, positive: Flags, group: NDArray[Any]) -> Array:
    """Apply a function of scores and truth to every group; ``[G]`` in the order of their names."""
    return np.asarray([function(score[group == name], positive[group == name]) for name in np.unique(group)])


def _with_both_classes(score: Array, positive: Flags) -> Array:
    if not 0 < positive.sum() < len(positive):
        raise UserError(
            f"a best-F1 threshold requires rows of both classes, got {int(positive.sum())} positive of {len(positive)}."
            " Check the labels of the evaluated split."
        )
    return score
