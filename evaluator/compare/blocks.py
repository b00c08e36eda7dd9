"""One number of each arm on each dataset: the table that analyses across datasets stand on.

Questions of a dataset (targets, structures, prompts) are averaged first, because they share subjects: N counts datasets. Only
questions that all arms of the dataset answered are averaged, so that no arm is better for having met easier ones. An arm here
is a model, a usage and a mitigation; prompts are questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluator.compare.arms import Arm, Entry, Place, Results
from evaluator.compare.measures import DEFAULT_CONVENTIONS
from evaluator.groups import ALL
from evaluator.metrics.metric import Array
from evaluator.views import base_split

Question = tuple[str, str, str]

#: Splits that are the test set; tables of results without splits have none.
TEST = ("test", None)


def is_among(split: str | None, splits: Sequence[str | None]) -> bool:
    """Tell whether rows of a split count as one of `splits`.

    Where nothing was fitted (prompted segmentation) rows of several splits are measured together as e.g. ``train+val+test``:
    these are test rows. So are those of a view of it (see :mod:`evaluator.views`).
    """
    return split in splits or ("test" in splits and "test" in base_split(split).split("+"))


@dataclass(frozen=True)
class Number:
    """A number of one arm on one dataset, averaged over questions and seeds.

    Attributes
    ----------
    value
        Mean over questions of means over seeds.
    by_seed
        Seed -> mean over questions; only seeds that every question has.
    replicates
        ``[B]``; empty where some question has none.
    """

    value: float
    by_seed: Mapping[int | None, float]
    replicates: Array


class Block(NamedTuple):
    """A complete table of datasets by arms.

    Attributes
    ----------
    datasets, arms
        N and k, sorted.
    numbers
        ``[N][k]``.
    left_out
        What was left out to make it complete; None when nothing.
    """

    datasets: tuple[str, ...]
    arms: tuple[Arm, ...]
    numbers: tuple[tuple[Number, ...], ...]
    left_out: str | None

    def values(self) -> Array:
        """Return ``[N, k]`` values."""
        return np.array([[number.value for number in row] for row in self.numbers]).reshape(
            len(self.datasets), len(self.arms)
        )

    def replicates(self) -> Array:
        """Return ``[N, k, B]``, as many as the shortest dataset has; B is 0 where some number has none."""
        length = min((len(number.replicates) for row in self.numbers for number in row), default=0)
        return np.array([[number.replicates[:length] for number in row] for row in self.numbers]).reshape(
            len(self.datasets), len(self.arms), length
        )


def of_metric(results: Results, metric: str, splits: Sequence[str | None] = TEST) -> Results:
    """Keep one metric on some splits, under one convention for each question.

    Parameters
    ----------
    results
        All numbers.
    metric
        Name.
    splits
        By default the test set, or rows of tables that know no splits.

    Notes
    -----
    Where a metric was computed under several conventions, its default stays, else one with replicates over all samples, of
    several the first by name.
    """
    conventions: dict[tuple[str | None, ...], tuple[bool, bool, str]] = {}
    for place, entries in results.entries.items():
        if place.metric == metric and is_among(place.split, splits) and place.attribute == ALL:
            bare = not any(len(entry.mean.replicates) for entry in entries.values())
            found = (place.convention not in DEFAULT_CONVENTIONS, bare, place.convention)
            conventions[place[:4]] = min(conventions.get(place[:4], found), found)

    def kept(place: Place) -> bool:
        chosen = conventions.get(place[:4])
        return place.metric == metric and chosen is not None and place.convention == chosen[-1]

    return Results(
        {place: entries for place, entries in results.entries.items() if kept(place)},
        {place: reasons for place, reasons in results.missing.items() if kept(place)},
    )


def numbers_by_dataset(results: Results) -> dict[str, dict[Arm, Number]]:
    """Average the questions of each dataset that all of its arms answered, over all samples.

    Parameters
    ----------
    results
        Of one metric, see :func:`of_metric`; so for all functions here.
    """
    answers = _answers(results, ALL, ALL)
    found: dict[str, dict[Arm, Number]] = {}
    for dataset, by_arm in answers.items():
        common = set.intersection(*(set(questions) for questions in by_arm.values()))
        if common:
            found[dataset] = {
                arm: average([questions[question] for question in sorted(common)])
                for arm, questions in by_arm.items()
            }
    return found


def average(entries: Sequence[Entry]) -> Number:
    """Average the answers to several questions of one dataset."""
    lengths = {len(entry.mean.replicates) for entry in entries}
    draws = [entry.mean.replicates for entry in entries] if len(lengths) == 1 else [np.empty(0)]
    seeds = set.intersection(*(set(entry.values) for entry in entries))
    return Number(
        value=float(np.mean([entry.mean.value for entry in entries])),
        by_seed={
            seed: float(np.mean([entry.values[seed] for entry in entries]))
            for seed in sorted(seeds, key=lambda seed: (seed is not None, seed or 0))
        },
        replicates=np.mean(draws, axis=0),
    )


def complete_block(numbers: Mapping[str, Mapping[Arm, Number]]) -> Block:
    """Leave out arms and datasets until every arm has a number on every dataset.

    Notes
    -----
    Again and again, the arm or the dataset that lacks the largest share of its numbers goes; of equals an arm rather than a
    dataset, and the last by name.
    """
    datasets = sorted(numbers)
    arms = sorted({arm for table in numbers.values() for arm in table}, key=lambda arm: arm.order)
    gone: list[str] = []
    while datasets and arms:
        there = np.array([[arm in numbers[dataset] for arm in arms] for dataset in datasets])
        if there.all():
            break
        by_arm, by_dataset = (~there).mean(axis=0), (~there).mean(axis=1)
        if by_arm.max() >= by_dataset.max():
            gone.append(arms.pop(len(arms) - 1 - int(np.argmax(by_arm[::-1]))).name)
        else:
            gone.append(datasets.pop(len(datasets) - 1 - int(np.argmax(by_dataset[::-1]))))
    rows = tuple(tuple(numbers[dataset][arm] for arm in arms) for dataset in datasets)
    left_out = f"left out as incomplete: {', '.join(sorted(gone))}" if gone else None
    return Block(tuple(datasets), tuple(arms), rows, left_out)


def advantages(results: Results, attribute: str) -> dict[str, dict[Arm, dict[str, Number]]]:
    """Return how much better each group is than the mean of the other groups: dataset -> arm -> group -> number.

    Notes
    -----
    For one question ``x_g - mean of the others = (G x_g - sum x) / (G - 1)``, over the groups that the arm has there, at
    least two; then the mean over questions. Its noise is as often above as below 0 without a disparity, however small the
    group, which is not true of being the worst one.
    """
    tables: dict[tuple[str, Arm], dict[Question, dict[str, Entry]]] = {}
    for group in sorted({place.group for place in results.entries if place.attribute == attribute}):
        for dataset, by_arm in _answers(results, attribute, group).items():
            for arm, questions in by_arm.items():
                for question, entry in questions.items():
                    tables.setdefault((dataset, arm), {}).setdefault(question, {})[group] = entry
    found: dict[str, dict[Arm, dict[str, Number]]] = {}
    for (dataset, arm), answers in tables.items():
        parts: dict[str, list[tuple[float, Array]]] = {}
        for question in sorted(answers):
            for group, part in _from_others(answers[question]).items():
                parts.setdefault(group, []).append(part)
        if parts:
            found.setdefault(dataset, {})[arm] = {group: _mean(several) for group, several in parts.items()}
    return {dataset: found[dataset] for dataset in sorted(found)}


def _from_others(entries: Mapping[str, Entry]) -> dict[str, tuple[float, Array]]:
    if len(entries) < 2:
        return {}
    values = np.array([entry.mean.value for entry in entries.values()])
    lengths = {len(entry.mean.replicates) for entry in entries.values()}
    draws = (
        np.stack([entry.mean.replicates for entry in entries.values()])
        if len(lengths) == 1
        else np.empty((len(entries), 0))
    )
    scale = len(entries) / (len(entries) - 1)
    return {
        group: (float(scale * (values[row] - values.mean())), scale * (draws[row] - draws.mean(axis=0)))
        for row, group in enumerate(entries)
    }


def _mean(parts: Sequence[tuple[float, Array]]) -> Number:
    lengths = {len(draws) for _, draws in parts}
    draws = [draws for _, draws in parts] if len(lengths) == 1 else [np.empty(0)]
    return Number(float(np.mean([value for value, _ in parts])), {}, np.mean(draws, axis=0))


def _answers(results: Results, attribute: str, group: str) -> dict[str, dict[Arm, dict[Question, Entry]]]:
    """Return dataset -> arm without prompt -> question -> number."""
    found: dict[str, dict[Arm, dict[Question, Entry]]] = {}
    for place, entries in results.entries.items():
        if (place.attribute, place.group) != (attribute, group):
            continue
        by_arm = found.setdefault(place.dataset or "", {})
        for arm, entry in entries.items():
            question = (place.target or "", place.structure or "", arm.prompt or "")
            by_arm.setdefault(arm._replace(prompt=None), {})[question] = entry
    return {dataset: found[dataset] for dataset in sorted(found)}
