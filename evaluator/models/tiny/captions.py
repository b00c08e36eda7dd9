"""The sentences ``tiny-clip`` learns, and which of them are true of which phantom.

A batch of image-caption pairs holds many captions that are true of many images. Instead of calling all but
one of them wrong, every caption of the bank is compared with every image and all true ones are positives.
"""

from __future__ import annotations

from typing import NamedTuple

from shards.card import DatasetCard
from shards.datasets.phantom_cxr import CARD as CXR_CARD
from shards.datasets.phantom_fundus import CARD as FUNDUS_CARD

#: What can be true of a picture, as (target or topic, class).
Fact = tuple[str, str]

_FURTHER: tuple[tuple[str, Fact], ...] = (
    ("a chest x-ray", ("picture", "chest")),
    ("chest radiograph", ("picture", "chest")),
    ("a frontal x-ray of the lungs", ("picture", "chest")),
    ("a fundus photograph", ("picture", "fundus")),
    ("a retinal image of the optic disc", ("picture", "fundus")),
    ("normal lungs", ("opacity", "no opacity")),
    ("no opacity", ("opacity", "no opacity")),
    ("no finding", ("opacity", "no opacity")),
    ("lungs without opacity", ("opacity", "no opacity")),
    ("opacity", ("opacity", "opacity")),
    ("pneumonia", ("opacity", "opacity")),
    ("a bright spot in one lung", ("opacity", "opacity")),
    ("opacity left", ("finding", "opacity left")),
    ("opacity on the left side", ("finding", "opacity left")),
    ("opacity right", ("finding", "opacity right")),
    ("opacity on the right side", ("finding", "opacity right")),
    ("normal", ("glaucoma", "normal")),
    ("a small cup", ("glaucoma", "normal")),
    ("no glaucoma", ("glaucoma", "normal")),
    ("a healthy eye", ("glaucoma", "normal")),
    ("glaucoma", ("glaucoma", "glaucoma")),
    ("a large cup", ("glaucoma", "glaucoma")),
    ("an eye with glaucoma", ("glaucoma", "glaucoma")),
)


class Bank(NamedTuple):
    """All captions.

    Attributes
    ----------
    texts
        The captions, each once.
    facts
        What each says.
    """

    texts: tuple[str, ...]
    facts: tuple[Fact, ...]


def caption_bank() -> Bank:
    """Return the zero-shot prompts of both phantom datasets and further wordings."""
    pairs = [*_prompts(CXR_CARD), *_prompts(FUNDUS_CARD), *_FURTHER]
    unique = dict(pairs)
    return Bank(tuple(unique), tuple(unique.values()))


def chest_facts(finding: str) -> frozenset[Fact]:
    """Return what is true of a chest X-ray with that finding."""
    opacity = "no opacity" if finding == "none" else "opacity"
    return frozenset({("picture", "chest"), ("opacity", opacity), ("finding", finding)})


def fundus_facts(label: str) -> frozenset[Fact]:
    """Return what is true of a photograph of an optic disc with that label."""
    return frozenset({("picture", "fundus"), ("glaucoma", label)})


def _prompts(card: DatasetCard) -> list[tuple[str, Fact]]:
    return [
        (template.format(name), (prompts.target, label))
        for prompts in card.prompts
        for label, names in zip(card.target(prompts.target).classes, prompts.names, strict=True)
        for name in names
        for template in prompts.templates
    ]
