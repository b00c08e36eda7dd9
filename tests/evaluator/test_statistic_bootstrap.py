import numpy as np
import pytest
from scipy import stats

from evaluator.measure.uncertainty import expanded_interval
from evaluator.metrics.classification import Scored, auc, threshold_metrics
from evaluator.metrics.per_subject import Measured, subject_mean
from evaluator.statistics.bootstrap import (
    percentile_interval,
    standard_error,
    subject_weights,
    wilson_interval,
)
from evaluator.statistics.partition import Partition
from evaluator.statistics.resampling import Resampler, evaluate

PEOPLE = tuple(f"p{i:03d}" for i in range(90))


def all_weights(seed, subjects, replicates):
    return np.concatenate([weights for _, weights in subject_weights(seed, subjects, replicates)], axis=1)


def test_every_replicate_draws_as_many_subjects_as_there_are():
    weights = all_weights(0, PEOPLE, 1300)
    assert weights.shape == (90, 1300)
    assert (weights.sum(axis=0) == 90).all()
    # 90 times a replicate's variance is nearly chi-squared with 89 degrees of freedom: four standard errors of 1,300 of them
    assert weights.var() == pytest.approx(1 - 1 / 90, abs=4 * np.sqrt(2 * 89 / 1300) / 90)


def test_fewer_replicates_are_a_prefix_of_more():
    np.testing.assert_array_equal(all_weights(1, PEOPLE, 150), all_weights(1, PEOPLE, 400)[:, :150])


@pytest.mark.parametrize(("seed", "subjects"), [(2, PEOPLE), (1, (*PEOPLE[:-1], "q"))])
def test_another_seed_or_another_set_of_subjects_gives_other_replicates(seed, subjects):
    assert (all_weights(1, PEOPLE, 64) != all_weights(seed, subjects, 64)).any()


def explicit(weights, subject):
    """Row numbers of a resample: every row of a subject as often as the subject was drawn."""
    return np.repeat(np.arange(len(subject)), weights[subject].astype(int))


def test_weights_equal_explicit_resampling_replicate_by_replicate():
    rng = np.random.default_rng(0)
    subject, group = rng.integers(0, 90, 260), rng.integers(0, 3, 260)
    p = np.round(rng.random(260), 2)
    data = Scored((rng.random(260) < 0.4).astype(np.int64), np.stack([1 - p, p], 1), 1)
    metrics = (auc(data), *threshold_metrics(0.5, "fixed"))
    values = Resampler.prepare(metrics, data, Partition.cut(subject, group, 3))
    weights = all_weights(0, PEOPLE, 20)
    found = values(weights)
    for replicate in range(20):
        rows = explicit(weights[:, replicate], subject)
        for g in range(3):
            mine = rows[group[rows] == g]
            part = Scored(data.label[mine], data.scores[mine], 1)
            once = np.ones((len(mine), 1))
            expected = [evaluate(metric, part, np.arange(len(mine)), once)[0] for metric in metrics]
            np.testing.assert_allclose(found[:, g, replicate], expected, atol=1e-12)


def test_mean_over_subjects_equals_explicit_resampling_of_subject_means():
    rng = np.random.default_rng(1)
    subject = np.sort(rng.integers(0, 90, 300))
    value = np.where(rng.random(300) < 0.2, np.nan, rng.random(300))
    values = Resampler.prepare(
        (subject_mean("dice"),), Measured({"dice": value}), Partition.cut(subject, np.zeros(300, int), 1)
    )
    weights = all_weights(3, PEOPLE, 10)
    means = {
        s: np.nanmean(value[subject == s])
        for s in np.unique(subject)
        if not np.isnan(value[subject == s]).all()
    }
    for replicate in range(10):
        drawn = [mean for s, mean in means.items() for _ in range(int(weights[s, replicate]))]
        assert values(weights)[0, 0, replicate] == pytest.approx(np.mean(drawn), abs=1e-12)


def test_interval_is_the_percentiles_of_the_defined_replicates():
    replicates = np.append(np.linspace(0, 1, 1001), np.full(20, np.nan))
    assert percentile_interval(replicates, 0.05) == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize("units", [5.0, 30.0, 14.4])
def test_an_expanded_interval_of_normal_replicates_is_student_s(units):
    value, error = 3.0, 0.5
    spread = error * np.sqrt(
        (units - 1) / units
    )  # what a bootstrap of so few units shows of the standard error
    replicates = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000, value, spread)
    expected = stats.t.interval(0.9, units - 1, value, error)
    assert percentile_interval(replicates, 0.1, units) == pytest.approx(expected, rel=1e-3)


def test_expansion_vanishes_with_the_number_of_units_and_needs_two():
    replicates = np.random.default_rng(3).normal(size=5000)
    plain = percentile_interval(replicates, 0.05)
    assert percentile_interval(replicates, 0.05, 1e9) == pytest.approx(plain, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        percentile_interval(replicates, 0.05, 1.5)


@pytest.mark.parametrize(
    ("replicates", "reason"),
    [
        (np.append(np.arange(94.0), np.full(6, np.nan)), "undefined_replicates: 6 of 100"),
        (np.ones(100), "no_variation"),
        (np.empty(0), "no_replicates"),
    ],
)
def test_no_interval_without_enough_different_replicates(replicates, reason):
    assert percentile_interval(replicates, 0.05) == reason


def test_standard_error_is_undefined_when_too_many_replicates_are():
    assert np.isnan(standard_error(np.append(np.arange(94.0), np.full(6, np.nan))))
    assert standard_error(np.array([1.0, 2.0, 3.0])) == 1.0


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (4, 5, 0.375535, 0.963776),
        (5, 5, 0.565518, 1.0),
        (8, 9, 0.565000, 0.980109),
        (10, 10, 0.722467, 1.0),
        (80, 100, 0.711171, 0.866633),
    ],
)
def test_golden_wilson_intervals(k, n, low, high):
    assert wilson_interval(k / n, n, 0.05) == pytest.approx((low, high), abs=1e-6)


def test_fewer_units_never_narrow_an_interval_and_plain_percentiles_are_called_so():
    replicates = np.random.default_rng(0).normal(size=4000)
    few, two, many = (expanded_interval(replicates, units, 0.05) for units in (1.2, 2.0, 30.0))
    assert few == two
    assert few.low < many.low < many.high < few.high
    unknown = expanded_interval(replicates, float("nan"), 0.05)
    assert unknown.method == expanded_interval(replicates, 0.0, 0.05).method == "percentile"
    assert unknown[:2] == percentile_interval(replicates, 0.05)
