import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from evaluator.statistics.friedman import (
    cliques,
    critical_difference,
    friedman_test,
    rank_intervals,
    rank_rows,
    signed_rank_test,
)

small = st.lists(st.integers(-6, 6), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("models", "datasets", "expected"),
    [
        (3, 16, 0.8286), (5, 10, 1.9288), (11, 8, 5.3375), (11, 16, 3.7742), (11, 18, 3.5584), (20, 17, 7.1911),
        (20, 50, 4.1931),
    ],
)  # fmt: skip
def test_critical_difference_matches_reference_values(models, datasets, expected):
    assert critical_difference(models, datasets, 0.05) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("models", "q"), [(3, 2.3437), (5, 2.7278), (11, 3.2187), (20, 3.5438)])
def test_studentised_range_matches_reference_values(models, q):
    assert critical_difference(models, models * (models + 1), 0.05) * math.sqrt(6) == pytest.approx(
        q, abs=5e-5
    )


@pytest.mark.parametrize("decimals", [1, 8])
def test_friedman_agrees_with_scipy_with_and_without_ties(decimals):
    values = np.random.default_rng(0).random((9, 5)).round(decimals)
    found, reference = friedman_test(values), friedmanchisquare(*values.T)
    assert (found.chi2, found.p_value) == pytest.approx((reference.statistic, reference.pvalue), rel=1e-12)
    assert found.ranks == pytest.approx(rankdata(-values, axis=1).mean(axis=0))
    f = 8 * found.chi2 / (9 * 4 - found.chi2)
    assert found.f == pytest.approx(f)
    assert found.f_p_value < found.p_value or found.p_value > 0.3


def test_rank_rows_agree_with_scipy_in_any_dimension():
    values = np.random.default_rng(1).integers(0, 4, (3, 5, 6)).astype(float)
    assert rank_rows(values) == pytest.approx(rankdata(-values, axis=-1))


def test_tables_of_ties_have_no_statistic():
    found = friedman_test(np.ones((4, 3)))
    assert math.isnan(found.chi2)
    assert math.isnan(found.f_p_value)
    assert found.ranks.tolist() == [2.0, 2.0, 2.0]


def test_datasets_that_all_rank_alike_give_the_exact_chance_not_zero():
    found = friedman_test(np.tile([3.0, 2.0, 1.0], (5, 1)))
    assert (found.f, found.f_p_value) == (math.inf, pytest.approx(6.0**-4))


@pytest.mark.parametrize(
    ("row", "datasets"),
    [([0.9, 0.8, 0.8], 3), ([0.9, 0.8, 0.8, 0.7], 2), ([0.1, 0.1, 0.9, 0.9], 3), ([3.0, 2.0, 1.0], 3)],
)
def test_chance_of_ranking_alike_is_that_of_enumeration_with_and_without_ties(row, datasets):
    orders = list(itertools.permutations(row))
    alike = [all(order == rows[0] for order in rows) for rows in itertools.product(orders, repeat=datasets)]
    found = friedman_test(np.tile(row, (datasets, 1)))
    assert found.f == math.inf
    assert found.f_p_value == pytest.approx(np.mean(alike))


@pytest.mark.parametrize("values", [np.ones((1, 3)), np.ones((3, 1)), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_friedman_refuses_incomplete_tables(values):
    with pytest.raises(ValueError, match="without NaN"):
        friedman_test(values)


def test_friedman_size_is_kept_for_few_datasets():
    tables = np.random.default_rng(2).random((1000, 8, 6))
    found = [friedman_test(table) for table in tables]
    assert np.mean([one.p_value <= 0.05 for one in found]) <= 0.06
    assert np.mean([one.f_p_value <= 0.05 for one in found]) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 1000)


def test_cliques_are_the_largest_groups_that_are_not_told_apart():
    ranks = np.array([1.0, 4.0, 2.2, 2.9, 8.0])
    assert cliques(ranks, 2.0) == ((0, 2, 3), (2, 3, 1))
    assert cliques(ranks, 0.5) == ()
    assert cliques(ranks, 10.0) == ((0, 2, 3, 1, 4),)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 6))
