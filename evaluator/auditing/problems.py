"""What is predicted in a table: which columns are true classes, which their scores, and how they belong together.

One table can hold one problem in one or several columns, several models side by side, several labels side by side, or one row
per class, target or model. What cannot be told apart is an error that names the candidates.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluator.auditing import names
from evaluator.auditing.columns import coded, is_list, is_number, numbers, shown
from evaluator.auditing.names import Affixed
from evaluator.auditing.options import Hints, Role
from evaluator.auditing.questions import Missing
from evaluator.auditing.roles import require
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: More classes than this are taken for ids or measurements.
MOST_CLASSES = 50


@dataclass(frozen=True)
class Problem:
    """A target with the columns of one model's answers.

    Attributes
    ----------
    name
        Of the target.
    label
        Column of the true class.
    scores
        Column of the class of interest's score, or one per class; a single column of lists counts as one per class. Empty where
        there are only predicted classes.
    classes
        Class of each score column, or the order of the numbers in a list; empty where a single column does not say.
    pred
        Column of the predicted class, where it is all there is.
    model
        Name of the model, where several stand side by side.
    positive
        The class of interest, where the table says it.
    """

    name: str
    label: str
    scores: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    pred: str | None = None
    model: str | None = None
    positive: str | None = None


@dataclass(frozen=True)
class Problems:
    """All problems of a table.

    Attributes
    ----------
    items
        At least one.
    target_column, class_column, status_column
        Columns that name the target, the class whose score a row holds, or the row's status; None where there is none.
    said
        What was taken for what.
    """

    items: tuple[Problem, ...]
    target_column: str | None = None
    class_column: str | None = None
    status_column: str | None = None
    said: tuple[Role, ...] = ()


def find_problems(frame: pd.DataFrame, hints: Hints, taken: set[str]) -> Problems:
    """Find what is predicted, in columns that have no other role.

    Raises
    ------
    UserError
        If nothing is, or several readings are possible.
    """
    free = [column for column in frame.columns if column not in taken]
    require(frame, hints.target, "--target")
    given = _expand(frame, hints.score, "--score")
    preds = _expand(frame, hints.pred, "--pred")
    if len(hints.target) > 1:
        return _several_targets(frame, hints.target, given or _score_columns(frame, free), preds)
    if not hints.target:
        pairs = _pairs(frame, given or _score_columns(frame, free), free)
        if pairs is not None:
            return pairs
    label, second, said = _label(frame, hints, [c for c in free if c not in {*given, *preds}])
    rest = [column for column in free if column != label]
    if second is None and preds:
        return _labels_only(frame, label, preds, said, "given")
    scores = given or _scores_of(label, _score_columns(frame, rest), rest)
    if scores and all(_is_empty(frame[column]) for column in scores):
        raise UserError(
            f"no cell of {shown(scores)} holds a number, so there is nothing to measure. Fill in the scores, or name another"
            " column with --score."
        )
    if not scores:
        found = preds or [
            *names.named(rest, names.PRED),
            *(a.column for a in names.affixed(rest, names.PRED)),
        ]
        if not found:
            likely = [column for column in rest if _has_fractions(frame[column])]
            raise Missing(
                f"no column holds the scores for {label!r}: name it with --score (or predicted classes with --pred)."
                f"{_called_like_scores(frame, rest)} Columns: {shown(list(frame.columns), 20)}.",
                ("--score", *(likely[:1] or ["COLUMN"])),
            )
        return _labels_only(frame, label, found, said, "named like predicted classes; there are no scores")
    return _one_label(frame, hints, label, second, scores, rest, said, "given" if given else "")


def _expand(frame: pd.DataFrame, patterns: Sequence[str], option: str) -> list[str]:
    """Return the columns that are named or match a pattern."""
    found: list[str] = []
    for pattern in patterns:
        matches = [pattern] if pattern in frame.columns else fnmatch.filter(frame.columns, pattern)
        if not matches:
            require(frame, [pattern], option)
        found += [column for column in matches if column not in found]
    return found


def _score_columns(frame: pd.DataFrame, free: Sequence[str]) -> list[str]:
    """Return the columns that are called like scores and hold numbers, or predictions that are plainly scores."""
    called = {*names.named(free, names.SCORE), *(a.column for a in names.affixed(free, names.SCORE))}
    masks = {column for words in names.MASKS.values() for column in names.named(free, words)}
    scores = [c for c in free if c in called - masks and (is_number(frame[c]) or is_list(frame[c]))]
    if not scores:
        hard = {*names.named(free, names.PRED), *(a.column for a in names.affixed(free, names.PRED))}
        scores = [column for column in free if column in hard and _has_fractions(frame[column])]
    return scores


def _called_like_scores(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """Say why columns that are called like scores hold none; empty text where there is none."""
    called = [*names.named(columns, names.SCORE), *(a.column for a in names.affixed(columns, names.SCORE))]
    told = [
        f"{column!r} holds {read.strangers[0]!r}, which is no number"
        if read.strangers
        else f"{column!r} is empty"
        for column in called
        for read in [numbers(frame[column])]
        if read.strangers or _is_empty(frame[column])
    ]
    return f" {'; '.join(told[:3])}." if told else ""


def _is_empty(column: pd.Series[Any]) -> bool:
    """Return whether no cell holds anything but spellings of not known."""
    if is_list(column):
        return False
    read = numbers(column)
    return not read.strangers and not bool((read.values == read.values).any())


def _scores_of(label: str, scores: Sequence[str], free: Sequence[str]) -> list[str]:
    """Leave out scores that bear the name of another column; a score of the label's own name is the one."""
    rests = {affix.column: affix.rest for affix in _affixes(scores)}
    own = [column for column in scores if names.same(rests.get(column, ""), label)]
    others = [c for c in scores if any(names.same(rests.get(c, ""), other) for other in free if other != c)]
    return own or [column for column in scores if column not in others]


