"""Small deterministic models, datasets and tables for the tests of usages."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.interfaces import (
    ImageEncoder,
    ImageFeatures,
    MaskPrediction,
    PromptableSegmenter,
    Similarity,
    VisionLanguageModel,
)
from evaluator.tables import embeddings_schema
from shards.card import DatasetCard, Structure
from shards.sample import Sample

SIZE = 16
DIMENSION = 8


def model_card(**changes) -> ModelCard:
    half = (0.5, 0.5, 0.5)
    values = {
        "name": "fake",
        "family": "fake",
        "architecture": "fake",
        "weights": Weights(),
        "preprocessing": Preprocessing(SIZE, "squash", "bilinear", half, half),
        "licence": "none",
        "abilities": frozenset({"encode"}),
        "feature": "linear",
        "dimension": DIMENSION,
    }
    return ModelCard(**{**values, **changes})


class FakeEncoder(ImageEncoder):
    """A linear map of the pixels; an image whose first pixel is 255, 0, 255 gives NaN."""

    device = torch.device("cpu")

    def __init__(self, **changes) -> None:
        self.card = model_card(**changes)
        self.seen: list[int] = []
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(3 * SIZE * SIZE, DIMENSION, generator=generator)

    def encode(self, images, frames=None) -> ImageFeatures:
        self.seen.append(len(images))
        features = images.float().flatten(1) @ self.weight / 1000
        poisoned = (images[:, 0, 0, 0] == 255) & (images[:, 1, 0, 0] == 0) & (images[:, 2, 0, 0] == 255)
        features[poisoned] = float("nan")
        projected = features[:, : self.card.projected] if self.card.projected else None
        return ImageFeatures(features, projected)


class FakeVlm(VisionLanguageModel):
    """Text embeddings from a table; texts that are not in it are an error of the test."""

    def __init__(self, texts: dict[str, list[float]], similarity: Similarity) -> None:
        self.card = model_card(projected=len(next(iter(texts.values()))))
        self._texts = texts
        self._similarity = similarity

    @property
    def similarity(self) -> Similarity:
        return self._similarity

    def encode(self, images, frames=None) -> ImageFeatures:
        raise AssertionError("not needed")

    def encode_text(self, texts):
        return torch.tensor([self._texts[text] for text in texts], dtype=torch.float32)


@dataclass
class FakeSegmenter(PromptableSegmenter):
    """Answers every prompt with given logits (by default: 1 inside the red area of the image), and counts its calls."""

    answers: list[np.ndarray] = field(default_factory=list)
    prompts: tuple[str, ...] = ("center", "rand", "rands", "bbox")
    threshold: float | None = 0.0
    resize: str = "squash"
    embedded: list[int] = field(default_factory=list)
    decoded: list[tuple] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.device = torch.device("cpu")
        half = (0.5, 0.5, 0.5)
        self.card = model_card(
            preprocessing=Preprocessing(SIZE, self.resize, "bilinear", half, half),
            abilities=frozenset({"segment"}),
            prompts=self.prompts,
            mask_threshold=self.threshold,
        )

    def embed(self, images, frames=None):
        self.embedded.append(len({image.numpy().tobytes() for image in images}))
        return images.float()

    def decode(self, embedding, prompts, *, frame, original):
        self.decoded.append((tuple(prompts), frame, original))
        if self.answers:
            logits = [torch.tensor(self.answers[0], dtype=torch.float32)] * len(prompts)
        else:
            red = embedding[:, :1, : frame[0], : frame[1]] / 127.5 - 1
            logits = [torch.nn.functional.interpolate(red, size=original, mode="nearest")[0, 0]] * len(
                prompts
            )
        return [MaskPrediction(one, 0.75) for one in logits]


STRUCTURES = (Structure("a", (1,)), Structure("b", (2,)), Structure("ab", (1, 2)))
CARD = DatasetCard("fake", "1", "none", "none", "none", structures=STRUCTURES)


@dataclass
class FakeDataset:
    """Samples of one shard."""

    samples: list[Sample]
    card: DatasetCard = CARD
    read_so_far: int = 0

    @property
    def volumetric(self) -> bool:
        return any(sample.volumetric for sample in self.samples)

    def read(self, shard: str, *, masks: bool) -> Iterator[Sample]:
        for sample in self.samples:
            self.read_so_far += 1
            yield sample


def image_sample(k: int, *, side: int = 20, status: str = "ok", **more) -> Sample:
    pixels = np.random.default_rng(k).integers(0, 255, (side, side + 3, 3), dtype=np.uint8)
    image = pixels if status == "ok" else None
    return Sample(f"s{k:03d}", f"p{k // 2:03d}", "test", **{"image": image, "status": status, **more})


def embeddings(features, splits, *, subjects=None, status=None, projected=None) -> pa.Table:
    """An embeddings table with sample ids in row order."""
    size = len(features)
    status = status or ["ok"] * size
    columns = {
        "sample_id": [f"s{k:05d}" for k in range(size)],
        "subject_id": subjects or [f"p{k:05d}" for k in range(size)],
        "split": list(splits),
        "embedding": [list(f) if s == "ok" else None for f, s in zip(features, status, strict=True)],
        "status": status,
        "reason": [None if s == "ok" else "broken" for s in status],
    }
    if projected is not None:
        columns["projected"] = [
            list(p) if s == "ok" else None for p, s in zip(projected, status, strict=True)
        ]
    width = None if projected is None else np.shape(projected)[1]
    return pa.table(columns, schema=embeddings_schema(np.shape(features)[1], width))
