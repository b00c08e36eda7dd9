import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluator.statistics.bootstrap import percentile_interval, wilson_interval
from evaluator.statistics.delong import clustered_delong, delong
from evaluator.statistics.differences import difference_interval
from evaluator.statistics.intervals import (
    acceleration,
    auc_interval,
    bca_interval,
    clopper_pearson,
    effective_size,
    hanley_variance,
    logit_interval,
    newcombe_interval,
    rate_interval,
    t_interval,
)
from evaluator.statistics.simultaneous import gap_interval


def covers(interval, truth):
    return interval.low <= truth <= interval.high


def share_below(runs, nominal=0.95):
    """The coverage that binomial noise of so many runs makes believable, three standard errors below nominal."""
    return nominal - 3 * np.sqrt(nominal * (1 - nominal) / runs)


def test_bca_interval_is_that_of_scipy():
    sample = np.random.default_rng(0).exponential(size=40)
    found = stats.bootstrap(
        (sample,), np.mean, n_resamples=3000, method="BCa", rng=np.random.default_rng(1), vectorized=True
    )
    mine = bca_interval(
        found.bootstrap_distribution, float(sample.mean()), acceleration(sample - sample.mean()), 0.05
    )
    assert mine[:2] == pytest.approx(tuple(found.confidence_interval), abs=1e-12)
    assert mine.method == "bca"


def test_bca_interval_without_bias_and_acceleration_is_the_percentile_interval():
    replicates = np.linspace(-1, 1, 2001)
    assert bca_interval(replicates, 0.0, 0.0, 0.05)[:2] == pytest.approx(
        percentile_interval(replicates, 0.05)
    )


def test_bca_interval_covers_the_mean_of_a_skewed_sample_and_leans_to_its_long_tail():
    rng = np.random.default_rng(2)
    runs, hits, leaning = 400, 0, 0
    for _ in range(runs):
        sample = rng.exponential(size=25)
        replicates = rng.choice(sample, (400, 25)).mean(axis=1)
        corrected = bca_interval(replicates, sample.mean(), acceleration(sample - sample.mean()), 0.05)
        hits += covers(corrected, 1.0)
        low, high = percentile_interval(replicates, 0.05)
        leaning += corrected.low + corrected.high > low + high
    assert hits / runs >= share_below(runs, 0.92)
    assert leaning / runs > 0.8


@pytest.mark.parametrize(
    ("replicates", "value", "pull", "reason"),
    [
        (np.append(np.arange(94.0), np.full(6, np.nan)), 40.0, 0.0, "undefined_replicates: 6 of 100"),
        (np.full(10, np.nan), 40.0, 0.0, "undefined_replicates: 10 of 10"),
        (np.ones(100), 1.0, 0.0, "no_variation"),
        (np.empty(0), 1.0, 0.0, "no_replicates"),
        (np.arange(100.0), 200.0, 0.0, "value_outside_replicates"),
        (np.arange(100.0), 97.0, 0.4, "acceleration_too_large"),
    ],
)
def test_bca_interval_says_why_there_is_none(replicates, value, pull, reason):
    assert bca_interval(replicates, value, pull, 0.05) == reason


def test_acceleration_of_symmetric_or_absent_influences_is_zero():
    assert acceleration(np.array([-2.0, -1.0, 1.0, 2.0])) == 0.0
    assert acceleration(np.zeros(5)) == 0.0


def test_t_interval_is_that_of_scipy():
    sample = np.random.default_rng(3).normal(size=9)
    found = t_interval(sample.mean(), stats.sem(sample), 9, 0.1)
    expected = stats.ttest_1samp(sample, 0.0).confidence_interval(0.9)
    assert found[:2] == pytest.approx(tuple(expected))
    assert found.method == "t"


