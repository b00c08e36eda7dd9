"""What a user may say about a table; everything that is left open is guessed, and the guess is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Hints:
    """Which columns are what.

    Attributes
    ----------
    target
        Columns of true classes; several for a multi-label table.
    score
        Columns of scores, or patterns such as ``p_*``.
    pred
        Columns of predicted classes, where there are no scores.
    attributes
        Columns of the subjects' attributes.
    subject, sample, model
        Columns that say whose sample a row is of, which sample, and which model's.
    independent_rows
        There are no subjects: every sample stands for itself.
    val
        Column of splits, ``COLUMN=VALUE`` for the validation rows, or ``"none"``.
    bins
        Attribute -> rising edges.
    intersections
        Attributes joined by ``*``.
    positive
        The class of interest.
    classes
        Class names in the order of the score columns (or of the numbers in a list of scores).
    logits
        Scores are logits.
    """

    target: tuple[str, ...] = ()
    score: tuple[str, ...] = ()
    pred: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    subject: str | None = None
    sample: str | None = None
    model: str | None = None
    independent_rows: bool = False
    val: str | None = None
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    intersections: tuple[str, ...] = ()
    positive: str | None = None
    classes: tuple[str, ...] = ()
    logits: bool = False


@dataclass(frozen=True)
class Source:
    """How a file is to be read.

    Attributes
    ----------
    sheet
        Of an Excel file.
    encoding
        Of a text file; UTF-8 by default.
    join
        A second table with more columns of the same samples.
    on
        ``COLUMN``, ``COLUMN=COLUMN_OF_JOIN``, or ``"order"`` for row by row.
    """

    sheet: str | None = None
    encoding: str | None = None
    join: Path | None = None
    on: str | None = None


#: The role of columns that have none.
NOT_USED = "not used"


@dataclass(frozen=True)
class Role:
    """What some columns were taken for, and why."""

    role: str
    columns: tuple[str, ...]
    why: str
    option: str
