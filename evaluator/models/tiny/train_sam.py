"""Training of ``tiny-sam``: masks for points and boxes, as Segment Anything was trained, only smaller.

A single point is ambiguous, so three masks are drawn and the best one learns; several points or a box have
one answer. The model also learns to say how good each mask is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from evaluator.models.tiny.architecture import SAM_SIDE, build_tiny_sam
from evaluator.models.tiny.scenes import Scene, draw_scene
from evaluator.models.tiny.schedule import learning_rate

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

log = logging.getLogger(__name__)

_SEVERAL = 5
_POSITIVE = 1


@dataclass(frozen=True)
class SamTraining:
    """How ``tiny-sam`` is trained.

    Attributes
    ----------
    steps, batch, prompts
        Optimiser steps, pictures per step, and questions per picture of each kind (points, boxes).
    rate, decay
        Peak learning rate and weight decay.
    jitter
        Standard deviation of a box's borders, relative to its sides.
    seed
        Of weights and scenes.
    """

    steps: int = 750
    batch: int = 12
    prompts: int = 2
    rate: float = 1.0e-3
    decay: float = 0.02
    jitter: float = 0.04
    seed: int = 1


class Question(NamedTuple):
    """Prompts of one kind for a batch of pictures, `prompts` for each.

    Attributes
    ----------
    points
        ``[B * P, N, 2]`` float (x, y) in pixels, or None.
    boxes
        ``[B * P, 4]`` float (x0, y0, x1, y1) in pixels, or None.
    truth
        ``[B * P, 128, 128]`` float, 0 or 1.
    """

    points: torch.Tensor | None
    boxes: torch.Tensor | None
    truth: torch.Tensor


def train_sam(training: SamTraining) -> tuple[Sam, list[float]]:
    """Train ``tiny-sam`` from random weights on scenes drawn as it goes.

    Returns
    -------
    segment_anything.modeling.Sam
        In evaluation mode.
    list of float
        The loss of every step.
    """
    torch.manual_seed(training.seed)
    random = np.random.default_rng(training.seed)
    model = build_tiny_sam()
    trained = list(model.parameters())
    optimiser = torch.optim.AdamW(trained, lr=training.rate, weight_decay=training.decay, betas=(0.9, 0.98))
    losses = []
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(training.rate, step, training.steps)
        first = step * training.batch
        scenes = [draw_scene(training.seed, first + offset) for offset in range(training.batch)]
        loss = scene_loss(model, scenes, random, training)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 50 == 0 or step + 1 == training.steps:
            log.info("tiny-sam step %d of %d: loss %.4f", step, training.steps, np.mean(losses[-50:]))
    return model.eval(), losses


def scene_loss(
    model: Sam, scenes: list[Scene], random: np.random.Generator, training: SamTraining
) -> torch.Tensor:
    """Return the loss of a batch of scenes, asked once with points and once with boxes."""
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    embedding = model.image_encoder((images - model.pixel_mean) / model.pixel_std)
    count = 1 if random.random() < 0.5 else _SEVERAL
    pointed = ask_points(scenes, random, training.prompts, count)
    boxed = ask_boxes(scenes, random, training.prompts, training.jitter)
    return _answer_loss(model, embedding, pointed) + _answer_loss(model, embedding, boxed)


def ask_points(scenes: list[Scene], random: np.random.Generator, prompts: int, count: int) -> Question:
    """Ask for random structures by `count` random pixels inside them (a single one may be the innermost)."""
    points, truths = [], []
    for scene in scenes:
        for _ in range(prompts):
            truth = scene.structures[random.integers(len(scene.structures))]
            inside = np.argwhere(truth)
            chosen = inside[random.integers(len(inside), size=count)]
            if count == 1 and random.random() < 0.5:
                chosen = _central(inside)[None]
            points.append(chosen[:, ::-1] + 0.0)
            truths.append(truth)
    return Question(torch.from_numpy(np.stack(points)).float(), None, _as_truth(truths))


def ask_boxes(scenes: list[Scene], random: np.random.Generator, prompts: int, jitter: float) -> Question:
    """Ask for random structures by their bounding boxes, each border moved a little."""
    boxes, truths = [], []
    for scene in scenes:
        for _ in range(prompts):
            truth = scene.structures[random.integers(scene.boxable)]
            boxes.append(_box(truth, random, jitter))
            truths.append(truth)
    return Question(None, torch.from_numpy(np.stack(boxes)).float(), _as_truth(truths))


def decode(model: Sam, embedding: torch.Tensor, question: Question) -> tuple[torch.Tensor, torch.Tensor]:
    """Answer every question of a batch of pictures at once.

    The decoder's own forward takes one picture at a time; this does the same steps with its parts for many.

    Parameters
    ----------
    model
        The model.
    embedding
        ``[B, 64, 16, 16]``.
    question
        ``B * P`` prompts, those of a picture side by side.

    Returns
    -------
    torch.Tensor
        ``[B * P, 4, 128, 128]`` logits: the single answer, then the three for an ambiguous prompt.
    torch.Tensor
        ``[B * P, 4]`` predicted IoU.
    """
    encoder, decoder = model.prompt_encoder, model.mask_decoder
    labelled = None
    if question.points is not None:
        labelled = (question.points, torch.full(question.points.shape[:2], _POSITIVE))
    sparse, dense = encoder(points=labelled, boxes=question.boxes, masks=None)
    each = len(sparse) // len(embedding)
    pictures = embedding.repeat_interleave(each, dim=0) + dense
    outputs = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([outputs.expand(len(sparse), -1, -1), sparse], dim=1)
    places = encoder.get_dense_pe().expand(len(sparse), -1, -1, -1)
    answered, seen = decoder.transformer(pictures, places, tokens)
    fine = decoder.output_upscaling(seen.transpose(1, 2).reshape(pictures.shape))
    filters = [mlp(answered[:, 1 + index]) for index, mlp in enumerate(decoder.output_hypernetworks_mlps)]
    logits = torch.einsum("pmc,pchw->pmhw", torch.stack(filters, dim=1), fine)
    full = functional.interpolate(logits, (SAM_SIDE, SAM_SIDE), mode="bilinear", align_corners=False)
    return full, decoder.iou_prediction_head(answered[:, 0])


def _answer_loss(model: Sam, embedding: torch.Tensor, question: Question) -> torch.Tensor:
    """Return the loss of the best admissible mask plus the squared error of all predicted IoUs."""
    logits, quality = decode(model, embedding, question)
    single = question.points is not None and question.points.shape[1] == 1
    admissible = slice(1, None) if single else slice(0, 1)
    logits, quality = logits[:, admissible], quality[:, admissible]
    truth = question.truth[:, None].expand_as(logits)
    mask_loss = _focal(logits, truth) + _dice_loss(logits, truth)
    quality_loss = (quality - _iou(logits.detach(), truth)).square().mean()
    return mask_loss.min(dim=1).values.mean() + quality_loss


def _focal(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return 20 x focal loss (gamma 2; Lin et al. 2017, weight as in Kirillov et al. 2023) per mask."""
    plain = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = 1 - torch.exp(-plain)
    return 20 * (missed.square() * plain).mean(dim=(2, 3))


def _dice_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    share = torch.sigmoid(logits)
    overlap = 2 * (share * truth).sum(dim=(2, 3)) + 1
    return 1 - overlap / (share.sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) + 1)


def _iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    mask = (logits > 0).float()
    both = (mask * truth).sum(dim=(2, 3))
    return both / (mask.sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) - both)


def _as_truth(truths: list[NDArray[np.bool_]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(truths)).float()


def _central(inside: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pixel of a structure that is nearest to its centre of gravity."""
    distance = ((inside - inside.mean(axis=0)) ** 2).sum(axis=1)
    central: NDArray[np.int64] = inside[np.argmin(distance)]
    return central


def _box(truth: NDArray[np.bool_], random: np.random.Generator, jitter: float) -> NDArray[np.float64]:
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    exact = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    sides = np.tile(exact[2:] - exact[:2], 2)
    moved: NDArray[np.float64] = np.clip(exact + jitter * sides * random.standard_normal(4), 0, SAM_SIDE)
    return moved
