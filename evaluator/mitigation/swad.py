"""SWAD (Cha et al. 2021, SWAD: Domain Generalization by Seeking Flat Minima, algorithm 1)."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from evaluator.mitigation.method import Batch, Method
from evaluator.mitigation.options import Swad
from shards.errors import UserError

if TYPE_CHECKING:
    from evaluator.training.head import Head
    from evaluator.training.rows import TrainingRows


class Epoch(NamedTuple):
    """What an epoch leaves: its number, its validation loss, and the sum of the weights after each of its steps."""

    number: int
    val_loss: float
    sums: dict[str, Tensor]
    steps: int


class SwadMethod(Method):
    """The weights to end with are the mean of those after every step from a first to a last epoch.

    With v_e the validation loss of epoch e: the first epoch is the earliest with ``v_e = min(v_e, ..., v_{e + N_s - 1})``; the
    last is the one before the earliest N_e epochs in a row, after the first, that are all above ``(1 + r)`` times the mean of
    those N_s losses. If there are none, it is the last of the training. If there is no first, or a weight in between is no
    number, the best epoch is kept as in plain training.

    The paper's unit is the interval between two validations, here an epoch. Groups are not needed: the validation loss is
    that of all samples (MEDFAIR took one minus the worst group's AUC). The mean also ends where training does.
    """

    def __init__(self, options: Swad) -> None:
        self._options = options
        self._head: Head
        self._waiting: deque[Epoch] = deque()
        self._current: dict[str, Tensor] = {}
        self._steps = 0
        self._epochs = 0
        self._threshold = math.nan
        self._closed = False
        self._total: dict[str, Tensor] = {}
        self._taken = 0
        self._first = self._last = 0

    def prepare(self, head: Head, rows: TrainingRows) -> Head:
        """Take note of the head.

        Raises
        ------
        UserError
            If it has batch normalisation, whose statistics are no mean of those at the steps.
        """
        del rows
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in head.modules()):
            raise UserError(
                "swad takes the mean of weights, which does not give the statistics of batch normalisation, and this usage has "
                "it. Leave the method out."
            )
        self._head = head
        return head

    def step(self, head: Head, batch: Batch, optimiser: torch.optim.Optimizer) -> float:
        """Make a step and add its weights."""
        loss = super().step(head, batch, optimiser)
        _add(self._current, _weights(head))
        self._steps += 1
        return loss

    def after_epoch(self, head: Head, val_loss: float) -> None:
        """Open or close the range of epochs."""
        del head
        self._epochs += 1
        self._waiting.append(Epoch(self._epochs, val_loss, self._current, self._steps))
        self._current, self._steps = {}, 0
        if self._closed:
            self._waiting.clear()
        elif not self._first:
            self._open()
        if self._first and not self._closed:
            self._close_or_take()

    def final_state(self) -> dict[str, Tensor] | None:
        """Return the mean; None where there is none."""
        while self._first and not self._closed and self._waiting:
            self._take()
        if not self._taken or not all(bool(torch.isfinite(total).all()) for total in self._total.values()):
            self._taken = 0
            return None
        state = dict(self._head.state_dict())
        for name, total in self._total.items():
            state[name] = (total / self._taken).to(state[name].dtype)
        return state

    def notes(self) -> tuple[str, ...]:
        """Say which epochs were averaged."""
        if not self._taken:
            return ("swad found no epochs to average: the best epoch is kept",)
        return (f"swad averaged the weights of epochs {self._first} to {self._last}",)

    def _open(self) -> None:
        while len(self._waiting) > self._options.start:
            self._waiting.popleft()
        losses = [epoch.val_loss for epoch in self._waiting]
        if len(losses) == self._options.start and all(losses[0] <= loss for loss in losses):
            self._first = self._waiting[0].number
            self._threshold = sum(losses) / len(losses) * (1.0 + self._options.tolerance)

    def _close_or_take(self) -> None:
        while len(self._waiting) > self._options.end:
            self._take()
        if len(self._waiting) == self._options.end:
            self._closed = all(epoch.val_loss > self._threshold for epoch in self._waiting)

    def _take(self) -> None:
        epoch = self._waiting.popleft()
        _add(self._total, epoch.sums)
        self._taken += epoch.steps
        self._last = epoch.number


def _weights(head: Head) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in head.named_parameters() if weight.requires_grad}


def _add(totals: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        if name in totals:
            totals[name] += value
        else:
            totals[name] = value.to(torch.float64, copy=True)
