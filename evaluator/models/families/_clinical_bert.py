"""What families with Bio_ClinicalBERT as their text tower share.

Guarantee: the embedding of a text depends on that text alone. Padding is masked in the attention, and what a family sums
or averages over are the text's own tokens; texts go through the tower in tiles of one size and length.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.families._text import encode_in_tiles
from evaluator.models.interfaces import Frames, ImageFeatures, VisionLanguageModel
from evaluator.models.loading import freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.tokens import FileTokenizer
from evaluator.models.weights import LocatedWeights, require_tokenizer
from shards.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Tensors of the published text towers that no text feature passes through: numbers 0 to 511 that old versions of transformers
#: stored, and the pooler, which neither family uses.
UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
#: Word pieces of Bio_ClinicalBERT, which are those of BERT's cased vocabulary (read in lower case all the same).
_WORD_PIECES = 28996


class ClinicalBertModel(VisionLanguageModel):
    """An image encoder with a linear projection, and Bio_ClinicalBERT.

    Parameters
    ----------
    card
        The model.
    network
        ``torch.nn.ModuleDict`` with ``image`` (normalised pixels to ``[B, D]``), ``projection`` (to ``[B, P]``) and ``text``
        (of :func:`build_bert`); the model takes it over.
    weights
        Where the tokenizer is.
    device, precision
        Where and how the image tower runs; the text tower stays in float32.
    """

    def __init__(
        self,
        card: ModelCard,
        network: Any,
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

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, D]`` and ``[B, P]`` float32 features."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            features = self.network["image"](pixels)
            return ImageFeatures(features.float(), self.network["projection"](features).float())

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to ``[len(texts), P]`` float32 (not normalised).

        Raises
        ------
        ValueError
            If there is no text.
        UserError
            If the tokenizer's file is not here (image work needs none), or a text has more tokens than the model reads.
        """
        tokens = self._read_tokenizer()([self._prepared(text) for text in texts])
        return encode_in_tiles(tokens, self._text_features, self.device)

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

    def _prepared(self, text: str) -> str:
        """Return a text as the publisher hands it to the tokenizer."""
        return text

    @abstractmethod
    def _text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Turn tokens ``[B, length]`` into ``[B, P]``."""

    def _layers(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs ``[B, length, 768]`` of the embedding and of each of the 12 layers."""
        made = self.network["text"](input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return tuple(made.hidden_states)


def sum_of_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """Add up ``[B, length, D]`` over the tokens that are no padding, to ``[B, D]``."""
    return (states * mask[..., None].to(states.dtype)).sum(dim=1)


def build_bert() -> nn.Module:
    """Build Bio_ClinicalBERT without its pooler, its weights not yet filled."""
    from transformers import BertConfig, BertModel

    made: Any = BertConfig  # its declared arguments lack the one of its base
    config = made(vocab_size=_WORD_PIECES, attn_implementation="eager")
    network: nn.Module = BertModel(config, add_pooling_layer=False)
    return network
