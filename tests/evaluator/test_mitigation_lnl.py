"""LNL: the predictor learns, the representation hides, the posterior becomes flat; a planted leak."""

import pytest
import torch
from leaking_rows import PARTS, gap_of_rates, how_well_the_group_is_read, narrow_head, trained
from training_rows import batch_of

from evaluator.mitigation.method import mean_loss, sample_losses
from evaluator.mitigation.options import Erm, Lnl
from evaluator.mitigation.registry import make_method

ROWS = PARTS[3][0]
BATCH = batch_of(ROWS.features, ROWS.classes, ROWS.groups)
KNOWN = ROWS.groups >= 0


def prepared(options):
    torch.manual_seed(0)
    method = make_method(options)
    return method, method.prepare(narrow_head(), ROWS)


def terms(head, method):
    """Return the mean of sum p log p of the group's posterior, and the cross entropy of the group."""
    logits = method.predictor(head.represent(BATCH.features[KNOWN]))
    chances = torch.softmax(logits, dim=1)
    return (chances * chances.log()).sum(dim=1).mean(), sample_losses(logits, BATCH.groups[KNOWN]).mean()


def test_the_loss_is_the_sum_of_its_terms():
    method, head = prepared(Lnl(lambda_e=0.4))
    with torch.no_grad():
        told, found = terms(head, method)
        wanted = mean_loss(head, BATCH) + 0.4 * told + found
        assert float(method.loss(head, BATCH)) == pytest.approx(float(wanted), rel=1e-5)


def test_the_representation_flattens_the_posterior_and_hides_and_the_predictor_only_finds():
    method, head = prepared(Lnl(lambda_e=0.4, reversal=0.7))
    space, own = list(head.represent.parameters()), method.parameters()
    got = torch.autograd.grad(method.loss(head, BATCH), [*space, *own])
    told, found = terms(head, method)
    of_told = torch.autograd.grad(told, space, retain_graph=True)
    of_found = torch.autograd.grad(found, [*space, *own])
    of_task = torch.autograd.grad(mean_loss(head, BATCH), space)
    for place in range(len(space)):
        wanted = of_task[place] + 0.4 * of_told[place] - 0.7 * of_found[place]
        torch.testing.assert_close(got[place], wanted, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(got[len(space) :], of_found[len(space) :], rtol=1e-3, atol=1e-5)


def test_the_predictor_is_trained_with_the_head():
    head, method = trained(Lnl(lambda_e=0.0, reversal=0.0))
    test = PARTS[2][3]
    with torch.no_grad():
        called = method.predictor(head.represent(torch.from_numpy(test.features))).argmax(dim=1)
    assert float((called.numpy() == test.groups).mean()) > 0.8


def test_the_group_is_read_less_well_and_rates_are_closer():
    plain, _ = trained(Erm())
    hidden, _ = trained(Lnl())
    assert how_well_the_group_is_read(hidden) < 0.75 < 0.9 < how_well_the_group_is_read(plain)
    assert gap_of_rates(hidden) < gap_of_rates(plain) - 0.15
