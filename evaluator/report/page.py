"""From a study's content to what the page shows, piece by piece; the template only lays it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from evaluator.report.answers import Answer, answer
from evaluator.report.content import DatasetFacts, StudyContent
from evaluator.report.figures import forest, legend, ranking_chart, trade_off
from evaluator.report.grid import (
    Cell,
    Column,
    Grid,
    Row,
    Section,
    arm_name,
    failure_grid,
    gap_grid,
    group_grid,
    number_cell,
    ranking_grid,
    records,
    tally_grid,
    text_cell,
    threshold_grid,
    wide_group_grid,
)
from evaluator.report.tables import (
    ARM,
    OVERALL,
    Measure,
    Measured,
    Question,
    Ranked,
    gap_over_seeds,
    gap_table,
    threshold_table,
    tidy,
)
from evaluator.report.words import (
    UNDEFINED,
    convention_words,
    count,
    is_undefined,
    metric_words,
    number,
    plural,
    readable,
)

DETAILED = 12  # arms per question with figures and group tables; the flat tables have all


@dataclass(frozen=True)
class Figure:
    """A picture with the sentence that says how to read it."""

    picture: Markup
    caption: str


@dataclass(frozen=True)
class ArmView:
    """One arm and seed in detail."""

    title: str
    leading: bool
    figures: tuple[Figure, ...]
    groups: Grid
    everything: Grid | None


@dataclass(frozen=True)
class MeasureView:
    """A further measure: its ranking and gaps."""

    title: str
    ranking: Grid
    gaps: Grid | None


@dataclass(frozen=True)
class QuestionView:
    """One target or structure of a dataset."""

    anchor: str
    title: str
    answer: Answer
    measure: str
    chart: Figure | None
    ranking: Grid
    tallies: Grid | None
    trade_offs: tuple[Figure, ...]
    legend: Markup | None
    arms: tuple[ArmView, ...]
    left_out: str
    gaps: Grid | None
    others: tuple[MeasureView, ...]


@dataclass(frozen=True)
class DatasetView:
    """A dataset with its questions."""

    anchor: str
    name: str
    facts: DatasetFacts | None
    questions: tuple[QuestionView, ...]


@dataclass(frozen=True)
class PageView:
    """All that the template lays out."""

    content: StudyContent
    level: str
    datasets: tuple[DatasetView, ...]
    coverage: Grid | None
    failures: Grid | None
    measures: Grid | None
    thresholds: Grid | None
    tasks: Grid | None
    seconds: str


def build(content: StudyContent, ranked: Sequence[Ranked]) -> PageView:
    """Work out everything that the page shows, from a study and what :func:`rank_all` made of it."""
    measured = [question.part for question in ranked]
    findings = tidy(content.findings)
    usages = tuple(dict.fromkeys(u for part in measured for u in part.metrics["usage"]))
    views: dict[str, list[QuestionView]] = {}
    for place, question in enumerate(ranked):
        view = _question(question, content, findings, usages, f"q{place + 1}")
        views.setdefault(question.part.question.dataset, []).append(view)
    facts = {fact.card.name: fact for fact in content.datasets}
    datasets = tuple(
        DatasetView(f"dataset-{place + 1}", name, facts.get(name), tuple(questions))
        for place, (name, questions) in enumerate(views.items())
    )
    seconds = [task.seconds for task in content.tasks if task.seconds is not None]
    return PageView(
        content,
        f"{100 * (1 - content.alpha):g} %",
        datasets,
        _coverage(measured, content),
        _failures(content),
        _measures(measured),
        _thresholds(content),
        _tasks(content) if content.tasks else None,
        _duration(sum(seconds)) if seconds else UNDEFINED,
    )  # fmt: skip


def question_title(question: Question) -> str:
    """Return what a question is called below its dataset's name."""
    if question.target and question.structure:
        return f"{readable(question.target)}: {readable(question.structure)}"
    return readable(question.subject_matter) or "all targets"


def contaminated(content: StudyContent, dataset: str) -> tuple[str, ...]:
    """Return the models that saw a dataset in training."""
    return tuple(model.name for model in content.models if dataset in model.trained_on)


