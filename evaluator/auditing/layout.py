"""From a table as it came to what can be measured: one part per model and target, with the attributes of all samples."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.auditing.answers import Answers, Remarks, answers_of
from evaluator.auditing.attributes import Attributes, read_attributes
from evaluator.auditing.columns import coded, numbers, shown
from evaluator.auditing.masks import MaskScores, find_masks
from evaluator.auditing.options import NOT_USED, Hints, Role
from evaluator.auditing.problems import Problems, find_problems
from evaluator.auditing.questions import Questions
from evaluator.auditing.roles import Roles, find_roles, forms_groups, key_values
from evaluator.auditing.stored import is_stored, stored_columns, stored_keys, stored_problems
from evaluator.auditing.unfold import unfold
from evaluator.groups import GroupRule
from evaluator.measure import ResultKeys
from evaluator.metrics.per_subject import MASK_METRICS
from shards.card import Target
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Texts = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """What is measured at once.

    Attributes
    ----------
    keys
        What its rows are of.
    rows
        Columns of :data:`evaluator.tables.PREDICTIONS` or :data:`evaluator.tables.SEGMENTATIONS`.
    target
        None for masks.
    scored
        Whether there are scores, not predicted classes alone.
    mask_metrics
        Metrics of masks that the table has.
    """

    keys: ResultKeys
    rows: pd.DataFrame
    target: Target | None = None
    scored: bool = True
    mask_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A table, ready to be measured.

    Attributes
    ----------
    parts
        At least one.
    attributes
        Dataset -> `sample_id` and attributes of all its samples.
    rules
        Groups to form.
    has_val
        Whether there are validation rows to choose thresholds on.
    said
        What columns were taken for.
    notes
        What was assumed or found odd, one sentence each.
    left_out
        Attribute -> why it is not compared, though it is called like one.
    """

    parts: tuple[Part, ...]
    attributes: Mapping[str, pd.DataFrame]
    rules: tuple[GroupRule, ...]
    has_val: bool
    said: tuple[Role, ...]
    notes: tuple[str, ...]
    left_out: Mapping[str, str]


def lay_out(frame: pd.DataFrame, name: str, hints: Hints) -> Layout:
    """Find out what a table holds.

    Parameters
    ----------
    frame
        The table.
    name
        What it is called; the dataset of rows that name none.
    hints
        What is known of it.

    Raises
    ------
    Missing
        If it leaves something open; says all of that at once.
    UserError
        If the table is ambiguous or its content cannot be measured.
    """
    questions = Questions()
    given = tuple(frame.columns)
    stored = is_stored(frame)
    if stored:
        hints = replace(
            hints,
            subject=hints.subject or "subject_id",
            sample=hints.sample or "sample_id",
            val=hints.val or "split",
        )
    roles = find_roles(frame, hints, questions)
    if stored:
        roles = replace(roles, said=tuple(_own(role) for role in roles.said))
    keys = {**roles.keys, **(stored_keys(frame) if stored else {})}
    masks, said = find_masks(frame, hints, roles.used) if not (hints.target or hints.pred) else ((), ())
    problems = questions.settle(
        lambda: _problems(frame, hints, roles, stored=stored, masks=bool(masks)), None
    )
    if questions:
        read_attributes(frame, roles.attributes, hints, questions)
        questions.ask()
    unused = _unused(frame, given, [*said, *(problems.said if problems else ()), *roles.said], stored=stored)
    if problems is not None:
        frame, problems = unfold(frame, problems, roles, keys)
        said = problems.said
    attributes = read_attributes(frame, roles.attributes, hints, questions)
    questions.ask()
    base = _base(frame, roles, keys, name)
    notes = [*_split_notes(base), *_subject_notes(base, attributes, roles), *attributes.notes]
    tables = dict(_attribute_tables(base, attributes))
    if masks:
        every = stored and problems is None
        parts = _mask_parts(frame, base, masks, every=every)
    else:
        parts, remarks = _prediction_parts(frame, base, problems, hints)
        notes += remarks
    if not parts:
        raise UserError(
            "no row is left to be measured: all are train or val rows. Say --val none to measure all of them."
        )
    has_val = not masks and bool((base["split"] == "val").any())
    every_role = (*said, *roles.said, *unused)
    return Layout(
        tuple(parts), tables, attributes.rules, has_val, every_role, tuple(notes), attributes.left_out
    )


def _unused(
    frame: pd.DataFrame, columns: Sequence[str], said: Sequence[Role], *, stored: bool
) -> tuple[Role, ...]:
    """Name the columns that have no part in anything, and how one of them would get one."""
    known = {column for role in said for column in role.columns} | (stored_columns() if stored else set())
    free = [column for column in columns if column not in known]
    if not free:
        return ()
    likely = next((column for column in free if forms_groups(frame[column])), None)
    return (Role(NOT_USED, tuple(free), "", "" if likely is None else f"--attributes {shlex.quote(likely)}"),)


