"""Which arm to take: three rules that choose on val, and who is on the Pareto front of test.

Guarantee: no rule looks at test before it has chosen; without rows of the val split a rule chooses nothing and says so. The
Pareto rows choose nothing either: they say for every arm how probable it is that no other is as good in value and in gap.

References
----------
Zong et al. 2023 (MEDFAIR: selection by overall value, by the worst group, by the distance to the optimum).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evaluator.compare.arms import Arm, Entry, Place, Results, Row, joined, table_of, text
from evaluator.compare.blocks import TEST, of_metric
from evaluator.groups import ALL
from evaluator.metrics.metric import Array
from evaluator.statistics.multiplicity import PRIMARY
from evaluator.statistics.pareto import choose_minimax, choose_nearest, choose_overall, front_probability
from evaluator.tables import SELECTION

if TYPE_CHECKING:
    import pandas as pd

VAL = ("val",)
NO_VAL = "chosen on val, and there is none"
_BY_GROUPS: Mapping[str, Callable[[Array, Array], int]] = {"minimax": choose_minimax, "dto": choose_nearest}


class Question(NamedTuple):
    """What a choice is made for."""

    dataset: str | None
    target: str | None
    structure: str | None


@dataclass(frozen=True)
class Standing:
    """Numbers of the arms of one question on one split.

    Attributes
    ----------
    overall
        Arm -> number over all samples.
    groups
        Attribute -> group -> arm -> number.
    """

    overall: Mapping[Arm, Entry]
    groups: Mapping[str, Mapping[str, Mapping[Arm, Entry]]]

    def shared(self, attribute: str | None) -> tuple[list[Arm], list[str]]:
        """Return the arms that have a group of an attribute, and the groups that all of these arms have."""
        by_group = self.groups.get(attribute or "", {})
        arms = [arm for arm in self.overall if any(arm in entries for entries in by_group.values())]
        return arms, [group for group, entries in by_group.items() if all(arm in entries for arm in arms)]

    def worst(self, attribute: str | None, arm: Arm, groups: Sequence[str]) -> float | None:
        """Return the worst of some groups; None where the arm lacks one, or there are none."""
        entries = [self.groups.get(attribute or "", {}).get(group, {}).get(arm) for group in groups]
        values = [entry.mean.value for entry in entries if entry is not None]
        return min(values) if values and len(values) == len(groups) else None


_NOTHING = Standing({}, {})


class Source(NamedTuple):
    """The rows that stand for an arm on a question."""

    split: str | None
    convention: str


Sources = Mapping[tuple[Question, Arm], Source]


def select(metrics: pd.DataFrame, gaps: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Choose among the arms of every question by every rule.

    Parameters
    ----------
    metrics, gaps, replicates
        Columns of :data:`evaluator.tables.METRICS`, :data:`~evaluator.tables.GAPS` and
        :data:`~evaluator.tables.REPLICATES`; rows of all results of a study, those of the val split
        among them where there are any.

    Returns
    -------
    DataFrame
        Columns of :data:`evaluator.tables.SELECTION`, for the primary metrics. Of each question (dataset, target, structure)
        and attribute a row for each rule, ``overall``, ``minimax`` and ``dto``, with the arm chosen on val and its numbers on
        both splits; and a row ``pareto`` for every arm of test with its `probability`. Without attributes ``overall`` alone.

    Notes
    -----
    Values are means over seeds; groups are those that every arm has on val. The worst group is the smallest value of these.
    Small groups are noisy, so ``minimax`` and ``dto`` go by the shrunk values of the metrics table where all arms have them.
    `test_gap` is the adjusted gap of :data:`~evaluator.tables.GAPS` under the convention of the values, mean over
    seeds. A replicate has no permutations and so no adjusted gap: `probability` takes the largest minus the smallest group of
    the replicate (for two groups the absolute difference). What chance adds to it is about the same for all arms, whose groups
    are the same subjects, and it is who has more that decides. Of several splits that count as test the test split itself
    stands for an arm.
    """
    frames = [
        table[table["metric"].isin(PRIMARY)] if len(table) else table for table in (metrics, replicates)
    ]
    results = Results.read(*frames)
    rows: list[Row] = []
    for metric in PRIMARY:
        on_val, on_test = (of_metric(results, metric, splits) for splits in (VAL, TEST))
        sources = _sources(on_test)
        adjusted = _adjusted_gaps(gaps, metric, sources)
        val, test = _standings(on_val, _sources(on_val)), _standings(on_test, sources)
        questions = sorted({*val, *test}, key=lambda question: tuple(part or "" for part in question))
        for question in questions:
            before, after = val.get(question, _NOTHING), test.get(question, _NOTHING)
            own = {key[1:]: gap for key, gap in adjusted.items() if key[0] == question}
            found = [*_chosen(before, after, own), *_front(after, own)]
            rows += [{**question._asdict(), "metric": metric, **row} for row in found]
    return table_of(rows, SELECTION)


