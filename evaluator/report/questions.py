"""One question of a study as the page shows it: ranking, groups of each arm, gaps, comparisons, choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from evaluator.reasons import reason_words
from evaluator.report.answers import Answer, answer
from evaluator.report.comparison_grids import RULES, difference_grid, front_grid, selection_grid
from evaluator.report.content import StudyContent
from evaluator.report.figures import legend
from evaluator.report.gap_grids import gap_grid, other_gap_grid
from evaluator.report.grid import Grid, arm_name, present, records, tell_seed
from evaluator.report.group_grids import group_grid, wide_group_grid
from evaluator.report.pictures import (
    Figure,
    curve_figures,
    forests,
    heat_maps,
    leader_differences,
    leaderboard,
    trade_offs,
)
from evaluator.report.ranking_grids import ranking_grid, tally_grid
from evaluator.report.tables import (
    ARM,
    Measure,
    Measured,
    Question,
    Ranked,
    by_question,
    gap_table,
    measures_of,
    of_arm,
    other_gaps,
    tidy,
)
from evaluator.report.words import metric_words, plural, readable

CURVED = 3  # best arms whose ROC and calibration are drawn
DETAILED = 12  # arms per question with figures and group tables; the flat tables have all


@dataclass(frozen=True)
class ArmView:
    """One arm and seed in detail."""

    title: str
    model: str
    leading: bool
    figures: tuple[Figure, ...]
    groups: Grid
    maps: tuple[Figure, ...]
    curves: tuple[Figure, ...]
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
    front: Grid | None
    choices: Grid | None
    unchosen: str
    differences: Grid | None
    difference_chart: Figure | None
    arms: tuple[ArmView, ...]
    left_out: str
    alone: bool
    split: str
    gaps: Grid | None
    other_gaps: Grid | None
    others: tuple[MeasureView, ...]


@dataclass(frozen=True)
class TidyTables:
    """Tables of a study in tidy form, made once for all its questions."""

    findings: pd.DataFrame
    selection: pd.DataFrame
    curves: pd.DataFrame

    @classmethod
    def of(cls, content: StudyContent) -> TidyTables:
        """Make them."""
        return cls(tidy(content.findings), tidy(content.selection), tidy(content.curves))


def question_title(question: Question) -> str:
    """Return what a question is called below its dataset's name."""
    if question.target and question.structure:
        return f"{readable(question.target)}: {readable(question.structure)}"
    return readable(question.subject_matter) or "all targets"


def question_view(
    ranked: Ranked,
    content: StudyContent,
    *,
    tables: TidyTables,
    usages: Sequence[str],
    anchor: str,
) -> QuestionView:
    """Work out all that the page shows of one question.

    Parameters
    ----------
    ranked
        The question with its rankings.
    content
        The study.
    tables
        Its further tables.
    usages
        All usages of the study in a fixed order; they choose colours and shapes.
    anchor
        Identifier of the section.
    """
    part, first = ranked.part, ranked.primary
    at, table = part.at(first), ranked.rankings[first]
    label, title = metric_words(first.metric).label, question_title(part.question)
    said = answer(ranked, tables.findings, content)
    seen = content.contaminated(part.question.dataset)
    chosen = _chosen_here(tables.selection, part.question, first)
    pictured = trade_offs(table, at, chosen, title, usages)
    tallied = tally_grid(said.tallies, caption="How often a gap was found, over all combinations and seeds")
    return QuestionView(
        anchor=anchor,
        title=title,
        answer=said,
        measure=label,
        chart=leaderboard(table, first, title),
        ranking=ranking_grid(table, first, caption=_ranking_caption(table, title, label), seen=seen),
        tallies=tallied if said.tallies and len(table) > 1 else None,
        trade_offs=pictured,
        legend=legend(usages, [str(usage) for usage in table["usage"]]) if pictured else None,
        front=_front(chosen, first, title),
        choices=_choices(chosen, first, title),
        unchosen=_unchosen(chosen, table) if content.has_splits(part.question.dataset) else "",
        differences=_differences(at, first, title) if len(table) > 1 else None,
        difference_chart=leader_differences(table, first, title),
        arms=_arms(part, table.head(DETAILED), title, tables.curves),
        left_out=_left_out(table),
        alone=len(table) < 2,
        split=part.question.split if content.has_splits(part.question.dataset) else "",
        gaps=_gaps(at, first, title),
        other_gaps=_other_gaps(part, title),
        others=tuple(_other(ranked, measure, title, seen) for measure in ranked.rankings if measure != first),
    )


def _ranking_caption(table: pd.DataFrame, title: str, label: str) -> str:
    return f"Ranking for {title} by {label}" if len(table) > 1 else f"{label} for {title}"


def _left_out(table: pd.DataFrame) -> str:
    rest = len(table) - DETAILED
    if rest <= 0:
        return ""
    return f"{plural(rest, 'further combination')} in detail: see tables/groups.csv beside this page."


def _chosen_here(selection: pd.DataFrame, question: Question, measure: Measure) -> pd.DataFrame:
    wanted = {
        "dataset": question.dataset,
        "target": question.target,
        "structure": question.structure,
        "metric": measure.metric,
    }
    for name, value in wanted.items():
        selection = selection[selection[name] == value]
    return selection


