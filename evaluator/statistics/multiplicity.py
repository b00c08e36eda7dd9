"""Many tests at once: Holm inside a declared family, Benjamini-Hochberg for screening.

Family: all gaps of the primary metric (``auc`` for classification, ``dice`` for segmentation, balanced accuracy for decisions
without scores) of one dataset in a study, over models, usages, mitigations, seeds, targets, structures, prompts and
attributes; its p-values are adjusted by Holm, so that the chance of any false claim is at most alpha. All other metrics of the
dataset are a screening family, adjusted by Benjamini-Hochberg: of what it flags, a share of at most alpha is false on average.

References
----------
Holm 1979; Benjamini and Hochberg 1995.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evaluator.metrics.metric import Array

if TYPE_CHECKING:
    import pandas as pd

PRIMARY = ("auc", "dice")
#: What is primary where no primary metric could be tested.
STAND_IN = "balanced_accuracy"
#: The kind whose p-values are tests; all other kinds are read beside it.
TESTED = "max-min"
_HYPOTHESIS = (
    "dataset", "model", "usage", "mitigation", "seed", "split", "target", "structure", "prompt", "task", "attribute",
    "convention",
)  # fmt: skip


def holm(p: Sequence[float] | Array) -> Array:
    """Adjust p-values so that the chance of any false rejection stays below alpha.

    Parameters
    ----------
    p
        ``[m]`` p-values in [0, 1].

    Returns
    -------
    ``[m]`` float64
        ``max_{j <= i} min(1, (m - j + 1) p_(j))`` in the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    return _in_order(np.maximum.accumulate(steps), order)


def benjamini_hochberg(p: Sequence[float] | Array) -> Array:
    """Adjust p-values so that the expected share of false ones among those rejected stays below alpha.

    Parameters
    ----------
    p
        ``[m]`` p-values in [0, 1].

    Returns
    -------
    ``[m]`` float64
        ``min_{j >= i} min(1, m p_(j) / j)`` in the order given.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(1.0, values[order] * len(values) / np.arange(1, len(values) + 1))
    return _in_order(np.minimum.accumulate(steps[::-1])[::-1], order)


def _in_order(steps: Array, order: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Array:
    adjusted = np.empty(len(steps))
    adjusted[order] = steps
    return adjusted


def adjust(gaps: pd.DataFrame, *, alpha: float = 0.05) -> pd.DataFrame:
    """Fill `p_adjusted` and `detectable_adjusted` of a study's gaps table.

    Parameters
    ----------
    gaps
        Columns of :data:`evaluator.tables.GAPS`, the rows of all tasks of a study.
    alpha
        Level of the family, for the gap that could have been found as the only one among all its tests.

    Returns
    -------
    DataFrame
        A copy, same rows in the same order. Rows without a p-value belong to no family and keep a null. The tests of a family
        are its max-min gaps; other kinds say something else about the same groups and take over the adjusted value (kinds of
        several metrics, as equalized odds, the smallest one times their number).
    """
    adjusted = gaps.copy()
    adjusted["p_adjusted"] = np.nan
    tested = gaps[_is_test(gaps)]
    primary = is_primary(tested)
    families: list[tuple[pd.DataFrame, Callable[[Array], Array]]] = [
        (tested[primary], holm),
        (tested[~primary], benjamini_hochberg),
    ]
    for rows, method in families:
        for _, family in rows.groupby("dataset", dropna=False, sort=True):
            adjusted.loc[family.index, "p_adjusted"] = method(family["p_value"].to_numpy(np.float64))
    return _carry_over(adjusted).assign(detectable_adjusted=_detectable(adjusted, alpha))


def _detectable(gaps: pd.DataFrame, alpha: float) -> list[float]:
    from evaluator.statistics.gaps import detectable_among

    if "detectable" not in gaps.columns:
        return [float("nan")] * len(gaps)
    sizes = family_size(gaps).tolist()
    return [
        detectable_among(float(gap), alpha=alpha, tests=size)
        if size and gap == gap and gap is not None
        else float("nan")
        for gap, size in zip(gaps["detectable"].tolist(), sizes, strict=True)
    ]


def is_primary(gaps: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows are of a primary metric; re-weighted and otherwise derived values (``...|...``) are not.

    In a dataset where no primary metric could be tested (decisions without scores) balanced accuracy takes its place.
    """
    plain = ~gaps["convention"].str.contains("|", regex=False)
    primary = measures_primary(gaps)
    dataset = gaps["dataset"].fillna("")
    stand_in = (gaps["metric"] == STAND_IN) & plain
    replaced = set(dataset[stand_in & _is_test(gaps)]) - set(dataset[primary & _is_test(gaps)])
    return (primary & ~dataset.isin(replaced)) | (stand_in & dataset.isin(replaced))


def measures_primary(table: pd.DataFrame) -> pd.Series[bool]:
    """Tell which rows of any measured table are of a primary metric, not of a derived convention."""
    return table["metric"].isin(PRIMARY) & ~table["convention"].str.contains("|", regex=False)


def _is_test(gaps: pd.DataFrame) -> pd.Series[bool]:
    return gaps["p_value"].notna() & (gaps["kind"] == TESTED)


def _carry_over(gaps: pd.DataFrame) -> pd.DataFrame:
    """Give kinds other than max-min the adjusted p-values of the gaps that test the same hypothesis."""
    from evaluator.metrics.disparity import disparity

    keys = [name for name in _HYPOTHESIS if name in gaps.columns]
    rows = [tuple(map(str, row)) for row in gaps[keys].itertuples(index=False)]
    found = {
        (*row, metric): p
        for row, metric, kind, p in zip(rows, gaps["metric"], gaps["kind"], gaps["p_adjusted"], strict=True)
        if kind == TESTED
    }
    values = gaps["p_adjusted"].tolist()
    wanted = zip(rows, gaps["metric"], gaps["kind"], gaps["p_value"].notna(), strict=True)
    for place, (row, metric, kind, judged) in enumerate(wanted):
        if kind == TESTED or not judged:
            continue
        parts = disparity(kind).parts or (metric,)
        known = [found[(*row, part)] for part in parts if (*row, part) in found]
        values[place] = min(1.0, len(parts) * min(known)) if len(known) == len(parts) else np.nan
    return gaps.assign(p_adjusted=values)


def family_size(gaps: pd.DataFrame) -> pd.Series[int]:
    """Count for each row how many tests its family holds (0 for a row without a p-value)."""
    import pandas as pd

    keys = [gaps["dataset"].fillna(""), is_primary(gaps)]
    counts = _is_test(gaps).groupby(keys).transform("sum")
    return pd.Series(np.where(gaps["p_value"].notna(), counts, 0), index=gaps.index, dtype=np.int64)
