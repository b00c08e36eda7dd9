"""The learning-rate schedule of both trainings."""

from __future__ import annotations

import math


def learning_rate(peak: float, step: int, steps: int, *, warm_up: int = 50) -> float:
    """Return the rate of a step: linear up to `peak`, then half a cosine down to a hundredth of it.

    Examples
    --------
    >>> [round(learning_rate(1.0, step, 101, warm_up=1), 3) for step in (0, 50, 100)]
    [1.0, 0.513, 0.01]
    """
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - 1 - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
