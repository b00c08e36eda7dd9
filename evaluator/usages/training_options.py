"""What a study may say about usages that fit a head on frozen features. Light: no torch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from evaluator.mitigation.options import Erm, Mitigation, MitigationOptions
from evaluator.training.recipe import Recipe
from evaluator.usages.options import OF_VOLUMES, Pool, SliceOptions, Slices, TextOptions, UsageOptions

#: Options of a usage that say which tasks there are; a task's identity has its own target, seed, method and groups instead.
OF_TASKS = frozenset({"seeds", "targets", "mitigation", "mitigate"})
#: Options that say which texts a head is made of; the identity has the texts themselves.
OF_TEXTS = frozenset({"prompts", "templates"})

Positive = Annotated[float, Field(gt=0)]


def _in_list(value: Any) -> Any:
    return [value] if isinstance(value, (int, float)) else value


#: One number, or several to choose from.
Choices = Annotated[tuple[Positive, ...], BeforeValidator(_in_list), Field(min_length=1)]
_ALPHA = (0.1, 0.3, 1.0, 3.0, 10.0)
_BETA = (1.0, 2.0, 5.5, 10.0, 20.0)


class FitOptions(UsageOptions):
    """Options that all usages with a fitted head share.

    Attributes
    ----------
    seeds
        How many fits: each with chance of its own.
    targets
        Which of the dataset's targets; None takes all.
    slices, pool
        Of volumes, as in :class:`evaluator.usages.options.LinearProbeOptions`.
    """

    seeds: int = Field(default=3, ge=1, le=1000)
    targets: tuple[str, ...] | None = None
    slices: Slices = SliceOptions()
    pool: Pool = "mean"

    @property
    def methods(self) -> tuple[MitigationOptions, ...]:
        """Return the mitigations that are fitted."""
        return (Erm(),)

    @property
    def grouped_by(self) -> str | None:
        """Return the study's attribute whose groups a mitigation uses."""
        return None

    def recipe(self) -> Recipe:
        """Return how a head is trained; one without parameters is not."""
        return Recipe(1, 1, 1.0, 0.0, 0, 0.0, 1)

    def of_fit(self) -> dict[str, Any]:
        """Return what of the options can change one fit (for its identity)."""
        return self.model_dump(mode="json", exclude={*OF_TASKS, *OF_VOLUMES, *OF_TEXTS})


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, dict)) else value


class TrainingOptions(FitOptions):
    """Options of heads that are trained.

    Attributes
    ----------
    epochs, batch_size, learning_rate, minimum_learning_rate, warmup, weight_decay, patience
        See :class:`evaluator.training.recipe.Recipe`.
    mitigation
        Ways of training, one fit each.
    mitigate
        The study's attribute whose groups a mitigation uses; needed where one uses any.
    """

    epochs: int = Field(default=100, ge=1, le=10_000)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    minimum_learning_rate: float = Field(default=1e-5, ge=0)
    warmup: int = Field(default=5, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    patience: int = Field(default=10, ge=1)
    mitigation: Annotated[tuple[Mitigation, ...], BeforeValidator(_listed), Field(min_length=1)] = (Erm(),)
    mitigate: str | None = None

    @property
    def methods(self) -> tuple[MitigationOptions, ...]:
        """Return the mitigations that are fitted."""
        return self.mitigation

    @property
    def grouped_by(self) -> str | None:
        """Return the study's attribute whose groups a mitigation uses."""
        return self.mitigate

    def recipe(self) -> Recipe:
        """Return how a head is trained."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            minimum_learning_rate=self.minimum_learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )

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


class PrototypeTuningOptions(TrainingOptions, TextOptions):
    """Options of prototype tuning (what FairMedFM calls CLIP-Adapt): the classes' text embeddings are trained."""


class ClipAdapterOptions(TrainingOptions, TextOptions):
    """Options of CLIP-Adapter.

    Attributes
    ----------
    reduction
        The bottleneck is that many times narrower than the features.
    alpha
        Shares of the adapted in the adapted features; each is trained, val chooses.
    """

    reduction: int = Field(default=4, ge=1)
    alpha: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_in_list), Field(min_length=1)
    ] = (0.2,)


class TipAdapterOptions(FitOptions, TextOptions):
    """Options of Tip-Adapter, which trains nothing.

    Attributes
    ----------
    shots
        Training samples of each class in the cache, drawn by the seed; None takes all.
    alpha, beta
        Weights of the cache and sharpness of its affinities; val chooses among all pairs.
    """

    shots: Annotated[int, Field(ge=1)] | None = 16
    alpha: Choices = _ALPHA
    beta: Choices = _BETA


class TipAdapterFOptions(TrainingOptions, TextOptions):
    """Options of Tip-Adapter-F: the cache's keys are trained.

    Attributes
    ----------
    shots, alpha, beta
        As in :class:`TipAdapterOptions`; val chooses alpha and beta before training.
    """

    shots: Annotated[int, Field(ge=1)] | None = 16
    alpha: Choices = _ALPHA
    beta: Choices = _BETA
