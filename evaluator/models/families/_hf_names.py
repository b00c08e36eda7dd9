"""Names of tensors in published Hugging Face checkpoints, whatever release of transformers wrote them and reads them.

The library renames its modules between releases (``encoder.layer.0.attention.attention.query`` became
``layers.0.attention.q_proj``), and the files on the hub keep the names of their day. Here both sides, the names of a file and
those of the network, are brought to one canonical spelling and matched by it. Only spelling changes: no tensor is reordered,
and two names that become one are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Numbers of positions that older releases saved; they are counted, not learned.
_COUNTED = (r"(.*\.)?position_ids",)
#: Not on the path of the class token: the pooler of a ViT, classifiers, the token that stands for masked patches.
_HEADS = (*_COUNTED, r"pooler\..*", r"classifier\..*")

_TWO_TOWERS: tuple[tuple[str, str], ...] = ()
_VISION_TOWER = ((r"^vision_model\.", ""),)
_TRANSFORMER = (
    (r"^(vit|dinov2|dinov2_with_registers|dinov3_vit)\.", ""),
    (r"^(encoder\.layers?|model\.layer|layer|layers)\.(?=\d)", "layers."),
    (r"\.attention\.attention\.(query|key|value)\.", r".attention.\1."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.value\.", ".attention.v_proj."),
    (r"(?<=\d)\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(?<=\d)\.output\.dense\.", ".mlp.fc2."),
)
#: Apple's own layout of AIMv2, after its fused matrices were cut (see :func:`_cut`).
_AIMV2 = (
    (r"^preprocessor\.patchifier\.proj\.", "embeddings.patch_embed."),
    (r"^preprocessor\.patchifier\.norm\.", "embeddings.rms_norm."),
    (r"^preprocessor\.pos_embed$", "embeddings.position_embedding.weight"),
    (r"^trunk\.post_trunk_norm\.", "rms_norm."),
    (r"^trunk\.blocks\.", "encoder.layers."),
    (r"\.attn\.proj\.", ".attention.out_proj."),
    (r"\.attn\.", ".attention."),
    (r"\.mlp\.fc1\.", ".ffn.gate_proj."),
    (r"\.mlp\.fc2\.", ".ffn.down_proj."),
    (r"\.mlp\.fc3\.", ".ffn.up_proj."),
    (r"\.norm_([12])\.", r".rms_norm\1."),
)

#: Architecture -> (spellings to make one, names in order; names that are left out where the network lacks them).
_RULES: dict[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "CLIPModel": (_TWO_TOWERS, _COUNTED),
    "SiglipModel": (_TWO_TOWERS, _COUNTED),
    "SiglipVisionModel": (_VISION_TOWER, _COUNTED),
    "Dinov2Model": (_TRANSFORMER, _HEADS),
    "Dinov2WithRegistersModel": (_TRANSFORMER, _HEADS),
    "DINOv3ViTModel": (_TRANSFORMER, _HEADS),
    "ViTModel": (_TRANSFORMER, (*_HEADS, r"embeddings\.mask_token")),
    "Aimv2VisionModel": (_AIMV2, _COUNTED),
}


def matched(architecture: str, own: Iterable[str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a checkpoint the names of the network.

    Parameters
    ----------
    architecture
        One of those the family builds.
    own
        Names of the network's tensors.
    state
        Tensors as the file has them.

    Returns
    -------
    dict of str to Tensor
        With the network's names where they match. A name that matches none stays as it is, and one that matches a second time
        says so, so that filling the network refuses both.
    """
    rules, dropped = _RULES[architecture]
    names = {_canonical(name, rules): name for name in own}
    found: dict[str, Tensor] = {}
    for name, tensor in (_cut(state) if architecture == "Aimv2VisionModel" else state).items():
        canonical = _canonical(name, rules)
        target = names.get(canonical)
        if target is None and any(re.fullmatch(pattern, canonical) for pattern in dropped):
            continue
        if target is None:
            found[name] = tensor
        else:
            found[target if target not in found else f"{name} (in two spellings)"] = tensor
    return found


def _canonical(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, spelling in rules:
        name = re.sub(pattern, spelling, name)
    return name


def _cut(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the matrices that AIMv2's own code keeps fused: query, key and value, in this order."""
    cut: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".attn.qkv." in name:
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                cut[name.replace(".qkv.", f".{letter}_proj.")] = third
        elif name == "preprocessor.pos_embed":
            cut[name] = tensor.squeeze(0)
        else:
            cut[name] = tensor
    return cut
