"""What all methods that change a representation promise: unknown and absent groups, missing classes, sameness, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from leaking_rows import PARTS, narrow_head, trained
from training_rows import RECIPE, batch_of, linear_head

from evaluator.mitigation.adversary import negative_entropy, read_only, reverse_gradient
from evaluator.mitigation.options import CFair, EnD, Laftr, Lnl, Odr
from evaluator.mitigation.registry import make_method
from evaluator.training.loop import logits_of
from shards.errors import UserError

METHODS = [
    Laftr(),
    Laftr(variant="dp", error="cross_entropy"),
    Laftr(variant="eqopp", of="sick"),
    CFair(),
    Lnl(),
    EnD(),
    Odr(latent=8),
]
every_method = pytest.mark.parametrize("options", METHODS, ids=lambda options: options.label)
ROWS = PARTS[3][0]


def prepared(options, rows=ROWS):
    """Return a method and its head, without random numbers in it."""
    torch.manual_seed(0)
    method = make_method(options)
    head = method.prepare(narrow_head(), rows)
    if options.name == "odr":
        method.of_group.eval()
    return method, head.eval()


def batch(places, *, groups=None):
    rows = ROWS.groups[places] if groups is None else np.full(len(places), groups)
    return batch_of(ROWS.features[places], ROWS.classes[places], rows)


def group_term(method, head, places):
    with torch.no_grad():
        return float(method.loss(head, batch(places)) - method.loss(head, batch(places, groups=-1)))


@every_method
def test_samples_of_unknown_group_are_in_the_tasks_loss_and_in_no_groups(options):
    method, head = prepared(options)
    known, unknown = np.flatnonzero(ROWS.groups >= 0)[:40], np.flatnonzero(ROWS.groups < 0)[:25]
    alone = group_term(method, head, known)
    assert abs(alone) > 1e-4
    assert group_term(method, head, np.concatenate([unknown, known])) == pytest.approx(alone, rel=1e-3)
    with torch.no_grad():
        assert float(method.loss(head, batch(unknown))) > 0.1


@every_method
@pytest.mark.parametrize("what", ["one class", "one group", "nobody known", "one sample", "two samples"])
def test_whatever_a_batch_lacks_loss_and_gradients_are_finite(options, what):
    method, head = prepared(options)
    places = {
        "one class": np.flatnonzero(ROWS.classes == 0)[:20],
        "one group": np.flatnonzero(ROWS.groups == 2)[:20],
        "nobody known": np.flatnonzero(ROWS.groups < 0)[:20],
        "one sample": np.array([0]),
        "two samples": np.array([0, 1]),
    }[what]
    loss = method.loss(head, batch(places))
    loss.backward()
    assert torch.isfinite(loss)
    gradients = [p.grad for p in [*head.parameters(), *method.parameters()] if p.grad is not None]
    assert all(torch.isfinite(one).all() for one in gradients)
    assert any(one.abs().sum() > 0 for one in gradients)


@every_method
def test_training_and_predicting_give_the_same_bits_again(options):
    first, _ = trained(options, recipe=replace(RECIPE, epochs=2))
    again, _ = trained(options, recipe=replace(RECIPE, epochs=2))
    test = PARTS[2][3]
    logits = logits_of(first, test.features, test.groups)
    assert np.array_equal(logits, logits_of(first, test.features, test.groups))
    assert np.array_equal(logits, logits_of(again, test.features, test.groups))


@every_method
def test_a_head_that_takes_features_as_they_are_is_refused(options):
    with pytest.raises(UserError, match=rf"{options.name} changes what a head represents.*mlp_probe"):
        make_method(options).prepare(linear_head(), ROWS)


@pytest.mark.parametrize("options", [Laftr(), CFair(), Lnl(), Odr()], ids=lambda options: options.label)
@pytest.mark.parametrize(("kept", "named"), [(1, "b"), (7, "none")])
def test_one_group_is_nothing_to_hide(options, kept, named):
    alone = replace(ROWS, groups=np.where(ROWS.groups == kept, kept, -1))
    with pytest.raises(UserError, match=rf"{options.name} .*at least two, found {named}\."):
        make_method(options).prepare(narrow_head(), alone)


@pytest.mark.parametrize("options", [Laftr(), CFair(), Lnl(), Odr()], ids=lambda options: options.label)
def test_a_group_that_train_lacks_has_no_output(options):
    two = replace(ROWS, groups=np.where(ROWS.groups == 1, -1, ROWS.groups))
    method, head = prepared(options, two)
    assert max(p.shape[0] for p in method.parameters() if p.dim() == 1 and p.shape[0] < 4) == 2
    known = np.flatnonzero(two.groups >= 0)[:30]
    loss = method.loss(head, batch_of(two.features[known], two.classes[known], two.groups[known]))
    assert torch.isfinite(loss)


def test_a_reversed_gradient_leaves_values_as_they_are():
    values = torch.tensor([1e8, -3.0, 1e-30], requires_grad=True)
    read = reverse_gradient(values, 0.5)
    assert torch.equal(read, values)
    read.sum().backward()
    assert torch.equal(values.grad, torch.full((3,), -0.5))


def test_an_entropy_is_finite_where_a_posterior_is_sure():
    sure = torch.tensor([[1e4, -1e4], [0.0, 0.0]], requires_grad=True)
    found = negative_entropy(sure)
    found.backward()
    assert float(found.detach()) == pytest.approx(-np.log(2) / 2)
    assert torch.isfinite(sure.grad).all()
    assert float(negative_entropy(torch.zeros(0, 3))) == 0.0


def test_a_reader_that_is_only_read_gets_no_gradient():
    reader, values = torch.nn.Linear(3, 2), torch.ones(4, 3, requires_grad=True)
    read = read_only(reader, values)
    assert torch.equal(read, reader(values))
    read.square().sum().backward()
    assert reader.weight.grad is None
    assert values.grad.abs().sum() > 0
