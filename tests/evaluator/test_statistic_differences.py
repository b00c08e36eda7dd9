import numpy as np
import pytest

from evaluator.statistics.differences import difference_interval, shared_error
from evaluator.statistics.intervals import rate_interval


def rates(successes, sizes):
    values = np.array(successes) / np.array(sizes)
    bounds = [
        rate_interval(value, n, n, value * (1 - value) / (n - 1), 0.05)[:2]
        for value, n in zip(values, sizes, strict=True)
    ]
    return values, np.array(bounds)


def test_difference_of_rates_agrees_with_statsmodels():
    from statsmodels.stats.proportion import confint_proportions_2indep

    found = difference_interval(*rates([56, 48], [70, 80]))
    expected = confint_proportions_2indep(56, 70, 48, 80, method="newcomb", compare="diff")
    assert found[:2] == pytest.approx(expected, abs=1e-10)


def test_a_small_group_in_which_all_is_right_is_not_taken_for_certain():
    found = difference_interval(*rates([12, 180], [12, 200]))
    assert found.low < 0.0 < found.high


@pytest.mark.parametrize(("sizes", "rate"), [((12, 200), 0.9), ((20, 500), 0.95), ((200, 200), 0.8)])
def test_differences_of_rates_are_covered_also_where_one_group_is_small(sizes, rate):
    rng = np.random.default_rng(0)
    drawn = rng.binomial(sizes, rate, (1500, 2))
    known = {tuple(row): difference_interval(*rates(row, sizes)) for row in np.unique(drawn, axis=0)}
    covered = np.mean([known[tuple(row)].low <= 0.0 <= known[tuple(row)].high for row in drawn])
    assert covered > 0.935


def test_groups_that_share_subjects_have_a_narrower_difference():
    values, bounds = np.array([0.8, 0.7]), np.array([[0.7, 0.9], [0.6, 0.8]])
    apart, together = (difference_interval(values, bounds, r) for r in (0.0, 0.6))
    assert together.low > apart.low
    assert together.high < apart.high
    assert difference_interval(values, bounds, 1.0)[:2] == pytest.approx((0.1, 0.1))


def test_only_correlation_beyond_chance_counts():
    rng = np.random.default_rng(1)
    common = rng.normal(size=1000)

    def shared(first, second):
        found = shared_error(np.stack([first, second]))
        assert found[0, 1] == found[1, 0]
        return found[0, 1]

    assert shared(rng.normal(size=1000), rng.normal(size=1000)) == 0.0
    assert shared(common, common + rng.normal(size=1000)) == pytest.approx(0.7, abs=0.06)
    assert shared(common, np.ones(1000)) == 0.0
    assert shared(np.full(1000, 0.9), np.full(1000, 0.7)) == 0.0
    assert shared(np.full(9, np.nan), common[:9]) == 0.0
    assert shared(np.zeros(0), np.zeros(0)) == 0.0
