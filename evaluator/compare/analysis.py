"""All tables that compare results with each other, from the tables that describe each by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluator.compare.across import across
from evaluator.compare.comparisons import compare
from evaluator.compare.selection import select

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Analysis:
    """What results say together.

    Attributes
    ----------
    comparisons, across, selection
        Schemas :data:`evaluator.tables.COMPARISONS`, :data:`~evaluator.tables.ACROSS` and :data:`~evaluator.tables.SELECTION`.
    """

    comparisons: pd.DataFrame
    across: pd.DataFrame
    selection: pd.DataFrame


def analyse(
    metrics: pd.DataFrame,
    gaps: pd.DataFrame,
    replicates: pd.DataFrame,
    *,
    alpha: float,
    baseline: str | None = None,
    seed: int = 0,
) -> Analysis:
    """Compare all results of a study.

    Parameters
    ----------
    metrics, gaps, replicates
        Columns of :data:`evaluator.tables.METRICS`, :data:`~evaluator.tables.GAPS` and
        :data:`~evaluator.tables.REPLICATES`. One result is enough: what needs more is then a row with a reason.
    alpha
        1 - level of intervals.
    baseline
        Model that the others are compared with; None: the best.
    seed
        Of what is permuted here.

    Raises
    ------
    UserError
        If no row is of the baseline.
    """
    return Analysis(
        comparisons=compare(metrics, replicates, alpha=alpha, baseline=baseline),
        across=across(metrics, gaps, replicates, alpha=alpha, baseline=baseline, seed=seed),
        selection=select(metrics, gaps, replicates),
    )
