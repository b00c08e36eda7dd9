"""Image encoders of Segment Anything's architecture used for features, without its prompts and its decoder.

Guarantee: features are the mean over positions of the last block's output, before the neck, as of
``segment_anything.modeling.ImageEncoderViT`` with the same weights. The network has relative positions only, so it
takes images of any size that is a multiple of its patches. The neck must be in the file like everything else (a file
without it is another network's), but is not on the feature path.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import Frames, ImageEncoder, ImageFeatures
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: What segment-anything's builder says of its image encoders.
_ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vit_b": {"embed_dim": 768, "depth": 12, "num_heads": 12, "global_attn_indexes": (2, 5, 8, 11)},
}


class SamEncoder(ImageEncoder):
    """The blocks of an image encoder of Segment Anything, averaged over positions.

    Parameters
    ----------
    card
        The model.
    network
        What :func:`build` gave for the card, filled. Its neck is taken out.
    device, precision
        Where and how it runs.
    """

    def __init__(self, card: ModelCard, network: Any, device: torch.device, precision: Precision) -> None:
        without_neck(network)
        freeze(network, device)
        self.card = card
        self.network = network
        self.device = device
        self._precision = precision

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` float32 features."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            return ImageFeatures(self.network(pixels).float().mean(dim=(2, 3)), None)


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> SamEncoder:
    """Build the encoder of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    fill(network, load_state(weights.path), card)
    return SamEncoder(card, network, device, precision)


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card, its weights not yet filled.

    The lengths of its relative positions are those of a grid of 1024 pixels, whatever size it is used at.
    """
    import torch
    from segment_anything.modeling import ImageEncoderViT

    if card.architecture not in _ARCHITECTURES:
        raise unknown_name("image encoder of SAM", card.architecture, _ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = ImageEncoderViT(
            img_size=1024,
            patch_size=16,
            mlp_ratio=4,
            out_chans=256,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_abs_pos=False,
            use_rel_pos=True,
            window_size=14,
            **_ARCHITECTURES[card.architecture],
        )
    return network


def without_neck(network: Any) -> None:
    """Let a filled network give the output of its last block, ``[B, D, S/16, S/16]``."""
    import torch

    network.neck = torch.nn.Identity()