def _question(
    ranked: Ranked, content: StudyContent, findings: pd.DataFrame, usages: Sequence[str], anchor: str
) -> QuestionView:
    part, first = ranked.part, ranked.primary
    at, table = part.at(first), ranked.rankings[first]
    words = metric_words(first.metric)
    facts = next((f for f in content.datasets if f.card.name == part.question.dataset), None)
    said = answer(
        part.question, table, first, gaps=at.gaps, findings=findings,
        subject=facts.card.subject if facts else "subject", level=1 - content.alpha,
    )  # fmt: skip
    title = question_title(part.question)
    seen = contaminated(content, part.question.dataset)
    chart = ranking_chart(table, words, label=f"Ranking of models and usages for {title} by {words.label}")
    told = f"{words.label} of each combination with its interval; the shaded band is the leader's interval."
    trade_offs = _trade_offs(table, at, title, usages)
    tallied = tally_grid(said.tallies, caption="How often a gap was found, over all combinations and seeds")
    return QuestionView(
        anchor,
        title,
        said,
        words.label,
        Figure(chart, told + _cut(table, 15)) if chart else None,
        ranking_grid(table, first, caption=f"Ranking for {title} by {words.label}", seen=seen),
        tallied if said.tallies else None,
        trade_offs,
        legend(usages, [str(usage) for usage in table["usage"]]) if trade_offs else None,
        tuple(_arms(part, table.head(DETAILED), title)),
        _left_out(table),
        _gaps(at, first, title),
        tuple(_other(ranked, measure, title, seen) for measure in ranked.rankings if measure != first),
    )


def _left_out(table: pd.DataFrame) -> str:
    rest = len(table) - DETAILED
    if rest <= 0:
        return ""
    return f"{plural(rest, 'further combination')} in detail: see tables/groups.csv beside this page."


def _cut(table: pd.DataFrame, most: int) -> str:
    return (
        f" The first {most} of {len(table)} are drawn; the table has them all." if len(table) > most else ""
    )


def _trade_offs(table: pd.DataFrame, at: Measured, title: str, usages: Sequence[str]) -> tuple[Figure, ...]:
    """Draw one picture per attribute for which at least one arm has an adjusted gap."""
    words = metric_words(str(at.metrics["metric"].iloc[0]))
    points = (
        gap_over_seeds(at.gaps)
        .merge(table[["rank", *ARM, "value"]], on=ARM)
        .sort_values("rank", kind="stable")
    )
    gap_sizes = points[["adjusted", "raw", "null_mean"]] if len(points) else pd.DataFrame([[0.0]])
    tallest = float(gap_sizes.max().max())
    figures = []
    for attribute, rows in points.groupby("attribute", sort=False):
        label = f"{words.label} against the gap by {attribute} for {title}"
        picture = trade_off(rows, words, label=label, usages=usages, tallest=tallest)
        if picture:
            figures.append(Figure(picture, str(attribute)))
    return tuple(figures)


def _arms(part: Measured, table: pd.DataFrame, title: str) -> list[ArmView]:
    measures = part.measures()
    views: list[ArmView] = []
    for row in records(table):
        rows = part.of_arm(tuple(str(row[name]) for name in ARM)).metrics
        for seed, mine in rows.groupby("seed", sort=True, dropna=False):
            suffix = f" · {_seed(seed)}" if row["seeds"] > 1 else ""
            views.append(_arm(mine, measures, arm_name(row) + suffix, title, leading=not views))
    return views


def _seed(seed: Any) -> str:
    return "no seed" if is_undefined(seed) else f"seed {int(seed)}"


def _arm(
    metrics: pd.DataFrame, measures: Sequence[Measure], name: str, title: str, *, leading: bool
) -> ArmView:
    first = measures[0]
    words = metric_words(first.metric)
    rows = metrics[(metrics["metric"] == first.metric) & (metrics["convention"] == first.convention)]
    crossed = rows["attribute"].str.contains("*", regex=False)
    told = (
        f"{words.label} by group. Line and band: all samples with their interval. Grey takes no part in gaps."
    )
    figures = []
    for part, what in (
        (rows[~crossed], "groups"),
        (rows[crossed | (rows["attribute"] == OVERALL)], "intersections"),
    ):
        if what == "intersections" and not crossed.any():
            continue
        picture = forest(part, words, label=f"{words.label} of {name} by {what} for {title}, with intervals")
        if picture:
            figures.append(
                Figure(picture, told if what == "groups" else f"{words.label} by intersection of attributes.")
            )
    groups = group_grid(rows, first, caption=f"{words.label} of {name} by group")
    mine = set(metrics[["metric", "convention"]].itertuples(index=False, name=None))
    others = [m for m in measures if m != first and m in mine]
    everything = (
        wide_group_grid(metrics, others, caption=f"Other metrics of {name} by group") if others else None
    )
    return ArmView(name, leading, tuple(figures), groups, everything)


