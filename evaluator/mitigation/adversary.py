"""What adversarial and disentangling methods share: reading groups from a representation, and hiding them there.

One step of the optimiser trains both sides: the adversary descends its own error and, through the reversed gradient, the
representation ascends it. So the adversary really looks for the group, which two optimisers descending one scalar would not
make it do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evaluator.mitigation.method import UNKNOWN, Batch, sample_losses
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class Discriminator(nn.Module):
    """Read a group from a representation: one hidden layer with ReLU, and a logit per group.

    Parameters
    ----------
    inputs
        Width of what it reads.
    groups
        Number of groups.
    hidden
        Width of the hidden layer.
    """

    def __init__(self, inputs: int, groups: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, groups))

    def forward(self, representation: Tensor) -> Tensor:
        """Return logits ``[B, groups]`` of ``[B, inputs]``."""
        logits: Tensor = self.layers(representation)
        return logits


class SeenGroups:
    """The groups that train has, numbered without gaps: a group without a sample is nothing to be told from others.

    Parameters
    ----------
    method
        Its name, for messages.
    rows
        Training rows.

    Attributes
    ----------
    counts
        ``[K, C]`` float, training samples of each seen group and class.

    Raises
    ------
    UserError
        If train has samples of fewer than two groups.
    """

    def __init__(self, method: str, rows: TrainingRows) -> None:
        known = rows.groups != UNKNOWN
        width = len(rows.class_names)
        table = np.bincount(
            rows.groups[known] * width + rows.classes[known], minlength=len(rows.group_names) * width
        ).reshape(-1, width)
        seen = np.flatnonzero(table.sum(axis=1))
        if len(seen) < 2:
            names = ", ".join(rows.group_names[g] for g in seen) or "none"
            raise UserError(
                f"{method} hides groups from each other and needs training samples of at least two, found {names}. "
                "Put groups together differently (bins, values) or leave the method out."
            )
        self.counts = torch.from_numpy(table[seen]).float()
        self._place = torch.full((len(table),), UNKNOWN)
        self._place[torch.from_numpy(seen)] = torch.arange(len(seen))

    def __len__(self) -> int:
        return len(self.counts)

    def of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return which samples' group is known ``[B]``, and the numbers ``[n]`` of those."""
        known = batch.groups != UNKNOWN
        return known, self._place[batch.groups[known]]


def reverse_gradient(values: Tensor, strength: float) -> Tensor:
    """Return the same values; the gradient that flows back through them is multiplied by ``-strength``.

    Ganin and Lempitsky 2015, Unsupervised Domain Adaptation by Backpropagation.
    """
    same = values.view_as(values)
    if same.requires_grad:
        same.register_hook(lambda gradient: -strength * gradient)  # type: ignore[no-untyped-call]
    return same


def read_only(reader: nn.Module, values: Tensor) -> Tensor:
    """Return the logits of a reader that takes no gradient; `values` do."""
    fixed = {name: parameter.detach() for name, parameter in reader.named_parameters()}
    logits: Tensor = torch.func.functional_call(reader, fixed, (values,))
    return logits


def negative_entropy(logits: Tensor) -> Tensor:
    """Return the mean of ``sum_k p_k log p_k`` over rows of logits ``[B, K]``; 0 without rows, finite for any logits."""
    logs = torch.log_softmax(logits, dim=1)
    return (logs.exp() * logs).sum() / max(1, len(logits))


def represented(head: Head, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the representation ``[B, Z]`` and the samples' cross entropies ``[B]`` read from it."""
    values = head.represent(batch.features)
    return values, sample_losses(head.classify(values), batch.classes)


def weighted_mean(losses: Tensor, batch: Batch) -> Tensor:
    """Return the mean of the samples' losses by what each counts."""
    return (batch.weights * losses).sum() / batch.weights.sum()


def width_of(method: str, head: Head, rows: TrainingRows) -> int:
    """Return the width of a head's representation.

    Raises
    ------
    UserError
        If nothing of it is trained, so that a method could change nothing.
    """
    if not any(parameter.requires_grad for parameter in head.represent.parameters()):
        raise UserError(
            f"{method} changes what a head represents, and this one classifies the features as they are. Use it with a "
            "usage that trains a representation, such as mlp_probe, or leave the method out."
        )
    mode = head.represent.training
    head.represent.eval()
    with torch.no_grad():
        width = head.represent(torch.from_numpy(rows.features[:1])).shape[1]
    head.represent.train(mode)
    return int(width)
