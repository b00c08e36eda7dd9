"""Prompted segmentation of one volume by a model of images: slice by slice, measured whole.

Every slice that holds the structure is prompted from its own true mask, as an image is; the model never sees the other
slices, and its mask is empty there. So the prompts tell it where the structure begins and ends along the stack (an oracle,
more than a user would give), and no voxel of another slice can be wrong. The masks are stacked and measured once, in 3D with
the (slice, row, column) spacing.

Guarantee: the slices of a volume that hold any structure pass the encoder once, in ascending order, in tiles of their own;
so a row depends on its sample alone. Random prompts are keyed by sample and slice. A slice whose logits are NaN makes the
volume's answer ``nan_output``. In memory are the volume, its mask, the preprocessed slices in flight, and the answers as
packed bits (an eighth of a byte a pixel).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.metrics.segmentation import score_mask
from evaluator.models.interfaces import MaskPrompt
from evaluator.models.preprocess import Framed, Preprocessor
from evaluator.usages.ahead import Ahead
from evaluator.usages.embed import on_host, prepare, without_pixels
from evaluator.usages.prompts import make_prompt
from evaluator.usages.segment_rows import base_row, finite, nan_cells, prompt_cells, refusal, score_cells
from evaluator.usages.volumes import to_rgb
from shards.card import Structure

if TYPE_CHECKING:
    from evaluator.models.interfaces import PromptableSegmenter
    from evaluator.usages.options import SegmentOptions
    from shards.sample import Sample


@dataclass(frozen=True)
class VolumeQuestion:
    """One row to be: a structure and a prompt of one volume.

    Attributes
    ----------
    structure, prompt_name
        What is asked for, and how.
    voxels_true
        Of the structure; None where there is no mask.
    prompts
        By slice, ascending; empty where nothing is asked.
    status, reason
        ``"ok"``, or why nothing is asked.
    """

    structure: Structure
    prompt_name: str
    voxels_true: int | None
    prompts: dict[int, MaskPrompt]
    status: str
    reason: str | None


@dataclass(frozen=True)
class VolumeWork:
    """A volume with all its questions; without pixels where none has a prompt. `frame` is that of every slice."""

    sample: Sample
    frame: tuple[int, int]
    questions: tuple[VolumeQuestion, ...]


@dataclass
class _Answer:
    """What the model gave for one question, slice by slice."""

    packed: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    ious: list[float] = field(default_factory=list)
    bad: bool = False

    def stacked(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the mask of the whole volume: empty where nothing was asked."""
        whole = np.zeros(shape, dtype=bool)
        for place, bits in self.packed.items():
            whole[place] = np.unpackbits(bits, count=shape[1] * shape[2]).reshape(shape[1:])
        return whole


def ask_volume(
    sample: Sample,
    structures: Sequence[Structure],
    options: SegmentOptions,
    *,
    made_for: Sequence[str],
    preprocessor: Preprocessor,
) -> VolumeWork:
    """Derive the prompts of a readable volume.

    Parameters
    ----------
    sample
        With `image` and, if the dataset has one, `mask` ``[D, H, W]``.
    structures, options
        What to ask for, and how.
    made_for
        Prompts that the model was made for.
    preprocessor
        The model's; tried on the first slice, since all have one size.
    """
    assert sample.image is not None  # noqa: S101 - only readable volumes are asked about
    first = prepare(replace(sample, image=to_rgb(sample.image[0]), mask=None), preprocessor)
    questions: list[VolumeQuestion] = []
    for structure in structures:
        true = None if sample.mask is None else np.isin(sample.mask, structure.values)
        voxels = None if true is None else int(np.count_nonzero(true))
        for name in options.prompts:
            refused = refusal(
                first.status, first.reason, masked=true is not None, prompt=name, made_for=made_for
            )
            if refused is None and not voxels:
                refused = "no_target", "the true mask has no voxel of this structure"
            prompts: dict[int, MaskPrompt] = {}
            if refused is None and true is not None:
                prompts = _prompts(true, name, options.seed, sample.sample_id, structure.name)
            questions.append(VolumeQuestion(structure, name, voxels, prompts, *(refused or ("ok", None))))
    asked = any(question.prompts for question in questions)
    frame = (0, 0) if first.framed is None else first.framed.frame
    return VolumeWork(sample if asked else without_pixels(sample), frame, tuple(questions))


