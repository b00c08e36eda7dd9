"""Networks of the openclip family that open_clip cannot build without asking a hub, or does not have.

Two kinds: image towers of open_clip beside a language model of the transformers library (BiomedCLIP, and the RoBERTa
architectures of open_clip), and CONCH. Configurations of language models are written out here, so that nothing is looked up.

Imported by the family when it builds a network; the module itself needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evaluator.models.card import ModelCard
from shards.errors import UserError

_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
}
_LARGE = {
    **_BASE,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
#: RoBERTa counts positions from 2 on, so 514 of them are 512 tokens.
_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}

#: Kind and settings of the language models by the names that architectures give them.
LANGUAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract": (
        "bert",
        {
            **_BASE,
            "vocab_size": 30522,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 0,
        },
    ),
    "roberta-base": ("roberta", {**_BASE, **_ROBERTA, "vocab_size": 50265}),
    "xlm-roberta-base": ("xlm-roberta", {**_BASE, **_ROBERTA, "vocab_size": 250002}),
    "xlm-roberta-large": ("xlm-roberta", {**_LARGE, **_ROBERTA, "vocab_size": 250002}),
}
_POOLERS = ("mean_pooler", "cls_last_hidden_state_pooler")
_PROJECTIONS = ("linear", "mlp")


class TwoTowers(nn.Module):
    """An image and a text tower with the scale of their similarity.

    Parameters
    ----------
    visual, text
        The towers; `text` turns ``[P, context]`` token numbers into ``[P, projected]``.
    left_out
        Beginnings of names that published files have and nothing here needs.
    """

    def __init__(self, visual: nn.Module, text: nn.Module, left_out: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(torch.zeros([]))
        self.left_out = left_out

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return the text tower's output, not normalised."""
        encoded: Tensor = self.text(tokens)
        return encoded


class LanguageTower(nn.Module):
    """A language model, pooled and projected, with open_clip's names of its tensors.

    Parameters
    ----------
    language_model
        Name in :data:`LANGUAGE_MODELS`.
    pooler
        ``"mean_pooler"`` (over the tokens that are not padding) or ``"cls_last_hidden_state_pooler"`` (the first token).
    projection
        ``"linear"``, or ``"mlp"``: two layers, the inner one as wide as the mean of both ends.
    projected
        Length of the output.
    """

    def __init__(self, language_model: str, pooler: str, projection: str, projected: int) -> None:
        from transformers import AutoConfig, AutoModel

        super().__init__()
        kind, settings = LANGUAGE_MODELS[language_model]
        models: Any = AutoModel  # untyped
        self.transformer = models.from_config(AutoConfig.for_model(kind, **settings), add_pooling_layer=False)
        width = settings["hidden_size"]
        if projection == "linear":
            self.proj: nn.Module = nn.Linear(width, projected, bias=False)
        else:
            inner = (width + projected) // 2
            self.proj = nn.Sequential(
                nn.Linear(width, inner, bias=False), nn.GELU(), nn.Linear(inner, projected, bias=False)
            )
        self._mean = pooler == "mean_pooler"
        self._padding = settings["pad_token_id"]

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode ``[P, context]`` token numbers; padding is told by its number."""
        mask = (tokens != self._padding).long()
        states = self.transformer(input_ids=tokens, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1)
        pooled = (states * weights).sum(1) / weights.sum(1) if self._mean else states[:, 0]
        projected: Tensor = self.proj(pooled)
        return projected


class ConchImageTower(nn.Module):
    """CONCH's vision transformer with the pooler of its contrastive branch.

    One query attends to all tokens (CoCa's attentional pooling, Yu et al. 2022); its normalised answer is the feature for
    probes, and a square matrix takes it to the space of the texts. The pooler of the captioning branch is left out.
    """

    def __init__(self, settings: Mapping[str, Any], projected: int) -> None:
        from open_clip.transformer import AttentionalPooler
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        width = settings["width"]
        self.trunk = VisionTransformer(
            img_size=settings["image_size"],
            patch_size=settings["patch_size"],
            embed_dim=width,
            depth=settings["layers"],
            num_heads=settings["heads"],
            num_classes=0,
        )
        self.attn_pool_contrast = AttentionalPooler(
            projected, width, n_head=settings["attn_pooler_heads"], n_queries=1
        )
        self.ln_contrast = nn.LayerNorm(projected)
        self.proj_contrast = nn.Parameter(torch.empty(projected, projected))

    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features before and after the projection."""
        tokens = self.trunk.forward_features(pixels)
        pooled = self.ln_contrast(self.attn_pool_contrast(tokens)[:, 0])
        return pooled, pooled @ self.proj_contrast


def build_language_clip(card: ModelCard, config: Mapping[str, Any]) -> TwoTowers:
    """Build an image tower of open_clip beside a language model.

    Raises
    ------
    UserError
        If what is made of the language model's states is not known here.
    """
    from open_clip.model import _build_vision_tower

    text = config["text_cfg"]
    name, pooler = text["hf_model_name"], text.get("hf_pooler_type", "mean_pooler")
    projection = text.get("hf_proj_type", "mlp")
    if pooler not in _POOLERS or projection not in _PROJECTIONS:
        raise UserError(
            f"text tower of open_clip architecture {card.architecture!r} must have a pooler of {', '.join(_POOLERS)} and a "
            f"projection of {', '.join(_PROJECTIONS)}, got {pooler!r} and {projection!r}."
        )
    visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"], config.get("quick_gelu", False))
    return TwoTowers(visual, LanguageTower(name, pooler, projection, config["embed_dim"]))


def build_conch(config: Mapping[str, Any]) -> TwoTowers:
    """Build CONCH without what only writes captions.

    Its text tower is open_clip's: after the tokens comes a class token, the last position, which is the text's embedding. Like
    open_clip's CoCa, and as it was trained, that token's mask is moved by one place: it sees one padding token and, unless the
    text fills all places, not itself.
    """
    from open_clip.transformer import TextTransformer

    text = config["text_cfg"]
    return TwoTowers(
        ConchImageTower(config["vision_cfg"], config["embed_dim"]),
        TextTransformer(
            context_length=text["context_length"],
            vocab_size=text["vocab_size"],
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
            output_dim=config["embed_dim"],
            embed_cls=True,
        ),
        left_out=("text_decoder.", "visual.attn_pool_caption.", "visual.ln_caption."),
    )
