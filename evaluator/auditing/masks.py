"""Scores of masks: which columns hold which metric, and of which structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluator.auditing import names
from evaluator.auditing.columns import is_number, numbers, shown
from evaluator.auditing.options import Hints, Role
from evaluator.metrics.per_subject import MASK_METRICS
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_FRACTIONS = ("dice", "iou", "nsd")


@dataclass(frozen=True)
class MaskScores:
    """Columns with the scores of one structure's masks.

    Attributes
    ----------
    columns
        Metric -> column.
    structure
        Its name where several structures stand side by side, else None.
    """

    columns: Mapping[str, str]
    structure: str | None = None


def find_masks(
    frame: pd.DataFrame, hints: Hints, taken: set[str]
) -> tuple[tuple[MaskScores, ...], tuple[Role, ...]]:
    """Return the scores of masks in a table, one item per structure that stands side by side; nothing where there are none.

    Raises
    ------
    UserError
        If two columns hold the same metric, or a share is not in [0, 1].
    """
    words = {metric: spelled for metric, spelled in names.MASKS.items() if metric in MASK_METRICS}
    wanted = hints.score or tuple(frame.columns)
    every = [word for spelled in words.values() for word in spelled]
    untaken = [column for column in frame.columns if column not in taken and column in wanted]
    called = {*names.named(untaken, every), *(affix.column for affix in names.affixed(untaken, every))}
    free = [column for column in untaken if column in called and is_number(frame[column])]
    side_by_side = "structure" not in frame.columns
    found: dict[str | None, dict[str, str]] = {}
    for metric, spelled in words.items():
        columns = names.named(free, spelled)
        if len(columns) > 1:
            raise UserError(f"several columns hold {metric}: {shown(columns)}. Name one with --score.")
        if columns:
            found.setdefault(None, {})[metric] = columns[0]
        for affix in names.affixed(free, spelled) if side_by_side else ():
            if not any(affix.column in names.named(free, other) for other in words.values()):
                found.setdefault(affix.rest, {})[metric] = affix.column
    items = tuple(
        MaskScores(columns, structure)
        for structure, columns in found.items()
        if {"dice", "iou"} & set(columns)
    )
    for item in items:
        _check(frame, item)
    if not items:
        return (), ()
    used = tuple(column for item in items for column in item.columns.values())
    said = [Role("masks' scores", used, "named like them", "--score")]
    structures = tuple(item.structure for item in items if item.structure is not None)
    if structures:
        said.append(
            Role(
                "structure",
                structures,
                "what the columns' names add: several structures side by side",
                "--score",
            )
        )
    return items, tuple(said)


def _check(frame: pd.DataFrame, item: MaskScores) -> None:
    for metric, column in item.columns.items():
        values = numbers(frame[column]).values
        low, high = _range(values)
        if low < 0 or (metric in _FRACTIONS and high > 1):
            expected = "fractions in [0, 1]" if metric in _FRACTIONS else "0 or more"
            hint = (
                " They look like percentages: divide them by 100."
                if metric in _FRACTIONS and 1 < high <= 100
                else ""
            )
            raise UserError(f"column {column!r} must hold {expected}, got {low:g} to {high:g}.{hint}")


def _range(values: object) -> tuple[float, float]:
    import numpy as np

    finite = np.asarray(values)[np.isfinite(np.asarray(values))]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