@pytest.mark.parametrize(
    ("error", "clusters", "reason"),
    [(0.1, 1, "one_subject"), (np.nan, 5, "one_subject"), (0.0, 5, "no_variation")],
)
def test_t_interval_says_why_there_is_none(error, clusters, reason):
    assert t_interval(0.5, error, clusters, 0.05) == reason


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 9), (10, 10), (300, 400)])
def test_clopper_pearson_is_scipys_exact_interval(k, n):
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(k, n, 0.05)[:2] == pytest.approx((exact.low, exact.high), abs=1e-10)


def test_clopper_pearson_of_fractions_lies_between_its_whole_neighbours():
    low, middle, high = (clopper_pearson(0.5 * n, n, 0.05) for n in (10, 10.5, 11))
    assert low.low < middle.low < high.low
    assert low.high > middle.high > high.high


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5), (float("nan"), 5)])
def test_clopper_pearson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="successes must be in"):
        clopper_pearson(k, n, 0.05)


@pytest.mark.parametrize(
    ("share", "n", "method"),
    [
        (0.8, 100, "wilson"),
        (0.5, 40, "wilson"),
        (0.5, 38, "clopper-pearson"),
        (0.0, 500, "clopper-pearson"),
        (1.0, 500, "clopper-pearson"),
    ],
)
def test_method_of_a_rate_with_one_sample_per_subject(share, n, method):
    found = rate_interval(share, n, n, share * (1 - share) / (n - 1), 0.05)
    assert found.method == method
    if method == "wilson":
        assert found[:2] == wilson_interval(share, n, 0.05)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_rate_of_zero_or_one_counts_subjects_not_samples(share):
    found = rate_interval(share, 500, 20, 0.0, 0.05)
    assert found[:2] == clopper_pearson(share * 20, 20, 0.05)[:2]


def test_effective_size_is_the_number_of_independent_samples_less_what_few_subjects_cost():
    assert effective_size(0.5, 1000, 1000, np.nan, 0.05) == 1000
    assert effective_size(0.5, 1000, 200, 0.25 / 294, 0.05) == pytest.approx(294, rel=0.02)
    assert effective_size(0.5, 1000, 5, 0.25 / 294, 0.05) < 294 / 1.9


@pytest.mark.parametrize("variance", [0.0, 1e-9])
def test_effective_size_is_bounded_however_little_variance_is_seen(variance):
    assert effective_size(0.5, 60, 30, variance, 0.05) <= 4 * 60


def test_a_second_copy_of_every_sample_changes_no_effective_size():
    once = effective_size(0.9, 100, 60, 0.0007, 0.05)
    assert once > 100
    assert effective_size(0.9, 200, 60, 0.0007, 0.05) == once


@pytest.mark.parametrize(("subjects", "variance"), [(1, 0.001), (7, np.nan)])
def test_without_a_variance_the_subjects_are_the_effective_size(subjects, variance):
    assert effective_size(0.5, 60, subjects, variance, 0.05) == subjects


@pytest.mark.parametrize(("share", "n", "subjects"), [(1.2, 5, 5), (float("nan"), 5, 5), (0.5, 0, 0)])
def test_rate_interval_refuses_what_is_no_rate(share, n, subjects):
    with pytest.raises(ValueError, match="share must be in"):
        rate_interval(share, n, subjects, 0.1, 0.05)


@pytest.mark.parametrize(("people", "similar", "rate"), [(20, 0.6, 0.8), (60, 0.3, 0.5), (150, 0.6, 0.8)])
def test_rate_interval_covers_when_samples_of_a_subject_resemble_each_other(people, similar, rate):
    rng = np.random.default_rng(4)
    runs, hits, naive = 600, 0, 0
    prior = (1 - similar) / similar
    for _ in range(runs):
        right = rng.binomial(5, rng.beta(rate * prior, (1 - rate) * prior, people))
        n, share = 5 * people, right.sum() / (5 * people)
        variance = people / (people - 1) * np.sum((right - 5 * share) ** 2) / n**2
        hits += covers(rate_interval(share, n, people, variance, 0.05), rate)
        low, high = wilson_interval(share, n, 0.05)
        naive += low <= rate <= high
    assert hits / runs >= share_below(runs)
    assert naive / runs < 0.9


