"""From a study's content to what the page shows, piece by piece; the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from evaluator.report.claims import Claim
from evaluator.report.comparison_grids import across_grids, across_notes, over_several
from evaluator.report.content import DatasetFacts, StudyContent
from evaluator.report.data_grids import audit_grid, people_grid
from evaluator.report.feature_grids import feature_grid, feature_group_grid
from evaluator.report.grid import Grid
from evaluator.report.pictures import Figure, disadvantage_maps, overall_figures
from evaluator.report.questions import QuestionView, TidyTables, question_view
from evaluator.report.study_grids import (
    coverage_grid,
    exclusion_grid,
    failure_grid,
    measure_grid,
    rejected_grid,
    task_grid,
    threshold_grid,
)
from evaluator.report.tables import OVERALL, Ranked, threshold_table, tidy
from evaluator.report.terms import GLOSSARY, OF_SEVERAL
from evaluator.report.words import UNDEFINED, plural, readable, readable_arm

#: Statuses of samples without a true class.
NO_CLASS = frozenset({"no_target", "no_label", "no_true_class"})


@dataclass(frozen=True)
class DatasetView:
    """A dataset with its questions."""

    anchor: str
    name: str
    facts: DatasetFacts | None
    questions: tuple[QuestionView, ...]


@dataclass(frozen=True)
class OverviewRow:
    """One question in the overview: its best arm, and the leader's claims in the order of the attributes."""

    dataset: str
    question: QuestionView
    claims: tuple[Claim | None, ...]


@dataclass(frozen=True)
class Overview:
    """All questions at a glance."""

    attributes: tuple[str, ...]
    rows: tuple[OverviewRow, ...]


@dataclass(frozen=True)
class Limit:
    """A limit that a pipeline declares, and whether it is kept."""

    condition: str
    violated: bool
    sentence: str


@dataclass(frozen=True)
class DataView:
    """What is known of a dataset's data before any model is run; `people` may be missing."""

    name: str
    audit: Grid
    people: Grid | None


@dataclass(frozen=True)
class PageView:
    """All that the template lays out."""

    content: StudyContent
    level: str
    datasets: tuple[DatasetView, ...]
    overview: Overview | None
    asked: str
    overall_figures: tuple[Figure, ...]
    maps: tuple[Figure, ...]
    alone: bool
    compared: bool
    over: str
    features: Grid | None
    feature_groups: Grid | None
    limits: tuple[Limit, ...]
    unlabelled: str
    glossary: tuple[tuple[str, str], ...]
    across: tuple[Grid, ...]
    across_notes: tuple[str, ...]
    data: tuple[DataView, ...]
    coverage: Grid | None
    failures: Grid | None
    excluded: Grid | None
    rejected: Grid | None
    measures: Grid | None
    thresholds: Grid | None
    tasks: Grid | None
    seconds: str
    models: tuple[str, ...]
    attributes: tuple[str, ...]


def build(content: StudyContent, ranked: Sequence[Ranked]) -> PageView:
    """Work out everything that the page shows, from a study and what :func:`rank_all` made of it."""
    measured = [question.part for question in ranked]
    datasets = _datasets(content, ranked)
    seconds = [task.seconds for task in content.tasks if task.seconds is not None]
    thresholds = threshold_table(content.metrics)
    failures = tidy(content.failures)
    across, single = over_several(_across(content))
    features = tidy(content.representation)
    alone = all(len(table) < 2 for question in ranked for table in question.rankings.values())
    return PageView(
        content=content,
        level=f"{100 * (1 - content.alpha):g} %",
        datasets=datasets,
        overview=_overview(datasets),
        asked=_asked(datasets),
        overall_figures=overall_figures(across, content.alpha),
        maps=disadvantage_maps(ranked, content.alpha),
        alone=alone,
        compared=any(question.answer.badge for dataset in datasets for question in dataset.questions),
        over="Over all datasets" if len(datasets) > 1 else "Taken together",
        features=feature_grid(features),
        feature_groups=feature_group_grid(features),
        limits=tuple(
            sorted((Limit(*limit) for limit in content.limits), key=lambda limit: not limit.violated)
        ),
        unlabelled=_unlabelled(content),
        glossary=tuple((term, told) for term, told in GLOSSARY if not alone or term not in OF_SEVERAL),
        across=across_grids(across),
        across_notes=(*across_notes(across), *single) if len(datasets) > 1 else (),
        data=tuple(_data(content.datasets)),
        coverage=coverage_grid(measured),
        failures=failure_grid(failures, caption="Samples that could not be used, by group")
        if len(failures)
        else None,
        excluded=exclusion_grid(measured),
        rejected=rejected_grid(content),
        measures=measure_grid(measured),
        thresholds=threshold_grid(thresholds, caption="Where decisions were cut")
        if len(thresholds)
        else None,
        tasks=task_grid(content.tasks) if content.tasks else None,
        seconds=_duration(sum(seconds)) if seconds else UNDEFINED,
        models=_names_of(ranked, "model"),
        attributes=_names_of(ranked, "attribute"),
    )


