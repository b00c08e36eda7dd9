"""What the columns of a user's table mean: targets, multi-label families, attributes, prompts."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shards.card import Attribute, PromptSet, Target
from shards.datasets._columns import Column, Columns
from shards.datasets.table.options import AttributeOptions, FamilyOptions, PromptOptions, TargetOptions
from shards.datasets.table.spelling import alike, as_declared, plain
from shards.errors import UserError, unknown_name
from shards.files import digest

ABSENT, PRESENT = "absent", "present"
_POSITIVE = frozenset(
    {"1", "true", "yes", "y", "positive", "pos", "present", "malignant", "diseased", "abnormal"}
)
_NEGATIVE = frozenset({"0", "false", "no", "n", "negative", "neg", "absent", "benign", "healthy", "normal"})
#: Nobody is older: larger numbers are days, or a slip.
_OLDEST = 120
_PER_YEAR = {"y": 1.0, "m": 12.0, "w": 52.1775, "d": 365.2425}
_SPLITS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@dataclass(frozen=True)
class Described:
    """A column of the manifest made of the table's.

    Attributes
    ----------
    target
        What it is.
    values
        One per row of the table.
    """

    target: Target
    values: Column


def read_target(columns: Columns, name: str, options: TargetOptions, unknown: Collection[str]) -> Described:
    """Return a target and its values; a class that was declared is known, whatever it is called.

    Raises
    ------
    UserError
        If there are fewer than two classes, two that are one word in other capitals or one number, or it is unclear which of
        two is the finding.
    """
    declared = as_declared(options.classes or ())
    values: Column = []
    for raw, known in zip(*_worded(columns, name, options.values, unknown), strict=True):
        meant = raw is not None and (raw in (options.classes or ()) or plain(raw) in declared)
        text = raw if meant else known
        values.append(None if text is None else declared.get(plain(text), text))
    twice = None if options.classes else alike(values, plain)
    if twice is not None:
        raise UserError(
            f"target {name!r} has the values {twice[0]!r} and {twice[1]!r}, which seem to be one class; list the classes, and "
            f"capitals and .0 do not matter: targets: {{{name}: {{classes: [{twice[0]!r}, ...]}}}}."
        )
    classes = options.classes or tuple(
        sorted({text for text in values if text is not None}, key=_numbers_first)
    )
    if len(set(classes)) < 2 or len(set(classes)) < len(classes):
        raise UserError(
            f"target {name!r} must have two or more different classes, got {', '.join(classes) or 'none'}; list them "
            f"as 'classes', or check the column of {columns.path.name}."
        )
    if options.positive is not None and options.positive not in classes:
        raise unknown_name(f"positive class of target {name!r}", options.positive, classes)
    positive = None if len(classes) > 2 else options.positive or _positive(name, classes)
    return Described(Target(name, classes, positive), values)


def read_family(
    columns: Columns, name: str, options: FamilyOptions, unknown: Collection[str]
) -> tuple[list[Described], list[str | None]]:
    """Return a family's targets, and per row what is wrong with it (None if nothing is)."""
    if options.column is None:
        found = [
            Described(_finding(column, name), [_presence(text) for text in columns.known(column, unknown)])
            for column in options.columns
        ]
        return found, [None] * len(columns)
    nothing = {text.lower() for text in options.nothing}
    cells = [
        raw if raw is not None and raw.lower() in nothing else known
        for raw, known in zip(
            columns.get(options.column), columns.known(options.column, unknown), strict=True
        )
    ]
    lists = [None if cell is None else _listed(cell, options.separator, nothing) for cell in cells]
    labels = options.labels or tuple(
        sorted({label for found in lists if found is not None for label in found})
    )
    if not labels:
        raise UserError(
            f"family {name!r} has no finding in column {options.column!r} of {columns.path.name}; list them as 'labels'."
        )
    wrong = [_strange(found, labels, options.column) for found in lists]
    targets = [
        Described(
            _finding(label, name),
            [None if found is None else (PRESENT if label in found else ABSENT) for found in lists],
        )
        for label in labels
    ]
    return targets, wrong


def read_attribute(
    columns: Columns, name: str, options: AttributeOptions, unknown: Collection[str]
) -> tuple[Attribute, Column]:
    """Return an attribute and its values; its kind is told from them where it is not given.

    Raises
    ------
    UserError
        If most values are numbers and some are not, a word is there in several capitals, or an age is none.
    """
    values = _worded(columns, name, options.values, unknown)[1]
    if options.kind != "category":
        values = [None if text is None else _age(text) for text in values]
    known = [text for text in values if text is not None]
    kind = options.kind or ("number" if _are_measurements(known) else "category")
    if options.kind is None and kind == "category":
        _refuse_nearly_numbers(name, known)
    twice = alike(known, plain) if kind == "category" else None
    if twice is not None:
        raise UserError(
            f"attribute {name!r} has the values {twice[0]!r} and {twice[1]!r}, which seem to be one group; say so: attributes: "
            f"{{{name}: {{values: {{{twice[1]!r}: {twice[0]!r}}}}}}}, with a line for each such value."
        )
    if kind == "number" and name.casefold() == "age" and options.unit in (None, "years"):
        _refuse_no_ages(name, known)
    return Attribute(name, kind, options.unit), values


