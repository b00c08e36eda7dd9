"""FairRay's own tables of predictions and segmentations, as parts of a store or as one flat file, known by their columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.auditing.columns import coded, numbers, shown
from evaluator.auditing.options import Hints, Role
from evaluator.auditing.problems import Problem, Problems
from evaluator.metrics.metric import Array
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_PREDICTIONS = {"sample_id", "subject_id", "split", "target", "label", "scores", "status"}
_SEGMENTATIONS = {"sample_id", "subject_id", "split", "structure", "prompt", "dice", "status"}
_MORE_KEYS = ("task",)


def is_stored(frame: pd.DataFrame) -> bool:
    """Return whether a table has the columns of FairRay's predictions or segmentations."""
    return set(frame.columns) >= _PREDICTIONS or set(frame.columns) >= _SEGMENTATIONS


def stored_columns() -> set[str]:
    """Return the columns of FairRay's own tables, read or not."""
    from evaluator.tables import PREDICTIONS, SEGMENTATIONS

    return {*PREDICTIONS.names, *SEGMENTATIONS.names}


def stored_keys(frame: pd.DataFrame) -> dict[str, str]:
    """Return the keys that only FairRay's tables have."""
    return {name: name for name in _MORE_KEYS if name in frame.columns}


def stored_problems(frame: pd.DataFrame, hints: Hints) -> Problems:
    """Return the targets of FairRay's predictions.

    The order of the classes is that of the numbers in `scores`; it is read off `predicted`, the class with the highest score.

    Raises
    ------
    UserError
        If that does not tell the order.
    """
    targets = coded(frame["target"])
    asked = [name for name in targets.values if not hints.target or name in hints.target]
    if hints.target and len(asked) < len(hints.target):
        missing = [name for name in hints.target if name not in asked]
        raise UserError(f"target {shown(missing)} is not in the table (found: {shown(targets.values)}).")
    items = tuple(_problem(name, frame[targets.codes == targets.values.index(name)], hints) for name in asked)
    said = (Role("target", ("target",), f"FairRay's table of predictions: {shown(asked)}", "--target"),)
    return Problems(items, "target", None, "status", said)


def _problem(name: str, rows: pd.DataFrame, hints: Hints) -> Problem:
    scores = list_matrix(rows["scores"])
    known = np.isfinite(scores).all(axis=1) if scores.size else np.zeros(len(rows), bool)
    classes = hints.classes or _order(name, rows.iloc[np.flatnonzero(known)], scores[known])
    if "score" not in rows.columns or len(classes) != 2:
        return Problem(name, "label", ("scores",), classes)
    single = numbers(rows["score"]).values[known]
    distance = np.abs(scores[known] - single[:, None])
    if not len(single) or np.isnan(single).any():
        return Problem(name, "label", ("scores",), classes)
    return Problem(name, "label", ("scores",), classes, positive=classes[int(distance.mean(axis=0).argmin())])


def _order(name: str, rows: pd.DataFrame, scores: Array) -> tuple[str, ...]:
    """Read the order of the classes off the predicted ones."""
    predicted, label = coded(rows["predicted"]), coded(rows["label"])
    top = scores.argmax(axis=1) if scores.size else np.zeros(0, np.int64)
    order: list[str | None] = []
    for place in range(scores.shape[1] if scores.ndim == 2 else 0):
        said = np.unique(predicted.codes[(top == place) & (predicted.codes >= 0)])
        order.append(predicted.values[said[0]] if len(said) == 1 else None)
    left = [value for value in sorted({*predicted.values, *label.values}) if value not in order]
    if order.count(None) == 1 and len(left) == 1:
        order[order.index(None)] = left[0]
    if not order or None in order or len(set(order)) < len(order):
        known = shown(sorted({*predicted.values, *label.values}))
        raise UserError(
            f"the table does not tell the order of the classes of {name!r} ({known}):"
            " give them in the order of the numbers in 'scores' with --classes."
        )
    return tuple(str(value) for value in order)


def list_matrix(column: pd.Series[Any]) -> Array:
    """Return a column of lists, or of texts such as ``[0.2, 0.8]``, as ``[n, width]`` with NaN in rows without one.

    Raises
    ------
    UserError
        If a text is no list or lists differ in length.
    """
    here = column.notna().to_numpy(bool, copy=True)
    known = column[here]
    if len(known) and isinstance(known.iloc[0], str):
        written = known.str.strip() != ""
        here[here] = written.to_numpy(bool)
        try:
            lists = json.loads(
                "[" + ",".join(known[written]).replace("nan", "NaN").replace("NULL", "null") + "]"
            )
        except ValueError:
            raise UserError(
                f"column {column.name!r} must hold lists of numbers such as [0.2, 0.8]."
            ) from None
    else:
        lists = known.tolist()
    widths = {len(values) if hasattr(values, "__len__") else 0 for values in lists}
    if len(widths) > 1:
        raise UserError(
            f"column {column.name!r} must hold lists of one length, got lengths {sorted(widths)}."
        )
    matrix = np.full((len(column), widths.pop() if widths else 0), np.nan)
    if lists:
        matrix[here] = np.array(lists, dtype=np.float64)
    return matrix
