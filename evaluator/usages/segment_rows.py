"""Rows of the segmentations table, as images and volumes fill them alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.metrics.segmentation import MaskScores

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluator.models.interfaces import MaskPrompt
    from shards.sample import Sample


def refusal(
    status: str, reason: str | None, *, masked: bool, prompt: str, made_for: Sequence[str]
) -> tuple[str, str | None] | None:
    """Return the status and reason of a question that cannot be asked; None where it can.

    Parameters
    ----------
    status, reason
        Of the prepared sample.
    masked
        Whether the sample has a true mask.
    prompt
        Name of the prompt.
    made_for
        Prompts that the model was made for.
    """
    if status != "ok":
        return status, reason
    if not masked:
        return "no_mask", "the dataset stores no mask for this sample"
    if prompt.partition(":")[0] not in made_for:
        return "unsupported_prompt", f"the model was made for {', '.join(made_for)}"
    return None


def base_row(sample: Sample, structure: str, prompt: str, pixels_true: int | None) -> dict[str, Any]:
    """Return what a row holds whatever comes out; `pixels_true` is None where there is no true mask."""
    unit = math.prod(sample.spacing_mm) if sample.spacing_mm else 1.0
    return {
        "sample_id": sample.sample_id,
        "subject_id": sample.subject_id,
        "split": sample.split,
        "structure": structure,
        "prompt": prompt,
        "volume_true": None if pixels_true is None else float(pixels_true) * unit,
    }


def prompt_cells(prompts: Sequence[tuple[tuple[int, ...], MaskPrompt]]) -> dict[str, Any]:
    """Return the prompt's columns: each point and box, in a row, with the numbers that come before it."""
    points = [float(v) for place, one in prompts for point in one.points for v in (*place, *point)]
    boxes = [float(v) for place, one in prompts if one.box for v in (*place, *one.box)]
    return {"points": points or None, "box": boxes or None}


def score_cells(scores: MaskScores) -> dict[str, Any]:
    """Return the columns of a mask's scores, with the reason where distances are undefined."""
    reason = None if scores.case == "both" else f"{scores.case}: surface distances are undefined"
    cells = asdict(scores)
    del cells["case"]
    return cells | {"reason": reason}


def nan_cells() -> dict[str, Any]:
    """Return the columns of a mask whose logits are not numbers."""
    return {"status": "nan_output", "reason": "the mask's logits hold NaN or infinity"}


def finite(value: float) -> float | None:
    """Return a number, None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def rows_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table of schema :data:`evaluator.tables.SEGMENTATIONS`; what a row lacks is null."""
    import pyarrow as pa

    from evaluator.tables import SEGMENTATIONS

    columns = {name: [row.get(name) for row in rows] for name in SEGMENTATIONS.names}
    return pa.table(columns, schema=SEGMENTATIONS)
