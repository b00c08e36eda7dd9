"""The figures of the page with the sentence that says how to read each: which ones are drawn, for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from evaluator.report.figures import forest, ranking_chart, trade_off
from evaluator.report.figures_curves import calibration, roc
from evaluator.report.figures_intersections import intersection_map
from evaluator.report.figures_map import disadvantage_map
from evaluator.report.figures_ranks import critical_difference, differences, rank_intervals, variance_shares
from evaluator.report.tables import ARM, OVERALL, Measure, Measured, Ranked, gap_over_seeds
from evaluator.report.words import metric_words

MOST_RANKED = 15  # arms that the leaderboard's picture shows


@dataclass(frozen=True)
class Figure:
    """A picture, the sentence that says how to read it, and the attribute it is about (empty: none)."""

    picture: Markup
    caption: str
    about: str = ""


def leaderboard(table: pd.DataFrame, measure: Measure, title: str) -> Figure | None:
    """Draw a ranking of at least two arms."""
    if len(table) < 2:
        return None
    words = metric_words(measure.metric)
    chart = ranking_chart(table, words, label=f"Ranking of models and usages for {title} by {words.label}")
    told = f"{words.label} of each combination with its interval; the shaded band is the leader's interval."
    if len(table) > MOST_RANKED:
        told += f" The first {MOST_RANKED} of {len(table)} are drawn; the table has them all."
    return Figure(chart, told) if chart else None


def leader_differences(table: pd.DataFrame, measure: Measure, title: str) -> Figure | None:
    """Draw the paired differences of all arms from the leader."""
    words = metric_words(measure.metric)
    chart = differences(table, words, label=f"Differences in {words.label} from the best for {title}")
    told = (
        f"Difference in {words.label} from the best on the same subjects, with its interval. Hollow: cannot be told "
        "from the best."
    )
    return Figure(chart, told) if chart else None


def trade_offs(
    table: pd.DataFrame, at: Measured, selection: pd.DataFrame, title: str, usages: Sequence[str]
) -> tuple[Figure, ...]:
    """Draw utility against disparity, a picture per attribute, where there are at least two arms.

    Parameters
    ----------
    table
        The ranking by the measure of `at`.
    at
        Rows of one question and measure.
    selection
        Its tidy rows of :data:`evaluator.tables.SELECTION`; those of the rule ``pareto`` tell how probably an arm is
        not beaten.
    title
        What the question is called.
    usages
        All usages of the study in a fixed order.
    """
    words = metric_words(str(at.metrics["metric"].iloc[0]))
    points = (
        gap_over_seeds(at.gaps)
        .merge(table[["rank", *ARM, "value"]], on=ARM)
        .merge(_probabilities(selection), on=[*ARM, "attribute"], how="left")
        .sort_values("rank", kind="stable")
    )
    if len(table) < 2 or points.empty:
        return ()
    tallest = float(points[["adjusted", "raw", "null_mean"]].max().max())
    figures = []
    for attribute, rows in points.groupby("attribute", sort=False):
        label = f"{words.label} against the gap by {attribute} for {title}"
        picture = trade_off(rows, words, label=label, usages=usages, tallest=tallest)
        if picture:
            figures.append(Figure(picture, str(attribute), str(attribute)))
    return tuple(figures)


def _probabilities(selection: pd.DataFrame) -> pd.DataFrame:
    rows = selection.loc[selection["rule"] == "pareto", [*ARM, "attribute", "probability"]]
    return rows.assign(probability=rows["probability"].astype(float)).drop_duplicates([*ARM, "attribute"])


def forests(rows: pd.DataFrame, measure: Measure, name: str, title: str) -> tuple[Figure, ...]:
    """Draw the groups of one arm and seed, and apart from them the intersections of attributes."""
    words = metric_words(measure.metric)
    crossed = rows["attribute"].str.contains("*", regex=False)
    told = (
        f"{words.label} by group. Line and band: all samples with their interval. Grey takes no part in gaps."
    )
    figures = []
    for part, what, caption in (
        (rows[~crossed], "groups", told),
        (
            rows[crossed | (rows["attribute"] == OVERALL)],
            "intersections",
            f"{words.label} by intersection of attributes.",
        ),
    ):
        if set(part["attribute"]) == {OVERALL} and what == "intersections":
            continue
        label = f"{words.label} of {name} by {what} for {title}, with intervals"
        picture = forest(part, words, label=label, along=rows)
        if picture:
            figures.append(Figure(picture, caption))
    return tuple(figures)


def heat_maps(rows: pd.DataFrame, measure: Measure, name: str) -> tuple[Figure, ...]:
    """Draw a map of groups per intersection of attributes."""
    words = metric_words(measure.metric)
    figures = []
    for attribute in _crossed(rows):
        label = f"{words.label} of {name} for each intersection of {attribute}"
        picture = intersection_map(rows, words, attribute=attribute, label=label)
        told = f"{words.label} where the attributes of {attribute} meet, with subjects; hatched cells are too small to judge."
        if picture:
            figures.append(Figure(picture, told, attribute))
    return tuple(figures)


def _crossed(rows: pd.DataFrame) -> list[str]:
    return [str(name) for name in rows["attribute"].unique() if "*" in str(name)]


def curve_figures(curves: pd.DataFrame, metrics: pd.DataFrame, name: str) -> tuple[Figure, ...]:
    """Draw ROC and calibration by group for each single attribute of one arm and seed.

    Parameters
    ----------
    curves, metrics
        Its tidy rows of both tables, all measures.
    name
        What the arm is called.
    """
    figures = []
    attributes = [str(a) for a in curves["attribute"].unique() if a != OVERALL and "*" not in str(a)]
    for attribute in attributes:
        for draw, what, told in (
            (roc, "ROC", "Marks: where decisions were cut."),
            (calibration, "Calibration", "On the diagonal, probabilities come true as often as they say."),
        ):
            picture = draw(curves, metrics, attribute=attribute, label=f"{what} of {name} by {attribute}")
            if picture:
                figures.append(Figure(picture, f"{what} by {attribute}. {told}", attribute))
    return tuple(figures)


def overall_figures(across: pd.DataFrame, alpha: float) -> tuple[Figure, ...]:
    """Draw what holds over datasets: mean ranks with the critical difference, and shares of variance."""
    figures = []
    ranks = across[across["analysis"] == "rank"]
    for (metric, attribute), rows in ranks.groupby(["metric", "attribute"], sort=False):
        what = _what(metric, attribute)
        critical = critical_difference(
            rows, label=f"Critical differences of mean ranks by {what}", alpha=alpha
        )
        if critical:
            told = f"Mean rank over datasets by {what}, 1 is best. A bar joins those that this test cannot tell apart."
            figures.append(Figure(critical, told, str(attribute)))
        spread = rank_intervals(rows, label=f"Mean ranks by {what} with their intervals")
        if spread:
            figures.append(
                Figure(spread, f"Mean rank over datasets by {what}, with its interval.", str(attribute))
            )
    shares = across[across["analysis"] == "variance"]
    for (metric, attribute), rows in shares.groupby(["metric", "attribute"], sort=False):
        what = _what(metric, attribute)
        picture = variance_shares(rows, label=f"Shares of variance in {what}")
        if picture:
            figures.append(Figure(picture, f"Where differences in {what} come from.", str(attribute)))
    return tuple(figures)


def _what(metric: object, attribute: object) -> str:
    label = metric_words(str(metric)).label
    return f"{label}, {attribute}" if attribute else label


def disadvantage_maps(ranked: Sequence[Ranked], alpha: float) -> tuple[Figure, ...]:
    """Draw which group fares worst, for each arm in each question; only where there are several questions."""
    if len(ranked) < 2:
        return ()
    gaps = pd.concat([question.part.at(question.primary).gaps for question in ranked], ignore_index=True)
    figures = []
    for attribute in gaps["attribute"].unique():
        label = f"Which group fares worst by {attribute}, for each combination and question"
        picture = disadvantage_map(gaps, attribute=str(attribute), label=label, alpha=alpha)
        if picture:
            told = f"Which group of {attribute} fares worst, and by how much; outlined where a gap was found."
            figures.append(Figure(picture, told, str(attribute)))
    return tuple(figures)
