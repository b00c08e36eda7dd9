"""The map of who is disadvantaged: models down, datasets across, in each cell the worst group and how far behind it is.

A name is shown wherever there is a gap to speak of; a frame and bold say that it was found beyond chance. What cannot
be judged is a dot, never a pale cell that looks like fairness.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from markupsafe import Markup

from evaluator.report.grid import arm_name, records, why
from evaluator.report.svg import Drawing, breadth
from evaluator.report.tables import ARM, QUESTION, Question, gap_table
from evaluator.report.words import UNDEFINED, is_undefined, number, p_value, readable

_NAMES, _HIGH, _LEAN = (
    236,
    24,
    0.70711,
)  # width of the row names, height of a cell, sine of the headings' angle
_NARROW, _BROAD = 38.0, 78.0  # widths of a cell
_HEADING = 200.0  # longest heading
_STEPS = (
    0.02,
    0.05,
    0.10,
    0.20,
)  # adjusted gaps at which the next shade begins, for metrics on the scale of 0 to 1
_SHORT = 7  # names up to this length are not shortened
Arm = tuple[str, ...]
T = TypeVar("T")


class _Verdict(NamedTuple):
    """What one arm's gap on one question says; `gap` and `p` are None where it cannot be judged."""

    worst: str
    gap: float | None
    p: float | None
    told: str


def disadvantage_map(gaps: pd.DataFrame, *, attribute: str, label: str, alpha: float = 0.05) -> Markup | None:
    """Draw which group fares worst, for every arm on every question.

    Parameters
    ----------
    gaps
        Tidy rows of :data:`evaluator.tables.GAPS` of any number of questions, of each question the primary measure only.
        Of several seeds the means, the largest p and the most frequent worst group count.
    attribute
        Whose groups.
    label
        What the picture shows.
    alpha
        A family-adjusted p below it marks a cell.

    Returns
    -------
    markupsafe.Markup or None
        The picture; None when no gap of this attribute was measured.
    """
    table = gap_table(gaps[gaps["attribute"] == attribute])
    if table.empty:
        return None
    cells = {(arm, question): _verdict(records(rows)) for (arm, question), rows in _by_cell(table).items()}
    arms = _together((arm for arm, _ in cells), lambda arm: arm[0])
    questions = _together((question for _, question in cells), lambda question: question.dataset)
    judged = [cell for cell in cells.values() if cell.gap is not None]
    short = short_names(dict.fromkeys(cell.worst for cell in judged))
    broad = max((breadth(name, "small") for name in short.values()), default=0.0) * 1.25 + 6  # some are bold
    width = min(max(broad, _NARROW), _BROAD)
    headings = [_heading(question) for question in questions]
    top = 14 + _LEAN * min(_HEADING, max(breadth(text, "small") for text in headings))
    right = _NAMES + width * len(questions)
    full = max(right + top, 700.0)
    steps = _steps([cell.gap for cell in judged if cell.gap is not None])
    notes = _wrap(
        "; ".join(f"{cut} = {name}" for name, cut in short.items() if name not in {cut, ""}),
        full / breadth("n", "small"),
    )
    bottom = top + 6 + _HIGH * len(arms)
    draw = Drawing(full, bottom + 60 + 17 * len(notes), label)
    for place, text in enumerate(headings):
        x = _NAMES + (place + 0.5) * width + 3
        draw.text(x, top, text, "small", width=_HEADING, turn=-45)
    for line, arm in enumerate(arms):
        y = top + 6 + _HIGH * line
        name = arm_name(dict(zip(ARM, arm, strict=True)))
        draw.text(0, y + _HIGH / 2 + 4.5, name, width=_NAMES - 10)
        for place, question in enumerate(questions):
            cell = cells.get((arm, question))
            box = (_NAMES + place * width, y, width, float(_HIGH))
            with draw.told(f"{name}, {_heading(question)}: {cell.told if cell else 'not run'}"):
                _cell(draw, box, cell, short, steps, alpha)
    if len({question.dataset for question in questions}) < len(questions):
        for place, (before, after) in enumerate(itertools.pairwise(questions), start=1):
            if before.dataset != after.dataset:
                draw.line(_NAMES + place * width, top + 2, _NAMES + place * width, bottom, "axis")
    _key(draw, bottom, steps, alpha)
    for place, text in enumerate(notes):
        draw.text(0, bottom + 66 + 17 * place, text, "small muted", width=full)
    return draw.markup()


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return a short name for each name, no two alike.

    Names of up to seven characters stay. Longer ones become the beginnings of their words or, of three words and more,
    the first letters; words with a digit stay whole. What is still long is cut, and what is alike numbered.

    Examples
    --------
    >>> short_names(["male", "Black or African American", "female*60+"])
    {'male': 'male', 'Black or African American': 'BoAA', 'female*60+': 'fem·60+'}
    """
    found: dict[str, str] = {}
    for name in names:
        cut = name or '""'
        cut = cut if len(cut) <= _SHORT else "·".join(map(_abbreviated, name.split("*")))
        cut = cut if len(cut) <= _SHORT + 1 else cut[:_SHORT] + "…"
        base, number_ = cut, 1
        while cut in found.values():
            number_ += 1
            cut = f"{base[: _SHORT - 1]}~{number_}"
        found[name] = cut
    return found


def _abbreviated(part: str) -> str:
    words = re.split(r"[\s_/]+", part)
    kept = 1 if len(words) > 2 else 3
    return "".join(word if any(map(str.isdigit, word)) else word[:kept] for word in words)


def _by_cell(table: pd.DataFrame) -> dict[tuple[Arm, Question], pd.DataFrame]:
    groups = table.groupby([*ARM, *QUESTION], sort=False)
    places = len(ARM)
    return {(tuple(map(str, key[:places])), Question(*map(str, key[places:]))): rows for key, rows in groups}


def _together(items: Iterable[T], kind: Callable[[T], str]) -> list[T]:
    """Return each item once, those of a kind together, kinds in the order in which they first appear."""
    kinds: dict[str, dict[T, None]] = {}
    for item in items:
        kinds.setdefault(kind(item), {})[item] = None
    return [item for found in kinds.values() for item in found]


def _heading(question: Question) -> str:
    return (
        " · ".join(part for part in (question.dataset, readable(question.subject_matter)) if part)
        or UNDEFINED
    )


def _verdict(rows: Sequence[Mapping[str, Any]]) -> _Verdict:
    """Sum up the gaps of an arm's seeds."""
    sound = [
        row
        for row in rows
        if not is_undefined(row["adjusted"])
        and not is_undefined(row["p"])
        and isinstance(row["worst_group"], str)
    ]
    if not sound:
        told = next((why(row) for row in rows if why(row)), "") or "not computed"
        return _Verdict("", None, None, f"cannot be judged: {told}")
    gap = sum(float(row["adjusted"]) for row in sound) / len(sound)
    p = max(float(row["p"]) for row in sound)
    (worst, times), *_ = Counter(str(row["worst_group"]) for row in sound).most_common(1)
    best = Counter(str(row["best_group"]) for row in sound).most_common(1)[0][0]
    seeds = "" if len(sound) == 1 else f" (in {times} of {len(sound)} seeds)"
    told = f"worst {worst}{seeds}, best {best}, adjusted gap {number(gap)}, p {p_value(p)}"
    return _Verdict(worst, gap, p, told)


