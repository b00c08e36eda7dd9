"""The models that are known by name, a module per family. No weights, no torch: only what is true of them.

Costs are FLOPs (twice the multiply-adds) of the image encoder for one image, counted from the layer shapes.
Hashes are given where the publisher's file is one fixed file; hub files without one get their hash recorded
when they are first used.
"""

from __future__ import annotations

from evaluator.models.card import ModelCard
from evaluator.models.cards import (
    blip,
    gloria,
    hf,
    lvm_med,
    medclip,
    openclip,
    pathology,
    radiographs,
    retina,
    sam,
    timm,
)

_FAMILIES = (blip, gloria, hf, lvm_med, medclip, openclip, pathology, radiographs, retina, sam, timm)


def packaged_cards() -> tuple[ModelCard, ...]:
    """Return the cards of this package."""
    return tuple(card for family in _FAMILIES for card in family.cards())
