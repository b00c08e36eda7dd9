"""How the arms of a ranking stand against its first one: by paired differences where there are any.

Two intervals that overlap say nothing about a difference: both rest on the same subjects. Where paired differences
were computed they decide; without them the ranking says only whose value lies inside the leader's interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluator.report.words import is_undefined

Standing = Literal["leader", "tied", "worse", "within", "outside", ""]
LEADER: Standing = "leader"
TIED: Standing = "tied"
WORSE: Standing = "worse"
WITHIN: Standing = "within"
OUTSIDE: Standing = "outside"
COLUMNS = ("difference", "difference_low", "difference_high", "difference_p", "standing")


class Difference(NamedTuple):
    """A paired difference from the leader; NaN where it is undefined."""

    value: float
    low: float
    high: float
    p: float


def with_standing(
    table: pd.DataFrame, comparisons: pd.DataFrame, *, arm: Sequence[str], alpha: float
) -> pd.DataFrame:
    """Add how each arm stands against the first one.

    Parameters
    ----------
    table
        A ranking with `value`, `ci_low`, `ci_high` and the columns of `arm`, best first.
    comparisons
        Paired differences of the same question and measure, null keys as empty text.
    arm
        Names of the columns that make an arm.
    alpha
        Below it a (family-adjusted) p says that an arm is not as good as the leader.

    Returns
    -------
    pandas.DataFrame
        With :data:`COLUMNS`: the difference from the leader with its interval and p, and `standing`: ``leader``;
        ``tied`` (cannot be told from it) or ``worse`` by the paired test; without a test ``within`` or
        ``outside`` the leader's interval; empty where there is no value.
    """
    if table.empty:
        return table.reindex(columns=[*table.columns, *COLUMNS])
    numbers = ("difference", "ci_low", "ci_high", "p_value", "p_adjusted")
    comparisons = comparisons.assign(**{name: comparisons[name].astype(float) for name in numbers})
    rows = table.to_dict("records")
    leader = tuple(str(rows[0][name]) for name in arm)
    found = [_difference(comparisons, tuple(str(row[name]) for name in arm), leader, arm) for row in rows]
    added: dict[str, list[Any]] = {
        "difference": [d.value for d in found],
        "difference_low": [d.low for d in found],
        "difference_high": [d.high for d in found],
        "difference_p": [d.p for d in found],
        "standing": [
            _standing(row, rows[0], difference, place, alpha)
            for place, (row, difference) in enumerate(zip(rows, found, strict=True))
        ],
    }
    return table.assign(**added)


def _standing(
    row: Mapping[Any, Any], leader: Mapping[Any, Any], difference: Difference, place: int, alpha: float
) -> Standing:
    if is_undefined(row["value"]):
        return ""
    if place == 0:
        return LEADER
    if not is_undefined(difference.p):
        return WORSE if difference.p < alpha else TIED
    if is_undefined(leader["ci_low"]) or is_undefined(leader["ci_high"]):
        return OUTSIDE
    return WITHIN if leader["ci_low"] <= row["value"] <= leader["ci_high"] else OUTSIDE


def _difference(
    comparisons: pd.DataFrame, one: tuple[str, ...], leader: tuple[str, ...], arm: Sequence[str]
) -> Difference:
    """Find the difference of an arm from the leader, in whichever direction it was written down.

    Of several rows (seed by seed) the mean counts, with the outermost ends and the largest p.
    """
    nothing = Difference(np.nan, np.nan, np.nan, np.nan)
    if one == leader or comparisons.empty:
        return nothing
    sides = (*arm, *(f"against_{name}" for name in arm))
    forth = comparisons[_fits(comparisons, sides, (*one, *leader))]
    back = comparisons[_fits(comparisons, sides, (*leader, *one))]
    turned = back.assign(difference=-back["difference"], ci_low=-back["ci_high"], ci_high=-back["ci_low"])
    rows = pd.concat([part for part in (forth, turned) if len(part)] or [forth])
    rows = rows[rows["difference"].notna()]
    if rows.empty:
        return nothing
    p = rows["p_adjusted"].where(rows["p_adjusted"].notna(), rows["p_value"])
    return Difference(
        float(rows["difference"].mean()),
        float(rows["ci_low"].min()),
        float(rows["ci_high"].max()),
        float(p.max()),
    )


def _fits(frame: pd.DataFrame, columns: Sequence[str], values: Sequence[str]) -> NDArray[np.bool_]:
    fits = [frame[column].to_numpy() == value for column, value in zip(columns, values, strict=True)]
    return np.asarray(np.logical_and.reduce(fits), np.bool_)
