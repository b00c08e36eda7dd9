"""LNL (Kim et al. 2019, Learning Not to Learn: Training Deep Neural Networks with Biased Data)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from evaluator.mitigation.adversary import (
    Discriminator,
    SeenGroups,
    negative_entropy,
    read_only,
    represented,
    reverse_gradient,
    weighted_mean,
    width_of,
)
from evaluator.mitigation.method import Batch, Method, sample_losses
from evaluator.mitigation.options import Lnl

if TYPE_CHECKING:
    from torch import nn

    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class LnlMethod(Method):
    """A predictor learns the group's posterior p from the representation, which is trained to leave it without information.

    The representation and the classifier descend ``CE(y) + lambda mean_i sum_k p_ik log p_ik - r CE(a)``, the predictor
    descends ``CE(a)``; over the samples of known group. The paper takes the two terms about groups in two steps in turn, here
    one step takes both: the predictor is constant in the first, and learns from the second alone.
    """

    def __init__(self, options: Lnl) -> None:
        self._options = options
        self._seen: SeenGroups
        self.predictor: Discriminator

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Make the predictor.

        Raises
        ------
        UserError
            If the head has no representation to train, or train has fewer than two groups.
        """
        width = width_of("lnl", head, rows)
        self._seen = SeenGroups("lnl", rows)
        self.predictor = Discriminator(width, len(self._seen), self._options.hidden)
        return head

    def parameters(self) -> list[nn.Parameter]:
        """Return the predictor's."""
        return list(self.predictor.parameters())

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return all terms; the gradient of ``CE(a)`` is reversed on its way into the representation."""
        values, losses = represented(head, batch)
        task = weighted_mean(losses, batch)
        known, groups = self._seen.of(batch)
        if not len(groups):
            return task
        told = negative_entropy(read_only(self.predictor, values[known]))
        found = sample_losses(
            self.predictor(reverse_gradient(values[known], self._options.reversal)), groups
        ).mean()
        return task + self._options.lambda_e * told + found
