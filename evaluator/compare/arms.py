"""Reading the measured tables into arms: what competes, with its seeds averaged and its replicates beside it.

An arm is a model with a usage, a mitigation and a prompt. Seeds of an arm are averaged and never chosen from. A row that is not
``ok`` has no value here, only a reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evaluator.compare.measures import fair_replicates, independent_units
from evaluator.groups import UNKNOWN
from evaluator.metrics.metric import Array
from evaluator.statistics.paired import SeedMean, combine_seeds
from shards.errors import unknown_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Row = dict[str, Any]


class Arm(NamedTuple):
    """What competes; None where a part does not apply."""

    model: str | None
    usage: str | None
    mitigation: str | None
    prompt: str | None

    @property
    def name(self) -> str:
        """Parts that apply, joined by a middle dot."""
        return " · ".join(part for part in self if part is not None)

    @property
    def order(self) -> tuple[str, ...]:
        """Sort key: by name of the parts, those that do not apply first."""
        return tuple(part or "" for part in self)


class Place(NamedTuple):
    """Where arms meet: one number of each arm answers the same question."""

    dataset: str | None
    split: str | None
    target: str | None
    structure: str | None
    metric: str
    convention: str
    attribute: str
    group: str

    @property
    def order(self) -> tuple[str, ...]:
        """Sort key."""
        return tuple(part or "" for part in self)


@dataclass(frozen=True)
class Entry:
    """The number of one arm at one place.

    Attributes
    ----------
    mean
        Over the seeds; without replicates where some seed has none.
    values
        Seed -> value.
    shrunk
        Empirical-Bayes estimate, mean over seeds; None where some seed has none.
    n, subjects, units
        Samples, subjects, and independent units of the metric's error; the smallest over seeds. Units are subjects (of the
        rarer class, where classes matter); tables that do not count subjects by class give the samples of the class, which
        are more where subjects have several.
    note
        What a reader must know; None when nothing.
    """

    mean: SeedMean
    values: Mapping[int | None, float]
    shrunk: float | None
    n: int
    subjects: int
    units: int
    note: str | None

    @property
    def seed(self) -> int | None:
        """The seed of a single run, else None."""
        return next(iter(self.values)) if len(self.values) == 1 else None


@dataclass(frozen=True)
class Results:
    """All numbers of a study by place and arm.

    Attributes
    ----------
    entries
        Place -> arm -> number; both in a fixed order, whatever the order of rows.
    missing
        Place -> arm -> why the arm has no number.
    """

    entries: Mapping[Place, Mapping[Arm, Entry]]
    missing: Mapping[Place, Mapping[Arm, str]]

    @classmethod
    def read(cls, metrics: pd.DataFrame, replicates: pd.DataFrame) -> Results:
        """Read tables with the columns of :data:`evaluator.tables.METRICS` and :data:`~evaluator.tables.REPLICATES`."""
        draws = {
            (place, arm, _run(row)): np.asarray(row["values"], np.float64)
            for place, arm, row in _rows(replicates)
        }
        runs: dict[Place, dict[Arm, list[Row]]] = {}
        for place, arm, row in _rows(metrics):
            if place.group != UNKNOWN:
                runs.setdefault(place, {}).setdefault(arm, []).append(row)
        entries: dict[Place, dict[Arm, Entry]] = {}
        missing: dict[Place, dict[Arm, str]] = {}
        for place in sorted(runs, key=lambda place: place.order):
            for arm in sorted(runs[place], key=lambda arm: arm.order):
                rows = sorted(runs[place][arm], key=_run_order)
                good = [row for row in rows if row["status"] == "ok" and number(row["value"]) is not None]
                if good:
                    replicated = [draws.get((place, arm, _run(row)), np.empty(0)) for row in good]
                    entries.setdefault(place, {})[arm] = _entry(
                        place.metric, good, replicated, left_out=len(rows) - len(good)
                    )
                else:
                    reason = text(rows[0]["reason"]) or rows[0]["status"]
                    missing.setdefault(place, {})[arm] = str(reason)
        return cls(entries, missing)

    def models(self) -> tuple[str, ...]:
        """Return the names of all models."""
        found = {arm.model for table in (*self.entries.values(), *self.missing.values()) for arm in table}
        return tuple(sorted(model for model in found if model is not None))

    def check_baseline(self, baseline: str | None) -> None:
        """Raise a :class:`shards.errors.UserError` if a baseline is named that no row is of."""
        if baseline is not None and baseline not in self.models():
            raise unknown_name("baseline model", baseline, self.models())


def _entry(metric: str, rows: Sequence[Row], replicates: Sequence[Array], *, left_out: int) -> Entry:
    notes = [f"{left_out} of {len(rows) + left_out} seeds undefined"] if left_out else []
    seeds = [_seed(row["seed"]) for row in rows]
    if len(set(seeds)) < len(seeds):
        notes.append("several results of one seed, averaged")
    lengths = {len(table) for table in replicates}
    if len(lengths) > 1:
        notes.append("seeds have different numbers of replicates")
        replicates = [np.empty(0)] * len(rows)
    values = np.array([float(row["value"]) for row in rows])
    fair = [
        fair_replicates(metric, value, table)
        for value, table in zip(values.tolist(), replicates, strict=True)
    ]
    by_seed: dict[int | None, list[float]] = {}
    for seed, value in zip(seeds, values.tolist(), strict=True):
        by_seed.setdefault(seed, []).append(value)
    shrunk: list[Any] = [number(row["shrunk"]) for row in rows]
    units = [
        independent_units(
            metric,
            subjects=int(row["n_subjects"]),
            positives=_of_class(row, "pos"),
            negatives=_of_class(row, "neg"),
        )
        for row in rows
    ]
    return Entry(
        mean=combine_seeds(values, np.stack(fair)),
        values={seed: float(np.mean(several)) for seed, several in by_seed.items()},
        shrunk=None if None in shrunk else float(np.mean(shrunk)),
        n=min(int(row["n"]) for row in rows),
        subjects=min(int(row["n_subjects"]) for row in rows),
        units=min(units),
        note="; ".join(notes) or None,
    )


def _of_class(row: Row, side: str) -> int | None:
    """Return the subjects of a class, or its samples where a table does not count subjects; None without two classes."""
    subjects = _seed(row.get(f"n_subjects_{side}"))
    return _seed(row[f"n_{side}"]) if subjects is None else subjects


def matching_baseline(arm: Arm, baselines: Mapping[Arm, float]) -> Arm:
    """Return the baseline's arm that an arm is compared with.

    Parameters
    ----------
    arm
        Any arm.
    baselines
        Arms of the baseline model -> how good they are; not empty.

    Returns
    -------
    Arm
        The one most like it: same usage first, then same mitigation, then same prompt; of equals the best, then the first.
    """

    def like(rival: Arm) -> tuple[bool, bool, bool, float]:
        return (
            rival.usage == arm.usage,
            rival.mitigation == arm.mitigation,
            rival.prompt == arm.prompt,
            baselines[rival],
        )

    return max(sorted(baselines, key=lambda rival: rival.order), key=like)


def table_of(rows: Sequence[Row], schema: pa.Schema) -> pd.DataFrame:
    """Put rows into a fixed schema; what a row does not say is null."""
    import pyarrow as pa

    frame: pd.DataFrame = pa.Table.from_pylist(list(rows), schema=schema).to_pandas()
    return frame


def text(value: Any) -> str | None:
    """Return a cell as text; None where it is null."""
    return None if value is None or value != value else str(value)


def number(value: Any) -> float | None:
    """Return a cell as a finite or infinite number; None where it is null or NaN."""
    return None if value is None or math.isnan(value) else float(value)


def joined(*reasons: str | None) -> str | None:
    """Join what reasons there are."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None


def _seed(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _run(row: Row) -> tuple[int | None, str | None]:
    return _seed(row["seed"]), text(row["task"])


def _run_order(row: Row) -> tuple[bool, int, str]:
    seed, task = _run(row)
    return seed is None, seed or 0, task or ""


def _rows(table: pd.DataFrame) -> Iterator[tuple[Place, Arm, Row]]:
    columns = list(table.columns)
    known: dict[tuple[Any, ...], tuple[Place, Arm]] = {}
    at = [columns.index(name) for name in (*Place._fields, *Arm._fields)] if len(table) else []
    for cells in table.itertuples(index=False, name=None):
        key = tuple(text(cells[place]) for place in at)
        if key not in known:
            cut = len(Place._fields)
            known[key] = Place(*key[:cut]), Arm(*key[cut:])  # type: ignore[arg-type]
        yield *known[key], dict(zip(columns, cells, strict=True))
