"""Image encoders of the timm library: the pooled features before any classifier.

Guarantee: features equal those of ``timm.create_model(name, num_classes=0)`` with the same weights.
A checkpoint's classifier is not on the feature path and is left out; everything else must fit.

Beside arguments of ``timm.create_model`` a card's options may hold

``checkpoint``
    How the publisher's file names the encoder: ``prefix`` is taken off the names that have it and all other names are
    left out (momentum encoders, queues, heads beside the encoder); then names that start with one of ``drop`` are left
    out (decoders, heads on top). What is left must fill the network, no more and no less.
``pool``
    ``"class+patches"``: the class token and the mean of the patch tokens, both after the last norm, one after the other.
``mlp_layer``
    Name of a layer of ``timm.layers``.
``bn_eps``, ``random_seed``
    Epsilon of every batch norm; seed of weights that are drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import Frames, ImageEncoder, ImageFeatures
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights
from shards.errors import unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Options that are ours and not timm's.
_OWN_OPTIONS = ("bn_eps", "checkpoint", "pool", "random_seed")


class TimmEncoder(ImageEncoder):
    """A timm network without its classifier.

    Parameters
    ----------
    card
        The model.
    network
        What :func:`build` gave for the card, filled.
    device, precision
        Where and how it runs.
    """

    def __init__(
        self, card: ModelCard, network: nn.Module, device: torch.device, precision: Precision
    ) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self._tower = pooled(card, network)
        self.device = device
        self._precision = precision

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` float32 features."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            return ImageFeatures(self._tower(pixels).float(), None)


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> TimmEncoder:
    """Build the encoder of a card (see :func:`evaluator.models.loading.load_model`)."""
    network = build(card)
    if weights.path is not None:
        fill(network, matching(card, network, load_state(weights.path)), card)
    return TimmEncoder(card, network, device, precision)


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card with weights drawn from its seed (0 where it has none)."""
    import timm
    import torch

    options = {key: value for key, value in card.options.items() if key not in _OWN_OPTIONS}
    if "mlp_layer" in options:
        options["mlp_layer"] = getattr(timm.layers, options["mlp_layer"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.options.get("random_seed", 0))
        network: nn.Module = timm.create_model(card.architecture, pretrained=False, num_classes=0, **options)
    batch_norm_eps = card.options.get("bn_eps")
    if batch_norm_eps is not None:
        # timm's own `bn_eps` argument exists only for some of its architectures.
        for module in network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eps = batch_norm_eps
    return network


def pooled(card: ModelCard, network: Any) -> Callable[[Tensor], Tensor]:
    """Return the function from ``[B, 3, S, S]`` float to the card's features ``[B, D]``."""
    import torch

    pool = card.options.get("pool")
    if pool is None:
        features: Callable[[Tensor], Tensor] = network
        return features
    if pool != "class+patches":
        raise unknown_name("pooling of tokens", pool, ("class+patches",))

    def class_and_patches(pixels: Tensor) -> Tensor:
        tokens = network.forward_features(pixels)  # class token, registers, patches
        return torch.cat([tokens[:, 0], tokens[:, network.num_prefix_tokens :].mean(dim=1)], dim=1)

    return class_and_patches


def matching(card: ModelCard, network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint under the network's own names, without what the card leaves out.

    Parameters
    ----------
    card
        Says how the file is laid out.
    network
        What :func:`build` gave for it.
    state
        As :func:`evaluator.models.state.load_state` gave it.
    """
    state = _without_classifier(network, _of_layout(state, **card.options.get("checkpoint", {})))
    own = network.state_dict()
    # Counters of training steps are no weights, and some files do not have them.
    counters = {name: own[name] for name in own if name.endswith(".num_batches_tracked")}
    if own.keys() == {*counters, *state} and all(own[name].shape == state[name].shape for name in state):
        return {**counters, **state}
    # timm's convention: the module that defines an architecture offers `checkpoint_filter_fn` for publishers'
    # layouts.
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return {**counters, **state}
    converted = _without_classifier(network, convert(state, network))
    # It would also resample patches of another size: that file is another network's, and must not pass for this one's.
    patches = {
        name: state[name] for name in ("patch_embed.proj.weight",) if name in state and state[name].ndim == 4
    }
    return {**counters, **converted, **patches}


def _of_layout(state: dict[str, Tensor], prefix: str = "", drop: tuple[str, ...] = ()) -> dict[str, Tensor]:
    bare = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in bare.items() if not name.startswith(tuple(drop))}


def _without_classifier(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    config = getattr(network, "pretrained_cfg", None) or {}
    names = config.get("classifier") or ()
    heads = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    own = network.state_dict()
    return {
        name: tensor for name, tensor in state.items() if name in own or not name.startswith(heads or ("\0",))
    }
