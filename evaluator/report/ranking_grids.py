"""The leaderboard, and how often each attribute's gap was found over all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    Tone,
    arm_cell,
    arm_heading,
    form_of,
    number_cell,
    present,
    records,
    simple,
    text_cell,
    value_cell,
)
from evaluator.report.standing import LEADER, OUTSIDE, TIED, WITHIN, WORSE
from evaluator.report.tables import Measure, Tally
from evaluator.report.words import (
    NO_BREAK,
    UNDEFINED,
    MetricWords,
    count,
    interval,
    is_undefined,
    metric_words,
    number,
    p_value,
)

_STANDINGS = {
    LEADER: "best",
    TIED: "≈ cannot be told from it",
    WORSE: "reliably worse",
    WITHIN: "within its interval",
    OUTSIDE: "outside its interval",
    "": "",
}
_STANDING_HINT = "by a paired test, corrected for their number; “within” and “outside” are no test"


def ranking_grid(table: pd.DataFrame, measure: Measure, *, caption: str, seen: Iterable[str] = ()) -> Grid:
    """Lay out a ranking (see :func:`evaluator.report.tables.rank_all`).

    Parameters
    ----------
    table
        The ranking, with how each arm stands against the leader.
    measure
        What it is ranked by.
    caption
        What it is a ranking of. Columns that tell nothing are left out: counts that all arms share, differences
        that nobody took, places of a single arm.
    seen
        Models that saw this dataset in training; they are marked.
    """
    words, named = metric_words(measure.metric), arm_heading(records(table))
    columns = (
        Column(named or "Over", "text"),
        Column("No."),
        Column(words.label, hint="over all samples, with its interval"),
        Column("Difference", hint="from the best, on the same subjects, with its interval"),
        Column("Against the best", "text", _STANDING_HINT),
        Column(_worst_heading(table), hint="among groups large enough to judge"),
        Column("Adjusted gap", hint="of the attribute with the smallest p"),
        Column("p of the gap", hint="corrected for the number of questions"),
        Column("Samples", hint="and subjects"),
    )
    models = set(seen)
    grid = simple(caption, columns, (_ranking_row(row, words, models) for row in records(table)))
    if len(table) == 1:
        return grid.without("No.", "Difference", "Against the best")
    alike = len(table[["n", "n_subjects"]].drop_duplicates()) == 1
    compared = table["difference"].notna().any()
    return grid.without(*(["Samples"] if alike else []), *([] if compared else ["Difference"]))


def _worst_heading(table: pd.DataFrame) -> str:
    """Say which groups the worst one is of: intersections speak only where there is no single attribute."""
    known = [str(name) for name in table["worst_attribute"] if present(name)]
    single = any("*" not in name for name in known)
    return "Worst group of single attributes" if single else "Worst group"


def _ranking_row(row: Mapping[str, Any], words: MetricWords, seen: Collection[str]) -> Row:
    unjudged = "no attribute could be judged"
    cells = (
        text_cell("all samples")
        if not arm_heading([row])
        else arm_cell(row, "saw this dataset in training" if row["model"] in seen else ""),
        number_cell(row["rank"], count, reason="no value to rank by"),
        _ranked_value(row, words),
        _difference(row, words),
        _standing(row),
        _worst_group(row, words),
        number_cell(row["adjusted"], form_of(words), reason=unjudged, note=_gap_name(row, words)),
        number_cell(row["p"], p_value, reason=unjudged),
        number_cell(row["n"], count, note=f"{count(row['n_subjects'])}{NO_BREAK}subjects"),
    )
    tone: Tone = "strong" if row["rank"] == 1 else "muted" if is_undefined(row["value"]) else ""
    return Row(cells, tone, model=str(row["model"]))


def _difference(row: Mapping[str, Any], words: MetricWords) -> Cell:
    reason = "this is the best" if row["standing"] == LEADER else "not compared"
    span = interval(row["difference_low"], row["difference_high"], words.decimals)
    note = "" if span == UNDEFINED else span.replace(" ", NO_BREAK)
    return number_cell(row["difference"], form_of(words), reason=reason, note=note)


def _standing(row: Mapping[str, Any]) -> Cell:
    note = "" if is_undefined(row["difference_p"]) else f"p {p_value(row['difference_p'])}"
    return text_cell(_STANDINGS[row["standing"]], note)


def _ranked_value(row: Mapping[str, Any], words: MetricWords) -> Cell:
    cell = value_cell(row, words)
    if row["seeds"] == 1 or not cell.note:
        return cell
    spread = interval(row["seed_low"], row["seed_high"], words.decimals)
    return replace(cell, note=f"{cell.note}; {row['seeds']} seeds {spread}")


def _gap_name(row: Mapping[str, Any], words: MetricWords) -> str:
    if not present(row["gap_attribute"]):
        return ""
    return f"{row['gap_attribute']}, raw{NO_BREAK}{number(row['raw'], words.decimals)}"


def _worst_group(row: Mapping[str, Any], words: MetricWords) -> Cell:
    named = f"{row['worst_group']}, {count(row['worst_n_subjects'])}{NO_BREAK}subjects"
    return number_cell(
        row["worst_value"],
        form_of(words),
        reason="no group large enough to judge",
        note=named if present(row["worst_group"]) else "",
    )


def tally_grid(tallies: Iterable[Tally], *, caption: str) -> Grid:
    """Lay out how often each attribute's findings came out each way."""
    columns = (
        Column("Attribute", "text"), Column("Gap found"), Column("No reliable gap"), Column("Cannot judge"),
        Column("Most often worst", "text", "where a gap was found"),
    )  # fmt: skip
    rows = (
        Row(
            (
                text_cell(tally.attribute),
                *(number_cell(amount, count) for amount in (tally.found, tally.none, tally.unclear)),
                text_cell(tally.worst),
            ),
            attribute=tally.attribute,
        )
        for tally in tallies
    )
    return simple(caption, columns, rows)
