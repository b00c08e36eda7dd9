"""Pictures of one result's curves by group: ROC, and calibration with the number of samples in each bin.

Groups are told apart by colour, dashes and a number that stands on the curve and in the key. Pure functions.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from evaluator.report.grid import group_note, records
from evaluator.report.svg import Drawing, Scale, axis_below, axis_left, breadth
from evaluator.report.tables import OVERALL, UNKNOWN
from evaluator.report.words import (
    UNDEFINED,
    convention_words,
    count,
    interval,
    is_undefined,
    metric_words,
    number,
)

_WIDTH, _SIDE, _LEFT, _TOP = 760, 330, 48, 28
_KEY, _ROW, _STRIP = 410, 22, 20  # where the key starts; heights of its rows and of a histogram
_COLOURS = _DASHES = 6
_ROOM = 0.88 * (_WIDTH - _KEY - 60)  # for texts in the key; some fonts are broader than the average
_APART = 17.0  # pixels between two numbers on curves
Point = tuple[float, float]


class _Bin(NamedTuple):
    """One point of a curve; `n` is NaN where it was not counted."""

    x: float
    y: float
    n: float


@dataclass(frozen=True)
class _Line:
    """A group's curve; `place` is its number, 0 for all samples."""

    place: int
    name: str
    group: str
    bins: tuple[_Bin, ...]
    value: str = ""
    mark: Point | None = None

    @property
    def colour(self) -> str:
        return "grey" if self.place == 0 or self.group == UNKNOWN else f"c{(self.place - 1) % _COLOURS}"

    @property
    def dash(self) -> str:
        """Which dashes it has; the second round of colours gets other ones than the first."""
        behind = max(0, self.place - 1)
        return f"dash{(behind + behind // _COLOURS) % _DASHES}"

    @property
    def number(self) -> str:
        return str(self.place) if self.place else ""

    @property
    def points(self) -> list[Point]:
        return [(point.x, point.y) for point in self.bins]


def roc(curves: pd.DataFrame, metrics: pd.DataFrame, *, attribute: str, label: str) -> Markup | None:
    """Draw the ROC curves of an attribute's groups, with that of all samples behind them.

    Parameters
    ----------
    curves
        Tidy rows of :data:`evaluator.tables.CURVES` of one result.
    metrics
        Tidy rows of :data:`evaluator.tables.METRICS` of the same result. ``auc`` stands in the key; ``sensitivity`` and
        ``specificity`` of the first convention that has both mark where the groups are operated; groups without a
        curve are listed with their reason.
    attribute
        Whose groups.
    label
        What the picture shows.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when no group has a curve.
    """
    convention = _operated(metrics)
    lines = _lines(curves, metrics, "roc", attribute, metric="auc", convention=convention, least=2)
    if not any(line.place for line in lines):
        return None
    missing = _missing(metrics, attribute, "auc", lines)
    marked = any(line.mark for line in lines)
    note = _wrapped(f"Hollow marks: {convention_words(convention) or convention}") if marked else []
    height = max(_TOP + _SIDE + 46, _key_height(lines, missing) + 16 * len(note))
    draw = Drawing(_WIDTH, height, label)
    across, up = _panel(draw, "False positive rate (1 − specificity)", "Sensitivity")
    _curves(draw, across, up, lines)
    for line in lines:
        if line.mark and line.place:
            told = f"{line.name}: sensitivity {number(line.mark[1])}, specificity {number(1 - line.mark[0])}"
            draw.mark(
                across(line.mark[0]),
                up(line.mark[1]),
                line.place - 1,
                f"hollow {line.colour}",
                told,
                size=4.5,
            )
    _numbers(draw, across, up, lines)
    y = _key(draw, lines, missing, "AUC and interval", marked=marked)
    for place, text in enumerate(note):
        draw.text(_KEY + 60, y + 22 + 16 * place, text, "small muted")
    return draw.markup()


def calibration(curves: pd.DataFrame, metrics: pd.DataFrame, *, attribute: str, label: str) -> Markup | None:
    """Draw how often predicted probabilities came true by group, and below how many samples lie in each bin.

    Parameters
    ----------
    curves, metrics, attribute, label
        As in :func:`roc`; of the metrics ``ece`` stands in the key.

    Returns
    -------
    markupsafe.Markup or None
        The picture; marks are the larger and darker the more samples the bin has. None when no group has a curve.
    """
    lines = _lines(curves, metrics, "calibration", attribute, metric="ece", convention="", least=1)
    if not any(line.place for line in lines):
        return None
    missing = _missing(metrics, attribute, "ece", lines)
    strips = _TOP + _SIDE + 78
    height = max(strips + len(lines) * _STRIP + 6, _key_height(lines, missing))
    draw = Drawing(_WIDTH, height, label)
    across, up = _panel(draw, "Predicted probability, mean of a bin", "Share of positives")
    _curves(draw, across, up, lines)
    most = max((b.n for line in lines for b in line.bins if line.place and not math.isnan(b.n)), default=0.0)
    for line in lines:
        for point in line.bins:
            if line.place:
                _bin_mark(draw, across(point.x), up(point.y), line, point, most)
    _numbers(draw, across, up, lines)
    draw.text(_LEFT, strips - 10, "Samples by bin; each group to its largest bin", "small muted")
    for place, line in enumerate(lines):
        _strip(draw, across, line, strips + (place + 1) * _STRIP)
    _key(draw, lines, missing, f"{metric_words('ece').label} and interval", marked=True)
    return draw.markup()


