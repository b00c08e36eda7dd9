"""Who and what a row is of: the columns of subjects, samples, splits, models and attributes.

A column is taken for something when it is called like it and there is only one; otherwise the error lists the candidates
and the option that decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluator.auditing import names
from evaluator.auditing.columns import coded, is_number, is_plain, shown
from evaluator.auditing.options import Hints, Role
from evaluator.auditing.questions import Missing, Questions
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

#: A column of texts with at most this many values is proposed as an attribute.
MOST_LIKELY_GROUPS = 20
#: Keys of results that tables may carry under these very names.
KEY_COLUMNS = ("dataset", "model", "usage", "mitigation", "seed", "prompt", "structure")


@dataclass(frozen=True)
class Split:
    """How rows are split.

    Attributes
    ----------
    column
        Which column says it.
    values
        Value of the column -> ``train``, ``val`` or ``test``; rows without a value are test rows.
    """

    column: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Roles:
    """Columns that say what a row is of.

    Attributes
    ----------
    subject, sample
        Columns; None where every row is its own.
    split
        None where all rows are test rows.
    keys
        Key of results -> column.
    attributes
        Columns of attributes.
    said
        All of this, and why, for people.
    """

    subject: str | None
    sample: str | None
    split: Split | None
    keys: Mapping[str, str]
    attributes: tuple[str, ...]
    said: tuple[Role, ...]

    @property
    def used(self) -> set[str]:
        """Columns that have one of these roles."""
        columns = {self.subject, self.sample, self.split.column if self.split else None, *self.keys.values()}
        return {column for column in columns if column is not None} | set(self.attributes)


def require(frame: pd.DataFrame, columns: Sequence[str], option: str) -> None:
    """Raise the error of a column that does not exist, naming the near ones."""
    for column in columns:
        if column not in frame.columns:
            raise unknown_name("column", column, list(frame.columns), hint=f"({option})")


def find_roles(frame: pd.DataFrame, hints: Hints, questions: Questions) -> Roles:
    """Find out what rows are of; whose they are and what is compared may stay open among the `questions`.

    Raises
    ------
    UserError
        If a named column does not exist, or several columns could be meant.
    """
    require(frame, [hints.sample] if hints.sample is not None else [], "--sample")
    nobody: tuple[str | None, Role] = (None, Role("subject", (), "not known", "--subject"))
    subject, who = questions.settle(lambda: _subject(frame, hints), nobody)
    keys, of = _keys(frame, hints)
    split, when = _split(frame, hints)
    taken = {subject, *keys.values(), split.column if split else None}
    _require_plain(frame, [column for column in (*taken, hints.sample) if column is not None])
    sample, which = _sample(frame, hints, {column for column in taken if column}, list(keys.values()))
    used = {column for column in (*taken, sample) if column}
    nothing: tuple[tuple[str, ...], list[Role]] = ((), [])
    attributes, whose = questions.settle(lambda: _attributes(frame, hints, used), nothing)
    return Roles(subject, sample, split, keys, attributes, (who, which, *of, *when, *whose))


def _require_plain(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    lists = [column for column in columns if not is_plain(frame[column])]
    if lists:
        raise UserError(f"column {lists[0]!r} must hold one value per row, and holds lists.")


def _subject(frame: pd.DataFrame, hints: Hints) -> tuple[str | None, Role]:
    if hints.subject is not None and hints.independent_rows:
        raise UserError("--subject and --no-subject exclude each other: give one of them.")
    if hints.independent_rows:
        return None, Role(
            "subject", (), "every sample is taken as independent of all others, as told", "--no-subject"
        )
    if hints.subject is not None:
        require(frame, [hints.subject], "--subject")
        return hints.subject, Role("subject", (hints.subject,), "given", "--subject")
    columns = list(frame.columns)
    people = names.named(columns, names.SUBJECT)
    found = people or names.named(columns, names.SUBJECT_STAND_INS)
    if len(found) > 1:
        raise Missing(
            f"several columns could say whose sample a row is: {shown(found)}. Name it with --subject.",
            ("--subject", found[0]),
        )
    if not found:
        ids = names.named(columns, names.SAMPLE)
        hint = f" (ids of samples, not of people: {shown(ids)})" if ids else ""
        likely = [column for column in columns if column not in ids and _repeats_like_ids(frame[column])]
        raise Missing(
            "no column says whose sample a row is, and samples of one person are not independent: name the person's column with"
            f" --subject, or say --no-subject if every row is another person. Columns: {shown(columns, 20)}{hint}.",
            ("--subject", likely[0]) if likely else ("--no-subject",),
        )
    why = "named like one" if people else "named like what several samples share; it stands for the person"
    return found[0], Role("subject", (found[0],), why, "--subject")


def _repeats_like_ids(column: pd.Series[str]) -> bool:
    """Return whether a column has the look of ids of people with several rows: many texts or codes, each a few times."""
    if _is_attribute(str(column.name)) or not is_plain(column):
        return False
    known = coded(column)
    many = MOST_LIKELY_GROUPS < len(known.values) < len(column)
    return (
        many
        and bool((known.codes >= 0).all())
        and not (is_number(column) and any("." in v for v in known.values))
    )


def _sample(
    frame: pd.DataFrame, hints: Hints, taken: set[str], keys: Sequence[str]
) -> tuple[str | None, Role]:
    if hints.sample is not None:
        return hints.sample, Role("sample", (hints.sample,), "given", "--sample")
    plain = [column for column in frame.columns if column not in taken and is_plain(frame[column])]
    found = names.named(plain, names.SAMPLE)
    unique = [column for column in found if not frame.duplicated([column, *keys]).any()]
    chosen = (unique or found)[:1]
    if not chosen:
        return None, Role("sample", (), "no column names samples; every row is one", "--sample")
    why = "named like one" + (
        f" (so are {shown(found[1:])})" if len(found) > 1 and chosen == found[:1] else ""
    )
    return chosen[0], Role("sample", (chosen[0],), why, "--sample")


def _keys(frame: pd.DataFrame, hints: Hints) -> tuple[dict[str, str], list[Role]]:
    keys = {name: name for name in KEY_COLUMNS if name in frame.columns and name != "model"}
    models = names.named(list(frame.columns), names.MODEL)
    if hints.model is not None:
        require(frame, [hints.model], "--model")
        models = [hints.model]
    if len(models) > 1:
        raise UserError(f"several columns could name the model: {shown(models)}. Name it with --model.")
    if models:
        keys["model"] = models[0]
    said = []
    for key in (name for name in KEY_COLUMNS if name in keys):
        values = coded(frame[keys[key]]).values
        said.append(
            Role(
                key, (keys[key],), f"named like one: {shown(values, 6)}", "--model" if key == "model" else ""
            )
        )
    return {name: keys[name] for name in KEY_COLUMNS if name in keys}, said


def _split(frame: pd.DataFrame, hints: Hints) -> tuple[Split | None, list[Role]]:
    if hints.val == "none":
        return None, [Role("split", (), "all rows are measured, as told", "--val")]
    if hints.val is not None and hints.val not in frame.columns and "=" in hints.val:
        column, _, value = hints.val.partition("=")
        require(frame, [column], "--val")
        values = coded(frame[column]).values
        if value not in values:
            raise unknown_name(f"value of column {column!r}:", value, values, hint="(--val)")
        split = Split(column, {text: "val" if text == value else _spelled(text) or "test" for text in values})
        return split, [_split_role(split, "given")]
    if hints.val is not None:
        require(frame, [hints.val], "--val")
        return _known_split(frame, hints.val, "given")
    found = [column for column in names.named(list(frame.columns), names.SPLIT) if _is_split(frame[column])]
    if len(found) > 1:
        raise UserError(
            f"several columns could say train, val and test: {shown(found)}. Name it with --val, or say --val none."
        )
    return _known_split(frame, found[0], "named like one") if found else (None, [])


def _is_split(column: pd.Series[str]) -> bool:
    values = coded(column).values
    return bool(values) and all(_spelled(value) for value in values)


def _known_split(frame: pd.DataFrame, column: str, why: str) -> tuple[Split, list[Role]]:
    values = coded(frame[column]).values
    truth = {
        text: "val" if text in ("1", "True") else "test"
        for text in values
        if text in ("0", "1", "False", "True")
    }
    spelled = truth if len(truth) == len(values) else {text: _spelled(text) for text in values}
    odd = [text for text, split in spelled.items() if split is None]
    if odd:
        raise UserError(
            f"column {column!r} must say train, val or test (or 1 for val and 0 for test), got {shown(odd)}. Say which of its"
            f" values is val: --val {column}=VALUE."
        )
    split = Split(column, {text: name for text, name in spelled.items() if name})
    return split, [_split_role(split, why)]


def _split_role(split: Split, why: str) -> Role:
    told = [f"{'test' if name == 'test' else name} = {shown([t for t, s in split.values.items() if s == name])}"
            for name in ("train", "val", "test") if name in split.values.values()]  # fmt: skip
    return Role("split", (split.column,), f"{why}; {'; '.join(told)}", "--val")


def _spelled(text: str) -> str | None:
    return next((name for name, spellings in names.SPLIT_VALUES.items() if text.lower() in spellings), None)


def _attributes(frame: pd.DataFrame, hints: Hints, taken: set[str]) -> tuple[tuple[str, ...], list[Role]]:
    crossed = [part.strip() for name in hints.intersections for part in name.split("*")]
    asked = tuple(dict.fromkeys([*hints.attributes, *hints.bins, *crossed]))
    if asked:
        require(frame, asked, "--attributes")
    if hints.attributes:
        return asked, [Role("attributes", asked, "given", "--attributes")]
    found = [column for column in frame.columns if column not in taken and _is_attribute(column)]
    attributes = tuple(dict.fromkeys([*found, *asked]))
    if not attributes:
        answers = names.named(list(frame.columns), (*names.LABEL, *names.LABEL_SECOND, *names.PRED))
        others = {*taken, *hints.target, *hints.pred, *answers}
        likely = [column for column in frame.columns if column not in others and forms_groups(frame[column])]
        raise Missing(
            "no column is called like an attribute of people (sex, age, race, ...): name those whose groups are compared with"
            f" --attributes. Columns: {shown(list(frame.columns), 20)}.",
            ("--attributes", ",".join(likely[:2]) or "COLUMN"),
        )
    return attributes, [
        Role(
            "attributes", attributes, "named like attributes of people" if found else "given", "--attributes"
        )
    ]


def forms_groups(column: pd.Series[str]) -> bool:
    """Return whether a column holds texts that could be groups: a few values, most of them more than once."""
    if not is_plain(column) or is_number(column):
        return False
    values = coded(column).values
    return 1 < len(values) <= min(MOST_LIKELY_GROUPS, len(column) // 2)


def _is_attribute(column: str) -> bool:
    name = names.normal(column)
    for prefix in ("patient_", "subject_", "participant_", "sensitive_"):
        name = name.removeprefix(prefix)
    return name in names.ATTRIBUTES


def key_values(frame: pd.DataFrame, keys: Mapping[str, str]) -> pd.DataFrame:
    """Return the keys of every row as text, None where a row has none (a seed as a number in text)."""
    import pandas as pd

    columns = {key: coded(frame[column]).texts() for key, column in keys.items()}
    return pd.DataFrame(columns, index=np.arange(len(frame)), dtype=object)
