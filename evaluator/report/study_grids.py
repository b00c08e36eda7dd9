"""Tables about the study itself: what was run and failed, thresholds, tasks, metrics and their conventions."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from evaluator.reasons import reason_words
from evaluator.report.content import StudyContent, TaskFacts
from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    arm_cell,
    arm_heading,
    arm_name,
    number_cell,
    records,
    simple,
    tell_seed,
    text_cell,
    why,
)
from evaluator.report.tables import ARM, OVERALL, Measured
from evaluator.report.words import (
    UNDEFINED,
    convention_words,
    count,
    listing,
    metric_words,
    number,
    readable,
    share,
)


def coverage_grid(measured: Sequence[Measured]) -> Grid | None:
    """Lay out which model and usage met which dataset, with how many samples; None where nothing was measured."""
    if not measured:
        return None
    rows = pd.concat([part.metrics for part in measured])
    overall = rows[rows["attribute"] == OVERALL].groupby([*ARM, "dataset"], sort=False)
    most = records(overall[["n", "n_failed"]].max().reset_index())
    cells = {(arm_name(row), row["dataset"]): (row["n"], row["n_failed"]) for row in most}
    datasets = tuple(dict.fromkeys(row["dataset"] for row in most))
    laid, heading = [], arm_heading(most)
    for row in {arm_name(row): row for row in most}.values():
        found = (cells.get((arm_name(row), dataset)) for dataset in datasets)
        name = arm_cell(row) if heading else text_cell("all samples")
        laid.append(Row((name, *map(_covered, found)), model=str(row["model"])))
    columns = (
        Column(heading or "Over", "text"),
        *(Column(str(dataset) or "samples") for dataset in datasets),
    )
    by = [*heading.lower().split(" and "), *(["dataset"] if len(datasets) > 1 else [])]
    told = listing([part for part in by if part])
    return simple(f"Samples measured, by {told}" if told else "Samples measured", columns, laid)


def _covered(found: tuple[int, int] | None) -> Cell:
    if found is None:
        return Cell(UNDEFINED, None, "", "not run")
    return number_cell(found[0], count, note=f"{found[1]:,} failed" if found[1] else "")


def measure_grid(measured: Sequence[Measured]) -> Grid | None:
    """Lay out the metrics with the convention that was used and what they mean; None where there is none."""
    found = dict.fromkeys(measure for part in measured for measure in part.measures())
    if not found:
        return None
    rows = []
    for measure in found:
        words = metric_words(measure.metric)
        better = text_cell(words.better if words.meaning else None)
        convention = text_cell(measure.convention, convention_words(measure.convention))
        rows.append(Row((text_cell(words.label), convention, better, text_cell(words.meaning))))
    columns = tuple(Column(name, "text") for name in ("Metric", "Convention", "Better", "Meaning"))
    return simple("Metrics and the conventions they were computed by", columns, rows)


def threshold_grid(table: pd.DataFrame, *, caption: str) -> Grid:
    """Lay out where decisions were cut (see :func:`~evaluator.report.tables.threshold_table`)."""
    heading = arm_heading(records(table))
    columns = (
        Column(heading, "text"), Column("Dataset and target", "text"), Column("Rule", "text"),
        Column("Threshold"), Column("Chosen on", hint="samples of the validation split"), Column("Note", "text"),
    )  # fmt: skip
    rows = []
    for row in records(table):
        cells = (
            arm_cell(row, tell_seed(row)),
            text_cell(row["dataset"], row["target"]),
            text_cell(row["convention"], convention_words(row["convention"])),
            number_cell(row["value"], number, reason=why(row)),
            number_cell(row["n"], count),
            Cell(why(row)),
        )
        rows.append(Row(cells, model=str(row["model"])))
    # Only a rule that looks at val rows was chosen on some samples.
    chosen = table["convention"].str.startswith("val:").any()
    idle = [*([] if heading else [heading]), *([] if chosen else ["Chosen on"])]
    return simple(caption, columns, rows).without(*idle)


def failure_grid(failures: pd.DataFrame, *, caption: str) -> Grid:
    """Lay out the rows that could not be used, by group; columns that would be empty are left out.

    Parameters
    ----------
    failures
        Columns :data:`~evaluator.report.content.FAILURE_COLUMNS`; `target` and `structure`, where there are such columns,
        say what the rows could not be used for.
    caption
        What it is a table of.
    """
    columns = (
        Column("Dataset", "text"), Column("Target", "text"), Column("Model", "text"), Column("Usage", "text"),
        Column("Group", "text"), Column("What went wrong", "text"), Column("Samples"),
        Column("Share", hint="of the group's samples"),
    )  # fmt: skip
    rows, named = [], dict.fromkeys(("Dataset", "Target", "Model", "Usage"), False)
    for row in records(failures):
        overall = row["attribute"] == OVERALL
        attribute = "" if overall else str(row["attribute"])
        target = readable(str(row.get("target") or row.get("structure") or ""))
        names = (row["dataset"], target, row["model"], readable(str(row["usage"] or "")))
        named = {name: told or bool(text) for (name, told), text in zip(named.items(), names, strict=True)}
        cells = (
            *map(text_cell, names),
            text_cell("all samples" if overall else row["group"], attribute),
            text_cell(reason_words(str(row["status"]))),
            number_cell(row["rows"], count),
            number_cell(row["share"], share),
        )
        rows.append(Row(cells, "strong" if overall else "", str(row["model"] or ""), attribute))
    return simple(caption, columns, rows).without(*(name for name, told in named.items() if not told))


def exclusion_grid(measured: Sequence[Measured]) -> Grid | None:
    """Lay out the groups that took no part in a comparison, with the reason; None where all did.

    One row per question, attribute and group by the primary measure, over all arms.
    """
    rows = []
    for part in measured:
        at = part.at(part.measures()[0]).metrics
        left_out = at[(at["attribute"] != OVERALL) & ((at["status"] != "ok") | (at["group"] == "unknown"))]
        for (attribute, group), mine in left_out.groupby(["attribute", "group"], sort=False):
            first = records(mine.head(1))[0]
            unknown = "not recorded: a row of its own, no part in gaps" if group == "unknown" else ""
            told = "; ".join(text for text in (unknown, why(first)) if text)
            cells = (
                text_cell(part.question.dataset, readable(part.question.subject_matter)),
                text_cell(group, str(attribute)),
                number_cell(mine["n_subjects"].max(), count),
                number_cell(mine["n"].max(), count),
                Cell(told),
            )
            rows.append(Row(cells, attribute=str(attribute)))
    columns = (
        Column("Dataset and target", "text"), Column("Group", "text"), Column("Subjects"), Column("Samples"),
        Column("Why it takes no part", "text"),
    )  # fmt: skip
    return simple("Groups that took no part in comparisons", columns, rows) if rows else None


def task_grid(tasks: Sequence[TaskFacts]) -> Grid:
    """Lay out the units of work as they were done."""
    columns = (
        Column("Task", "text"), Column("Kind", "text"), Column("Dataset", "text"),
        Column("Model and usage", "text"), Column("Seed"), Column("Rows"),
        Column("Failed"), Column("Seconds"), Column("Machine", "text"),
    )  # fmt: skip
    rows = []
    for task in tasks:
        cells = (
            Cell(task.task[:12], task.task),
            text_cell(readable(task.kind)),
            text_cell(task.dataset),
            text_cell(task.model, readable(task.usage or "")),
            number_cell(task.seed, count, reason="has no seed"),
            number_cell(task.rows, count),
            number_cell(task.failed_rows, count),
            number_cell(task.seconds, lambda value: number(value, 1), reason="not recorded"),
            text_cell(task.host),
        )
        rows.append(Row(cells, model=task.model or ""))
    return simple("Tasks as they were done", columns, rows)


def rejected_grid(content: StudyContent) -> Grid | None:
    """Lay out the samples that the conversion left out, per dataset and reason; None where there are none."""
    rows = [
        Row((text_cell(facts.name), text_cell(readable(reason)), number_cell(amount, count)))
        for facts in content.datasets
        for reason, amount in facts.rejected.items()
    ]
    columns = (Column("Dataset", "text"), Column("Reason", "text"), Column("Samples"))
    return simple("Samples left out before anything was run", columns, rows) if rows else None
