"""ODR (Sarhan et al. 2020, Fairness by Learning Orthogonal Disentangled Representations)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from evaluator.mitigation.adversary import (
    Discriminator,
    SeenGroups,
    negative_entropy,
    read_only,
    weighted_mean,
    width_of,
)
from evaluator.mitigation.method import Batch, Method, sample_losses
from evaluator.mitigation.options import Odr
from evaluator.training.head import Head
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows


class Gaussian(nn.Module):
    """A normal distribution with independent axes, given what it is read from.

    Parameters
    ----------
    inputs, latent
        Width of what is read, and number of axes.
    prior_mean
        ``[latent]``; the prior's standard deviations are 1.
    """

    prior_mean: Tensor

    def __init__(self, inputs: int, latent: int, prior_mean: Tensor) -> None:
        super().__init__()
        self.mean = nn.Linear(inputs, latent)
        self.log_variance = nn.Linear(inputs, latent)
        self.register_buffer("prior_mean", prior_mean)

    def forward(self, values: Tensor) -> Tensor:
        """Return a sample of every row ``[B, latent]`` in training, the mean otherwise."""
        mean: Tensor = self.mean(values)
        if not self.training:
            return mean
        return mean + torch.exp(0.5 * self.log_variance(values)) * torch.randn_like(mean)

    def divergence(self, values: Tensor) -> Tensor:
        """Return ``KL(q || p)`` of every row ``[B]``: ``sum (sigma^2 + (mu - m)^2 - 1 - log sigma^2) / 2``."""
        log_variance = self.log_variance(values)
        squared = (self.mean(values) - self.prior_mean).square()
        divergence: Tensor = 0.5 * (log_variance.exp() + squared - 1.0 - log_variance).sum(dim=1)
        return divergence


class OdrMethod(Method):
    """The representation becomes two: z_t of the target and z_s of the group, kept apart by priors with orthogonal means.

    ``CE(y | z_t) + l_od(e) mean [KL(q_t || p_t) + KL(q_s || p_s)] + l_e(e) mean sum_k p_k log p_k + CE(a | z_s)``, with p the
    posterior of the group's classifier read from z_t, and ``l(e) = lambda gamma^(e / step)`` in epoch e, counted from 0. Terms
    about groups are over samples of known group. The last term trains the group's branch alone, not what it is read from; the
    entropy does not train the group's classifier.

    The group's classifier learns on z_s and is only read on z_t (the paper's choice): it need not know all that z_t says of the
    group, so that a reader of z_t's own may still find it.

    z_t and z_s are drawn in training with gradients through mean and variance; a prediction takes the mean of z_t. The head's
    classifier is replaced by a linear one of z_t, and its representation remains what both are read from.
    """

    def __init__(self, options: Odr) -> None:
        self._options = options
        self._epoch = 0
        self._seen: SeenGroups
        self._trunk: nn.Module
        self.of_target: Gaussian
        self.of_group: Gaussian
        self.predictor: Discriminator

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Return the head that classifies z_t.

        Raises
        ------
        UserError
            If the head has no representation to train or no linear classifier, or train has fewer than two groups.
        """
        width = width_of("odr", head, rows)
        if not isinstance(head.classify, nn.Linear):
            raise UserError(
                "odr puts a linear classifier in place of the usage's own, which is another one. Use it with mlp_probe, or "
                "leave the method out."
            )
        self._seen = SeenGroups("odr", rows)
        latent = self._options.latent
        axis = torch.zeros(latent)
        axis[0] = 1.0
        self._trunk = head.represent
        self.of_target = Gaussian(width, latent, axis)
        self.of_group = Gaussian(width, latent, 1.0 - axis)
        self.predictor = Discriminator(latent, len(self._seen), self._options.hidden)
        return Head(nn.Sequential(self._trunk, self.of_target), nn.Linear(latent, len(rows.class_names)))

    def parameters(self) -> list[nn.Parameter]:
        """Return those of the group's branch."""
        return [*self.of_group.parameters(), *self.predictor.parameters()]

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        options = self._options
        values = self._trunk(batch.features)
        target = self.of_target(values)
        task = weighted_mean(sample_losses(head.classify(target), batch.classes), batch)
        kept_apart = (self.of_target.divergence(values) + self.of_group.divergence(values)).mean()
        loss = task + self._now(options.lambda_od, options.gamma_od) * kept_apart
        known, groups = self._seen.of(batch)
        if not len(groups):
            return loss
        told = negative_entropy(read_only(self.predictor, target[known]))
        found = sample_losses(self.predictor(self.of_group(values[known].detach())), groups).mean()
        return loss + self._now(options.lambda_e, options.gamma_e) * told + found

    def after_epoch(self, head: Head, val_loss: float) -> None:
        """Count epochs: the coefficients change with them."""
        del head, val_loss
        self._epoch += 1

    def _now(self, coefficient: float, factor: float) -> float:
        return float(coefficient * factor ** (self._epoch / self._options.step))
