"""The arms of one question in the order of one measure, each with its worst group and its least doubtful gap.

A report has hundreds of rankings of few rows each, so rows are handled as plain Python values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from evaluator.groups import ALL, UNKNOWN
from evaluator.report.words import Better, is_undefined

Row = dict[str, Any]
Arm = tuple[Any, ...]

COLUMNS = (
    "value", "ci_low", "ci_high", "seeds", "seed_low", "seed_high", "n", "n_subjects",
    "n_failed", "worst_attribute", "worst_group", "worst_value", "worst_n_subjects",
    "gap_attribute", "raw", "null_mean", "adjusted", "detectable", "p", "status", "reason",
)  # fmt: skip


def rank(metrics: pd.DataFrame, gaps: pd.DataFrame, *, better: Better, arm: Sequence[str]) -> pd.DataFrame:
    """Rank the arms of one question by one measure.

    Parameters
    ----------
    metrics
        Rows of one question and one measure.
    gaps
        Its max-min gaps with `p`.
    better
        Which direction of the measure is good.
    arm
        Names of the columns that make an arm.

    Returns
    -------
    pandas.DataFrame
        A row per arm, best first, undefined values last with a null `rank`. `value` is the mean over the
        arm's `seeds`, `seed_low` and `seed_high` their range, `ci_low` and `ci_high` the outermost ends of
        their intervals. `worst_attribute`, `worst_group`, `worst_value`, `worst_n_subjects`: the
        worst group among those with a value, of single attributes where there are any. `gap_attribute`,
        `raw`, `null_mean`, `adjusted`, `detectable`, `p`: the attribute with the smallest p (adjusted where
        there is an adjusted one); means over seeds, the largest p of them.
    """
    rows, differences = _by_arm(metrics, arm), _by_arm(gaps, arm)
    sign = -1.0 if better == "lower" else 1.0
    found: list[Row] = []
    for name, mine in rows.items():
        overall = [row for row in mine if row["attribute"] == ALL]
        if overall:
            named = dict(zip(arm, name, strict=True))
            found.append(
                {**named, **_overall(overall), **_worst(mine, sign), **_strongest(differences.get(name, []))}
            )
    found.sort(key=lambda row: -sign * row["value"] if not is_undefined(row["value"]) else float("inf"))
    table = pd.DataFrame(found, columns=["rank", *arm, *COLUMNS])
    table["rank"] = pd.array(list(_ranks([row["value"] for row in found])), dtype="Int64")
    return table.astype(dict.fromkeys(_NUMBERS, float))


_NUMBERS = (
    "value", "ci_low", "ci_high", "seed_low", "seed_high", "worst_value", "worst_n_subjects", "raw", "null_mean",
    "adjusted", "detectable", "p",
)  # fmt: skip


def _by_arm(frame: pd.DataFrame, arm: Sequence[str]) -> dict[Arm, list[Row]]:
    names, rows = list(frame.columns), defaultdict(list)
    for values in frame.to_numpy(dtype=object).tolist():
        row = dict(zip(names, values, strict=True))
        rows[tuple(row[name] for name in arm)].append(row)
    return dict(rows)


def _ranks(values: Sequence[Any]) -> Iterator[int | None]:
    """Yield the place of each value in their order; equal ones share the first place, undefined ones have none."""
    number = 0
    for place, value in enumerate(values):
        if place == 0 or value != values[place - 1]:
            number = place + 1
        yield None if is_undefined(value) else number


def _overall(rows: Sequence[Row]) -> Row:
    """Summarise the rows of all samples, one per seed."""
    # Of several seeds the one without a value, where there is one, tells what is wrong.
    told = min(rows, key=lambda row: not is_undefined(row["value"]))
    return {
        "value": _mean(rows, "value"),
        "ci_low": min(_defined(rows, "ci_low"), default=None),
        "ci_high": max(_defined(rows, "ci_high"), default=None),
        "seeds": len(rows),
        "seed_low": min(_defined(rows, "value"), default=None),
        "seed_high": max(_defined(rows, "value"), default=None),
        **{name: max(_defined(rows, name), default=0) for name in ("n", "n_subjects", "n_failed")},
        "status": told["status"],
        "reason": told["reason"],
    }


def _worst(rows: Sequence[Row], sign: float) -> Row:
    """Find the group that fares worst; groups without a value and unknown take no part."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        judged = row["attribute"] != ALL and row["group"] != UNKNOWN and row["status"] == "ok"
        if judged and not is_undefined(row["value"]):
            groups[row["attribute"], row["group"]].append(row)
    if not groups:
        return {}
    means = {name: _mean(mine, "value") for name, mine in groups.items()}
    name = min(means, key=lambda name: ("*" in name[0], sign * float(means[name] or 0.0)))
    return {
        "worst_attribute": name[0],
        "worst_group": name[1],
        "worst_value": means[name],
        "worst_n_subjects": max(_defined(groups[name], "n_subjects"), default=None),
    }


def _strongest(gaps: Sequence[Row]) -> Row:
    """Find the attribute with the least doubtful gap."""
    by_attribute: dict[str, list[Row]] = defaultdict(list)
    for row in gaps:
        by_attribute[row["attribute"]].append(row)
    found = []
    for attribute, rows in by_attribute.items():
        means = {name: _mean(rows, name) for name in ("raw", "null_mean", "adjusted", "detectable")}
        p = max(_defined(rows, "p"), default=None)
        if means["adjusted"] is not None and p is not None:
            found.append({"gap_attribute": attribute, **means, "p": p})
    # Between equals a single attribute says more than an intersection that contains it.
    return min(found, key=lambda row: (row["p"], "*" in row["gap_attribute"], -row["adjusted"]), default={})


def _defined(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows if not is_undefined(row[name])]


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = _defined(rows, name)
    return sum(values) / len(values) if values else None
