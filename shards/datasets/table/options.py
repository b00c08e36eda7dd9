"""The parts of the options of ``table`` that describe its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

#: Texts that stand for an unknown value, as an empty cell does, unless the user says otherwise.
UNKNOWN_VALUES = ("unknown", "n/a", "na", "nan", "null", "none", "#n/a", "<na>", "nat")


def _text(value: Any) -> Any:
    """Return what stands in a cell for a number that YAML made of it; yes and no need quotes, which the message says."""
    if isinstance(value, bool):
        raise ValueError("write yes, no, true and false in quotes: YAML takes them for truth values")
    return str(value) if isinstance(value, int | float) else value


def _texts_by_text(value: Any) -> Any:
    return {_text(key): _text(word) for key, word in value.items()} if isinstance(value, Mapping) else value


#: A text of a cell; numbers need no quotes.
Text = Annotated[str, BeforeValidator(_text)]
#: Words for texts of cells.
Words = Annotated[dict[str, str | None], BeforeValidator(_texts_by_text)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TargetOptions(_Options):
    """How one target is coded.

    Attributes
    ----------
    classes
        Class names in their order; by default the column's values, sorted. A row with another value is
        rejected; capitals and the ``.0`` of numbers do not matter. A class named here is a class even if it is called like
        an unknown value (``none``).
    positive
        The class of interest of two. By default the one that says so (1, true, yes, positive, present,
        malignant, diseased, abnormal against 0, false, no, negative, absent, benign, healthy, normal);
        otherwise it must be given.
    values
        Words for texts of the column (null for unknown); others stay as they are.
    """

    classes: tuple[Text, ...] | None = None
    positive: Text | None = None
    values: Words = Field(default_factory=dict)


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
        By default ``number`` if all values are numbers (or DICOM's ages, as ``058Y``), unless all are whole and below 10:
        these are codes, a ``category``.
    unit
        Unit of a number.
    values
        Words for texts of the column (null for unknown); others stay as they are.
    """

    kind: Literal["category", "number"] | None = None
    unit: str | None = None
    values: Words = Field(default_factory=dict)


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
