"""MedCLIP: Swin-T or ResNet-50 beside Bio_ClinicalBERT, by its authors' checkpoints.

Guarantee: image features, projections and the embedding of a text on its own equal those of the authors' package 0.0.3. That
package averages token states over the padding too, so that there a text's embedding changes with the longest text of the call;
here it is the mean over the text's own tokens, which is what the package gives for a single text.

The networks are timm's Swin-T and torchvision's ResNet-50. The checkpoint's Swin-T has the names that transformers used then;
they are brought to timm's, and query, key and value joined to one matrix.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.families._clinical_bert import UNUSED, ClinicalBertModel, build_bert, sum_of_tokens
from evaluator.models.interfaces import Similarity
from evaluator.models.loading import fill
from evaluator.models.numerics import Precision
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_ARCHITECTURES = ("swin-tiny", "resnet50")
#: Names of transformers' Swin and of timm's, in the order of replacing.
_SWIN_NAMES = (
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("embeddings.norm.", "patch_embed.norm."),
    ("encoder.layers.", "layers."),
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("attention.self.", "attn."),
    ("attention.output.dense.", "attn.proj."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
)
#: The last norm; its name is part of others' and is replaced only at the start.
_LAST_NORM = "layernorm."
#: Buffer that follows from the size of the window; timm computes it.
_CONSTANT = ".relative_position_index"
#: The package clamps the log-scale to this range before use.
_LOG_SCALE = (0.0, 4.6052)


class MedClip(ClinicalBertModel):
    """MedCLIP behind the project's interface; see :class:`ClinicalBertModel`."""

    @property
    def similarity(self) -> Similarity:
        """Softmax with the learned scale, clamped as the package does."""
        return Similarity("softmax", float(self.network.logit_scale.double().clamp(*_LOG_SCALE).exp()))

    def _text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        layers = self._layers(ids, mask)
        mean = (layers[1] + layers[2] + layers[-1]) / 3
        features: Tensor = self.network["text_projection"](
            sum_of_tokens(mean, mask) / mask.sum(dim=1, keepdim=True)
        )
        return features


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> MedClip:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    fill(network, _converted(load_state(weights.path)), card)
    return MedClip(card, network, weights, device, precision)


def build(card: ModelCard) -> Any:
    """Build the network of a card, its weights not yet filled."""
    import torch
    from torch import nn

    if card.architecture not in _ARCHITECTURES:
        raise unknown_name("MedCLIP architecture", card.architecture, _ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        network: Any = nn.ModuleDict(
            {
                "image": _build_image(card.architecture),
                "projection": nn.Linear(card.dimension, 512, bias=False),
                "text": build_bert(),
                "text_projection": nn.Linear(768, 512, bias=False),
            }
        )
    network.register_parameter("logit_scale", nn.Parameter(torch.zeros(())))
    return network


def _build_image(architecture: str) -> Any:
    if architecture == "swin-tiny":
        import timm

        return timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, num_classes=0)
    from torch.nn import Identity
    from torchvision.models import resnet50

    trunk: Any = resnet50()
    trunk.fc = Identity()  # the projection is in the classifier's place
    return trunk


def _converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of the authors' checkpoint to the network's own; what has no counterpart keeps its name."""
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        image, text = name.removeprefix("vision_model.model."), name.removeprefix("text_model.model.")
        if text in UNUSED or name.endswith(_CONSTANT):
            continue
        if name in ("vision_model.projection_head.weight", "vision_model.model.fc.weight"):
            made["projection.weight"] = tensor
        elif name == "text_model.projection_head.weight":
            made["text_projection.weight"] = tensor
        elif text != name:
            made[f"text.{text}"] = tensor
        elif image != name:
            made[f"image.{_timm_name(image)}"] = tensor
        else:
            made[name] = tensor
    return _joined(made)


def _timm_name(name: str) -> str:
    for published, ours in _SWIN_NAMES:
        name = name.replace(published, ours)
    if name.startswith(_LAST_NORM):
        name = f"norm.{name.removeprefix(_LAST_NORM)}"
    # transformers ends a stage with the merging of patches, timm begins the next one with it.
    return re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) + 1}.downsample", name)


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value of the image tower where all three are there."""
    import torch

    made = dict(state)
    for name in state:
        stem, query, kind = name.partition(".attn.query.")
        parts = [f"{stem}.attn.{part}.{kind}" for part in ("query", "key", "value")]
        if query and all(part in state for part in parts):
            made[f"{stem}.attn.qkv.{kind}"] = torch.cat([made.pop(part) for part in parts])
    return made
