"""LAFTR: published formula, an adversary that is one, and a planted leak."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from leaking_rows import PARTS, gap_of_rates, how_well_the_group_is_read, narrow_head, represent, trained
from torch.nn.functional import one_hot
from training_rows import batch_of

from evaluator.mitigation.method import mean_loss
from evaluator.mitigation.options import Erm, Laftr
from evaluator.mitigation.registry import make_method
from evaluator.training.head import Head
from evaluator.training.rows import TrainingRows
from shards.errors import UserError

ROWS = PARTS[2][0]
BATCH = batch_of(ROWS.features, ROWS.classes, ROWS.groups)
KNOWN = ROWS.groups >= 0


def prepared(options, rows=ROWS):
    torch.manual_seed(0)
    method = make_method(options)
    return method, method.prepare(narrow_head(), rows)


def test_every_cell_of_group_and_class_counts_the_same():
    method, _ = prepared(Laftr())
    for group in (0, 1):
        for place in (0, 1):
            of = (ROWS.groups == group) & (ROWS.classes == place)
            assert float(method.cell_weights[group, place]) == pytest.approx(KNOWN.sum() / of.sum())


def expected(options, head, method):
    """Return the discriminator's weighted error as in the paper, with a sigmoid."""
    z = head.represent(BATCH.features[KNOWN])
    groups, classes = BATCH.groups[KNOWN], BATCH.classes[KNOWN]
    read = torch.cat([z, one_hot(classes, 2).float()], dim=1) if options.variant == "eqodd" else z
    logits = method.discriminator(read)
    wrong = (groups - torch.sigmoid(logits[:, 1] - logits[:, 0])).abs()
    total = 0.0
    for group in (0, 1):
        if options.variant == "dp":
            total = total + wrong[groups == group].mean()
            continue
        for place in (0, 1) if options.variant == "eqodd" else (1,):
            total = total + wrong[(groups == group) & (classes == place)].mean()
    return total


VARIANTS = [Laftr(), Laftr(variant="dp"), Laftr(variant="eqopp", of="sick")]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: options.label)
def test_the_error_is_the_sum_of_the_cells_mean_absolute_errors(options):
    method, head = prepared(options)
    with torch.no_grad():
        added = float(method.loss(head, BATCH) - mean_loss(head, BATCH))
        assert added == pytest.approx(float(expected(options, head, method)), rel=1e-4)


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: options.label)
def test_the_discriminator_descends_its_error_and_the_representation_ascends_it(options):
    options = options.model_copy(update={"fairness": 0.7, "task": 2.0})
    method, head = prepared(options)
    space, own = list(head.represent.parameters()), method.parameters()
    found = torch.autograd.grad(method.loss(head, BATCH), [*space, *own])
    error = torch.autograd.grad(expected(options, head, method), [*space, *own])
    task = torch.autograd.grad(mean_loss(head, BATCH), space)
    for place in range(len(space)):
        wanted = 2.0 * task[place] - 0.7 * error[place]
        torch.testing.assert_close(found[place], wanted, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found[len(space) :], error[len(space) :], rtol=1e-3, atol=1e-5)


def crossed(count=400, seed=0):
    """Rows whose group is the exclusive or of two features: no line tells it."""
    stream = np.random.default_rng(seed)
    features = stream.normal(size=(count, 2)).astype(np.float32)
    groups = ((features[:, 0] > 0) ^ (features[:, 1] > 0)).astype(np.int64)
    return batch_of(features, stream.integers(0, 2, count), groups)


@pytest.mark.parametrize("error", ["absolute", "cross_entropy"])
def test_a_discriminator_that_hides_nothing_learns_what_no_line_tells(error):
    batch = crossed()
    torch.manual_seed(0)
    space = torch.nn.Linear(2, 2)
    with torch.no_grad():
        space.weight.copy_(torch.eye(2))
    rows = TrainingRows(
        batch.features.numpy(), batch.classes.numpy(), batch.groups.numpy(), ("healthy", "sick"), ("a", "b")
    )
    method = make_method(Laftr(variant="dp", fairness=0.0, error=error))
    head = method.prepare(Head(space, torch.nn.Linear(2, 2)), rows)
    optimiser = torch.optim.AdamW([*head.parameters(), *method.parameters()], lr=0.02)
    for _ in range(100):
        method.step(head, batch, optimiser)
    with torch.no_grad():
        called = method.discriminator(head.represent(batch.features)).argmax(dim=1)
    assert float((called == batch.groups).float().mean()) > 0.9


