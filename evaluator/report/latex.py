"""Tables as LaTeX for papers: booktabs, everything from data escaped."""

from __future__ import annotations

from evaluator.report.grid import Cell, Grid, Section
from evaluator.report.words import MINUS, NO_BREAK, UNDEFINED, clean

# Brackets and stars stand in braces: at the start of a row the line break before would take them in.
_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", MINUS: "$-$", UNDEFINED: "--", NO_BREAK: "~", "·": r"$\cdot$",
}  # fmt: skip


def escape(text: str) -> str:
    r"""Return a text in which no character means anything to LaTeX.

    Examples
    --------
    >>> print(escape("A & B_%"))
    A \& B\_\%
    """
    return "".join(_ESCAPES.get(char, char) for char in clean(text))


def to_latex(grid: Grid, *, label: str) -> str:
    r"""Return a table environment with booktabs rules.

    Parameters
    ----------
    grid
        The table; notes follow their cell in parentheses, reasons of undefined values are listed below the
        table.
    label
        For ``\ref``; letters, digits, ``:`` and ``-`` are kept.
    """
    align = "".join("l" if column.kind == "text" else "r" for column in grid.columns)
    name = "".join(char for char in label if char.isascii() and (char.isalnum() or char in ":-"))
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escape(grid.caption)}}}",
        rf"\label{{{name}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _row([escape(column.text) for column in grid.columns]),
        r"\midrule",
    ]
    for place, section in enumerate(grid.sections):
        lines.extend([r"\addlinespace"] if place else [])
        lines.extend(_section(section, len(grid.columns)))
    lines.extend([r"\bottomrule", r"\end{tabular}", *_reasons(grid), r"\end{table}"])
    return "\n".join(lines) + "\n"


def _section(section: Section, width: int) -> list[str]:
    title = (
        [rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(section.title)}}}}} \\"] if section.title else []
    )
    return [*title, *(_row([_cell(cell) for cell in row.cells]) for row in section.rows)]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    return escape(cell.text) + (f" ({escape(cell.note)})" if cell.note else "")


def _reasons(grid: Grid) -> list[str]:
    rows = [row for section in grid.sections for row in section.rows]
    told = dict.fromkeys(
        (row.cells[0].text, cell.reason) for row in rows for cell in row.cells if cell.reason
    )
    if not told:
        return []
    lines = [f"{escape(name)}: {escape(reason)}" for name, reason in told]
    return [r"\par\smallskip\footnotesize " + "; ".join(lines) + "."]
