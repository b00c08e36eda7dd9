"""Image encoders of the timm library."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import HALF, IMAGENET


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    dinov2 = "vit_base_patch14_dinov2.lvd142m"
    in21k = "vit_base_patch16_224.augreg_in21k"
    resnet = "resnet50.a1_in1k"
    return (
        ModelCard(
            name="dinov2-vit-b14",
            family="timm",
            architecture=dinov2,
            weights=_timm_hub(dinov2),
            preprocessing=Preprocessing(518, "shortest-crop", "bicubic", *IMAGENET),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="class token after the last norm",
            dimension=768,
            trained_on=("lvd-142m",),
            gflops=303.1,
            aliases=("dinov2", "dinov2-vitb14"),
        ),
        ModelCard(
            name="dinov2-vit-b14-224",
            family="timm",
            architecture=dinov2,
            weights=_timm_hub(dinov2),
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *IMAGENET, crop_fraction=0.875),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="class token after the last norm",
            dimension=768,
            trained_on=("lvd-142m",),
            gflops=46.3,
            options={"img_size": 224},
            notes=("Weights of 518 pixels run at 224, position embedding resampled: cheaper, not native.",),
        ),
        ModelCard(
            name="vit-b16-in21k",
            family="timm",
            architecture=in21k,
            weights=_timm_hub(in21k),
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *HALF, crop_fraction=0.9),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="class token after the last norm",
            dimension=768,
            trained_on=("imagenet-21k",),
            gflops=35.1,
        ),
        ModelCard(
            name="resnet50-imagenet",
            family="timm",
            architecture=resnet,
            weights=_timm_hub(resnet),
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *IMAGENET, crop_fraction=0.95),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="global average pool",
            dimension=2048,
            trained_on=("imagenet-1k",),
            gflops=8.2,
            aliases=("resnet50",),
        ),
        ModelCard(
            name="mobilenetv2-035",
            family="timm",
            architecture="mobilenetv2_035",
            weights=Weights(
                file="mobilenetv2_035_imagenet_tm.pth",
                sha256="5ba94af3bcae70ca69fba89aabb13d8be7a8a94effac92a83dbb03c444cd6f0a",
            ),
            preprocessing=Preprocessing(224, "squash", "bilinear", *HALF),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="global average pool after the last convolution",
            dimension=1280,
            trained_on=("imagenet-1k",),
            gflops=0.116,
            aliases=("mobilenetv2-035-imagenet",),
            options={"pad_type": "same", "bn_eps": 1e-3},
            notes=("A small network for machines without a GPU; larger encoders do better.",),
        ),
    )


def _timm_hub(architecture: str) -> Weights:
    hub = f"timm/{architecture}"
    return Weights(file="model.safetensors", hub=hub, page=f"https://huggingface.co/{hub}")
