"""GLoRIA: ResNet-50 beside Bio_ClinicalBERT, by its authors' Lightning checkpoint; global features.

Guarantee: image features, their global embedding and the global embedding of a text equal those of the authors' code. The
publisher's zero-shot score also takes in a similarity of words and image regions and is then standardised over the images of
the call, so that it depends on the other images; the score here is the cosine of the global embeddings and depends on nothing
else. The embedding of regions is therefore not on the feature path and is left out.

The publisher merges the pieces of a word before it averages over the 97 places of a text. A sum over words of sums over their
pieces is the sum over the pieces, so nothing is merged here.
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

#: The network enlarges its input itself.
_ENLARGED = 299
#: Factor of the cosine in the global loss of the training.
_SCALE = 10.0
#: Layers of the text tower that are added up.
_LAST_LAYERS = 4
#: Embedding of regions, for the similarity of words and regions.
_LOCAL = "img_encoder.local_embedder.weight"
_ENUMERATION = re.compile(r"[0-9]+\.")


class Gloria(ClinicalBertModel):
    """GLoRIA behind the project's interface; see :class:`ClinicalBertModel`."""

    @property
    def similarity(self) -> Similarity:
        """Softmax with the temperature of the training's global loss."""
        return Similarity("softmax", _SCALE)

    def _prepared(self, text: str) -> str:
        """Keep the words (letters and digits of ASCII, lower case) and drop numbers that enumerate.

        The publisher also drops every sentence of a single word. Here such a sentence is kept: a prompt such as "pneumonia"
        would become an empty text.
        """
        words = re.findall(r"\w+", _ENUMERATION.sub(" ", text).lower())
        ascii_words = [word.encode("ascii", "ignore").decode("ascii") for word in words]
        prepared = " ".join(word for word in ascii_words if word)
        if not prepared:
            raise UserError(
                f"text {text!r} has no word that model {self.card.name!r} reads (letters and digits of ASCII). "
                "Write it in words."
            )
        return prepared

    def _text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        layers = self._layers(ids, mask)[-_LAST_LAYERS:]
        total = layers[0]
        for layer in layers[1:]:
            total = total + layer
        return sum_of_tokens(total, mask) / ids.shape[1]


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> Gloria:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    fill(network, _converted(load_state(weights.path)), card)
    return Gloria(card, network, weights, device, precision)


def build(card: ModelCard) -> Any:
    """Build the network of a card, its weights not yet filled."""
    import torch
    from torch import nn
    from torchvision.models import resnet50

    if card.architecture != "resnet50":
        raise unknown_name("GLoRIA architecture", card.architecture, ("resnet50",))
    with torch.random.fork_rng(devices=[]):
        trunk: Any = resnet50()
        trunk.fc = nn.Identity()
        enlarged = nn.Upsample(size=(_ENLARGED, _ENLARGED), mode="bilinear", align_corners=True)
        return nn.ModuleDict(
            {
                "image": nn.Sequential(enlarged, trunk),
                "projection": nn.Linear(card.dimension, 768),
                "text": build_bert(),
            }
        )


def _converted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the names of the authors' checkpoint to the network's own; what has no counterpart keeps its name."""
    made: dict[str, Tensor] = {}
    ours = {
        "img_encoder.model": "image.1",
        "img_encoder.global_embedder": "projection",
        "text_encoder.model": "text",
    }
    for name, tensor in state.items():
        short = name.removeprefix("gloria.")
        if short == _LOCAL or short.removeprefix("text_encoder.model.") in UNUSED:
            continue
        for published, own in ours.items():
            if short.startswith(f"{published}."):
                made[own + short.removeprefix(published)] = tensor
                break
        else:
            made[name] = tensor
    return made
