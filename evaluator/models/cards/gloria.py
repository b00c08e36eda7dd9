"""GLoRIA with its ResNet-50.

The authors name a second file, ``chexpert_resnet18.ckpt``. Their code cannot run it (its embedding of regions takes 1024
channels, of which a ResNet-18 has 256), so what is in that file is not known and it has no card.
"""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import BIO_CLINICAL_BERT, HALF


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    return (
        ModelCard(
            name="gloria-rn50",
            family="gloria",
            architecture="resnet50",
            weights=Weights(
                file="chexpert_resnet50.ckpt",
                page="https://stanfordmedicine.box.com/s/j5h7q99f3pfi7enc0dom73m4nsm6yzvh",
            ),
            preprocessing=Preprocessing(
                224, "longest-pad-crop", "area", *HALF, crop_fraction=0.875, colour="gray"
            ),
            licence="Apache-2.0 (code; none stated for the weights)",
            abilities=frozenset({"encode", "text"}),
            feature="global average pool, before the global embedding",
            dimension=2048,
            projected=768,
            context_length=97,
            tokenizer=BIO_CLINICAL_BERT,
            trained_on=("chexpert", "imagenet-1k"),
            gflops=15.25,
            aliases=("gloria", "gloria-resnet50"),
            notes=(
                "Trained on CheXpert's radiographs and reports; its text tower began as Bio_ClinicalBERT, trained on the notes "
                "of MIMIC-III.",
                "Scores are the cosine of the global embeddings. The publisher's zero-shot averages this with a similarity of "
                "words and regions and standardises over the images of the call: its scores depend on the other images.",
                "Logits are ten times the cosine, as in the training's global loss; the publisher's zero-shot has no factor.",
                "Texts are reduced to their words in lower case as by the publisher, but a sentence of one word is kept.",
                "The middle 224 of 256 pixels are seen: the border of the longer side is cut off.",
            ),
        ),
    )
