"""CFair (Zhao et al. 2020, Conditional Learning of Fair Representations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from evaluator.mitigation.adversary import (
    Discriminator,
    SeenGroups,
    represented,
    reverse_gradient,
    weighted_mean,
    width_of,
)
from evaluator.mitigation.method import Batch, Method, sample_losses
from evaluator.mitigation.options import CFair
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class CFairMethod(Method):
    """An adversary per class reads the group among the samples of that class; classes count the same, as do groups in them.

    The representation and the classifier descend ``mean_i CE_i / (C P(y_i)) - mu A``, the adversaries descend
    ``A = mean_y mean_{i: y_i = y} CE(A_y(z_i), a_i) / (K_y P(a_i | y))``: over the classes of which the batch has samples of
    known group. P is that of the training rows, C the number of classes in them, and K_y that of groups with samples of class
    y. The paper's ``mu`` also slows the adversaries; here it is only what the representation feels.
    A class that fewer than two groups have says nothing about groups, and has no adversary.
    """

    def __init__(self, options: CFair) -> None:
        self._options = options
        self._seen: SeenGroups
        self._idle: list[str] = []
        self.adversaries: nn.ModuleDict
        self.class_weights: Tensor
        self.group_weights: Tensor

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Make the adversaries.

        Raises
        ------
        UserError
            If the head has no representation to train, or in no class train has two groups to tell apart.
        """
        width = width_of("cfair", head, rows)
        self._seen = SeenGroups("cfair", rows)
        counts = self._seen.counts  # [K, C]
        self.group_weights = _inverse_shares(counts)
        classes = torch.bincount(torch.from_numpy(rows.classes), minlength=counts.shape[1])
        self.class_weights = _inverse_shares(classes[:, None].float())[:, 0]
        contested = (counts > 0).sum(dim=0) >= 2
        if not contested.any():
            raise UserError(
                "cfair hides groups within each class, and no class has training samples of two groups. "
                "Leave the method out, or put groups together differently (bins, values)."
            )
        self._idle = [
            name for name, told in zip(rows.class_names, contested.tolist(), strict=True) if not told
        ]
        self.adversaries = nn.ModuleDict(
            {
                str(place): Discriminator(width, len(self._seen), self._options.hidden)
                for place in torch.nonzero(contested)[:, 0].tolist()
            }
        )
        return head

    def parameters(self) -> list[nn.Parameter]:
        """Return the adversaries'."""
        return list(self.adversaries.parameters())

    def notes(self) -> tuple[str, ...]:
        """Return which classes have no adversary."""
        if not self._idle:
            return ()
        return (
            f"no group is hidden within {', '.join(self._idle)}: train has samples of fewer than two groups there",
        )

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the balanced cross entropy plus A, with the gradient of A reversed on its way into the representation."""
        values, losses = represented(head, batch)
        task = weighted_mean(self.class_weights[batch.classes] * losses, batch)
        known, groups = self._seen.of(batch)
        classes = batch.classes[known]
        read = reverse_gradient(values[known], self._options.mu)
        terms = []
        for place, adversary in self.adversaries.items():
            of = classes == int(place)
            if of.any():
                errors = sample_losses(adversary(read[of]), groups[of])
                terms.append((self.group_weights[groups[of], int(place)] * errors).mean())
        return task + torch.stack(terms).mean() if terms else task


def _inverse_shares(counts: Tensor) -> Tensor:
    """Return ``1 / (K P)`` of the shares P in every column, K being the number of those above zero; 0 where there is none."""
    present = (counts > 0).sum(dim=0).clamp(min=1)
    return torch.where(
        counts > 0, counts.sum(dim=0) / (present * counts.clamp(min=1.0)), torch.zeros_like(counts)
    )
