"""How to measure: what users write under ``measure:`` in a study, and the keys that results carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shards.errors import UserError


class MeasureSettings(BaseModel):
    """How to measure.

    Attributes
    ----------
    bootstrap
        Replicates of the subject bootstrap; 0 gives analytic intervals where there are such.
    permutations
        Permutations of groups, of which the first 128 suffice where p is above 0.5 by then, and 256 where it is above
        0.2; 0 gives no p-values. The smallest p is 1 / (permutations + 1).
    seed
        Of bootstrap and permutations.
    threshold
        A rule of :mod:`evaluator.metrics.thresholds`, e.g. ``"val:youden"`` or ``"fixed:0.5"``; a val rule needs
        labelled val rows of both classes, else ``fixed:0.5`` is applied and named.
    split
        Which predictions are measured (segmentations: all rows that the usage made).
    alpha
        Intervals have level 1 - alpha; claims are made below it.
    interval
        ``"auto"`` takes the method that is right for each metric (see :mod:`evaluator.measure.uncertainty`);
        ``"percentile"``, ``"bca"`` and ``"t"`` take one for all.
    minimum_subjects
        A group with fewer subjects is shown without values and takes no part in gaps.
    minimum_positives, minimum_negatives
        The same for subjects with a positive (negative) sample, where the metric needs that class. With more
        than two classes `minimum_positives` holds for each of them.
    relevant_gap
        Smallest gap that matters: "no reliable gap" is only claimed where it would have been found.
    metrics
        Names of the metrics to compute, e.g. ``("auc", "accuracy")``; empty computes all of the default set.
    conventions
        Further formulas to report, and presets of published ones, see :mod:`evaluator.metrics.conventions`.
    standardize
        Attributes (or ``"target"``) whose distribution is made the same in all groups by re-weighting: shows what is
        left of a gap when e.g. age is taken out. An attribute here must be one that the study forms groups of.
    view
        ``"balanced:sex"`` measures a seeded sub-sample of the split in which each group of sex has as many samples as the
        smallest (``"balanced-subjects:sex"``: as many subjects), see :mod:`evaluator.views`; None measures all of it. The
        attribute must be one that the study forms groups of.
    baseline
        Model that all others are compared with, within and across datasets; None takes the best one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: Annotated[int, Field(ge=0)] = 2000
    permutations: Annotated[int, Field(ge=0)] = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    threshold: str = "val:youden"
    split: Literal["train", "val", "test"] = "test"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    interval: Literal["auto", "percentile", "bca", "t"] = "auto"
    minimum_subjects: Annotated[int, Field(ge=1)] = 20
    minimum_positives: Annotated[int, Field(ge=1)] = 10
    minimum_negatives: Annotated[int, Field(ge=1)] = 10
    relevant_gap: Annotated[float, Field(gt=0)] = 0.1
    metrics: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    standardize: tuple[str, ...] = ()
    view: str | None = None
    baseline: str | None = None

    @field_validator("threshold")
    @classmethod
    def _known_rule(cls, rule: str) -> str:
        from evaluator.metrics.thresholds import check_rule, chooses_on_measured_rows, group_rule

        if chooses_on_measured_rows(check_rule(rule)) or group_rule(rule) is not None:
            raise UserError(
                f"threshold must be fixed or chosen on val, got {rule!r}. List it among the conventions: there it is computed"
                " beside the default and marked."
            )
        return rule

    @field_validator("conventions")
    @classmethod
    def _known_conventions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from evaluator.metrics.conventions import expand

        expand(names)
        return names

    @field_validator("view")
    @classmethod
    def _known_view(cls, name: str | None) -> str | None:
        from evaluator.views import parse_view

        return None if name is None else parse_view(name).name

    @model_validator(mode="after")
    def _view_of_measured_rows(self) -> MeasureSettings:
        if self.view is not None and self.split == "val":
            raise UserError(
                "a view goes with split test or train, got val: thresholds and models are chosen on all of val."
            )
        return self

    def tokens(self, *families: str) -> tuple[str, ...]:
        """Return the conventions asked for, presets replaced by what they stand for; of some families only."""
        from evaluator.metrics.conventions import expand, family_of

        return tuple(
            token for token in expand(self.conventions) if not families or family_of(token) in families
        )


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