def _data(datasets: Sequence[DatasetFacts]) -> Iterator[DataView]:
    for facts in datasets:
        audit = audit_grid(facts)
        if audit is not None:
            yield DataView(facts.name, audit, people_grid(facts))


def _unlabelled(content: StudyContent) -> str:
    """Say what the counts of left-out samples do not hold; empty where they hold all."""
    if not content.tasks or set(content.failures["status"]) & NO_CLASS:
        return ""
    return "A sample without a true value of a target takes no part in its numbers, and is no failure: it is not counted here."


def _across(content: StudyContent) -> pd.DataFrame:
    """Return what holds over datasets, arms named as everywhere on the page."""
    across = tidy(content.across)
    of_arms = across["analysis"].isin(["rank", "wilcoxon"])
    spelled = {
        name: [readable_arm(text) if arm else text for text, arm in zip(across[name], of_arms, strict=True)]
        for name in ("item", "against")
    }
    return across.assign(**spelled)


def _datasets(content: StudyContent, ranked: Sequence[Ranked]) -> tuple[DatasetView, ...]:
    tables = TidyTables.of(content)
    usages = tuple(dict.fromkeys(u for question in ranked for u in question.part.metrics["usage"]))
    views: dict[str, list[QuestionView]] = {}
    for place, question in enumerate(ranked):
        view = question_view(question, content, tables=tables, usages=usages, anchor=f"q{place + 1}")
        views.setdefault(question.part.question.dataset, []).append(view)
    facts = {fact.name: fact for fact in content.datasets}
    return tuple(
        DatasetView(f"dataset-{place + 1}", name, facts.get(name), tuple(questions))
        for place, (name, questions) in enumerate(views.items())
    )


def _asked(datasets: Sequence[DatasetView]) -> str:
    """Word the question that the first screen answers: with one arm there is no best."""
    answers = [question.answer for dataset in datasets for question in dataset.questions]
    alone = bool(answers) and all(said.certainty in {"single", "none"} for said in answers)
    return (
        "How well does it serve, and whom does it fail?"
        if alone
        else "Which model serves best, and whom does it fail?"
    )


def _overview(datasets: Sequence[DatasetView]) -> Overview | None:
    """Lay out all questions at a glance; None where there is but one, whose answer says it all."""
    asked = [(dataset.name, question) for dataset in datasets for question in dataset.questions]
    if len(asked) < 2:
        return None
    named = tuple(dict.fromkeys(c.attribute for _, question in asked for c in question.answer.claims))
    single = tuple(name for name in named if "*" not in name)
    attributes = single or named
    rows = []
    for name, question in asked:
        claims = {claim.attribute: claim for claim in question.answer.claims}
        rows.append(OverviewRow(name, question, tuple(claims.get(a) for a in attributes)))
    return Overview(attributes, tuple(rows))


def _names_of(ranked: Sequence[Ranked], column: str) -> tuple[str, ...]:
    """Return the distinct names in a column of the metrics, in order."""
    values = (str(value) for question in ranked for value in question.part.metrics[column].unique())
    return tuple(dict.fromkeys(value for value in values if value not in {"", OVERALL}))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return plural(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts as text, e.g. ``"train 800, test 400"``."""
    return ", ".join(f"{readable(name)} {amount:,}" for name, amount in counts.items()) or "none"