def test_golden_logit_interval():
    found = logit_interval(0.8730158730, 0.0079994961, 0.05)
    assert found[:2] == pytest.approx((0.5857965, 0.9709475), abs=5e-8)
    assert found.method == "delong-logit"


@pytest.mark.parametrize(("value", "variance"), [(1.0, 0.1), (0.0, 0.1), (0.5, 0.0), (0.5, np.nan)])
def test_logit_interval_refuses_areas_without_log_odds_or_variance(value, variance):
    with pytest.raises(ValueError, match="value must be inside"):
        logit_interval(value, variance, 0.05)


def test_hanley_and_mcneils_variance_at_equal_sizes():
    area, n = 0.8, 25
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    expected = (area * (1 - area) + (n - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / n**2
    assert hanley_variance(area, n, n) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 40), (25, 25)])
def test_newcombe_bounds_are_where_the_value_is_as_far_as_chance_allows(value, sizes):
    found = newcombe_interval(value, *sizes, 0.05)
    assert 0.0 <= found.low < found.high <= 1.0
    for bound in {found.low, found.high} - {value}:
        away = abs(value - bound) / np.sqrt(hanley_variance(bound, *sizes))
        assert away == pytest.approx(1.959964, abs=1e-5)


@given(st.floats(0, 1), st.integers(1, 400), st.integers(1, 400))
def test_newcombe_interval_is_inside_the_scale_and_mirrors_with_the_area(value, positives, negatives):
    found = newcombe_interval(value, positives, negatives, 0.05)
    assert 0.0 <= found.low <= value <= found.high <= 1.0
    mirrored = newcombe_interval(1.0 - value, positives, negatives, 0.05)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx(found[:2], abs=1e-6)


def test_newcombe_interval_refuses_an_empty_class():
    with pytest.raises(ValueError, match="both classes present"):
        newcombe_interval(0.5, 0, 10, 0.05)


@pytest.mark.parametrize(
    ("value", "variance", "positives", "negatives", "method"),
    [
        (0.8, 0.001, 30, 500, "delong-logit"),
        (0.8, 0.001, 29, 500, "newcombe"),
        (1.0, 0.0, 300, 500, "newcombe"),
        (0.0, 0.0, 300, 500, "newcombe"),
        (0.8, 0.0, 300, 500, "newcombe"),
        (0.8, np.nan, 1, 500, "newcombe"),
    ],
)
def test_method_of_an_area(value, variance, positives, negatives, method):
    found = auc_interval(value, variance, positives, negatives, 0.05)
    assert found.method == method
    assert 0.0 <= found.low < found.high <= 1.0


def test_an_area_of_a_small_group_is_not_more_certain_than_its_own_variance():
    ordinary, noisy = (auc_interval(0.8, variance, 15, 100, 0.05) for variance in (0.003, 0.012))
    assert noisy.low < ordinary.low
    assert noisy.high > ordinary.high


def test_an_area_without_one_class_has_no_interval():
    assert auc_interval(np.nan, np.nan, 0, 10, 0.05) == "one_class"


@pytest.mark.parametrize(
    ("positives", "negatives", "truth"),
    [(8, 8, 0.8), (15, 15, 0.95), (15, 15, 0.6), (30, 100, 0.8), (100, 100, 0.9)],
)
def test_auc_interval_covers_in_small_and_large_samples(positives, negatives, truth):
    rng = np.random.default_rng(5)
    runs, hits = 500, 0
    positive = np.arange(positives + negatives) < positives
    shift = np.sqrt(2) * stats.norm.ppf(truth)
    for _ in range(runs):
        areas = delong(rng.normal(size=len(positive)) + shift * positive, positive)
        found = auc_interval(
            float(areas.values[0]), float(areas.covariance[0, 0]), positives, negatives, 0.05
        )
        hits += covers(found, truth)
    assert hits / runs >= share_below(runs)


