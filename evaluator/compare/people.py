"""Whose numbers may stand side by side: arms that were measured on the same people.

Tables name no people, so that these are the same is told by the split and by how many they are: the test of
:func:`evaluator.compare.compare`, too.
"""

from __future__ import annotations

from collections import Counter

from evaluator.compare.arms import Arm, Place, Results
from evaluator.groups import ALL

_Asked = tuple[str | None, ...]


def on_same_people(results: Results) -> tuple[Results, str | None]:
    """Keep the arms that were measured on the same people, question by question.

    Parameters
    ----------
    results
        Of one metric, see :func:`of_metric`.

    Returns
    -------
    (Results, str or None)
        Of every question (dataset, target, structure, prompt) the arms with the most common split and number of subjects (of
        equally common ones the larger number); and which arms were left out, None when none.
    """
    people: dict[_Asked, Counter[tuple[str | None, int]]] = {}
    for place, entries in results.entries.items():
        if place.attribute == ALL:
            for arm, entry in entries.items():
                people.setdefault(_asked(place, arm), Counter())[place.split, entry.subjects] += 1
    usual = {
        asked: max(counts, key=lambda own: (counts[own], own[1], own[0] or ""))
        for asked, counts in people.items()
    }

    def kept(place: Place, arm: Arm) -> bool:
        overall = results.entries.get(place._replace(attribute=ALL, group=ALL), {}).get(arm)
        return overall is not None and (place.split, overall.subjects) == usual[_asked(place, arm)]

    found = {
        place: {arm: entry for arm, entry in entries.items() if kept(place, arm)}
        for place, entries in results.entries.items()
    }
    found = {place: entries for place, entries in found.items() if entries}
    lost = _answered(results) - _answered(Results(found, {}))
    datasets: dict[str, set[str]] = {}
    for dataset, *_, arm in lost:
        datasets.setdefault(arm.name, set()).add(dataset or "")
    names = [f"{name} ({', '.join(sorted(where))})" for name, where in sorted(datasets.items())]
    left_out = f"left out as measured on other people: {', '.join(names)}" if names else None
    return Results(found, results.missing), left_out


def _asked(place: Place, arm: Arm) -> _Asked:
    return place.dataset, place.target, place.structure, arm.prompt


def _answered(results: Results) -> set[tuple[str | None, str | None, str | None, Arm]]:
    return {
        (place.dataset, place.target, place.structure, arm)
        for place, entries in results.entries.items()
        if place.attribute == ALL
        for arm in entries
    }
