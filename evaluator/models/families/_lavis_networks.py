"""The networks of BLIP and BLIP-2, and which tensors of LAVIS' checkpoints are theirs.

Both image towers are plain vision transformers, so timm's is used. BLIP's has the layer names of LAVIS' own. BLIP-2's is the
first 39 of the 40 blocks of EVA-CLIP's ViT-g/14: its queries and values have a bias and its keys have none (stored apart, put
together here with zeros for the keys), and in the place of its last norm is ``ln_vision``, which is kept with the Q-Former.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from evaluator.models.families._lavis_bert import BertSize, LavisBert
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: What LAVIS' pre-training checkpoint of BLIP holds beside the two towers: momentum copies and their queues, the caption
#: decoder, the matching head, and what only the image-grounded mode of the text encoder uses.
_BLIP_UNUSED = re.compile(
    r"(visual_encoder_m|text_encoder_m|text_decoder|vision_proj_m|text_proj_m|itm_head)\."
    r"|(image_queue|text_queue|queue_ptr)$"
    r"|text_encoder\.encoder\.layer\.\d+\.crossattention\."
    r"|text_encoder\.embeddings\.position_ids$"
)
#: Of the Q-Former's checkpoint: the language model's head, the matching head, a constant.
_BLIP2_UNUSED = re.compile(r"Qformer\.cls\.|itm_head\.|Qformer\.bert\.embeddings\.position_ids$")
#: Of EVA-CLIP's tower: what comes after its blocks.
_EVA_UNUSED = re.compile(r"(norm|fc_norm|head)\.")
_SHARED = 256


class Blip(nn.Module):
    """BLIP's image and text encoder with their projections.

    Parameters
    ----------
    layers
        Of both towers; 12 as published.
    """

    vectors = 1

    def __init__(self, layers: int = 12) -> None:
        super().__init__()
        self.visual_encoder: Any = _transformer(patch=16, width=768, depth=layers, heads=12, inner=3072)
        self.text_encoder = LavisBert(BertSize(words=30524, layers=layers))
        self.vision_proj = nn.Linear(768, _SHARED)
        self.text_proj = nn.Linear(768, _SHARED)
        self.temp = nn.Parameter(torch.empty(()))

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token ``[B, 768]`` after the last norm, and projected ``[B, 256]``."""
        features: Tensor = self.visual_encoder.forward_features(pixels)[:, 0]
        return features, self.vision_proj(features)

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the first token ``[B, 256]``, projected."""
        projected: Tensor = self.text_proj(self.text_encoder.text(ids, mask)[:, 0])
        return projected


class Blip2(nn.Module):
    """BLIP-2's first stage: image tower, Q-Former and projections.

    Parameters
    ----------
    depth, layers
        Of the image tower and of the Q-Former; 39 and 12 as published.
    pool
        What of the queries' outputs is the feature: their ``"mean"``, or the ``"first"``.
    """

    vectors = 32

    def __init__(self, depth: int = 39, layers: int = 12, pool: Literal["mean", "first"] = "mean") -> None:
        super().__init__()
        self._pool = pool
        self.visual_encoder: Any = _transformer(patch=14, width=1408, depth=depth, heads=16, inner=6144)
        self.visual_encoder.norm = nn.LayerNorm(1408)  # ln_vision has another epsilon than the blocks
        self.qformer = LavisBert(BertSize(words=30523, layers=layers, image_width=1408))
        self.query_tokens = nn.Parameter(torch.empty(1, self.vectors, 768))
        self.vision_proj = nn.Linear(768, _SHARED)
        self.text_proj = nn.Linear(768, _SHARED)
        self.temp = nn.Parameter(torch.empty(()))

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return one vector of the queries' outputs ``[B, 768]``, and all projected ``[B, 32 * 256]``."""
        tokens = self.visual_encoder.forward_features(pixels)
        queries = self.qformer.queries(self.query_tokens.expand(len(pixels), -1, -1), tokens)
        features = queries.mean(dim=1) if self._pool == "mean" else queries[:, 0]
        return features, self.vision_proj(queries).flatten(1)

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the first token ``[B, 256]``, projected."""
        projected: Tensor = self.text_proj(self.qformer.text(ids, mask)[:, 0])
        return projected


def _transformer(*, patch: int, width: int, depth: int, heads: int, inner: int) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=224,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=inner / width,
        num_classes=0,
        weight_init="skip",
    )


def blip_state(checkpoint: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what of a pre-training checkpoint is on the feature path; unknown names stay, to be refused."""
    return {name: tensor for name, tensor in checkpoint.items() if not _BLIP_UNUSED.match(name)}


def blip2_state(checkpoint: dict[str, Tensor], tower: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return what of the two files is on the feature path, in the network's names; unknown names stay.

    Parameters
    ----------
    checkpoint
        Q-Former, projections, ``ln_vision``.
    tower
        EVA-CLIP's image tower, 16 bits a number as published.
    depth
        Blocks that are used; the published tower has one more.

    Raises
    ------
    UserError
        If both files hold an image tower.
    """
    found = {}
    for name, tensor in checkpoint.items():
        if name.startswith("visual_encoder."):
            raise UserError(
                f"weights of BLIP-2 hold an image tower of their own ({name}), beside that of the second file. "
                "Use the pre-trained checkpoint, whose image tower is the second file's."
            )
        if not _BLIP2_UNUSED.match(name):
            name = re.sub(r"^Qformer\.bert\.", "qformer.", name)
            found[re.sub(r"^ln_vision\.", "visual_encoder.norm.", name)] = tensor
    for name, tensor in _with_key_bias(tower).items():
        if not _EVA_UNUSED.match(name) and not name.startswith(f"blocks.{depth}."):
            found[f"visual_encoder.{name}"] = tensor
    return found


def _with_key_bias(tower: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join the biases of queries and values, with zeros for the keys between them, as the attention layer takes them."""
    found = dict(tower)
    for name in tower:
        block = name.removesuffix("q_bias")
        if block != name and f"{block}v_bias" in tower:
            query, value = found.pop(name), found.pop(f"{block}v_bias")
            found[f"{block}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return found
