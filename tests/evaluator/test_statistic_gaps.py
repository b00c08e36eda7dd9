import functools

import numpy as np
import pytest

from evaluator.statistics.gaps import detectable_among, detectable_gap, measure_gap
from evaluator.statistics.permutation import NullGaps


def null_of(gaps, statistic, observed):
    """Permuted values of two groups that are so far apart."""
    values = np.stack([np.zeros(len(gaps)), np.asarray(gaps, float)], axis=1)
    return NullGaps(values, np.full_like(values, 1e-4), 0.5, np.asarray(statistic, float), observed)


NULL = null_of([0.01, 0.02, 0.03], [1.0, 2.0, 3.0], 2.5)


def gap(values, replicates=None, null=NULL, higher=True):
    values = np.asarray(values, float)
    if replicates is None:
        replicates = values[:, None] + 0.01 * np.random.default_rng(0).normal(size=(len(values), 500))
    unknown = np.full(len(values), np.nan)
    sizes = np.full(len(values), 50.0)
    return measure_gap(values, replicates, unknown, sizes, null, higher_is_better=higher, alpha=0.05)


def test_raw_gap_null_mean_and_adjusted_gap():
    found = gap([0.8, 0.7])
    assert found.raw == pytest.approx(0.1)
    assert found.null_mean == pytest.approx(0.02)
    assert found.adjusted == pytest.approx(np.sqrt(0.01 - (1 + 4 + 9) * 1e-4 / 3))
    assert found.p_value == 0.5


def test_adjusted_gap_is_never_negative():
    assert gap([0.8, 0.799]).adjusted == 0.0


@pytest.mark.parametrize(("higher", "best", "worst"), [(True, 1, 2), (False, 2, 1)])
def test_best_and_worst_follow_the_direction_of_the_metric(higher, best, worst):
    found = gap([0.5, 0.9, 0.1], higher=higher)
    assert (found.best, found.worst) == (best, worst)


@pytest.mark.parametrize("higher", [True, False])
def test_interval_of_two_groups_is_signed_and_may_cross_zero(higher):
    draws = np.random.default_rng(1).normal(size=(2, 4000))
    found = gap([0.80, 0.81], np.array([[0.80], [0.81]]) + 0.02 * draws, higher=higher)
    assert found.ci_low < 0 < found.ci_high
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx(0.01, abs=0.003)


def test_more_than_two_groups_have_a_simultaneous_interval_of_the_largest_gap():
    found = gap([0.8, 0.7, 0.75])
    assert found.interval == "simultaneous"
    assert 0.0 < found.ci_low < 0.1 < found.ci_high < 0.2
    same = gap([0.75, 0.75, 0.75])
    assert same.ci_low == 0.0 < same.ci_high


def test_without_replicates_two_groups_have_a_normal_interval():
    found = measure_gap(
        np.array([0.8, 0.7]),
        np.zeros((2, 0)),
        np.array([0.03**2, 0.04**2]),
        np.full(2, 50.0),
        NULL,
        higher_is_better=True,
        alpha=0.05,
    )
    assert (found.interval, found.ci_low) == ("normal", pytest.approx(0.1 - 1.959964 * 0.05, abs=1e-6))
    assert found.detectable == pytest.approx(0.1401, abs=1e-4)


@pytest.mark.parametrize(("rate", "n", "expected"), [(0.8, 50, 0.224), (0.8, 100, 0.158), (0.8, 1000, 0.050)])
def test_detectable_gap_of_two_groups_matches_the_published_table(rate, n, expected):
    error = np.sqrt(rate * (1 - rate) / n)
    assert detectable_gap([error, error], alpha=0.05) == pytest.approx(expected, abs=5e-4)


def test_detectable_gap_has_the_stated_power():
    rng = np.random.default_rng(2)
    errors = np.array([0.01, 0.02, 0.04])
    found = detectable_gap(errors.tolist(), alpha=0.05)
    values = np.array([0.0, 0.0, found]) + errors * rng.normal(size=(20_000, 3))
    weight = 1 / errors**2
    centre = (values * weight).sum(1, keepdims=True) / weight.sum()
    assert np.mean((weight * (values - centre) ** 2).sum(1) > 5.991) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("errors", [[0.1, 0.0], [0.1, float("nan")]])
def test_detectable_gap_is_unknown_without_standard_errors(errors):
    assert detectable_gap(errors, alpha=0.05) is None


def test_without_permutations_the_raw_gap_stays_and_the_rest_is_null_with_a_reason():
    found = gap([0.8, 0.7], null=null_of([], [], 1.0))
    assert found.raw == pytest.approx(0.1)
    assert (found.p_value, found.null_mean, found.adjusted) == (None, None, None)
    assert found.reason == "no_permutations"


@pytest.mark.parametrize("groups", [2, 4])
def test_detectable_gap_among_many_tests_is_that_of_the_stricter_level(groups):
    errors = [0.03] * groups
    strict = detectable_gap(errors, alpha=0.05 / 40)
    among = detectable_among(detectable_gap(errors, alpha=0.05), alpha=0.05, tests=40)
    assert strict <= among * (1 + 1e-9) < 1.1 * strict
    assert groups > 2 or among == pytest.approx(strict)
    assert detectable_among(0.1, alpha=0.05, tests=1) == pytest.approx(0.1)


@pytest.mark.parametrize("higher", [True, False])
def test_interval_of_two_groups_is_made_of_their_own(higher):
    bounds = np.array([[0.7, 0.95], [0.68, 0.72]])
    values = np.array([0.9, 0.7])
    for order in ([0, 1], [1, 0]):
        found = measure_gap(
            values[order],
            np.repeat(values[order][:, None], 50, axis=1),
            np.full(2, np.nan),
            np.full(2, 50.0),
            NULL,
            higher_is_better=higher,
            alpha=0.05,
            bounds=functools.partial(lambda order, alpha: bounds[order], order),
        )
        assert found.interval == "recovered"
        assert found.ci_low == pytest.approx(0.2 - np.hypot(0.2, 0.02))
        assert found.ci_high == pytest.approx(0.2 + np.hypot(0.05, 0.02))