@pytest.mark.parametrize("people", [15, 40])
def test_auc_interval_covers_when_samples_of_a_subject_resemble_each_other(people):
    rng = np.random.default_rng(6)
    runs, hits, naive = 400, 0, 0
    subject = np.repeat(np.arange(2 * people), 4)
    positive = subject < people
    for _ in range(runs):
        noise = np.sqrt(0.6) * rng.normal(size=2 * people)[subject] + np.sqrt(0.4) * rng.normal(
            size=len(subject)
        )
        score = noise + np.sqrt(2) * stats.norm.ppf(0.8) * positive
        areas = clustered_delong(score, positive, subject)
        value = float(areas.values[0])
        hits += covers(auc_interval(value, float(areas.covariance[0, 0]), people, people, 0.05), 0.8)
        naive += covers(logit_interval(value, float(delong(score, positive).covariance[0, 0]), 0.05), 0.8)
    assert hits / runs >= share_below(runs)
    assert naive / runs < 0.9


def rates(rng, sizes, truth, replicates=400):
    values = np.array([rng.binomial(n, p) / n for n, p in zip(sizes, truth, strict=True)])
    drawn = np.stack([rng.binomial(n, x, replicates) / n for n, x in zip(sizes, values, strict=True)])
    return values, drawn


@pytest.mark.parametrize(
    "sizes", [(100,) * 4, (20,) * 3, (500, 150, 40), (30,) * 12, (500, 500, 500, 30, 30, 30)]
)
@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_interval_of_a_gap_covers_no_disparity_and_a_planted_one(sizes, gap):
    rng = np.random.default_rng(7)
    runs, hits, percentiles = 250, 0, 0
    truth = np.array([0.8] * (len(sizes) - 1) + [0.8 - gap])
    for _ in range(runs):
        values, drawn = rates(rng, sizes, truth)
        hits += covers(gap_interval(values, drawn, 0.05, np.array(sizes, float)), gap)
        low, high = percentile_interval(np.ptp(drawn, axis=0), 0.05)
        percentiles += low <= gap <= high
    assert hits / runs >= share_below(runs, 0.92 if gap == 0.0 else 0.95)
    if gap == 0.0:
        assert percentiles / runs < 0.2


def bounds_of_rates(values, sizes):
    """What gives Wilson's or the exact interval of every rate, at any level."""
    return lambda alpha: np.array(
        [rate_interval(x, n, n, np.nan, alpha)[:2] for x, n in zip(values, sizes, strict=True)]
    )


@pytest.mark.parametrize(
    ("sizes", "rate"), [((10, 12, 300), 0.9), ((20, 80, 500), 0.97), ((60, 160, 320), 0.95)]
)
def test_an_interval_of_a_gap_made_of_the_groups_own_covers_where_a_tiny_group_is_nearly_all_right(
    sizes, rate
):
    rng = np.random.default_rng(12)
    runs, own, errors = 300, 0, 0
    for _ in range(runs):
        values, drawn = rates(rng, sizes, [rate] * 3)
        counts = np.array(sizes, float)
        own += covers(gap_interval(values, drawn, 0.05, counts, bounds_of_rates(values, sizes)), 0.0)
        errors += covers(gap_interval(values, drawn, 0.05, counts), 0.0)
    assert own / runs >= share_below(runs, 0.93)
    assert own > errors


