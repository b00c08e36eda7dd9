"""What holds for every method: the same bits for a seed, numbers whatever a batch lacks, predictions blind for groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from training_rows import RECIPE, batch_of, mlp_head, unfair_rows

from evaluator.mitigation.options import Mitigation
from evaluator.mitigation.registry import _METHODS, make_method
from evaluator.models.interfaces import Similarity
from evaluator.training.head import Head
from evaluator.training.loop import logits_of, train
from evaluator.training.text import TextLogits

ROWS, VAL = unfair_rows(120, seed=0), unfair_rows(60, seed=1)
SHORT = replace(RECIPE, epochs=4)
NAMES = ["erm", *_METHODS]


def options_of(name):
    return TypeAdapter(Mitigation).validate_python(name)


def text_head():
    return Head(nn.Linear(6, 6), TextLogits.of(np.eye(2, 6), Similarity("softmax", 5.0), trained=True))


def head_for(name):
    return text_head if name == "fairclip" else mlp_head


def trained(name, seed=0):
    return train(head_for(name), ROWS, VAL, SHORT, make_method(options_of(name)), seed=seed).head.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_bits(name):
    first, again, other = trained(name), trained(name), trained(name, seed=1)
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_may_lack_classes_and_groups_and_know_none(name):
    torch.manual_seed(0)
    method = make_method(options_of(name))
    head = method.prepare(head_for(name)(), ROWS)
    optimiser = torch.optim.SGD([*head.parameters(), *method.parameters()], lr=0.01)
    cells = [
        ([0, 0, 0], [0, 1, -1]),
        ([1, 1, 1], [1, 1, 1]),
        ([0, 1, 0], [-1, -1, -1]),
        ([1], [0]),
        ([0], [-1]),
    ]
    for classes, groups in cells:
        before = {key: value.clone() for key, value in head.state_dict().items()}
        batch = batch_of(ROWS.features[: len(classes)], classes, groups)
        assert np.isfinite(method.step(head, batch, optimiser))
        after = head.state_dict()
        assert all(torch.isfinite(value).all() for value in after.values())
        assert not all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_prediction_is_always_the_same_and_needs_no_group_unless_the_method_says_so(name):
    torch.manual_seed(0)
    options = options_of(name)
    head = make_method(options).prepare(head_for(name)(), ROWS).eval()
    first = logits_of(head, VAL.features, VAL.groups)
    assert np.array_equal(first, logits_of(head, VAL.features, VAL.groups))
    blind = logits_of(head, VAL.features, np.full_like(VAL.groups, -1))
    assert np.array_equal(first, blind) != options.groups_at_test
