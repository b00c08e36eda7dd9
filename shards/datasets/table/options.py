"""The parts of the options of ``table`` that describe its columns."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Texts that stand for an unknown value, as an empty cell does, unless the user says otherwise.
UNKNOWN_VALUES = ("unknown", "n/a", "na", "nan", "null", "none")


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetOptions(_Options):
    """How one target is coded.

    Attributes
    ----------
    classes
        Class names in their order; by default the column's values, sorted. A row with another value is
        rejected. A class named here is a class even if it is called like an unknown value (``none``).
    positive
        The class of interest of two. By default the one that says so (1, true, yes, positive, present,
        malignant, diseased, abnormal against 0, false, no, negative, absent, benign, healthy, normal);
        otherwise it must be given.
    """

    classes: tuple[str, ...] | None = None
    positive: str | None = None


class FamilyOptions(_Options):
    """A multi-label question: several findings, of which a sample can have any.

    Each finding becomes a target of the classes ``absent`` and ``present``. Give `columns` or `column`.

    Attributes
    ----------
    columns
        One column per finding, with values such as 1 and 0, yes and no, present and absent.
    column
        One column that lists the findings of each sample.
    separator
        What stands between the findings of a list.
    labels
        Of a list: all findings; by default those that occur. A row with another one is rejected.
    nothing
        Of a list: texts, in any capitals, that say that there is no finding. An empty cell is unknown.
    """

    columns: tuple[str, ...] = ()
    column: str | None = None
    separator: str = Field(default="|", min_length=1)
    labels: tuple[str, ...] | None = None
    nothing: tuple[str, ...] = ("no finding", "no findings", "normal")

    @model_validator(mode="after")
    def _one_of_both(self) -> FamilyOptions:
        if bool(self.columns) == (self.column is not None):
            raise ValueError("give either 'columns' (one per finding) or 'column' (lists of findings)")
        return self


class AttributeOptions(_Options):
    """What one attribute is.

    Attributes
    ----------
    kind
        By default ``number`` if all values are numbers, unless all are whole and below 10: these are codes, a
        ``category``.
    unit
        Unit of a number.
    """

    kind: Literal["category", "number"] | None = None
    unit: str | None = None


class PromptOptions(_Options):
    """Texts for zero-shot classification of one target.

    Attributes
    ----------
    templates
        Texts with one ``{}`` each.
    names
        For each class, the phrases that stand for it.
    version
        By default made of the texts, so that other texts have another version.
    """

    templates: tuple[str, ...] = Field(min_length=1)
    names: dict[str, tuple[str, ...] | str]
    version: str | None = None
