"""Probe with one hidden layer on standardised frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluator.usages.trained import HeadPlan
from evaluator.usages.training_options import MlpProbeOptions

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


def plan(options: MlpProbeOptions) -> HeadPlan:
    """Return what is trained: standardisation, ``hidden`` units with GELU and dropout, and a linear classifier of them."""

    def make(rows: TrainingRows) -> Head:
        import torch
        from torch import nn

        from evaluator.training.head import Head, Standardise

        features = torch.from_numpy(rows.features)
        represent = nn.Sequential(
            Standardise.of(features),
            nn.Linear(features.shape[1], options.hidden),
            nn.GELU(),
            nn.Dropout(options.dropout),
        )
        return Head(represent, nn.Linear(options.hidden, len(rows.class_names)))

    return HeadPlan("mlp_probe", "embedding", {"": make})
