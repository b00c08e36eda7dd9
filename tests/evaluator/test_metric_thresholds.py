import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from evaluator.metrics.thresholds import choose_threshold
from shards.errors import UserError

CASES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40)


def merits(rule, score, y):
    def merit(threshold):
        decided = score >= threshold
        if rule == "val:f1":
            return f1_score(y, decided)
        return recall_score(y, decided) + recall_score(~y, ~decided)

    return {threshold: merit(threshold) for threshold in np.unique(score)}


@pytest.mark.parametrize("rule", ["val:youden", "val:f1"])
@given(rows=CASES)
@settings(max_examples=60, deadline=None)
def test_threshold_is_the_highest_of_the_best(rule, rows):
    score, y = np.array([s for s, _ in rows]) / 20, np.array([b for _, b in rows])
    chosen = choose_threshold(rule, score, y)
    if y.all() or not y.any():
        assert (chosen.value, chosen.convention) == (0.5, "fixed:0.5")
        return
    found = merits(rule, score, y)
    best = max(found.values())
    assert chosen.value == max(t for t, merit in found.items() if merit > best - 1e-9)
    assert (chosen.convention, chosen.n) == (rule, len(rows))


def test_without_both_classes_the_fallback_says_why():
    chosen = choose_threshold("val:youden", np.array([]), np.array([], bool))
    assert chosen.convention == "fixed:0.5"
    assert "0 positive and 0 negative" in chosen.reason


def test_fixed_threshold_is_taken_as_it_is():
    chosen = choose_threshold("fixed:0.25", np.array([0.1]), np.array([True]))
    assert (chosen.value, chosen.convention, chosen.n, chosen.reason) == (0.25, "fixed:0.25", 0, None)


def test_perfect_separation_keeps_the_boundary_positive():
    score, y = np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True])
    assert choose_threshold("val:f1", score, y).value == 0.6
    assert choose_threshold("val:youden", score, y).value == 0.6


@pytest.mark.parametrize("rule", ["best", "fixed:", "fixed:1.5", "fixed:half", "test:f1"])
def test_unknown_rule_is_an_error_that_names_the_rules(rule):
    with pytest.raises(UserError, match=r"'val:youden', 'val:f1' or 'fixed:X'"):
        choose_threshold(rule, np.array([0.1]), np.array([True]))