def test_at_coefficient_zero_the_representation_is_that_of_plain_training():
    method, head = prepared(Laftr(fairness=0.0))
    space = list(head.represent.parameters())
    found = torch.autograd.grad(method.loss(head, BATCH), space)
    torch.testing.assert_close(found, torch.autograd.grad(mean_loss(head, BATCH), space))


def test_a_step_is_no_longer_than_the_largest_norm():
    method, head = prepared(Laftr(clip=0.01))
    sides = [list(head.parameters()), method.parameters()]
    before = [[p.detach().clone() for p in side] for side in sides]
    method.step(head, BATCH, torch.optim.SGD([*sides[0], *sides[1]], lr=1.0))
    for side, old in zip(sides, before, strict=True):
        moved = torch.cat([(p.detach() - q).flatten() for p, q in zip(side, old, strict=True)])
        assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


def test_the_class_is_told_for_equalised_odds_only():
    for options, width in zip(VARIANTS, (6, 4, 4), strict=True):
        method, _ = prepared(options)
        assert method.discriminator.layers[0].in_features == width


def test_equal_opportunity_does_not_look_at_the_other_class():
    method, head = prepared(Laftr(variant="eqopp", of="sick"))
    healthy = KNOWN & (ROWS.classes == 0)
    batch = batch_of(ROWS.features[healthy], ROWS.classes[healthy], ROWS.groups[healthy])
    with torch.no_grad():
        assert float(method.loss(head, batch)) == pytest.approx(float(mean_loss(head, batch)), rel=1e-5)


def test_more_than_two_groups_are_told_by_cross_entropy():
    rows = PARTS[3][0]
    method, head = prepared(Laftr(variant="dp"), rows)
    batch = batch_of(rows.features, rows.classes, rows.groups)
    known = rows.groups >= 0
    with torch.no_grad():
        logs = torch.log_softmax(method.discriminator(head.represent(batch.features[known])), dim=1)
        groups = batch.groups[known]
        wanted = sum(-logs[groups == g, g].mean() for g in range(3))
        added = method.loss(head, batch) - mean_loss(head, batch)
    assert float(added) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "groups"),
    [(Laftr(error="cross_entropy"), 2), (Laftr(variant="dp"), 3)],
    ids=["two groups", "three groups"],
)
def test_the_group_is_read_less_well(options, groups):
    plain, _ = trained(Erm(), groups=groups)
    hidden, _ = trained(options, groups=groups)
    assert how_well_the_group_is_read(plain, groups) > 0.9
    assert how_well_the_group_is_read(hidden, groups) < 0.8
    if groups == 2:
        assert gap_of_rates(hidden) < gap_of_rates(plain) - 0.15
        assert represent(hidden, PARTS[2][3]).std() > 0.1


def test_what_cannot_be_hidden_is_refused():
    with pytest.raises(UserError, match=r"class 'ill'; train has healthy, sick\."):
        prepared(Laftr(variant="eqopp", of="ill"))
    with pytest.raises(ValueError, match="with variant 'eqopp' and only with it"):
        Laftr(variant="eqopp")
    with pytest.raises(ValueError, match="with variant 'eqopp' and only with it"):
        Laftr(of="sick")


def test_one_group_with_the_class_is_refused():
    groups = np.where((ROWS.groups == 1) & (ROWS.classes == 1), 0, ROWS.groups)
    with pytest.raises(UserError, match="'sick' in at least two groups"):
        prepared(Laftr(variant="eqopp", of="sick"), replace(ROWS, groups=groups))
