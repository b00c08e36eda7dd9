"""What is known of people's attributes, and what differs between their groups before any model is run.

Groups here are for description: the values of a category as they are, a number in quarters of its subjects. Those that a study
measures are formed there.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shards.audit.findings import UNKNOWN, AttributeAudit, Difference, Group
from shards.card import Attribute, DatasetCard

if TYPE_CHECKING:
    import pandas as pd

#: Size and intensity of images, as columns of the index.
MEASURES = ("original_width", "original_height", "intensity_mean", "intensity_sd")
#: Standardised mean difference above which groups are said to differ, and subjects that both must have.
NOTABLE, ENOUGH = 0.2, 20
#: Values of a category that are told apart; rarer ones are lumped together.
_MOST_VALUES = 24


def describe_attributes(
    card: DatasetCard, frame: pd.DataFrame, rejected: pd.DataFrame
) -> tuple[AttributeAudit, ...]:
    """Describe every attribute of a dataset.

    Parameters
    ----------
    card
        Which they are.
    frame
        One row per sample: subject_id, split, :data:`MEASURES`, targets and attributes.
    rejected
        One row per rejected sample: reason and attributes.
    """
    return tuple(_describe(attribute, card, frame, rejected) for attribute in card.attributes)


def _describe(
    attribute: Attribute, card: DatasetCard, frame: pd.DataFrame, rejected: pd.DataFrame
) -> AttributeAudit:
    name = attribute.name
    edges = _quartiles(frame, name) if attribute.kind == "number" else ()
    values = _values(frame, rejected, name) if attribute.kind == "category" else None
    grouped = frame.assign(_group=_named(frame[name], values, edges))
    missing = frame[frame[name].isna()]
    left_out = rejected.assign(_group=_named(rejected[name], values, edges))
    names = _names(values, edges, {*grouped["_group"], *left_out["_group"]})
    return AttributeAudit(
        name=name,
        unknown=len(missing),
        unknown_by_split=_counted(missing["split"]),
        contradictory=_contradictory(frame, name) if attribute.kind == "category" else 0,
        edges=edges,
        groups=tuple(_groups([*names, UNKNOWN], card, grouped, left_out)),
        differences=tuple(_differences(names, grouped)),
    )


def _values(frame: pd.DataFrame, rejected: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Return the values of a category, that of most subjects first; those of rejected samples alone last."""
    pairs = frame[["subject_id", name]].dropna().drop_duplicates()
    counts = Counter(dict.fromkeys(rejected[name].dropna(), 0))
    counts.update(pairs[name])
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return tuple(ordered[:_MOST_VALUES])


def _quartiles(frame: pd.DataFrame, name: str) -> tuple[float, ...]:
    """Return where a number is cut so that each part has about a quarter of the subjects, and none is empty."""
    of_subject = frame.dropna(subset=[name]).groupby("subject_id")[name].mean().to_numpy(float)
    if not len(of_subject):
        return ()
    cuts = np.quantile(of_subject, [0.25, 0.5, 0.75], method="inverted_cdf")
    rounded = sorted({float(f"{cut:.3g}") for cut in cuts if f"{cut:.3g}" != f"{of_subject.min():.3g}"})
    ends = [*rounded, math.inf][1:]
    return tuple(
        cut
        for cut, end in zip(rounded, ends, strict=True)
        if ((of_subject >= cut) & (of_subject < end)).any() and (of_subject < cut).any()
    )


def _named(column: pd.Series, values: tuple[str, ...] | None, edges: tuple[float, ...]) -> list[str]:
    if values is not None:
        known = set(values)
        return [
            UNKNOWN if value is None or value != value else str(value) if value in known else _OTHER
            for value in column
        ]
    labels = bin_names(edges)
    numbers = column.astype(float).to_numpy()
    places = np.searchsorted(edges, numbers, side="right")
    return [
        UNKNOWN if math.isnan(number) else labels[place]
        for number, place in zip(numbers, places, strict=True)
    ]


_OTHER = "(rarer values)"


def bin_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Name the parts of a number's range; a part holds its lower edge.

    Examples
    --------
    >>> bin_names([41.0, 55.5])
    ('<41', '41-55.5', '55.5+')
    """
    if not edges:
        return ("all values",)
    told = [f"{edge:g}" for edge in edges]
    inner = (f"{low}-{high}" for low, high in itertools.pairwise(told))
    return (f"<{told[0]}", *inner, f"{told[-1]}+")


def _names(values: tuple[str, ...] | None, edges: tuple[float, ...], present: set[str]) -> list[str]:
    ordered = (*values, _OTHER) if values is not None else bin_names(edges)
    return [name for name in ordered if name in present and name != UNKNOWN]


def _counted(column: pd.Series) -> dict[str, int]:
    return dict(sorted(Counter(map(str, column)).items()))


def _contradictory(frame: pd.DataFrame, name: str) -> int:
    return int((frame.groupby("subject_id")[name].nunique() > 1).sum())


def _groups(
    names: Sequence[str], card: DatasetCard, frame: pd.DataFrame, rejected: pd.DataFrame
) -> Iterator[Group]:
    for name in names:
        mine, gone = frame[frame["_group"] == name], rejected[rejected["_group"] == name]
        if len(mine) or len(gone):
            yield Group(
                name,
                len(mine),
                int(mine["subject_id"].nunique()),
                _counted(gone["reason"]),
                {target.name: _counted(mine[target.name].fillna("")) for target in card.targets},
            )


def _differences(names: Sequence[str], frame: pd.DataFrame) -> Iterator[Difference]:
    """Yield, for every measure, the pair of groups that differ most; of groups of enough subjects where there are two."""
    known = frame[frame["_group"].isin(names)]
    means = known.groupby(["_group", "subject_id"])[list(MEASURES)].mean()
    for measure in MEASURES:
        groups = {str(name): values.to_numpy(float) for name, values in means[measure].groupby(level=0)}
        large = {name: values for name, values in groups.items() if len(values) >= ENOUGH}
        judged = large if len(large) > 1 else {n: values for n, values in groups.items() if len(values) > 1}
        pairs = list(itertools.combinations(judged, 2))
        found = [_difference(measure, pair, judged, len(pairs)) for pair in pairs]
        if means[measure].nunique() > 1 and found:
            yield max(found, key=lambda one: math.inf if one.smd is None and one.notable else one.smd or 0.0)


def _difference(
    measure: str, pair: tuple[str, str], groups: Mapping[str, NDArray[np.float64]], compared: int
) -> Difference:
    low, high = sorted(pair, key=lambda name: (groups[name].mean(), name))
    a, b = groups[low], groups[high]
    apart = float(b.mean() - a.mean())
    spread = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    enough = min(len(a), len(b)) >= ENOUGH
    subjects, means = (len(a), len(b)), (float(a.mean()), float(b.mean()))
    if spread <= 1e-9 * max(1.0, abs(means[1])):  # nothing to measure the distance by
        differ = enough and apart > 1e-6 * abs(means[1])
        return Difference(measure, (low, high), subjects, means, None, None, None, differ)
    smd = apart / spread
    error = math.sqrt(1 / len(a) + 1 / len(b) + smd**2 / (2 * (len(a) + len(b))))
    width = NormalDist().inv_cdf(1 - 0.025 / compared) * error
    notable = enough and smd > NOTABLE
    return Difference(measure, (low, high), subjects, means, smd, smd - width, smd + width, notable)
