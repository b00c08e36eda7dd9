"""Vision-language models of the open_clip library."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import CLIP


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    openai = ("openai-wit-400m",)
    unlisted = (
        "OpenAI did not publish the list of its 400 million training pairs: contamination cannot be excluded."
    )
    unchecked = "Trained on web images that were not checked for medical test sets."
    laion = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    base = (768, 512)
    return (
        _clip(
            "clip-vit-b32",
            "ViT-B-32-quickgelu",
            "timm/vit_base_patch32_clip_224.openai",
            openai,
            base,
            8.8,
            note=unlisted,
            aliases=("clip", "openai-clip"),
        ),
        _clip(
            "clip-vit-b16",
            "ViT-B-16-quickgelu",
            "timm/vit_base_patch16_clip_224.openai",
            openai,
            base,
            35.1,
            note=unlisted,
        ),
        _clip(
            "clip-vit-l14",
            "ViT-L-14-quickgelu",
            "timm/vit_large_patch14_clip_224.openai",
            openai,
            (1024, 768),
            162.0,
            note=unlisted,
        ),
        _clip("clip-vit-b32-laion2b", "ViT-B-32", laion, ("laion-2b-en",), base, 8.8, note=unchecked),
    )


def _clip(
    name: str,
    architecture: str,
    hub: str,
    trained_on: tuple[str, ...],
    lengths: tuple[int, int],
    gflops: float,
    *,
    note: str,
    aliases: tuple[str, ...] = (),
) -> ModelCard:
    return ModelCard(
        name=name,
        family="openclip",
        architecture=architecture,
        weights=Weights(file="open_clip_model.safetensors", hub=hub, page=f"https://huggingface.co/{hub}"),
        preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *CLIP),
        licence="MIT",
        abilities=frozenset({"encode", "text"}),
        feature="class token after the last norm, before the projection",
        dimension=lengths[0],
        projected=lengths[1],
        context_length=77,
        trained_on=trained_on,
        gflops=gflops,
        aliases=aliases,
        notes=(note,),
    )
