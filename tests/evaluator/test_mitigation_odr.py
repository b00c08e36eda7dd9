"""ODR: analytic divergences with gradients, draws in training and none in a prediction, branches that are kept apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from leaking_rows import PARTS, narrow_head, represent, trained
from torch.distributions import Normal, kl_divergence
from training_rows import RECIPE, batch_of

from evaluator.mitigation.options import Odr
from evaluator.mitigation.registry import make_method
from evaluator.training.head import Head
from evaluator.training.loop import logits_of
from shards.errors import UserError

ROWS = PARTS[2][0]
BATCH = batch_of(ROWS.features, ROWS.classes, ROWS.groups)
NOBODY = batch_of(ROWS.features, ROWS.classes, np.full(len(ROWS.classes), -1))
NOTHING = {"lambda_e": 0.0, "lambda_od": 0.0, "latent": 8}


def prepared(**options):
    torch.manual_seed(0)
    method = make_method(Odr(**{"latent": 8} | options))
    return method, method.prepare(narrow_head(), ROWS)


def without_draws(method, head):
    method.of_group.eval()
    return head.eval()


def gradients(method, head, batch, parameters):
    return torch.autograd.grad(method.loss(head, batch), parameters, allow_unused=True)


def test_divergences_are_those_of_normal_distributions():
    method, _ = prepared()
    values = torch.randn(5, 4)
    for branch in (method.of_target, method.of_group):
        with torch.no_grad():
            own = Normal(branch.mean(values), (0.5 * branch.log_variance(values)).exp())
            wanted = kl_divergence(own, Normal(branch.prior_mean, 1.0)).sum(dim=1)
            torch.testing.assert_close(branch.divergence(values), wanted)


def test_divergences_have_gradients_through_mean_and_variance():
    method, _ = prepared()
    for branch in (method.of_target, method.of_group):
        branch.divergence(torch.randn(5, 4)).sum().backward()
        assert branch.mean.weight.grad.abs().sum() > 0
        assert branch.log_variance.weight.grad.abs().sum() > 0


def test_a_draw_has_gradients_through_mean_and_variance():
    method, head = prepared(**NOTHING)
    branch = method.of_target
    found = gradients(method, head, NOBODY, [branch.mean.weight, branch.log_variance.weight])
    assert all(one.abs().sum() > 0 for one in found)


def test_the_priors_means_are_orthogonal():
    method, _ = prepared()
    assert method.of_target.prior_mean.tolist() == [1.0] + [0.0] * 7
    assert method.of_group.prior_mean.tolist() == [0.0] + [1.0] * 7


def test_training_draws_and_a_prediction_does_not():
    head, _ = trained(Odr(latent=8), recipe=replace(RECIPE, epochs=2))
    test = PARTS[2][3]
    first = logits_of(head, test.features, test.groups)
    assert np.array_equal(first, logits_of(head, test.features, test.groups))
    assert np.array_equal(represent(head, test), represent(head, test))
    head.train()
    assert not np.array_equal(represent(head, test), represent(head, test))


def test_a_draw_has_the_mean_and_the_variance_that_it_says():
    method, _ = prepared()
    values = torch.randn(1, 4).expand(20_000, 4)
    with torch.no_grad():
        drawn = method.of_target(values)
        mean, variance = (
            method.of_target.mean(values[:1])[0],
            method.of_target.log_variance(values[:1])[0].exp(),
        )
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), variance, atol=0, rtol=0.1)


def test_the_groups_branch_does_not_train_what_it_is_read_from():
    method, head = prepared(**NOTHING)
    without_draws(method, head)
    trunk = list(method._trunk.parameters())
    torch.testing.assert_close(gradients(method, head, BATCH, trunk), gradients(method, head, NOBODY, trunk))
    own = gradients(method, head, BATCH, [method.of_group.mean.weight, method.predictor.layers[0].weight])
    assert all(one.abs().sum() > 0 for one in own)


def test_the_entropy_of_the_groups_posterior_grows_and_does_not_train_the_classifier():
    method, head = prepared(**NOTHING | {"lambda_e": 1.0})
    silent, other = prepared(**NOTHING)
    without_draws(method, head)
    without_draws(silent, other)
    classifier = list(method.predictor.parameters())
    same = gradients(silent, other, BATCH, list(silent.predictor.parameters()))
    torch.testing.assert_close(gradients(method, head, BATCH, classifier), same)

    with torch.no_grad():
        for parameter in classifier:
            parameter *= 3.0
        for parameter in silent.predictor.parameters():
            parameter *= 3.0
    space = list(method.of_target.mean.parameters())
    added = [
        one - plain
        for one, plain in zip(
            gradients(method, head, BATCH, space),
            gradients(silent, other, BATCH, list(silent.of_target.mean.parameters())),
            strict=True,
        )
    ]
    before = entropy(method, head)
    with torch.no_grad():
        for parameter, gradient in zip(space, added, strict=True):
            parameter -= 0.05 * gradient / gradient.norm()
    assert entropy(method, head) > before


def entropy(method, head):
    with torch.no_grad():
        chances = torch.softmax(method.predictor(head.represent(BATCH.features[ROWS.groups >= 0])), dim=1)
        return float(-(chances * chances.log()).sum(dim=1).mean())


def test_coefficients_change_by_their_factors_every_so_many_epochs():
    method, head = prepared(lambda_od=0.4, gamma_od=0.25, lambda_e=0.0, step=2)
    without_draws(method, head)
    silent, other = prepared(**NOTHING)
    without_draws(silent, other)
    with torch.no_grad():
        bare = float(silent.loss(other, NOBODY))
        found = []
        for _ in range(3):
            found.append(float(method.loss(head, NOBODY)) - bare)
            method.after_epoch(head, 0.0)
        values = method._trunk(NOBODY.features)
        whole = float((method.of_target.divergence(values) + method.of_group.divergence(values)).mean())
    np.testing.assert_allclose(found, [0.4 * whole, 0.2 * whole, 0.1 * whole], rtol=1e-4)


def test_the_saved_head_holds_what_a_prediction_needs_and_not_the_groups_branch():
    method, head = prepared()
    own = {id(parameter) for parameter in method.parameters()}
    assert own.isdisjoint(id(parameter) for parameter in head.parameters())
    assert {id(p) for p in method._trunk.parameters()} <= {id(p) for p in head.parameters()}
    assert head.classify.weight.shape == (2, 8)


def test_a_classifier_that_is_no_linear_one_is_refused():
    plain = narrow_head()
    head = Head(plain.represent, torch.nn.Sequential(plain.classify))
    with pytest.raises(UserError, match=r"odr puts a linear classifier in place.*mlp_probe"):
        make_method(Odr()).prepare(head, ROWS)


def test_the_group_is_told_by_its_own_branch_and_less_surely_by_the_targets():
    groups = torch.from_numpy(ROWS.groups[ROWS.groups >= 0])
    short = replace(RECIPE, epochs=10)
    made = {
        weight: trained(Odr(latent=8, lambda_e=weight, gamma_e=1.0), recipe=short) for weight in (0.0, 5.0)
    }
    for head, method in made.values():
        method.of_group.eval()
        with torch.no_grad():
            values = method.of_group(method._trunk(BATCH.features[ROWS.groups >= 0]))
            called = method.predictor(values).argmax(dim=1)
        assert float((called == groups).float().mean()) > 0.85
        assert torch.isfinite(head.classify.weight).all()
    unsure = {weight: entropy(method, head) for weight, (head, method) in made.items()}
    assert unsure[5.0] > unsure[0.0] + 0.02
