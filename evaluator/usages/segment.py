"""Prompted segmentation of one shard: prompts derived from the true mask, masks measured against it.

Guarantee: one row per sample, structure and prompt, in that order; nothing is dropped. The encoder sees each
image once, in tiles of a fixed size, and its embedding serves all prompts and structures. Prompts are derived
at the stored image's resolution, then mapped to the model's frame by the preprocessing's own scale. A pixel
belongs to the mask where its *logit* exceeds the card's mask threshold. Masks are measured at the stored
image's resolution. Volumes are segmented slice by slice and measured whole, see
:mod:`evaluator.usages.segment_volume`.

Statuses: the sample's own (``decode_error``, ...), ``preprocess_error``, ``no_mask`` (no true mask is
stored), ``unsupported_prompt`` (the model was not made for it), ``no_target`` (the structure is absent, so no
prompt exists), ``nan_output``. A missed structure (empty prediction) is a result, not a failure: status
``ok``, dice 0, distances null.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.segmentation import score_mask
from evaluator.models.interfaces import MaskPrediction, MaskPrompt
from evaluator.models.preprocess import Preprocessor
from evaluator.usages.ahead import Ahead
from evaluator.usages.embed import Prepared, SampleReader, on_host, prepare, tile_of, without_pixels
from evaluator.usages.options import SegmentOptions
from evaluator.usages.output import ShardOutput, Timings
from evaluator.usages.prompts import make_prompt
from evaluator.usages.segment_rows import (
    base_row,
    finite,
    nan_cells,
    prompt_cells,
    refusal,
    rows_table,
    score_cells,
)
from evaluator.usages.segment_volume import VolumeAnswerer, VolumeWork, ask_volume
from shards.card import DatasetCard, Structure
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    from evaluator.models.interfaces import PromptableSegmenter
    from shards.sample import Sample


class SegmentationReader(SampleReader, Protocol):
    """What this module needs of a dataset."""

    @property
    def volumetric(self) -> bool:
        """Whether any sample is a volume."""


@dataclass(frozen=True)
class _Question:
    """One row to be: a structure and a prompt of one sample."""

    structure: str
    prompt_name: str
    true: NDArray[np.bool_] | None
    prompt: MaskPrompt | None
    status: str
    reason: str | None


@dataclass(frozen=True)
class _Work:
    """One sample with all its questions; without pixels where no question has a prompt."""

    prepared: Prepared
    questions: tuple[_Question, ...]

    @property
    def asked(self) -> bool:
        """Whether the model is needed."""
        return any(question.prompt is not None for question in self.questions)


def segment_shard(
    model: PromptableSegmenter, dataset: SegmentationReader, shard: str, options: SegmentOptions
) -> ShardOutput:
    """Segment every sample of one shard.

    Parameters
    ----------
    model
        The segmenter; its card gives preprocessing, prompts it was made for and mask threshold.
    dataset
        A converted dataset with structures.
    shard
        Name of the shard. `options.splits` chooses shards and is the caller's; all samples of the shard are
        segmented.
    options
        Prompts, structures, tolerance, seed.

    Returns
    -------
    ShardOutput
        Table of :data:`evaluator.tables.SEGMENTATIONS`, and timings.

    Raises
    ------
    UserError
        If a structure is unknown or the card has no mask threshold.
    """
    started = time.perf_counter()
    asker = _Asker(model, dataset.card, options)
    # A volume takes as much memory as hundreds of images: only the next one is read ahead.
    depth = 1 if dataset.volumetric else 2 * asker.tile
    ahead = Ahead(dataset.read(shard, masks=True), asker.ask, depth=depth)
    answerer = _Answerer(model, asker, options.nsd_tolerance_mm)
    rows: list[dict[str, Any]] = []
    for works in _in_tiles(ahead, asker.tile):
        rows += answerer.answer(works)
    read_s = ahead.busy_s + answerer.volumes.read_s
    images = answerer.images + answerer.volumes.images
    timings = Timings(read_s, answerer.busy_s, time.perf_counter() - started, images)
    return ShardOutput(rows_table(rows), timings)


class _Asker:
    """Turns samples into questions; runs in the background thread."""

    def __init__(self, model: PromptableSegmenter, card: DatasetCard, options: SegmentOptions) -> None:
        if model.card.mask_threshold is None:
            raise UserError(
                f"model {model.card.name!r} has no mask_threshold in its card; a segmenter needs one."
            )
        self.threshold = model.card.mask_threshold
        self.preprocessor = Preprocessor(model.card.preprocessing)
        self.tile = tile_of(model)
        self._made_for = model.card.prompts
        self._structures = _structures(card, options.structures)
        self._options = options

    def ask(self, sample: Sample) -> _Work | VolumeWork:
        """Prepare one sample and derive its prompts."""
        if sample.volumetric and sample.image is not None:
            return ask_volume(
                sample,
                self._structures,
                self._options,
                made_for=self._made_for,
                preprocessor=self.preprocessor,
            )
        prepared = prepare(sample, self.preprocessor)
        masks = {
            s.name: np.isin(sample.mask, s.values) if sample.mask is not None else None
            for s in self._structures
        }
        questions = tuple(
            self._question(prepared, structure, masks[structure], name)
            for structure in masks
            for name in self._options.prompts
        )
        work = _Work(prepared, questions)
        return (
            work
            if work.asked
            else _Work(replace(prepared, sample=without_pixels(sample), framed=None), questions)
        )

    def _question(
        self, prepared: Prepared, structure: str, true: NDArray[np.bool_] | None, name: str
    ) -> _Question:
        refused = refusal(
            prepared.status, prepared.reason, masked=true is not None, prompt=name, made_for=self._made_for
        )
        if refused is not None or true is None:
            return _Question(structure, name, true, None, *(refused or ("no_mask", None)))
        sample = prepared.sample
        prompt = make_prompt(
            name, true, seed=self._options.seed, sample_id=sample.sample_id, structure=structure
        )
        if prompt is None:
            reason = "the true mask has no pixel of this structure"
            return _Question(structure, name, true, None, "no_target", reason)
        return _Question(structure, name, true, prompt, "ok", None)


class _Answerer:
    """Runs the model and measures its masks."""

    def __init__(self, model: PromptableSegmenter, asker: _Asker, tolerance_mm: float) -> None:
        self._model = model
        self._asker = asker
        self._tolerance_mm = tolerance_mm
        self.volumes = VolumeAnswerer(
            model,
            asker.preprocessor,
            threshold=asker.threshold,
            tile=asker.tile,
            tolerance_mm=tolerance_mm,
        )
        self.busy_s = 0.0
        self.images = 0

    def answer(self, works: VolumeWork | Sequence[_Work]) -> list[dict[str, Any]]:
        """Return the rows of a volume or of some images, in order; what has no valid question is not embedded."""
        started = time.perf_counter()
        rows = list(self.volumes.answer(works)) if isinstance(works, VolumeWork) else self._of_images(works)
        self.busy_s += time.perf_counter() - started
        return rows

    def _of_images(self, works: Sequence[_Work]) -> list[dict[str, Any]]:
        from evaluator.models.tiles import embed_tiles

        asked = [work for work in works if work.asked]
        framed = [work.prepared.framed for work in asked if work.prepared.framed is not None]
        embeddings = embed_tiles(self._model, framed, tile=self._asker.tile)
        answers = {
            id(work): self._decode(work, embedding) for work, embedding in zip(asked, embeddings, strict=True)
        }
        rows = [row for work in works for row in self._rows(work, answers.get(id(work), []))]
        self.images += len(framed)
        return rows

    def _decode(self, work: _Work, embedding: Any) -> list[MaskPrediction]:
        """Answer all prompts of one image."""
        image, framed = work.prepared.sample.image, work.prepared.framed
        assert image is not None  # noqa: S101 - a question with a prompt has an image,
        assert framed is not None  # noqa: S101 - and it was preprocessed
        original = (image.shape[0], image.shape[1])
        prompts = [q.prompt for q in work.questions if q.prompt is not None]
        mapped = [self._asker.preprocessor.map_prompt(prompt, original) for prompt in prompts]
        return self._model.decode(embedding, mapped, frame=framed.frame, original=original)

    def _rows(self, work: _Work, predictions: list[MaskPrediction]) -> Iterator[dict[str, Any]]:
        """Pair the questions that have a prompt with their predictions, and measure."""
        answers = iter(predictions)
        sample = work.prepared.sample
        for question in work.questions:
            pixels = None if question.true is None else int(np.count_nonzero(question.true))
            row = base_row(sample, question.structure, question.prompt_name, pixels)
            row |= {"status": question.status, "reason": question.reason}
            if question.prompt is not None:
                row |= prompt_cells([((), question.prompt)])
                row |= self._measured(question, next(answers), sample.spacing_mm)
            yield row

    def _measured(
        self, question: _Question, prediction: MaskPrediction, spacing_mm: tuple[float, ...] | None
    ) -> dict[str, Any]:
        logits = on_host(prediction.logits)
        if not np.isfinite(logits).all():
            return nan_cells()
        assert question.true is not None  # noqa: S101 - a question with a prompt has a mask
        scores = score_mask(
            logits > self._asker.threshold,
            question.true,
            spacing_mm=spacing_mm,
            tolerance_mm=self._tolerance_mm,
        )
        return {**score_cells(scores), "predicted_iou": finite(prediction.predicted_iou)}


def _structures(card: DatasetCard, names: tuple[str, ...] | None) -> tuple[Structure, ...]:
    known = {s.name: s for s in card.structures}
    for name in names or ():
        if name not in known:
            raise unknown_name(f"structure of dataset {card.name!r}", name, known)
    return tuple(known[name] for name in names) if names is not None else card.structures


def _in_tiles(works: Iterable[_Work | VolumeWork], size: int) -> Iterator[VolumeWork | list[_Work]]:
    """Group images so that each group fills one tile; a volume stands alone. The order stays."""
    group: list[_Work] = []
    images = 0
    for work in works:
        if isinstance(work, VolumeWork):
            if group:
                yield group
                group, images = [], 0
            yield work
            continue
        group.append(work)
        images += work.asked
        if images == size:
            yield group
            group, images = [], 0
    if group:
        yield group
