"""Training samples as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingRows:
    """Labelled samples of one split, in an order that does not depend on how they were read.

    Attributes
    ----------
    features
        ``[n, D]`` float32.
    classes
        ``[n]`` int64, position in `class_names`.
    groups
        ``[n]`` int64, position in `group_names`; -1 where unknown, or where no groups are asked for.
    class_names, group_names
        All that there are, also those without a sample here.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    groups: NDArray[np.int64]
    class_names: tuple[str, ...]
    group_names: tuple[str, ...] = ()