def _question(place: Place) -> Question:
    return Question(place.dataset, place.target, place.structure)


def _sources(results: Results) -> Sources:
    """Return which rows stand for every arm; of several splits that count as test the test split itself."""
    found: dict[tuple[Question, Arm], Source] = {}
    for place, entries in results.entries.items():
        if place.attribute == ALL:
            own = Source(place.split, place.convention)
            for arm in entries:
                key = _question(place), arm
                found[key] = min(found.get(key, own), own, key=_roundabout)
    return found


def _roundabout(source: Source) -> tuple[bool, str]:
    split = source.split or ""
    return "+" in split, split


def _standings(results: Results, sources: Sources) -> dict[Question, Standing]:
    overall: dict[Question, dict[Arm, Entry]] = {}
    groups: dict[Question, dict[str, dict[str, dict[Arm, Entry]]]] = {}
    for place, entries in results.entries.items():
        question, own = _question(place), Source(place.split, place.convention)
        mine = {arm: entry for arm, entry in entries.items() if sources.get((question, arm)) == own}
        if place.attribute == ALL:
            overall.setdefault(question, {}).update(mine)
        elif mine:
            by_group = groups.setdefault(question, {}).setdefault(place.attribute, {})
            by_group.setdefault(place.group, {}).update(mine)
    return {
        question: Standing(
            {arm: arms[arm] for arm in sorted(arms, key=lambda arm: arm.order)}, groups.get(question, {})
        )
        for question, arms in overall.items()
    }


def _adjusted_gaps(
    gaps: pd.DataFrame, metric: str, sources: Sources
) -> dict[tuple[Question, str, Arm], float]:
    """Return the adjusted gaps of the rows that stand for the arms, mean over seeds."""
    if not len(gaps):
        return {}
    rows = gaps[(gaps["metric"] == metric) & (gaps["kind"] == "max-min") & gaps["adjusted"].notna()]
    found: dict[tuple[Question, str, Arm], list[float]] = {}
    names = [*Question._fields, "attribute", *Arm._fields, "split", "convention", "adjusted"]
    for *cells, gap in rows[names].itertuples(index=False, name=None):
        texts = [text(cell) for cell in cells]
        question, arm = Question(*texts[:3]), Arm(*texts[4:8])
        if sources.get((question, arm)) == Source(texts[8], str(texts[9])):
            found.setdefault((question, str(texts[3]), arm), []).append(float(gap))
    return {key: float(np.mean(sorted(several))) for key, several in found.items()}


Gaps = Mapping[tuple[str, Arm], float]


def _chosen(val: Standing, test: Standing, gaps: Gaps) -> list[Row]:
    attributes = sorted({*val.groups, *test.groups})
    if not attributes:
        return [_by_overall(val, test, None, gaps)]
    rows: list[Row] = []
    for attribute in attributes:
        rows.append(_by_overall(val, test, attribute, gaps))
        rows += [_by_groups(val, test, attribute, rule, gaps) for rule in _BY_GROUPS]
    return rows


