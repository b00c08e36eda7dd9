"""The simulations of one result: intervals of values and gaps, tests of groups, methods of intervals.

Every study goes through the functions that users call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluator.groups import parse_groups
from evaluator.measure import (
    Measurement,
    MeasureSettings,
    ResultKeys,
    measure_predictions,
    measure_segmentations,
)
from evaluator.selftest.classified import SICK, Classifier, draw_predictions
from evaluator.selftest.findings import Outcome, Rule
from evaluator.selftest.people import ATTRIBUTES, People
from evaluator.selftest.reading import gaps, intervals, known_of, planted
from evaluator.selftest.segmented import Segmenter, draw_masks

if TYPE_CHECKING:
    import pandas as pd

Model = Classifier | Segmenter


def measured(
    rng: np.random.Generator,
    people: People,
    models: Sequence[Model],
    settings: MeasureSettings,
    attributes: Sequence[str] = ATTRIBUTES,
    only: Sequence[str] = (),
    copies: int = 1,
) -> list[Measurement]:
    """Draw people and what models say of them, and measure it.

    Parameters
    ----------
    rng, people, models, settings
        Source of chance, who, what, and how.
    attributes
        Whose groups are measured.
    only
        Columns of masks that are measured; none measures all.
    copies
        How often every image is in the table.
    """
    drawn = people.draw(rng)
    rules, table = parse_groups({name: {} for name in attributes}), _repeated(drawn.attributes(), copies)
    keys = [
        ResultKeys(dataset="made-up", model=f"m{place}", usage="zero_shot") for place in range(len(models))
    ]
    if isinstance(models[0], Classifier):
        scores = draw_predictions(rng, drawn, [m for m in models if isinstance(m, Classifier)])
        return [
            measure_predictions(_repeated(rows, copies), table, SICK, rules, settings, key)
            for rows, key in zip(scores, keys, strict=True)
        ]
    masks = draw_masks(rng, drawn, [m for m in models if isinstance(m, Segmenter)], only=only)
    return [
        measure_segmentations(_repeated(rows, copies), table, rules, settings, key)
        for rows, key in zip(masks, keys, strict=True)
    ]


def _repeated(rows: pd.DataFrame, copies: int) -> pd.DataFrame:
    """Return every row so often, under other sample ids."""
    import pandas as pd

    if copies == 1:
        return rows
    return pd.concat(
        [rows.assign(sample_id=rows["sample_id"] + f"-{copy}") for copy in range(copies)], ignore_index=True
    )


def settings_of(seed: int, *, bootstrap: int, permutations: int, interval: str = "auto") -> MeasureSettings:
    """Return settings of a measurement with the fixed threshold and its own seed."""
    return MeasureSettings.model_validate(
        {
            "bootstrap": bootstrap,
            "permutations": permutations,
            "seed": seed,
            "threshold": "fixed:0.5",
            "interval": interval,
        }
    )


@dataclass(frozen=True)
class Groups:
    """Measure groups: intervals of all values and gaps, tests, what chance adds to gaps.

    Attributes
    ----------
    people, model, attributes
        Who, how good the model is for them, and by what they are grouped.
    bootstrap, permutations
        As in the settings.
    gap
        Metric, attribute and size of the gap that was planted: then only that is looked at.
    """

    people: People
    model: Model
    attributes: tuple[str, ...] = ATTRIBUTES
    bootstrap: int = 1000
    permutations: int = 199
    gap: tuple[str, str, float] | None = None

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        settings = settings_of(seed, bootstrap=self.bootstrap, permutations=self.permutations)
        (found,) = measured(rng, self.people, [self.model], settings, self.attributes)
        known = known_of(self.people, self.model)
        if self.gap is not None:
            return list(planted(found, *self.gap))
        return [*intervals(found, known, "auto"), *gaps(found, known)]


@dataclass(frozen=True)
class Intervals:
    """Compare methods of intervals: coverage of `metrics` under each, judged by `rule` instead of the usual one."""

    people: People
    model: Model
    metrics: tuple[str, ...]
    methods: tuple[str, ...] = ("percentile", "bca")
    bootstrap: int = 1000
    rule: Rule | None = None

    def __call__(self, rng: np.random.Generator, seed: int) -> list[Outcome]:
        """Make one run."""
        (state,) = rng.integers(0, 2**63, 1).tolist()
        known = known_of(self.people, self.model)
        outcomes: list[Outcome] = []
        for method in self.methods:
            settings = settings_of(seed, bootstrap=self.bootstrap, permutations=0, interval=method)
            (found,) = measured(
                np.random.default_rng(state), self.people, [self.model], settings, (), self.metrics
            )
            outcomes += intervals(found, known, method, self.metrics, self.rule)
        return outcomes
