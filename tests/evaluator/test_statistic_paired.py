import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from evaluator.statistics.paired import combine_seeds, paired_difference, paired_p_value, untested_difference


def weights(rng, people, draws):
    return rng.multinomial(people, np.full(people, 1 / people), size=draws).T.astype(float)


def mean_of(values, drawn):
    """A result of one seed whose metric is the mean over subjects."""
    return combine_seeds(np.array([values.mean()]), (values @ drawn)[None] / len(values))


def areas(score, sick, drawn):
    wins = (score[sick][:, None] > score[~sick]).astype(float)
    pairs = np.einsum("ib,ib->b", drawn[sick], wins @ drawn[~sick])
    return pairs / (drawn[sick].sum(0) * drawn[~sick].sum(0))


def two_alike(rng, people=40, shift=0.0):
    hard = rng.beta(8, 2, people)
    return hard + 0.05 * rng.normal(size=people) + shift, hard + rng.gamma(2, 0.03, people) - 0.06


def test_difference_of_means_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    first, second = two_alike(rng, 30, 0.02)
    drawn = weights(rng, 30, 20_000)
    found = paired_difference(mean_of(first, drawn), mean_of(second, drawn), units=30, alpha=0.05)
    assert found.value == pytest.approx(np.mean(first - second))
    assert found.error == pytest.approx(np.std(first - second, ddof=1) / np.sqrt(30), rel=0.02)
    assert found.p_value == pytest.approx(ttest_rel(first, second).pvalue, rel=0.05)
    low, high = np.quantile((first - second) @ drawn / 30, [0.025, 0.975])
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


def test_what_both_results_owe_to_the_subjects_cancels():
    rng = np.random.default_rng(1)
    hard = rng.normal(size=100)
    drawn = weights(rng, 100, 500)
    first, second = mean_of(hard + 0.1 + 0.01 * rng.normal(size=100), drawn), mean_of(hard, drawn)
    found = paired_difference(first, second, units=100, alpha=0.05)
    assert found.error < 0.02 * first.error
    assert found.p_value < 1e-10


def test_swapping_the_sides_turns_the_sign_and_nothing_else():
    rng = np.random.default_rng(2)
    drawn = weights(rng, 40, 400)
    first, second = (mean_of(values, drawn) for values in two_alike(rng, 40, 0.01))
    there = paired_difference(first, second, units=40, alpha=0.1)
    back = paired_difference(second, first, units=40, alpha=0.1)
    assert (back.value, back.ci_low, back.ci_high) == pytest.approx(
        (-there.value, -there.ci_high, -there.ci_low)
    )
    assert back.p_value == there.p_value == paired_p_value(first, second, units=40)


def test_same_result_twice_has_no_interval_and_no_p_value():
    one = combine_seeds(np.array([0.1, 0.7]), np.random.default_rng(3).normal(size=(2, 100)))
    alike = combine_seeds(np.array([0.7, 0.1]), one.replicates[None].repeat(2, 0) * (1 + 1e-16))
    single = combine_seeds(np.array([0.4]), one.replicates[None])
    for other in (alike, single):
        found = paired_difference(other, one, units=50, alpha=0.05)
        assert found.value == pytest.approx(0.0)
        assert (found.ci_low, found.p_value, found.reason) == (None, None, "no_variation")
        assert paired_p_value(other, one, units=50) is None


@pytest.mark.parametrize(
    ("replicates", "reason"),
    [
        (np.empty((1, 0)), "no_replicates"),
        (np.where(np.arange(100) < 6, np.nan, np.arange(100.0))[None], "undefined_replicates: 6 of 100"),
    ],
)
def test_without_enough_replicates_only_the_value_stays(replicates, reason):
    first = combine_seeds(np.array([0.7]), replicates)
    found = paired_difference(first, combine_seeds(np.array([0.5]), 0.0 * replicates), units=50, alpha=0.05)
    assert found.value == pytest.approx(0.2)
    assert (found.ci_low, found.ci_high, found.p_value, found.reason) == (None, None, None, reason)
    assert math.isnan(found.error)
    assert paired_p_value(first, combine_seeds(np.array([0.5]), 0.0 * replicates), units=50) is None


def test_untested_difference_keeps_the_value_and_the_training_error():
    draws = np.random.default_rng(8).normal(size=(2, 100))
    first, second = combine_seeds(np.array([0.7, 0.9]), draws), combine_seeds(np.array([0.5]), draws[:1])
    found = untested_difference(first, second, "biased")
    assert (found.value, found.seed_error) == pytest.approx((0.3, 0.1))
    assert (found.ci_low, found.ci_high, found.p_value, found.reason) == (None, None, None, "biased")
    assert math.isnan(found.error)


def test_few_undefined_replicates_are_left_out():
    draws = np.where(np.arange(100) < 5, np.nan, np.arange(100.0))[None]
    found = paired_difference(
        combine_seeds(np.array([52.0]), draws),
        combine_seeds(np.array([0.0]), 0.0 * draws),
        units=50,
        alpha=0.05,
    )
    assert found.error == pytest.approx(np.std(np.arange(5.0, 100.0), ddof=1) * np.sqrt(50 / 49))


