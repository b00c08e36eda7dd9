"""Image encoders of tiles of tissue slides, in timm's layout with the options of their publishers' pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import IMAGENET

#: The gated MLP of these networks.
_GATED = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}


def cards() -> tuple[ModelCard, ...]:
    """Return these cards."""
    return (
        _tiles(
            "uni2-h",
            "vit_giant_patch14_224",
            "MahmoodLab/UNI2-h",
            "CC-BY-NC-ND-4.0",
            (1536, 370.9),
            _preprocessing("bilinear"),
            {
                "img_size": 224,
                "patch_size": 14,
                "depth": 24,
                "num_heads": 24,
                "embed_dim": 1536,
                "mlp_ratio": 2.66667 * 2,
                "init_values": 1e-5,
                "reg_tokens": 8,
                "no_embed_class": True,
                **_GATED,
            },
            trained_on=("mass-general-brigham-slides",),
            aliases=("uni2",),
        ),
        _tiles(
            "virchow2",
            "vit_huge_patch14_224",
            "paige-ai/Virchow2",
            "CC-BY-NC-ND-4.0",
            (2560, 340.1),
            _preprocessing("bicubic"),
            {
                "img_size": 224,
                "mlp_ratio": 5.3375,
                "init_values": 1e-5,
                "reg_tokens": 4,
                "pool": "class+patches",
                **_GATED,
            },
            feature="class token, then the mean of the patch tokens (not of the registers), after the last norm",
            trained_on=("mskcc-slides",),
            file="model.safetensors",
        ),
        _tiles(
            "prov-gigapath",
            "vit_giant_patch14_dinov2",
            "prov-gigapath/prov-gigapath",
            "Apache-2.0",
            (1536, 456.2),
            _preprocessing("bicubic", crop_fraction=0.875),
            {
                "img_size": 224,
                "patch_size": 16,
                "embed_dim": 1536,
                "depth": 40,
                "num_heads": 24,
                "mlp_ratio": 5.33334,
                "init_values": 1e-5,
            },
            trained_on=("prov-path",),
            aliases=("gigapath",),
            also="This is the encoder of tiles; the encoder of whole slides is not part of it.",
        ),
    )


def _tiles(
    name: str,
    architecture: str,
    hub: str,
    licence: str,
    size: tuple[int, float],
    preprocessing: Preprocessing,
    options: Mapping[str, Any],
    *,
    trained_on: tuple[str, ...],
    file: str = "pytorch_model.bin",
    feature: str = "class token after the last norm",
    aliases: tuple[str, ...] = (),
    also: str = "",
) -> ModelCard:
    dimension, gflops = size
    tiles = "Made for tiles of slides of tissue; radiographs, photographs and OCT are outside of its field."
    return ModelCard(
        name=name,
        family="timm",
        architecture=architecture,
        weights=Weights(file=file, hub=hub, page=f"https://huggingface.co/{hub}", gated=True),
        preprocessing=preprocessing,
        licence=licence,
        abilities=frozenset({"encode"}),
        feature=feature,
        dimension=dimension,
        trained_on=trained_on,
        gflops=gflops,
        aliases=aliases,
        options=options,
        notes=(tiles, also) if also else (tiles,),
    )


def _preprocessing(
    interpolation: Literal["bicubic", "bilinear"], crop_fraction: float = 1.0
) -> Preprocessing:
    return Preprocessing(224, "shortest-crop", interpolation, *IMAGENET, crop_fraction=crop_fraction)
