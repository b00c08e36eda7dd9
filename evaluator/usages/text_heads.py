"""Heads made of the embeddings of texts: prototype tuning, CLIP-Adapter, Tip-Adapter and Tip-Adapter-F.

All of them read the features in the space of the text tower, brought to unit length, and start from the zero-shot classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evaluator.usages.trained import HeadPlan
from evaluator.usages.training_options import (
    ClipAdapterOptions,
    PrototypeTuningOptions,
    TipAdapterFOptions,
    TipAdapterOptions,
)
from evaluator.usages.zero_shot import TextClassifier
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


def prototype_tuning(options: PrototypeTuningOptions, texts: TextClassifier) -> HeadPlan:
    """Return what is trained: the class embeddings P of ``scale * cos(f, P_c) + bias``, from the texts' on.

    Notes
    -----
    FairMedFM's "CLIP-Adaptor". There is no bottleneck and no residual in it, see :func:`clip_adapter` for these.
    """
    del options
    _check(texts, "prototype_tuning")

    def make(rows: TrainingRows) -> Head:
        from evaluator.training.head import Head
        from evaluator.training.text import TextLogits, Unit

        del rows
        return Head(Unit(), TextLogits.of(texts.weights, texts.similarity, trained=True))

    return HeadPlan("prototype_tuning", "projected", {"": make}, every_class=True)


def clip_adapter(options: ClipAdapterOptions, texts: TextClassifier) -> HeadPlan:
    """Return what is trained: ``f* = alpha ReLU(W2 ReLU(W1 f)) + (1 - alpha) f``, compared with the fixed texts.

    Notes
    -----
    Gao et al. 2021, CLIP-Adapter: Better Vision-Language Models with Feature Adapters.
    """
    _check(texts, "clip_adapter")

    def made(alpha: float) -> Callable[[TrainingRows], Head]:
        def make(rows: TrainingRows) -> Head:
            from evaluator.training.head import Head
            from evaluator.training.text import Adapter, TextLogits

            adapter = Adapter(rows.features.shape[1], options.reduction, alpha)
            return Head(adapter, TextLogits.of(texts.weights, texts.similarity, trained=False))

        return make

    makes = {f"alpha={alpha:g}": made(alpha) for alpha in options.alpha}
    return HeadPlan("clip_adapter", "projected", makes, every_class=True)


def tip_adapter(options: TipAdapterOptions | TipAdapterFOptions, texts: TextClassifier) -> HeadPlan:
    """Return the cache of training samples F with classes L: ``scale * f T^t + alpha exp(-beta (1 - f F^t)) L``, untrained.

    Notes
    -----
    Zhang et al. 2022, Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification, equations 4 and 5. The text side
    has the model's own scale, as in their code.
    """
    _check(texts, "tip_adapter")

    def made(alpha: float, beta: float) -> Callable[[TrainingRows], Head]:
        def make(rows: TrainingRows) -> Head:
            from evaluator.training.head import Head
            from evaluator.training.text import Cache, TextLogits, Unit

            logits = TextLogits.of(texts.weights, texts.similarity, trained=False)
            return Head(Unit(), Cache.of(rows, logits, shots=options.shots, alpha=alpha, beta=beta))

        return make

    makes = {f"alpha={a:g}, beta={b:g}": made(a, b) for a in options.alpha for b in options.beta}
    return HeadPlan("tip_adapter", "projected", makes, every_class=True)


def tip_adapter_f(options: TipAdapterFOptions, texts: TextClassifier) -> HeadPlan:
    """Return the cache of :func:`tip_adapter` whose keys F are trained once alpha and beta are chosen.

    Notes
    -----
    Zhang et al. 2022, section 3.3.
    """
    untrained = tip_adapter(options, texts)

    def refine(head: Head) -> Head:
        cache: Any = head.classify
        cache.keys.requires_grad_(True)
        return head

    return HeadPlan("tip_adapter_f", "projected", untrained.makes, every_class=True, refine=refine)


def _check(texts: TextClassifier, usage: str) -> None:
    if texts.similarity.vectors > 1:
        raise UserError(
            f"{usage} needs one vector of an image to compare with texts; this model gives {texts.similarity.vectors}. "
            "Leave it out of this usage; zero_shot and probes work."
        )
