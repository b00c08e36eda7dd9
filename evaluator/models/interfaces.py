"""The three small interfaces through which usages see a model. Plain torch, inference only.

Every method is pure: the same input on the same kind of device gives the same bits, whatever was asked
before. Batches are never squeezed. Pixels arrive as uint8 on the model's device; normalisation happens there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from evaluator.models.card import ModelCard


class ImageFeatures(NamedTuple):
    """What one pass of an image encoder gives.

    Attributes
    ----------
    features
        ``[B, D]`` float32, before any projection: what probes use.
    projected
        ``[B, P]`` float32 in the space of the text tower (not normalised); None for models without one. Where the
        model's similarity has several vectors an image, ``[B, vectors * P]``.
    """

    features: Tensor
    projected: Tensor | None


@dataclass(frozen=True)
class Similarity:
    """How a vision-language model turns cosine similarities into class probabilities.

    Attributes
    ----------
    rule
        ``"softmax"`` over the classes (CLIP) or ``"sigmoid"`` pair by pair (SigLIP).
    scale, bias
        logit = scale * cosine + bias; `scale` is the exponential of the stored log-scale.
    vectors
        How many vectors `projected` holds of one image, one after the other; the cosine of an image and a text is
        then the largest over them (BLIP-2's queries).
    """

    rule: Literal["softmax", "sigmoid"]
    scale: float
    bias: float = 0.0
    vectors: int = 1


#: (height, width) of each image of a batch inside its padded square, or None when no image is padded. Padding
#: must be zero after normalisation, so a model that pads has to know where the image ends.
Frames = Sequence[tuple[int, int]] | None


class ImageEncoder(ABC):
    """A model that turns images into vectors.

    Attributes
    ----------
    card
        What it is.
    device
        Where it runs; with the card this decides how many images go through it at once.
    """

    card: ModelCard
    device: torch.device

    @abstractmethod
    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images that the card's preprocessing made."""


class VisionLanguageModel(ImageEncoder):
    """An image encoder with a text tower in the same space."""

    @property
    @abstractmethod
    def similarity(self) -> Similarity:
        """The model's own rule and scale."""

    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to ``[len(texts), P]`` float32 (not normalised)."""


class MaskPrompt(NamedTuple):
    """One spatial prompt in the (x, y) pixels of the preprocessed, unpadded frame.

    Attributes
    ----------
    points
        Positive points, ``((x, y), ...)``; empty for a box prompt.
    box
        ``(x0, y0, x1, y1)``; None for a point prompt.
    """

    points: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None


class MaskPrediction(NamedTuple):
    """The mask a segmenter chose for one prompt.

    Attributes
    ----------
    logits
        ``[H, W]`` float32 at the size of the original image; compare with the card's mask threshold.
    predicted_iou
        The model's own estimate of the mask's IoU.
    """

    logits: Tensor
    predicted_iou: float


class PromptableSegmenter(ABC):
    """A model that embeds an image once and then answers any number of prompts; attributes as an encoder's."""

    card: ModelCard
    device: torch.device

    @abstractmethod
    def embed(self, images: Tensor, frames: Frames = None) -> Tensor:
        """Embed ``[B, 3, S, S]`` uint8 images, resized and padded as the card says; first axis is B."""

    @abstractmethod
    def decode(
        self,
        embedding: Tensor,
        prompts: Sequence[MaskPrompt],
        *,
        frame: tuple[int, int],
        original: tuple[int, int],
    ) -> list[MaskPrediction]:
        """Answer prompts for one image.

        Parameters
        ----------
        embedding
            One image's slice of what :meth:`embed` gave (first axis kept, length 1).
        prompts
            In pixels of the preprocessed frame before padding.
        frame
            (height, width) of the resized image inside the padded square.
        original
            (height, width) of the image the logits are brought to.
        """