def _choices(selection: pd.DataFrame, measure: Measure, title: str) -> Grid | None:
    rows = selection[selection["rule"].isin(RULES)]
    caption = f"What each rule chooses on val, and what that is worth on test, for {title}"
    return selection_grid(rows, measure, caption=caption) if rows["val_value"].notna().any() else None


def _unchosen(selection: pd.DataFrame, table: pd.DataFrame) -> str:
    """Say why no rule chose anything; empty where one did, or where there is nothing to choose from."""
    rows = selection[selection["rule"].isin(RULES)]
    if rows.empty or rows["val_value"].notna().any() or len(table) < 2:
        return ""
    reasons = [str(reason) for reason in dict.fromkeys(rows["reason"]) if present(reason)]
    told = "; ".join(map(reason_words, reasons)) or "no reason given"
    return f"No rule chose a combination: {told}."


def _front(selection: pd.DataFrame, measure: Measure, title: str) -> Grid | None:
    rows = selection[selection["rule"] == "pareto"]
    caption = f"How probably each combination is not beaten in both utility and gap, for {title}"
    return front_grid(rows, measure, caption=caption) if len(rows[ARM].drop_duplicates()) > 1 else None


def _differences(at: Measured, measure: Measure, title: str) -> Grid | None:
    label = metric_words(measure.metric).label
    caption = f"Paired differences in {label} for {title}"
    return difference_grid(at.comparisons, measure, caption=caption) if len(at.comparisons) else None


def compared_grids(ranked: Ranked, selection: pd.DataFrame) -> dict[str, list[Grid]]:
    """Return the tables that compare the arms of a question by its primary measure: `comparisons` and `selection`.

    Parameters
    ----------
    ranked
        The question.
    selection
        The study's tidy rows of :data:`evaluator.tables.SELECTION`.

    Returns
    -------
    dict
        Name to tables; without those that would be empty.
    """
    measure, title = ranked.primary, question_title(ranked.part.question)
    if len(ranked.rankings[measure]) < 2:
        return {}
    chosen = _chosen_here(selection, ranked.part.question, measure)
    found = {
        "comparisons": [_differences(ranked.part.at(measure), measure, title)],
        "selection": [_choices(chosen, measure, title), _front(chosen, measure, title)],
    }
    kept = {name: [grid for grid in grids if grid] for name, grids in found.items()}
    return {name: grids for name, grids in kept.items() if grids}


def _arms(part: Measured, table: pd.DataFrame, title: str, curves: pd.DataFrame) -> tuple[ArmView, ...]:
    """Show each arm seed by seed; curves only for the first arms, and of them for the first seed."""
    views: list[ArmView] = []
    drawn = by_question(curves).get(part.question, curves.iloc[:0])
    for place, row in enumerate(records(table)):
        arm = tuple(str(row[name]) for name in ARM)
        rows, lines = part.of_arm(arm).metrics, of_arm(drawn, arm) if place < CURVED else drawn.iloc[:0]
        for seed, mine in rows.groupby("seed", sort=True, dropna=False):
            suffix = f" · {tell_seed({'seed': seed}) or 'no seed'}" if row["seeds"] > 1 else ""
            views.append(_arm(row, suffix, mine, lines, title))
            lines = drawn.iloc[:0]
    return tuple(replace(view, leading=not place) for place, view in enumerate(views))


def _arm(
    arm: dict[str, Any], suffix: str, metrics: pd.DataFrame, curves: pd.DataFrame, title: str
) -> ArmView:
    measures = measures_of(metrics)
    first, name = measures[0], arm_name(arm) + suffix
    label = metric_words(first.metric).label
    rows = metrics[(metrics["metric"] == first.metric) & (metrics["convention"] == first.convention)]
    if len(curves):
        curves = curves[curves["seed"].isna() | (curves["seed"] == curves["seed"].min())]
    caption = f"Other metrics of {name} by group"
    return ArmView(
        title=name,
        model=str(arm["model"]),
        leading=False,
        figures=forests(rows, first, name, title),
        groups=group_grid(rows, first, caption=f"{label} of {name} by group"),
        maps=heat_maps(rows, first, name),
        curves=curve_figures(curves, metrics, name),
        everything=wide_group_grid(metrics, measures[1:], caption=caption) if measures[1:] else None,
    )


def _gaps(at: Measured, measure: Measure, title: str) -> Grid | None:
    rows = gap_table(at.gaps)
    label = metric_words(measure.metric).label
    return (
        gap_grid(rows, measure, caption=f"Gaps in {label} between groups for {title}") if len(rows) else None
    )


def _other_gaps(part: Measured, title: str) -> Grid | None:
    rows = other_gaps(part.gaps)
    return other_gap_grid(rows, caption=f"Other fairness measures for {title}") if len(rows) else None


def _other(ranked: Ranked, measure: Measure, title: str, seen: Sequence[str]) -> MeasureView:
    words = metric_words(measure.metric)
    twice = sum(other.metric == measure.metric for other in ranked.rankings) > 1
    shown = f"{words.label} ({measure.convention})" if twice else words.label
    grid = ranking_grid(
        ranked.rankings[measure],
        measure,
        caption=_ranking_caption(ranked.rankings[measure], title, shown),
        seen=seen,
    )
    return MeasureView(shown, grid, _gaps(ranked.part.at(measure), measure, title))
