"""EnD (Tartaglione et al. 2021, EnD: Entangling and Disentangling deep representations for bias correction)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from evaluator.mitigation.adversary import represented, weighted_mean, width_of
from evaluator.mitigation.method import UNKNOWN, Batch, Method
from evaluator.mitigation.options import EnD

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows

#: A representation shorter than this has no direction: it counts as 0, and its gradient stays bounded.
_SHORTEST = 1e-6


class EnDMethod(Method):
    """Samples of one group are pulled apart, samples of one class in different groups together; ``CE + alpha R_o + beta R_p``.

    With ``G_ij`` the cosine of two samples' representations, over unordered pairs of samples of known group, each counted once:
    ``R_o = sum_b |sum_{a_i = a_j = b} G_ij| / number of such pairs`` and
    ``R_p = 1 - mean_{y_i = y_j, a_i != a_j} (1 + G_ij) / 2``. A term without a pair is 0.

    Sums over pairs are taken from sums of vectors, ``sum_{i<j} G_ij = (|sum_i z_i|^2 - sum_i |z_i|^2) / 2``: the cost grows
    with the batch and not with its square.
    """

    def __init__(self, options: EnD) -> None:
        self._options = options
        self._cells = (0, 0)

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Refuse a head without a representation to train, with a UserError."""
        width_of("end", head, rows)
        self._cells = (len(rows.group_names), len(rows.class_names))
        return head

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        values, losses = represented(head, batch)
        apart, together = self.terms(values, batch)
        return weighted_mean(losses, batch) + self._options.alpha * apart + self._options.beta * together

    def terms(self, values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``R_o`` and ``R_p`` of representations ``[B, Z]``, whatever their lengths."""
        known = batch.groups != UNKNOWN
        groups, classes = self._cells
        length = torch.linalg.vector_norm(values[known], dim=1, keepdim=True)
        units = values[known] / torch.where(length > _SHORTEST, length, torch.ones_like(length))
        cell = one_hot(batch.groups[known] * classes + batch.classes[known], groups * classes).to(units.dtype)
        sums = (cell.T @ units).reshape(groups, classes, -1)
        squares = (cell.T @ units.square().sum(dim=1)).reshape(groups, classes)
        counts = cell.sum(dim=0).reshape(groups, classes)

        of_group = _pairs(sums.sum(dim=1), squares.sum(dim=1))
        apart = of_group.abs().sum() / _number(counts.sum(dim=1)).sum().clamp(min=1.0)

        crossing = _pairs(sums.sum(dim=0), squares.sum(dim=0)).sum() - _pairs(sums, squares).sum()
        number = (_number(counts.sum(dim=0)).sum() - _number(counts).sum()).clamp(min=0.0)
        together = torch.where(number > 0, 1.0, 0.0) - (number + crossing) / (2.0 * number.clamp(min=1.0))
        return apart, together


def _pairs(sums: Tensor, squares: Tensor) -> Tensor:
    """Return the sums of cosines over the pairs in each cell, from sums of unit vectors and of their squared lengths."""
    return (sums.square().sum(dim=-1) - squares) / 2.0


def _number(counts: Tensor) -> Tensor:
    return counts * (counts - 1.0) / 2.0
