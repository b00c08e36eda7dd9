"""From numbers to claims: the one rule by which a gap is called found, not there, or not to be judged.

* ``gap found``: the family-adjusted p-value is below alpha.
* ``no reliable gap``: it is not, and this test set would have found a relevant gap with power 0.8, although
  it is one of many tests (`detectable` in the gaps table is that of a single test).
* ``cannot judge``: everything else. No significant difference in a small test set is not fairness.

Relevant means at least `relevant` on the metric's scale (0 to 1); for metrics on another scale (distances)
any detectable gap does, and the sentence states it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from evaluator.reasons import reason_words
from evaluator.statistics.gaps import detectable_among
from evaluator.statistics.multiplicity import TESTED, family_size, is_primary

if TYPE_CHECKING:
    import pandas as pd

Claim = Literal["gap found", "no reliable gap", "cannot judge"]
GAP: Claim = "gap found"
NONE: Claim = "no reliable gap"
UNJUDGED: Claim = "cannot judge"
KEYS = (
    "dataset", "model", "usage", "mitigation", "seed", "split", "target", "structure", "prompt", "task",
    "attribute", "metric", "convention",
)  # fmt: skip
_OTHER_SCALE = ("hd95_mm", "hd95_px", "assd_mm", "assd_px")


@dataclass(frozen=True)
class Finding:
    """A claim on one gap.

    Attributes
    ----------
    finding
        What is claimed.
    sentence
        The same in plain words, with the numbers it rests on.
    detectable
        The smallest gap that would have been found with power 0.8 among all tests of the family; None where
        that is unknown or nothing could be tested.
    """

    finding: Claim
    sentence: str
    detectable: float | None = None


def judge(
    gap: Mapping[str, Any], *, alpha: float, relevant: float, tests: int = 1, resolution: float = 0.0
) -> Finding:
    """Apply the rule to one row of the gaps table.

    Parameters
    ----------
    gap
        A row with `p_adjusted` filled.
    alpha
        Significance level of the family.
    relevant
        Smallest gap that matters, in [0, 1].
    tests
        Tests in the gap's family. A gap that is the only one of them must pass alpha / `tests`, by Holm as by
        Benjamini-Hochberg; what could have been found is meant so.
    resolution
        Smallest adjusted p-value that the number of permutations allows in this family.

    Returns
    -------
    Finding
        The claim.
    """
    what = f"{gap['metric']} by {gap['attribute']}"
    p, detectable = _number(gap["p_adjusted"]), _number(gap["detectable"])
    if gap["status"] != "ok" or p is None:
        told = reason_words(gap["reason"]) if isinstance(gap["reason"], str) else "not tested"
        return Finding(UNJUDGED, f"{what}: cannot be judged ({told}).")
    seen = f"groups differ by {_text(gap['raw'])}"  # where neither high nor low is better
    if _number(gap["raw"]) == 0.0:
        seen = "groups have the same value"
    elif isinstance(gap["best_group"], str):
        seen = f"{gap['best_group']} is better than {gap['worst_group']} by {_text(gap['raw'])}"
    chance = f"chance alone gives about {_text(gap['null_mean'])}"
    if p < alpha:
        # The adjusted gap is no difference of the two others: squares are subtracted.
        allowed = f"{_text(gap['adjusted'])} after allowing for chance, which alone gives about {_text(gap['null_mean'])}"
        return Finding(
            GAP,
            f"{what}: {seen}; {allowed} (adjusted p {_p_text(p)}).",
            None if detectable is None else detectable_among(detectable, alpha=alpha, tests=tests),
        )
    if resolution >= alpha:
        return Finding(
            UNJUDGED,
            f"{what}: {seen}, too few permutations to judge it among so many tests ({chance}; adjusted p cannot be below "
            f"{_text(resolution)}); use more permutations.",
        )
    if detectable is None:
        return Finding(UNJUDGED, f"{what}: {seen}, {chance}; how small a gap could be found is unknown.")
    detectable = detectable_among(detectable, alpha=alpha, tests=tests)
    among = f" among {tests} tests" if tests > 1 else ""
    able = f"a gap of {_text(detectable)} or more would have been found with power 0.8{among}"
    if gap["metric"] in _OTHER_SCALE or detectable <= relevant:
        return Finding(
            NONE, f"{what}: {seen}, no reliable gap ({chance}; adjusted p {_p_text(p)}); {able}.", detectable
        )
    return Finding(
        UNJUDGED,
        f"{what}: {seen}, too few subjects to judge it ({chance}; adjusted p {_p_text(p)}); only {able}.",
        detectable,
    )


def findings(
    gaps: pd.DataFrame, *, alpha: float = 0.05, relevant: float = 0.1, permutations: int | None = None
) -> pd.DataFrame:
    """Turn an adjusted gaps table into claims.

    Parameters
    ----------
    gaps
        What :func:`evaluator.statistics.multiplicity.adjust` returned. Only rows of the kind ``"max-min"`` are
        judged: the others say the same in other conventions.
    alpha, relevant
        See :func:`judge`.
    permutations
        How many permutations the p-values rest on; None skips the check of their resolution.

    Returns
    -------
    DataFrame
        One row per judged row of `gaps`, in its order: the keys, `primary`, `finding`, `sentence`,
        `detectable` (see :class:`Finding`) and `tests`, the size of the family.
    """
    gaps = gaps[gaps["kind"] == TESTED]
    table = gaps[[key for key in KEYS if key in gaps.columns]].copy()
    table["primary"] = is_primary(gaps)
    floor = 0.0 if permutations is None else 1.0 / (permutations + 1)
    rows: list[dict[str, Any]] = [
        dict(zip(gaps.columns, row, strict=True)) for row in gaps.itertuples(index=False)
    ]
    sizes = family_size(gaps).tolist()
    # Holm multiplies the smallest p by all tests; under Benjamini-Hochberg several small ones help each other.
    floors = [floor * (size if primary else 1) for size, primary in zip(sizes, table["primary"], strict=True)]
    claims = [
        judge(row, alpha=alpha, relevant=relevant, tests=max(1, size), resolution=resolution)
        for row, size, resolution in zip(rows, sizes, floors, strict=True)
    ]
    table["finding"] = [claim.finding for claim in claims]
    table["sentence"] = [claim.sentence for claim in claims]
    table["detectable"] = [math.nan if claim.detectable is None else claim.detectable for claim in claims]
    table["tests"] = sizes
    return table


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _text(value: Any) -> str:
    number = _number(value)
    return "unknown" if number is None else f"{number:.3f}"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
