"""What a study may say about usages that train a head on frozen features. Light: no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from evaluator.mitigation.options import Erm, Mitigation
from evaluator.usages.options import OF_VOLUMES, Pool, SliceOptions, Slices, UsageOptions

#: Options of a usage that say which tasks there are; a task's identity has its own target, seed, method and groups instead.
OF_TASKS = frozenset({"seeds", "targets", "mitigation", "mitigate"})


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value


class TrainingOptions(UsageOptions):
    """Options that all trained heads share.

    Attributes
    ----------
    seeds
        How many fits: each with initial weights and order of samples of its own.
    epochs, batch_size, learning_rate, minimum_learning_rate, warmup, weight_decay, patience
        See :class:`evaluator.training.loop.Recipe`.
    mitigation
        Ways of training, one fit each.
    mitigate
        The study's attribute whose groups a mitigation uses; needed where one uses any.
    targets
        Which of the dataset's targets; None takes all.
    slices, pool
        Of volumes, as in :class:`evaluator.usages.options.LinearProbeOptions`.
    """

    seeds: int = Field(default=3, ge=1, le=1000)
    epochs: int = Field(default=100, ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    minimum_learning_rate: float = Field(default=1e-5, ge=0)
    warmup: int = Field(default=5, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    patience: int = Field(default=10, ge=1)
    mitigation: Annotated[
        tuple[Mitigation, ...], BeforeValidator(_listed), Field(min_length=1, validate_default=True)
    ] = (Erm(),)
    mitigate: str | None = None
    targets: tuple[str, ...] | None = None
    slices: Slices = SliceOptions()
    pool: Pool = "mean"

    @model_validator(mode="after")
    def _methods_fit(self) -> TrainingOptions:
        labels = [method.label for method in self.mitigation]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(
                f"mitigation names {twice!r} twice; every method with its numbers may appear once"
            )
        needy = [method.name for method in self.mitigation if method.needs_groups]
        if needy and self.mitigate is None:
            raise ValueError(
                f"mitigation {needy[0]!r} needs 'mitigate': the attribute of the study whose groups it uses, e.g. sex"
            )
        return self

    def of_fit(self) -> dict[str, Any]:
        """Return what of the options can change one fit (for its identity)."""
        return self.model_dump(mode="json", exclude={*OF_TASKS, *OF_VOLUMES})


class MlpProbeOptions(TrainingOptions):
    """Options of the probe with one hidden layer.

    Attributes
    ----------
    hidden
        Width of the hidden layer.
    dropout
        Share of hidden units that training leaves out.
    """

    hidden: int = Field(default=512, ge=1, le=65_536)
    dropout: float = Field(default=0.1, ge=0, lt=1)