def test_one_subject_cannot_be_tested():
    draws = np.arange(100.0)[None]
    found = paired_difference(
        combine_seeds(np.array([0.5]), draws), combine_seeds(np.array([0.4]), 2 * draws), units=1, alpha=0.05
    )
    assert found.p_value is None
    assert found.reason.startswith("single_unit")


def test_replicates_of_different_number_are_never_paired():
    one = combine_seeds(np.array([0.5]), np.zeros((1, 10)))
    other = combine_seeds(np.array([0.5]), np.zeros((1, 11)))
    with pytest.raises(ValueError, match="same replicates, got 10 and 11"):
        paired_difference(one, other, units=5, alpha=0.05)


def test_seeds_and_subjects_are_apart_and_combined():
    replicates = np.random.default_rng(4).normal(size=(4, 300))
    mean = combine_seeds(np.array([0.1, 0.2, 0.3, 0.6]), replicates)
    assert mean.value == pytest.approx(0.3)
    assert mean.sample_error == pytest.approx(np.std(replicates.mean(0), ddof=1))
    assert mean.seed_error == pytest.approx(np.std([0.1, 0.2, 0.3, 0.6], ddof=1) / 2)
    assert mean.error == pytest.approx(np.hypot(mean.sample_error, mean.seed_error))
    turned = combine_seeds(np.array([0.6, 0.3, 0.2, 0.1]), replicates[::-1])
    assert turned.value == pytest.approx(mean.value)
    assert turned.replicates == pytest.approx(mean.replicates)


def test_training_variance_of_a_single_seed_is_unknown_not_zero():
    mean = combine_seeds(np.array([0.5]), np.arange(10.0)[None])
    assert mean.seed_error is None
    assert mean.error == mean.sample_error


@pytest.mark.parametrize(
    ("values", "replicates"),
    [(np.empty(0), np.empty((0, 5))), (np.zeros(2), np.zeros((3, 5))), (np.zeros(2), np.zeros(2))],
)
def test_seeds_and_replicates_must_fit(values, replicates):
    with pytest.raises(ValueError, match="must be"):
        combine_seeds(values, replicates)


def noise_of(runs):
    return 3.1 * np.sqrt(0.05 * 0.95 / runs)


def p_values_of_means(runs, people=40, shift=0.0):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(runs):
        first, second = two_alike(rng, people, shift)
        drawn = weights(rng, people, 250)
        ours = paired_p_value(mean_of(first, drawn), mean_of(second, drawn), units=people)
        found.append((ours, ttest_rel(first, second).pvalue))
    return np.array(found) < 0.05


def rejected_areas(runs, positives, negatives, draws=250):
    rng = np.random.default_rng(6)
    sick = np.arange(positives + negatives) < positives
    found = []
    for _ in range(runs):
        drawn = weights(rng, len(sick), draws)
        drawn = np.concatenate([np.ones((len(sick), 1)), drawn[:, drawn[sick].sum(0) > 0]], axis=1)
        hard = rng.normal(size=len(sick)) + 1.2 * sick
        sides = []
        for _ in range(2):
            area = areas(hard + 0.7 * rng.normal(size=len(sick)), sick, drawn)
            sides.append(combine_seeds(area[:1], area[None, 1:]))
        found.append(paired_p_value(*sides, units=min(positives, negatives)) < 0.05)
    return np.mean(found)


def rejected_with_seeds(runs, people=80):
    rng = np.random.default_rng(7)
    found = []
    for _ in range(runs):
        drawn = weights(rng, people, 200)
        hard = 0.1 * rng.normal(size=people)
        sides = []
        for _ in range(2):
            dice = hard + 0.03 * rng.normal(size=(3, 1)) + 0.05 * rng.normal(size=(3, people))
            sides.append(combine_seeds(dice.mean(1), dice @ drawn / people))
        found.append(paired_difference(*sides, units=people, alpha=0.05))
    naive = [abs(one.value) > 1.96 * one.sample_error for one in found]
    return np.mean([one.p_value < 0.05 for one in found]), np.mean(naive)


def test_size_and_power_for_means_are_those_of_the_t_test():
    assert p_values_of_means(500)[:, 0].mean() <= 0.05 + noise_of(500)
    ours, reference = p_values_of_means(400, shift=0.025).mean(axis=0)
    assert reference > 0.4
    assert ours >= reference - 0.04


@pytest.mark.parametrize(("positives", "negatives"), [(12, 120), (60, 60)])
def test_size_for_areas_under_curves(positives, negatives):
    assert rejected_areas(250, positives, negatives) <= 0.05 + noise_of(250)


def test_size_with_several_seeds_where_subjects_alone_would_find_anything():
    combined, naive = rejected_with_seeds(400)
    assert combined <= 0.05 + noise_of(400)
    assert naive > 0.4


@pytest.mark.slow
def test_size_is_at_most_six_percent():
    for people in (20, 40, 150):
        assert p_values_of_means(3000, people)[:, 0].mean() <= 0.06 + 0.005
    for positives, negatives in ((10, 200), (30, 300), (100, 100)):
        assert rejected_areas(2000, positives, negatives) <= 0.06 + 0.005
    assert rejected_with_seeds(3000)[0] <= 0.06