def _gaps(at: Measured, measure: Measure, title: str) -> Grid | None:
    rows = gap_table(at.gaps)
    label = metric_words(measure.metric).label
    return (
        gap_grid(rows, measure, caption=f"Gaps in {label} between groups for {title}") if len(rows) else None
    )


def _other(ranked: Ranked, measure: Measure, title: str, seen: Sequence[str]) -> MeasureView:
    words = metric_words(measure.metric)
    twice = sum(other.metric == measure.metric for other in ranked.rankings) > 1
    shown = f"{words.label} ({measure.convention})" if twice else words.label
    grid = ranking_grid(
        ranked.rankings[measure], measure, caption=f"Ranking for {title} by {shown}", seen=seen
    )
    return MeasureView(shown, grid, _gaps(ranked.part.at(measure), measure, title))


def _coverage(measured: Sequence[Measured], content: StudyContent) -> Grid | None:
    """Lay out which model and usage met which dataset, with how many samples."""
    if not measured:
        return None
    rows = pd.concat([part.metrics for part in measured])
    overall = rows[rows["attribute"] == OVERALL].groupby(["model", "usage", "dataset"], sort=False)
    most = records(overall[["n", "n_failed"]].max().reset_index())
    cells = {(row["model"], row["usage"], row["dataset"]): (row["n"], row["n_failed"]) for row in most}
    datasets = tuple(dict.fromkeys(row["dataset"] for row in most))
    laid = []
    for model, usage in dict.fromkeys((row["model"], row["usage"]) for row in most):
        found = (cells.get((model, usage, dataset)) for dataset in datasets)
        detail = readable(str(usage))
        laid.append(Row((Cell(model, f"{model} {detail}".casefold(), detail), *map(_covered, found))))
    columns = (Column("Model and usage", "text"), *(Column(str(dataset)) for dataset in datasets))
    return Grid("Samples measured, by model, usage and dataset", columns, (Section("", tuple(laid)),))


def _covered(found: tuple[int, int] | None) -> Cell:
    if found is None:
        return Cell(UNDEFINED, None, "", "not run")
    return number_cell(found[0], count, note=f"{found[1]:,} failed" if found[1] else "")


def _measures(measured: Sequence[Measured]) -> Grid | None:
    """Lay out the metrics with the convention that was used and what they mean."""
    found = dict.fromkeys(measure for part in measured for measure in part.measures())
    if not found:
        return None
    rows = []
    for measure in found:
        words = metric_words(measure.metric)
        better = text_cell(words.better if words.meaning else None)
        convention = text_cell(measure.convention, convention_words(measure.convention))
        cells = (text_cell(words.label), convention, better, text_cell(words.meaning))
        rows.append(Row(cells))
    columns = (
        Column("Metric", "text"),
        Column("Convention", "text"),
        Column("Better", "text"),
        Column("Meaning", "text"),
    )
    return Grid("Metrics and the conventions they were computed by", columns, (Section("", tuple(rows)),))


def _failures(content: StudyContent) -> Grid | None:
    if content.failures.empty:
        return None
    return failure_grid(content.failures, caption="Samples that could not be used, by group")


def _thresholds(content: StudyContent) -> Grid | None:
    table = threshold_table(content.metrics)
    return None if table.empty else threshold_grid(table, caption="Where decisions were cut")


def _tasks(content: StudyContent) -> Grid:
    columns = (
        Column("Task", "text"), Column("Kind", "text"), Column("Dataset", "text"),
        Column("Model and usage", "text"), Column("Seed"), Column("Rows"),
        Column("Failed"), Column("Seconds"), Column("Machine", "text"),
    )  # fmt: skip
    rows = []
    for task in content.tasks:
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
        rows.append(Row(cells))
    return Grid("Tasks as they were done", columns, (Section("", tuple(rows)),))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return plural(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as text, e.g. ``"train 800, test 400"``."""
    return ", ".join(f"{readable(name)} {amount:,}" for name, amount in counts.items()) or "none"
