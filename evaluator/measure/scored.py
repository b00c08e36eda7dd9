"""True classes and scores out of a table of predictions, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.classification import Scored
from evaluator.metrics.metric import Array
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from shards.card import Target

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Reading:
    """The rows of a table that can be measured.

    Attributes
    ----------
    data
        Their true classes and scores. Where only decisions are known, the decided class has score 1.
    measured
        ``[n]`` which rows of the table they are.
    failed
        ``[n]`` rows that should have been measured and have no number for a score.
    decided_only
        Whether there are decisions and no scores in the whole table.
    """

    data: Scored
    measured: Mask
    failed: Mask
    decided_only: bool


def read_scored(rows: pd.DataFrame, target: Target, usable: Mask, *, decided_only: bool) -> Reading:
    """Read labels and scores.

    Parameters
    ----------
    rows
        Columns `label`, and `score` or `scores` (or `predicted` if `decided_only`).
    target
        Its classes; a class name outside them is refused.
    usable
        ``[n]`` rows whose status lets them be measured.
    decided_only
        Whether only `predicted` is known, see :func:`has_scores`.

    Raises
    ------
    UserError
        If a label or decision is no class of the target, or a score is not a fraction.
    """
    label = _codes(rows["label"], target)
    if decided_only:
        decided = _codes(rows["predicted"], target)
        scores = np.where(decided[:, None] >= 0, np.arange(len(target.classes)) == decided[:, None], np.nan)
    else:
        scores = _score_matrix(rows, target)
    finite = np.isfinite(scores).all(axis=1)
    measured = (label >= 0) & usable & finite
    chosen = scores if measured.all() else scores[measured]
    _require_fractions(chosen, target)
    binary = target.positive is not None and len(target.classes) == 2
    positive = target.classes.index(target.positive) if binary and target.positive is not None else None
    data = Scored(label[measured], np.clip(chosen, 0.0, 1.0), positive)
    return Reading(data, measured, usable & ~finite, decided_only)


def has_scores(frame: pd.DataFrame) -> bool:
    """Say whether a table of predictions holds any score."""
    return any(name in frame.columns and frame[name].notna().any() for name in ("score", "scores"))


def _codes(column: pd.Series[Any], target: Target) -> NDArray[np.int64]:
    """Return the class of each row, -1 where unknown."""
    import pandas as pd

    codes, names = pd.factorize(column, use_na_sentinel=True)
    position = {name: code for code, name in enumerate(target.classes)}
    strangers = sorted(str(name) for name in names if str(name) not in position)
    if strangers:
        raise unknown_name(f"class of target {target.name!r}:", strangers[0], target.classes)
    mapped = np.array([*(position[str(name)] for name in names), -1], np.int64)
    return mapped[codes]


def _score_matrix(rows: pd.DataFrame, target: Target) -> Array:
    """``[n, C]`` float64 scores, NaN where a row has none; a single `score` completes itself for two classes."""
    width = len(target.classes)
    matrix = np.full((len(rows), width), np.nan)
    listed = np.zeros(len(rows), bool)
    if "scores" in rows.columns:
        listed = rows["scores"].notna().to_numpy(bool)
        lists = rows["scores"].to_numpy(object)[listed]
        lengths = np.array([len(scores) for scores in lists], np.int64)
        if (lengths != width).any():
            wrong = int(np.flatnonzero(lengths != width)[0])
            sample = rows["sample_id"].to_numpy(object)[listed][wrong]
            raise UserError(
                f"scores of target {target.name!r} must have {width} numbers per row ({', '.join(target.classes)}), got"
                f" {lengths[wrong]} for sample {sample!r}."
            )
        if len(lists):
            matrix[listed] = np.stack([np.asarray(scores, np.float64) for scores in lists])
    if width == 2 and target.positive is not None and "score" in rows.columns:
        place = target.classes.index(target.positive)
        single = rows["score"].to_numpy(np.float64, na_value=np.nan)
        matrix[~listed, place], matrix[~listed, 1 - place] = single[~listed], 1.0 - single[~listed]
    return matrix


def _require_fractions(scores: Array, target: Target) -> None:
    if scores.size and (scores.min() < -1e-6 or scores.max() > 1 + 1e-6):
        raise UserError(
            f"scores of target {target.name!r} must be fractions in [0, 1], got {scores.min():g} to {scores.max():g}."
            " Give probabilities, not percentages or logits."
        )
