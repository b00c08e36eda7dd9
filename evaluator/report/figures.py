"""The pictures of a report: forest plot of groups, ranking, utility against disparity. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from evaluator.report.grid import arm_name, group_note, records, short_note, tone_of
from evaluator.report.svg import Drawing, Scale, axis_below, axis_left, scale_over
from evaluator.report.tables import OVERALL, UNKNOWN, group_table
from evaluator.report.words import UNDEFINED, MetricWords, count, interval, is_undefined, number, readable

_ROW, _AXIS = 24, 46
_FOREST, _RANKING = 690, 760  # widths
_VALUES = "Value and interval"  # the axis says of what
_COLOURS = 6
_NUMBERED = 20  # marks of a trade-off that show their rank; more would hide the marks
_LIKELY = 0.05  # probability from which on an arc is drawn; shorter ones would be specks
_CROWDED = 12  # arms from which on a trade-off leaves raw and chance gaps to the hover text


def forest(
    metrics: pd.DataFrame, words: MetricWords, *, label: str, along: pd.DataFrame | None = None
) -> Markup | None:
    """Draw the groups of one arm and seed: point, interval, subjects, and a line at the value of all samples.

    Parameters
    ----------
    metrics
        Group rows of one measure, with the row of all samples.
    words
        How the measure is called and read.
    label
        What the picture shows.
    along
        Rows whose values the axis spans, so that several pictures share it; those of `metrics` by default.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when no group has a value.
    """
    rows = records(group_table(metrics))
    spanned = ("value", "ci_low", "ci_high")
    if not _values(rows, spanned):
        return None
    values = _values(rows if along is None else records(along), spanned)
    lines = _forest_lines(rows)
    height = 34 + len(lines) * _ROW + _AXIS
    draw = Drawing(_FOREST, height, label)
    scale = scale_over(values, words.bounds, start=212, end=482)
    bottom = height - _AXIS
    _forest_frame(draw, scale, rows, bottom)
    for place, line in enumerate(lines):
        y = 34 + (place + 0.5) * _ROW
        if isinstance(line, str):
            draw.text(0, y + 5, line, "strong", width=200)
        else:
            _forest_row(draw, scale, line, words, y)
    axis_below(draw, scale, bottom, words.label)
    return draw.markup()


def _forest_lines(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any] | str]:
    """Put a heading before the rows of each attribute."""
    lines: list[dict[str, Any] | str] = []
    before = OVERALL
    for row in rows:
        if row["attribute"] != before:
            before = row["attribute"]
            lines.append(str(before))
        lines.append(row)
    return lines


def _forest_frame(draw: Drawing, scale: Scale, rows: Sequence[Mapping[str, Any]], bottom: float) -> None:
    draw.text(0, 16, "Group", "muted")
    draw.text(198, 16, "Subjects", "muted end")
    draw.text(498, 16, _VALUES, "muted")
    for row in rows:
        if row["attribute"] != OVERALL or is_undefined(row["value"]):
            continue
        if not is_undefined(row["ci_low"]) and not is_undefined(row["ci_high"]):
            low, high = scale(row["ci_low"]), scale(row["ci_high"])
            draw.rect(low, 28, high - low, bottom - 28, "band")
        draw.line(scale(row["value"]), 28, scale(row["value"]), bottom, "reference")


def _forest_row(draw: Drawing, scale: Scale, row: Mapping[str, Any], words: MetricWords, y: float) -> None:
    overall = row["attribute"] == OVERALL
    muted = tone_of(row) == "muted"
    tone = "muted" if muted else "strong" if overall else ""
    draw.text(
        0 if overall else 14,
        y + 5,
        "all samples" if overall else str(row["group"]),
        tone,
        width=140 if overall else 132,
    )
    draw.text(198, y + 5, count(row["n_subjects"]), f"{tone} end")
    if is_undefined(row["value"]):
        short = f"{UNDEFINED} {short_note(row)}"
        draw.text(498, y + 5, short, "muted", width=_FOREST - 498, hover=f"{row['group']}: {group_note(row)}")
        return
    x = scale(row["value"])
    colour = "grey" if muted else "c0"
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    if span != UNDEFINED:
        draw.line(scale(row["ci_low"]), y, scale(row["ci_high"]), y, f"whisker stroke-{colour}")
    shown = f"{number(row['value'], words.decimals)}" + ("" if span == UNDEFINED else f" ({span})")
    hollow = "hollow" if row["group"] == UNKNOWN and not overall else "solid"
    draw.mark(x, y, 3 if overall else 0, f"{hollow} {colour}", f"{row['group']}: {shown}")
    draw.text(498, y + 5, shown, tone)


def ranking_chart(table: pd.DataFrame, words: MetricWords, *, label: str, most: int = 15) -> Markup | None:
    """Draw a ranking: value and interval of each arm, the worst group, and the leader's interval as a band.

    Parameters
    ----------
    table
        As :func:`evaluator.report.tables.ranking` gives it.
    words
        How the measure is called and read.
    label
        What the picture shows.
    most
        How many arms are drawn; the table has them all.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when no arm has a value.
    """
    rows = [row for row in records(table) if not is_undefined(row["value"])][:most]
    values = _values(rows, ("value", "ci_low", "ci_high", "worst_value"))
    if not values:
        return None
    height = 34 + len(rows) * _ROW + _AXIS
    draw = Drawing(_RANKING, height, label)
    scale = scale_over(values, words.bounds, start=300, end=580)
    bottom = height - _AXIS
    _ranking_frame(draw, scale, rows[0], bottom)
    for place, row in enumerate(rows):
        _ranking_row(draw, scale, row, words, 34 + (place + 0.5) * _ROW)
    axis_below(draw, scale, bottom, words.label)
    return draw.markup()


def _ranking_frame(draw: Drawing, scale: Scale, leader: Mapping[str, Any], bottom: float) -> None:
    draw.mark(325, 11, 0, "solid c0")
    draw.text(336, 16, "all samples, interval", "muted")
    draw.mark(480, 11, 2, "hollow c1")
    draw.text(491, 16, "worst group", "muted")
    draw.text(600, 16, _VALUES, "muted")
    if not is_undefined(leader["ci_low"]) and not is_undefined(leader["ci_high"]):
        low, high = scale(leader["ci_low"]), scale(leader["ci_high"])
        draw.rect(low, 28, high - low, bottom - 28, "band")


def _ranking_row(draw: Drawing, scale: Scale, row: Mapping[str, Any], words: MetricWords, y: float) -> None:
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    shown = number(row["value"], words.decimals) + ("" if span == UNDEFINED else f" ({span})")
    draw.text(22, y + 5, count(row["rank"]), "muted end")
    draw.text(32, y + 5, arm_name(row), "strong" if row["rank"] == 1 else "", width=262)
    if span != UNDEFINED:
        draw.line(scale(row["ci_low"]), y, scale(row["ci_high"]), y, "whisker stroke-c0")
    if not is_undefined(row["worst_value"]):
        worst = number(row["worst_value"], words.decimals)
        told = f"worst group {row['worst_group']} ({row['worst_attribute']}): {worst}"
        draw.mark(scale(row["worst_value"]), y, 2, "hollow c1", told, size=4.5)
    draw.mark(scale(row["value"]), y, 0, "solid c0", f"{arm_name(row)}: {shown}")
    draw.text(600, y + 5, shown)


def trade_off(
    points: pd.DataFrame, words: MetricWords, *, label: str, usages: Sequence[str], tallest: float
) -> Markup | None:
    """Draw utility against disparity for one attribute.

    Parameters
    ----------
    points
        A row per arm: `rank`, the columns of the arm, `value` (overall, x axis), and `adjusted` (filled
        mark), `raw` (hollow mark) and `null_mean` (short line: the gap that chance alone would give) on the y
        axis. Of many arms only the filled marks are drawn. `probability`, where there is such a column, is that of
        being on the front: not beaten in value and gap at once.
    words
        How the measure is called and read.
    label
        What the picture shows.
    usages
        All usages of the study in a fixed order; they choose colour and shape.
    tallest
        Largest gap on the y axis, so that pictures of several attributes can be compared.

    Returns
    -------
    markupsafe.Markup or None
        The picture, each mark numbered by `rank`, with a line along the front and an arc round each mark for its
        probability; None when no arm has both numbers.
    """
    rows = [
        row for row in records(points) if not is_undefined(row["value"]) and not is_undefined(row["adjusted"])
    ]
    if not rows:
        return None
    ahead = _front(rows, words)
    draw = Drawing(370, 310, label)
    across = scale_over(_values(rows, ("value",)), words.bounds, start=52, end=350)
    up = scale_over([0.0, tallest], (0.0, None), start=256, end=26)
    _trade_off_frame(draw, across, up, words)
    draw.polyline(_stairs([(across(row["value"]), up(row["adjusted"])) for row in ahead]), "front")
    behind = [row for row in rows if row not in ahead]
    for row in (*behind, *ahead):
        crowded = len(rows) > _CROWDED
        _trade_off_mark(draw, across, up, row, usages.index(str(row["usage"])), words, alone=crowded)
    _numbers(draw, across, up, [*ahead, *behind])
    return draw.markup()


def _front(rows: Sequence[dict[str, Any]], words: MetricWords) -> list[dict[str, Any]]:
    """Return the arms that none beats: not worse in both value and gap, better in one. In the order of their value."""
    sign = 1.0 if words.better == "higher" else -1.0

    def beaten(row: Mapping[str, Any]) -> bool:
        value, gap = sign * row["value"], row["adjusted"]
        return any(
            sign * other["value"] >= value
            and other["adjusted"] <= gap
            and (sign * other["value"] > value or other["adjusted"] < gap)
            for other in rows
        )

    return sorted((row for row in rows if not beaten(row)), key=lambda row: sign * row["value"])


def _stairs(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join the marks of a front by steps: between two arms, that value costs the gap of the better one."""
    steps = list(points[:1])
    for (x, _), after in itertools.pairwise(points):
        steps += [(x, after[1]), after]
    return steps


