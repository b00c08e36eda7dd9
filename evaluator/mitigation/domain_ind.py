"""Domain-independent training (Wang et al. 2020, Towards Fairness in Visual Recognition, section 4.4)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from evaluator.mitigation.groups import groups_in
from evaluator.mitigation.method import Batch, Method, sample_losses
from evaluator.mitigation.options import DomainInd
from evaluator.training.head import Head
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.rows import TrainingRows


class GroupClassifiers(nn.Module):
    """A classifier per group.

    Parameters
    ----------
    classify
        What each of them starts as.
    codes
        The groups.
    """

    def __init__(self, classify: nn.Module, codes: Sequence[int]) -> None:
        super().__init__()
        self.of = nn.ModuleDict({str(code): copy.deepcopy(classify) for code in codes})

    def forward(self, values: Tensor) -> Tensor:
        """Return the mean of all classifiers' logits ``[B, C]``."""
        return torch.stack([classify(values) for classify in self.of.values()]).mean(dim=0)

    def by_group(self, values: Tensor, groups: Tensor) -> Tensor:
        """Return for every row the logits of its own group's classifier; the mean of all where there is none."""
        known = set(self.of)
        places, parts = [], []
        for code in torch.unique(groups).tolist():
            rows = torch.nonzero(groups == code)[:, 0]
            classify = self.of[str(code)] if str(code) in known else self
            places.append(rows)
            parts.append(classify(values[rows]))
        return torch.cat(parts)[torch.argsort(torch.cat(places))]


class DomainIndMethod(Method):
    """One representation with a classifier per group: a sample trains that of its group, a prediction needs no group.

    A prediction is ``(1/K) sum_g logits_g`` over the K groups that train has samples of. The paper's is the sum; with 1/K
    classifiers that agree give the logits of one, so that probabilities are calibrated as those of plain training are.
    Samples of unknown group train what a prediction is, the mean. A classifier without a sample in a batch stays as it is.
    All classifiers start as the usage's own.
    """

    def __init__(self, options: DomainInd) -> None:
        del options

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Put a classifier per group in place of the one.

        Raises
        ------
        UserError
            If no group is known, or the usage's classifier is not trained.
        """
        codes = groups_in("domain_ind", rows)
        if not any(parameter.requires_grad for parameter in head.classify.parameters()):
            raise UserError(
                "domain_ind trains a classifier for every group, and that of this usage is fixed. Use it with a usage that "
                "trains its classifier, such as mlp_probe, or leave the method out."
            )
        return Head(head.represent, GroupClassifiers(head.classify, codes))

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the weighted mean of the cross entropies under the samples' own classifiers."""
        classifiers = cast(GroupClassifiers, head.classify)
        logits = classifiers.by_group(head.represent(batch.features), batch.groups)
        losses = sample_losses(logits, batch.classes)
        return (batch.weights * losses).sum() / batch.weights.sum()
