"""Tables as they are read: captions, headings and cells of text, made once for HTML, LaTeX and Markdown alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from evaluator.reasons import reason_words
from evaluator.report.tables import OVERALL, UNKNOWN
from evaluator.report.words import NO_BREAK, UNDEFINED, MetricWords, interval, is_undefined, number, readable

Kind = Literal["text", "number"]
Tone = Literal["", "muted", "strong"]
NAMELESS = "predictions"


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes
    ----------
    text
        As shown.
    order
        What the column is sorted by; None sorts last.
    note
        Smaller text below it.
    reason
        Why an undefined value is undefined.
    """

    text: str
    order: float | str | None = None
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """A heading; `hint` explains it in a few words."""

    text: str
    kind: Kind = "number"
    hint: str = ""


@dataclass(frozen=True)
class Row:
    """Cells under the columns; the first one names the row. `model` and `attribute` are what it can be filtered by."""

    cells: tuple[Cell, ...]
    tone: Tone = ""
    model: str = ""
    attribute: str = ""


@dataclass(frozen=True)
class Section:
    """Rows that belong together, under a heading where `title` is not empty; `attribute` is what they are about."""

    title: str
    rows: tuple[Row, ...]
    attribute: str = ""


@dataclass(frozen=True)
class Grid:
    """A table to be read."""

    caption: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]

    @property
    def size(self) -> int:
        """How many rows it has."""
        return sum(len(section.rows) for section in self.sections)

    def without(self, *names: str) -> Grid:
        """Return the table without the columns of these headings."""
        kept = [place for place, column in enumerate(self.columns) if column.text not in names]
        sections = tuple(
            replace(
                section,
                rows=tuple(
                    replace(row, cells=tuple(row.cells[place] for place in kept)) for row in section.rows
                ),
            )
            for section in self.sections
        )
        return Grid(self.caption, tuple(self.columns[place] for place in kept), sections)


def text_cell(value: Any, note: str = "") -> Cell:
    """Return a cell of text."""
    text = UNDEFINED if value is None or value == "" else str(value)
    return Cell(text, text.casefold(), note)


def number_cell(value: Any, form: Callable[[Any], str], *, reason: str = "", note: str = "") -> Cell:
    """Return a cell of a number in the form given; an undefined one is a dash that carries its reason."""
    missing = is_undefined(value)
    return Cell(
        form(value), None if missing else float(value), note, (reason or "not defined") if missing else ""
    )


def value_cell(row: Mapping[str, Any], words: MetricWords) -> Cell:
    """Return a cell of a metric's value with its interval below."""
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    note = "" if span == UNDEFINED or is_undefined(row["value"]) else span.replace(" ", NO_BREAK)
    return number_cell(row["value"], form_of(words), reason=why(row), note=note)


def why(row: Mapping[str, Any]) -> str:
    """Return a row's reason, else its status, as words; empty for a row that is well."""
    if present(row.get("reason")):
        return reason_words(str(row["reason"]))
    status = str(row.get("status") or "ok")
    return "" if status == "ok" else reason_words(status)


def arm_name(row: Mapping[str, Any]) -> str:
    """Return how an arm is called: model, usage, and mitigation and prompt where they tell arms apart.

    An arm without any name, as of an audited table, is :data:`NAMELESS`.
    """
    return " · ".join(part for part in (str(row["model"]), arm_detail(row)) if part) or NAMELESS


def arm_cell(row: Mapping[str, Any], note: str = "") -> Cell:
    """Return a cell that names an arm: the model, below it how it is used and `note`."""
    name = str(row["model"])
    detail = "; ".join(part for part in (arm_detail(row) if name else "", note) if part)
    return Cell(name or arm_name(row), f"{arm_name(row)} {note}".casefold(), detail)


def arm_heading(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return what tells arms apart, as a heading: model, usage or both; empty for arms without any name."""
    named = list(rows)
    parts = (("model", any(row["model"] for row in named)), ("usage", any(map(arm_detail, named))))
    return " and ".join(name for name, told in parts if told).capitalize()


def arm_detail(row: Mapping[str, Any]) -> str:
    """Return an arm's name without the model."""
    parts = [readable(str(row["usage"]))]
    if str(row["mitigation"]) not in {"", "erm", "none"}:
        parts.append(readable(str(row["mitigation"])))
    if row["prompt"]:
        parts.append(str(row["prompt"]))
    return " · ".join(part for part in parts if part)


def tone_of(row: Mapping[str, Any]) -> Tone:
    """Return how loudly a group speaks: muted where it takes no part in gaps."""
    if row["attribute"] == OVERALL:
        return "strong"
    return "muted" if row["group"] == UNKNOWN or row["status"] != "ok" or is_undefined(row["value"]) else ""


def group_note(row: Mapping[str, Any]) -> str:
    """Return what a reader must know of a group row."""
    told = why(row)
    if row["group"] == UNKNOWN and row["attribute"] != OVERALL:
        return "; ".join(part for part in ("not recorded, takes no part in gaps", told) if part)
    return told


def short_note(row: Mapping[str, Any]) -> str:
    """Return why a group has no value in a word or two, see :func:`group_note`."""
    if row["group"] == UNKNOWN and row["attribute"] != OVERALL:
        return "not recorded"
    status = str(row.get("status") or "ok")
    return reason_words(status if status != "ok" else "undefined")


def tell_seed(row: Mapping[str, Any]) -> str:
    """Return ``"seed 3"``, or an empty text for a row without a seed."""
    return "" if is_undefined(row.get("seed")) else f"seed {int(row['seed'])}"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as mappings from column to value."""
    names = [str(name) for name in frame.columns]
    # All cells at once: taking column by column costs most of the time of a report of many small tables.
    rows = frame.to_numpy(dtype=object).tolist()
    return [
        {name: None if value is pd.NA else value for name, value in zip(names, row, strict=True)}
        for row in rows
    ]


def simple(caption: str, columns: tuple[Column, ...], rows: Iterable[Row]) -> Grid:
    """Return a table of one section without a heading."""
    return Grid(caption, columns, (Section("", tuple(rows)),))


def by_attribute(attribute: str, rows: Iterable[Row]) -> Section:
    """Return the section of one attribute; rows of all samples stand without a heading."""
    overall = attribute == OVERALL
    return Section("" if overall else attribute, tuple(rows), "" if overall else attribute)


def form_of(words: MetricWords) -> Callable[[Any], str]:
    """Return how numbers of a metric are written."""
    return lambda value: number(value, words.decimals)


def present(value: Any) -> bool:
    """Return whether a text cell of a frame holds something (null is None or NaN there)."""
    return isinstance(value, str) and value != ""
