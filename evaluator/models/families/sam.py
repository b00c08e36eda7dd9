"""Segment Anything (segment-anything's own modules): image embedding once, then any number of prompts.

Guarantee: masks and predicted IoUs equal those of ``segment_anything.SamPredictor`` for the same image and
prompts. A single point is ambiguous and asks for three masks, of which the one with the highest predicted IoU
is taken; a box or several points ask for the single mask. Logits are brought to the original size as
``Sam.postprocess_masks`` does: up to the padded square, padding cut off, then to the original size; the
threshold is applied by the caller, on logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard
from evaluator.models.interfaces import (
    Frames,
    ImageEncoder,
    ImageFeatures,
    MaskPrediction,
    MaskPrompt,
    PromptableSegmenter,
)
from evaluator.models.loading import fill, freeze
from evaluator.models.numerics import Precision, inference
from evaluator.models.preprocess import normalise
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class SamModel(ImageEncoder, PromptableSegmenter):
    """A ``segment_anything`` network behind the project's interfaces.

    Parameters
    ----------
    card
        The model.
    network
        ``segment_anything.modeling.Sam``.
    device, precision
        Where the model runs; the precision is that of the image encoder, the mask decoder is cheap and stays
        in float32.
    """

    def __init__(self, card: ModelCard, network: Any, device: torch.device, precision: Precision) -> None:
        freeze(network, device)
        self.card = card
        self.network = network
        self.device = device
        self._precision = precision

    def encode(self, images: Tensor, frames: Frames = None) -> ImageFeatures:
        """Encode ``[B, 3, S, S]`` uint8 images to ``[B, C]`` float32: the embedding's mean over positions."""
        return ImageFeatures(self.embed(images, frames).mean(dim=(2, 3)), None)

    def embed(self, images: Tensor, frames: Frames = None) -> Tensor:
        """Embed ``[B, 3, S, S]`` uint8 images to ``[B, C, S/16, S/16]`` float32."""
        with inference(self.device, self._precision):
            pixels = normalise(images.to(self.device), self.card.preprocessing, frames)
            embedding: Tensor = self.network.image_encoder(pixels).float()
        return embedding

    def decode(
        self,
        embedding: Tensor,
        prompts: Sequence[MaskPrompt],
        *,
        frame: tuple[int, int],
        original: tuple[int, int],
    ) -> list[MaskPrediction]:
        """Answer all prompts of one image; prompts of the same kind go through the decoder together.

        Raises
        ------
        ValueError
            If the embedding is not that of one image, or a prompt is empty.
        """
        if embedding.ndim != 4 or embedding.shape[0] != 1:
            raise ValueError(f"embedding must be that of one image [1, C, h, w], got {list(embedding.shape)}")
        kinds: dict[tuple[int, bool], list[int]] = {}
        for position, prompt in enumerate(prompts):
            if not prompt.points and prompt.box is None:
                raise ValueError(f"prompt {position} has neither points nor a box")
            kinds.setdefault((len(prompt.points), prompt.box is not None), []).append(position)
        answers: dict[int, MaskPrediction] = {}
        for positions in kinds.values():
            group = self._decode([prompts[p] for p in positions], embedding, frame, original)
            answers.update(zip(positions, group, strict=True))
        return [answers[position] for position in range(len(prompts))]

    def _decode(
        self, prompts: list[MaskPrompt], embedding: Tensor, frame: tuple[int, int], original: tuple[int, int]
    ) -> list[MaskPrediction]:
        """Answer prompts that have the same number of points and all or none a box."""
        import torch

        ambiguous = len(prompts[0].points) == 1 and prompts[0].box is None
        with inference(self.device, "fp32"):
            sparse, dense = self.network.prompt_encoder(
                points=self._points(prompts), boxes=self._boxes(prompts), masks=None
            )
            low, quality = self.network.mask_decoder(
                image_embeddings=embedding.to(self.device),
                image_pe=self.network.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=ambiguous,
            )
            best = quality.argmax(dim=1)
            rows = torch.arange(len(prompts), device=best.device)
            # Resizing works mask by mask, so choosing first gives the same logits for a third of the work.
            logits = self.network.postprocess_masks(low[rows, best][:, None], frame, original)[:, 0].float()
            chosen = quality[rows, best].float().tolist()
        return [MaskPrediction(logits[i], chosen[i]) for i in range(len(prompts))]

    def _points(self, prompts: list[MaskPrompt]) -> tuple[Tensor, Tensor] | None:
        import torch

        if not prompts[0].points:
            return None
        points = torch.tensor([prompt.points for prompt in prompts], dtype=torch.float32, device=self.device)
        return points, torch.ones(points.shape[:2], dtype=torch.int32, device=self.device)

    def _boxes(self, prompts: list[MaskPrompt]) -> Tensor | None:
        import torch

        if prompts[0].box is None:
            return None
        return torch.tensor([prompt.box for prompt in prompts], dtype=torch.float32, device=self.device)


def load(card: ModelCard, weights: LocatedWeights, device: torch.device, precision: Precision) -> SamModel:
    """Build the model of a card (see :func:`evaluator.models.loading.load_model`)."""
    if weights.path is None:
        raise UserError(f"model {card.name!r} needs a weights file")
    network = build(card)
    fill(network, load_state(weights.path), card)
    return SamModel(card, network, device, precision)


def build(card: ModelCard) -> Any:
    """Build the network of a card, its weights not yet filled."""
    import torch

    if card.architecture == "tiny-sam":
        from evaluator.models.tiny.architecture import build_tiny_sam

        return build_tiny_sam()
    from segment_anything import sam_model_registry

    known = [name for name in sam_model_registry if name != "default"]
    if card.architecture not in known:
        raise unknown_name("SAM architecture", card.architecture, known)
    with torch.random.fork_rng(devices=[]):
        return sam_model_registry[card.architecture](checkpoint=None)
