"""People who do not exist: sex, age and race that are independent of each other and of every label.

Guarantee: a subject depends on its seed and number alone, so tables of different length agree on the subjects
they share. What is true of a subject and what is recorded of it are kept apart: a planted disparity follows
the truth, as it would in life, while a few percent of the records are empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from shards.adapter import Access

#: Seeds that datasets may use lie below this; training uses seeds above it, so no subject is ever shared.
DATASET_SEEDS = 2**32

#: Nobody has to ask for them.
GENERATED = Access("generated", "", "Nothing: the images are drawn while converting.")

SEXES = ("female", "male")
RACES = ("asian", "black", "white")
_RACE_SHARES = (0.2, 0.25, 0.55)
_YEARS = (20, 91)
_UNKNOWN_SHARE = 0.03

AttributeName = Literal["sex", "age", "race"]


class Stream(IntEnum):
    """Which independent stream of random numbers of a subject is meant."""

    SUBJECT = 0
    CHEST = 1
    CHEST_VIEW = 2
    FUNDUS = 3
    FUNDUS_VIEW = 4
    TRAINING = 5
    ABDOMEN = 6
    ABDOMEN_VIEW = 7


def generator(seed: int, stream: Stream, number: int, *, view: int = 0) -> np.random.Generator:
    """Return the random numbers of one subject (and view), whoever asks and in whatever order.

    Parameters
    ----------
    seed
        0 to 2**64 - 1.
    stream
        What the numbers are for.
    number
        The subject's number, 0 to 2**64 - 1.
    view
        The view's number.

    Returns
    -------
    numpy.random.Generator
        Over a Philox generator whose counter leaves 2**128 steps to each (number, view).
    """
    counter = np.array([0, 0, number, view], dtype=np.uint64)
    key = np.array([seed, int(stream)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


@dataclass(frozen=True)
class Subject:
    """One generated person.

    Attributes
    ----------
    sex, age, race
        The truth; `age` in whole years, 20 to 90.
    recorded_sex, recorded_age, recorded_race
        What the dataset says: the truth, or None for a few percent of subjects.
    """

    sex: str
    age: int
    race: str
    recorded_sex: str | None
    recorded_age: float | None
    recorded_race: str | None


def draw_subject(seed: int, number: int) -> Subject:
    """Draw one subject of a dataset."""
    random = generator(seed, Stream.SUBJECT, number)
    sex = SEXES[int(random.integers(len(SEXES)))]
    age = int(random.integers(*_YEARS))
    race = RACES[int(np.searchsorted(np.cumsum(_RACE_SHARES)[:-1], random.random(), side="right"))]
    known = random.random(3) >= _UNKNOWN_SHARE
    return Subject(
        sex=sex,
        age=age,
        race=race,
        recorded_sex=sex if known[0] else None,
        recorded_age=float(age) if known[1] else None,
        recorded_race=race if known[2] else None,
    )


def membership(attribute: AttributeName, group: str) -> Callable[[Subject], bool]:
    """Return the test whether a subject truly belongs to a group.

    Parameters
    ----------
    attribute
        ``"sex"``, ``"race"`` or ``"age"``.
    group
        A sex or race; for age ``"60+"`` (60 years and older) or ``"<60"``.

    Raises
    ------
    ValueError
        If the attribute has no such group.
    """
    if attribute == "age":
        return _age_membership(group)
    known = SEXES if attribute == "sex" else RACES
    if group not in known:
        raise ValueError(
            f"group must be one of {', '.join(known)} for attribute {attribute!r}, got {group!r}"
        )
    return lambda subject: getattr(subject, attribute) == group


def _age_membership(group: str) -> Callable[[Subject], bool]:
    match = re.fullmatch(r"(<?)(\d+)(\+?)", group)
    if match is None or bool(match[1]) == bool(match[3]):
        raise ValueError(f"group must look like '60+' or '<60' for attribute 'age', got {group!r}")
    years = int(match[2])
    if match[3]:
        return lambda subject: subject.age >= years
    return lambda subject: subject.age < years
