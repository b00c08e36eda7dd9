"""What a study may say about each mitigation. Light: a study is read and planned without torch.

In a study a method is its name, or a mapping with its numbers: ``mitigation: [erm, {name: group_dro, eta: 0.1}]``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class MitigationOptions(BaseModel):
    """Base of all: frozen, no unknown fields, finite numbers.

    Attributes
    ----------
    needs_groups
        Whether training must know the groups of its samples.
    groups_at_test
        Whether a prediction must know the group too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    needs_groups: ClassVar[bool] = True
    groups_at_test: ClassVar[bool] = False

    name: str

    @property
    def label(self) -> str:
        """Return how the tables call it: the name, and the numbers that are not its default, ``group_dro:eta=0.1``."""
        fields = type(self).model_fields
        changed = [
            f"{key}={getattr(self, key)}"
            for key in fields
            if key != "name" and getattr(self, key) != fields[key].default
        ]
        return ":".join([self.name, *changed])


class Erm(MitigationOptions):
    """Empirical risk minimisation: no mitigation."""

    needs_groups: ClassVar[bool] = False
    name: Literal["erm"] = "erm"


class Resampling(MitigationOptions):
    """Draw training samples so that all cells are seen equally often.

    Attributes
    ----------
    by
        What a cell is: a group, a class, or a class in a group.
    """

    name: Literal["resampling"] = "resampling"
    by: Literal["group", "class", "group_class"] = "group"


class Reweighting(MitigationOptions):
    """Weigh every training sample so that group and class look independent (Kamiran and Calders 2012)."""

    name: Literal["reweighting"] = "reweighting"


class GroupDro(MitigationOptions):
    """Follow the group with the largest loss (Sagawa et al. 2020).

    Attributes
    ----------
    eta
        Step of the groups' weights.
    adjustment
        C of ``C / sqrt(n_g)``, added to the losses by which weights are chosen.
    """

    name: Literal["group_dro"] = "group_dro"
    eta: Annotated[float, Field(gt=0)] = 0.01
    adjustment: Annotated[float, Field(ge=0)] = 0.0


class DomainInd(MitigationOptions):
    """Train a classifier for each group, predict with all of them (domain-independent training, Wang et al. 2020)."""

    name: Literal["domain_ind"] = "domain_ind"


class Swad(MitigationOptions):
    """Average the weights of all steps in a valley of the validation loss (SWAD, Cha et al. 2021).

    Attributes
    ----------
    start
        N_s: the valley starts at an epoch that is not undercut in so many epochs, itself included.
    end
        N_e: it ends before so many epochs in a row that are above it.
    tolerance
        r: above it is what exceeds the mean loss of the first `start` epochs by that share.
    """

    needs_groups: ClassVar[bool] = False
    name: Literal["swad"] = "swad"
    start: Annotated[int, Field(ge=2)] = 3
    end: Annotated[int, Field(ge=1)] = 9
    tolerance: Annotated[float, Field(ge=0)] = 0.05


class Sam(MitigationOptions):
    """Descend the largest loss near the weights (SAM, Foret et al. 2021).

    Attributes
    ----------
    rho
        How near.
    adaptive
        Whether a weight's own size is the unit (ASAM, Kwon et al. 2021).
    """

    needs_groups: ClassVar[bool] = False
    name: Literal["sam"] = "sam"
    rho: Annotated[float, Field(gt=0)] = 0.05
    adaptive: bool = False


class Fin(MitigationOptions):
    """Normalise the representation by group, also that of a sample that is predicted (FIN, Luo et al. 2024).

    Attributes
    ----------
    momentum
        m: share of the representation as it was.
    """

    groups_at_test: ClassVar[bool] = True
    name: Literal["fin"] = "fin"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Fis(MitigationOptions):
    """Weigh a sample by its loss and by how far its group's losses lie from those of all (FIS, Luo et al. 2023).

    Attributes
    ----------
    c
        Share of the group's weight; the rest is the sample's own.
    tau
        Temperature of both.
    kappa
        Mean of the weights.
    fresh
        Samples that are drawn of each group in every step.
    """

    name: Literal["fis"] = "fis"
    c: Annotated[float, Field(ge=0, le=1)] = 0.5
    tau: Annotated[float, Field(gt=0)] = 1.0
    kappa: Annotated[float, Field(gt=0)] = 1.0
    fresh: Annotated[int, Field(ge=1)] = 128


