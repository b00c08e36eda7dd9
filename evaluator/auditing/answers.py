"""True classes and scores of one target, read from the table's columns and checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.auditing.columns import coded, is_list, numbers, shown
from evaluator.auditing.logits import cautions, ordered_sigmoid, ordered_softmax
from evaluator.auditing.names import normal
from evaluator.auditing.options import Hints
from evaluator.auditing.problems import Problem
from evaluator.auditing.stored import list_matrix
from evaluator.auditing.targets import Classes, decide_classes
from evaluator.metrics.metric import Array
from shards.card import Target
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answers:
    """What is true and what was predicted, for every row of the table.

    Attributes
    ----------
    target
        Its classes; of two, one is of interest.
    label
        ``[n]`` true class, None where unknown.
    scores
        ``[n]`` score of the class of interest, or ``[n, C]``; in [0, 1], NaN where a row has none. None where there are only
        predicted classes.
    predicted
        ``[n]`` predicted class, None where unknown; None where there are scores.
    """

    target: Target
    label: NDArray[Any]
    scores: Array | None = None
    predicted: NDArray[Any] | None = None

    def rows(self, chosen: NDArray[np.int64]) -> dict[str, Any]:
        """Return `label`, `predicted`, `score` or `scores`, `status` and `reason` of some rows."""
        label, answer = self.label[chosen], self._answer(chosen)
        name, values = next(iter(answer.items()))
        if name == "predicted":
            bad = np.array([value is None for value in values], bool)
        else:
            bad = ~np.isfinite(values if name == "score" else np.sum(values, axis=1))
        unlabelled = np.array([value is None for value in label], bool)
        status = np.where(unlabelled, "no_target", np.where(bad, "no_score", "ok"))
        reason = np.full(len(label), None, dtype=object)
        reason[bad] = "no predicted class" if name == "predicted" else "the score is empty or not a number"
        reason[unlabelled] = "no true class"
        return {"label": label, "predicted": None, **answer, "status": status, "reason": reason}

    def _answer(self, chosen: NDArray[np.int64]) -> dict[str, Any]:
        if self.scores is None:
            return {"predicted": None if self.predicted is None else self.predicted[chosen]}
        scores = self.scores[chosen]
        return {"score": scores} if scores.ndim == 1 else {"scores": list(scores)}


@dataclass
class Remarks:
    """Sentences about targets, gathered while they are read; the same sentence is said once, with all it is about."""

    about: dict[str, list[str]] = field(default_factory=dict)

    def add(self, target: str, sentence: str) -> None:
        """Remember a sentence about a target."""
        names = self.about.setdefault(sentence, [])
        if target not in names:
            names.append(target)

    def sentences(self) -> tuple[str, ...]:
        """Return all sentences in the order they came up."""
        return tuple(f"{shown(names, 4)}: {sentence}" for sentence, names in self.about.items())


def answers_of(
    frame: pd.DataFrame, problem: Problem, hints: Hints, rows: slice | NDArray[np.bool_], remarks: Remarks
) -> Answers:
    """Read one problem's columns.

    Parameters
    ----------
    frame, problem, hints
        Where and what to read.
    rows
        Which rows are about this target; its classes are those found there.
    remarks
        Takes what people should know.

    Raises
    ------
    UserError
        If classes or scores cannot be read.
    """
    label = coded(frame[problem.label])
    here = np.unique(label.codes[rows])
    found = [label.values[code] for code in here if code >= 0]
    if problem.pred is not None:
        return _from_classes(frame, problem, hints, found, remarks)
    asked = hints.positive if hints.positive is not None else problem.positive
    problem = _with_classes(frame, problem, found)
    classes = decide_classes(problem.name, found, scored=problem.classes, asked=asked)
    if hints.positive is None and problem.positive is not None:
        classes = classes._replace(why="whose probability is in 'score'")
    _remark_classes(classes, remarks)
    scores = _scores(frame, problem, classes, hints, rows, remarks)
    return Answers(classes.target, _as_classes(label.values, label.codes, classes), scores)


def _remark_classes(classes: Classes, remarks: Remarks) -> None:
    target = classes.target
    if target.positive is not None:
        remarks.add(target.name, f"the class of interest is {target.positive!r}, {classes.why} (--positive)")
    else:
        remarks.add(target.name, f"{len(target.classes)} classes: {shown(target.classes)}")


def _as_classes(values: tuple[str, ...], codes: NDArray[np.int64], classes: Classes) -> NDArray[Any]:
    return np.array([*(classes.of_value.get(value) for value in values), None], dtype=object)[codes]


def _scores(
    frame: pd.DataFrame,
    problem: Problem,
    classes: Classes,
    hints: Hints,
    rows: slice | NDArray[np.bool_],
    remarks: Remarks,
) -> Array:
    target = classes.target
    matrix = _matrix(frame, problem, rows)
    matrix = np.where(
        np.isfinite(matrix), matrix, np.nan
    )  # an infinite score is none; clipped it would be certainty
    logits = hints.logits or all(_is_logit(column) for column in problem.scores)
    if logits:
        how = "sigmoid" if matrix.shape[1] == 1 else "softmax"
        told = "--logits" if hints.logits else "named logit"
        remarks.add(target.name, f"logits became probabilities by {how}, their order kept ({told})")
        if matrix.shape[1] == 1:
            for caution in cautions(matrix[rows][:, 0]):
                remarks.add(target.name, caution)
            matrix = ordered_sigmoid(matrix[:, 0])[:, None]
        else:
            matrix = ordered_softmax(matrix)
    _check_range(matrix[rows], problem)
    matrix = np.clip(matrix, 0.0, 1.0)
    width = matrix.shape[1]
    if width > 1 and not logits:
        off = np.abs(matrix[rows].sum(axis=1) - 1.0) > 0.01
        if off.any():
            remarks.add(
                target.name,
                f"the scores of {int(off.sum()):,} rows do not sum to 1; they are taken as they are",
            )
    if target.positive is None:
        return matrix
    if width == 1:
        return np.ascontiguousarray(matrix[:, 0])
    return np.ascontiguousarray(matrix[:, problem.classes.index(target.positive)])


def _is_logit(column: str) -> bool:
    return not {"logit", "logits"}.isdisjoint(normal(column).split("_"))


def _with_classes(frame: pd.DataFrame, problem: Problem, found: list[str]) -> Problem:
    """Name the classes of a column of lists, where the true classes are numbers from 0 that fit its width."""
    if problem.classes or len(problem.scores) != 1 or not is_list(frame[problem.scores[0]]):
        return problem
    width = list_matrix(frame[problem.scores[0]]).shape[1]
    numbered = tuple(str(place) for place in range(width))
    if width > 1 and not set(found) <= set(numbered):
        raise UserError(
            f"column {problem.scores[0]!r} holds {width} scores per row and classes are called {shown(found)}: give the"
            " classes in the order of the scores with --classes."
        )
    return replace(problem, classes=numbered) if width > 1 else problem


def _matrix(frame: pd.DataFrame, problem: Problem, rows: slice | NDArray[np.bool_]) -> Array:
    """``[n, width]`` scores as they stand in the table, NaN in rows of other targets where these are lists."""
    if len(problem.scores) == 1 and is_list(frame[problem.scores[0]]):
        mine = list_matrix(frame[problem.scores[0]][rows])  # another target has another number of classes
        matrix = np.full((len(frame), mine.shape[1]), np.nan)
        matrix[rows] = mine
        expected = len(problem.classes) or matrix.shape[1]
        if matrix.shape[1] != expected:
            raise UserError(
                f"column {problem.scores[0]!r} must hold {expected} scores per row ({shown(problem.classes)}), got"
                f" {matrix.shape[1]}."
            )
        return matrix
    columns = []
    for name in problem.scores:
        read = numbers(frame[name])
        if read.strangers:
            raise UserError(
                f"score column {name!r} must hold numbers, found {shown(read.strangers)}. Predicted classes are named with"
                " --pred."
            )
        columns.append(read.values)
    return np.stack(columns, axis=1)


def _check_range(matrix: Array, problem: Problem) -> None:
    finite = matrix[np.isfinite(matrix)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= -1e-6 and high <= 1 + 1e-6:
        return
    if low >= 0 and high <= 100:
        hint = "If they are percentages, divide them by 100: fractions are expected."
    else:
        hint = "If they are logits, say --logits."
    raise UserError(
        f"scores {shown(problem.scores)} must be probabilities in [0, 1], got {low:g} to {high:g}. {hint}"
    )


def _from_classes(
    frame: pd.DataFrame, problem: Problem, hints: Hints, found: list[str], remarks: Remarks
) -> Answers:
    """Read predicted classes; nothing that needs scores is ever made of them."""
    label, pred = coded(frame[problem.label]), coded(frame[str(problem.pred)])
    if found and pred.values and not set(found) & set(pred.values):
        raise UserError(
            f"predicted classes in {problem.pred!r} ({shown(pred.values)}) are none of the true ones in {problem.label!r}"
            f" ({shown(found)}). Spell them alike, or name scores with --score."
        )
    every = sorted({*found, *pred.values}, key=[*label.values, *pred.values].index)
    scored = tuple(every) if len(every) > 2 else ()
    classes = decide_classes(problem.name, every, scored=scored, asked=hints.positive)
    _remark_classes(classes, remarks)
    remarks.add(
        classes.target.name,
        "predicted classes without scores: what needs scores (AUC, calibration) is not defined",
    )
    truth, predicted = (_as_classes(c.values, c.codes, classes) for c in (label, pred))
    return Answers(classes.target, truth, predicted=predicted)
