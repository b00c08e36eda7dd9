"""Domain-independent training: a classifier per group, predictions without groups."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from training_rows import RECIPE, batch_of, linear_head, mlp_head, unfair_rows

from evaluator.mitigation.method import Method, mean_loss
from evaluator.mitigation.options import DomainInd
from evaluator.mitigation.registry import make_method
from evaluator.training.loop import logits_of, train
from shards.errors import UserError

ROWS, VAL, TEST = unfair_rows(500, seed=0), unfair_rows(300, seed=1), unfair_rows(3000, seed=2)


def prepared(head=None, rows=ROWS):
    method = make_method(DomainInd())
    return method, method.prepare(head or mlp_head(), rows)


def test_classifiers_that_agree_predict_what_one_does():
    plain = mlp_head()
    _, head = prepared(copy.deepcopy(plain))
    expected = logits_of(plain.eval(), VAL.features, VAL.groups)
    np.testing.assert_allclose(
        logits_of(head.eval(), VAL.features, VAL.groups), expected, rtol=1e-5, atol=1e-6
    )


def test_a_prediction_is_the_mean_of_the_classifiers_whatever_the_group():
    torch.manual_seed(0)
    _, head = prepared(linear_head())
    for classify in head.classify.of.values():
        torch.nn.init.normal_(classify.weight)
    expected = sum(
        VAL.features @ one.weight.detach().numpy().T + one.bias.detach().numpy()
        for one in head.classify.of.values()
    )
    for groups in (VAL.groups, np.full_like(VAL.groups, -1), 1 - VAL.groups.clip(0)):
        np.testing.assert_allclose(
            logits_of(head.eval(), VAL.features, groups), expected / 2, rtol=1e-4, atol=1e-5
        )


def test_a_sample_trains_the_classifier_of_its_group_and_no_other():
    method, head = prepared(linear_head())
    one = batch_of(ROWS.features[:8], ROWS.classes[:8], [1] * 8)
    method.loss(head, one).backward()
    assert head.classify.of["0"].weight.grad is None
    assert head.classify.of["1"].weight.grad.abs().sum() > 0


def test_every_sample_has_the_loss_of_its_own_classifier():
    torch.manual_seed(0)
    method, head = prepared(linear_head())
    for classify in head.classify.of.values():
        torch.nn.init.normal_(classify.weight)
    groups = [1, -1, 0, 1, 0]
    weights = [1.0, 2.0, 0.5, 1.0, 3.0]
    batch = batch_of(ROWS.features[:5], ROWS.classes[:5], groups, weights)
    logits = {g: head.classify.of[str(g)](batch.features).detach() for g in (0, 1)}
    logits[-1] = (logits[0] + logits[1]) / 2
    losses = [float(-torch.log_softmax(logits[g][k], dim=0)[ROWS.classes[k]]) for k, g in enumerate(groups)]
    with torch.no_grad():
        assert float(method.loss(head, batch)) == pytest.approx(np.average(losses, weights=weights), rel=1e-5)


def test_samples_of_unknown_group_train_what_a_prediction_is():
    method, head = prepared(linear_head())
    unknown = batch_of(ROWS.features[:8], ROWS.classes[:8], [-1] * 8)
    loss = method.loss(head, unknown)
    with torch.no_grad():
        assert loss.item() == pytest.approx(mean_loss(head, unknown).item())
    loss.backward()
    assert all(one.weight.grad.abs().sum() > 0 for one in head.classify.of.values())


def test_a_group_that_train_does_not_have_is_in_no_mean():
    rows = replace(
        ROWS, group_names=("common", "nobody", "rare"), groups=np.where(ROWS.groups == 1, 2, ROWS.groups)
    )
    method, head = prepared(linear_head(), rows)
    assert set(head.classify.of) == {"0", "2"}
    batch = batch_of(ROWS.features[:2], ROWS.classes[:2], [1, 0])
    assert torch.isfinite(method.loss(head, batch))


def test_nothing_is_made_where_there_is_nothing_to_train_for_groups():
    with pytest.raises(UserError, match="that of none is known"):
        prepared(rows=replace(ROWS, groups=np.full_like(ROWS.groups, -1)))
    fixed = linear_head()
    fixed.classify.requires_grad_(False)
    with pytest.raises(UserError, match="that of this usage is fixed"):
        prepared(fixed)


def areas(method):
    head = train(linear_head, ROWS, VAL, RECIPE, method, seed=0).head
    score = np.diff(logits_of(head, TEST.features, TEST.groups), axis=1)[:, 0]
    return [roc_auc_score(TEST.classes[TEST.groups == g], score[TEST.groups == g]) for g in (0, 1)]


def test_the_group_that_plain_training_fails_is_served_better():
    plain, better = areas(Method()), areas(make_method(DomainInd()))
    assert better[1] > plain[1] + 0.1
    assert better[0] > 0.8
