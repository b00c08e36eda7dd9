"""FairCLIP (Luo et al. 2024, FairCLIP: Harnessing Fairness in Vision-Language Learning), on frozen encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from evaluator.mitigation.distributions import FreshSamples, squared_wasserstein
from evaluator.mitigation.method import UNKNOWN, Batch, Method, mean_loss
from evaluator.mitigation.options import FairClip
from evaluator.training.text import TextLogits
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class FairClipMethod(Method):
    """How similar images are to their texts shall be distributed alike in every group.

    The loss is ``CE + lambda sum_a W2^2(s of the batch, s of a fresh batch of group a)`` with ``s_i = cos(z_i, t_{y_i})``,
    the similarity of an image with the text of its class; the sum is over groups that train has samples of, and the batch's
    side is of its samples of known group. Both sides have mass 1, and gradients flow into both.

    Notes
    -----
    What differs from the paper, because the encoders are frozen: what is trained is an adapter of the image features or the
    classes' text embeddings, not the two encoders; the text of an image is that of its class, not its report; and the task's
    loss is the cross entropy over classes, not CLIP's contrastive loss over pairs. The distance is the exact squared
    Wasserstein distance by sorting, to which the paper's Sinkhorn distance tends when its regularisation tends to 0. The
    published lambda of 1e-7 goes with released code that compares products of two logit matrices, thousands of times larger
    than the cosines of the paper's formula; here it would change nothing, so the default is another.
    """

    def __init__(self, options: FairClip) -> None:
        self._options = options
        self._fresh: FreshSamples

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Keep the rows to draw from.

        Raises
        ------
        UserError
            If the usage does not classify by the similarity with texts alone, or no training sample's group is known.
        """
        if not isinstance(head.classify, TextLogits):
            raise UserError(
                "fairclip compares the similarities of images with the texts of their classes, which this usage does not "
                "train. Use it with prototype_tuning or clip_adapter, or leave the method out."
            )
        self._fresh = FreshSamples("fairclip", rows, self._options.fresh)
        return head

    def loss(self, head: Head, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        return mean_loss(head, batch) + self._options.lambda_fair * self.distance(head, batch)

    def distance(self, head: Head, batch: Batch) -> Tensor:
        """Return the sum of the squared distances of all groups from the batch; 0 where it has no sample of known group."""
        known = batch.groups != UNKNOWN
        if not known.any():
            return batch.features.new_zeros(())
        ours = _similarities(head, Batch(*(column[known] for column in batch)))
        theirs = [_similarities(head, self._fresh.of(code)) for code in self._fresh.codes]
        return torch.stack([squared_wasserstein(ours, one) for one in theirs]).sum()


def _similarities(head: Head, batch: Batch) -> Tensor:
    """Return the cosine of every sample with its class ``[B]``."""
    texts = cast(TextLogits, head.classify)
    return texts.cosines(head.represent(batch.features)).gather(1, batch.classes[:, None])[:, 0]
