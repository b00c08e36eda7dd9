"""Tables as they are read: captions, headings and cells of text, made once for HTML and LaTeX alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from evaluator.report.tables import OVERALL, UNKNOWN, Measure, Tally, group_table
from evaluator.report.words import (
    NO_BREAK,
    UNDEFINED,
    MetricWords,
    convention_words,
    count,
    interval,
    is_undefined,
    metric_words,
    number,
    p_value,
    readable,
    share,
)

Kind = Literal["text", "number"]
Tone = Literal["", "muted", "strong"]


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
    """Cells under the columns; the first one names the row."""

    cells: tuple[Cell, ...]
    tone: Tone = ""


@dataclass(frozen=True)
class Section:
    """Rows that belong together, under a heading of their own where `title` is not empty."""

    title: str
    rows: tuple[Row, ...]


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
    return number_cell(row["value"], _form(words), reason=why(row), note=note)


def why(row: Mapping[str, Any]) -> str:
    """Return a row's reason, else its status, as words; empty for a row that is well."""
    if _present(row.get("reason")):
        code, colon, text = str(row["reason"]).partition(":")
        return (
            f"{readable(code)}{colon}{text}"
            if colon and code.replace("_", "").isalpha()
            else str(row["reason"])
        )
    status = str(row.get("status") or "ok")
    return "" if status == "ok" else readable(status)


def arm_name(row: Mapping[str, Any]) -> str:
    """Return how an arm is called: model, usage, and mitigation and prompt where they tell arms apart."""
    return " · ".join(part for part in (str(row["model"]), arm_detail(row)) if part)


def arm_detail(row: Mapping[str, Any]) -> str:
    """Return an arm's name without the model."""
    parts = [readable(str(row["usage"]))]
    if str(row["mitigation"]) not in {"", "erm", "none"}:
        parts.append(readable(str(row["mitigation"])))
    if row["prompt"]:
        parts.append(str(row["prompt"]))
    return " · ".join(part for part in parts if part)


def ranking_grid(table: pd.DataFrame, measure: Measure, *, caption: str, seen: Iterable[str] = ()) -> Grid:
    """Lay out a ranking (see :func:`evaluator.report.tables.ranking`).

    Parameters
    ----------
    table
        The ranking.
    measure
        What it is ranked by.
    caption
        What it is a ranking of.
    seen
        Models that saw this dataset in training; they are marked.
    """
    words = metric_words(measure.metric)
    columns = (
        Column("Model and usage", "text"),
        Column("No."),
        Column(words.label, hint="over all samples, with its interval"),
        Column("Samples", hint="and subjects"),
        Column("Worst group", "text", "lowest value among groups large enough to judge"),
        Column("Worst value"),
        Column("Adjusted gap", hint="of the attribute with the smallest p"),
        Column("p", hint="for that gap, corrected for the number of questions"),
        Column("Against the leader", "text", "not a test of difference"),
    )
    models = set(seen)
    rows = tuple(_ranking_row(row, words, row["model"] in models) for row in records(table))
    return Grid(caption, columns, (Section("", rows),))


def _ranking_row(row: Mapping[str, Any], words: MetricWords, seen: bool) -> Row:
    detail = arm_detail(row) + ("; saw this dataset in training" if seen else "")
    unjudged = "no attribute could be judged"
    cells = (
        Cell(str(row["model"]), f"{row['model']} {detail}".casefold(), detail),
        number_cell(row["rank"], count, reason="no value to rank by"),
        _ranked_value(row, words),
        number_cell(row["n"], count, note=f"{count(row['n_subjects'])}{NO_BREAK}subjects"),
        _named_group(row),
        number_cell(row["worst_value"], _form(words), reason="no group large enough to judge"),
        number_cell(row["adjusted"], _form(words), reason=unjudged, note=_gap_name(row, words)),
        number_cell(row["p"], p_value, reason=unjudged),
        text_cell(_standing(row)),
    )
    return Row(cells, "strong" if row["rank"] == 1 else "muted" if is_undefined(row["value"]) else "")


def _ranked_value(row: Mapping[str, Any], words: MetricWords) -> Cell:
    cell = value_cell(row, words)
    if row["seeds"] == 1 or not cell.note:
        return cell
    spread = interval(row["seed_low"], row["seed_high"], words.decimals)
    return replace(cell, note=f"{cell.note}; {row['seeds']} seeds {spread}")


