"""Models in the layout of Hugging Face transformers, built from the numbers on their cards.

Guarantee: features equal those of the transformers class that the card names, with every tensor from the file. Nothing is
asked of a hub and no code of a repository runs: the class is one of the library's own, its configuration is the card's.

Features are the vector that the architecture has for an image: the class token after the last norm (CLIP, DINO, ViT), SigLIP's
attention-pooled vector, and the mean of all patches where there is neither (AIMv2, a SigLIP tower without its head). SigLIP has
no projection: its features are those it shares with text.

Texts of SigLIP are brought to the form it was trained with (lower case; the first version also without punctuation), padded to
its full length and read without a mask, because it was trained so: the padding is part of what the tower sees.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluator.models.card import ModelCard
from evaluator.models.families._hf_names import matched
from evaluator.models.families._text import encode_in_tiles
from evaluator.models.interfaces import Frames, ImageEncoder, ImageFeatures, Similarity, VisionLanguageModel
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.sharded import load_part
from evaluator.models.tokens import FileTokenizer
from evaluator.models.weights import LocatedWeights, require_tokenizer
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Tower = Callable[[Tensor], tuple[Tensor, Tensor | None]]

_BLOCKS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
_NORMED = (*_BLOCKS, "layer_norm_eps")
_VISION = (*_NORMED, "image_size", "patch_size")
_DINO2 = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "mlp_ratio", "hidden_act", "layer_norm_eps"),
    *("image_size", "patch_size", "qkv_bias", "use_swiglu_ffn"),
)


class _Architecture(NamedTuple):
    """A class of transformers: its configuration's class, the numbers that define it, arguments of its own.

    Numbers of a tower stand under ``vision_config`` and ``text_config``, as in a ``config.json``; others under ``""``.
    """

    config: str
    numbers: Mapping[str, tuple[str, ...]]
    arguments: Mapping[str, Any] = {}


_ARCHITECTURES: dict[str, _Architecture] = {
    "CLIPModel": _Architecture(
        "CLIPConfig",
        {
            "": ("projection_dim",),
            "vision_config": _VISION,
            "text_config": (*_NORMED, "vocab_size", "max_position_embeddings", "eos_token_id"),
        },
    ),
    "SiglipModel": _Architecture(
        "SiglipConfig",
        {
            "vision_config": (*_VISION, "vision_use_head"),
            "text_config": (*_NORMED, "vocab_size", "max_position_embeddings", "projection_size"),
        },
    ),
    "SiglipVisionModel": _Architecture("SiglipVisionConfig", {"": (*_VISION, "vision_use_head")}),
    "Dinov2Model": _Architecture("Dinov2Config", {"": _DINO2}),
    "Dinov2WithRegistersModel": _Architecture(
        "Dinov2WithRegistersConfig", {"": (*_DINO2, "num_register_tokens")}
    ),
    "DINOv3ViTModel": _Architecture(
        "DINOv3ViTConfig",
        {
            "": (
                *(*_VISION, "rope_theta", "num_register_tokens", "use_gated_mlp"),
                *("query_bias", "key_bias", "value_bias", "proj_bias", "mlp_bias"),
            )
        },
    ),
    "ViTModel": _Architecture("ViTConfig", {"": (*_VISION, "qkv_bias")}, {"add_pooling_layer": False}),
    "Aimv2VisionModel": _Architecture(
        "Aimv2VisionConfig",
        {
            "": (
                *_BLOCKS,
                "image_size",
                "patch_size",
                "rms_norm_eps",
                "qkv_bias",
                "mlp_bias",
                "use_head",
                "is_native",
            )
        },
    ),
}

#: Towers without a class token; with a head they pool by attention.
_WITHOUT_TOKEN = ("SiglipVisionModel", "Aimv2VisionModel")

#: How SigLIP's texts are written before they are cut into tokens, and the marks around every text, by name of the rule.
_TEXT_RULES: dict[str, tuple[Callable[[str], str], tuple[str | None, str], str]] = {
    "clip": (str, ("<|startoftext|>", "<|endoftext|>"), "<|endoftext|>"),
    "siglip": (lambda text: _without_punctuation(text.lower()), (None, "</s>"), "</s>"),
    "siglip2": (str.lower, (None, "<eos>"), "<pad>"),
}


def architectures() -> tuple[str, ...]:
    """Return the classes of transformers that this family builds."""
    return tuple(sorted(_ARCHITECTURES))


def numbers(architecture: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what defines a network out of a ``config.json``, complete: what the file leaves to the library is written out.

    Parameters
    ----------
    architecture
        One of :func:`architectures`.
    config
        The file's content.

    Returns
    -------
    dict
        For the card's options, under ``config``. Two files that mean the same network give the same.

    Raises
    ------
    UserError
        If the architecture is unknown or a value is of a wrong kind.
    """
    kind = _kind(architecture)
    made = _configuration(architecture, _only(kind, config))
    found: dict[str, Any] = {}
    for tower, keys in kind.numbers.items():
        part = getattr(made, tower) if tower else made
        own = {key: getattr(part, key) for key in keys}
        found.update({tower: own} if tower else own)
    return found


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card; its tensors hold nothing until they are filled.

    Raises
    ------
    UserError
        If the numbers do not make a network.
    """
    import torch
    import transformers
    from transformers.initialization import no_init_weights

    kind = _kind(card.architecture)
    config = _configuration(card.architecture, card.options["config"])
    try:
        with torch.random.fork_rng(devices=[]), no_init_weights():
            network: nn.Module = getattr(transformers, card.architecture)(config, **kind.arguments)
    except (ValueError, ZeroDivisionError) as error:
        raise _refused(card.architecture, error) from error
    return network


def feature(architecture: str, config: Mapping[str, Any]) -> str:
    """Say which vector of an image a network gives as its features, for the card."""
    if architecture == "CLIPModel":
        return "class token after the last norm, before the projection"
    if architecture == "SiglipModel":
        return "attention-pooled vector, shared with texts"
    if config.get("vision_use_head") or config.get("use_head"):
        return "attention-pooled vector"
    if architecture in _WITHOUT_TOKEN:
        return "mean over all patches after the last norm"
    return "class token after the last norm"


def image_tower(card: ModelCard, network: Any) -> Tower:
    """Return a function from normalised pixels to features before and after the projection.

    Parameters
    ----------
    card
        Says which architecture it is.
    network
        What :func:`build` gave.
    """
    if card.architecture == "CLIPModel":

        def with_projection(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
            pooled = network.vision_model(pixel_values=pixels).pooler_output
            return pooled, network.visual_projection(pooled)

        return with_projection
    if card.architecture == "SiglipModel":

        def shared(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
            pooled = network.vision_model(pixel_values=pixels).pooler_output
            return pooled, pooled

        return shared
    config = card.options["config"]
    if config.get("vision_use_head") or config.get("use_head"):
        return lambda pixels: (network(pixel_values=pixels).pooler_output, None)
    if card.architecture in _WITHOUT_TOKEN:
        return lambda pixels: (network(pixel_values=pixels).last_hidden_state.mean(dim=1), None)
    return lambda pixels: (network(pixel_values=pixels).last_hidden_state[:, 0], None)


class HfEncoder(ImageEncoder):
    """A transformers network behind the project's interface.

    Parameters
    ----------
    card
        The model.
    network
        What :func:`build` gave, filled; the model takes it over.
    device, precision
        Where and how it runs.
    """

    def __init__(self, card: ModelCard, network: Any, device: torch.device, precision: Precision) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self.device = device
        self._tower = image_tower(card, network)
        self._precision: Precision = precision

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` float32 features, and projected ones where there are texts."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            features, projected = self._tower(pixels)
            return ImageFeatures(features.float(), None if projected is None else projected.float())


class HfVisionLanguageModel(HfEncoder, VisionLanguageModel):
    """CLIP or SigLIP of transformers.

    Parameters
    ----------
    card, network, device, precision
        As in :class:`HfEncoder`; the text tower is cheap and stays in float32.
    weights
        Where the tokenizer's file is; asked for when the first text comes.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Any,
        weights: LocatedWeights,
        device: torch.device,
        precision: Precision,
    ) -> None:
        super().__init__(card, network, device, precision)
        self._weights = weights
        self._tokenizer: FileTokenizer | None = None

    @property
    def similarity(self) -> Similarity:
        """Softmax with the learned scale (CLIP); sigmoid with scale and bias (SigLIP)."""
        scale = float(self.network.logit_scale.double().exp())
        bias = getattr(self.network, "logit_bias", None)
        if bias is None:
            return Similarity("softmax", scale)
        return Similarity("sigmoid", scale, float(bias))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to ``[len(texts), P]`` float32 (not normalised).

        Raises
        ------
        ValueError
            If there is no text.
        MissingWeights
            If the tokenizer's file is not here.
        UserError
            If a text has more tokens than the model reads.
        """
        write, ends, pad = _TEXT_RULES[self.card.options["texts"]]
        path = self._weights.tokenizer
        if path is None:
            require_tokenizer(self.card, self._weights)
        elif self._tokenizer is None:
            length = self.card.context_length or 0
            self._tokenizer = FileTokenizer(path, length, self.card.name, pad=pad, ends=ends)
        if self._tokenizer is None:
            raise UserError(f"card of model {self.card.name!r} must name the file of its tokenizer.")
        ids = self._tokenizer([write(text) for text in texts]).ids
        return encode_in_tiles((ids,), self._embed, self.device)

    def _embed(self, ids: Tensor) -> Tensor:
        pooled: Tensor = self.network.text_model(input_ids=ids).pooler_output
        projection = getattr(self.network, "text_projection", None)
        return pooled if projection is None else projection(pooled)


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> HfEncoder:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    state = load_part(weights.path, card.weights.part, weights.others)
    fill(network, _scalars(network, matched(card.architecture, network.state_dict(), state)), card)
    if "text" in card.abilities:
        return HfVisionLanguageModel(card, network, weights, device, precision)
    return HfEncoder(card, network, device, precision)


def _scalars(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give scale and bias the network's shape: they are stored as [] or [1], depending on the release."""
    own = network.state_dict()
    for name in ("logit_scale", "logit_bias"):
        if name in state and name in own and state[name].numel() == 1:
            state[name] = state[name].reshape(own[name].shape)
    return state


