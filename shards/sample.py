"""One sample as the reader hands it out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """One evaluated image or volume with what was stored beside it.

    Attributes
    ----------
    sample_id, subject_id, split
        As in ``index.parquet``.
    image
        ``[H, W, 3]`` uint8 RGB, or of a volume ``[D, H, W]`` uint8 grey, ready for a model's own preprocessing
        (intensities already mapped as the dataset's card records); None when it could not be read.
    mask
        ``[H, W]`` or ``[D, H, W]`` uint8 label map of the same frame; None when there is none or it was not asked for.
    spacing_mm
        (row, column) size of a pixel in mm, or (slice, row, column) of a voxel; None when the publisher gives none.
    volumetric
        Whether it is a volume.
    status, reason
        ``"ok"``, or why the sample cannot be used (``"decode_error"``, ...) with a short text.
    """

    sample_id: str
    subject_id: str
    split: str
    image: NDArray[np.uint8] | None
    mask: NDArray[np.uint8] | None = None
    spacing_mm: tuple[float, ...] | None = None
    status: str = "ok"
    reason: str | None = None
    volumetric: bool = False
