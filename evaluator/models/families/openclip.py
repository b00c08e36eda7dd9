"""Vision-language models of the open_clip library.

Guarantee: `projected` equals open_clip's own ``encode_image`` and text features its ``encode_text`` (neither
normalised), with the tokenizer of the architecture and the scale and bias of the weights. One pass of the
image tower gives both the features before the projection (for probes) and those after it (for text).

Scope: architectures whose text tower and tokenizer are part of open_clip. Texts are encoded in tiles of a
fixed number, so that the embedding of a text does not depend on what else was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.families._text import encode_in_tiles
from evaluator.models.interfaces import Frames, ImageFeatures, Similarity, VisionLanguageModel
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Tokenize = Callable[[Sequence[str]], Tensor]
    Tower = Callable[[Tensor], tuple[Tensor, Tensor]]

#: Numbers that OpenAI's files carry beside the weights.
_NOT_WEIGHTS = (
    "input_resolution",
    "context_length",
    "vocab_size",
    "text.transformer.embeddings.position_ids",
)


class OpenClipModel(VisionLanguageModel):
    """An open_clip network behind the project's interface.

    Parameters
    ----------
    card
        The model.
    network
        ``open_clip.CLIP`` or ``CustomTextCLIP``; the model takes it over.
    tokenize
        Turns texts into ``[P, context]`` token numbers, and refuses texts that are too long.
    device, precision
        Where and how the image tower runs; the text tower is cheap and stays in float32.
    """

    def __init__(
        self, card: ModelCard, network: Any, tokenize: Tokenize, device: torch.device, precision: Precision
    ) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self._tower = split_tower(network.visual)
        self._tokenize = tokenize
        self.device = device
        self._precision = precision

    @property
    def similarity(self) -> Similarity:
        """Softmax with the learned scale; sigmoid with scale and bias for networks trained so (SigLIP)."""
        scale = float(self.network.logit_scale.double().exp())
        bias = getattr(self.network, "logit_bias", None)
        if bias is None:
            return Similarity("softmax", scale)
        return Similarity("sigmoid", scale, float(bias))

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` and ``[B, P]`` float32 features."""
        with inference(self.device, self._precision):
            features, projected = self._tower(
                normalise(images.to(self.device), self.card.preprocessing, frames)
            )
            return ImageFeatures(features.float(), projected.float())

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to ``[len(texts), P]`` float32 (not normalised).

        Raises
        ------
        ValueError
            If there is no text.
        UserError
            If a text has more tokens than the model reads.
        """
        return encode_in_tiles((self._tokenize(texts),), self.network.encode_text, self.device)


def split_tower(visual: Any) -> Tower:
    """Return a function that gives an image tower's features before and after its projection, in one pass.

    Parameters
    ----------
    visual
        ``VisionTransformer``, ``ModifiedResNet`` or ``TimmModel`` of open_clip. The last layer of the first
        two is taken out of the module and applied by the returned function.
    """
    import torch
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, TimmModel):
        return _timm_tower(visual)
    if isinstance(visual, ModifiedResNet):
        pool, visual.attnpool = visual.attnpool, torch.nn.Identity()

        def through_map(pixels: Tensor) -> tuple[Tensor, Tensor]:
            grid = visual(pixels)
            return _pooled(grid), pool(grid)

        return through_map
    if isinstance(visual, VisionTransformer) and visual.proj is not None:
        projection, visual.proj = visual.proj, None

        def through_projection(pixels: Tensor) -> tuple[Tensor, Tensor]:
            pooled = visual(pixels)
            return pooled, pooled @ projection

        return through_projection
    raise UserError(f"image towers of type {type(visual).__name__} are not supported by the openclip family")


def _timm_tower(visual: Any) -> Tower:
    """Split a timm trunk and its head; some have the projection in the place of timm's classifier."""
    import torch

    trunk = visual.trunk
    classifier = trunk.get_classifier()
    if isinstance(classifier, torch.nn.Identity):

        def through_trunk(pixels: Tensor) -> tuple[Tensor, Tensor]:
            features = trunk(pixels)
            return _pooled(features), visual.head(features)

        return through_trunk

    def through_classifier(pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = trunk.forward_head(trunk.forward_features(pixels), pre_logits=True)
        return features, visual.head(classifier(features))

    return through_classifier


def _pooled(features: Tensor) -> Tensor:
    """Average over positions where a tower gives a map instead of a vector."""
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def load(
    card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision
) -> OpenClipModel:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    fill(network, _converted(network, load_state(weights.path)), card)
    return OpenClipModel(card, network, _tokenizer(card), device, precision)


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card, its weights not yet filled."""
    import torch

    if card.architecture == "tiny-clip":
        from evaluator.models.tiny.architecture import build_tiny_clip

        tiny: nn.Module = build_tiny_clip()
        return tiny
    from open_clip.model import CLIP, CustomTextCLIP

    config = architecture_config(card.architecture)
    builder = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    config["vision_cfg"]["timm_model_pretrained"] = False
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = builder(**{**config, **card.options})
    return network


def architecture_config(name: str) -> dict[str, Any]:
    """Return open_clip's own configuration of an architecture, a copy.

    Raises
    ------
    UserError
        If open_clip has no such architecture, or its text tower lives outside of open_clip.
    """
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        raise unknown_name("open_clip architecture", name, open_clip.list_models())
    if "multimodal_cfg" in config or "hf_model_name" in config["text_cfg"]:
        raise UserError(
            f"open_clip architecture {name!r} needs a text tower from outside of open_clip, "
            "which the openclip family does not load. Choose one whose text tower is open_clip's own."
        )
    return dict(config)


def _converted(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of published checkpoints to the network's own, as open_clip does."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    own = network.state_dict()
    state = {name: tensor for name, tensor in state.items() if name in own or name not in _NOT_WEIGHTS}
    state = convert_state_dict(network, state)
    if "positional_embedding" in state and not hasattr(network, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for scalar in ("logit_scale", "logit_bias"):  # stored as [] or [1], depending on the release
        if scalar in state and scalar in own and state[scalar].numel() == 1:
            state[scalar] = state[scalar].reshape(own[scalar].shape)
    return state


def _tokenizer(card: ModelCard) -> Tokenize:
    """Return the architecture's tokenizer, built when the first text comes: image work needs none."""
    built: list[tuple[Any, Callable[[str], int]]] = []
    limit = card.context_length or 0

    def tokenize(texts: Sequence[str]) -> Tensor:
        if not built:
            built.append(_build_tokenizer(card))
        split, length = built[0]
        long = next((text for text in texts if length(text) > limit), None)
        if long is not None:
            raise UserError(
                f"text {long!r} has {length(long)} tokens; model {card.name!r} reads at most {limit}. "
                "Shorten it: the rest would be cut off unseen."
            )
        tokens: Tensor = split(list(texts), context_length=limit)
        return tokens

    return tokenize


def _build_tokenizer(card: ModelCard) -> tuple[Any, Callable[[str], int]]:
    """Return the tokenizer and a function that counts a text's tokens with both end marks."""
    if card.architecture == "tiny-clip":
        from evaluator.models.tiny import tokenizer as tiny

        return tiny.tokenize, lambda text: len(tiny.clean(text).encode()) + 2
    import open_clip

    try:
        tokenizer: Any = open_clip.get_tokenizer(card.architecture)
    except (ImportError, OSError, NameError, TypeError) as error:
        source = architecture_config(card.architecture)["text_cfg"].get("hf_tokenizer_name", "its hub page")
        raise UserError(
            f"the text tower of model {card.name!r} needs the tokenizer files of {source!r} and the package "
            f"'transformers': {error}. Its image features work without them."
        ) from error
    if hasattr(tokenizer, "encode"):
        return tokenizer, lambda text: len(tokenizer.encode(text)) + 2
    return tokenizer, lambda text: len(tokenizer.tokenizer(text)["input_ids"])
