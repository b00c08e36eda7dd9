"""How good the tiny models are on phantoms that neither training nor any dataset shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from evaluator.models.tiny.captions import Fact, caption_bank
from evaluator.models.tiny.scenes import Scene
from evaluator.models.tiny.tokenizer import tokenize
from evaluator.models.tiny.train_clip import ClipTraining, Pool, draw_pool, normalise
from evaluator.models.tiny.train_sam import SamTraining, ask_boxes, ask_points, decode
from shards.phantom.fundus import CUP, RIM, draw_fundus, view_fundus
from shards.phantom.subjects import DATASET_SEEDS

if TYPE_CHECKING:
    from open_clip.model import CLIP
    from segment_anything.modeling import Sam

#: Added to the training's seed.
_OTHER_SUBJECTS = 1_000_003
_QUESTIONS: dict[str, tuple[Fact, Fact]] = {
    "auc_opacity": (("opacity", "no opacity"), ("opacity", "opacity")),
    "auc_glaucoma": (("glaucoma", "normal"), ("glaucoma", "glaucoma")),
}


def validate_clip(model: CLIP, training: ClipTraining, *, pictures: int = 600) -> dict[str, float]:
    """Return the zero-shot AUC of opacity and glaucoma on new phantoms at contrasts as in training."""
    other = replace(training, seed=training.seed + _OTHER_SUBJECTS, chests=pictures, fundi=pictures)
    pool = draw_pool(other)
    return {name: _zero_shot_auc(model, pool, *facts) for name, facts in _QUESTIONS.items()}


def validate_sam(model: Sam, training: SamTraining, *, pictures: int = 100) -> dict[str, float]:
    """Return the mean Dice of exact boxes and central points for each structure of new optic discs."""
    seed = DATASET_SEEDS + training.seed + _OTHER_SUBJECTS
    drawings = [view_fundus(draw_fundus(seed, number)) for number in range(pictures)]
    wanted = {"rim": (RIM,), "cup": (CUP,), "disc": (RIM, CUP)}
    figures = {}
    for name, values in wanted.items():
        scenes = [Scene(drawing.image, np.isin(drawing.mask, values)[None], 1) for drawing in drawings]
        figures[f"dice_box_{name}"] = _box_dice(model, scenes)
        figures[f"dice_point_{name}"] = _point_dice(model, scenes)
    return figures


@torch.inference_mode()
def _zero_shot_auc(model: CLIP, pool: Pool, negative: Fact, positive: Fact) -> float:
    from sklearn.metrics import roc_auc_score

    bank = caption_bank()
    concerned = pool.true[:, [bank.facts.index(negative), bank.facts.index(positive)]]
    kept = concerned.any(dim=1)
    texts = [
        model.encode_text(tokenize(_texts(fact)), normalize=True).mean(dim=0) for fact in (negative, positive)
    ]
    parts = torch.split(pool.images[kept], 64)
    images = torch.cat([model.encode_image(normalise(part), normalize=True) for part in parts])
    scores = images @ (texts[1] / texts[1].norm() - texts[0] / texts[0].norm())
    return float(roc_auc_score(concerned[kept, 1].numpy(), scores.numpy()))


def _texts(fact: Fact) -> list[str]:
    bank = caption_bank()
    return [text for text, said in zip(bank.texts, bank.facts, strict=True) if said == fact]


@torch.inference_mode()
def _box_dice(model: Sam, scenes: list[Scene]) -> float:
    question = ask_boxes(scenes, np.random.default_rng(0), prompts=1, jitter=0.0)
    logits, _ = decode(model, _embed(model, scenes), question)
    return _mean_dice(logits[:, 0] > 0, question.truth)


@torch.inference_mode()
def _point_dice(model: Sam, scenes: list[Scene]) -> float:
    question = ask_points(scenes, np.random.default_rng(0), prompts=1, count=1)
    logits, quality = decode(model, _embed(model, scenes), question)
    best = 1 + quality[:, 1:].argmax(dim=1)
    return _mean_dice(logits[torch.arange(len(best)), best] > 0, question.truth)


def _embed(model: Sam, scenes: list[Scene]) -> torch.Tensor:
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    parts = torch.split((images - model.pixel_mean) / model.pixel_std, 16)
    return torch.cat([model.image_encoder(part) for part in parts])


def _mean_dice(masks: torch.Tensor, truth: torch.Tensor) -> float:
    both = (masks * truth).sum(dim=(1, 2))
    return float((2 * both / (masks.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)))).mean())
