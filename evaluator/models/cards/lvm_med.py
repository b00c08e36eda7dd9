"""LVM-Med: image encoders that were trained on 1.3 million medical images of many kinds without labels."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import IMAGENET

#: Of its 55 datasets those of this project, by what they contain or are contained in, then others that are often tested.
_TRAINED_ON = (
    "adni-15t",
    "ham10000",  # in ISIC 2019
    "kits23",  # has the scans of KiTS19
    "ircadb",  # in LiTS 2017
    "isic-2019",
    "kits19",
    "lits-2017",
    "eyepacs",
    "aptos-2019",
    "kermany-oct",
    "vindr-cxr",
    "shenzhen-cxr",
    "luna16",
    "brats-2018",
    "hyperkvasir",
    "kvasir",
    "cbis-ddsm",
    "patch-camelyon",
    "msd",
    "mmwhs",
    "rsna-bone-age",
)
_NOTE = "Trained on parts of 55 public datasets; its repository lists the files, none of which may be in a test set."


def cards() -> tuple[ModelCard, ...]:
    """Return these cards."""
    return (
        _lvm_med(
            "lvm-med-vit-b",
            "sam-encoder",
            "vit_b",
            "lvmmed_vit.pth",
            "mean over positions of the last block's output, before the neck",
            (768, 35.0),
            aliases=("medlvm", "lvm-med"),
        ),
        _lvm_med(
            "lvm-med-rn50",
            "timm",
            "resnet50",
            "lvmmed_resnet.torch",
            "global average pool of the trunk",
            (2048, 8.2),
        ),
    )


def _lvm_med(
    name: str,
    family: str,
    architecture: str,
    file: str,
    feature: str,
    size: tuple[int, float],
    *,
    aliases: tuple[str, ...] = (),
) -> ModelCard:
    dimension, gflops = size
    return ModelCard(
        name=name,
        family=family,
        architecture=architecture,
        weights=Weights(
            file=file, page="https://github.com/duyhominhnguyen/LVM-Med#lvm-med-pretrained-models"
        ),
        # As in the publisher's own classification; at 224 the grid of the ViT is exactly one of its windows.
        preprocessing=Preprocessing(224, "squash", "bilinear", *IMAGENET),
        licence="CC-BY-NC-ND-2.0",
        abilities=frozenset({"encode"}),
        feature=feature,
        dimension=dimension,
        trained_on=_TRAINED_ON,
        gflops=gflops,
        aliases=aliases,
        notes=(_NOTE,),
    )
