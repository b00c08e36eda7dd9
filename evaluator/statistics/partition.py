"""Rows cut into units: the samples of one subject in one group.

Units are what moves when groups are permuted.
A subject belongs to one group as a rule. Where it does not (an age that passes a bin's edge between two
visits) it is one unit in each of its groups: values and intervals stay right (the bootstrap draws whole
subjects), and a permutation treats the units as separate people, which can only make its p-value larger when
a subject's samples resemble each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Rows, units and groups of one attribute.

    Attributes
    ----------
    groups
        How many groups there are.
    row_unit
        ``[n]`` unit of each row.
    unit_subject, unit_group
        ``[m]`` subject and group of each unit, sorted by group, then subject.
    """

    groups: int
    row_unit: Ints
    unit_subject: Ints
    unit_group: Ints

    @classmethod
    def cut(cls, subject: Ints, group: Ints, groups: int) -> Partition:
        """Cut rows ``[n]`` with subject and group codes (both from 0)."""
        people = int(subject.max(initial=0)) + 1
        if len(subject) == people and (np.diff(subject) == 1).all():
            # Every row is a subject of its own: units are rows sorted by group, and need no search.
            order = np.argsort(group.astype(np.int16) if groups < 2**15 else group, kind="stable")
            row_unit = np.empty(people, np.int64)
            row_unit[order] = np.arange(people)
            return cls(groups, row_unit, order.astype(np.int64), group[order])
        cells, row_unit = np.unique(group * people + subject, return_inverse=True)
        return cls(groups, row_unit.astype(np.int64), cells % people, cells // people)

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.unit_group)

    def slices(self) -> list[slice]:
        """Return where each group's units lie."""
        edges = np.searchsorted(self.unit_group, np.arange(self.groups + 1))
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
