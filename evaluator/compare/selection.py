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
from evaluator.compare.blocks import TEST, is_among, of_metric
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
    `test_gap` is the adjusted gap of :data:`~evaluator.tables.GAPS`, mean over seeds. A replicate has no permutations and so
    no adjusted gap: `probability` takes the largest minus the smallest group of the replicate (for two groups the absolute
    difference). What chance adds to it is about the same for all arms, whose groups are the same subjects, and it is who
    has more that decides.
    """
    frames = [
        table[table["metric"].isin(PRIMARY)] if len(table) else table for table in (metrics, replicates)
    ]
    results = Results.read(*frames)
    rows: list[Row] = []
    for metric in PRIMARY:
        val = _standings(of_metric(results, metric, VAL))
        test = _standings(of_metric(results, metric))
        adjusted = _adjusted_gaps(gaps, metric)
        questions = sorted({*val, *test}, key=lambda question: tuple(part or "" for part in question))
        for question in questions:
            before, after = val.get(question, _NOTHING), test.get(question, _NOTHING)
            own = {key[1:]: gap for key, gap in adjusted.items() if key[0] == question}
            found = [*_chosen(before, after, own), *_front(after, own)]
            rows += [{**question._asdict(), "metric": metric, **row} for row in found]
    return table_of(rows, SELECTION)


def _standings(results: Results) -> dict[Question, Standing]:
    places: dict[Question, list[Place]] = {}
    for place in results.entries:
        places.setdefault(Question(place.dataset, place.target, place.structure), []).append(place)
    found: dict[Question, Standing] = {}
    for question, own in places.items():
        groups: dict[str, dict[str, Mapping[Arm, Entry]]] = {}
        overall: Mapping[Arm, Entry] = {}
        for place in own:
            if place.attribute == ALL:
                overall = results.entries[place]
            else:
                groups.setdefault(place.attribute, {})[place.group] = results.entries[place]
        found[question] = Standing(overall, groups)
    return found


def _adjusted_gaps(gaps: pd.DataFrame, metric: str) -> dict[tuple[Question, str, Arm], float]:
    """Return the adjusted gaps on test, mean over seeds."""
    if not len(gaps):
        return {}
    splits = [is_among(text(split), TEST) for split in gaps["split"]]
    rows = gaps[
        np.array(splits) & (gaps["metric"] == metric) & (gaps["kind"] == "max-min") & gaps["adjusted"].notna()
    ]
    found: dict[tuple[Question, str, Arm], list[float]] = {}
    names = [*Question._fields, "attribute", *Arm._fields, "adjusted"]
    for *cells, gap in rows[names].itertuples(index=False, name=None):
        texts = [text(cell) for cell in cells]
        found.setdefault((Question(*texts[:3]), str(texts[3]), Arm(*texts[4:])), []).append(float(gap))
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
