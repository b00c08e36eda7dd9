"""Vision-language models of the open_clip library.

Guarantee: `projected` equals open_clip's own ``encode_image`` and text features its ``encode_text`` (neither
normalised), with the tokenizer of the architecture and the scale and bias of the weights. One pass of the
image tower gives both the features before the projection (for probes) and those after it (for text).

Scope: architectures whose text tower is open_clip's own or a language model of the transformers library whose configuration
is known here, and CONCH. No hub is asked for a configuration or a tokenizer. Texts are encoded in tiles of a fixed number, so
that the embedding of a text does not depend on what else was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.cards.openclip import BIOMEDCLIP_HUB, CONCH_TOKENIZER
from evaluator.models.families._openclip_tokens import tokenizer
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

#: Numbers that files carry beside the weights: OpenAI's, and positions counted up by older language models.
_NOT_WEIGHTS = (
    "input_resolution",
    "context_length",
    "vocab_size",
    "text.transformer.embeddings.position_ids",
)
_CONCH = "conch_ViT-B-16"
#: Architectures by the configurations of their publishers, which open_clip does not have.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "biomedclip": {
        "embed_dim": 512,
        "vision_cfg": {
            "timm_model_name": "vit_base_patch16_224",
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {
            "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "hf_tokenizer_name": BIOMEDCLIP_HUB,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 256,
        },
    },
    _CONCH: {
        "embed_dim": 512,
        "vision_cfg": {
            "image_size": 448,
            "patch_size": 16,
            "width": 768,
            "layers": 12,
            "heads": 12,
            "attn_pooler_heads": 8,
        },
        "text_cfg": {
            "context_length": 127,  # of its 128 places the last one is the class token's
            "vocab_size": 32007,
            "width": 768,
            "heads": 12,
            "layers": 12,
            "tokenizer_file": CONCH_TOKENIZER,
            "tokenizer_kwargs": {"clean": "none"},
        },
    },
}


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
        ``VisionTransformer``, ``ModifiedResNet`` or ``TimmModel`` of open_clip, or CONCH's. The last layer of the first
        two is taken out of the module and applied by the returned function.
    """
    import torch
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    from evaluator.models.families._openclip_towers import ConchImageTower

    if isinstance(visual, ConchImageTower):
        return visual.both
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
    text = {} if card.architecture == "tiny-clip" else architecture_config(card.architecture)["text_cfg"]
    return OpenClipModel(card, network, tokenizer(card, weights, text), device, precision)


def build(card: ModelCard) -> nn.Module:
    """Build the network of a card, its weights not yet filled."""
    import torch

    if card.architecture == "tiny-clip":
        from evaluator.models.tiny.architecture import build_tiny_clip

        tiny: nn.Module = build_tiny_clip()
        return tiny
    config = {**architecture_config(card.architecture), **card.options}
    with torch.random.fork_rng(devices=[]):
        return _network(card, config)


def _network(card: ModelCard, config: dict[str, Any]) -> nn.Module:
    """Build an architecture from its configuration, on the CPU or without memory, with any weights."""
    from open_clip.model import CLIP, CustomTextCLIP

    from evaluator.models.families._openclip_towers import build_conch, build_language_clip

    if card.architecture == _CONCH:
        return build_conch(config)
    config["vision_cfg"]["timm_model_pretrained"] = False
    if "hf_model_name" in config["text_cfg"]:
        return build_language_clip(card, config)
    builder = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    network: nn.Module = builder(**config)
    return network


def architecture_config(name: str) -> dict[str, Any]:
    """Return the configuration of an architecture as open_clip writes it, a copy.

    Raises
    ------
    UserError
        If there is no such architecture, or its text tower lives outside of open_clip and is not known here.
    """
    import open_clip

    from evaluator.models.families._openclip_towers import LANGUAGE_MODELS

    config = deepcopy(_PUBLISHED.get(name)) or open_clip.get_model_config(name)
    if config is None:
        raise unknown_name("open_clip architecture", name, [*open_clip.list_models(), *_PUBLISHED])
    if "multimodal_cfg" in config:
        raise UserError(
            f"open_clip architecture {name!r} writes captions (CoCa), which the openclip family does not load."
        )
    language_model = config["text_cfg"].get("hf_model_name")
    if language_model not in (None, *LANGUAGE_MODELS):
        raise UserError(
            f"open_clip architecture {name!r} needs the text tower {language_model!r} from outside of open_clip, which the "
            f"openclip family does not load. Choose one whose text tower is open_clip's own or one of: "
            f"{', '.join(LANGUAGE_MODELS)}."
        )
    return dict(config)


def _converted(network: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of published checkpoints to the network's own, as open_clip does."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    own = network.state_dict()
    left_out = getattr(network, "left_out", ())
    state = {
        name: tensor
        for name, tensor in state.items()
        if name in own or not (name in _NOT_WEIGHTS or name.startswith(left_out))
    }
    state = convert_state_dict(network, state)
    if "positional_embedding" in state and not hasattr(network, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    for scalar in ("logit_scale", "logit_bias"):  # stored as [] or [1], depending on the release
        if scalar in state and scalar in own and state[scalar].numel() == 1:
            state[scalar] = state[scalar].reshape(own[scalar].shape)
    return state
