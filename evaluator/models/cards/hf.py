"""Models in the layout of Hugging Face transformers, each with the numbers of its published ``config.json``."""

from __future__ import annotations

from typing import Any

from evaluator.models.card import ModelCard, Preprocessing, TokenizerFile, Weights
from evaluator.models.cards._constants import CLIP, HALF, IMAGENET

_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
_CLIP_TEXT = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
}
_SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
_TANH = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_QUICK = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_FOUNDATIONS = "Health AI Developer Foundations terms of use"
_FIRST = "class token after the last norm"
_POOLED = "attention-pooled vector, shared with texts"
_LOWER = "Texts are written in lower case, as the model was trained; the publisher's own tokenizer settings leave capitals."
_BARE = "Texts are written in lower case and without punctuation, as the publisher's tokenizer does."
_SIGMOID = (
    "Trained pair by pair (sigmoid): scores over several classes are the soft-max of the same logits, see the documentation of "
    "zero-shot."
)
#: All English SigLIP models share one vocabulary; this repository has it as the file that is read here.
_ENGLISH = "google/siglip-base-patch16-256"
_GOOGLE = (
    "Trained on licensed medical images besides the public ones listed, among them fundus images of EyePACS."
)
#: SigLIP's web images, then the public ones of the publisher's model card.
_MEDICAL = (
    *(
        "webli",
        "mimic-cxr",
        "slake",
        "pad-ufes-20",
        "scin",
        "tcga",
        "camelyon",
        "pmc-oa",
        "mendeley-digital-knee",
    ),
    "eyepacs",
)


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    return (_plip(), *_siglips(), _medsiglip(), _medgemma(), _rad_dino(), _dinov3(), _aimv2())


def _plip() -> ModelCard:
    return ModelCard(
        name="plip",
        family="hf",
        architecture="CLIPModel",
        weights=_hub("vinid/plip"),
        preprocessing=Preprocessing(224, "shortest-crop-floor", "bicubic", *CLIP),
        licence="not stated by the publisher",
        abilities=frozenset({"encode", "text"}),
        feature=f"{_FIRST}, before the projection",
        dimension=768,
        projected=512,
        context_length=77,
        tokenizer=TokenizerFile("tokenizer.json", "vinid/plip"),
        trained_on=("openai-wit-400m", "openpath"),
        gflops=8.82,
        options={
            "config": {
                "projection_dim": 512,
                "vision_config": {**_BASE, **_QUICK, "image_size": 224, "patch_size": 32},
                "text_config": {
                    **_CLIP_TEXT,
                    **_QUICK,
                    "vocab_size": 49408,
                    "max_position_embeddings": 77,
                    "eos_token_id": 49407,
                },
            },
            "texts": "clip",
        },
        notes=("CLIP ViT-B/32 continued on pathology images of social media with their texts.",),
    )


def _siglips() -> tuple[ModelCard, ...]:
    first, second = "google/siglip-base-patch16-224", "google/siglip2-base-patch16-224"
    return (
        _siglip(
            "siglip-b16-224",
            first,
            _siglip_config(_BASE, 224, 16, vocabulary=32000),
            Preprocessing(224, "squash", "bicubic", *HALF),
            "siglip",
            gflops=35.42,
            trained_on=("webli",),
            aliases=("siglip", "siglip-base-patch16-224"),
            notes=(_SIGMOID, _BARE),
        ),
        _siglip(
            "siglip2-b16-224",
            second,
            _siglip_config(_BASE, 224, 16, vocabulary=256000),
            Preprocessing(224, "squash", "bilinear", *HALF),
            "siglip2",
            gflops=35.42,
            trained_on=("webli",),
            aliases=("siglip2", "siglip2-base-patch16-224"),
            notes=(_SIGMOID, _LOWER),
        ),
    )


def _medsiglip() -> ModelCard:
    return _siglip(
        "medsiglip-448",
        "google/medsiglip-448",
        _siglip_config(_SO400M, 448, 14, vocabulary=32000),
        Preprocessing(448, "squash", "bicubic", *HALF),
        "siglip",
        gflops=979.2,
        trained_on=_MEDICAL,
        licence=_FOUNDATIONS,
        gated=True,
        aliases=("medsiglip",),
        notes=(_SIGMOID, _BARE, _GOOGLE),
    )


def _siglip_config(blocks: dict[str, int], side: int, patch: int, *, vocabulary: int) -> dict[str, Any]:
    vision = {**blocks, **_TANH, "image_size": side, "patch_size": patch, "vision_use_head": True}
    text = {**blocks, **_TANH, "vocab_size": vocabulary, "max_position_embeddings": 64}
    return {"vision_config": vision, "text_config": {**text, "projection_size": blocks["hidden_size"]}}


