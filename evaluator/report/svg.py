"""The few SVG shapes that the figures need. All that comes from data is escaped here, in text and attributes.

Colours are class names that the page's stylesheet defines for light, dark and print; nothing is loaded.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from markupsafe import Markup, escape

from evaluator.report.words import MINUS, clean

CHAR_WIDTH = 6.7  # of an average character at the 13 px that the stylesheet sets for figures
SMALL = 11.5 / 13  # of that, the size of class "small"
_BROAD = {"W", "F"}  # East Asian characters, as broad as high
_WIDE = 800  # pixels from which on a picture is not squeezed onto a small screen


def fit(text: str, width: float) -> str:
    """Return a text cut to about `width` pixels, with an ellipsis where something is missing.

    Examples
    --------
    >>> fit("linear probe", 60), fit("linear probe", 200)
    ('linear …', 'linear probe')
    """
    room = max(1, int(width / CHAR_WIDTH))
    if _columns(text) <= room:
        return text
    kept = text[: room - 1]
    while kept and _columns(kept) >= room:
        kept = kept[:-1]
    return kept + "…"


def breadth(text: str, css: str = "") -> float:
    """Return about how many pixels a text takes."""
    return _columns(text) * CHAR_WIDTH * (SMALL if "small" in css.split() else 1.0)


def _columns(text: str) -> int:
    """Return the length in average characters; a broad one counts twice."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in _BROAD else 1 for char in text)


class Drawing:
    """An SVG picture under construction.

    Parameters
    ----------
    width, height
        In pixels.
    label
        What the picture shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width, self.height, self.label = width, height, label
        self._parts: list[Markup] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draw a line."""
        self._add('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>', _n(x1), _n(y1), _n(x2), _n(y2), css)

    def rect(self, x: float, y: float, width: float, height: float, css: str) -> None:
        """Draw a rectangle."""
        self._add(
            '<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>',
            _n(x),
            _n(y),
            _n(width),
            _n(height),
            css,
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        css: str = "",
        *,
        width: float = math.inf,
        turn: float = 0.0,
        hover: str = "",
    ) -> None:
        """Write a text with its baseline at `y`; one longer than `width` is cut and shown whole on hover.

        `turn` turns it about its anchor, in degrees, clockwise; `hover` is what it stands for, where that is more.
        """
        size = SMALL if "small" in css.split() else 1.0
        shown = clean(text) if math.isinf(width) else fit(clean(text), width / size)
        title = _title(hover or text) if hover or shown != clean(text) else ""
        turned = Markup(' transform="rotate({} {} {})"').format(_n(turn), _n(x), _n(y)) if turn else ""
        self._add('<text x="{}" y="{}" class="{}"{}>{}{}</text>', _n(x), _n(y), css, turned, title, shown)

    def mark(
        self,
        x: float,
        y: float,
        shape: int,
        css: str,
        hover: str = "",
        *,
        size: float = 5.0,
        opacity: float = 1.0,
    ) -> None:
        """Draw marker `shape`: circle, square, triangle, diamond, cross, inverted triangle, then again."""
        self._path(_marker(x, y, shape, size), css, hover, opacity)

    def polyline(self, points: Sequence[tuple[float, float]], css: str, hover: str = "") -> None:
        """Draw a line through points."""
        self._path("M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points), css, hover)

    def ring(self, x: float, y: float, share: float, css: str, *, radius: float = 9.0) -> None:
        """Draw a part of a circle that begins at the top and runs clockwise; a `share` of 1 closes it."""
        turn = 2 * math.pi * min(share, 0.999)  # an arc whose ends meet would not be drawn
        end = f"{_n(x + radius * math.sin(turn))} {_n(y - radius * math.cos(turn))}"
        large = int(turn > math.pi)
        self._path(f"M{_n(x)} {_n(y - radius)}A{_n(radius)} {_n(radius)} 0 {large} 1 {end}", css)

    def hatch(self, x: float, y: float, width: float, height: float, css: str, *, step: float = 7.0) -> None:
        """Fill a rectangle with slanted lines."""
        lines = []
        for place in range(1, math.ceil((width + height) / step)):
            low = (
                place * step
            )  # the line of the points whose distances from the left and the top add up to this
            x1, y1 = min(low, width), max(0.0, low - width)
            x2, y2 = max(0.0, low - height), min(low, height)
            lines.append(f"M{_n(x + x1)} {_n(y + y1)}L{_n(x + x2)} {_n(y + y2)}")
        self._path("".join(lines), css)

    @contextmanager
    def told(self, hover: str) -> Iterator[None]:
        """Draw things that share one text on hover."""
        self._add("<g>{}", _title(hover))
        yield
        self._add("</g>")

    def markup(self) -> Markup:
        """Return the finished picture."""
        head = Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" '
            'height="{h}"{css} role="img" aria-label="{label}">'
        ).format(
            w=_n(self.width),
            h=_n(self.height),
            css=Markup(' class="wide"') if self.width > _WIDE else "",
            label=clean(self.label),
        )
        return head + Markup("").join(self._parts) + Markup("</svg>")

    def _path(self, drawn: str, css: str, hover: str = "", opacity: float = 1.0) -> None:
        faint = Markup(' opacity="{}"').format(_n(opacity)) if opacity < 1.0 else ""
        self._add('<path d="{}" class="{}"{}>{}</path>', drawn, css, faint, _title(hover) if hover else "")

    def _add(self, template: str, *values: object) -> None:
        # The template is our own; `format` of a Markup escapes what is put in, except what is Markup already.
        self._parts.append(Markup(template).format(*map(escape, values)))  # noqa: S704


