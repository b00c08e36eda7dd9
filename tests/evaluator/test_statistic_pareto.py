import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.statistics.pareto import (
    choose_minimax,
    choose_nearest,
    choose_overall,
    distance_to_optimum,
    front_probability,
    non_dominated,
)

points = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


@given(points)
def test_front_is_what_nobody_dominates(models):
    utility, gap = np.array(models, float).T
    expected = [
        not any((u >= own_u and g <= own_g) and (u > own_u or g < own_g) for u, g in models)
        for own_u, own_g in models
    ]
    assert non_dominated(utility, gap).tolist() == expected
    assert any(expected)


@given(points, st.randoms(use_true_random=False))
def test_front_does_not_depend_on_the_order_of_models(models, random):
    order = list(range(len(models)))
    random.shuffle(order)
    utility, gap = np.array(models, float).T
    assert non_dominated(utility[order], gap[order]).tolist() == non_dominated(utility, gap)[order].tolist()


def test_probability_is_the_share_of_replicates():
    utility = np.array([[0.9, 0.9, 0.9, 0.9], [0.8, 0.8, 0.8, 0.95]])
    gap = np.array([[0.1, 0.2, 0.1, 0.1], [0.1, 0.1, 0.2, 0.1]])
    assert front_probability(utility, gap).tolist() == [0.75, 0.5]


def test_better_in_both_is_surely_on_the_front_and_equals_share_it():
    rng = np.random.default_rng(0)
    utility = np.array([[0.9], [0.7], [0.9]]) + 0.001 * rng.normal(size=400)
    gap = np.array([[0.1], [0.3], [0.1]]) + 0.001 * np.abs(rng.normal(size=400))
    found = front_probability(utility, gap)
    assert found[:2].tolist() == [1.0, 0.0]


def test_undefined_replicates_leave_no_probability():
    utility = np.random.default_rng(1).random((2, 100))
    utility[0, :6] = np.nan
    assert front_probability(utility, np.zeros((2, 100))) == "undefined_replicates: 6 of 100"
    assert front_probability(np.empty((2, 0)), np.empty((2, 0))) == "no_replicates"
    utility[0, :1] = 0.5
    assert isinstance(front_probability(utility, np.zeros((2, 100))), np.ndarray)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="one shape"):
        non_dominated(np.zeros(2), np.zeros(3))


def test_distance_is_relative_to_the_best_of_each_group():
    groups = np.array([[0.9, 0.6, 0.0], [0.8, 0.8, 0.0], [0.9, 0.8, 0.0]])
    assert distance_to_optimum(groups) == pytest.approx([0.25, 1 / 9, 0.0])


def test_rules_differ_where_they_should():
    groups = np.array([[0.95, 0.60], [0.70, 0.69], [0.88, 0.68]])
    overall = np.array([0.85, 0.70, 0.80])
    assert choose_overall(overall) == 0
    assert choose_minimax(groups, overall) == 1
    assert choose_nearest(groups, overall) == 2


def test_ties_go_to_the_better_overall_value_and_then_to_the_first():
    groups = np.array([[0.7, 0.6], [0.6, 0.7], [0.6, 0.7]])
    assert choose_minimax(groups, np.array([0.5, 0.6, 0.6])) == 1
    assert choose_nearest(np.ones((3, 2)), np.array([0.5, 0.5, 0.5])) == 0
    assert choose_overall(np.array([0.5, 0.7, 0.7])) == 1