def _kind(architecture: str) -> _Architecture:
    if architecture not in _ARCHITECTURES:
        raise unknown_name("architecture of transformers", architecture, architectures())
    return _ARCHITECTURES[architecture]


def _only(kind: _Architecture, config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tower, keys in kind.numbers.items():
        part = (config.get(tower) or {}) if tower else config
        if not isinstance(part, Mapping):
            raise UserError(f"configuration has {type(part).__name__} where {tower!r} must be a table.")
        own = {key: part[key] for key in keys if key in part}
        found.update({tower: own} if tower else own)
    return found


def _configuration(architecture: str, values: Mapping[str, Any]) -> Any:
    """Build the configuration. Numbers of special tokens only serve generation; of CLIP's, that of the end mark is used."""
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    kind = _kind(architecture)
    given = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    if "text_config" in kind.numbers:
        ends = () if architecture == "CLIPModel" else ("eos_token_id",)
        unused = dict.fromkeys(("bos_token_id", "pad_token_id", *ends))
        given["text_config"] = {**given.get("text_config", {}), **unused}
    try:
        return getattr(transformers, kind.config)(**given, attn_implementation="sdpa")
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise _refused(architecture, error) from error


def _refused(architecture: str, error: Exception) -> UserError:
    """Say what the library's own checks of types and sums found."""
    cause = " ".join(str(error).split())
    return UserError(f"configuration of a {architecture} is refused by transformers: {cause}")


def _without_punctuation(text: str) -> str:
    bare = text.translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\s+", " ", bare).strip()
