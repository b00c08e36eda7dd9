"""How a head is trained, as numbers. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a head is trained.

    Attributes
    ----------
    epochs
        At most so many; an epoch sees as many samples as there are training rows.
    batch_size
        Samples of a step.
    learning_rate, minimum_learning_rate
        Of AdamW: reached after `warmup` epochs, and at the end.
    warmup
        Epochs of linear growth.
    weight_decay
        Of AdamW.
    patience
        Epochs without a lower validation loss after which training ends.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    minimum_learning_rate: float
    warmup: int
    weight_decay: float
    patience: int

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1: linear warm-up, then half a cosine (FairMedFM's schedule).

        Examples
        --------
        >>> recipe = Recipe(100, 128, 2.5e-4, 1e-5, 5, 0.05, 100)
        >>> [round(recipe.rate(epoch), 10) for epoch in (1, 4, 5, 50, 100)]
        [5e-05, 0.0002, 0.00025, 0.0001399095, 1e-05]
        """
        if epoch < self.warmup:
            return self.learning_rate * epoch / self.warmup
        share = (epoch - self.warmup) / max(1, self.epochs - self.warmup)
        low = self.minimum_learning_rate
        return low + (self.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * share))