def _has_fractions(column: pd.Series[float]) -> bool:
    if is_list(column) or not is_number(column):
        return False
    values = numbers(column).values
    return bool(((values > 0) & (values < 1)).any())


def _pairs(frame: pd.DataFrame, scores: Sequence[str], free: Sequence[str]) -> Problems | None:
    """Return several labels side by side, each with a score of its own: ``nodule`` and ``score_nodule``."""
    found = [(a, [c for c in free if c != a.column and names.same(c, a.rest)]) for a in _affixes(scores)]
    paired = [(affix, labels[0]) for affix, labels in found if labels]
    if not paired:
        return None
    alone = [column for column in scores if column not in {affix.column for affix, _ in paired}]
    others = names.named([c for c in free if c not in {label for _, label in paired}], names.LABEL)
    if alone or others:
        raise UserError(
            f"some scores belong to a column of their own name ({shown([label for _, label in paired])}), others do not"
            f" ({shown([*alone, *others])}). Name what is predicted with --target and --score."
        )
    items = tuple(Problem(label, label, (affix.column,)) for affix, label in paired)
    labels, columns = tuple(p.label for p in items), tuple(p.scores[0] for p in items)
    why = "each has a score of its own name" + ("" if len(items) == 1 else ": several findings per sample")
    return Problems(
        items, said=(Role("label", labels, why, "--target"), Role("score", columns, "by name", "--score"))
    )


def _affixes(columns: Sequence[str]) -> list[Affixed]:
    return names.affixed(columns, [*names.SCORE, *names.PRED])


def _several_targets(
    frame: pd.DataFrame, targets: Sequence[str], scores: Sequence[str], preds: Sequence[str]
) -> Problems:
    answers = preds or [column for column in scores if column not in targets]
    rests = {affix.column: affix.rest for affix in names.affixed(answers, [*names.SCORE, *names.PRED])}
    by_name = {
        target: [column for column in answers if names.same(rests.get(column, column), target)]
        for target in targets
    }
    if all(len(columns) == 1 for columns in by_name.values()):
        chosen, why = [columns[0] for columns in by_name.values()], "by name"
    elif len(answers) == len(targets):
        chosen, why = list(answers), "in the order given"
    else:
        missing = [target for target, columns in by_name.items() if len(columns) != 1]
        raise UserError(
            f"each target needs one column of scores; found none or several for {shown(missing)} among"
            f" {shown(answers) or 'none'}. Give as many --score as --target, in the same order."
        )
    kind, option = ("predicted class", "--pred") if preds else ("score", "--score")
    items = tuple(
        Problem(t, t, pred=c) if preds else Problem(t, t, (c,)) for t, c in zip(targets, chosen, strict=True)
    )
    said = (Role("label", tuple(targets), "given", "--target"), Role(kind, tuple(chosen), why, option))
    return Problems(items, said=said)


def _label(
    frame: pd.DataFrame, hints: Hints, free: Sequence[str]
) -> tuple[str, str | None, tuple[Role, ...]]:
    """Return the column of true classes, and the one that names targets in a long table."""
    first = list(hints.target) or names.named(free, names.LABEL)
    second = [c for c in names.named(free, names.LABEL_SECOND) if c not in first]
    if len(first) > 1:
        raise _several_labels(first)
    if first:
        long = [
            c for c in names.named(free, names.TARGET_NAMES) if c != first[0] and _names_targets(frame[c])
        ]
        if len(long) > 1:
            raise UserError(
                f"several columns could name what is predicted: {shown(long)}. Drop all but one of them."
            )
        why = "given" if hints.target else "named like the true class"
        left = [c for c in second if c not in long and normal_class(c)]
        said = [
            Role("label", (first[0],), why + (f" ({shown(left)} left aside)" if left else ""), "--target")
        ]
        if long:
            said.append(
                Role(
                    "target",
                    (long[0],),
                    f"names what is predicted: {shown(coded(frame[long[0]]).values, 6)}",
                    "",
                )
            )
        return first[0], long[0] if long else None, tuple(said)
    if len(second) > 1:
        raise _several_labels(second)
    if not second:
        likely = [
            c for c in free if c not in _score_columns(frame, free) and len(coded(frame[c]).values) == 2
        ]
        raise Missing(
            "no column holds the true class: name it with --target (several for several findings). Columns:"
            f" {shown(list(frame.columns), 20)}.",
            ("--target", *(likely[:1] or ["COLUMN"])),
        )
    return second[0], None, (Role("label", (second[0],), "named like the true class", "--target"),)


