"""SAM (Foret et al. 2021, Sharpness-Aware Minimization) and its adaptive variant (Kwon et al. 2021, ASAM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from evaluator.mitigation.method import Batch, Method
from evaluator.mitigation.options import Sam

if TYPE_CHECKING:
    from evaluator.training.head import Head


class SamMethod(Method):
    """A step takes the gradient where the loss is about the largest within rho of the weights, and is made from the weights.

    ``w' = w + rho g / |g|`` with g the gradient at w; ``w' = w + rho w^2 g / ||w| g|`` in the adaptive variant, in which a
    weight's own size is its unit. Norms are over all trained weights. No gradient, no way up: then ``w' = w``.
    Both gradients are of the same loss: the same batch and the same units left out by dropout. The optimiser makes one step.
    """

    def __init__(self, options: Sam) -> None:
        self._options = options

    def step(self, head: Head, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
        """Make a step and return the loss at the weights before it."""
        chance = torch.get_rng_state()
        loss = self._gradient(head, batch, optimiser)
        weights = [w for group in optimiser.param_groups for w in group["params"] if w.grad is not None]
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight, way in zip(weights, self._way_up(weights), strict=True):
                weight += way
        torch.set_rng_state(chance)
        self._gradient(head, batch, optimiser)
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)  # not by subtraction, which would leave rounding errors
        optimiser.step()
        return loss

    def _gradient(self, head: Head, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = self.loss(head, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def _way_up(self, weights: Sequence[nn.Parameter]) -> list[Tensor]:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        sizes = [weight.abs() if self._options.adaptive else torch.ones_like(weight) for weight in weights]
        scaled = [size * gradient for size, gradient in zip(sizes, gradients, strict=True)]
        if not scaled:
            return []
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in scaled]))
        factor = torch.where(norm > 0, self._options.rho / norm, torch.zeros_like(norm))
        return [factor * size * one for size, one in zip(sizes, scaled, strict=True)]
