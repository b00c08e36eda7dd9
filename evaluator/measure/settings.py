"""How to measure: what users write under ``measure:`` in a study, and the keys that results carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shards.errors import unknown_name

#: Conventions that can be asked for beside the defaults. Thresholds add the threshold metrics under that
#: rule.
CONVENTIONS = ("ece:fixed10", "ece:fixed15", "fixed:0.5", "val:f1", "val:youden")


class MeasureSettings(BaseModel):
    """How to measure.

    Attributes
    ----------
    bootstrap
        Replicates of the subject bootstrap; 0 gives no intervals.
    permutations
        Permutations of groups; 0 gives no p-values. The smallest p is 1 / (permutations + 1).
    seed
        Of bootstrap and permutations.
    threshold
        ``"val:youden"``, ``"val:f1"`` or ``"fixed:X"``; a val rule needs labelled val rows of both classes,
        else ``fixed:0.5`` is applied and named.
    split
        Which predictions are measured (segmentations: all rows that the usage made).
    alpha
        Intervals have level 1 - alpha; claims are made below it.
    minimum_subjects
        A group with fewer subjects is shown without values and takes no part in gaps.
    minimum_positives, minimum_negatives
        The same for subjects with a positive (negative) sample, where the metric needs that class. With more
        than two classes `minimum_positives` holds for each of them.
    relevant_gap
        Smallest gap that matters: "no reliable gap" is only claimed where it would have been found.
    conventions
        Further conventions to report, of :data:`CONVENTIONS`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: Annotated[int, Field(ge=0)] = 2000
    permutations: Annotated[int, Field(ge=0)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    threshold: str = "val:youden"
    split: Literal["train", "val", "test"] = "test"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    minimum_subjects: Annotated[int, Field(ge=1)] = 20
    minimum_positives: Annotated[int, Field(ge=1)] = 10
    minimum_negatives: Annotated[int, Field(ge=1)] = 10
    relevant_gap: Annotated[float, Field(gt=0)] = 0.1
    conventions: tuple[str, ...] = ()

    @field_validator("threshold")
    @classmethod
    def _known_rule(cls, rule: str) -> str:
        from evaluator.metrics.thresholds import check_rule

        return check_rule(rule)

    @field_validator("conventions")
    @classmethod
    def _known_conventions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in CONVENTIONS:
                raise unknown_name("convention", name, CONVENTIONS)
        return names


@dataclass(frozen=True)
class ResultKeys:
    """What a measured row is of; columns of the tables of the same names, null where they do not apply.

    Attributes
    ----------
    dataset, model, usage, mitigation, seed
        How the rows were made.
    split, target, structure, prompt
        Which rows are measured. Filled by the measuring functions from the rows and settings where they know
        better.
    task
        Identity of the task that made the rows.
    """

    dataset: str | None = None
    model: str | None = None
    usage: str | None = None
    mitigation: str | None = None
    seed: int | None = None
    split: str | None = None
    target: str | None = None
    structure: str | None = None
    prompt: str | None = None
    task: str | None = None
