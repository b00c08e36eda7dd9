"""BLIP and BLIP-2 in the layout of LAVIS, the publisher's code.

Guarantee: features, projections and text embeddings are those of LAVIS' ``extract_features`` in its modes ``image`` and
``text`` (before their division by their length), the scale is that of its contrastive loss: 1 / ``temp``. The network holds no
more than these need; what else the files hold is left out by rule, and anything unknown is refused.

Texts go through the publisher's caption processor first (lower case, ``.!"()*#:;~`` become spaces), with which the models were
trained and are evaluated; in the place of its cut after 50 words, texts that are too long are refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluator.models.card import ModelCard
from evaluator.models.families._text import encode_in_tiles
from evaluator.models.interfaces import Frames, ImageFeatures, Similarity, VisionLanguageModel
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.tokens import FileTokenizer
from evaluator.models.weights import LocatedWeights, require_tokenizer
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from evaluator.models.families._lavis_networks import Blip, Blip2


class LavisModel(VisionLanguageModel):
    """A network of LAVIS behind the project's interface.

    Parameters
    ----------
    card
        The model.
    network
        Filled with its weights.
    weights
        Where the tokenizer's file is.
    device, precision
        Where and how the image tower runs; the text tower is cheap and stays in float32.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Blip | Blip2,
        weights: LocatedWeights,
        device: torch.device,
        precision: Precision,
    ) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self.device = device
        self._precision = precision
        self._weights = weights
        self._tokenizer: FileTokenizer | None = None

    @property
    def similarity(self) -> Similarity:
        """Softmax with the learned temperature; of several vectors of an image the nearest counts."""
        return Similarity("softmax", 1 / float(self.network.temp.double()), vectors=self.network.vectors)

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` and ``[B, vectors * P]`` float32 features."""
        with inference(self.device, self._precision):
            features, projected = self.network.image(
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
            If a text has more tokens than the model reads, or the tokenizer's file is missing.
        """
        if not texts:
            raise ValueError("texts must have at least one entry, got none")
        tokens = self._read_tokenizer()([caption(text) for text in texts])
        return encode_in_tiles(tokens, self.network.text, self.device)

    def _read_tokenizer(self) -> FileTokenizer:
        if self._tokenizer is None:
            require_tokenizer(self.card, self._weights)
            file, length = self._weights.tokenizer, self.card.context_length
            if file is None or length is None:
                raise UserError(
                    f"card of model {self.card.name!r} must name a tokenizer and a context length"
                )
            self._tokenizer = FileTokenizer(file, length, self.card.name)
        return self._tokenizer


def caption(text: str) -> str:
    """Write a text as the publisher's caption processor does."""
    return re.sub(r"\s{2,}", " ", re.sub(r'[.!"()*#:;~]', " ", text.lower())).strip(" \n")


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> LavisModel:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    from evaluator.models.families._lavis_networks import Blip, blip2_state, blip_state

    files = [path for path in (weights.path, *weights.others) if path is not None]
    network = build(card)
    expected = 1 if isinstance(network, Blip) else 2
    if len(files) != expected:
        raise UserError(f"model {card.name!r} needs {expected} weights file(s), got {len(files)}")
    states = [load_state(file) for file in files]
    if isinstance(network, Blip):
        used = blip_state(states[0])
    else:
        used = blip2_state(states[0], states[1], len(network.visual_encoder.blocks))
    # Nothing is drawn at random: memory without content, of which `fill` leaves no tensor as it is.
    fill(network.to_empty(device="cpu"), used, card)
    return LavisModel(card, network, weights, device, precision)


def build(card: ModelCard) -> Blip | Blip2:
    """Build the network of a card without memory (torch's meta device)."""
    import torch

    from evaluator.models.families._lavis_networks import Blip, Blip2

    builders: dict[str, type[Blip | Blip2]] = {"blip": Blip, "blip2": Blip2}
    if card.architecture not in builders:
        raise unknown_name("LAVIS architecture", card.architecture, builders)
    with torch.device("meta"):
        return builders[card.architecture](**card.options)
