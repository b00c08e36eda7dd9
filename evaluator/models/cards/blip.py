"""BLIP and BLIP-2 as LAVIS publishes them."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, TokenizerFile, Weights, WeightsFile
from evaluator.models.cards._constants import CLIP

_FILES = "https://storage.googleapis.com/sfr-vision-language-research"
#: LAVIS' image processor for evaluation.
_PREPROCESSING = Preprocessing(224, "squash", "bicubic", *CLIP)
_TOKENIZER = TokenizerFile("vocab.txt", "google-bert/bert-base-uncased")
#: Tokens that LAVIS reads when it evaluates retrieval; it trained with 30 (BLIP) and 32 (BLIP-2).
_CONTEXT = 35
_IMAGES = (
    "coco",
    "visual-genome",
    "conceptual-captions-3m",
    "conceptual-captions-12m",
    "sbu-captions",
    "laion-115m",
)
_CAPTIONS = (
    "Texts are read in lower case and without .!\"()*#:;~, as the publisher's caption processor writes them."
)
_WEB = "Trained on 129 million web images that were not checked for medical test sets."


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    return (
        ModelCard(
            name="blip-base",
            family="blip",
            architecture="blip",
            weights=Weights(
                file="model_base_capfilt_large.pth",
                page=f"{_FILES}/BLIP/models/model_base_capfilt_large.pth",
            ),
            preprocessing=_PREPROCESSING,
            licence="BSD-3-Clause",
            abilities=frozenset({"encode", "text"}),
            feature="class token after the last norm, before the projection",
            dimension=768,
            projected=256,
            context_length=_CONTEXT,
            tokenizer=_TOKENIZER,
            trained_on=_IMAGES,
            gflops=35.1,
            aliases=("blip", "blip-vit-b16", "blip_feature_extractor"),
            notes=(_WEB, _CAPTIONS),
        ),
        _blip2(
            "blip2",
            "mean of the Q-Former's 32 query outputs, before the projection",
            ("blip-2", "blip2-pretrain", "blip2_feature_extractor"),
            pool="mean",
        ),
        _blip2(
            "blip2-query0",
            "first of the Q-Former's 32 query outputs, before the projection",
            (),
            pool="first",
            note="Weights of blip2; the first query alone is the feature that FairMedFM uses.",
        ),
    )


def _blip2(
    name: str, feature: str, aliases: tuple[str, ...], *, pool: str, note: str | None = None
) -> ModelCard:
    return ModelCard(
        name=name,
        family="blip",
        architecture="blip2",
        weights=Weights(
            file="blip2_pretrained.pth",
            page=f"{_FILES}/LAVIS/models/BLIP2/blip2_pretrained.pth",
            others=(WeightsFile("eva_vit_g.pth", page=f"{_FILES}/LAVIS/models/BLIP2/eva_vit_g.pth"),),
        ),
        preprocessing=_PREPROCESSING,
        licence="BSD-3-Clause (image tower eva_vit_g.pth: MIT)",
        abilities=frozenset({"encode", "text"}),
        feature=feature,
        dimension=768,
        projected=32 * 256,
        context_length=_CONTEXT,
        tokenizer=_TOKENIZER,
        trained_on=(*_IMAGES, "laion-400m", "eva-merged-30m"),
        gflops=533.5,
        aliases=aliases,
        options={"pool": pool},
        notes=(
            _WEB,
            "An image has 32 vectors in the space of the texts; its cosine with a text is the largest of theirs.",
            "The image tower's numbers are published in 16 bits and used in 32.",
            _CAPTIONS,
            *(() if note is None else (note,)),
        ),
    )
