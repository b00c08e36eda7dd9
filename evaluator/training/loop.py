"""Train a head: seeded, on one thread, the epoch chosen by the validation loss.

Guarantee: the result depends on the rows, the recipe, the method and the seed, and on nothing else; the test split is not an
argument. Order of samples, initial weights and dropout come from the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from evaluator.mitigation.method import Batch, Method, mean_loss
from evaluator.training.head import Head
from evaluator.training.recipe import Recipe
from evaluator.training.rows import TrainingRows
from shards.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Trained:
    """A trained head and how it came to be.

    Attributes
    ----------
    head
        In evaluation mode, with the weights that were chosen.
    epoch
        The chosen epoch, counted from 1; 0 where there is nothing to train.
    val_losses
        Mean cross entropy of the validation rows after each epoch; of the head as it is where there is nothing to train.
    val_loss
        That of the head as it is returned: of the chosen epoch, or of the weights that the method ended with.
    notes
        What the method says of this fit.
    """

    head: Head
    epoch: int
    val_losses: tuple[float, ...]
    val_loss: float
    notes: tuple[str, ...] = ()


def train(
    make: Callable[[], Head],
    rows: TrainingRows,
    val: TrainingRows,
    recipe: Recipe,
    method: Method,
    *,
    seed: int,
) -> Trained:
    """Train a head on rows and choose the epoch on val.

    Parameters
    ----------
    make
        Builds the head; its random weights come from the seed.
    rows, val
        Training and validation rows.
    recipe, method, seed
        How.

    Raises
    ------
    UserError
        If no epoch has a finite validation loss.

    Notes
    -----
    The validation loss is the plain mean cross entropy for every method, so that methods are compared by one rule.
    """
    with _quiet(seed):
        head = method.prepare(make(), rows)
        own = list(method.parameters())
        if not any(parameter.requires_grad for parameter in head.parameters()):
            loss = _loss_of(head, val)
            return Trained(head.eval(), 0, (loss,), loss)
        trainable = [*(parameter for parameter in head.parameters() if parameter.requires_grad), *own]
        optimiser = torch.optim.AdamW(trainable, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        best: tuple[float, int, dict[str, torch.Tensor]] = (math.inf, 0, _copied(head))
        losses: list[float] = []
        for epoch in range(1, recipe.epochs + 1):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(epoch)
            head.train()
            for batch in batches(rows, method, recipe.batch_size, seed=seed, epoch=epoch):
                method.step(head, batch, optimiser)
            losses.append(_loss_of(head, val))
            method.after_epoch(head, losses[-1])
            if losses[-1] < best[0]:
                best = (losses[-1], epoch, _copied(head))
            elif epoch - best[1] >= recipe.patience:
                break
        if best[1] == 0:
            raise UserError(
                f"training with {type(method).__name__} diverged: no validation loss in {len(losses)} epochs is a number. "
                "Take a smaller learning_rate, or check the features."
            )
        final = method.final_state()
        head.load_state_dict(best[2] if final is None else final)
        head.eval()
        ended = best[0] if final is None else _loss_of(head, val)
    return Trained(head, best[1], tuple(losses), ended, method.notes())


def batches(rows: TrainingRows, method: Method, size: int, *, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield an epoch's batches: the rows in a random order, or as many rows drawn by the method's chances.

    The last batch holds what is left. The order is keyed by seed and epoch alone.
    """
    count = len(rows.classes)
    stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    chance = method.sampling(rows)
    order = stream.permutation(count) if chance is None else stream.choice(count, count, p=chance)
    counted = method.weights(rows)
    weights = np.ones(count) if counted is None else counted
    for start in range(0, count, size):
        taken = order[start : start + size]
        yield Batch(
            torch.from_numpy(rows.features[taken]),
            torch.from_numpy(rows.classes[taken]),
            torch.from_numpy(rows.groups[taken]),
            torch.from_numpy(weights[taken].astype(np.float32)),
        )


def logits_of(head: Head, features: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return logits ``[n, C]`` of a trained head, in tiles of one size so that no row depends on the others.

    Parameters
    ----------
    head
        In evaluation mode.
    features, groups
        ``[n, D]`` and ``[n]``.
    """
    tile, count = 256, len(features)
    if not count:
        return np.zeros((0, 0))
    padding = -count % tile
    full = torch.from_numpy(np.concatenate([features, np.repeat(features[-1:], padding, axis=0)]))
    codes = torch.from_numpy(np.concatenate([groups, np.repeat(groups[-1:], padding)]))
    with torch.inference_mode():
        parts = [
            head(x, a).double()
            for x, a in zip(torch.split(full, tile), torch.split(codes, tile), strict=True)
        ]
    return np.asarray(torch.cat(parts)[:count].numpy())


def _loss_of(head: Head, rows: TrainingRows) -> float:
    head.eval()
    everything = Batch(
        torch.from_numpy(rows.features),
        torch.from_numpy(rows.classes),
        torch.from_numpy(rows.groups),
        torch.ones(len(rows.classes)),
    )
    with torch.inference_mode():
        return float(mean_loss(head, everything))


def _copied(head: Head) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in head.state_dict().items()}


@contextmanager
def _quiet(seed: int) -> Iterator[None]:
    """Draw from a stream of the seed's own, on one thread; both are put back afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
