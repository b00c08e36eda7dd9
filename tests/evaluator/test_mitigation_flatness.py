"""SWAD and SAM: which weights are averaged, where the gradient is taken."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn
from training_rows import RECIPE, batch_of, linear_head, mlp_head, unfair_rows

from evaluator.mitigation.method import Method, mean_loss
from evaluator.mitigation.options import Sam, Swad
from evaluator.mitigation.registry import make_method
from evaluator.mitigation.sam import SamMethod
from evaluator.training.head import Head
from evaluator.training.loop import logits_of, train
from shards.errors import UserError

ROWS, VAL, TEST = unfair_rows(300, seed=0), unfair_rows(200, seed=1), unfair_rows(2000, seed=2)
BATCH = batch_of(ROWS.features[:8], ROWS.classes[:8], ROWS.groups[:8])


class Counting(torch.optim.SGD):
    """An optimiser after whose k-th step all weights are k."""

    def __init__(self, head):
        super().__init__(head.parameters(), lr=0.1)
        self.steps = 0

    def step(self):
        self.steps += 1
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.fill_(self.steps)


def averaged(losses, *, start=3, end=3, tolerance=0.05, steps=2):
    """Return the first and last averaged epoch, read from the weights, and what the method says."""
    method = make_method(Swad(start=start, end=end, tolerance=tolerance))
    head = method.prepare(linear_head(), ROWS)
    optimiser = Counting(head)
    for loss in losses:
        for _ in range(steps):
            method.step(head, BATCH, optimiser)
        method.after_epoch(head, loss)
    state = method.final_state()
    if state is None:
        return None, method.notes()[0]
    values = torch.cat([one.flatten() for one in state.values()])
    assert set(state) == set(head.state_dict())
    assert values.min() == values.max()
    return float(values[0]), method.notes()[0]


#: The valley: epoch 3 is the first with nothing lower in the two that follow; 1.05 x (0.70 + 0.72 + 0.71) / 3 = 0.7455.
VALLEY = [1.0, 0.8, 0.70, 0.72, 0.71, 0.74]


def steps_of(first, last, steps=2):
    return np.mean(np.arange((first - 1) * steps + 1, last * steps + 1))


def test_all_steps_of_the_valley_count_the_same_and_what_lies_above_it_counts_nothing():
    found, told = averaged([*VALLEY, 0.75, 0.76, 0.75, 0.6, 0.6])
    assert found == pytest.approx(steps_of(3, 6))
    assert told == "swad averaged the weights of epochs 3 to 6"


def test_a_valley_ends_only_where_enough_epochs_in_a_row_are_above_it():
    found, told = averaged([*VALLEY, 0.75, 0.76, 0.74, 0.9, 0.9, 0.9, 0.5])
    assert found == pytest.approx(steps_of(3, 9))
    assert told.endswith("3 to 9")


def test_a_valley_that_does_not_end_goes_on_to_the_last_step():
    found, _ = averaged([*VALLEY, 0.75, 0.76])
    assert found == pytest.approx(steps_of(3, 8))


@pytest.mark.parametrize("losses", [[1.0, 0.9, 0.8, 0.7, 0.6], [1.0, 1.1], [float("nan")] * 5])
def test_without_a_valley_the_best_epoch_is_kept(losses):
    assert averaged(losses) == (None, "swad found no epochs to average: the best epoch is kept")


def test_the_windows_are_those_of_the_options():
    assert averaged([*VALLEY, 0.75, 0.76, 0.75], start=2)[0] == pytest.approx(steps_of(3, 6))
    assert averaged([*VALLEY, 0.75, 0.76, 0.75], end=2)[0] == pytest.approx(steps_of(3, 6))
    assert averaged([*VALLEY, 0.75, 0.76, 0.75], tolerance=0.1)[0] == pytest.approx(steps_of(3, 9))
    assert averaged([*VALLEY, 0.75, 0.76, 0.75], tolerance=0.03)[0] == pytest.approx(steps_of(3, 5))
    assert Swad().model_dump() == {"name": "swad", "start": 3, "end": 9, "tolerance": 0.05}


def test_the_average_is_what_the_head_predicts_with_and_is_said():
    method = make_method(Swad())
    found = train(linear_head, ROWS, VAL, replace(RECIPE, learning_rate=0.3), method, seed=0)
    state = method.final_state()
    assert all(torch.equal(value, state[name]) for name, value in found.head.state_dict().items())
    chances = torch.softmax(torch.from_numpy(logits_of(found.head, VAL.features, VAL.groups)), dim=1)
    assert found.val_loss == pytest.approx(log_loss(VAL.classes, chances[:, 1]), rel=1e-5)
    assert found.val_loss not in found.val_losses
    assert found.notes == method.notes()
    assert "swad averaged the weights of epochs" in found.notes[0]


def test_the_average_of_unsteady_steps_is_better_than_any_of_them():
    recipe = replace(RECIPE, learning_rate=0.5, minimum_learning_rate=0.5, batch_size=8, epochs=25)

    def loss_with(method):
        head = train(linear_head, ROWS, VAL, recipe, method, seed=0).head
        chances = torch.softmax(torch.from_numpy(logits_of(head, TEST.features, TEST.groups)), dim=1)
        return log_loss(TEST.classes, chances[:, 1])

    assert loss_with(make_method(Swad())) < loss_with(Method()) - 0.01


def test_batch_normalisation_is_refused():
    head = Head(nn.BatchNorm1d(6), nn.Linear(6, 2))
    with pytest.raises(UserError, match="batch normalisation"):
        make_method(Swad()).prepare(head, ROWS)


class Bowl(SamMethod):
    """The loss ``w . A w / 2`` of all weights, whatever the batch."""

    def __init__(self, options, steepness):
        super().__init__(options)
        self.steepness = torch.tensor(steepness)

    def loss(self, head, batch):
        weights = torch.cat([one.flatten() for one in head.parameters()])
        return 0.5 * (self.steepness * weights * weights).sum()


def after_a_step(options, weights, steepness, rate=0.1):
    head = Head(nn.Identity(), nn.Linear(1, len(weights), bias=False))
    with torch.no_grad():
        head.classify.weight.copy_(torch.tensor(weights)[:, None])
    optimiser = torch.optim.SGD(head.parameters(), lr=rate)
    loss = Bowl(options, steepness).step(head, BATCH, optimiser)
    return head.classify.weight.detach()[:, 0].numpy(), loss


def test_the_gradient_is_taken_where_the_loss_is_larger_and_the_step_made_from_the_weights():
    w, a = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    found, loss = after_a_step(Sam(rho=0.5), w.tolist(), a.tolist())
    g = a * w
    np.testing.assert_allclose(found, w - 0.1 * a * (w + 0.5 * g / np.linalg.norm(g)), rtol=1e-6)
    assert loss == pytest.approx(0.5 * (a * w * w).sum())


def test_the_adaptive_variant_measures_a_weight_by_its_size():
    w, a = np.array([1.0, -2.0]), np.array([3.0, 0.5])
    found, _ = after_a_step(Sam(rho=0.5, adaptive=True), w.tolist(), a.tolist())
    g = a * w
    away = 0.5 * w**2 * g / np.linalg.norm(np.abs(w) * g)
    np.testing.assert_allclose(found, w - 0.1 * a * (w + away), rtol=1e-6)


@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_gradient_the_weights_stay_as_they_are(adaptive):
    found, _ = after_a_step(Sam(adaptive=adaptive), [0.0, 0.0], [1.0, 1.0])
    assert found.tolist() == [0.0, 0.0]


def test_a_step_without_length_brings_the_weights_back_to_the_bit():
    weights = np.random.default_rng(0).normal(size=50).astype(np.float32).tolist()
    found, _ = after_a_step(Sam(rho=3.0), weights, [0.3] * 50, rate=0.0)
    assert found.tolist() == np.array(weights, np.float32).tolist()


def test_the_optimiser_steps_once_a_batch_with_the_second_gradient():
    method, head = make_method(Sam(rho=0.3)), linear_head()
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)
    weights = [one.detach().clone() for one in head.parameters()]
    method.step(head, BATCH, optimiser)
    states = [optimiser.state[one] for one in head.parameters()]
    assert [int(state["step"]) for state in states] == [1, 1]
    probe = moved(weights)
    first = torch.autograd.grad(method.loss(probe, BATCH), list(probe.parameters()))
    norm = torch.sqrt(sum((one**2).sum() for one in first))
    above = moved([w + 0.3 * g / norm for w, g in zip(weights, first, strict=True)])
    second = torch.autograd.grad(method.loss(above, BATCH), list(above.parameters()))
    for state, gradient in zip(states, second, strict=True):
        np.testing.assert_allclose(state["exp_avg"], 0.1 * gradient, rtol=1e-4, atol=1e-7)


def moved(weights):
    head = linear_head()
    with torch.no_grad():
        for parameter, value in zip(head.parameters(), weights, strict=True):
            parameter.copy_(value)
    return head


def test_both_gradients_leave_out_the_same_units():
    seen = []

    class Watched(nn.Dropout):
        def forward(self, values):
            out = super().forward(values)
            seen.append((out == 0.0).clone())
            return out

    head = Head(Watched(0.5), nn.Linear(6, 2))
    method = make_method(Sam())
    optimiser = torch.optim.SGD(head.parameters(), lr=0.01)
    method.step(head, BATCH, optimiser)
    method.step(head, BATCH, optimiser)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_the_loss_rises_less_around_the_weights_that_are_found():
    everything = batch_of(ROWS.features, ROWS.classes, ROWS.groups)

    def rise(method):
        head = train(mlp_head, ROWS, VAL, RECIPE, method, seed=0).head
        loss = mean_loss(head, everything)
        gradients = torch.autograd.grad(loss, list(head.parameters()))
        norm = torch.sqrt(sum((one**2).sum() for one in gradients))
        with torch.no_grad():
            for weight, gradient in zip(head.parameters(), gradients, strict=True):
                weight += 0.5 * gradient / norm
            return float(mean_loss(head, everything) - loss)

    assert rise(make_method(Sam(rho=0.5))) < 0.7 * rise(Method())


def test_a_head_is_trained_as_well_as_without():
    def loss_with(method):
        head = train(mlp_head, ROWS, VAL, RECIPE, method, seed=0).head
        chances = torch.softmax(torch.from_numpy(logits_of(head, TEST.features, TEST.groups)), dim=1)
        return log_loss(TEST.classes, chances[:, 1])

    assert loss_with(make_method(Sam())) < loss_with(Method()) + 0.01