def _siglip(
    name: str,
    hub: str,
    config: dict[str, Any],
    preprocessing: Preprocessing,
    texts: str,
    *,
    gflops: float,
    trained_on: tuple[str, ...],
    aliases: tuple[str, ...],
    notes: tuple[str, ...],
    licence: str = "Apache-2.0",
    gated: bool = False,
) -> ModelCard:
    width = config["vision_config"]["hidden_size"]
    return ModelCard(
        name=name,
        family="hf",
        architecture="SiglipModel",
        weights=_hub(hub, gated=gated),
        preprocessing=preprocessing,
        licence=licence,
        abilities=frozenset({"encode", "text"}),
        feature=_POOLED,
        dimension=width,
        projected=width,
        context_length=64,
        tokenizer=TokenizerFile("tokenizer.json", hub if texts == "siglip2" else _ENGLISH),
        trained_on=trained_on,
        gflops=gflops,
        aliases=aliases,
        options={"config": config, "texts": texts},
        notes=notes,
    )


def _medgemma() -> ModelCard:
    hub = "google/medgemma-4b-pt"
    return ModelCard(
        name="medgemma-vision",
        family="hf",
        architecture="SiglipVisionModel",
        weights=Weights(
            file="model.safetensors.index.json",
            hub=hub,
            page=f"https://huggingface.co/{hub}",
            gated=True,
            part="vision_tower.vision_model.",
        ),
        preprocessing=Preprocessing(896, "squash", "bilinear", *HALF),
        licence=_FOUNDATIONS,
        abilities=frozenset({"encode"}),
        feature="mean over all patches after the last norm",
        dimension=1152,
        trained_on=_MEDICAL,
        gflops=5460.4,
        aliases=("medgemma", "medgemma-4b-pt"),
        options={
            "config": {**_SO400M, **_TANH, "image_size": 896, "patch_size": 14, "vision_use_head": False}
        },
        notes=(
            "The vision tower of MedGemma 4B (pre-trained) alone: no language model, no projector, no texts.",
            "The weights are cut into files: the index and those files that it lists for the vision tower are needed.",
            _GOOGLE,
        ),
    )


def _rad_dino() -> ModelCard:
    blocks = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "mlp_ratio": 4}
    return ModelCard(
        name="rad-dino",
        family="hf",
        architecture="Dinov2Model",
        weights=_hub("microsoft/rad-dino"),
        preprocessing=Preprocessing(518, "shortest-crop-floor", "bicubic", (0.5307,) * 3, (0.2583,) * 3),
        licence="MIT",
        abilities=frozenset({"encode"}),
        feature=_FIRST,
        dimension=768,
        trained_on=("lvd-142m", "mimic-cxr", "chexpert", "nih-cxr14", "padchest", "brax"),
        gflops=303.1,
        aliases=("raddino",),
        options={
            "config": {
                **blocks,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
                "image_size": 518,
                "patch_size": 14,
                "qkv_bias": True,
                "use_swiglu_ffn": False,
            }
        },
        notes=(
            "The publisher lists the images it was trained on in 'training_images.csv' of the repository.",
        ),
    )


def _dinov3() -> ModelCard:
    biases = {"query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True, "mlp_bias": True}
    return ModelCard(
        name="dinov3-vit-b16",
        family="hf",
        architecture="DINOv3ViTModel",
        weights=_hub("facebook/dinov3-vitb16-pretrain-lvd1689m", gated=True),
        preprocessing=Preprocessing(224, "squash", "bilinear", *IMAGENET),
        licence="DINOv3 licence",
        abilities=frozenset({"encode"}),
        feature=_FIRST,
        dimension=768,
        trained_on=("lvd-1689m",),
        gflops=35.86,
        aliases=("dinov3", "dinov3-vitb16"),
        options={
            "config": {
                **_BASE,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-5,
                "image_size": 224,
                "patch_size": 16,
                "rope_theta": 100.0,
                "num_register_tokens": 4,
                "use_gated_mlp": False,
                **biases,
            }
        },
        notes=(
            "The publisher resizes in floating point, this program in whole levels of 0 to 255: pixels differ by rounding.",
        ),
    )


def _aimv2() -> ModelCard:
    return ModelCard(
        name="aimv2-large",
        family="hf",
        architecture="Aimv2VisionModel",
        weights=_hub("apple/aimv2-large-patch14-native"),
        preprocessing=Preprocessing(224, "shortest-crop-floor", "bicubic", *CLIP),
        licence="Apple Machine Learning Research Model licence (apple-amlr)",
        abilities=frozenset({"encode"}),
        feature="mean over all patches after the last norm",
        dimension=1024,
        trained_on=("dfn-2b", "coyo", "hqitp"),
        gflops=164.6,
        aliases=("aimv2", "aimv2-large-patch14-native"),
        options={
            "config": {
                "hidden_size": 1024,
                "intermediate_size": 2816,
                "num_hidden_layers": 24,
                "num_attention_heads": 8,
                "hidden_act": "silu",
                "image_size": 224,
                "patch_size": 14,
                "rms_norm_eps": 1e-5,
                "qkv_bias": False,
                "mlp_bias": False,
                "use_head": False,
                "is_native": True,
            }
        },
        notes=(
            "Weights for images of any size, used at 224 pixels.",
            "There is no class token: the publisher probes all patches by attention, here it is their mean.",
            "Trained on web images that were not checked for medical test sets.",
        ),
    )


def _hub(hub: str, *, gated: bool = False) -> Weights:
    return Weights(file="model.safetensors", hub=hub, page=f"https://huggingface.co/{hub}", gated=gated)