def test_bounds_of_a_gap_are_the_hull_of_those_of_all_pairs_at_the_level_that_holds_at_once():
    values, drawn = rates(np.random.default_rng(13), (90, 60, 150), [0.9, 0.8, 0.6])
    asked = []

    def bounds(alpha):
        asked.append(alpha)
        return bounds_of_rates(values, (90, 60, 150))(alpha)

    found = gap_interval(values, drawn, 0.05, np.array([90.0, 60.0, 150.0]), bounds)
    (level,) = asked
    assert 0.05 / 3 < level < 0.05  # of three pairs: looser than Bonferroni, stricter than of one
    ends = bounds(level)
    pairs = [difference_interval(values[[i, j]], ends[[i, j]]) for i in range(3) for j in range(3) if i != j]
    assert found.low == pytest.approx(max(one.low for one in pairs))
    assert found.high == pytest.approx(max(one.high for one in pairs))
    unknown = gap_interval(values, drawn, 0.05, None, lambda alpha: np.full((3, 2), np.nan))
    assert unknown == gap_interval(values, drawn, 0.05)


def test_interval_of_a_gap_excludes_zero_when_the_gap_is_large():
    rng = np.random.default_rng(8)
    values, drawn = rates(rng, (300,) * 4, [0.9, 0.9, 0.9, 0.6])
    found = gap_interval(values, drawn, 0.05, np.full(4, 300.0))
    assert found.low > 0.1
    assert found.method == "simultaneous"


def test_interval_of_a_gap_is_larger_for_few_subjects_than_for_known_errors():
    values, drawn = rates(np.random.default_rng(9), (40,) * 3, [0.8] * 3)
    known = gap_interval(values, drawn, 0.05)
    few = gap_interval(values, drawn, 0.05, np.full(3, 40.0))
    many = gap_interval(values, drawn, 0.05, np.full(3, 1e7))
    assert few.high > known.high
    assert many.high == pytest.approx(known.high, abs=1e-4)


def test_interval_of_a_gap_does_not_depend_on_the_order_of_groups():
    values, drawn = rates(np.random.default_rng(10), (40, 90, 200), [0.8] * 3)
    order, sizes = [2, 0, 1], np.array([40.0, 90.0, 200.0])
    turned = gap_interval(values[order], drawn[order], 0.05, sizes[order])
    assert turned[:2] == pytest.approx(gap_interval(values, drawn, 0.05, sizes)[:2], rel=1e-12)


def test_interval_of_a_gap_with_a_group_in_which_all_is_right():
    values, drawn = rates(np.random.default_rng(11), (50, 60, 20), [0.8, 0.8, 1.0])
    assert gap_interval(values, drawn, 0.05) == "no_variation"
    found = gap_interval(values, drawn, 0.05, np.array([50.0, 60.0, 20.0]))
    certain = float(np.ptp(values) + np.quantile(np.ptp(drawn - values[:, None], axis=0), 0.95))
    assert found.low < np.ptp(values) < found.high
    assert found.high > certain - 0.05


def test_interval_of_a_gap_says_why_there_is_none():
    drawn = np.random.default_rng(12).normal(size=(3, 100))
    some = drawn.copy()
    some[0, :4], some[1, 50:53] = np.nan, np.nan
    values, sizes = np.zeros(3), np.full(3, 9.0)
    assert gap_interval(values, some, 0.05, sizes) == "undefined_replicates: 7 of 100"
    assert gap_interval(values, drawn[:, :0], 0.05, sizes) == "no_replicates"
    assert gap_interval(values, np.ones((3, 100)), 0.05, sizes) == "no_variation"
    some[1, 50:53] = 0.0
    assert gap_interval(values, some, 0.05, sizes).high > 0


@pytest.mark.parametrize("values", [[0.5], [0.5, np.nan]])
def test_a_gap_needs_two_defined_values(values):
    with pytest.raises(ValueError, match="at least two groups"):
        gap_interval(np.array(values), np.random.default_rng(0).random((len(values), 10)), 0.05)


def test_a_gap_needs_two_subjects_in_every_group():
    drawn = np.random.default_rng(0).random((2, 10))
    with pytest.raises(ValueError, match="at least 2 in every group"):
        gap_interval(np.array([0.5, 0.6]), drawn, 0.05, np.array([1.0, 9.0]))