def _lines(
    curves: pd.DataFrame,
    metrics: pd.DataFrame,
    curve: str,
    attribute: str,
    *,
    metric: str,
    convention: str,
    least: int,
) -> list[_Line]:
    """Return the curves of all samples (first, where there is one) and of the groups, unknown last."""
    rows = [row for row in records(curves) if row["curve"] == curve]
    overall = [row for row in rows if row["attribute"] == OVERALL]
    groups = [row for row in rows if row["attribute"] == attribute != OVERALL]
    groups.sort(key=lambda row: row["group"] == UNKNOWN)
    lines: list[_Line] = []
    for row in (*overall[:1], *groups):
        bins = _bins(row)
        if len(bins) < least:
            continue
        own = row["attribute"]
        place = 0 if own == OVERALL else 1 + sum(line.place > 0 for line in lines)
        name = "all samples" if own == OVERALL else str(row["group"]) or UNDEFINED
        value = _value(metrics, own, row["group"], metric)
        mark = _mark(metrics, own, row["group"], convention)
        lines.append(_Line(place, name, str(row["group"]), bins, value, mark))
    return lines


def _bins(row: Mapping[str, Any]) -> tuple[_Bin, ...]:
    x, y, n = (list(() if row[name] is None else row[name]) for name in ("x", "y", "n"))
    counts = n if len(n) == len(x) else [math.nan] * len(x)
    return tuple(
        _Bin(float(a), float(b), math.nan if is_undefined(c) else float(c))
        for a, b, c in zip(x, y, counts, strict=True)
        if not is_undefined(a) and not is_undefined(b)
    )


def _rows(metrics: pd.DataFrame, attribute: str, group: str, metric: str) -> list[dict[str, Any]]:
    fits = (metrics["attribute"] == attribute) & (metrics["group"] == group) & (metrics["metric"] == metric)
    return records(metrics[fits])


def _value(metrics: pd.DataFrame, attribute: str, group: str, metric: str) -> str:
    """Return a metric with its interval as text; empty where it is undefined."""
    words = metric_words(metric)
    for row in _rows(metrics, attribute, group, metric):
        if not is_undefined(row["value"]):
            span = interval(row["ci_low"], row["ci_high"], words.decimals)
            return number(row["value"], words.decimals) + ("" if span == UNDEFINED else f" ({span})")
    return ""


def _operated(metrics: pd.DataFrame) -> str:
    """Return the first convention that sensitivity and specificity share; empty for none."""
    found = [
        dict.fromkeys(metrics.loc[metrics["metric"] == name, "convention"])
        for name in ("sensitivity", "specificity")
    ]
    return next((str(name) for name in found[0] if name in found[1]), "")


def _mark(metrics: pd.DataFrame, attribute: str, group: str, convention: str) -> Point | None:
    if not convention:
        return None
    rates = [
        row["value"]
        for metric in ("specificity", "sensitivity")
        for row in _rows(metrics, attribute, group, metric)
        if row["convention"] == convention and not is_undefined(row["value"])
    ]
    return (1 - float(rates[0]), float(rates[1])) if len(rates) == 2 else None


def _missing(
    metrics: pd.DataFrame, attribute: str, metric: str, lines: Sequence[_Line]
) -> list[tuple[str, str]]:
    """Return the groups that have no curve, with the reason."""
    drawn = {line.group for line in lines if line.place}
    rows = metrics[(metrics["attribute"] == attribute) & (metrics["metric"] == metric)]
    return [
        (str(row["group"]) or UNDEFINED, group_note(row) or "no curve")
        for row in records(rows.drop_duplicates("group"))
        if row["group"] not in drawn
    ]


def _panel(draw: Drawing, below: str, beside: str) -> tuple[Scale, Scale]:
    """Draw the frame of a unit square with its diagonal."""
    across = Scale(0.0, 1.0, _LEFT, _LEFT + _SIDE)
    up = Scale(0.0, 1.0, _TOP + _SIDE, _TOP)
    axis_left(draw, across, up)
    draw.line(across.start, up.start, across.end, up.end, "reference")
    axis_below(draw, across, up.start, below)
    draw.text(4, 15, beside, "small muted")
    return across, up


def _curves(draw: Drawing, across: Scale, up: Scale, lines: Sequence[_Line]) -> None:
    drawn = {line.place: [(across(x), up(y)) for x, y in line.points] for line in lines}
    for line in lines:
        told = f"{line.name}{': ' if line.value else ''}{line.value}"
        css = f"curve {line.dash} stroke-{line.colour}" if line.place else "curve behind stroke-grey"
        draw.polyline(drawn[line.place], css, told)


