"""Image encoders of the timm library: the pooled features before any classifier.

Guarantee: features equal those of ``timm.create_model(name, num_classes=0)`` with the same weights.
A checkpoint's classifier is not on the feature path and is left out; everything else must fit.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import Frames, ImageEncoder, ImageFeatures
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class TimmEncoder(ImageEncoder):
    """A timm network without its classifier.

    Parameters
    ----------
    card
        The model.
    network
        ``[B, 3, S, S]`` float -> ``[B, D]``.
    device, precision
        Where and how it runs.
    """

    def __init__(
        self, card: ModelCard, network: nn.Module, device: torch.device, precision: Precision
    ) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self.device = device
        self._precision = precision

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` float32 features."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            return ImageFeatures(self.network(pixels).float(), None)


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> TimmEncoder:
    """Build the encoder of a card (see :func:`evaluator.models.loading.load_model`)."""
    network = build(card)
    if weights.path is not None:
        fill(network, _matching(network, load_state(weights.path)), card)
    return TimmEncoder(card, network, device, precision)


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card with weights drawn from its seed (0 where it has none)."""
    import timm
    import torch

    options = {key: value for key, value in card.options.items() if key != "random_seed"}
    batch_norm_eps = options.pop("bn_eps", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.options.get("random_seed", 0))
        network: nn.Module = timm.create_model(card.architecture, pretrained=False, num_classes=0, **options)
    if batch_norm_eps is not None:
        # timm's own `bn_eps` argument exists only for some of its architectures.
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eps = batch_norm_eps
    return network


def _matching(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the classifier and, if names or shapes still differ, apply timm's own conversion."""
    state = _without_classifier(network, state)
    own = network.state_dict()
    if own.keys() == state.keys() and all(own[name].shape == state[name].shape for name in own):
        return state
    # timm's convention: the module that defines an architecture offers `checkpoint_filter_fn` for publishers'
    # layouts.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return _without_classifier(network, convert(state, network)) if convert is not None else state


def _without_classifier(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    config = getattr(network, "pretrained_cfg", None) or {}
    names = config.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    own = network.state_dict()
    return {
        name: tensor for name, tensor in state.items() if name in own or not name.startswith(heads or ("\0",))
    }
