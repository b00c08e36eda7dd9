"""FIS and FairCLIP: exact distances, published weights, unknown and absent groups, what they are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score
from training_rows import RECIPE, Fixed, batch_of, linear_head, mlp_head, unfair_rows

from evaluator.mitigation.distributions import FreshSamples, squared_wasserstein
from evaluator.mitigation.method import Method, mean_loss
from evaluator.mitigation.options import FairClip, Fis
from evaluator.mitigation.registry import make_method
from evaluator.models.interfaces import Similarity
from evaluator.training.head import Head
from evaluator.training.loop import logits_of, train
from evaluator.training.rows import TrainingRows
from evaluator.training.text import Adapter, TextLogits
from shards.errors import UserError

ROWS, VAL, TEST = unfair_rows(500, seed=0), unfair_rows(300, seed=1), unfair_rows(3000, seed=2)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (1, 4), (6, 4), (7, 3)])
def test_the_distance_is_that_of_the_best_transport(n, m):
    stream = np.random.default_rng(n)
    first, second = stream.normal(size=n), stream.normal(size=m)
    cost = (np.repeat(first, m)[:, None] - np.repeat(second, n)[None, :]) ** 2  # atoms of mass 1 / (n m)
    rows, columns = linear_sum_assignment(cost)
    found = squared_wasserstein(torch.from_numpy(first), torch.from_numpy(second))
    assert found.item() == pytest.approx(cost[rows, columns].mean())


def test_gradients_flow_into_both_sides_of_a_distance():
    first, second = (torch.randn(k, dtype=torch.float64, requires_grad=True) for k in (5, 3))
    assert torch.autograd.gradcheck(squared_wasserstein, (first, second))


def test_a_distance_of_shifted_numbers_is_the_shift_and_of_equal_ones_nothing():
    numbers = torch.randn(50, dtype=torch.float64)
    assert squared_wasserstein(numbers, numbers.flip(0)).item() == 0.0
    assert squared_wasserstein(numbers, numbers + 0.3).item() == pytest.approx(0.09)


def test_fresh_samples_are_of_their_group_and_of_all_known_ones():
    drawn = FreshSamples("fis", replace(ROWS, group_names=("common", "rare", "nobody")), 400)
    assert drawn.codes == (0, 1)
    assert set(drawn.of(1).groups.tolist()) == {1}
    everybody = drawn.of(None).groups
    known = ROWS.groups[ROWS.groups >= 0]
    assert (everybody == 1).float().mean().item() == pytest.approx(known.mean(), abs=0.06)
    assert -1 not in everybody.tolist()
    assert not torch.equal(drawn.of(1).features, drawn.of(1).features)


def fis(rows=ROWS, **numbers):
    method = make_method(Fis(**numbers))
    method.prepare(linear_head(), rows)
    return method


def softmax(values):
    grown = np.exp(values)
    return grown / grown.sum()


def test_samples_count_by_their_loss_and_by_the_distance_of_their_group():
    losses, distances = np.array([0.2, 0.9, 1.4]), np.array([0.1, 0.6])
    found = fis(c=0.25, tau=2.0, kappa=1.5).scaled(
        torch.tensor(losses), torch.tensor([0, 1, 0]), torch.tensor(distances)
    )
    expected = 1.5 * 3 * (0.75 * softmax(losses / 2) + 0.25 * softmax(distances[[0, 1, 0]] / 2))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("size", [1, 7, 200])
def test_the_mean_of_the_weights_does_not_depend_on_the_size_of_a_batch(size):
    losses, groups = torch.rand(size), torch.arange(size) % 3 - 1
    found = fis(kappa=2.0).scaled(losses, groups, torch.tensor([0.3, 0.1]))
    assert found.mean().item() == pytest.approx(2.0, rel=1e-5)


def test_samples_of_unknown_group_count_by_their_loss_alone():
    losses, groups = torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([-1, 0, -1, 1])
    found = fis(c=1.0).scaled(losses, groups, torch.tensor([0.0, 3.0]))
    np.testing.assert_allclose(
        found, [1.0, 2 * softmax([0.0, 3.0])[0], 1.0, 2 * softmax([0.0, 3.0])[1]], rtol=1e-5
    )
    assert torch.equal(
        fis(c=1.0).scaled(losses, torch.full((4,), -1), torch.tensor([0.0, 3.0])), torch.ones(4)
    )


def test_no_gradient_goes_through_the_weights():
    method, losses = fis(c=0.5, tau=0.5), torch.tensor([[0.2], [0.7], [1.5]], requires_grad=True)
    batch = batch_of(losses.detach(), [0, 0, 0], [0, 1, -1])._replace(features=losses)
    method.distances = lambda head: torch.tensor([0.4, 0.1])
    loss = method.loss(Fixed(), batch)
    weights = method.scaled(losses.detach()[:, 0], batch.groups, torch.tensor([0.4, 0.1]))
    assert loss.item() == pytest.approx((weights * losses[:, 0]).mean().item())
    loss.backward()
    np.testing.assert_allclose(losses.grad[:, 0], weights / 3, rtol=1e-5)


def test_a_group_that_is_absent_from_a_batch_or_from_train_leaves_the_loss_a_number():
    rows = replace(ROWS, group_names=("common", "rare", "nobody"))
    method, head = fis(rows), linear_head()
    assert method.distances(head)[2] == 0.0
    for groups in ([0] * 4, [1] * 4, [-1] * 4, [2] * 4):
        loss = method.loss(head, batch_of(ROWS.features[:4], [1] * 4, groups))
        assert torch.isfinite(loss)
        loss.backward()
        assert head.classify.weight.grad.abs().sum() > 0


def test_distances_grow_with_what_a_group_suffers_and_training_goes_on_as_it_was():
    method, head = fis(fresh=2000), mlp_head()
    head.represent.append(torch.nn.Dropout(0.9))
    with torch.no_grad():
        equal = method.distances(head)
    assert head.training
    assert head.represent[2].training
    fair = train(linear_head, ROWS, VAL, RECIPE, Method(), seed=0).head
    failing = method.distances(fair)
    assert failing[1] > 0.05
    assert failing[1] > 5 * failing[0]
    assert equal.max() < 0.05


def areas(method):
    head = train(linear_head, ROWS, VAL, RECIPE, method, seed=0).head
    score = np.diff(logits_of(head, TEST.features, TEST.groups), axis=1)[:, 0]
    return [roc_auc_score(TEST.classes[TEST.groups == g], score[TEST.groups == g]) for g in (0, 1)]


def test_the_group_that_plain_training_fails_is_served_better():
    plain, better = areas(Method()), areas(make_method(Fis(c=1.0, tau=0.1)))
    assert better[1] > plain[1] + 0.01
    assert better[0] > 0.8


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


TEXTS = unit(np.random.default_rng(9).normal(size=(2, 8)))


def images(seed, count=400):
    """Images near the texts of their classes; those of the second group are less like them."""
    stream = np.random.default_rng(seed)
    classes, groups = stream.integers(0, 2, count), stream.integers(0, 2, count)
    other = np.eye(8)[0] * 1.5
    features = 2.0 * TEXTS[classes] + groups[:, None] * other + 0.5 * stream.normal(size=(count, 8))
    groups[stream.random(count) < 0.1] = -1
    return TrainingRows(
        unit(features).astype(np.float32), classes, groups, ("healthy", "sick"), ("near", "far")
    )


def text_head():
    return Head(Adapter(8, 1, 0.8), TextLogits.of(TEXTS, Similarity("softmax", 10.0), trained=True))


def similarities(head, rows):
    with torch.no_grad():
        cosines = head.classify.cosines(head.represent(torch.from_numpy(rows.features)))
    return cosines.gather(1, torch.from_numpy(rows.classes)[:, None])[:, 0]


def test_the_distance_is_of_every_group_from_the_batch_in_cosines_with_the_own_class():
    torch.manual_seed(0)
    rows, head = images(0), text_head()
    method = make_method(FairClip())
    method.prepare(head, rows)
    batch = batch_of(rows.features[:9], rows.classes[:9], rows.groups[:9])
    fresh = {
        code: batch_of(rows.features[k : k + 6], rows.classes[k : k + 6], [code] * 6)
        for code, k in ((0, 20), (1, 40))
    }
    method._fresh.of = fresh.__getitem__
    known = rows.groups[:9] >= 0
    own = similarities(head, rows)
    expected = sum(
        squared_wasserstein(own[:9][torch.from_numpy(known)], own[k : k + 6]).item() for k in (20, 40)
    )
    distance = method.distance(head, batch)
    assert distance.item() == pytest.approx(expected, rel=1e-5)
    total = method.loss(head, batch).item()
    assert total == pytest.approx(mean_loss(head, batch).item() + 100.0 * expected, rel=1e-5)


def test_a_batch_of_unknown_groups_is_learned_from_without_a_distance():
    rows, head = images(0), text_head()
    method = make_method(FairClip())
    method.prepare(head, rows)
    batch = batch_of(rows.features[:5], rows.classes[:5], [-1] * 5)
    assert method.loss(head, batch).item() == pytest.approx(mean_loss(head, batch).item())


def test_gradients_flow_from_both_sides_of_the_distance():
    rows, head = images(0), text_head()
    method = make_method(FairClip())
    method.prepare(head, rows)
    fixed = images(1)
    inputs = {
        code: batch_of(fixed.features[:6], fixed.classes[:6], [code] * 6)._replace(
            features=torch.from_numpy(fixed.features[:6]).requires_grad_()
        )
        for code in (0, 1)
    }
    method._fresh.of = inputs.__getitem__
    batch = batch_of(rows.features[:9], rows.classes[:9], [0, 1, 0] * 3)
    batch = batch._replace(features=batch.features.requires_grad_())
    method.distance(head, batch).backward()
    for one in (batch, *inputs.values()):
        assert torch.isfinite(one.features.grad).all()
        assert one.features.grad.abs().sum() > 0


def test_similarities_of_the_groups_come_together_and_the_classes_stay_apart():
    rows, val, test = images(0), images(1), images(2, 1000)

    def found(method):
        head = train(text_head, rows, val, replace(RECIPE, epochs=12), method, seed=0).head
        own = similarities(head, test)
        near, far = (own[torch.from_numpy(test.groups == g)] for g in (0, 1))
        score = np.diff(logits_of(head, test.features, test.groups), axis=1)[:, 0]
        return squared_wasserstein(near, far).item(), roc_auc_score(test.classes, score)

    plain, fair = found(Method()), found(make_method(FairClip()))
    assert fair[0] < 0.3 * plain[0]
    assert fair[1] > plain[1] - 0.02
    published = found(make_method(FairClip(lambda_fair=1e-7)))
    assert published[0] == pytest.approx(plain[0], rel=0.05)


def test_heads_without_texts_are_refused():
    with pytest.raises(UserError, match=r"Use it with prototype_tuning or clip_adapter"):
        make_method(FairClip()).prepare(linear_head(), ROWS)


@pytest.mark.parametrize("options", [Fis(), FairClip()])
def test_groups_that_nobody_knows_are_refused(options):
    rows = images(0)
    with pytest.raises(UserError, match="that of none is known"):
        make_method(options).prepare(text_head(), replace(rows, groups=np.full_like(rows.groups, -1)))