def _title(hover: str) -> Markup:
    return Markup("<title>{}</title>").format(clean(hover))


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels.

    Attributes
    ----------
    low, high
        Values at the ends.
    start, end
        Pixels at the ends.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; values outside end at the border."""
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Return round values inside, about as many as wanted."""
        step = _round_step((self.high - self.low) / max(1, wanted))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [place * step for place in range(first, last + 1)]

    def tick_text(self, value: float) -> str:
        """Return a tick's label with no more digits than the step needs."""
        step = _round_step((self.high - self.low) / 5)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}".replace("-", MINUS)


def scale_over(
    values: Sequence[float], bounds: tuple[float | None, float | None], *, start: float, end: float
) -> Scale:
    """Return a scale that shows all values with some air, without leaving the bounds of what is possible."""
    low, high = min(values), max(values)
    air = max((high - low) * 0.06, 1e-3 * max(1.0, abs(high)))
    low, high = low - air, high + air
    if bounds[0] is not None:
        low = max(low, bounds[0])
    if bounds[1] is not None:
        high = min(high, bounds[1])
    return Scale(low, high if high > low else low + 1e-3, start, end)


def axis_below(draw: Drawing, scale: Scale, y: float, label: str, wanted: int = 5) -> None:
    """Draw a horizontal axis at `y` with ticks and its label below; takes 46 px."""
    draw.line(scale.start, y, scale.end, y, "axis")
    for tick in scale.ticks(wanted):
        draw.line(scale(tick), y, scale(tick), y + 5, "axis")
        draw.text(scale(tick), y + 19, scale.tick_text(tick), "small muted middle")
    draw.text((scale.start + scale.end) / 2, y + 38, label, "small muted middle")


def axis_left(draw: Drawing, across: Scale, up: Scale) -> None:
    """Draw lines through a panel at the ticks of its vertical scale, numbered at the left."""
    for tick in up.ticks():
        draw.line(across.start, up(tick), across.end, up(tick), "gridline")
        draw.text(across.start - 6, up(tick) + 4, up.tick_text(tick), "small muted end")


def _round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def _marker(x: float, y: float, shape: int, r: float) -> str:
    """Return the path of a marker centred at (x, y), of about equal area for all shapes."""
    points: tuple[tuple[float, float], ...]
    kind = shape % 6
    if kind == 0:
        return (
            f"M{_n(x - r)} {_n(y)}a{_n(r)} {_n(r)} 0 1 0 {_n(2 * r)} 0a{_n(r)} {_n(r)} 0 1 0 {_n(-2 * r)} 0z"
        )
    s, t, c = r * 0.9, r * 1.2, r * 0.45
    if kind == 1:
        points = ((-s, -s), (s, -s), (s, s), (-s, s))
    elif kind == 2:
        points = ((0, -t), (t, t * 0.8), (-t, t * 0.8))
    elif kind == 3:
        points = ((0, -t), (t, 0), (0, t), (-t, 0))
    elif kind == 4:
        points = (
            (-c, -t),
            (c, -t),
            (c, -c),
            (t, -c),
            (t, c),
            (c, c),
            (c, t),
            (-c, t),
            (-c, c),
            (-t, c),
            (-t, -c),
            (-c, -c),
        )
    else:
        points = ((0, t), (t, -t * 0.8), (-t, -t * 0.8))
    return "M" + "L".join(f"{_n(x + dx)} {_n(y + dy)}" for dx, dy in points) + "z"


def _n(value: float) -> str:
    """Return a coordinate in at most two decimals, the same on every machine."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
