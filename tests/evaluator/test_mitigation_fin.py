"""Normalisation per group: its formula, unknown groups, and that predictions are told groups only where a method says so."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from training_rows import RECIPE, embeddings, linear_head, mlp_head, unfair_rows

from evaluator.mitigation.fin import GroupNormalisation
from evaluator.mitigation.method import Method
from evaluator.mitigation.options import DomainInd, Fin, GroupDro
from evaluator.mitigation.registry import make_method
from evaluator.training.loop import logits_of, train
from evaluator.training.rows import TrainingRows
from evaluator.usages import mlp_probe
from evaluator.usages.trained import SampleGroups, fit, predict_table
from evaluator.usages.training_options import MlpProbeOptions
from shards.card import Target
from shards.errors import UserError

ROWS = unfair_rows(200)


def normalisation(momentum=0.3, groups=3, seen=(0, 2)):
    torch.manual_seed(0)
    made = GroupNormalisation(4, groups, seen, momentum)
    with torch.no_grad():
        made.mean.normal_()
        made.spread.normal_()
    return made


def test_values_are_normalised_by_the_numbers_of_their_group():
    made = normalisation()
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    groups, place = np.array([0, 2, 2, 0, 2]), np.array([0, 1, 1, 0, 1])
    mean, spread = made.mean.detach().numpy()[place], made.spread.detach().numpy()[place]
    normal = (values - mean) / (np.log1p(np.exp(spread)) + 1e-6)
    found = made(torch.from_numpy(values), torch.from_numpy(groups)).detach()
    np.testing.assert_allclose(found, 0.7 * normal + 0.3 * values, rtol=1e-5)


@pytest.mark.parametrize("group", [-1, 1])
def test_unknown_groups_and_those_without_training_samples_are_read_as_they_are(group):
    made, values = normalisation(), torch.randn(3, 4, requires_grad=True)
    found = made(values, torch.full((3,), group))
    assert torch.equal(found, values)
    found.sum().backward()
    assert torch.equal(values.grad, torch.ones(3, 4))
    assert not made.mean.grad.any()
    assert not made.spread.grad.any()


def test_extreme_scales_stay_finite():
    made = normalisation()
    with torch.no_grad():
        made.spread[0], made.spread[1] = 500.0, -500.0
    found = made(torch.ones(2, 4), torch.tensor([0, 2]))
    assert torch.isfinite(found).all()
    expected = 0.7 * (1.0 - made.mean[0]) / 500.0 + 0.3
    assert torch.allclose(found[0], expected)
    found.sum().backward()
    assert torch.isfinite(made.spread.grad).all()


def test_it_starts_near_the_usages_own_head_with_one_number_per_group_and_axis():
    torch.manual_seed(0)
    head = make_method(Fin()).prepare(mlp_head(hidden=256), ROWS)
    assert head.normalise.mean.shape == head.normalise.spread.shape == (2, 256)
    assert head.normalise.mean.std().item() == pytest.approx(1e-3, rel=0.2)
    assert head.normalise.spread.std().item() == pytest.approx(0.1, rel=0.2)


def test_groups_that_nobody_knows_are_refused():
    with pytest.raises(UserError, match="that of none is known"):
        make_method(Fin()).prepare(linear_head(), replace(ROWS, groups=np.full_like(ROWS.groups, -1)))


def shifted_rows(seed, count=600):
    """One sign of disease, measured by every group on a scale of its own; nothing else tells the group."""
    stream = np.random.default_rng(seed)
    classes, groups = stream.integers(0, 2, count), stream.integers(0, 2, count)
    features = stream.normal(size=(count, 3)).astype(np.float32)
    features[:, 0] += 1.5 * (2.0 * classes - 1.0) + np.where(groups == 1, 4.0, 0.0)
    return TrainingRows(features, classes, groups, ("healthy", "sick"), ("a", "b"))


def test_groups_that_measure_on_scales_of_their_own_are_brought_to_one():
    rows, val, test = (shifted_rows(seed) for seed in range(3))

    def area(method):
        recipe = replace(RECIPE, learning_rate=0.05)
        head = train(linear_head_of_three, rows, val, recipe, method, seed=0).head
        score = np.diff(logits_of(head, test.features, test.groups), axis=1)[:, 0]
        return roc_auc_score(test.classes, score)

    assert area(Method()) < 0.85
    assert area(make_method(Fin())) > 0.93


def linear_head_of_three():
    return linear_head(dimension=3)


TARGET = Target("disease", ("healthy", "sick"), "sick")


def predicted(options, swap):
    """Fit on one grouping of the samples; predict with the same, or with the groups of val and test exchanged."""
    rows = unfair_rows(240, unknown=0.0)
    splits = np.array(["train", "val", "test"])[np.arange(240) % 3]
    table = embeddings(rows.features, splits)
    samples = table["sample_id"].to_pylist()
    labels = {one: TARGET.classes[k] for one, k in zip(samples, rows.classes, strict=True)}
    groups = dict(zip(samples, rows.groups.tolist(), strict=True))
    small = MlpProbeOptions(hidden=8, epochs=3, mitigation=[options], mitigate="sex")
    made = fit(
        table, labels, TARGET, mlp_probe.plan(small), small, options, SampleGroups(rows.group_names, groups)
    )
    told = {one: 1 - group for one, group in groups.items()} if swap else groups
    return made, predict_table(made, table, labels, TARGET, SampleGroups(rows.group_names, told))


def test_a_prediction_is_told_the_group_by_a_method_that_needs_it_and_says_so():
    made, rows = predicted(Fin(), swap=False)
    assert not rows["logits"].equals(predicted(Fin(), swap=True)[1]["logits"])
    assert (
        "fin is told the group of every sample that it predicts; it was known of 100%"
        in made.details["notes"][0]
    )


@pytest.mark.parametrize("options", [DomainInd(), GroupDro()])
def test_a_prediction_is_not_told_the_group_by_any_other_method(options):
    assert predicted(options, swap=False)[1].equals(predicted(options, swap=True)[1])


def test_a_head_gets_no_groups_where_the_method_does_not_need_them(monkeypatch):
    seen = []

    def spy(head, features, groups):
        seen.append(groups)
        return logits_of(head, features, groups)

    monkeypatch.setattr("evaluator.training.loop.logits_of", spy)
    predicted(GroupDro(), swap=False)
    assert set(seen[0].tolist()) == {-1}
    predicted(Fin(), swap=False)
    assert set(seen[1].tolist()) == {0, 1}
