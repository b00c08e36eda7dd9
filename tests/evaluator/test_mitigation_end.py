"""EnD: pairs counted one by one, lengths that do not matter, and a planted leak."""

from itertools import combinations

import numpy as np
import pytest
import torch
from leaking_rows import gap_of_rates, how_well_the_group_is_read, trained
from training_rows import batch_of, mlp_head

from evaluator.mitigation.method import mean_loss
from evaluator.mitigation.options import EnD, Erm
from evaluator.mitigation.registry import make_method
from evaluator.training.rows import TrainingRows

STREAM = np.random.default_rng(0)
COUNT = 30
ROWS = TrainingRows(
    STREAM.normal(size=(COUNT, 6)).astype(np.float32),
    STREAM.integers(0, 3, COUNT),
    STREAM.integers(-1, 3, COUNT),
    ("x", "y", "z"),
    ("a", "b", "c"),
)
BATCH = batch_of(ROWS.features, ROWS.classes, ROWS.groups)


def prepared(options=None):
    torch.manual_seed(0)
    method = make_method(options or EnD())
    return method, method.prepare(mlp_head(classes=3), ROWS)


def pair_by_pair(values, classes, groups):
    """Return both terms by looping over unordered pairs, as the paper defines them."""
    units = values / values.norm(dim=1, keepdim=True)
    inside: dict[int, list] = {}
    across = []
    for i, j in combinations(range(len(units)), 2):
        if groups[i] < 0 or groups[j] < 0:
            continue
        cosine = units[i] @ units[j]
        if groups[i] == groups[j]:
            inside.setdefault(int(groups[i]), []).append(cosine)
        elif classes[i] == classes[j]:
            across.append((1.0 + cosine) / 2.0)
    pairs = sum(len(one) for one in inside.values())
    apart = sum(torch.stack(one).sum().abs() for one in inside.values()) / pairs
    return apart, 1.0 - torch.stack(across).mean()


def values_of(length=1.0):
    return torch.tensor(np.random.default_rng(1).normal(size=(COUNT, 5)) * length, requires_grad=True)


def test_every_unordered_pair_counts_once_in_value_and_gradient():
    method, _ = prepared()
    for term in (0, 1):
        values, looped = values_of(), values_of()
        found = method.terms(values, BATCH)[term]
        wanted = pair_by_pair(looped, ROWS.classes, ROWS.groups)[term]
        torch.testing.assert_close(found, wanted)
        found.backward()
        wanted.backward()
        torch.testing.assert_close(values.grad, looped.grad)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0), (2, 1)])
def test_the_order_of_a_pair_of_groups_does_not_matter(first, second):
    method, _ = prepared()
    batch = batch_of(np.zeros((2, 6)), [1, 1], [first, second])
    apart, together = method.terms(torch.tensor([[3.0, 0.0], [0.0, 0.1]]), batch)
    assert float(apart) == 0.0
    assert float(together) == pytest.approx(0.5)


def test_two_dimensional_features_of_any_length_are_brought_to_unit_length():
    method, _ = prepared()
    with torch.no_grad():
        short, long = method.terms(values_of(), BATCH), method.terms(values_of(40.0), BATCH)
    torch.testing.assert_close(short, long)


def test_a_representation_of_zeros_has_a_finite_gradient():
    method, _ = prepared()
    values = values_of().detach()
    values[::2] = 0.0
    values.requires_grad_()
    apart, together = method.terms(values, BATCH)
    (apart + together).backward()
    assert torch.isfinite(values.grad).all()
    assert values.grad.abs().max() < 10.0


def test_terms_without_a_pair_are_nothing():
    method, _ = prepared()
    batch = batch_of(np.zeros((3, 6)), [0, 1, 2], [0, 1, 2])
    assert [float(term) for term in method.terms(torch.eye(3), batch)] == [0.0, 0.0]


def test_the_loss_adds_the_terms_by_their_coefficients():
    method, head = prepared(EnD(alpha=0.3, beta=2.0))
    with torch.no_grad():
        apart, together = method.terms(head.represent(BATCH.features), BATCH)
        wanted = mean_loss(head, BATCH) + 0.3 * apart + 2.0 * together
        assert float(method.loss(head, BATCH)) == pytest.approx(float(wanted), rel=1e-5)


def test_the_group_is_read_less_well_and_rates_are_closer():
    plain, _ = trained(Erm(), seed=1)
    hidden, _ = trained(EnD(alpha=1.0, beta=1.0), seed=1)
    assert how_well_the_group_is_read(hidden) < how_well_the_group_is_read(plain) - 0.1
    assert gap_of_rates(hidden) < gap_of_rates(plain) - 0.1
