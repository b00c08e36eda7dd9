"""Pictures of comparisons: critical difference, intervals of ranks, paired differences, shares of variance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from evaluator.report.grid import arm_name, present, records
from evaluator.report.standing import LEADER, WORSE
from evaluator.report.svg import Drawing, Scale, axis_below, breadth, scale_over
from evaluator.report.words import (
    UNDEFINED,
    MetricWords,
    interval,
    is_undefined,
    number,
    p_value,
    plural,
    readable,
    share,
)

_WIDTH, _ROW, _AXIS = 760, 24, 46
_DIAGRAM, _SIDE = 900, 236  # a critical-difference diagram, and in it the room for names at either side
_LEVEL = 9  # height of a bar that joins models


class _Ranked(NamedTuple):
    """A model with its mean rank."""

    name: str
    rank: float
    low: float
    high: float


def critical_difference(ranks: pd.DataFrame, *, label: str, alpha: float = 0.05) -> Markup | None:
    """Draw mean ranks on an axis, and bars over models that lie closer together than the critical difference.

    Parameters
    ----------
    ranks
        Rows of :data:`evaluator.tables.ACROSS` of the analysis ``rank`` and one metric: `item`, `value` (mean rank, 1 is
        best), `n` (datasets).
    label
        What the picture shows.
    alpha
        Level of the family of all pairs.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None for fewer than two models, or where it is not known over how many datasets.

    Notes
    -----
    Demsar 2006, with Nemenyi's critical difference (:func:`evaluator.statistics.friedman.critical_difference`).
    """
    from evaluator.statistics.friedman import critical_difference as nemenyi

    models = _ranked(ranks)
    counts = [int(n) for n in ranks["n"] if not is_undefined(n)]
    if len(models) < 2 or not counts or min(counts) < 1:
        return None
    critical = nemenyi(len(models), min(counts), alpha)
    bars = _levels(cliques([model.rank for model in models], critical))
    left = models[: (len(models) + 1) // 2]
    right = models[len(left) :][::-1]
    first = 84 + _LEVEL * (1 + max((level for *_, level in bars), default=-1)) + 14
    missing = _without_rank(ranks)
    draw = Drawing(_DIAGRAM, first + len(left) * _ROW + (26 if missing else 0), label)
    scale = Scale(1.0, float(len(models)), _SIDE + 14, _DIAGRAM - _SIDE - 14)
    _rank_axis(draw, scale, f"Mean rank over {plural(min(counts), 'dataset')}; 1 is best", critical)
    for model, place in ((model, place) for side in (left, right) for place, model in enumerate(side)):
        _lead(draw, scale, model, first + place * _ROW, at_left=model in left)
    for start, end, level in bars:
        y = 84 + _LEVEL * level
        draw.line(scale(models[start].rank) - 3, y, scale(models[end].rank) + 3, y, "clique")
    if missing:
        draw.text(0, first + len(left) * _ROW + 16, missing, "small muted", width=_DIAGRAM)
    return draw.markup()


def cliques(ranks: Sequence[float], critical: float) -> tuple[tuple[int, int], ...]:
    """Return the longest runs of two or more models whose mean ranks differ by less than the critical difference.

    Parameters
    ----------
    ranks
        Mean ranks, rising.
    critical
        Critical difference.

    Returns
    -------
    tuple of (int, int)
        First and last place of each run; none lies inside another.

    Examples
    --------
    >>> cliques([1.2, 1.9, 2.5, 4.4], 1.0)
    ((0, 1), (1, 2))
    """
    found: list[tuple[int, int]] = []
    for start in range(len(ranks)):
        end = max(place for place in range(start, len(ranks)) if ranks[place] - ranks[start] < critical)
        if end > start and (not found or end > found[-1][1]):
            found.append((start, end))
    return tuple(found)


def _levels(runs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Give every run the first level on which it touches no other."""
    ends: list[int] = []
    placed = []
    for start, end in runs:
        level = next((k for k, last in enumerate(ends) if last < start), len(ends))
        ends[level : level + 1] = [end]
        placed.append((start, end, level))
    return placed


def _ranked(ranks: pd.DataFrame) -> list[_Ranked]:
    """Return the models that have a rank, best first."""
    rows = [row for row in records(ranks) if not is_undefined(row["value"])]
    models = [
        _Ranked(_item(row), float(row["value"]), _float(row["ci_low"]), _float(row["ci_high"]))
        for row in rows
    ]
    return sorted(models, key=lambda model: model.rank)


def _without_rank(ranks: pd.DataFrame) -> str:
    rows = [row for row in records(ranks) if is_undefined(row["value"])]
    told = (
        _item(row) + (f" ({readable(row['reason'])})" if present(row.get("reason")) else "") for row in rows
    )
    return f"Without a rank: {'; '.join(told)}" if rows else ""


def _item(row: Mapping[str, Any]) -> str:
    return str(row["item"] or "") or UNDEFINED