def _steps(gaps: Sequence[float]) -> tuple[float, ...]:
    """Return where the shades begin: fixed ones, or parts of the largest gap for metrics beyond 0 to 1."""
    largest = max(gaps, default=0.0)
    return _STEPS if largest <= 1.0 else tuple(largest * part for part in (0.1, 0.25, 0.5, 0.75))


def _cell(
    draw: Drawing,
    box: tuple[float, float, float, float],
    cell: _Verdict | None,
    short: Mapping[str, str],
    steps: Sequence[float],
    alpha: float,
) -> None:
    x, y, width, height = box
    if cell is None:
        draw.rect(x + 1, y + 1, width - 2, height - 2, "empty")
        return
    if cell.gap is None or cell.p is None:
        draw.rect(x + 1, y + 1, width - 2, height - 2, "empty")
        draw.mark(x + width / 2, y + height / 2, 0, "solid grey", size=2.5)
        return
    shade = sum(cell.gap >= step for step in steps)
    found = cell.p < alpha
    draw.rect(x, y, width, height, f"cell gap{shade}")
    if found:
        draw.rect(x + 2, y + 2, width - 4, height - 4, "frame")
    tone = f"strong on-gap{shade}" if found else f"on-gap{shade}" if shade else "muted"
    draw.text(x + width / 2, y + height / 2 + 4, short[cell.worst], f"small middle {tone}", width=width)


def _key(draw: Drawing, y: float, steps: Sequence[float], alpha: float) -> None:
    """Explain shades, frame, dot and empty cells below the map."""
    digits = 2 if steps[0] < 1 else 1
    bounds = [f"below {number(steps[0], digits)}"]
    bounds += [f"{number(low, digits)} to {number(high, digits)}" for low, high in itertools.pairwise(steps)]
    bounds.append(f"{number(steps[-1], digits)} or more")
    draw.text(0, y + 25, "Worst group; adjusted gap", "small muted")
    x = 176.0
    for shade, text in enumerate(bounds):
        draw.rect(x, y + 14, 16, 14, f"cell gap{shade}")
        draw.text(x + 21, y + 25, text, "small muted")
        x += 21 + breadth(text, "small") + 16
    draw.rect(176, y + 37, 16, 12, "frame")
    draw.text(197, y + 47, f"found (adjusted p below {alpha:g})", "small muted")
    draw.rect(390, y + 36, 16, 14, "empty")
    draw.mark(398, y + 43, 0, "solid grey", size=2.5)
    draw.text(411, y + 47, "cannot be judged", "small muted")
    draw.rect(540, y + 36, 16, 14, "empty")
    draw.text(561, y + 47, "not run", "small muted")


def _wrap(text: str, columns: float) -> list[str]:
    return textwrap.wrap(text, max(20, int(columns)), break_on_hyphens=False)