def _own(role: Role) -> Role:
    return (
        role
        if role.role == "attributes"
        else replace(role, why=role.why.replace("given", "FairRay's own column"))
    )


def _problems(
    frame: pd.DataFrame, hints: Hints, roles: Roles, *, stored: bool, masks: bool
) -> Problems | None:
    if masks:
        if not hints.score and not stored:
            try:
                also = find_problems(frame, hints, roles.used)
            except UserError:
                return None
            raise UserError(
                f"the table holds scores of masks and predictions of {also.items[0].label!r}. Say which are meant with"
                " --score (masks) or --target (classes)."
            )
        return None
    if stored and "scores" in frame.columns:
        return stored_problems(frame, hints)
    return find_problems(frame, hints, roles.used)


def _base(frame: pd.DataFrame, roles: Roles, keys: Mapping[str, str], name: str) -> pd.DataFrame:
    """Return, for every row, sample, subject, split and keys as text."""
    base = key_values(frame, keys)
    base["dataset"] = base["dataset"].fillna(name) if "dataset" in base else name
    width = len(str(len(frame)))
    rows = np.char.zfill(np.arange(1, len(frame) + 1).astype(str), width).astype(object)
    base["sample_id"] = _ids(frame, roles.sample, "sample") if roles.sample else rows
    base["subject_id"] = _ids(frame, roles.subject, "subject") if roles.subject else base["sample_id"]
    base["split"] = _splits(frame, roles)
    return base


def _ids(frame: pd.DataFrame, column: str, what: str) -> Texts:
    ids = coded(frame[column])
    lost = int((ids.codes < 0).sum())
    if lost:
        extra = ", or say --no-subject if every row is another person" if what == "subject" else ""
        raise UserError(
            f"column {column!r} has no {what} id in {lost:,} of {len(frame):,} rows. Fill them in, drop these rows{extra}."
        )
    return ids.texts()


def _splits(frame: pd.DataFrame, roles: Roles) -> Texts:
    if roles.split is None:
        return np.full(len(frame), "test", dtype=object)
    values = coded(frame[roles.split.column])
    names = np.array([*(roles.split.values[value] for value in values.values), "test"], dtype=object)
    return names[values.codes]


def _split_notes(base: pd.DataFrame) -> Iterator[str]:
    counts = base["split"].value_counts()
    if counts.get("train", 0):
        yield f"{counts['train']:,} train rows are left out"
    subjects = base.groupby("subject_id", sort=False)["split"].nunique()
    shared = int((subjects > 1).sum())
    if shared:
        yield (
            f"Caution: {shared:,} subjects have rows in more than one split, so what was tuned on one saw people of another"
        )


def _subject_notes(base: pd.DataFrame, attributes: Attributes, roles: Roles) -> Iterator[str]:
    people = base["subject_id"].nunique()
    if roles.subject is not None and people == base["sample_id"].nunique() and len(base) > 1:
        yield "Every sample is another subject: rows are treated as independent"
    for name, values in attributes.columns.items():
        known = base.assign(value=values).dropna(subset="value")
        several = int((known.groupby("subject_id", sort=False)["value"].nunique() > 1).sum())
        if several and values.dtype == object:
            yield f"Caution: {several:,} subjects have more than one value of {name}"


