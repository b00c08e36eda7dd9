"""How far the numbers of one group lie from those of all: exact distances in one dimension, and fresh samples of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evaluator.mitigation.groups import groups_in
from evaluator.mitigation.method import UNKNOWN, Batch

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows


def squared_wasserstein(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared 2-Wasserstein distance of two samples of numbers, each of mass 1.

    Parameters
    ----------
    first, second
        ``[n]`` and ``[m]``, neither empty. Gradients flow into both.

    Notes
    -----
    In one dimension the best transport keeps the order, ``W^2 = integral (F^-1(u) - G^-1(u))^2 du``: sorting gives exactly what
    a Sinkhorn iteration tends to when its blur tends to 0.

    Examples
    --------
    >>> squared_wasserstein(torch.tensor([0.0, 1.0]), torch.tensor([2.0])).item()
    2.5
    """
    ours, theirs = first.sort().values, second.sort().values
    n, m = len(ours), len(theirs)
    # Where either quantile function jumps, in units of 1 / (n m): whole numbers, so that equal places are equal.
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]))
    mass = torch.diff(ends, prepend=ends.new_zeros(1)).to(ours.dtype) / (n * m)
    return (mass * (ours[(ends - 1) // m] - theirs[(ends - 1) // n]) ** 2).sum()


class FreshSamples:
    """Training samples drawn anew in every step, of one group or of all whose group is known.

    Parameters
    ----------
    method
        Name of the mitigation, for messages.
    rows
        Training rows.
    count
        How many are drawn, with replacement.

    Attributes
    ----------
    codes
        Groups that training samples are in.

    Raises
    ------
    UserError
        If no training sample's group is known.
    """

    def __init__(self, method: str, rows: TrainingRows, count: int) -> None:
        self.codes = groups_in(method, rows)
        self._count = count
        self._rows = Batch(
            torch.from_numpy(rows.features),
            torch.from_numpy(rows.classes),
            torch.from_numpy(rows.groups),
            torch.ones(len(rows.classes)),
        )
        groups = self._rows.groups
        self._members = {code: torch.nonzero(groups == code)[:, 0] for code in self.codes}
        self._known = torch.nonzero(groups != UNKNOWN)[:, 0]

    def of(self, code: int | None) -> Batch:
        """Return samples of a group; of all known groups, as frequent as they are, for None."""
        members = self._known if code is None else self._members[code]
        drawn = members[torch.randint(len(members), (self._count,))]
        return Batch(*(column[drawn] for column in self._rows))
