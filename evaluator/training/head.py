"""What is trained on features: a representation and a classifier of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """A representation followed by a classifier.

    Parameters
    ----------
    represent
        ``[B, D]`` -> ``[B, Z]``.
    classify
        ``[B, Z]`` -> ``[B, C]`` logits.
    """

    def __init__(self, represent: nn.Module, classify: nn.Module) -> None:
        super().__init__()
        self.represent = represent
        self.classify = classify

    def forward(self, features: Tensor, groups: Tensor) -> Tensor:
        """Return logits ``[B, C]``; `groups` ``[B]`` is for heads that a mitigation made of this one."""
        del groups
        logits: Tensor = self.classify(self.represent(features))
        return logits


class Standardise(nn.Module):
    """Subtract and divide by constants of the training rows.

    Parameters
    ----------
    mean, scale
        ``[D]``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    @classmethod
    def of(cls, features: Tensor) -> Standardise:
        """Return that of training features ``[n, D]``; a constant feature is only shifted."""
        wide = features.double()
        constant = features.amin(dim=0) == features.amax(dim=0)
        scale = wide.std(dim=0, correction=0)
        return cls(wide.mean(dim=0).float(), torch.where(constant, torch.ones_like(scale), scale).float())

    def forward(self, features: Tensor) -> Tensor:
        """Return features of mean 0 and standard deviation 1 over the training rows."""
        return (features - self.mean) / self.scale
