import math

import numpy as np
import pytest
from scipy.stats import binomtest, friedmanchisquare

from evaluator.statistics.concordance import (
    kendall_test,
    kendall_w,
    shared_kendall,
    sign_agreement,
    sign_test,
)


@pytest.mark.parametrize("decimals", [0, 8])
def test_kendall_is_the_friedman_statistic_with_and_without_ties(decimals):
    values = (4 * np.random.default_rng(0).random((7, 5))).round(decimals)
    found = kendall_test(values, np.random.default_rng(1), permutations=99)
    reference = friedmanchisquare(*values.T)
    assert found.chi2 == pytest.approx(reference.statistic, rel=1e-12)
    assert found.chi2_p_value == pytest.approx(reference.pvalue, rel=1e-12)
    assert found.w == pytest.approx(reference.statistic / (7 * 4))


def test_kendall_of_two_groups_is_the_squared_lead_of_the_majority():
    values = np.array([[1.0, 2.0]] * 7 + [[2.0, 1.0]] * 3)
    assert float(kendall_w(values)) == pytest.approx(0.4**2)


def test_kendall_w_is_one_for_full_agreement_and_undefined_for_ties():
    assert float(kendall_w(np.tile([3.0, 1.0, 2.0], (4, 1)))) == 1.0
    assert math.isnan(float(kendall_w(np.ones((4, 3)))))
    assert math.isnan(kendall_test(np.ones((4, 3)), np.random.default_rng(0)).p_value)


def test_permutation_p_of_full_agreement_is_its_exact_chance():
    found = kendall_test(np.tile([1.0, 2.0, 3.0], (4, 1)), np.random.default_rng(2), permutations=40_000)
    assert found.p_value == pytest.approx(6.0**-3, rel=0.3)


def test_permutation_p_has_its_size_though_one_group_is_small_and_noisy():
    rng = np.random.default_rng(3)
    tables = rng.normal(size=(300, 5, 4)) * np.array([5.0, 1.0, 1.0, 1.0])
    rejected = [kendall_test(table, rng, permutations=199).p_value <= 0.05 for table in tables]
    assert np.mean(rejected) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("values", [np.ones((1, 3)), np.ones((3, 1)), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_kendall_refuses_incomplete_tables(values):
    with pytest.raises(ValueError, match="without NaN"):
        kendall_test(values, np.random.default_rng(0))


def alike_models(rng, shared, own, effect=0.0, models=10, draws=200):
    """Differences of two groups for models whose noise is mostly that of the same subjects."""
    noise = shared * rng.normal() + own * rng.normal(size=models) + effect
    return noise, noise[:, None] + shared * rng.normal(size=draws) + own * rng.normal(size=(models, draws))


def of_two_groups(differences, replicates):
    return [[np.stack([table, -table], axis=1) for table in tables] for tables in (differences, replicates)]


def test_models_on_the_same_subjects_are_no_independent_votes():
    rng = np.random.default_rng(4)
    votes, ours = [], []
    for _ in range(400):
        differences, replicates = alike_models(rng, 1.0, 0.2)
        votes.append(sign_test(differences).p_value <= 0.05)
        ours.append(shared_kendall(*of_two_groups([differences], [replicates])).p_value <= 0.05)
    assert np.mean(votes) > 0.7
    assert np.mean(ours) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 400)


def test_agreement_beyond_shared_noise_is_found():
    rng = np.random.default_rng(5)
    differences, replicates = alike_models(rng, 0.05, 1.0, effect=-3.0)
    assert sign_agreement([differences], [replicates], 0.05).value == 1.0
    assert shared_kendall(*of_two_groups([differences], [replicates])).p_value < 0.05
    several = [alike_models(rng, 0.2, 1.0, effect=-1.0) for _ in range(8)]
    found = sign_agreement(*zip(*several, strict=True), 0.05)
    assert found.ci_low > 0.5
    assert found.ci_low <= found.value <= found.ci_high + 0.1
    assert shared_kendall(*of_two_groups(*zip(*several, strict=True))).p_value < 0.05


def test_share_counts_ties_half_and_averages_datasets():
    found = sign_agreement(
        [np.array([-1.0, 0.0, 2.0, 3.0]), np.array([-1.0])], [np.zeros((4, 0)), np.zeros((1, 0))], 0.05
    )
    assert found.value == pytest.approx((1.5 / 4 + 1.0) / 2)
    assert (found.ci_low, found.reason) == (None, "no_replicates")


def test_share_that_never_changes_has_no_interval():
    found = sign_agreement([np.array([-1.0, -2.0])], [np.full((2, 50), -1.0)], 0.05)
    assert (found.ci_low, found.ci_high) == (None, None)
    assert found.reason == "no interval: no_variation"


def test_undefined_replicates_of_one_model_leave_no_p_value():
    replicates = np.random.default_rng(6).normal(size=(2, 100))
    replicates[1, :6] = np.nan
    found = sign_agreement([np.array([-1.0, -2.0])], [replicates], 0.05)
    assert (found.value, found.ci_low, found.reason) == (1.0, None, "undefined_replicates: 6 of 100")
    table = np.stack([replicates, -replicates], axis=1)
    assert shared_kendall([np.array([[1.0, 2.0], [1.0, 2.0]])], [table]).p_value is None


def test_kendall_of_ties_alone_is_undefined():
    found = shared_kendall([np.ones((2, 3))], [np.ones((2, 3, 50))])
    assert math.isnan(found.value)
    assert found.reason.startswith("no_variation")


@pytest.mark.parametrize("differences", [[-1, -2, 3], [-1, 0, 0, -4, -5, -1, -3], [0, 0], [5]])
def test_sign_test_is_scipys_binomial_test(differences):
    found = sign_test(np.array(differences, float))
    below, count = sum(d < 0 for d in differences), sum(d != 0 for d in differences)
    assert (found.negative, found.count) == (below, count)
    assert found.p_value == pytest.approx(binomtest(below, count).pvalue if count else 1.0)