class FairClip(MitigationOptions):
    """Let the similarity of images with their texts be distributed alike in all groups (FairCLIP, Luo et al. 2024).

    For heads made of texts.

    Attributes
    ----------
    variant
        The formula: that of the paper.
    lambda_fair
        Coefficient of the distances.
    fresh
        Samples that are drawn of each group in every step.
    """

    name: Literal["fairclip"] = "fairclip"
    variant: Literal["paper"] = "paper"
    lambda_fair: Annotated[float, Field(ge=0)] = 100.0
    fresh: Annotated[int, Field(ge=1)] = 32


class Laftr(MitigationOptions):
    """Hide the group from a discriminator of the representation (LAFTR, Madras et al. 2018).

    Attributes
    ----------
    variant
        What is hidden: the group given the class (``eqodd``), the group (``dp``), or the group among samples of one class
        (``eqopp``).
    of
        That class, by its name; for ``eqopp`` alone.
    error
        By how much the discriminator is wrong: ``absolute`` (the paper's, one minus the probability of the true group) or
        ``cross_entropy``, which still moves the representation where the discriminator is sure; None takes the first with two
        groups and the second with more.
    task, fairness
        Coefficients of the classifier's loss and of the discriminator's.
    clip
        Largest norm of a step's gradient.
    hidden
        Width of the discriminator.
    """

    name: Literal["laftr"] = "laftr"
    variant: Literal["eqodd", "dp", "eqopp"] = "eqodd"
    of: str | None = None
    error: Literal["absolute", "cross_entropy"] | None = None
    task: Annotated[float, Field(gt=0)] = 1.0
    fairness: Annotated[float, Field(ge=0)] = 1.0
    clip: Annotated[float, Field(gt=0)] = 5.0
    hidden: Annotated[int, Field(ge=1)] = 128

    @model_validator(mode="after")
    def _class_fits(self) -> Laftr:
        if (self.of is not None) != (self.variant == "eqopp"):
            raise ValueError("laftr takes 'of', the name of a class, with variant 'eqopp' and only with it")
        return self


class CFair(MitigationOptions):
    """Hide the group from an adversary per class, all classes and groups balanced (CFair, Zhao et al. 2020).

    Attributes
    ----------
    mu
        Coefficient of the adversaries.
    hidden
        Width of each.
    """

    name: Literal["cfair"] = "cfair"
    mu: Annotated[float, Field(ge=0)] = 0.1
    hidden: Annotated[int, Field(ge=1)] = 128


class Lnl(MitigationOptions):
    """Make the group's posterior flat and hide it from its predictor (Learning Not to Learn, Kim et al. 2019).

    Attributes
    ----------
    lambda_e
        Coefficient of the posterior's negative entropy.
    reversal
        Strength of the reversed gradient of the predictor.
    hidden
        Width of the predictor.
    """

    name: Literal["lnl"] = "lnl"
    lambda_e: Annotated[float, Field(ge=0)] = 0.1
    reversal: Annotated[float, Field(ge=0)] = 1.0
    hidden: Annotated[int, Field(ge=1)] = 128


class EnD(MitigationOptions):
    """Pull samples of one group apart, and those of one class across groups together (EnD, Tartaglione et al. 2021).

    Attributes
    ----------
    alpha, beta
        Coefficients of the two terms.
    """

    name: Literal["end"] = "end"
    alpha: Annotated[float, Field(ge=0)] = 0.1
    beta: Annotated[float, Field(ge=0)] = 0.1


class Odr(MitigationOptions):
    """Split the representation into one of the target and one of the group (ODR, Sarhan et al. 2020).

    Attributes
    ----------
    lambda_e, lambda_od
        Coefficients of the entropy term and of the divergences from the priors.
    gamma_e, gamma_od
        Factors by which they change every `step` epochs.
    step
        In epochs.
    latent
        Width of each part.
    hidden
        Width of the group's classifier.
    """

    name: Literal["odr"] = "odr"
    lambda_e: Annotated[float, Field(ge=0)] = 0.1
    lambda_od: Annotated[float, Field(ge=0)] = 0.1
    gamma_e: Annotated[float, Field(gt=0)] = 0.1
    gamma_od: Annotated[float, Field(gt=0)] = 0.1
    step: Annotated[int, Field(ge=1)] = 20
    latent: Annotated[int, Field(ge=2)] = 128
    hidden: Annotated[int, Field(ge=1)] = 128


def _named(value: Any) -> Any:
    return {"name": value.lower().replace("-", "_")} if isinstance(value, str) else value


#: One method, as a study may write it.
Mitigation = Annotated[
    Annotated[
        Erm
        | Resampling
        | Reweighting
        | GroupDro
        | Laftr
        | CFair
        | Lnl
        | EnD
        | Odr
        | DomainInd
        | Swad
        | Sam
        | Fin
        | Fis
        | FairClip,
        Field(discriminator="name"),
    ],
    BeforeValidator(_named),
]