def _prompts(
    true: NDArray[np.bool_], name: str, seed: int, sample_id: str, structure: str
) -> dict[int, MaskPrompt]:
    """Return the prompt of every slice that holds the structure."""
    found = {}
    for place in np.flatnonzero(true.any(axis=(1, 2))).tolist():
        prompt = make_prompt(
            name, true[place], seed=seed, sample_id=f"{sample_id}/{place}", structure=structure
        )
        assert prompt is not None  # noqa: S101 - the slice holds the structure
        found[place] = prompt
    return found


class VolumeAnswerer:
    """Runs the model over the slices of volumes and measures the stacks.

    Parameters
    ----------
    model, preprocessor
        The segmenter and its preprocessing.
    threshold
        Logit above which a voxel belongs to the mask.
    tile
        Slices per pass of the encoder.
    tolerance_mm
        Of the normalised surface Dice.

    Attributes
    ----------
    images
        Slices that went through the encoder.
    read_s
        Seconds of preprocessing, in its own thread.
    """

    def __init__(
        self,
        model: PromptableSegmenter,
        preprocessor: Preprocessor,
        *,
        threshold: float,
        tile: int,
        tolerance_mm: float,
    ) -> None:
        self._model = model
        self._threshold = threshold
        self._preprocessor = preprocessor
        self._tile = tile
        self._tolerance_mm = tolerance_mm
        self.images = 0
        self.read_s = 0.0

    def answer(self, work: VolumeWork) -> Iterator[dict[str, Any]]:
        """Yield the rows of a volume, in the order of its questions."""
        answers = self._segment(work)
        structure, true = None, None
        for question, answer in zip(work.questions, answers, strict=True):
            row = base_row(work.sample, question.structure.name, question.prompt_name, question.voxels_true)
            row |= {"status": question.status, "reason": question.reason}
            row |= prompt_cells([((place,), prompt) for place, prompt in question.prompts.items()])
            if question.prompts:
                mask = work.sample.mask
                assert mask is not None  # noqa: S101 - a question with prompts has a mask
                if true is None or question.structure is not structure:
                    structure, true = question.structure, np.isin(mask, question.structure.values)
                row |= self._measured(answer, true, work.sample.spacing_mm)
            yield row

    def _segment(self, work: VolumeWork) -> list[_Answer]:
        """Let every slice that is asked about pass the encoder once, and answer all its prompts."""
        from evaluator.models.tiles import embed_tiles

        answers = [_Answer() for _ in work.questions]
        held = sorted({place for question in work.questions for place in question.prompts})
        if not held:
            return answers
        volume = work.sample.image
        assert volume is not None  # noqa: S101 - a question with prompts has an image

        def framed(place: int) -> Framed:
            return self._preprocessor(to_rgb(volume[place]))

        ahead = Ahead(held, framed, depth=2 * self._tile)
        embeddings = embed_tiles(self._model, ahead, tile=self._tile)
        for place, embedding in zip(held, embeddings, strict=True):
            self._decode(work, place, embedding, answers)
        self.images += len(held)
        self.read_s += ahead.busy_s
        return answers

    def _decode(self, work: VolumeWork, place: int, embedding: Any, answers: list[_Answer]) -> None:
        assert work.sample.image is not None  # noqa: S101 - as above
        original = (work.sample.image.shape[1], work.sample.image.shape[2])
        asked = [k for k, question in enumerate(work.questions) if place in question.prompts]
        prompts = [self._preprocessor.map_prompt(work.questions[k].prompts[place], original) for k in asked]
        predictions = self._model.decode(embedding, prompts, frame=work.frame, original=original)
        for k, prediction in zip(asked, predictions, strict=True):
            logits = on_host(prediction.logits)
            answers[k].bad |= not bool(np.isfinite(logits).all())
            answers[k].packed[place] = np.packbits(logits > self._threshold)
            answers[k].ious.append(prediction.predicted_iou)

    def _measured(
        self, answer: _Answer, true: NDArray[np.bool_], spacing_mm: tuple[float, ...] | None
    ) -> dict[str, Any]:
        if answer.bad:
            return nan_cells()
        scores = score_mask(
            answer.stacked(true.shape), true, spacing_mm=spacing_mm, tolerance_mm=self._tolerance_mm
        )
        return {**score_cells(scores), "predicted_iou": finite(float(np.mean(answer.ious)))}
