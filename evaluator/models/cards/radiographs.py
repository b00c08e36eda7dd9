"""Image encoders that were trained on radiographs without labels."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import IMAGENET

#: Of the chest radiographs that MedMAE was trained on, and that MoCo-CXR was; all channels alike.
_MEDMAE = ((0.5056, 0.5056, 0.5056), (0.252, 0.252, 0.252))
_MOCO_CXR = ((0.502, 0.502, 0.502), (0.085585, 0.085585, 0.085585))


def cards() -> tuple[ModelCard, ...]:
    """Return these cards."""
    return (
        ModelCard(
            name="medmae",
            family="timm",
            architecture="vit_base_patch16_224",
            weights=Weights(
                file="vit-b_CXR_0.5M_mae.pth",
                page="https://github.com/lambert-x/medical_mae#fine-tuning-with-pre-trained-checkpoints",
            ),
            preprocessing=Preprocessing(224, "shortest-crop", "bicubic", *_MEDMAE, crop_fraction=0.875),
            licence="Apache-2.0",
            abilities=frozenset({"encode"}),
            feature="class token after the encoder's last norm",
            dimension=768,
            trained_on=("mimic-cxr", "chexpert", "nih-cxr14"),
            gflops=35.1,
            aliases=("medical-mae",),
            options={"checkpoint": {"drop": ("decoder_", "mask_token")}},
            notes=(
                "A masked autoencoder: its decoder is left out, and nothing but reconstruction trained the class token.",
            ),
        ),
        _moco_cxr("moco-cxr-rn18", "resnet18", "r8w-00001-v2.pth.tar", 512, 7.4, aliases=("moco-cxr",)),
        _moco_cxr("moco-cxr-rn50", "resnet50", "r5w-00001.pth.tar", 2048, 16.7),
        _moco_cxr("moco-cxr-densenet121", "densenet121", "d1w-00001.pth.tar", 1024, 11.6, head="classifier."),
        ModelCard(
            name="c2l-rn18",
            family="timm",
            architecture="resnet18",
            weights=Weights(
                file="res18_C2L.pth", page="https://github.com/funnyzhou/C2L_MICCAI2020#model-weight"
            ),
            preprocessing=Preprocessing(224, "shortest-crop", "bilinear", *IMAGENET, crop_fraction=0.875),
            licence="MIT (of the code; none is stated for the weights)",
            abilities=frozenset({"encode"}),
            feature="global average pool of the trunk, before the contrastive head",
            dimension=512,
            trained_on=("nih-cxr14", "mimic-cxr", "chexpert", "mura"),
            gflops=3.6,
            aliases=("c2l",),
            options={"checkpoint": {"prefix": "encoder.module.", "drop": ("fc.",)}},
            notes=(
                "Papers that took the output of the contrastive head (128 numbers, normalised) give other numbers.",
                "Trained on 700,000 radiographs that its code does not list; the datasets named are those they can be from.",
            ),
        ),
    )


def _moco_cxr(
    name: str,
    architecture: str,
    file: str,
    dimension: int,
    gflops: float,
    *,
    head: str = "fc.",
    aliases: tuple[str, ...] = (),
) -> ModelCard:
    return ModelCard(
        name=name,
        family="timm",
        architecture=architecture,
        weights=Weights(file=file, page="https://github.com/stanfordmlgroup/MoCo-CXR#checkpoints"),
        preprocessing=Preprocessing(320, "shortest-crop", "bilinear", *_MOCO_CXR),
        licence="CC-BY-NC-4.0 (of the code; none is stated for the weights)",
        abilities=frozenset({"encode"}),
        feature="global average pool of the trunk, before the contrastive head",
        dimension=dimension,
        trained_on=("chexpert", "imagenet-1k"),
        gflops=gflops,
        aliases=aliases,
        # The encoder of queries; the file also has the slow encoder of keys and the queue.
        options={"checkpoint": {"prefix": "encoder_q.", "drop": (head,)}},
        notes=(
            "Papers that loaded it without its head used 128 random projections of these features.",
            "320 pixels and its own mean and standard deviation, as in its training; papers used 224 and others'.",
        ),
    )
