"""The audit of a dataset as values: what ``dataset.json`` holds under ``audit``. No computing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: Group of samples whose attribute is unknown.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Pair:
    """Two samples of different subjects that are, or look, the same.

    Attributes
    ----------
    samples, subjects, splits
        Of the first and the second.
    distance
        Bits in which their perceptual hashes differ.
    """

    samples: tuple[str, str]
    subjects: tuple[str, str]
    splits: tuple[str, str]
    distance: int


@dataclass(frozen=True)
class Alike:
    """Pairs of samples of different subjects.

    Attributes
    ----------
    pairs, across_splits
        How many, and how many of these are of two splits.
    samples
        How many samples are in any of the pairs.
    examples
        The first pairs, those across splits before others.
    """

    pairs: int
    across_splits: int
    samples: int
    examples: tuple[Pair, ...]


@dataclass(frozen=True)
class Conflict:
    """One picture that is there several times with different classes of a target: the first samples of it."""

    target: str
    samples: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Duplicates:
    """Pictures that are there more than once.

    Attributes
    ----------
    same
        Samples with the same pixels; blank ones are not counted.
    near
        Different pictures that look alike; each picture counts once.
    near_distance
        Bits (of 64) in which hashes may differ for that.
    near_complete
        False if the search was given up because too much looks alike; the numbers of `near` are then lower bounds.
    within_subjects
        Samples whose picture the same subject has already.
    blank
        Samples without anything to compare.
    conflicts, conflict_examples
        Equal pictures with different known classes of one target (of one subject or several).
    """

    same: Alike
    near: Alike
    near_distance: int
    near_complete: bool
    within_subjects: int
    blank: int
    conflicts: int
    conflict_examples: tuple[Conflict, ...]


@dataclass(frozen=True)
class Difference:
    """The two groups of an attribute that differ most in one measure of their images.

    Attributes
    ----------
    measure
        ``original_width``, ``original_height``, ``intensity_mean`` or ``intensity_sd``.
    groups, subjects, means
        Of the group with the lower mean and of the other; a subject with several images counts once, with their mean.
    smd
        Standardised mean difference; None where neither group varies.
    ci_low, ci_high
        Its 95 % interval, widened for the number of pairs of groups that were compared (Bonferroni).
    notable
        Whether it is above 0.2 and both groups have 20 subjects; chance alone can do that (see the interval).
    """

    measure: str
    groups: tuple[str, str]
    subjects: tuple[int, int]
    means: tuple[float, float]
    smd: float | None
    ci_low: float | None
    ci_high: float | None
    notable: bool


@dataclass(frozen=True)
class Group:
    """Samples of one value of an attribute, or of one quarter of its range.

    Attributes
    ----------
    name
        The value, a range (``"41-55"`` holds 41 and not 55), or ``"unknown"``.
    samples, subjects
        Converted ones.
    rejected
        Samples left out, by reason.
    classes
        Samples by target and class; the class ``""`` stands for unknown.
    """

    name: str
    samples: int
    subjects: int
    rejected: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class AttributeAudit:
    """What is known of one attribute.

    Attributes
    ----------
    name
        The attribute.
    unknown, unknown_by_split
        Samples without a value.
    contradictory
        Subjects with more than one value of a category.
    edges
        Where the range of a number is cut: its quartiles over subjects.
    groups
        Largest first, or in the order of the numbers; the unknown last.
    differences
        One per measure that varies.
    """

    name: str
    unknown: int
    unknown_by_split: Mapping[str, int]
    contradictory: int
    edges: tuple[float, ...]
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Audit:
    """All that was noticed.

    Attributes
    ----------
    samples, subjects
        Converted ones.
    subjects_across_splits
        Subjects in more than one split: a conversion lets there be none.
    duplicates, attributes
        See there.
    """

    samples: int
    subjects: int
    subjects_across_splits: tuple[str, ...]
    duplicates: Duplicates
    attributes: tuple[AttributeAudit, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Audit:
        """Build it from what :meth:`to_json` gave."""
        return cls(
            value["samples"],
            value["subjects"],
            tuple(value["subjects_across_splits"]),
            _duplicates(value["duplicates"]),
            tuple(_attribute(one) for one in value["attributes"]),
        )


def _duplicates(value: Mapping[str, Any]) -> Duplicates:
    conflicts = tuple(
        Conflict(one["target"], tuple(one["samples"]), tuple(one["classes"]))
        for one in value["conflict_examples"]
    )
    parts = {"same": _alike(value["same"]), "near": _alike(value["near"]), "conflict_examples": conflicts}
    return Duplicates(**{**value, **parts})


def _alike(value: Mapping[str, Any]) -> Alike:
    examples = tuple(
        Pair(_two(one["samples"]), _two(one["subjects"]), _two(one["splits"]), one["distance"])
        for one in value["examples"]
    )
    return Alike(**{**value, "examples": examples})


def _attribute(value: Mapping[str, Any]) -> AttributeAudit:
    differences = tuple(
        Difference(**{**one, **{name: _two(one[name]) for name in ("groups", "subjects", "means")}})
        for one in value["differences"]
    )
    groups = tuple(Group(**one) for one in value["groups"])
    return AttributeAudit(
        **{**value, "edges": tuple(value["edges"]), "groups": groups, "differences": differences}
    )


def _two(value: Any) -> tuple[Any, Any]:
    first, second = value
    return first, second
