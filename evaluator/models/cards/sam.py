"""Segment Anything, in the layout of its own code."""

from __future__ import annotations

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.cards._constants import IMAGENET

_PAGE = "https://github.com/facebookresearch/segment-anything#model-checkpoints"
#: architecture -> (file, sha256, GFLOP)
_FILES = {
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


def cards() -> tuple[ModelCard, ...]:
    """Return the cards of this family."""
    found = []
    for architecture, (file, sha256, _) in _FILES.items():
        letter = architecture[-1]
        aliases = ("sam", "segment-anything") if letter == "b" else ()
        weights = Weights(file=file, sha256=sha256, page=_PAGE)
        found.append(
            sam_card(f"sam-vit-{letter}", architecture, weights, aliases=(*aliases, f"sam-{letter}"))
        )
    return tuple(found)


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
        preprocessing=Preprocessing(1024, "longest-pad", "bilinear", *IMAGENET),
        licence=licence,
        abilities=frozenset({"encode", "segment"}),
        feature="mean of the image embedding over its positions",
        dimension=256,
        prompts=("center", "rand", "rands", "bbox"),
        mask_threshold=0.0,
        trained_on=trained_on,
        gflops=_FILES[architecture][2],
        aliases=aliases,
        notes=notes,
    )
