"""Fair identity normalisation (FIN, Luo et al. 2024, Harvard Glaucoma Fairness)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from evaluator.mitigation.groups import groups_in
from evaluator.mitigation.method import UNKNOWN, Method
from evaluator.mitigation.options import Fin
from evaluator.training.head import Head

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows

_EPSILON = 1e-6


class GroupNormalisation(nn.Module):
    """Shift and scale values by numbers of their group.

    Parameters
    ----------
    width
        Z.
    groups
        How many there are.
    seen
        Codes of those that are normalised.
    momentum
        Share m of the value as it was.
    """

    places: Tensor

    def __init__(self, width: int, groups: int, seen: Sequence[int], momentum: float) -> None:
        super().__init__()
        places = torch.full((groups + 1,), UNKNOWN)  # the last entry is found with group -1
        places[list(seen)] = torch.arange(len(seen))
        self.register_buffer("places", places)
        self.mean = nn.Parameter(1e-3 * torch.randn(len(seen), width))
        self.spread = nn.Parameter(0.1 * torch.randn(len(seen), width))
        self.momentum = momentum

    def forward(self, values: Tensor, groups: Tensor) -> Tensor:
        """Return ``[B, Z]``; rows of groups that are not normalised come back as they were."""
        place = self.places[groups]
        some = place.clamp(min=0)
        normal = (values - self.mean[some]) / (softplus(self.spread[some]) + _EPSILON)
        mixed = (1.0 - self.momentum) * normal + self.momentum * values
        return torch.where((place == UNKNOWN)[:, None], values, mixed)


class NormalisedHead(Head):
    """A head whose classifier reads the representation normalised by group.

    Parameters
    ----------
    head
        The usage's own.
    normalise
        ``[B, Z]`` and groups ``[B]`` -> ``[B, Z]``.
    """

    def __init__(self, head: Head, normalise: GroupNormalisation) -> None:
        super().__init__(head.represent, head.classify)
        self.normalise = normalise

    def forward(self, features: Tensor, groups: Tensor) -> Tensor:
        """Return logits ``[B, C]``."""
        logits: Tensor = self.classify(self.normalise(self.represent(features), groups))
        return logits


class FinMethod(Method):
    """The classifier reads ``(1 - m) (z - mu_a) / (softplus(sigma_a) + 1e-6) + m z`` of a sample of group a.

    mu_a and sigma_a, per group and axis, are trained with the head; they start at ``1e-3 N(0, 1)`` and ``0.1 N(0, 1)``.
    Samples of unknown group, and of groups that train does not have, are read as they are. A prediction needs the group.
    """

    def __init__(self, options: Fin) -> None:
        self._momentum = options.momentum
        self._known = 0.0

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Put the normalisation before the classifier; a UserError if no training sample's group is known."""
        seen = groups_in("fin", rows)
        self._known = float((rows.groups != UNKNOWN).mean())
        head.represent.eval()
        with torch.no_grad():
            width = head.represent(torch.from_numpy(rows.features[:1])).shape[1]
        head.represent.train()
        return NormalisedHead(head, GroupNormalisation(width, len(rows.group_names), seen, self._momentum))

    def notes(self) -> tuple[str, ...]:
        """Say that predictions are made with the group, and how often it was known."""
        return (
            f"fin is told the group of every sample that it predicts; it was known of {self._known:.0%} of the train samples, "
            "and the others are read as they are",
        )
