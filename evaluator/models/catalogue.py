"""The models that are known by name. No weights, no torch: only what is true of them.

Costs are FLOPs (twice the multiply-adds) of the image encoder for one image, counted from the layer shapes.
Hashes are given where the publisher's file is one fixed file; hub files without one get their hash recorded
when they are first used.
"""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5)
_SAM_PAGE = "https://github.com/facebookresearch/segment-anything#model-checkpoints"


def packaged_cards() -> tuple[ModelCard, ...]:
    """Return the cards of this module."""
    return (*_openclip(), *_timm(), *_sam())


def _openclip() -> tuple[ModelCard, ...]:
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
        preprocessing=Preprocessing(224, "shortest-crop", "bicubic", _CLIP_MEAN, _CLIP_STD),
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


def _timm() -> tuple[ModelCard, ...]:
    imagenet = (_IMAGENET_MEAN, _IMAGENET_STD)
    dinov2 = "vit_base_patch14_dinov2.lvd142m"
    in21k = "vit_base_patch16_224.augreg_in21k"
    resnet = "resnet50.a1_in1k"
    return (
        ModelCard(
            name="dinov2-vit-b14",
            family="timm",
            architecture=dinov2,
            weights=_timm_hub(dinov2),
            preprocessing=Preprocessing(518, "shortest-crop", "bicubic", *imagenet),
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
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *imagenet, crop_fraction=0.875),
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
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", _HALF, _HALF, crop_fraction=0.9),
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
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *imagenet, crop_fraction=0.95),
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
            preprocessing=Preprocessing(224, "squash", "bilinear", _HALF, _HALF),
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


#: architecture -> (file, sha256, GFLOP)
_SAM_FILES = {
    "vit_b": (
        "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        973.0,
    ),
    "vit_l": (
        "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        2988.0,
    ),
    "vit_h": (
        "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        5964.0,
    ),
}


def _sam() -> tuple[ModelCard, ...]:
    cards = []
    for architecture, (file, sha256, _) in _SAM_FILES.items():
        letter = architecture[-1]
        aliases = ("sam", "segment-anything") if letter == "b" else ()
        weights = Weights(file=file, sha256=sha256, page=_SAM_PAGE)
        cards.append(
            sam_card(f"sam-vit-{letter}", architecture, weights, aliases=(*aliases, f"sam-{letter}"))
        )
    return tuple(cards)


def sam_card(
    name: str,
    architecture: str,
    weights: Weights,
    *,
    aliases: tuple[str, ...] = (),
    licence: str = "Apache-2.0",
    trained_on: tuple[str, ...] = ("sa-1b",),
    notes: tuple[str, ...] = (),
) -> ModelCard:
    """Describe weights of segment-anything's own layout.

    Parameters
    ----------
    name, weights, aliases, licence, trained_on, notes
        As in the card.
    architecture
        ``"vit_b"``, ``"vit_l"`` or ``"vit_h"``.
    """
    return ModelCard(
        name=name,
        family="sam",
        architecture=architecture,
        weights=weights,
        preprocessing=Preprocessing(1024, "longest-pad", "bilinear", _IMAGENET_MEAN, _IMAGENET_STD),
        licence=licence,
        abilities=frozenset({"encode", "segment"}),
        feature="mean of the image embedding over its positions",
        dimension=256,
        prompts=("center", "rand", "rands", "bbox"),
        mask_threshold=0.0,
        trained_on=trained_on,
        gflops=_SAM_FILES[architecture][2],
        aliases=aliases,
        notes=notes,
    )
