"""RETFound: image encoders that were trained on photographs and OCT of the retina without labels."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import IMAGENET

_PRIVATE = "Its training images from Moorfields are not public: whether a dataset shares patients with them cannot be checked."
_MAE_NOTES = (
    _PRIVATE,
    "The publisher's code averages before a norm that its file does not have, so that one stays untrained: "
    "here the trained norm is applied, then the average is taken.",
)


def cards() -> tuple[ModelCard, ...]:
    """Return these cards."""
    return (
        _mae("retfound-cfp", "RETFound_mae_natureCFP", "eyepacs", aliases=("retfound", "retfound-mae")),
        _mae("retfound-oct", "RETFound_mae_natureOCT", "kermany-oct"),
        ModelCard(
            name="retfound-dinov2-meh",
            family="timm",
            architecture="vit_large_patch14_dinov2.lvd142m",
            weights=_weights("RETFound_dinov2_meh"),
            preprocessing=_preprocessing(),
            licence="CC-BY-NC-4.0",
            abilities=frozenset({"encode"}),
            feature="class token after the last norm",
            dimension=1024,
            trained_on=("meh-midas",),
            gflops=162.0,
            # The file is that of DINOv2's teacher, with the heads of its two losses beside the encoder.
            options={"img_size": 224, "checkpoint": {"prefix": "backbone.", "drop": ("mask_token",)}},
            notes=(
                _PRIVATE,
                "Code that loads the file by its names as they are gets DINOv2 of natural images, and no error.",
            ),
        ),
    )


def _mae(name: str, repository: str, also: str, *, aliases: tuple[str, ...] = ()) -> ModelCard:
    return ModelCard(
        name=name,
        family="timm",
        architecture="vit_large_patch16_224",
        weights=_weights(repository),
        preprocessing=_preprocessing(),
        licence="CC-BY-NC-4.0",
        abilities=frozenset({"encode"}),
        feature="mean of the patch tokens after the encoder's last norm",
        dimension=1024,
        trained_on=("meh-midas", also, "imagenet-1k"),
        gflops=123.0,
        aliases=(repository, *aliases),
        options={
            "global_pool": "avg",
            "fc_norm": False,
            "checkpoint": {"drop": ("decoder_", "mask_token")},
        },
        notes=_MAE_NOTES,
    )


def _weights(repository: str) -> Weights:
    page = f"https://huggingface.co/YukunZhou/{repository}"
    return Weights(file=f"{repository}.pth", hub=f"YukunZhou/{repository}", page=page, gated=True)


def _preprocessing() -> Preprocessing:
    return Preprocessing(224, "shortest-crop", "bicubic", *IMAGENET, crop_fraction=0.875)