def _attribute_tables(base: pd.DataFrame, attributes: Attributes) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return one row per sample; a sample that occurs in several rows must say the same of itself in all."""
    told = base[["dataset", "sample_id", "subject_id"]].assign(**attributes.columns).drop_duplicates()
    for dataset, rows in told.groupby("dataset", sort=False):
        twice = rows[rows["sample_id"].duplicated(keep=False)]
        if len(twice):
            sample = twice["sample_id"].iloc[0]
            same = twice[twice["sample_id"] == sample].drop(columns=["dataset", "sample_id"])
            differing = [column for column in same.columns if same[column].nunique(dropna=False) > 1]
            raise UserError(
                f"sample {sample!r} occurs in several rows that differ in {shown(differing)}. A sample has one subject and one"
                " value of each attribute: correct the rows, or name the column of sample ids with --sample."
            )
        yield str(dataset), rows.drop(columns="dataset").reset_index(drop=True)


_KEY_NAMES = ("dataset", "model", "usage", "mitigation", "seed", "prompt", "structure", "task")


def _groups(
    base: pd.DataFrame, more: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], NDArray[np.int64]]]:
    """Return the rows of each combination of keys, in the order of their first rows."""
    columns = [name for name in (*_KEY_NAMES, *more) if name in base.columns]
    filled = base[columns].fillna("")
    for values, rows in filled.groupby(columns, sort=False).indices.items():
        texts = values if isinstance(values, tuple) else (values,)
        yield {name: text or None for name, text in zip(columns, texts, strict=True)}, np.sort(rows)


def _keys(values: Mapping[str, Any], model: str | None) -> ResultKeys:
    seed = values.get("seed")
    if seed is not None and not str(seed).lstrip("-").isdigit():
        raise UserError(
            f"column 'seed' must hold whole numbers, got {seed!r}. Rename it if it is something else."
        )
    named = " ".join(part for part in (values.get("model"), model) if part) or None
    kept = {
        name: values.get(name) for name in ("dataset", "usage", "mitigation", "prompt", "structure", "task")
    }
    return ResultKeys(**kept, model=named, seed=None if seed is None else int(seed))


def _mask_parts(
    frame: pd.DataFrame, base: pd.DataFrame, masks: Sequence[MaskScores], *, every: bool
) -> list[Part]:
    parts = []
    for values, rows in _groups(base):
        for item in masks:
            keys = _keys(values, None)
            kept = rows if every else rows[base["split"].to_numpy()[rows] == "test"]
            table = base.iloc[kept][["sample_id", "subject_id", "split"]].reset_index(drop=True)
            structure = item.structure or keys.structure or "mask"
            columns: dict[str, Any] = {metric: np.full(len(kept), np.nan) for metric in MASK_METRICS}
            columns |= {
                metric: numbers(frame[column].iloc[kept]).values for metric, column in item.columns.items()
            }
            status = _mask_status(frame, kept, columns, every)
            filled = table.assign(structure=structure, prompt=keys.prompt or "", **columns, **status)
            _refuse_duplicates(filled, _about(keys.model, f"structure {structure!r}"))
            if len(kept):
                parts.append(Part(keys, filled, mask_metrics=tuple(item.columns)))
    return parts


def _mask_status(
    frame: pd.DataFrame, rows: NDArray[np.int64], columns: Mapping[str, Any], every: bool
) -> dict[str, Any]:
    if every:
        return {
            name: frame[name].iloc[rows].to_numpy(object)
            for name in ("status", "reason")
            if name in frame.columns
        }
    empty = np.all([np.isnan(values) for values in columns.values()], axis=0)
    reason = np.full(len(empty), None, dtype=object)
    reason[empty] = "the score is empty or not a number"
    return {"status": np.where(empty, "no_score", "ok"), "reason": reason}


def _prediction_parts(
    frame: pd.DataFrame, base: pd.DataFrame, problems: Problems | None, hints: Hints
) -> tuple[list[Part], tuple[str, ...]]:
    if problems is None:
        return [], ()
    target = problems.target_column
    named = base if target is None else base.assign(_target=coded(frame[target]).texts())
    remarks = Remarks()
    parts = []
    known: dict[tuple[str, str], Answers] = {}
    for values, rows in _groups(named, ("_target",) if target else ()):
        value = values.pop("_target", None)
        items = [item for item in problems.items if target is None or item.name == value]
        if not items and value is not None and problems.status_column is None:
            items = [replace(item, name=str(value)) for item in problems.items]
        for item in items:
            place = (item.name, f"{item.model} {item.scores} {item.pred}")
            if place not in known:
                whole = slice(None) if target is None else (named["_target"] == value).to_numpy()
                known[place] = answers_of(frame, item, hints, whole, remarks)
            part = _part(base, rows, known[place], _keys(values, item.model), frame, problems.status_column)
            if part is not None:
                parts.append(part)
    return parts, remarks.sentences()


def _part(
    base: pd.DataFrame,
    rows: NDArray[np.int64],
    answers: Answers,
    keys: ResultKeys,
    frame: pd.DataFrame,
    status_column: str | None,
) -> Part | None:
    rows = rows[base["split"].to_numpy()[rows] != "train"]
    if not (base["split"].to_numpy()[rows] == "test").any():
        return None
    table = base.iloc[rows][["sample_id", "subject_id", "split"]].reset_index(drop=True)
    table = table.assign(target=answers.target.name, **answers.rows(rows))
    if status_column is not None:
        given = frame[status_column].iloc[rows].to_numpy(object)
        known = "reason" in frame.columns
        reasons = frame["reason"].iloc[rows].to_numpy(object) if known else np.full(len(rows), None, object)
        kept = table["status"].to_numpy() == "ok"
        table["status"] = np.where(kept | (given != "ok"), given, table["status"].to_numpy())
        table["reason"] = np.where(given != "ok", reasons, table["reason"].to_numpy())
    _refuse_duplicates(table, _about(keys.model, f"target {answers.target.name!r}"))
    return Part(
        replace(keys, structure=None, prompt=keys.prompt), table, answers.target, answers.scores is not None
    )


def _about(model: str | None, what: str) -> str:
    return what if model is None else f"model {model!r}, {what}"


def _refuse_duplicates(rows: pd.DataFrame, what: str) -> None:
    twice = rows["sample_id"][rows["sample_id"].duplicated()]
    if len(twice):
        raise UserError(
            f"{len(twice):,} sample ids occur more than once for {what}, e.g. {twice.iloc[0]!r}. Drop repeated rows, name the"
            " column that tells them apart (--model, --sample), or drop that of the ids."
        )
