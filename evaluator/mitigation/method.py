"""What a mitigation may change of training; the base class changes nothing (ERM).

Rules for every method: a sample of unknown group takes part in the task's loss and never in a group's term; a group that is
absent from a batch contributes nothing and is in no minimum, maximum or normalisation over groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows

#: Group code of a sample whose group is not known.
UNKNOWN = -1


class Batch(NamedTuple):
    """Some training samples.

    Attributes
    ----------
    features
        ``[B, D]`` float32.
    classes
        ``[B]`` int64.
    groups
        ``[B]`` int64, -1 where unknown.
    weights
        ``[B]`` float32, what each sample's loss counts.
    """

    features: Tensor
    classes: Tensor
    groups: Tensor
    weights: Tensor


class Method:
    """Empirical risk minimisation, and the places where a mitigation differs from it. One object per fit: it may keep state."""

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Return the head that is trained: the given one, or one around it; sees the training rows once, before training."""
        return head

    def parameters(self) -> Sequence[torch.nn.Parameter]:
        """Return parameters of the method's own that the optimiser trains with the head's."""
        return ()

    def sampling(self, rows: TrainingRows) -> NDArray[np.float64] | None:
        """Return by which probability ``[n]`` rows are drawn, with replacement; None: every row once an epoch."""
        return None

    def weights(self, rows: TrainingRows) -> NDArray[np.float64] | None:
        """Return what each row's loss counts ``[n]``, of mean 1; None: all the same."""
        return None

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the loss of a batch: the weighted mean of the samples' losses."""
        return mean_loss(head, batch)

    def step(self, head: Head, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
        """Make one step of the optimiser and return the loss before it."""
        optimiser.zero_grad(set_to_none=True)
        loss = self.loss(head, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())

    def after_epoch(self, head: Head, val_loss: float) -> None:
        """Take note of an epoch's end; `val_loss` is that of the validation rows."""

    def final_state(self) -> dict[str, Tensor] | None:
        """Return the weights to end with instead of those of the best epoch; None for those."""
        return None

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know of this fit, a sentence each; asked for when training is over."""
        return ()


def sample_losses(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the cross entropy ``[B]`` of every sample."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, classes, reduction="none")


def mean_loss(head: Head, batch: Batch) -> Tensor:
    """Return the weighted mean of the cross entropies of a batch."""
    losses = sample_losses(head(batch.features, batch.groups), batch.classes)
    return (batch.weights * losses).sum() / batch.weights.sum()
