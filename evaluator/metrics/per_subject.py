"""Means over subjects of a number measured per sample: overlap and distances of masks.

Convention ``mean:subject``: the mean over subjects of the mean over a subject's samples, so that a subject with many slices
does not count more than one with few. Samples without a value (a distance to an empty mask) are left out and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from evaluator.metrics.metric import Array, Metric, Ratios

#: Column of the segmentations table -> whether higher is better.
MASK_METRICS = {
    "dice": True,
    "iou": True,
    "hd95_mm": False,
    "hd95_px": False,
    "nsd": True,
}


@dataclass(frozen=True)
class Measured:
    """Rows with some numbers each.

    Attributes
    ----------
    values
        Name -> ``[n]`` float64, NaN where a row has none.
    """

    values: Mapping[str, Array]


def subject_mean(name: str) -> Metric:
    """Describe the mean over subjects of a column of :data:`MASK_METRICS`."""
    form = Ratios(partial(_present, name=name), (0,), (1,), within="mean")
    return Metric(name, "mean:subject", MASK_METRICS[name], form)


def _present(data: Measured, name: str) -> Array:
    value = data.values[name]
    has = ~np.isnan(value)
    return np.stack([np.where(has, value, 0.0), has], axis=1)
