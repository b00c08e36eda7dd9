"""Training of ``tiny-clip``: contrast between pictures and captions, with all true captions as positives.

The sign's contrast is drawn at random for every subject, whatever their sex, age or race, so the model itself
is blind to groups: a disparity measured with it comes from the data it is shown.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from evaluator.models.tiny.architecture import CLIP_SIDE, build_tiny_clip
from evaluator.models.tiny.captions import Fact, caption_bank, chest_facts, fundus_facts
from evaluator.models.tiny.schedule import learning_rate
from evaluator.models.tiny.tokenizer import tokenize
from shards.phantom.chest import draw_chest, view_chest
from shards.phantom.fundus import draw_fundus, view_fundus
from shards.phantom.subjects import DATASET_SEEDS, Stream, generator

if TYPE_CHECKING:
    from open_clip.model import CLIP

log = logging.getLogger(__name__)

_CONTRASTS = (0.3, 1.8)
_LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class ClipTraining:
    """How ``tiny-clip`` is trained.

    Attributes
    ----------
    steps, batch
        Optimiser steps and pictures per step.
    chests, fundi
        How many pictures of each kind are drawn; each is seen several times, moved and exposed differently.
    rate
        Peak learning rate.
    decay
        Weight decay.
    seed
        Added to the seeds that no dataset may use.
    """

    steps: int = 750
    batch: int = 96
    chests: int = 8000
    fundi: int = 3000
    rate: float = 1.5e-3
    decay: float = 0.05
    seed: int = 1


@dataclass(frozen=True)
class Pool:
    """Drawn pictures with what is true of them.

    Attributes
    ----------
    images
        ``[N, 3, 64, 64]`` uint8.
    true
        ``[N, captions]`` bool.
    """

    images: torch.Tensor
    true: torch.Tensor


def draw_pool(training: ClipTraining) -> Pool:
    """Draw the training pictures; the same for the same training."""
    bank = caption_bank()
    images, facts = [], []
    for number in range(training.chests):
        image, fact = _chest(training.seed, number)
        images.append(image)
        facts.append(fact)
    for number in range(training.fundi):
        image, fact = _fundus(training.seed, number)
        images.append(image)
        facts.append(fact)
    true = [[caption in known for caption in bank.facts] for known in facts]
    return Pool(torch.from_numpy(np.stack(images)), torch.tensor(true))


def train_clip(training: ClipTraining, pool: Pool) -> tuple[CLIP, list[float]]:
    """Train ``tiny-clip`` from random weights.

    Parameters
    ----------
    training
        How.
    pool
        The pictures.

    Returns
    -------
    open_clip.model.CLIP
        In evaluation mode.
    list of float
        The loss of every step.
    """
    torch.manual_seed(training.seed)
    random = torch.Generator().manual_seed(training.seed)
    model = build_tiny_clip()
    tokens = tokenize(caption_bank().texts)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": training.decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=training.rate, betas=(0.9, 0.98))
    losses = []
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(training.rate, step, training.steps)
        chosen = torch.randint(len(pool.images), (training.batch,), generator=random)
        loss = caption_loss(model, _disturb(pool.images[chosen], random), tokens, pool.true[chosen])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, float(np.log(_LARGEST_SCALE)))
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step + 1 == training.steps:
            log.info("tiny-clip step %d of %d: loss %.4f", step, training.steps, np.mean(losses[-50:]))
    return model.eval(), losses


def caption_loss(model: CLIP, images: torch.Tensor, tokens: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Return the contrastive loss with several positives, averaged over both directions.

    Parameters
    ----------
    model
        The model.
    images
        ``[B, 3, 64, 64]`` normalised.
    tokens
        ``[C, 80]`` of all captions.
    true
        ``[B, C]`` bool; each image has at least one true caption.

    Returns
    -------
    torch.Tensor
        Scalar: cross-entropy of the soft-max over captions (and over images, for captions true of at least
        one) against equal shares for all true ones, less that target's own entropy, so 0 is perfect.
    """
    pictures = model.encode_image(images, normalize=True)
    texts = model.encode_text(tokens, normalize=True)
    logits = model.logit_scale.exp() * pictures @ texts.T
    used = true.any(dim=0)
    return (_divergence(logits, true) + _divergence(logits.T[used], true.T[used])) / 2


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring uint8 pixels to the range the model expects (mean and standard deviation 0.5)."""
    return images.float() / 127.5 - 1


def _divergence(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    share = true.float() / true.sum(dim=1, keepdim=True)
    entropy = -torch.special.xlogy(share, share).sum(dim=1)
    surprise = -(share * logits.log_softmax(dim=1)).sum(dim=1)
    return torch.mean(surprise - entropy)


def _disturb(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Move all by a common few pixels, and expose each differently."""
    moves = torch.randint(-3, 4, (2,), generator=random).tolist()
    size = (len(images), 1, 1, 1)
    gain = 1 + 0.1 * (torch.rand(size, generator=random) - 0.5)
    offset = 0.1 * (torch.rand(size, generator=random) - 0.5)
    return normalise(torch.roll(images, moves, dims=(2, 3))) * gain + offset


def _contrast(seed: int, number: int) -> float:
    return float(generator(DATASET_SEEDS + seed, Stream.TRAINING, number).uniform(*_CONTRASTS))


def _chest(seed: int, number: int) -> tuple[NDArray[np.uint8], frozenset[Fact]]:
    chest = draw_chest(DATASET_SEEDS + seed, number)
    drawing = view_chest(chest, number % 2, contrast=_contrast(seed, number))
    return _small(np.repeat(drawing.image[..., None], 3, axis=2)), chest_facts(chest.finding)


def _fundus(seed: int, number: int) -> tuple[NDArray[np.uint8], frozenset[Fact]]:
    fundus = draw_fundus(DATASET_SEEDS + seed, number)
    drawing = view_fundus(fundus, contrast=_contrast(seed, number))
    return _small(drawing.image), fundus_facts(fundus.label)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    resized = Image.fromarray(image).resize((CLIP_SIDE, CLIP_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)
