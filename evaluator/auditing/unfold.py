"""Tables with one row per class, unfolded to one row per sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from evaluator.auditing.columns import coded, numbers, shown
from evaluator.auditing.options import Role
from evaluator.auditing.problems import MOST_CLASSES, Problems
from evaluator.auditing.roles import Roles
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_TRUTH = ({"0", "1"}, {"0"}, {"1"}, {"False", "True"}, {"False"}, {"True"})


def unfold(
    frame: pd.DataFrame, problems: Problems, roles: Roles, keys: Mapping[str, str]
) -> tuple[pd.DataFrame, Problems]:
    """Return a table with one row per sample, model and target, and the problems in its columns.

    A label of 0 and 1 says for each class whether it is there: then every class is a target of its own. Otherwise the label
    names the true class, and the scores of a sample's rows become columns.

    Raises
    ------
    UserError
        If a sample's class has no or two scores, or its label differs between its rows.
    """
    if problems.class_column is None:
        return frame, problems
    item = problems.items[0]
    classes = coded(frame[problems.class_column])
    if set(coded(frame[item.label]).values) in _TRUTH and set(classes.values) not in _TRUTH:
        told = Role(
            "target", (problems.class_column,), "the label says for each class whether it is there", ""
        )
        said = tuple(role for role in problems.said if role.role != "class")
        return frame, replace(
            problems, target_column=problems.class_column, class_column=None, said=(*said, told)
        )
    if len(classes.values) > MOST_CLASSES or (classes.codes < 0).any():
        raise UserError(
            f"column {problems.class_column!r} must name one of at most {MOST_CLASSES} classes in every row."
        )
    if roles.sample is None:
        raise UserError("a table with one row per class needs a column of sample ids. Name it with --sample.")
    identity = [roles.sample, *keys.values(), *filter(None, [problems.target_column])]
    row = frame.groupby(identity, sort=False, dropna=False).ngroup().to_numpy()
    width = len(classes.values)
    counts = np.bincount(row * width + classes.codes, minlength=(int(row.max()) + 1) * width)
    if (counts != 1).any():
        bad = frame[roles.sample].iloc[int(np.flatnonzero(row == np.flatnonzero(counts != 1)[0] // width)[0])]
        raise UserError(
            f"every sample must have one row for each of the classes {shown(classes.values)}; sample {str(bad)!r} has not."
        )
    labels = frame.assign(_row=row).groupby("_row")[item.label].nunique()
    if (labels > 1).any():
        many = int((labels > 1).sum())
        raise UserError(
            f"column {item.label!r} must say the same in all rows of a sample; for {many} it differs."
        )
    scores = np.full((int(row.max()) + 1, width), np.nan)
    read = numbers(frame[item.scores[0]])
    if read.strangers:
        raise UserError(f"column {item.scores[0]!r} must hold numbers, found {shown(read.strangers)}.")
    scores[row, classes.codes] = read.values
    first = np.unique(row, return_index=True)[1]
    names = tuple(f"{item.scores[0]} of {value}" for value in classes.values)
    kept = frame.iloc[first].reset_index(drop=True).assign(**dict(zip(names, scores.T, strict=True)))
    wide = replace(item, scores=names, classes=classes.values)
    return kept, replace(problems, items=(wide,), class_column=None)