def _trade_off_frame(draw: Drawing, across: Scale, up: Scale, words: MetricWords) -> None:
    axis_left(draw, across, up)
    axis_below(draw, across, up.start + 6, words.label, wanted=4)
    draw.text(4, 13, "Gap between groups", "small muted")
    draw.text(across.end, 13, "better ↘" if words.better == "higher" else "better ↙", "small strong end")


def _trade_off_mark(
    draw: Drawing,
    across: Scale,
    up: Scale,
    row: Mapping[str, Any],
    kind: int,
    words: MetricWords,
    *,
    alone: bool,
) -> None:
    x, adjusted, colour = across(row["value"]), up(row["adjusted"]), f"c{kind % _COLOURS}"
    told = ", ".join(
        f"{name} {number(row[column], words.decimals)}"
        for name, column in (
            (words.label, "value"),
            ("adjusted gap", "adjusted"),
            ("raw", "raw"),
            ("by chance", "null_mean"),
        )
    )
    probability = row.get("probability")
    if not is_undefined(probability):
        told += f", on the front with probability {number(probability, 2)}"
        if float(probability or 0.0) >= _LIKELY:
            draw.ring(x, adjusted, float(probability or 0.0), "ring")
    if not alone and not is_undefined(row["raw"]):
        draw.line(x, up(row["raw"]), x, adjusted, f"thin stroke-{colour}")
        draw.mark(x, up(row["raw"]), kind, f"hollow {colour}", f"{arm_name(row)}: {told}", size=4)
    if not alone and not is_undefined(row["null_mean"]):
        draw.line(x - 7, up(row["null_mean"]), x + 7, up(row["null_mean"]), f"whisker stroke-{colour}")
    draw.mark(x, adjusted, kind, f"solid {colour}", f"{arm_name(row)}: {told}")


