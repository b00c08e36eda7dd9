"""Modules that compare features with texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

if TYPE_CHECKING:
    from evaluator.models.interfaces import Similarity
    from evaluator.training.rows import TrainingRows


class Unit(nn.Module):
    """Bring features ``[B, P]`` to unit length."""

    def forward(self, features: Tensor) -> Tensor:
        """Return ``[B, P]``."""
        return normalize(features, dim=1)


class TextLogits(nn.Module):
    """Logits ``scale * cos(f, t_c) + bias`` of features and class embeddings.

    Parameters
    ----------
    weights
        ``[C, P]`` class embeddings; trained if they require a gradient.
    scale, bias
        Of the model.
    """

    def __init__(self, weights: nn.Parameter, scale: float, bias: float) -> None:
        super().__init__()
        self.weights = weights
        self.scale = scale
        self.bias = bias

    @classmethod
    def of(cls, weights: NDArray[np.float64], similarity: Similarity, *, trained: bool) -> TextLogits:
        """Start at the texts' embeddings ``[C, P]``."""
        tensor = torch.tensor(weights, dtype=torch.float32)
        return cls(nn.Parameter(tensor, requires_grad=trained), similarity.scale, similarity.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of ``[B, P]``."""
        return self.scale * normalize(features, dim=1) @ normalize(self.weights, dim=1).T + self.bias

    def cosines(self, features: Tensor) -> Tensor:
        """Return the similarities ``[B, C]`` in [-1, 1] of which the logits are made."""
        return normalize(features, dim=1) @ normalize(self.weights, dim=1).T


class Adapter(nn.Module):
    """The bottleneck of CLIP-Adapter with its residual.

    Parameters
    ----------
    width
        P.
    reduction
        The bottleneck has ``P / reduction`` units, at least one.
    alpha
        Share of the adapted features.
    """

    def __init__(self, width: int, reduction: int, alpha: float) -> None:
        super().__init__()
        narrow = max(1, width // reduction)
        self.down = nn.Linear(width, narrow, bias=False)
        self.up = nn.Linear(narrow, width, bias=False)
        self.alpha = alpha

    def forward(self, features: Tensor) -> Tensor:
        """Return ``[B, P]``, not of unit length."""
        unit = normalize(features, dim=1)
        adapted = torch.relu(self.up(torch.relu(self.down(unit))))
        return self.alpha * adapted + (1.0 - self.alpha) * unit


class Cache(nn.Module):
    """Text logits and what the most similar training samples say.

    Parameters
    ----------
    texts
        Logits of the texts.
    keys
        ``[N, P]`` unit features of training samples.
    values
        ``[N, C]`` their classes, one-hot.
    alpha, beta
        Weight and sharpness.
    """

    values: Tensor

    def __init__(self, texts: TextLogits, keys: Tensor, values: Tensor, alpha: float, beta: float) -> None:
        super().__init__()
        self.texts = texts
        self.keys = nn.Parameter(keys, requires_grad=False)
        self.register_buffer("values", values)
        self.alpha = alpha
        self.beta = beta

    @classmethod
    def of(
        cls, rows: TrainingRows, texts: TextLogits, *, shots: int | None, alpha: float, beta: float
    ) -> Cache:
        """Fill the cache with `shots` training samples of each class (all of a class that has fewer), drawn at random."""
        classes = torch.from_numpy(rows.classes)
        order = torch.randperm(len(classes))
        taken = [order[classes[order] == k][:shots] for k in range(len(rows.class_names))]
        places = torch.cat(taken)
        keys = normalize(torch.from_numpy(rows.features)[places], dim=1)
        return cls(texts, keys, one_hot(classes[places], len(rows.class_names)).float(), alpha, beta)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``[B, C]`` of unit features ``[B, P]``."""
        affinity = torch.exp(-self.beta * (1.0 - features @ normalize(self.keys, dim=1).T))
        logits: Tensor = self.texts(features) + self.alpha * affinity @ self.values
        return logits
