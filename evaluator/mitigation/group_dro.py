"""GroupDRO (Sagawa et al. 2020, Distributionally Robust Neural Networks, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluator.mitigation.method import UNKNOWN, Batch, Method, sample_losses
from evaluator.mitigation.options import GroupDro

if TYPE_CHECKING:
    from torch import Tensor

    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class GroupDroMethod(Method):
    """Weights q of groups grow with their losses, ``q_g <- q_g exp(eta (L_g + C / sqrt(n_g)))``; the loss is ``sum q_g L_g``.

    Only groups present in the batch are updated and normalised; the others keep their share. No gradient goes through q.
    Samples of unknown group add their own mean loss, weighed by their share of the batch.
    """

    def __init__(self, options: GroupDro) -> None:
        self._eta = options.eta
        self._adjustment = options.adjustment
        self.shares: Tensor | None = None
        self._added: Tensor | None = None

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Start with equal weights."""
        import torch

        sizes = torch.tensor([max(1, int((rows.groups == g).sum())) for g in range(len(rows.group_names))])
        self.shares = torch.full((len(sizes),), 1.0 / len(sizes))
        self._added = self._adjustment / sizes.float().sqrt()
        return head

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Update the groups' weights and return the weighted loss."""
        losses = sample_losses(head(batch.features, batch.groups), batch.classes) * batch.weights
        unknown = batch.groups == UNKNOWN
        share = unknown.float().mean()
        apart = losses[unknown].mean() if unknown.any() else losses.new_zeros(())
        if unknown.all():
            return apart
        return share * apart + (1.0 - share) * self._of_groups(losses[~unknown], batch.groups[~unknown])

    def _of_groups(self, losses: Tensor, groups: Tensor) -> Tensor:
        import torch

        assert self.shares is not None  # noqa: S101 - prepared
        assert self._added is not None  # noqa: S101
        present, place = torch.unique(groups, return_inverse=True)
        count = torch.bincount(place).to(losses.dtype)
        means = losses.new_zeros(len(present)).index_add(0, place, losses) / count
        mass = self.shares[present]
        grown = mass * torch.exp(self._eta * (means.detach() + self._added[present]))
        self.shares = self.shares.clone()
        self.shares[present] = grown / grown.sum() * mass.sum()
        return (self.shares[present] / self.shares[present].sum() * means).sum()