def _float(value: Any) -> float:
    return math.nan if is_undefined(value) else float(value)


def _rank_axis(draw: Drawing, scale: Scale, told: str, critical: float) -> None:
    """Draw the axis at the top, and above it the critical difference as a bar that begins at rank 1."""
    wide = critical > scale.high - scale.low
    end = scale(scale.low + critical)
    for x in (scale.start, end):
        draw.line(x, 22, x, 30, "zero")
    draw.line(scale.start, 26, end, 26, "zero")
    text = f"CD {number(critical, 2)}" + (", more than the axis is long" if wide else "")
    draw.text(scale.start, 15, text, "small strong")
    draw.line(scale.start, 68, scale.end, 68, "axis")
    step = max(1, math.ceil(scale.high / 11))
    for rank in sorted({1, *range(step, int(scale.high) + 1, step)}):
        if rank == 1 or scale(rank) - scale.start > 16:
            draw.line(scale(rank), 63, scale(rank), 68, "axis")
            draw.text(scale(rank), 58, str(rank), "small muted middle")
    draw.text(scale.start - 16, 72, told, "small muted end", width=_SIDE)


def _lead(draw: Drawing, scale: Scale, model: _Ranked, y: float, *, at_left: bool) -> None:
    """Lead from a model's place on the axis to its name."""
    x, told = scale(model.rank), number(model.rank, 2)
    edge = _SIDE if at_left else _DIAGRAM - _SIDE
    hover = f"{model.name}: mean rank {told}{_span(model)}"
    draw.polyline([(x, 68), (x, y), (edge, y)], "lead", hover)
    draw.mark(x, 68, 0, "solid c0", hover, size=3)
    room = _SIDE - breadth(told, "small") - 14
    if at_left:
        draw.text(edge - 4, y + 4, told, "small muted end")
        draw.text(edge - 12 - breadth(told, "small"), y + 4, model.name, "end", width=room)
    else:
        draw.text(edge + 4, y + 4, told, "small muted")
        draw.text(edge + 12 + breadth(told, "small"), y + 4, model.name, width=room)


def _span(model: _Ranked) -> str:
    span = interval(model.low, model.high, 2)
    return "" if span == UNDEFINED else f" ({span})"


def rank_intervals(ranks: pd.DataFrame, *, label: str) -> Markup | None:
    """Draw the mean rank of each model with its interval, best first.

    Parameters
    ----------
    ranks, label
        As in :func:`critical_difference`; with `ci_low` and `ci_high`.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when no model has a rank.
    """
    models = _ranked(ranks)
    if not models:
        return None
    missing = _without_rank(ranks)
    bottom = 28 + len(models) * _ROW
    draw = Drawing(_WIDTH, bottom + _AXIS + (20 if missing else 0), label)
    ends = [end for model in models for end in model[1:] if not math.isnan(end)]
    scale = scale_over([1.0, *ends], (1.0, max(2.0, len(models), *ends)), start=300, end=590)
    draw.text(0, 15, "Model and usage", "muted")
    draw.text(610, 15, "Mean rank, interval", "muted")
    for place, model in enumerate(models):
        y = 28 + (place + 0.5) * _ROW
        told = f"{number(model.rank, 2)}{_span(model)}"
        draw.text(0, y + 5, model.name, "strong" if place == 0 else "", width=286)
        if _span(model):
            draw.line(scale(model.low), y, scale(model.high), y, "whisker stroke-c0")
        draw.mark(scale(model.rank), y, 0, "solid c0", f"{model.name}: mean rank {told}")
        draw.text(610, y + 5, told)
    axis_below(draw, scale, bottom, "Mean rank over datasets; 1 is best")
    if missing:
        draw.text(0, bottom + _AXIS + 14, missing, "small muted", width=_WIDTH)
    return draw.markup()


def differences(table: pd.DataFrame, words: MetricWords, *, label: str, most: int = 20) -> Markup | None:
    """Draw the paired differences of the arms from the leader, with intervals and a line at no difference.

    Parameters
    ----------
    table
        A ranking with the columns of :func:`evaluator.report.standing.with_standing`, leader first.
    words
        How the measure is called and read.
    label
        What the picture shows.
    most
        How many arms are drawn; the table has them all.

    Returns
    -------
    markupsafe.Markup or None
        The picture; what cannot be told from the leader is hollow and grey and says so. None when no difference is known.
    """
    rows = records(table)
    against = [row for row in rows if not is_undefined(row["difference"])][:most]
    if not against:
        return None
    bottom = 28 + (1 + len(against)) * _ROW
    draw = Drawing(_WIDTH, bottom + _AXIS, label)
    ends = ("difference", "difference_low", "difference_high")
    values = [float(row[name]) for row in against for name in ends if not is_undefined(row[name])]
    scale = scale_over([0.0, *values], (None, None), start=252, end=496)
    draw.text(0, 15, "Model and usage", "muted")
    draw.mark(252, 11, 0, "solid c1", size=4)
    draw.text(261, 15, "differs", "small muted")
    draw.mark(314, 11, 0, "hollow grey", size=4)
    draw.text(323, 15, "cannot be told from the leader", "small muted")
    draw.text(510, 15, "Difference, interval", "muted")
    draw.text(_WIDTH, 15, "p", "muted end")
    draw.line(scale(0.0), 26, scale(0.0), bottom, "zero")
    leader = next((row for row in rows if row["standing"] == LEADER), rows[0])
    draw.text(0, 28 + 0.5 * _ROW + 5, arm_name(leader), "strong", width=236)
    draw.mark(scale(0.0), 28 + 0.5 * _ROW, 3, "solid c0", f"{arm_name(leader)}: the leader")
    draw.text(510, 28 + 0.5 * _ROW + 5, "leader", "strong")
    for place, row in enumerate(against, start=1):
        _difference(draw, scale, row, words, 28 + (place + 0.5) * _ROW)
    better = "right" if words.better == "higher" else "left"
    axis_below(draw, scale, bottom, f"{words.label} minus that of the leader; {better} is better")
    return draw.markup()


