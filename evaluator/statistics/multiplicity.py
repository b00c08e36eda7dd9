"""Many tests at once: Holm inside a declared family, Benjamini-Hochberg for screening.

Family: all gaps of the primary metric (``auc`` for classification, ``dice`` for segmentation) of one dataset in a study, over
models, usages, mitigations, seeds, targets, structures, prompts and attributes; its p-values are adjusted by Holm, so that the
chance of any false claim is at most alpha. All other metrics of the dataset are a screening family, adjusted by
Benjamini-Hochberg: of what it flags, a share of at most alpha is false on average.

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


def adjust(gaps: pd.DataFrame) -> pd.DataFrame:
    """Fill `p_adjusted` of a study's gaps table.

    Parameters
    ----------
    gaps
        Columns of :data:`evaluator.tables.GAPS`, the rows of all tasks of a study.

    Returns
    -------
    DataFrame
        A copy, same rows in the same order. Rows without a p-value belong to no family and keep a null.
    """
    adjusted = gaps.copy()
    adjusted["p_adjusted"] = np.nan
    tested = gaps[gaps["p_value"].notna()]
    primary = tested["metric"].isin(PRIMARY)
    families: list[tuple[pd.DataFrame, Callable[[Array], Array]]] = [
        (tested[primary], holm),
        (tested[~primary], benjamini_hochberg),
    ]
    for rows, method in families:
        for _, family in rows.groupby("dataset", dropna=False, sort=True):
            adjusted.loc[family.index, "p_adjusted"] = method(family["p_value"].to_numpy(np.float64))
    return adjusted


def family_size(gaps: pd.DataFrame) -> pd.Series[int]:
    """Count for each row how many tests its family holds (0 for a row without a p-value)."""
    import pandas as pd

    tested = gaps["p_value"].notna()
    keys = [gaps["dataset"].fillna(""), gaps["metric"].isin(PRIMARY)]
    counts = tested.groupby(keys).transform("sum")
    return pd.Series(np.where(tested, counts, 0), index=gaps.index, dtype=np.int64)
