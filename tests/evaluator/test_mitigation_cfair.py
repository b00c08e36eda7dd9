"""CFair: balanced by class and by group in each, an adversary per class, and a planted leak."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from leaking_rows import PARTS, gap_of_rates, how_well_the_group_is_read, narrow_head, trained
from training_rows import batch_of

from evaluator.mitigation.method import sample_losses
from evaluator.mitigation.options import CFair, Erm
from evaluator.mitigation.registry import make_method
from shards.errors import UserError

ROWS = PARTS[2][0]
BATCH = batch_of(ROWS.features, ROWS.classes, ROWS.groups)
KNOWN = ROWS.groups >= 0


def prepared(options=None, rows=ROWS):
    torch.manual_seed(0)
    method = make_method(options or CFair())
    return method, method.prepare(narrow_head(), rows)


def terms(head, method):
    """Return the balanced cross entropy and the adversaries' over all training rows: means of means."""
    z = head.represent(BATCH.features)
    losses = sample_losses(head.classify(z), BATCH.classes)
    task = torch.stack([losses[BATCH.classes == y].mean() for y in (0, 1)]).mean()
    of_class = []
    for y in (0, 1):
        errors = sample_losses(method.adversaries[str(y)](z[KNOWN]), BATCH.groups[KNOWN])
        cells = [(BATCH.groups[KNOWN] == a) & (BATCH.classes[KNOWN] == y) for a in (0, 1)]
        of_class.append(torch.stack([errors[cell].mean() for cell in cells]).mean())
    return task, torch.stack(of_class).mean()


def test_classes_count_the_same_and_groups_in_a_class_do():
    method, head = prepared()
    with torch.no_grad():
        task, adversaries = terms(head, method)
        assert float(method.loss(head, BATCH)) == pytest.approx(float(task + adversaries), rel=1e-5)


def test_weights_are_of_groups_in_a_class_and_not_of_classes_in_a_group():
    method, _ = prepared()
    for y in (0, 1):
        of = KNOWN & (ROWS.classes == y)
        for a in (0, 1):
            share = (ROWS.groups[of] == a).mean()
            assert float(method.group_weights[a, y]) == pytest.approx(1.0 / (2.0 * share), rel=1e-5)


def test_adversaries_descend_and_the_representation_ascends_by_mu():
    method, head = prepared(CFair(mu=0.3))
    space, own = list(head.represent.parameters()), method.parameters()
    found = torch.autograd.grad(method.loss(head, BATCH), [*space, *own])
    task, adversaries = terms(head, method)
    of_task = torch.autograd.grad(task, space, retain_graph=True)
    of_adversaries = torch.autograd.grad(adversaries, [*space, *own])
    for place in range(len(space)):
        wanted = of_task[place] - 0.3 * of_adversaries[place]
        torch.testing.assert_close(found[place], wanted, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[len(space) :], of_adversaries[len(space) :], rtol=1e-3, atol=1e-5)


def test_a_class_that_the_batch_lacks_is_in_no_mean():
    method, head = prepared()
    of = KNOWN & (ROWS.classes == 1)
    batch = batch_of(ROWS.features[of], ROWS.classes[of], ROWS.groups[of])
    with torch.no_grad():
        z = head.represent(batch.features)
        errors = sample_losses(method.adversaries["1"](z), batch.groups)
        wanted = torch.stack([errors[batch.groups == a].mean() for a in (0, 1)]).mean()
        task = float(method.class_weights[1] * sample_losses(head.classify(z), batch.classes).mean())
        assert float(method.loss(head, batch)) - task == pytest.approx(float(wanted), rel=1e-3)


def test_a_class_of_one_group_has_no_adversary():
    alone = replace(ROWS, groups=np.where((ROWS.groups == 1) & (ROWS.classes == 0), 0, ROWS.groups))
    method, head = prepared(rows=alone)
    assert list(method.adversaries) == ["1"]
    assert method.notes() == (
        "no group is hidden within healthy: train has samples of fewer than two groups there",
    )
    assert prepared()[0].notes() == ()
    assert torch.isfinite(method.loss(head, batch_of(alone.features, alone.classes, alone.groups)))


def test_groups_that_are_the_classes_cannot_be_hidden_within_classes():
    same = replace(ROWS, groups=ROWS.classes)
    with pytest.raises(UserError, match="no class has training samples of two groups"):
        prepared(rows=same)


def test_the_group_is_read_less_well_and_rates_are_closer():
    plain, _ = trained(Erm(), seed=1)
    hidden, _ = trained(CFair(mu=3.0), seed=1)
    assert how_well_the_group_is_read(hidden) < how_well_the_group_is_read(plain) - 0.15
    assert gap_of_rates(hidden) < gap_of_rates(plain) - 0.15
