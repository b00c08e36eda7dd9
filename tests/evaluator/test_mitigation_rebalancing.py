"""Resampling, reweighting and GroupDRO: published formulas, absent and unknown groups, a planted unfairness."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from training_rows import RECIPE, Fixed, batch_of, linear_head, unfair_rows

from evaluator.mitigation.method import Method, mean_loss
from evaluator.mitigation.options import GroupDro, Resampling, Reweighting
from evaluator.mitigation.registry import make_method
from evaluator.training.loop import batches, logits_of, train
from shards.errors import UserError

ROWS, VAL, TEST = unfair_rows(500, seed=0), unfair_rows(300, seed=1), unfair_rows(3000, seed=2)


@pytest.mark.parametrize("by", ["group", "class", "group_class"])
def test_resampling_draws_every_cell_equally_often(by):
    method = make_method(Resampling(by=by))
    chance = method.sampling(ROWS)
    assert chance.sum() == pytest.approx(1.0)
    cells = {"group": ROWS.groups, "class": ROWS.classes, "group_class": 2 * ROWS.groups + ROWS.classes}[by]
    known = np.ones(len(cells), bool) if by == "class" else ROWS.groups >= 0
    shares = [chance[known & (cells == cell)].sum() for cell in np.unique(cells[known])]
    np.testing.assert_allclose(shares, shares[0])
    np.testing.assert_allclose(chance[~known], 1.0 / len(cells))


def test_drawn_batches_have_the_shares_that_were_asked_for():
    drawn = np.concatenate(
        [
            b.groups.numpy()
            for e in range(40)
            for b in batches(ROWS, make_method(Resampling()), 64, seed=0, epoch=e)
        ]
    )
    known = drawn[drawn >= 0]
    assert (known == 1).mean() == pytest.approx(0.5, abs=0.02)
    assert len(drawn) == 40 * len(ROWS.classes)


def test_reweighting_makes_group_and_class_independent():
    weights = make_method(Reweighting()).weights(ROWS)
    known = ROWS.groups >= 0
    table = np.zeros((2, 2))
    np.add.at(table, (ROWS.groups[known], ROWS.classes[known]), weights[known])
    np.testing.assert_allclose(table * table.sum(), np.outer(table.sum(axis=1), table.sum(axis=0)))
    np.testing.assert_array_equal(weights[~known], 1.0)
    count = known.sum()
    of = (ROWS.groups == 1) & (ROWS.classes == 0)
    expected = (
        (ROWS.groups == 1).sum() / count * ((ROWS.classes == 0) & known).sum() / count / (of.sum() / count)
    )
    np.testing.assert_allclose(weights[of], expected)


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        (Resampling(), "rare"),
        (Resampling(by="group_class"), "rare and healthy"),
        (Reweighting(), "rare and healthy"),
    ],
)
def test_a_cell_without_samples_is_named(options, cell):
    nobody = replace(ROWS, groups=np.where(ROWS.groups == 1, 0, ROWS.groups))
    method = make_method(options)
    with pytest.raises(UserError, match=f"no training sample is {cell}"):
        method.weights(nobody) if isinstance(options, Reweighting) else method.sampling(nobody)


def dro(eta=0.01, adjustment=0.0, groups=3):
    rows = replace(ROWS, groups=np.arange(len(ROWS.classes)) % groups, group_names=tuple("abc"[:groups]))
    method = make_method(GroupDro(eta=eta, adjustment=adjustment))
    method.prepare(linear_head(), rows)
    return method


def test_group_weights_are_those_of_the_paper():
    method = dro()
    losses = [0.2, 0.5, 0.9]
    loss = method.loss(Fixed(), batch_of([[one] for one in losses], [0, 0, 0], [0, 1, 2]))
    np.testing.assert_allclose(method.shares, [0.33222271, 0.33322087, 0.33455642], rtol=1e-6)
    assert float(loss) == pytest.approx(0.53415576, rel=1e-6)


def test_a_group_that_is_absent_keeps_its_share_and_is_in_no_sum():
    method = dro(eta=1.0)
    loss = method.loss(Fixed(), batch_of([[0.2], [0.9]], [0, 0], [0, 2]))
    assert float(method.shares[1]) == pytest.approx(1 / 3)
    assert float(method.shares.sum()) == pytest.approx(1.0)
    grown = np.exp([0.2, 0.9])
    assert float(loss) == pytest.approx(grown @ [0.2, 0.9] / grown.sum(), rel=1e-5)


def test_samples_of_unknown_group_are_learned_from_and_belong_to_nobody():
    method = dro(eta=1.0)
    loss = method.loss(Fixed(), batch_of([[0.4], [0.4], [0.7], [0.9]], [0] * 4, [-1, -1, -1, -1]))
    assert float(loss) == pytest.approx(0.6, rel=1e-5)
    np.testing.assert_allclose(method.shares, 1 / 3)
    loss = method.loss(Fixed(), batch_of([[0.4], [0.8]], [0, 0], [-1, 1]))
    assert float(loss) == pytest.approx(0.6, rel=1e-5)


def test_the_adjustment_favours_small_groups_in_choosing_only():
    method = dro(adjustment=5.0, eta=1.0, groups=2)
    rows = replace(ROWS, groups=np.arange(500) // 450, group_names=("large", "small"))
    method.prepare(linear_head(), rows)
    loss = method.loss(Fixed(), batch_of([[0.5], [0.5]], [0, 0], [0, 1]))
    assert float(method.shares[1]) > float(method.shares[0])
    assert float(loss) == pytest.approx(0.5, rel=1e-5)


def test_with_one_group_it_is_plain_training():
    method, head = dro(groups=1), linear_head()
    batch = batch_of(ROWS.features, ROWS.classes, np.zeros(len(ROWS.classes), np.int64))
    with torch.no_grad():
        assert float(method.loss(head, batch)) == pytest.approx(float(mean_loss(head, batch)), rel=1e-6)


def areas(method):
    head = train(linear_head, ROWS, VAL, RECIPE, method, seed=0).head
    score = np.diff(logits_of(head, TEST.features, TEST.groups), axis=1)[:, 0]
    return [roc_auc_score(TEST.classes[TEST.groups == g], score[TEST.groups == g]) for g in (0, 1)]


@pytest.mark.parametrize("options", [Resampling(), GroupDro(eta=0.5)], ids=["resampling", "group_dro"])
def test_the_group_that_plain_training_fails_is_served_better(options):
    plain, better = areas(Method()), areas(make_method(options))
    assert better[1] > plain[1] + 0.01
    assert better[0] > 0.8