def _numbers(draw: Drawing, across: Scale, up: Scale, lines: Sequence[_Line]) -> None:
    """Write on every group's line its number."""
    drawn = {line.place: [(across(x), up(y)) for x, y in line.points] for line in lines}
    taken: list[Point] = []
    for line in lines:
        if line.place:
            others = [p for place, points in drawn.items() if place != line.place for p in _dense(points)]
            spot = _free_spot(_dense(drawn[line.place]), others, taken)
            taken.append(spot)
            draw.text(spot[0], spot[1] + 4, line.number, "small strong middle halo")


def _dense(points: Sequence[Point], step: float = 6.0) -> list[Point]:
    """Return points along a line, about `step` pixels apart."""
    found = [points[0]]
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        parts = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / step))
        found += [(x1 + (x2 - x1) * k / parts, y1 + (y2 - y1) * k / parts) for k in range(1, parts + 1)]
    return found


def _free_spot(own: Sequence[Point], others: Sequence[Point], taken: Sequence[Point]) -> Point:
    """Choose where on its line a number stands: clear of other numbers first, then clear of other lines."""
    inner = own[len(own) // 12 : len(own) - len(own) // 12] or own
    from_numbers = np.minimum(_distances(inner, taken), _APART)
    from_lines = np.minimum(_distances(inner, others), 2 * _APART)
    best = np.lexsort((-from_lines, -from_numbers))[0]  # stable: the first of equals
    return inner[int(best)]


def _distances(spots: Sequence[Point], points: Sequence[Point]) -> NDArray[np.float64]:
    """Return how far each spot is from the nearest point."""
    if not points:
        return np.full(len(spots), np.inf)
    apart = np.asarray(spots)[:, None, :] - np.asarray(points)[None, :, :]
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]).min(axis=1))


def _bin_mark(draw: Drawing, x: float, y: float, line: _Line, point: _Bin, most: float) -> None:
    weight = 1.0 if math.isnan(point.n) or most <= 0 else math.sqrt(point.n / most)
    told = f"{line.name}: predicted {number(point.x)}, came true {number(point.y)}, {count(point.n)} samples"
    css = f"solid {line.colour}"
    draw.mark(x, y, line.place - 1, css, told, size=2.2 + 3.3 * weight, opacity=0.35 + 0.65 * weight)


def _strip(draw: Drawing, across: Scale, line: _Line, bottom: float) -> None:
    """Draw how many samples each bin has, the largest as high as the strip."""
    counts = [0.0 if math.isnan(point.n) else point.n for point in line.bins]
    most = max(counts)
    draw.text(_LEFT - 6, bottom - 3, line.number or "all", "small muted end")
    draw.line(across.start, bottom, across.end, bottom, "gridline")
    for point, n in zip(line.bins, counts, strict=True):
        if n > 0:
            high = max(1.0, (_STRIP - 5) * n / most)
            left = min(max(across(point.x) - 5, across.start), across.end - 10)
            with draw.told(f"{line.name}: {count(n)} samples around {number(point.x)}"):
                draw.rect(left, bottom - high, 10, high, f"solid {line.colour}")
    draw.text(_KEY, bottom - 3, f"{count(sum(counts))} samples", "small muted")


def _wrapped(text: str) -> list[str]:
    """Break a text into lines as wide as the names and values of the key."""
    return textwrap.wrap(text, int(_ROOM / breadth("n", "small")))


def _key_height(lines: Sequence[_Line], missing: Sequence[tuple[str, str]]) -> float:
    reasons = sum(24 + 16 * len(_wrapped(reason)) for _, reason in missing)
    return _TOP + _ROW * len(lines) + reasons + (16 if missing else 0) + 12


def _key(
    draw: Drawing, lines: Sequence[_Line], missing: Sequence[tuple[str, str]], heading: str, *, marked: bool
) -> float:
    """List the groups with number, line and value, then those without a curve; return where it ends."""
    draw.text(_KEY + 60, 15, "Group", "small muted")
    if any(line.value for line in lines):
        draw.text(_WIDTH, 15, heading, "small muted end")
    y = float(_TOP)
    for line in lines:
        draw.text(_KEY + 14, y + 16, line.number, "small strong end")
        css = f"curve {line.dash} stroke-{line.colour}" if line.place else "curve behind stroke-grey"
        draw.polyline([(_KEY + 20, y + 12), (_KEY + 54, y + 12)], css)
        if marked and line.place:
            draw.mark(_KEY + 37, y + 12, line.place - 1, f"hollow {line.colour}", size=4)
        draw.text(_KEY + 60, y + 16, line.name, "" if line.place else "strong", width=140)
        draw.text(_WIDTH, y + 16, line.value, "small end")
        y += _ROW
    if missing:
        y += 16
    for name, reason in missing:
        draw.text(_KEY + 60, y + 16, name, "muted", width=_ROOM)
        for place, line_of_reason in enumerate(_wrapped(reason)):
            draw.text(_KEY + 60, y + 32 + 16 * place, line_of_reason, "small muted", width=_ROOM)
        y += 24 + 16 * len(_wrapped(reason))
    return y
