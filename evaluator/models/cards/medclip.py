"""MedCLIP, in its two image towers."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import BIO_CLINICAL_BERT

_MEAN, _STD = 0.5862785803043838, 0.27950088968644304
_NOTES = (
    "Trained on MIMIC-CXR and CheXpert; its text tower began as Bio_ClinicalBERT, trained on the notes of MIMIC-III.",
    "A text is the mean over its own tokens; the authors' package averages over padding too, so that its embedding of a text "
    "changes with the longest text of the call.",
    "Images smaller than 224 pixels are surrounded by black, not enlarged, as in the authors' processor.",
)
_LICENCE = "none stated (the package's metadata says BSD)"


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    return (
        ModelCard(
            name="medclip-vit",
            family="medclip",
            architecture="swin-tiny",
            weights=_weights("medclip-vit", "medclip-vit-pretrained.zip"),
            preprocessing=_preprocessing(),
            licence=_LICENCE,
            abilities=frozenset({"encode", "text"}),
            feature="mean of the last tokens after the last norm, before the projection",
            dimension=768,
            projected=512,
            context_length=77,
            tokenizer=BIO_CLINICAL_BERT,
            trained_on=("mimic-cxr", "chexpert", "imagenet-1k"),
            gflops=8.98,
            aliases=("medclip", "medclip-swin"),
            notes=_NOTES,
        ),
        ModelCard(
            name="medclip-rn50",
            family="medclip",
            architecture="resnet50",
            weights=_weights("medclip-resnet", "medclip-pretrained.zip"),
            preprocessing=_preprocessing(),
            licence=_LICENCE,
            abilities=frozenset({"encode", "text"}),
            feature="global average pool, before the projection",
            dimension=2048,
            projected=512,
            context_length=77,
            tokenizer=BIO_CLINICAL_BERT,
            trained_on=("mimic-cxr", "chexpert", "imagenet-1k"),
            gflops=8.17,
            aliases=("medclip-resnet", "medclip-resnet50"),
            notes=(
                *_NOTES,
                "These weights are five days older than the package's present way to make one vector of a text, which is used "
                "here: be wary of zero-shot results; image features are not affected.",
            ),
        ),
    )


def _weights(folder: str, archive: str) -> Weights:
    """Return the file in the folder that the package itself unpacks its archive to; the bare name is anybody's."""
    return Weights(
        file=f"{folder}/pytorch_model.bin", page=f"https://storage.googleapis.com/pytrial/{archive}"
    )


def _preprocessing() -> Preprocessing:
    return Preprocessing(224, "pad-square", "bicubic", (_MEAN,) * 3, (_STD,) * 3, colour="gray")
