"""Prompted segmentation of one shard: prompts derived from the true mask, masks measured against it.

Guarantee: one row per sample, structure and prompt, in that order; nothing is dropped. The encoder sees each
image once, in tiles of a fixed size, and its embedding serves all prompts and structures. Prompts are derived
at the stored image's resolution, then mapped to the model's frame by the preprocessing's own scale. A pixel
belongs to the mask where its *logit* exceeds the card's mask threshold. Masks are measured at the stored
image's resolution.

Statuses: the sample's own (``decode_error``, ...), ``preprocess_error``, ``no_mask`` (no true mask is
stored), ``unsupported_prompt`` (the model was not made for it), ``no_target`` (the structure is absent, so no
prompt exists), ``nan_output``. A missed structure (empty prediction) is a result, not a failure: status
``ok``, dice 0, distances null.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.segmentation import MaskScores, score_mask
from evaluator.models.interfaces import MaskPrediction, MaskPrompt
from evaluator.models.preprocess import Preprocessor
from evaluator.usages.ahead import Ahead
from evaluator.usages.embed import Prepared, SampleReader, on_host, prepare, tile_of, without_pixels
from evaluator.usages.options import SegmentOptions
from evaluator.usages.output import ShardOutput, Timings
from evaluator.usages.prompts import make_prompt
from shards.card import DatasetCard, Structure
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluator.models.interfaces import PromptableSegmenter
    from shards.sample import Sample


class SegmentationReader(SampleReader, Protocol):
    """What this module needs of a dataset."""

    @property
    def card(self) -> DatasetCard:
        """The dataset's card."""


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
    ahead = Ahead(dataset.read(shard, masks=True), asker.ask, depth=2 * asker.tile)
    answerer = _Answerer(model, asker, options.nsd_tolerance_mm)
    rows: list[dict[str, Any]] = []
    for tile in _in_tiles(ahead, asker.tile):
        rows += answerer.answer(tile)
    timings = Timings(ahead.busy_s, answerer.busy_s, time.perf_counter() - started, answerer.images)
    return ShardOutput(_table(rows), timings)


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

    def ask(self, sample: Sample) -> _Work:
        """Prepare one sample and derive its prompts."""
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
        def without_prompt(status: str, reason: str | None) -> _Question:
            return _Question(structure, name, true, None, status, reason)

        if prepared.status != "ok":
            return without_prompt(prepared.status, prepared.reason)
        if true is None:
            return without_prompt("no_mask", "the dataset stores no mask for this sample")
        if name.partition(":")[0] not in self._made_for:
            return without_prompt("unsupported_prompt", f"the model was made for {', '.join(self._made_for)}")
        sample = prepared.sample
        prompt = make_prompt(
            name, true, seed=self._options.seed, sample_id=sample.sample_id, structure=structure
        )
        if prompt is None:
            return without_prompt("no_target", "the true mask has no pixel of this structure")
        return _Question(structure, name, true, prompt, "ok", None)


class _Answerer:
    """Runs the model and measures its masks."""

    def __init__(self, model: PromptableSegmenter, asker: _Asker, tolerance_mm: float) -> None:
        self._model = model
        self._asker = asker
        self._tolerance_mm = tolerance_mm
        self.busy_s = 0.0
        self.images = 0

    def answer(self, works: Sequence[_Work]) -> list[dict[str, Any]]:
        """Return the rows of some samples, in order; images without any valid question are not embedded."""
        from evaluator.models.tiles import embed_tiles

        started = time.perf_counter()
        asked = [work for work in works if work.asked]
        framed = [work.prepared.framed for work in asked if work.prepared.framed is not None]
        embeddings = embed_tiles(self._model, framed, tile=self._asker.tile)
        answers = {
            id(work): self._decode(work, embedding) for work, embedding in zip(asked, embeddings, strict=True)
        }
        rows = [row for work in works for row in self._rows(work, answers.get(id(work), []))]
        self.images += len(framed)
        self.busy_s += time.perf_counter() - started
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
            row = _empty_row(sample, question)
            if question.prompt is not None:
                row |= self._measured(question, next(answers), sample.spacing_mm)
            yield row

    def _measured(
        self, question: _Question, prediction: MaskPrediction, spacing_mm: tuple[float, ...] | None
    ) -> dict[str, Any]:
        logits = on_host(prediction.logits)
        if not np.isfinite(logits).all():
            return {"status": "nan_output", "reason": "the mask's logits hold NaN or infinity"}
        assert question.true is not None  # noqa: S101 - a question with a prompt has a mask
        scores = score_mask(
            logits > self._asker.threshold,
            question.true,
            spacing_mm=spacing_mm,
            tolerance_mm=self._tolerance_mm,
        )
        return {**_score_cells(scores), "predicted_iou": _finite(prediction.predicted_iou)}


def _structures(card: DatasetCard, names: tuple[str, ...] | None) -> tuple[Structure, ...]:
    known = {s.name: s for s in card.structures}
    for name in names or ():
        if name not in known:
            raise unknown_name(f"structure of dataset {card.name!r}", name, known)
    return tuple(known[name] for name in names) if names is not None else card.structures


def _in_tiles(works: Iterable[_Work], size: int) -> Iterator[list[_Work]]:
    """Group samples so that the images of each group fill one tile."""
    group: list[_Work] = []
    images = 0
    for work in works:
        group.append(work)
        images += work.asked
        if images == size:
            yield group
            group, images = [], 0
    if group:
        yield group


def _empty_row(sample: Sample, question: _Question) -> dict[str, Any]:
    prompt = question.prompt
    unit = sample.spacing_mm[0] * sample.spacing_mm[1] if sample.spacing_mm else 1.0
    true = question.true
    return {
        "sample_id": sample.sample_id,
        "subject_id": sample.subject_id,
        "split": sample.split,
        "structure": question.structure,
        "prompt": question.prompt_name,
        "volume_true": None if true is None else float(np.count_nonzero(true)) * unit,
        "points": [v for point in prompt.points for v in point] if prompt and prompt.points else None,
        "box": list(prompt.box) if prompt and prompt.box else None,
        "status": question.status,
        "reason": question.reason,
    }


def _score_cells(scores: MaskScores) -> dict[str, Any]:
    reason = None if scores.case == "both" else f"{scores.case}: surface distances are undefined"
    cells = asdict(scores)
    del cells["case"]
    return cells | {"reason": reason}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    from evaluator.tables import SEGMENTATIONS

    columns = {name: [row.get(name) for row in rows] for name in SEGMENTATIONS.names}
    return pa.table(columns, schema=SEGMENTATIONS)
