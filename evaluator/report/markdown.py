"""Tables and the first screen as Markdown, for pull requests, notebooks and terminals; text from data is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable

from evaluator.report.answers import Answer, answers
from evaluator.report.content import StudyContent
from evaluator.report.gap_grids import gap_grid
from evaluator.report.grid import Cell, Grid, arm_name, records
from evaluator.report.group_grids import group_grid
from evaluator.report.questions import question_title
from evaluator.report.tables import ARM, Ranked, gap_table, rank_all
from evaluator.report.words import clean, metric_words

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")


def escape(text: str) -> str:
    r"""Return a text in which no character means anything to Markdown, HTML inside it, or a table.

    Examples
    --------
    >>> print(escape("a|b *c* <d>"))
    a\|b \*c\* \<d\>
    """
    return _SPECIAL.sub(r"\\\1", clean(text))


def to_markdown(grid: Grid) -> str:
    """Return a table in the GitHub dialect: caption in bold, headings of sections as rows of their own."""
    align = "|".join(":--" if column.kind == "text" else "--:" for column in grid.columns)
    lines = [
        f"**{escape(grid.caption)}**",
        "",
        _line(escape(column.text) for column in grid.columns),
        f"|{align}|",
    ]
    for section in grid.sections:
        if section.title:
            lines.append(_line([f"*{escape(section.title)}*", *[""] * (len(grid.columns) - 1)]))
        lines.extend(_line(map(_cell, row.cells)) for row in section.rows)
    return "\n".join(lines) + "\n"


def summary_markdown(content: StudyContent) -> str:
    """Return a study's or audit's answers in words, with the groups and gaps of each question's best combination."""
    parts = [f"# {escape(content.name)}: fairness report"]
    if content.limits:
        parts.append("\n".join(_limits(content)))
    ranked = rank_all(content.metrics, content.gaps, content.comparisons, alpha=content.alpha)
    for question, said in zip(ranked, answers(content), strict=True):
        parts.extend(_question(question, said))
    if not ranked:
        parts.append("Nothing has been measured yet, so there is no answer.")
    parts.append(
        "“No reliable gap” means that a gap of the size named would probably have been found; a smaller one may exist. "
        "“Cannot judge” means that this test set cannot tell. Neither means fair."
    )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _question(ranked: Ranked, said: Answer) -> list[str]:
    part, measure = ranked.part, ranked.primary
    name = " · ".join(text for text in (part.question.dataset, question_title(part.question)) if text)
    parts = [f"## {escape(name)}", f"**{escape(said.headline)}** {escape(said.verdict)}".rstrip()]
    parts.append("\n".join(_claims(said)))
    label = metric_words(measure.metric).label
    for leader in records(ranked.rankings[measure].head(1)):
        arm = part.at(measure).of_arm(tuple(str(leader[name]) for name in ARM))
        for _, mine in arm.metrics.groupby("seed", dropna=False):
            grid = group_grid(mine, measure, caption=f"{label} of {arm_name(leader)} by group")
            parts.append(to_markdown(grid))
        gaps = gap_table(arm.gaps)
        if len(gaps):
            parts.append(to_markdown(gap_grid(gaps, measure, caption=f"Gaps in {label} between groups")))
    return [part for part in parts if part]


def _limits(content: StudyContent) -> list[str]:
    """Say which limits are violated, those first."""
    return [
        f"- {'**violated**' if violated else 'kept'}: {escape(condition)}: {escape(sentence)}"
        for condition, violated, sentence in sorted(content.limits, key=lambda limit: not limit[1])
    ]


def _claims(said: Answer) -> list[str]:
    return [
        f"- **{escape(claim.attribute)}** ({claim.finding}): {escape(claim.headline)} {escape(claim.details)}".rstrip()
        for claim in said.claims
    ]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    notes = [escape(text) for text in (cell.note, cell.reason) if text]
    return escape(cell.text) + (f" ({'; '.join(notes)})" if notes else "")
