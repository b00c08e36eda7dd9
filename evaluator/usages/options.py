"""What a study may say about each usage. Light: a study is read and planned without torch.

Every field changes results, so all of them belong to a task's identity; what must not change results (batch
size, workers, device) is an argument of the functions instead. Unknown fields are errors.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Prompt = Literal["center", "center:bbox", "rand", "rands", "bbox"]

#: 1e-4 ... 1e4, two values a decade, ascending: the warm-started path runs from strong to weak
#: regularisation.
DEFAULT_GRID = tuple(float(f"{10 ** (k / 2):.6g}") for k in range(-8, 9))


class UsageOptions(BaseModel):
    """Base of all options: frozen, no unknown fields, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


#: How many slices ``central`` and ``resampled`` take where a study does not say.
DEFAULT_SLICES = 16


class SliceOptions(UsageOptions):
    """Which slices of a volume an image model sees, and in what order; see :mod:`evaluator.usages.volumes`.

    Attributes
    ----------
    policy
        ``"all"``; ``"foreground"``: those that hold any structure of the true mask, or where there is no mask
        those that are not empty; ``"central"``: the `count` in the middle; ``"resampled"``: `count` evenly
        spaced places, linear between slices.
    count
        Of ``central`` and ``resampled`` only; 16 by default.
    """

    policy: Literal["all", "foreground", "central", "resampled"] = "all"
    count: Annotated[int, Field(ge=1, le=4096)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        """Give the policies that count slices their default, so that saying it changes no identity."""
        if isinstance(value, dict) and value.get("policy") in ("central", "resampled"):
            return {**value, "count": DEFAULT_SLICES if value.get("count") is None else value["count"]}
        return value

    @model_validator(mode="after")
    def _count_belongs(self) -> SliceOptions:
        if self.count is not None and self.policy in ("all", "foreground"):
            raise ValueError(
                f"count belongs to the policies central and resampled, got policy {self.policy!r}"
            )
        return self


def _named_policy(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str) else value


#: In a study also the name of the policy alone: ``slices: foreground``.
Slices = Annotated[SliceOptions, BeforeValidator(_named_policy)]
#: How what is known of each slice becomes one answer for the volume.
Pool = Literal["mean", "max"]
#: Options that say nothing about images: they belong to the identity of tasks on volumes only.
OF_VOLUMES = frozenset({"slices", "pool"})


class TextOptions(UsageOptions):
    """Options of usages that describe classes by texts.

    Attributes
    ----------
    prompts
        Version of the dataset's prompt set; None takes the first one of the target.
    templates
        Texts with one ``{}`` each, in place of the prompt set's own.
    """

    prompts: str | None = None
    templates: tuple[str, ...] | None = None

    @field_validator("templates")
    @classmethod
    def _one_hole_each(cls, templates: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if templates is not None:
            if not templates:
                raise ValueError("templates must hold at least one text with a {}, got an empty list")
            check_templates(templates)
        return templates


class ZeroShotOptions(TextOptions):
    """Options of zero-shot classification; texts as in :class:`TextOptions`.

    Attributes
    ----------
    targets
        Which of the dataset's targets; None takes all that have prompts.
    slices
        Of volumes: which slices are encoded.
    pool
        Of volumes: ``"mean"`` of the slices' logits, or ``"max"``: the logits of the slice with the highest
        probability of the positive class (FairMedFM's rule).
    """

    targets: tuple[str, ...] | None = None
    slices: Slices = SliceOptions()
    pool: Pool = "mean"


class LinearProbeOptions(UsageOptions):
    """Options of the linear probe.

    Attributes
    ----------
    seeds
        How many fits: seed 0 uses all training subjects; every further seed refits on a bootstrap of the
        training subjects. The problem is convex, so this training variance is the only variance there is.
    grid
        Values of C (inverse strength of the L2 penalty, scikit-learn's scale: C times the *sum* of losses);
        sorted ascending.
    class_weight
        ``"none"``, or ``"balanced"``: a sample of class c weighs N / (classes * n_c).
    targets
        Which of the dataset's targets; None takes all.
    slices
        Of volumes: which slices are encoded.
    pool
        Of volumes: how the slices' features become one vector, ``"mean"`` or ``"max"`` of each feature.
    """

    seeds: int = Field(default=1, ge=1, le=1000)
    grid: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = DEFAULT_GRID
    class_weight: Literal["none", "balanced"] = "none"
    targets: tuple[str, ...] | None = None
    slices: Slices = SliceOptions()
    pool: Pool = "mean"

    @field_validator("grid")
    @classmethod
    def _ascending(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(grid)))


class RepresentationOptions(UsageOptions):
    """Options of probing features for a sensitive attribute.

    Attributes
    ----------
    attributes
        Which of the study's attributes are probed (numbers have bins there); None takes all but the intersections.
    seeds, grid, class_weight, slices, pool
        As in :class:`LinearProbeOptions`.
    """

    attributes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: int = Field(default=1, ge=1, le=1000)
    grid: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = DEFAULT_GRID
    class_weight: Literal["none", "balanced"] = "none"
    slices: Slices = SliceOptions()
    pool: Pool = "mean"

    @field_validator("grid")
    @classmethod
    def _ascending(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(grid)))


class SegmentOptions(UsageOptions):
    """Options of prompted segmentation. Of volumes every slice that holds the structure is prompted.

    Attributes
    ----------
    prompts
        Spatial prompts derived from the true mask, see :mod:`evaluator.usages.prompts`.
    structures
        Which of the dataset's structures; None takes all.
    splits
        Splits whose samples are segmented (nothing is trained, so by default the test split only).
    nsd_tolerance_mm
        Tolerance of the normalised surface Dice.
    seed
        Of the random prompts.
    """

    prompts: Annotated[tuple[Prompt, ...], Field(min_length=1)] = ("bbox", "center")
    structures: tuple[str, ...] | None = None
    splits: Annotated[tuple[Literal["train", "val", "test"], ...], Field(min_length=1)] = ("test",)
    nsd_tolerance_mm: float = Field(default=1.0, ge=0)
    seed: int = Field(default=0, ge=0)

    @field_validator("prompts", "structures", "splits")
    @classmethod
    def _no_repeats(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and len(set(names)) != len(names):
            raise ValueError(f"every name may appear once, got {list(names)}")
        return names


def check_templates(templates: tuple[str, ...]) -> None:
    """Refuse templates that do not have exactly one ``{}``.

    Raises
    ------
    ValueError
        Naming the text.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"a template must hold exactly one {{}}, got {template!r}")
