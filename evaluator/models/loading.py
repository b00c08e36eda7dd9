"""Build a model from its card and its checked weights.

Guarantee: every tensor of the network comes from the file. A checkpoint that lacks one, has one too many or
one of another shape is refused, because a half-loaded network runs and gives plausible, worthless features. A
family is named by its card: one of ours, or ``package.module:function`` of a plug-in with the signature of
:data:`Loader`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import ImageEncoder, PromptableSegmenter
from evaluator.models.numerics import Precision, resolve_device
from evaluator.models.weights import LocatedWeights
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Model = ImageEncoder | PromptableSegmenter
Loader = Callable[[ModelCard, LocatedWeights, "torch.device", Precision], Model]

_FAMILIES = {
    "blip": "evaluator.models.families.blip:load",
    "hf": "evaluator.models.families.hf:load",
    "gloria": "evaluator.models.families.gloria:load",
    "medclip": "evaluator.models.families.medclip:load",
    "openclip": "evaluator.models.families.openclip:load",
    "timm": "evaluator.models.families.timm:load",
    "sam": "evaluator.models.families.sam:load",
    "sam-encoder": "evaluator.models.families.sam_encoder:load",
}


def load_model(
    card: ModelCard, weights: LocatedWeights, *, device: str = "cpu", precision: Precision = "fp32"
) -> Model:
    """Build a model, ready to encode or to segment.

    Parameters
    ----------
    card
        The model.
    weights
        What :func:`evaluator.models.weights.locate` gave for it.
    device
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    precision
        ``"fp32"``, or ``"bf16"`` for matrix products and convolutions of the image tower. Outputs are
        float32.

    Returns
    -------
    ImageEncoder or PromptableSegmenter
        Also a `VisionLanguageModel` where the card has the ability ``text``; both where it has ``encode`` and
        ``segment``.

    Raises
    ------
    UserError
        If the family is unknown, the device absent, the precision another, or the weights do not fit the
        network.
    """
    if precision not in ("fp32", "bf16"):
        raise UserError(f"precision must be 'fp32' or 'bf16', got {precision!r}")
    return _loader(card)(card, weights, resolve_device(device), precision)


def _loader(card: ModelCard) -> Loader:
    address = _FAMILIES.get(card.family, card.family)
    module, colon, function = address.partition(":")
    if not colon:
        raise unknown_name(
            "model family", card.family, _FAMILIES, hint="A plug-in's is written 'package.module:function'."
        )
    try:
        loader: Loader = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model {card.name!r}: its loader {address!r} cannot be imported: {error}") from error
    return loader


def fill(network: nn.Module, state: dict[str, Tensor], card: ModelCard) -> None:
    """Copy a checkpoint into a network, all of it or nothing.

    Raises
    ------
    UserError
        If names or shapes differ: names the first five of each kind.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} (expected {list(own[name].shape)}, found {list(state[name].shape)})"
        for name in own
        if name in state and own[name].shape != state[name].shape
    ]
    problems = [
        f"{len(names)} {kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise UserError(
            f"weights of model {card.name!r} do not fit {card.architecture!r} ({len(own)} tensors expected): "
            f"{'; '.join(problems)}. Use the file that belongs to this architecture."
        )
    network.load_state_dict(state, strict=True)


def freeze(network: nn.Module, device: torch.device) -> None:
    """Make a network ready for inference: evaluation mode, no gradients, on its device."""
    network.eval().requires_grad_(False).to(device)
