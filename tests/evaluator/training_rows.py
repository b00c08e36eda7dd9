"""Small training sets, embeddings and heads for the tests of training and mitigation."""

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from evaluator.mitigation.method import Batch
from evaluator.tables import embeddings_schema
from evaluator.training.head import Head
from evaluator.training.recipe import Recipe
from evaluator.training.rows import TrainingRows

RECIPE = Recipe(
    epochs=30,
    batch_size=32,
    learning_rate=0.01,
    minimum_learning_rate=1e-4,
    warmup=2,
    weight_decay=0.01,
    patience=30,
)
#: Training and validation sets of a planted unfairness: the rarer group's sign of disease lies elsewhere.
GROUPS = ("common", "rare")


def unfair_rows(count=400, *, seed=0, rare=0.15, unknown=0.1) -> TrainingRows:
    """Two classes; in the common group feature 0 tells them, in the rare group feature 1 does (and 0 misleads)."""
    stream = np.random.default_rng(seed)
    classes = stream.integers(0, 2, count)
    groups = (stream.random(count) < rare).astype(np.int64)
    features = stream.normal(size=(count, 6)).astype(np.float32)
    sign = 2.0 * classes - 1.0
    features[:, 0] += np.where(groups == 0, 1.5, -0.5) * sign
    features[:, 1] += np.where(groups == 1, 1.5, 0.0) * sign
    features[:, 2] += 2.0 * (2.0 * groups - 1.0)  # tells the group
    groups[stream.random(count) < unknown] = -1
    return TrainingRows(features, classes, groups, ("healthy", "sick"), GROUPS)


def linear_head(dimension=6, classes=2) -> Head:
    return Head(nn.Identity(), nn.Linear(dimension, classes))


def mlp_head(dimension=6, hidden=16, classes=2) -> Head:
    return Head(nn.Sequential(nn.Linear(dimension, hidden), nn.ReLU()), nn.Linear(hidden, classes))


def batch_of(features, classes, groups, weights=None) -> Batch:
    features = torch.as_tensor(features, dtype=torch.float32)
    return Batch(
        features,
        torch.as_tensor(classes),
        torch.as_tensor(groups),
        torch.ones(len(features)) if weights is None else torch.as_tensor(weights),
    )


class Fixed(torch.nn.Module):
    """A head whose sample k of class 0 has the loss that feature 0 says."""

    def forward(self, features, groups):
        wanted = features[:, 0]
        return torch.stack([torch.zeros_like(wanted), torch.log(torch.expm1(wanted))], dim=1)


def embeddings(features, splits, *, status=None, projected=None) -> pa.Table:
    count, dimension = features.shape
    schema = embeddings_schema(dimension, None if projected is None else projected.shape[1])
    columns = {
        "sample_id": [f"s{k:05d}" for k in range(count)],
        "subject_id": [f"p{k:05d}" for k in range(count)],
        "split": list(splits),
        "embedding": list(features.astype(np.float32)),
        "status": status or ["ok"] * count,
    }
    if projected is not None:
        columns["projected"] = list(projected.astype(np.float32))
    return pa.table(
        [pa.array(columns.get(field.name, [None] * count), field.type) for field in schema], schema=schema
    )
