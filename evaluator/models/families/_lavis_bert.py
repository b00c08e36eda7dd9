"""BERT as BLIP and BLIP-2 have it: no segment embeddings, queries that look at an image, the layer names of LAVIS.

Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models" (2023),
section 3.1: texts and queries go through the same self-attention; the queries also attend to the image in every second layer
and have feed-forward layers of their own. BLIP's text encoder is the same tower without queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-12
_POSITIONS = 512


@dataclass(frozen=True)
class BertSize:
    """What decides the shapes of a tower.

    Attributes
    ----------
    words
        Entries of the vocabulary, added marks included.
    width, layers, heads, inner
        Of the transformer; `inner` is the width between the two feed-forward layers.
    image_width
        Width of the image tokens that queries attend to; None for a tower without queries.
    image_every
        Of how many layers one attends to the image, the first included.
    """

    words: int
    width: int = 768
    layers: int = 12
    heads: int = 12
    inner: int = 3072
    image_width: int | None = None
    image_every: int = 2


class LavisBert(nn.Module):
    """The tower; parameters are named as in the checkpoints of LAVIS, so that they need no translation."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self._heads = size.heads
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(size.words, size.width),
                "position_embeddings": nn.Embedding(_POSITIONS, size.width),
                "LayerNorm": nn.LayerNorm(size.width, eps=_EPSILON),
            }
        )
        layers = nn.ModuleList(_layer(size, number) for number in range(size.layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    def text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode texts.

        Parameters
        ----------
        ids, mask
            ``[B, length]``, see :class:`evaluator.models.tokens.Tokens`.

        Returns
        -------
        Tensor
            ``[B, length, width]``: the last layer's output.
        """
        places = torch.arange(ids.shape[1], device=ids.device)
        words = self.embeddings["word_embeddings"](ids)
        hidden: Tensor = self.embeddings["LayerNorm"](words + self.embeddings["position_embeddings"](places))
        seen = mask.bool()[:, None, None, :]
        for layer in self._layers():
            hidden = self._attend(layer["attention"], hidden, hidden, seen)
            hidden = _feed(layer["intermediate"], layer["output"], hidden)
        return hidden

    def queries(self, queries: Tensor, image: Tensor) -> Tensor:
        """Let queries gather what they look for in an image.

        Parameters
        ----------
        queries
            ``[B, Q, width]``.
        image
            ``[B, N, image_width]``: the image tower's tokens.

        Returns
        -------
        Tensor
            ``[B, Q, width]``: the last layer's output.
        """
        hidden: Tensor = self.embeddings["LayerNorm"](queries)
        for layer in self._layers():
            hidden = self._attend(layer["attention"], hidden, hidden)
            if "crossattention" in layer:
                hidden = self._attend(layer["crossattention"], hidden, image)
            hidden = _feed(layer["intermediate_query"], layer["output_query"], hidden)
        return hidden

    def _layers(self) -> Any:
        return self.encoder["layer"]

    def _attend(self, block: Any, hidden: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        def split(values: Tensor) -> Tensor:
            return values.view(*values.shape[:2], self._heads, -1).transpose(1, 2)

        own = block["self"]
        query, key, value = own["query"](hidden), own["key"](context), own["value"](context)
        mixed = nn.functional.scaled_dot_product_attention(split(query), split(key), split(value), seen)
        return _closed(block["output"], mixed.transpose(1, 2).flatten(2), hidden)


def _layer(size: BertSize, number: int) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {
        "attention": _attention(size.width, size.width),
        "intermediate": nn.ModuleDict({"dense": nn.Linear(size.width, size.inner)}),
        "output": _output(size.inner, size.width),
    }
    if size.image_width is not None:
        parts["intermediate_query"] = nn.ModuleDict({"dense": nn.Linear(size.width, size.inner)})
        parts["output_query"] = _output(size.inner, size.width)
        if number % size.image_every == 0:
            parts["crossattention"] = _attention(size.width, size.image_width)
    return nn.ModuleDict(parts)


def _attention(width: int, context: int) -> nn.ModuleDict:
    own = {
        "query": nn.Linear(width, width),
        "key": nn.Linear(context, width),
        "value": nn.Linear(context, width),
    }
    return nn.ModuleDict({"self": nn.ModuleDict(own), "output": _output(width, width)})


def _output(inner: int, width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=_EPSILON)})


def _feed(inner: Any, output: Any, hidden: Tensor) -> Tensor:
    return _closed(output, nn.functional.gelu(inner["dense"](hidden)), hidden)


def _closed(output: Any, values: Tensor, hidden: Tensor) -> Tensor:
    """Project back, add what came in, normalise: how every block of BERT ends."""
    normed: Tensor = output["LayerNorm"](output["dense"](values) + hidden)
    return normed
