"""Heat map of an intersection: one attribute down, the other across, with the values of single groups at the edges.

A cell that is not shown for want of subjects is hatched and says so; an estimate that borrows from the other groups stands
there in parentheses and italics, never as a measured value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from evaluator.report.grid import records, short_note, why
from evaluator.report.svg import Drawing, breadth
from evaluator.report.tables import OVERALL, UNKNOWN
from evaluator.report.words import (
    UNDEFINED,
    MetricWords,
    count,
    interval,
    is_undefined,
    number,
)

_WIDE, _HIGH, _NAMES, _TOP = 96.0, 46.0, 170.0, 62.0
_SHADES = 3
_EDGE = None  # in place of a value: the row or column of the other attribute alone
Value = str | None
Key = tuple[Value, Value]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Crossing:
    """The groups of an intersection, laid out.

    Attributes
    ----------
    names
        Of the attribute down and the one across.
    down, across
        Values in the order of the table, then :data:`_EDGE` where the single attribute was measured.
    rows
        Row of the table by (value down, value across).
    overall
        Value of all samples; None where it is undefined.
    unknown
        Row of the subjects of whom an attribute is not recorded; None where there is none.
    """

    names: tuple[str, str]
    down: tuple[Value, ...]
    across: tuple[Value, ...]
    rows: Mapping[Key, Row]
    overall: float | None
    unknown: Row | None


def intersection_map(
    metrics: pd.DataFrame, words: MetricWords, *, attribute: str, label: str
) -> Markup | None:
    """Draw the values of an intersection's groups, shaded by how much better or worse than all samples they are.

    Parameters
    ----------
    metrics
        Tidy rows of :data:`evaluator.tables.METRICS` of one result and one measure; single
        attributes among them give the edges.
    words
        How the measure is called and read.
    attribute
        Two attributes joined by ``*``; of three or more the first runs down, the others together across.
    label
        What the picture shows.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when `attribute` is no intersection or none of its groups was measured.
    """
    crossing = _cross(metrics, attribute)
    if crossing is None:
        return None
    values = [
        float(row["value"])
        for row in crossing.rows.values()
        if _shown(row) and not is_undefined(row["value"])
    ]
    middle = crossing.overall
    reach = max((abs(value - middle) for value in values), default=0.0) if middle is not None else 0.0
    width = max(_NAMES + _WIDE * len(crossing.across) + 2, 640.0)
    bottom = _TOP + _HIGH * len(crossing.down)
    draw = Drawing(width, bottom + 62 + (20 if crossing.unknown else 0), label)
    draw.text(0, _TOP - 14, crossing.names[0], "strong", width=_NAMES - 12)
    draw.text(_NAMES, 16, _name(crossing.names[1]), "strong", width=width - _NAMES)
    for place, name in enumerate(crossing.across):
        x = _NAMES + (place + 0.5) * _WIDE
        draw.text(x, _TOP - 14, _name(name), f"middle{_tone(name)}", width=_WIDE - 8)
    for line, down in enumerate(crossing.down):
        y = _TOP + line * _HIGH
        draw.text(0, y + _HIGH / 2 + 4, _name(down), _tone(down).strip(), width=_NAMES - 12)
        for place, across in enumerate(crossing.across):
            row = crossing.rows.get((down, across))
            _cell(draw, (_NAMES + place * _WIDE, y), (down, across), row, words, middle, reach)
    _key(draw, bottom, words, crossing.overall, reach)
    if crossing.unknown:
        draw.text(0, bottom + 70, _unknown(crossing.unknown, words), "small muted", width=0.88 * width)
    return draw.markup()


def _cross(metrics: pd.DataFrame, attribute: str) -> _Crossing | None:
    first, star, rest = attribute.partition("*")
    if not star:
        return None
    mine = [row for row in records(metrics) if row["attribute"] == attribute]
    rows: dict[Key, Row] = {}
    for row in mine:
        one, _, other = str(row["group"]).partition("*")
        if row["group"] != UNKNOWN:
            rows.setdefault((one, other), row)
    if not rows:
        return None
    singles = {name: metrics.loc[metrics["attribute"] == name, "group"].tolist() for name in (first, rest)}
    down = _ordered((key[0] for key in rows), singles[first])
    across = _ordered((key[1] for key in rows), singles[rest])
    edges: dict[Key, Row] = {}
    overall = None
    for row in records(metrics):
        group = str(row["group"])
        if row["attribute"] == OVERALL:
            edges[_EDGE, _EDGE] = row
            overall = None if is_undefined(row["value"]) else float(row["value"])
        elif row["attribute"] == first and group in down:
            edges[group, _EDGE] = row
        elif row["attribute"] == rest and group in across:
            edges[_EDGE, group] = row
    if any(key[1] is _EDGE and key[0] is not _EDGE for key in edges):
        across = (*across, _EDGE)
    if any(key[0] is _EDGE and key[1] is not _EDGE for key in edges):
        down = (*down, _EDGE)
    unknown = next((row for row in mine if row["group"] == UNKNOWN), None)
    return _Crossing((first, rest), down, across, {**edges, **rows}, overall, unknown)


def _ordered(values: Iterable[Value], single: Sequence[str]) -> tuple[Value, ...]:
    """Return each value once, in the order of the single attribute's groups where it has one, then as they come."""
    found = dict.fromkeys(values)
    return (
        *(value for value in dict.fromkeys(single) if value in found),
        *(v for v in found if v not in single),
    )