def test_two_models_share_a_clique_exactly_when_their_ranks_are_close(ranks, difference):
    found = cliques(np.array(ranks, float), float(difference))
    for first, second in itertools.combinations(range(len(ranks)), 2):
        together = any(first in clique and second in clique for clique in found)
        assert together == (abs(ranks[first] - ranks[second]) <= difference)
    assert not any(set(a) < set(b) for a, b in itertools.permutations(found, 2))


def test_rank_intervals_are_narrow_for_clear_and_wide_for_close_models():
    rng = np.random.default_rng(3)
    values = np.array([0.9, 0.5, 0.502])
    low, high = rank_intervals(values[None, :, None] + 0.02 * rng.normal(size=(4, 3, 500)), 0.05)
    assert (low[0], high[0]) == (1.0, 1.0)
    assert low[1] < 2.5 < high[1]


def test_rank_intervals_say_why_there_are_none():
    draws = np.random.default_rng(4).random((3, 2, 100))
    draws[1, 0, :6] = np.nan
    assert rank_intervals(draws, 0.05) == "undefined_replicates: 6 of 100"
    assert rank_intervals(draws[..., :0], 0.05) == "no_replicates"


@pytest.mark.parametrize("count", [1, 5, 8, 17, 40])
def test_signed_rank_p_is_scipys_exact_one(count):
    differences = np.random.default_rng(count).normal(0.3, 1.0, count)
    found = signed_rank_test(differences, 0.05)
    assert found.p_value == pytest.approx(wilcoxon(differences, method="exact").pvalue, rel=1e-12)
    assert found.smallest == pytest.approx(wilcoxon(np.arange(1.0, count + 1), method="exact").pvalue)


@given(small)
def test_smallest_p_is_that_of_differences_which_all_have_one_sign(differences):
    found = signed_rank_test(np.array(differences, float), 0.05)
    alike = signed_rank_test(np.abs(np.array(differences, float)), 0.05)
    assert found.smallest == alike.smallest == pytest.approx(alike.p_value)
    assert found.p_value >= found.smallest - 1e-12
    assert found.count == np.count_nonzero(differences)


@given(small)
def test_signed_rank_p_is_exact_with_ties_and_zeros(differences):
    found = signed_rank_test(np.array(differences, float), 0.05)
    kept = [d for d in differences if d]
    ranks = rankdata(np.abs(kept)) if kept else np.empty(0)
    centre = ranks.sum() / 2
    seen = abs(sum(r for r, d in zip(ranks, kept, strict=True) if d > 0) - centre)
    sums = [abs(np.dot(signs, ranks) - centre) for signs in itertools.product((0, 1), repeat=len(kept))]
    assert found.p_value == pytest.approx(np.mean([s >= seen - 1e-9 for s in sums]))


def test_signed_rank_interval_holds_the_shifts_that_are_not_rejected():
    differences = np.random.default_rng(5).normal(0.5, 1.0, 12)
    found = signed_rank_test(differences, 0.05)
    for limit, outward in ((found.ci_low, -1e-9), (found.ci_high, 1e-9)):
        assert signed_rank_test(differences - (limit - outward), 0.05).p_value > 0.05
        assert signed_rank_test(differences - (limit + outward), 0.05).p_value <= 0.05
    assert found.ci_low < found.shift < found.ci_high


def test_five_datasets_cannot_reach_five_percent_and_have_no_interval():
    found = signed_rank_test(np.array([0.1, 0.2, 0.3, 0.4, 0.5]), 0.05)
    assert found.p_value == found.smallest == 0.0625
    assert (found.ci_low, found.ci_high) == (None, None)
    six = signed_rank_test(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 0.05)
    assert (six.ci_low, six.ci_high) == (0.1, 0.6)


@pytest.mark.parametrize("differences", [np.empty(0), np.array([0.1, np.nan])])
def test_signed_rank_refuses_missing_differences(differences):
    with pytest.raises(ValueError, match="without NaN"):
        signed_rank_test(differences, 0.05)