def _several_labels(columns: Sequence[str]) -> Missing:
    told = f"several columns could hold the true class: {shown(columns)}. Name it with --target."
    return Missing(told, ("--target", columns[0]))


def normal_class(column: str) -> bool:
    """Return whether a column is not one that names the class of a row's score."""
    return names.normal(column) not in names.CLASS_NAMES


def _names_targets(column: pd.Series[str]) -> bool:
    values = coded(column).values
    return 0 < len(values) <= MOST_CLASSES and not is_number(column)


def _labels_only(
    frame: pd.DataFrame, label: str, preds: Sequence[str], said: tuple[Role, ...], why: str
) -> Problems:
    rests = {affix.column: affix.rest for affix in names.affixed(preds, names.PRED)}
    several = len(preds) > 1
    items = tuple(Problem(label, label, pred=c, model=rests.get(c, c) if several else None) for c in preds)
    return Problems(items, said=(*said, Role("predicted class", tuple(preds), why, "--pred")))


def _one_label(
    frame: pd.DataFrame,
    hints: Hints,
    label: str,
    target_column: str | None,
    scores: Sequence[str],
    rest: Sequence[str],
    said: tuple[Role, ...],
    why: str,
) -> Problems:
    """Tell whether the score columns of one label are one model's, one per class, or one per model."""
    by_row = [c for c in names.named(rest, names.CLASS_NAMES) if c not in scores]
    affixes = {affix.column: affix.rest for affix in _affixes(scores)}
    if not why:
        scores = _agreed(frame, scores, affixes)
    several = "named like scores" if len(scores) > 1 else "named like a score"
    said = (*said, Role("score", tuple(scores), why or several, "--score"))
    if len(scores) == 1 and by_row and not hints.classes:
        held = Role("class", (by_row[0],), "names the class whose score a row holds", "")
        item = Problem(label, label, tuple(scores))
        return Problems((item,), target_column, by_row[0], said=(*said, held))
    classes, whence = _given_classes(frame, scores, hints), "given"
    rests = [affixes.get(column, column) for column in scores]
    if classes is None and (len(scores) > 1 or scores[0] in affixes):
        classes, whence = _classes(scores, rests, coded(frame[label]).values), "one score each"
    if classes is not None:
        told = Role("classes", classes, whence, "--classes")
        return Problems((Problem(label, label, tuple(scores), classes),), target_column, said=(*said, told))
    if len(scores) == 1:
        return Problems((Problem(label, label, tuple(scores)),), target_column, said=said)
    models = tuple(Problem(label, label, (c,), model=r) for c, r in zip(scores, rests, strict=True))
    told = Role("model", tuple(rests), "one score column each: several models side by side", "--score")
    return Problems(models, target_column, said=(*said, told))


def _agreed(frame: pd.DataFrame, scores: Sequence[str], affixes: Mapping[str, str]) -> Sequence[str]:
    """Return guessed score columns that can stand together: one alone, or all with something added to the word."""
    plain = [column for column in scores if column not in affixes]
    lists = [column for column in plain if is_list(frame[column])]
    if len(plain) > 1 and len(lists) == 1:
        plain = lists
    elif len(plain) > 1 or (plain and len(scores) > 1):
        told = f"several columns could be the score: {shown(list(scores))}. Name it with --score."
        raise Missing(told, ("--score", plain[0]))
    return plain or scores


def _given_classes(frame: pd.DataFrame, scores: Sequence[str], hints: Hints) -> tuple[str, ...] | None:
    """Return the classes that were given, where these columns hold a score for each."""
    if not hints.classes:
        return None
    if len(scores) == 1 and is_list(frame[scores[0]]):
        return hints.classes
    if len(scores) != len(hints.classes):
        raise UserError(
            f"--classes must name one class for each score column ({shown(list(scores))}), got {shown(hints.classes)}."
        )
    return hints.classes


def _classes(scores: Sequence[str], rests: Sequence[str], found: Sequence[str]) -> tuple[str, ...] | None:
    """Return the class of each score column, or None where the columns are not called like classes."""
    match = [next((value for value in found if names.same(value, rest)), None) for rest in rests]
    hits = [value for value in match if value is not None]
    if not hits:
        if len(rests) > 1 and sorted(rests) == [str(i) for i in range(len(rests))]:
            raise UserError(
                f"score columns {shown(list(scores))} are numbered, classes are called {shown(list(found))}: give the"
                " classes in the order of the columns with --classes."
            )
        return None
    lacking = [value for value in found if value not in hits]
    if len(rests) > 1 and lacking:
        raise UserError(
            f"score columns {shown(list(scores))} are called like classes, but {shown(lacking)} has none. Add its scores, or"
            " name the columns with --score and --classes."
        )
    return tuple(value if value is not None else rest for value, rest in zip(match, rests, strict=True))
