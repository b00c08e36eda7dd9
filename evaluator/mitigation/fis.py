"""Fair identity scaling (FIS, Luo et al. 2023, FairVision)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from evaluator.mitigation.distributions import FreshSamples, squared_wasserstein
from evaluator.mitigation.method import UNKNOWN, Batch, Method, sample_losses
from evaluator.mitigation.options import Fis

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class FisMethod(Method):
    """A sample counts by its own loss, and by how far the losses of its group lie from those of all.

    The loss of a batch of B samples is ``mean_i ((1 - c) w_i + c v_i) l_i`` with ``w_i = kappa B softmax_i(l_i / tau)`` and
    ``v_i = kappa B_k softmax_i(d_a(i) / tau)``, the latter over the B_k samples of known group; a sample of unknown group has
    ``v_i = kappa``. So weights have the mean kappa whatever the batch's size. ``d_a`` is half the squared Wasserstein distance
    of the losses of a fresh batch of group a from those of a fresh batch of all known groups, dropout off; exact, where the
    paper iterates a Sinkhorn divergence with blur 0.1. Weights are numbers: no gradient goes through them.
    """

    def __init__(self, options: Fis) -> None:
        self._options = options
        self._fresh: FreshSamples
        self._groups = 0

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Keep the rows to draw from; a UserError if no training sample's group is known."""
        self._fresh = FreshSamples("fis", rows, self._options.fresh)
        self._groups = len(rows.group_names)
        return head

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the weighted loss."""
        losses = sample_losses(head(batch.features, batch.groups), batch.classes)
        weights = self.scaled(losses.detach(), batch.groups, self.distances(head))
        return (batch.weights * weights * losses).sum() / batch.weights.sum()

    def scaled(self, losses: Tensor, groups: Tensor, distances: Tensor) -> Tensor:
        """Return what samples ``[B]`` count, of mean kappa.

        Parameters
        ----------
        losses, groups
            ``[B]``.
        distances
            Of all groups ``[G]``.
        """
        options = self._options
        own = len(losses) * torch.softmax(losses / options.tau, dim=0)
        of_group = torch.ones_like(losses)
        known = groups != UNKNOWN
        if known.any():
            of_group[known] = known.sum() * torch.softmax(distances[groups[known]] / options.tau, dim=0)
        return options.kappa * ((1.0 - options.c) * own + options.c * of_group)

    @torch.no_grad()
    def distances(self, head: Head) -> Tensor:
        """Return how far each group's losses lie from those of all ``[G]``; 0 for groups that train does not have."""
        mode = head.training
        head.eval()
        found = torch.zeros(self._groups)
        everybody = self._losses(head, None)
        for code in self._fresh.codes:
            found[code] = 0.5 * squared_wasserstein(self._losses(head, code), everybody)
        head.train(mode)
        return found

    def _losses(self, head: Head, code: int | None) -> Tensor:
        fresh = self._fresh.of(code)
        return sample_losses(head(fresh.features, fresh.groups), fresh.classes)