def _numbers(draw: Drawing, across: Scale, up: Scale, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the first ranks beside the filled marks, moving one aside where another stands already."""
    taken: list[tuple[float, float]] = [(across(row["value"]), up(row["adjusted"])) for row in rows]
    for row in rows[:_NUMBERED]:
        x, y = across(row["value"]), up(row["adjusted"])
        places = [
            (x + dx, y + dy)
            for dx, dy in ((15, 0), (-16, 0), (13, -13), (-14, -13), (13, 14), (-14, 14), (26, 0))
        ]
        free = [p for p in places if all(abs(p[0] - q[0]) > 12 or abs(p[1] - q[1]) > 10 for q in taken)]
        if not free and len(rows) > _CROWDED:
            continue  # unreadable there; the hover text says which it is
        spot = (free or places)[0]
        taken.append(spot)
        draw.text(spot[0], spot[1] + 4, count(row["rank"]), "small middle halo")


def legend(usages: Sequence[str], shown: Collection[str]) -> Markup:
    """Draw the key for pictures of :func:`trade_off`: the usages shown, with their marks in `usages`."""
    kinds = [(kind, readable(usage)) for kind, usage in enumerate(usages) if usage in shown]
    draw = Drawing(370, 26 + 22 * len(kinds) + 110, "Key")
    for place, (kind, name) in enumerate(kinds):
        draw.mark(12, 18 + 22 * place, kind, f"solid c{kind % _COLOURS}")
        draw.text(28, 23 + 22 * place, name, width=330)
    y = 18 + 22 * len(kinds)
    for place, (css, told) in enumerate((("solid grey", "adjusted gap"), ("hollow grey", "raw gap"))):
        draw.mark(12, y + 22 * place, 0, css)
        draw.text(28, y + 5 + 22 * place, told)
    draw.line(5, y + 44, 19, y + 44, "whisker stroke-grey")
    draw.text(28, y + 49, "gap that chance alone would give")
    draw.polyline([(3, y + 66), (21, y + 66)], "front")
    draw.text(28, y + 71, "front: not beaten in both value and gap")
    draw.ring(12, y + 88, 0.7, "ring")
    draw.text(28, y + 93, "arc, where known: probability of the front")
    return draw.markup()


def _values(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[float]:
    return [float(row[name]) for row in rows for name in columns if not is_undefined(row.get(name))]