def _gap_name(row: Mapping[str, Any], words: MetricWords) -> str:
    if not _present(row["gap_attribute"]):
        return ""
    return f"{row['gap_attribute']}, raw{NO_BREAK}{number(row['raw'], words.decimals)}"


def _standing(row: Mapping[str, Any]) -> str | None:
    if is_undefined(row["rank"]):
        return None
    return "leader" if row["rank"] == 1 else "within its interval" if row["within_leader"] else "outside"


def _named_group(row: Mapping[str, Any]) -> Cell:
    if not _present(row["worst_group"]):
        return Cell(UNDEFINED, None, "", "no group large enough to judge")
    return text_cell(
        row["worst_group"], f"{row['worst_attribute']}, {count(row['worst_n_subjects'])}{NO_BREAK}subjects"
    )


def group_grid(metrics: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out the groups of one arm and seed for one measure: counts, interval, and why a value is missing.

    Parameters
    ----------
    metrics
        Its rows of that measure; without counts of positives anywhere, that column is left out.
    measure
        What is shown.
    caption
        What it is a table of.
    """
    words = metric_words(measure.metric)
    columns = [
        Column("Group", "text"),
        Column(words.label),
        Column("Interval"),
        Column("Samples"),
        Column("Subjects"),
        Column("Positive", hint="samples of the class of interest"),
        Column("Failed", hint="samples that could not be used"),
        Column("Note", "text"),
    ]
    positives = bool(metrics["n_pos"].notna().any())
    kept = [place for place, column in enumerate(columns) if positives or column.text != "Positive"]
    sections = []
    for attribute, rows in group_table(metrics).groupby("attribute", sort=False):
        laid = [_group_row(row, words) for row in records(rows)]
        chosen = tuple(Row(tuple(row.cells[place] for place in kept), row.tone) for row in laid)
        sections.append(Section("" if attribute == OVERALL else str(attribute), chosen))
    return Grid(caption, tuple(columns[place] for place in kept), tuple(sections))


def _group_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    cells = (
        text_cell("all samples" if row["attribute"] == OVERALL else row["group"]),
        number_cell(row["value"], _form(words), reason=why(row)),
        Cell(interval(row["ci_low"], row["ci_high"], words.decimals), reason=why(row)),
        number_cell(row["n"], count),
        number_cell(row["n_subjects"], count),
        number_cell(row["n_pos"], count),
        number_cell(row["n_failed"], count),
        Cell(group_note(row)),
    )
    return Row(cells, tone_of(row))


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


def wide_group_grid(metrics: pd.DataFrame, measures: Sequence[Measure], *, caption: str) -> Grid:
    """Lay out all measures of one arm and seed side by side, a row per group."""
    names = [measure.metric for measure in measures]
    labels = [
        metric_words(m.metric).label + (f" ({m.convention})" if names.count(m.metric) > 1 else "")
        for m in measures
    ]
    columns = (Column("Group", "text"), *(Column(label) for label in labels))
    by_place = {
        (m, row["attribute"], row["group"]): row for m in measures for row in records(_only(metrics, m))
    }
    sections = []
    first = group_table(_only(metrics, measures[0]))
    for attribute, rows in first.groupby("attribute", sort=False):
        laid = []
        for row in records(rows):
            found = [by_place.get((m, row["attribute"], row["group"])) for m in measures]
            values = [
                value_cell(hit, metric_words(m.metric)) if hit else Cell(UNDEFINED, reason="not measured")
                for m, hit in zip(measures, found, strict=True)
            ]
            name = "all samples" if attribute == OVERALL else row["group"]
            laid.append(Row((text_cell(name), *values), tone_of(row)))
        sections.append(Section("" if attribute == OVERALL else str(attribute), tuple(laid)))
    return Grid(caption, columns, tuple(sections))


def gap_grid(gaps: pd.DataFrame, measure: Measure, *, caption: str) -> Grid:
    """Lay out the gaps of one measure (see :func:`~evaluator.report.tables.gap_table`) by attribute."""
    words = metric_words(measure.metric)
    columns = (
        Column("Model and usage", "text"),
        Column("Raw gap", hint="with its interval"),
        Column("By chance", hint="mean gap if groups did not differ"),
        Column("Adjusted gap"),
        Column("p"),
        Column("Detectable", hint="smallest true gap this test set would probably have found"),
        Column("Worst group", "text"),
        Column("Best group", "text"),
        Column("Left out", "text", "groups that take no part, with too few subjects"),
    )
    sections = tuple(
        Section(str(attribute), tuple(_gap_row(row, words) for row in records(rows)))
        for attribute, rows in gaps.groupby("attribute", sort=False)
    )
    return Grid(caption, columns, sections)


def _gap_row(row: Mapping[str, Any], words: MetricWords) -> Row:
    form, reason = _form(words), why(row)
    span = interval(row["ci_low"], row["ci_high"], words.decimals)
    seed = "" if is_undefined(row["seed"]) else f", seed {int(row['seed'])}"
    left_out = row["excluded_groups"]
    listed = ", ".join(map(str, left_out)) if hasattr(left_out, "__iter__") else ""
    cells = (
        Cell(str(row["model"]), arm_name(row).casefold(), arm_detail(row) + seed),
        number_cell(row["raw"], form, reason=reason, note="" if span == UNDEFINED else span),
        *(number_cell(row[name], form, reason=reason) for name in ("null_mean", "adjusted")),
        number_cell(row["p"], p_value, reason=reason),
        number_cell(row["detectable"], form, reason=reason),
        text_cell(row["worst_group"] if _present(row["worst_group"]) else None),
        text_cell(row["best_group"] if _present(row["best_group"]) else None),
        text_cell(listed or None, reason),
    )
    return Row(cells, "muted" if is_undefined(row["adjusted"]) else "")


def threshold_grid(table: pd.DataFrame, *, caption: str) -> Grid:
    """Lay out where decisions were cut (see :func:`~evaluator.report.tables.threshold_table`)."""
    columns = (
        Column("Model and usage", "text"), Column("Dataset and target", "text"), Column("Rule", "text"),
        Column("Threshold"), Column("Chosen on", hint="samples of the validation split"), Column("Note", "text"),
    )  # fmt: skip
    rows = []
    for row in records(table):
        seed = "" if is_undefined(row["seed"]) else f", seed {int(row['seed'])}"
        cells = (
            Cell(str(row["model"]), arm_name(row).casefold(), arm_detail(row) + seed),
            text_cell(row["dataset"], row["target"]),
            text_cell(row["convention"], convention_words(row["convention"])),
            number_cell(row["value"], number, reason=why(row)),
            number_cell(row["n"], count),
            Cell(why(row)),
        )
        rows.append(Row(cells))
    return Grid(caption, columns, (Section("", tuple(rows)),))


def tally_grid(tallies: Iterable[Tally], *, caption: str) -> Grid:
    """Lay out how often each attribute's findings came out each way."""
    columns = (
        Column("Attribute", "text"), Column("Gap found"), Column("No reliable gap"), Column("Cannot judge"),
        Column("Most often worst", "text", "where a gap was found"),
    )  # fmt: skip
    rows = tuple(
        Row(
            (
                text_cell(tally.attribute),
                *(number_cell(amount, count) for amount in (tally.found, tally.none, tally.unclear)),
                text_cell(tally.worst),
            )
        )
        for tally in tallies
    )
    return Grid(caption, columns, (Section("", rows),))


def failure_grid(failures: pd.DataFrame, *, caption: str) -> Grid:
    """Lay out the rows that could not be used, by group."""
    columns = (
        Column("Dataset", "text"), Column("Model and usage", "text"), Column("Group", "text"),
        Column("What went wrong", "text"), Column("Samples"), Column("Share", hint="of the group's samples"),
    )  # fmt: skip
    rows = []
    for row in records(failures):
        attribute = "" if row["attribute"] == OVERALL else str(row["attribute"])
        group = "all samples" if row["attribute"] == OVERALL else row["group"]
        cells = (
            text_cell(row["dataset"]),
            text_cell(row["model"], readable(str(row["usage"] or ""))),
            text_cell(group, attribute),
            text_cell(readable(str(row["status"]))),
            number_cell(row["rows"], count),
            number_cell(row["share"], share),
        )
        rows.append(Row(cells, "strong" if row["attribute"] == OVERALL else ""))
    return Grid(caption, columns, (Section("", tuple(rows)),))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as mappings from column to value."""
    names = [str(name) for name in frame.columns]
    columns = [
        [None if value is pd.NA else value for value in frame[name].tolist()] for name in frame.columns
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _only(metrics: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    return metrics[(metrics["metric"] == measure.metric) & (metrics["convention"] == measure.convention)]


def _form(words: MetricWords) -> Callable[[Any], str]:
    return lambda value: number(value, words.decimals)


def _present(value: Any) -> bool:
    """Return whether a text cell of a frame holds something (null is None or NaN there)."""
    return isinstance(value, str) and value != ""