def _difference(draw: Drawing, scale: Scale, row: Mapping[str, Any], words: MetricWords, y: float) -> None:
    muted = row["standing"] != WORSE
    tone, colour = ("muted", "grey") if muted else ("", "c1")
    span = interval(row["difference_low"], row["difference_high"], words.decimals)
    shown = number(row["difference"], words.decimals) + ("" if span == UNDEFINED else f" ({span})")
    told = f"{arm_name(row)}: {shown}, p {p_value(row['difference_p'])}"
    draw.text(0, y + 5, arm_name(row), tone, width=236)
    if span != UNDEFINED:
        low, high = scale(row["difference_low"]), scale(row["difference_high"])
        draw.line(low, y, high, y, f"whisker stroke-{colour}")
    meant = "cannot be told from the leader" if muted else "differs from the leader"
    draw.mark(
        scale(row["difference"]), y, 0, f"{'hollow' if muted else 'solid'} {colour}", f"{told}; {meant}"
    )
    draw.text(510, y + 5, shown, tone)
    draw.text(_WIDTH, y + 5, p_value(row["difference_p"]), f"{tone or 'strong'} end")


def variance_shares(across: pd.DataFrame, *, label: str) -> Markup | None:
    """Draw how much of the variance each source explains, with intervals, the largest share first.

    Parameters
    ----------
    across
        Rows of :data:`evaluator.tables.ACROSS` of the analysis ``variance`` and one metric: `item` (the source), `value`
        (share in [0, 1]), `ci_low`, `ci_high`.
    label
        What the picture shows.

    Returns
    -------
    markupsafe.Markup or None
        The picture, sources without a share last with their reason; None when no share is known.
    """
    rows = records(across)
    known = sorted((r for r in rows if not is_undefined(r["value"])), key=lambda r: -float(r["value"]))
    if not known:
        return None
    lines = [*known, *(row for row in rows if is_undefined(row["value"]))]
    bottom = 28 + len(lines) * _ROW
    draw = Drawing(_WIDTH, bottom + _AXIS, label)
    scale = Scale(0.0, 100.0, 230, 560)
    draw.text(0, 15, "Source", "muted")
    draw.text(578, 15, "Share and interval", "muted")
    for place, row in enumerate(lines):
        _share(draw, scale, row, 28 + (place + 0.5) * _ROW)
    axis_below(draw, scale, bottom, "Share of variance (%)")
    return draw.markup()


def _share(draw: Drawing, scale: Scale, row: Mapping[str, Any], y: float) -> None:
    name = readable(_item(row))
    if is_undefined(row["value"]):
        draw.text(0, y + 5, name, "muted", width=216)
        reason = str(row["reason"]) if present(row.get("reason")) else "not computed"
        draw.text(230, y + 5, f"{UNDEFINED} {readable(reason)}", "muted", width=_WIDTH - 230)
        return
    draw.text(0, y + 5, name, width=216)
    spread = not is_undefined(row["ci_low"]) and not is_undefined(row["ci_high"])
    ends = f"{_percent(row['ci_low'])} to {_percent(row['ci_high'])}" if spread else ""
    with draw.told(f"{name}: {share(row['value'])}{f' ({ends} %)' if spread else ''}"):
        end = scale(100 * float(row["value"]))
        draw.rect(scale.start, y - 7, end - scale.start, 14, "bar solid c0")
        draw.line(end, y - 7, end, y + 7, "whisker stroke-c0")
        if spread:
            draw.line(scale(100 * row["ci_low"]), y, scale(100 * row["ci_high"]), y, "whisker stroke-c0")
    draw.text(578, y + 5, share(row["value"]) + (f" ({ends})" if spread else ""))


def _percent(value: Any) -> str:
    return UNDEFINED if is_undefined(value) else number(100 * float(value), 1)