def _name(value: Value) -> str:
    return "all" if value is _EDGE else value.replace("*", " · ") or UNDEFINED


def _unknown(row: Row, words: MetricWords) -> str:
    told = f"Not recorded: {words.label} {number(row['value'], words.decimals)}, n {count(row['n_subjects'])}"
    return f"{told}; takes no part in gaps"


def _tone(name: Value) -> str:
    return " strong" if name is _EDGE else " muted" if name == UNKNOWN else ""


def _shown(row: Row) -> bool:
    return str(row.get("status") or "ok") == "ok" and not is_undefined(row["value"])


def _cell(
    draw: Drawing,
    corner: tuple[float, float],
    key: Key,
    row: Row | None,
    words: MetricWords,
    middle: float | None,
    reach: float,
) -> None:
    x, y = corner
    edge = _EDGE in key
    if row is None:
        draw.rect(x + 1, y + 1, _WIDE - 2, _HIGH - 2, "empty")
        return
    with draw.told(_told(key, row, words, middle)):
        if not _shown(row):
            draw.rect(x + 1, y + 1, _WIDE - 2, _HIGH - 2, "empty")
            draw.hatch(x + 1, y + 1, _WIDE - 2, _HIGH - 2, "hatch")
            _withheld(draw, x + _WIDE / 2, y, row, words)
            return
        value = float(row["value"])
        shade = "empty" if edge or UNKNOWN in key else _shade(value, middle, reach, words)
        draw.rect(x + 1, y + 1, _WIDE - 2, _HIGH - 2, f"cell {shade}")
        sign = "" if edge or middle is None else _sign(shade)
        tone = " muted" if UNKNOWN in key else " strong" if key == (_EDGE, _EDGE) else ""
        draw.text(x + _WIDE / 2, y + 20, f"{sign}{number(value, words.decimals)}", f"middle{tone}")
        draw.text(x + _WIDE / 2, y + 37, f"n {count(row['n_subjects'])}", "small middle" + tone)


def _withheld(draw: Drawing, x: float, y: float, row: Row, words: MetricWords) -> None:
    """Write why a value is not shown, and the estimate that borrows from the other groups where there is one."""
    told = f"{short_note(row)}, n {count(row['n_subjects'])}"
    shrunk = row.get("shrunk")
    if is_undefined(shrunk):
        draw.text(x, y + 28, told, "small middle muted halo", width=_WIDE - 4)
        return
    draw.text(x, y + 20, f"({number(shrunk, words.decimals)})", "middle muted italic halo")
    draw.text(x, y + 37, told, "small middle muted halo", width=_WIDE - 4)


def _told(key: Key, row: Row, words: MetricWords, middle: float | None) -> str:
    parts = [f"{_name(key[0])} × {_name(key[1])}: {words.label} {number(row['value'], words.decimals)}"]
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    parts += [span] if span != UNDEFINED else []
    if middle is not None and _shown(row):
        away = float(row["value"]) - middle
        parts.append(f"{'+' if away > 0 else ''}{number(away, words.decimals)} from all samples")
    parts.append(f"{count(row['n_subjects'])} subjects, {count(row['n'])} samples")
    if not is_undefined(row.get("shrunk")):
        parts.append(f"estimate drawn to the mean of the groups {number(row['shrunk'], words.decimals)}")
    return "; ".join([*parts, *([why(row)] if why(row) else [])])


def _shade(value: float, middle: float | None, reach: float, words: MetricWords) -> str:
    """Return the class of a shade: how far a value lies from all samples, in three steps to either side."""
    if middle is None or reach <= 0.0:
        return "even"
    part = (value - middle) / reach
    level = min(_SHADES, int(abs(part) * (_SHADES + 0.5) + 0.5))
    if level == 0:
        return "even"
    good = (part > 0) == (words.better == "higher")
    return f"{'better' if good else 'worse'}{level}"


def _sign(shade: str) -> str:
    return "▲ " if shade.startswith("better") else "▼ " if shade.startswith("worse") else ""


def _key(draw: Drawing, y: float, words: MetricWords, overall: float | None, reach: float) -> None:
    """Explain shades, signs and hatching below the map."""
    x = 0.0
    if overall is not None and reach > 0:
        told = f"▼ worse than all samples ({number(overall, words.decimals)})"
        draw.text(x, y + 25, told, "small muted")
        x += breadth(told, "small") + 10
        shades = (
            [f"worse{k}" for k in range(_SHADES, 0, -1)]
            + ["even"]
            + [f"better{k}" for k in range(1, _SHADES + 1)]
        )
        for shade in shades:
            draw.rect(x, y + 14, 18, 14, f"cell {shade}")
            x += 18
        draw.text(x + 10, y + 25, "better ▲", "small muted")
    draw.rect(0, y + 37, 22, 14, "empty")
    draw.hatch(0, y + 37, 22, 14, "hatch")
    told = "value not shown; (in parentheses) an estimate that borrows from the other groups; n: subjects"
    draw.text(28, y + 48, told, "small muted")