def read_prompts(prompts: Mapping[str, PromptOptions], targets: Collection[Target]) -> tuple[PromptSet, ...]:
    """Return the prompts of targets.

    Raises
    ------
    UserError
        For an unknown target, a template without place, or names that do not belong to the classes.
    """
    by_name = {target.name: target for target in targets}
    made = []
    for name, options in prompts.items():
        if name not in by_name:
            raise unknown_name("target in prompts", name, by_name)
        wrong = [template for template in options.templates if template.count("{}") != 1]
        if wrong:
            raise UserError(f"a template must hold {{}} once, for the class; got {wrong[0]!r}.")
        classes = by_name[name].classes
        if set(options.names) != set(classes):
            raise UserError(
                f"prompts of target {name!r} must have names for each of its classes {', '.join(classes)}; got "
                f"{', '.join(options.names)}."
            )
        names = tuple(_as_tuple(options.names[label]) for label in classes)
        version = options.version or f"user-{digest([list(options.templates), names])[:8]}"
        made.append(PromptSet(name, version, options.templates, names))
    return tuple(made)


def read_split(text: str | None) -> str | None:
    """Return a split by the name that we use; what is no split stays, to be named by the manifest's check."""
    return None if text is None else _SPLITS.get(text.lower(), text.lower())


def _worded(
    columns: Columns, name: str, words: Mapping[str, str | None], unknown: Collection[str]
) -> tuple[Column, Column]:
    """Return a column with the user's words, and the same with None for what is unknown."""
    raw = [text if text is None else words.get(text, text) for text in columns.get(name)]
    return raw, [None if text is None or text.lower() in unknown else text for text in raw]


def _age(text: str) -> str:
    """Return DICOM's age (``058Y``, ``006M``) as years; any other text as it is."""
    match = re.fullmatch(r"(\d{1,3})([DWMYdwmy])", text)
    return text if match is None else f"{int(match[1]) / _PER_YEAR[match[2].lower()]:.6g}"


def _refuse_nearly_numbers(name: str, known: list[str]) -> None:
    others = [text for text in known if not _is_number(text)]
    numbers = [text for text in known if _is_number(text)]
    if others and len(numbers) > len(others) and _are_measurements(numbers):
        shown = ", ".join(map(repr, sorted(set(others))[:3]))
        raise UserError(
            f"attribute {name!r} has {len(numbers)} numbers and {len(others)} texts, as {shown}; say what these are, e.g. "
            f"attributes: {{{name}: {{values: {{{others[0]!r}: null}}}}}} (null is unknown), or that it is no number: "
            "kind: category."
        )


def _refuse_no_ages(name: str, known: list[str]) -> None:
    wrong = [text for text in known if _is_number(text) and not 0 <= float(text) <= _OLDEST]
    if wrong:
        shown = sorted(set(wrong))[:5]
        unknown = ", ".join(f"{text!r}: null" for text in shown)
        raise UserError(
            f"attribute {name!r} has {len(wrong)} values that are no age of 0 to {_OLDEST} years: {', '.join(shown)}. If they "
            f"stand for unknown, say so: attributes: {{{name}: {{values: {{{unknown}}}}}}}; if ages are not in years, give "
            f"their unit: attributes: {{{name}: {{unit: days}}}}."
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _finding(label: str, family: str) -> Target:
    return Target(label, (ABSENT, PRESENT), PRESENT, family)


def _presence(text: str | None) -> str | None:
    """Return whether a finding is there; what says neither stays, to be rejected as an unknown label."""
    if text is None:
        return None
    word = plain(text)
    return PRESENT if word in _POSITIVE else ABSENT if word in _NEGATIVE else text


def _listed(cell: str, separator: str, nothing: Collection[str]) -> frozenset[str]:
    found = (part.strip() for part in cell.split(separator))
    return frozenset(label for label in found if label and label.lower() not in nothing)


def _strange(found: frozenset[str] | None, labels: Collection[str], column: str) -> str | None:
    strange = sorted((found or frozenset()) - set(labels))
    return f"column {column!r} lists {', '.join(strange)}; expected {', '.join(labels)}" if strange else None


def _as_tuple(names: tuple[str, ...] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _numbers_first(text: str) -> tuple[bool, int, str]:
    whole = text.isascii() and text.isdigit()
    return (not whole, int(text) if whole else 0, text)


def _positive(name: str, classes: tuple[str, ...]) -> str:
    first, second = classes
    for one, other in ((first, second), (second, first)):
        if plain(one) in _POSITIVE and plain(other) in _NEGATIVE:
            return one
    raise UserError(
        f"target {name!r} has the classes {first!r} and {second!r}, and it is not clear which is the finding; say so: "
        f"targets: {{{name}: {{positive: {second!r}}}}}."
    )


def _are_measurements(values: list[str]) -> bool:
    """Tell numbers that measure something from codes: not all are whole and below 10."""
    try:
        numbers = [float(text) for text in values]
    except ValueError:
        return False
    codes = all(number.is_integer() and 0 <= number < 10 for number in numbers if math.isfinite(number))
    return bool(numbers) and all(map(math.isfinite, numbers)) and not codes