def _by_overall(val: Standing, test: Standing, attribute: str | None, gaps: Gaps) -> Row:
    row: Row = {"attribute": attribute, "rule": "overall"}
    if not val.overall:
        return row | {"reason": NO_VAL}
    arms = list(val.overall)
    arm = arms[choose_overall(np.array([val.overall[arm].mean.value for arm in arms]))]
    return row | _worth(val, test, attribute, arm, val.shared(attribute)[1], gaps)


def _by_groups(val: Standing, test: Standing, attribute: str, rule: str, gaps: Gaps) -> Row:
    row: Row = {"attribute": attribute, "rule": rule}
    if not val.overall:
        return row | {"reason": NO_VAL}
    arms, groups = val.shared(attribute)
    if len(groups) < 2:
        return row | {
            "reason": f"chosen on val, where {len(groups)} groups have a value for every arm; two are needed"
        }
    overall = np.array([val.overall[arm].mean.value for arm in arms])
    entries = [[val.groups[attribute][group][arm] for group in groups] for arm in arms]
    shrunk = [[entry.shrunk for entry in own] for own in entries]
    usable = all(value is not None for own in shrunk for value in own)
    plain = np.array([[entry.mean.value for entry in own] for own in entries])
    table = np.array(shrunk, np.float64) if usable else plain
    found = _worth(val, test, attribute, arms[_BY_GROUPS[rule](table, overall)], groups, gaps)
    note = "chosen by group values shrunk toward their mean" if usable else None
    absent = len(val.overall) - len(arms)
    unfit = f"{absent} arms without group values on val" if absent else None
    return row | found | {"reason": joined(note, unfit, found["reason"])}


def _worth(
    val: Standing, test: Standing, attribute: str | None, arm: Arm, groups: Sequence[str], gaps: Gaps
) -> Row:
    """Return what an arm reaches; the worst is of the same groups on both splits."""
    after = test.overall.get(arm)
    return {
        **arm._asdict(),
        "val_value": val.overall[arm].mean.value if arm in val.overall else None,
        "val_worst": val.worst(attribute, arm, groups),
        "test_value": None if after is None else after.mean.value,
        "test_worst": test.worst(attribute, arm, groups),
        "test_gap": gaps.get((attribute or "", arm)),
        "reason": "no value on test" if after is None else None,
    }


def _front(test: Standing, gaps: Gaps) -> list[Row]:
    """Return a row for every arm of test and every attribute."""
    rows: list[Row] = []
    for attribute in sorted(test.groups):
        arms, groups = test.shared(attribute)
        chances = _chances(test, attribute, arms, groups)
        for place, arm in enumerate(arms):
            row = {
                "attribute": attribute,
                "rule": "pareto",
                **_worth(_NOTHING, test, attribute, arm, groups, gaps),
            }
            rows.append(
                row
                | (
                    {"reason": chances}
                    if isinstance(chances, str)
                    else {"probability": float(chances[place])}
                )
            )
    return rows


def _chances(test: Standing, attribute: str, arms: Sequence[Arm], groups: Sequence[str]) -> Array | str:
    if len(arms) < 2:
        return "single_arm: nothing to compare with"
    if len(groups) < 2:
        return f"single_group: {len(groups)} groups have a value for every arm, two are needed"
    subjects = {test.overall[arm].subjects for arm in arms}
    if len(subjects) > 1:
        return f"different_subjects: {min(subjects)} to {max(subjects)} subjects measured"
    utility = [test.overall[arm].mean.replicates for arm in arms]
    table = [[test.groups[attribute][group][arm].mean.replicates for group in groups] for arm in arms]
    lengths = {len(draws) for draws in (*utility, *(draws for own in table for draws in own))}
    if len(lengths) > 1:
        return f"different_replicates: {min(lengths)} to {max(lengths)}"
    if lengths == {0}:
        return "no_replicates"
    return front_probability(np.array(utility), np.ptp(np.array(table), axis=1))
