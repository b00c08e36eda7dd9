import numpy as np
import pytest

from evaluator.statistics.shrinkage import shrink

RATE = np.array([0.80, 0.81, 0.78, 0.90])
N = np.array([2000.0, 400.0, 120.0, 50.0])
VARIANCE = RATE * (1 - RATE) / (N - 1)


def test_golden_shrinkage():
    found = shrink(RATE, VARIANCE)
    assert found.tau2 == pytest.approx(0.0004299959, abs=5e-11)
    assert found.mean == pytest.approx(0.8109785787, abs=5e-11)
    np.testing.assert_allclose(found.factors, [0.15693, 0.47286, 0.77030, 0.81030], atol=5e-6)
    np.testing.assert_allclose(found.values, [0.801723, 0.810463, 0.803863, 0.827866], atol=5e-7)


def test_groups_that_differ_less_than_chance_all_get_the_common_mean():
    variance = np.array([0.01, 0.02, 0.04])
    found = shrink(np.array([0.50, 0.51, 0.49]), variance)
    assert found.tau2 == 0.0
    np.testing.assert_allclose(found.values, found.mean)
    np.testing.assert_allclose(found.standard_errors, 1 / np.sqrt(np.sum(1 / variance)))


def test_groups_known_well_keep_their_values():
    values = np.array([0.2, 0.5, 0.9])
    found = shrink(values, np.full(3, 1e-10))
    np.testing.assert_allclose(found.values, values, atol=1e-8)
    np.testing.assert_allclose(found.standard_errors, 1e-5, rtol=1e-6)


def test_undefined_groups_stay_undefined_and_change_nothing():
    values, variances = np.insert(RATE, [1, 3], [np.nan, 0.4]), np.insert(VARIANCE, [1, 3], [0.01, np.nan])
    found, without = shrink(values, variances), shrink(RATE, VARIANCE)
    missing = np.isnan(values) | np.isnan(variances)
    for name in ("factors", "values", "standard_errors"):
        assert np.isnan(getattr(found, name)[missing]).all()
        np.testing.assert_array_equal(getattr(found, name)[~missing], getattr(without, name))
    assert found[:2] == without[:2]


def test_a_group_with_variance_zero_keeps_its_value_and_does_not_pull_the_others():
    found = shrink(np.append(RATE, 1.0), np.append(VARIANCE, 0.0))
    assert (found.values[-1], found.factors[-1], found.standard_errors[-1]) == (1.0, 0.0, 0.0)
    np.testing.assert_array_equal(found.values[:-1], shrink(RATE, VARIANCE).values)


@pytest.mark.parametrize("values", [[0.7], [0.7, np.nan]])
def test_a_single_group_is_not_shrunk(values):
    found = shrink(np.array(values), np.full(len(values), 0.04))
    assert (found.values[0], found.factors[0]) == (0.7, 0.0)
    assert found.standard_errors[0] == pytest.approx(0.2)
    assert np.isnan([found.tau2, found.mean]).all()


def test_no_group_at_all_has_no_estimate():
    found = shrink(np.full(2, np.nan), np.full(2, np.nan))
    assert np.isnan([found.tau2, found.mean, *found.values, *found.standard_errors]).all()


@pytest.mark.parametrize(
    ("variances", "message"), [([0.1, -0.1], "at least 0"), ([0.1], "must be"), ([[0.1, 0.1]], "must be")]
)
def test_impossible_variances_are_refused(variances, message):
    with pytest.raises(ValueError, match=message):
        shrink(np.array([0.5, 0.6]), np.array(variances))


@pytest.mark.parametrize(("spread", "share"), [(0.0, 0.3), (0.02, 0.4), (0.05, 0.8)])
def test_shrunk_values_are_closer_to_the_truth(spread, share):
    rng = np.random.default_rng(0)
    error = np.array([0.006, 0.014, 0.033, 0.063])
    truth = 0.8 + spread * rng.normal(size=(1000, 4))
    values = truth + error * rng.normal(size=(1000, 4))
    shrunk = np.stack([shrink(row, error**2).values for row in values])
    assert np.mean((shrunk - truth) ** 2) < share * np.mean((values - truth) ** 2)


def test_standard_errors_say_how_close_where_groups_are_many():
    rng = np.random.default_rng(3)
    error = np.tile([0.02, 0.04, 0.06, 0.08], 30)
    truth = 0.8 + 0.05 * rng.normal(size=(100, 120))
    found = [shrink(row, error**2) for row in truth + error * rng.normal(size=truth.shape)]
    away = [(one.values - row) / one.standard_errors for one, row in zip(found, truth, strict=True)]
    assert np.mean(np.abs(away) < 1.96) == pytest.approx(0.95, abs=0.01)
