"""The classes of a target, and which of two is the one of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluator.auditing.columns import like_values, shown
from evaluator.auditing.names import NEGATIVE, POSITIVE
from evaluator.auditing.problems import MOST_CLASSES
from shards.card import Target
from shards.errors import UserError, unknown_name


class Classes(NamedTuple):
    """A target and how the values found become its classes.

    Attributes
    ----------
    target
        With two classes one of them is of interest.
    of_value
        Value found -> class.
    why
        Why that class is the one of interest, for people; empty where there is none.
    """

    target: Target
    of_value: Mapping[str, str]
    why: str


def decide_classes(
    name: str, found: Sequence[str], *, scored: Sequence[str] = (), asked: str | None = None
) -> Classes:
    """Decide the classes of a target.

    Parameters
    ----------
    name
        Of the target.
    found
        Values of the label column, at least one.
    scored
        Classes that have a score column, in their order; a single one is the class of interest; empty where unsaid.
    asked
        The class of interest as told by the user.

    Raises
    ------
    UserError
        If the class of interest cannot be told, or values have no score.
    """
    asked = None if asked is None else like_values(asked, [*found, *scored])
    if len(found) > MOST_CLASSES:
        raise UserError(
            f"column {name!r} has {len(found):,} different values (at most {MOST_CLASSES} classes): it looks like an id or a"
            " measurement. Name the column of the true class with --target."
        )
    if len(scored) > 1:
        return _all_scored(name, found, tuple(scored), asked)
    if not found:
        raise UserError(f"column {name!r} has no value at all; it should hold the true class.")
    positive = asked if asked is not None else next(iter(scored), None)
    if positive is not None:
        why = "given" if asked is not None else "its score is given"
        if len(found) > 2 and asked is None:
            raise UserError(
                f"target {name!r} has {len(found)} classes ({shown(found)}) but a score for {positive!r} only. Say --positive"
                f" {positive} to measure it against all others together, or give the other scores."
            )
        return _against_rest(name, found, positive, why)
    if len(found) > 2:
        raise UserError(
            f"target {name!r} has {len(found)} classes ({shown(found)}) but a single score. Say whose score it is with"
            " --positive (it is measured against all others together), or empty the cells of rows that should not count."
        )
    return _two(name, tuple(found))


def _all_scored(name: str, found: Sequence[str], scored: tuple[str, ...], asked: str | None) -> Classes:
    strangers = [value for value in found if value not in scored]
    if strangers:
        raise UserError(
            f"column {name!r} has values without a score: {shown(strangers)} (scores are of {shown(scored)}). Add their scores,"
            " or empty the cells of rows that should not count."
        )
    if asked is not None:
        if asked not in scored:
            raise unknown_name("class", asked, scored, hint="(--positive)")
        return _against_rest(name, scored, asked, "given")
    if len(scored) > 2:
        return Classes(Target(name, scored), {value: value for value in scored}, "")
    return _two(name, scored)


def _against_rest(name: str, found: Sequence[str], positive: str, why: str) -> Classes:
    others = [value for value in found if value != positive]
    if positive not in found and len(others) > 1:
        raise unknown_name(f"class of {name!r}:", positive, found, hint="(--positive)")
    rest = others[0] if len(others) == 1 else f"not {positive}"
    of_value = {value: positive if value == positive else rest for value in found}
    told = f"{why}; against {shown(others)} together" if len(others) > 1 else why
    return Classes(Target(name, (rest, positive), positive), of_value, told)


def _two(name: str, found: tuple[str, ...]) -> Classes:
    positives = [value for value in found if value.lower() in POSITIVE]
    negatives = [value for value in found if value.lower() in NEGATIVE]
    if len(found) == 1:
        return _lonely(name, found[0])
    if positives == ["1"] and any(_above_one(value) for value in found):
        positives, negatives = [], []  # 1 and 2: in many tables 2 is the finding
    if len(positives) == 1 and len(negatives) <= 1:
        positive = positives[0]
    elif not positives and len(negatives) == 1:
        positive = next(value for value in found if value not in negatives)
    else:
        raise UserError(
            f"target {name!r} has the classes {found[0]!r} and {found[1]!r}: say which one the score is for with --positive."
        )
    negative = next(value for value in found if value != positive)
    return Classes(Target(name, (negative, positive), positive), {v: v for v in found}, "by its name")


def _above_one(value: str) -> bool:
    try:
        return float(value) > 1.0
    except ValueError:
        return False


def _lonely(name: str, only: str) -> Classes:
    """Name the missing class of a label that has one value in the whole table."""
    opposite = {"0": "1", "1": "0", "False": "True", "True": "False"}.get(only, f"not {only}")
    if only.lower() in NEGATIVE:
        return Classes(Target(name, (only, opposite), opposite), {only: only}, "it does not occur")
    if only.lower() in POSITIVE:
        return Classes(Target(name, (opposite, only), only), {only: only}, "it is the only one that occurs")
    raise UserError(
        f"target {name!r} has the single value {only!r}: there is nothing to tell apart. Name the class of interest with"
        " --positive."
    )
