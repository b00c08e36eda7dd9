"""LAFTR (Madras et al. 2018, Learning Adversarially Fair and Transferable Representations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from evaluator.mitigation.adversary import (
    Discriminator,
    SeenGroups,
    represented,
    reverse_gradient,
    weighted_mean,
    width_of,
)
from evaluator.mitigation.method import Batch, Method, sample_losses
from evaluator.mitigation.options import Laftr
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class LaftrMethod(Method):
    """A discriminator h reads the group from the representation z, which is trained so that it cannot.

    The representation and the classifier descend ``c CE - f D``, the discriminator descends ``D = mean_i w(a_i, y_i) d_i``
    over the samples of known group. ``d = |a - sigmoid(h)|`` with two groups (the paper's; written with a logit per group it is
    one minus the probability of the true group) and the cross entropy of a soft-max over the groups with more; the option
    ``error`` asks for either. The gradient of the first vanishes where the discriminator is sure, so that groups which features
    tell well stay told. The weights ``w = 1 / P(a, y)``, of the training samples of known group, let every cell count the same.

    ``eqodd``: h reads z and the class. ``dp``: h reads z; ``w = 1 / P(a)``. ``eqopp``: h reads z, and only samples of one class
    take part.
    """

    def __init__(self, options: Laftr) -> None:
        self._options = options
        self._seen: SeenGroups
        self.discriminator: Discriminator
        self.cell_weights: Tensor

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Make the discriminator.

        Raises
        ------
        UserError
            If the head has no representation to train, train has fewer than two groups to tell apart, or ``eqopp`` names a
            class that there is not.
        """
        width = width_of("laftr", head, rows)
        self._seen = SeenGroups("laftr", rows)
        self.cell_weights = self._balanced(rows)
        told = len(rows.class_names) if self._options.variant == "eqodd" else 0
        self.discriminator = Discriminator(width + told, len(self._seen), self._options.hidden)
        return head

    def parameters(self) -> list[nn.Parameter]:
        """Return the discriminator's."""
        return list(self.discriminator.parameters())

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return ``c CE + D``, with the gradient of D reversed and scaled by f on its way into the representation."""
        values, losses = represented(head, batch)
        task = self._options.task * weighted_mean(losses, batch)
        known, groups = self._seen.of(batch)
        if not len(groups):
            return task
        classes = batch.classes[known]
        read = reverse_gradient(values[known], self._options.fairness)
        if self._options.variant == "eqodd":
            told = one_hot(classes, self.cell_weights.shape[1]).to(read.dtype)
            read = torch.cat([read, told], dim=1)
        errors = self._errors(self.discriminator(read), groups)
        return task + (self.cell_weights[groups, classes] * errors).mean()

    def step(self, head: Head, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
        """Make one step with gradients of at most the norm ``clip``, for either side, and return the loss before it."""
        optimiser.zero_grad(set_to_none=True)
        loss = self.loss(head, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        for side in (head.parameters(), self.parameters()):
            torch.nn.utils.clip_grad_norm_(side, self._options.clip)
        optimiser.step()
        return float(loss.detach())

    def _errors(self, logits: Tensor, groups: Tensor) -> Tensor:
        """Return by how much the discriminator is wrong about every sample ``[n]``."""
        error = self._options.error or ("absolute" if len(self._seen) == 2 else "cross_entropy")
        if error == "cross_entropy":
            return sample_losses(logits, groups)
        return 1.0 - torch.softmax(logits, dim=1).gather(1, groups[:, None])[:, 0]

    def _balanced(self, rows: TrainingRows) -> Tensor:
        """Return the weight of every cell ``[K, C]``; 0 for those that take no part."""
        counts = self._seen.counts
        if self._options.variant == "dp":
            cells = counts.sum(dim=1, keepdim=True).expand_as(counts)
        elif self._options.variant == "eqopp":
            cells = torch.zeros_like(counts)
            place = self._class(rows)
            cells[:, place] = counts[:, place]
            if int((cells[:, place] > 0).sum()) < 2:
                raise UserError(
                    f"laftr with eqopp needs training samples of class {self._options.of!r} in at least two groups. "
                    "Take another class or variant."
                )
        else:
            cells = counts
        return torch.where(cells > 0, counts.sum() / cells.clamp(min=1.0), torch.zeros_like(cells))

    def _class(self, rows: TrainingRows) -> int:
        if self._options.of not in rows.class_names:
            raise UserError(
                f"laftr with eqopp is asked for class {self._options.of!r}; train has {', '.join(rows.class_names)}."
            )
        return rows.class_names.index(self._options.of)
