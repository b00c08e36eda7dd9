import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.metrics.classification import Scored, threshold_metrics
from evaluator.statistics.partition import Partition
from evaluator.statistics.resampling import Resampler
from evaluator.statistics.standardise import standard_weights


def draw(seed, n=6000):
    """Group 1 is older; being right depends on the stratum of age alone."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    stratum = np.where(group == 1, rng.choice(3, n, p=[0.1, 0.3, 0.6]), rng.choice(3, n, p=[0.5, 0.3, 0.2]))
    right = rng.random(n) < np.array([0.95, 0.8, 0.6])[stratum]
    return group, stratum, right


def test_standardised_rate_is_the_one_computed_by_hand():
    # Group a: 4 young (3 right), 1 old (0 right); group b: 1 young (1 right), 4 old (2 right). Half of all are young.
    group = np.repeat([0, 1], 5)
    stratum = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1])
    right = np.array([1, 1, 1, 0, 0, 1, 1, 1, 0, 0])
    weights = standard_weights(group, stratum, groups=2).weights
    rates = [np.average(right[group == g], weights=weights[group == g]) for g in (0, 1)]
    assert rates == pytest.approx([0.5 * 0.75 + 0.5 * 0.0, 0.5 * 1.0 + 0.5 * 0.5])


def test_a_gap_that_is_only_one_of_age_disappears():
    group, stratum, right = draw(0)
    weights = standard_weights(group, stratum, groups=2).weights
    raw = [right[group == g].mean() for g in (0, 1)]
    fair = [np.average(right[group == g], weights=weights[group == g]) for g in (0, 1)]
    assert raw[0] - raw[1] > 0.1
    assert abs(fair[0] - fair[1]) < 0.03


def test_weights_give_what_resampling_each_stratum_gives_on_average():
    group, stratum, right = draw(1, n=300)
    weights = standard_weights(group, stratum, groups=2).weights
    rng = np.random.default_rng(2)
    whole = np.bincount(stratum) / len(stratum)
    for g in (0, 1):
        cells = [right[(group == g) & (stratum == s)] for s in range(3)]
        counts = rng.multinomial(1000, whole, 400)
        drawn = [
            sum(rng.choice(c, k).sum() for c, k in zip(cells, row, strict=True)) / 1000 for row in counts
        ]
        expected = np.average(right[group == g], weights=weights[group == g])
        assert np.mean(drawn) == pytest.approx(expected, abs=4 * np.std(drawn) / 20)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 4))
def test_every_group_gets_the_mix_of_the_whole(seed, groups, strata):
    rng = np.random.default_rng(seed)
    group, stratum = rng.integers(-1, groups, 60), rng.integers(-1, strata, 60)
    found = standard_weights(group, stratum, groups=groups)
    known = (group >= 0) & (stratum >= 0)
    assert (found.weights[~known] == 0).all()
    whole = np.bincount(stratum[known], minlength=strata) / max(1, known.sum())
    for g in range(groups):
        mine = known & (group == g)
        if found.missing[g]:
            assert np.isnan(found.weights[mine]).all()
        elif mine.any():
            mix = np.bincount(stratum[mine], found.weights[mine], minlength=strata)
            np.testing.assert_allclose(mix / mine.sum(), whole, atol=1e-12)
            assert found.effective[g] <= mine.sum() + 1e-9


def test_groups_of_the_same_mix_are_left_alone():
    found = standard_weights(np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 0, 1, 1]), groups=2)
    np.testing.assert_array_equal(found.weights, np.ones(6))
    np.testing.assert_array_equal(found.effective, [2.0, 4.0])


def test_unequal_weights_count_as_fewer_rows():
    found = standard_weights(np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1]), groups=2)
    np.testing.assert_allclose(found.effective, 9 / (2 * 0.75**2 + 1.5**2))


def test_a_group_that_lacks_a_stratum_has_no_weights_and_the_stratum_is_named():
    group, stratum = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 0])
    found = standard_weights(group, stratum, groups=3)
    assert np.isnan(found.weights[3:]).all()
    assert not np.isnan(found.weights[:3]).any()
    names = ("<40", "40-60", "60+")
    assert found.reason(0, names) is None
    assert found.reason(1, names) == "missing_strata: 40-60, 60+"
    assert found.reason(2, names) == "missing_strata: <40, 40-60, 60+"
    assert np.isnan(found.effective[1:]).all()


def test_rows_of_unknown_group_or_stratum_change_nothing():
    group, stratum, _ = draw(3, n=200)
    plain = standard_weights(group, stratum, groups=2).weights
    more = standard_weights(np.append(group, [-1, 1, -1]), np.append(stratum, [0, -1, 7]), groups=2)
    np.testing.assert_array_equal(more.weights, np.append(plain, [0, 0, 0]))


def test_no_row_at_all_has_no_weights():
    found = standard_weights(np.empty(0, int), np.empty(0, int), groups=2)
    assert len(found.weights) == 0
    assert np.isnan(found.effective).all()


@pytest.mark.parametrize(
    ("group", "stratum", "message"), [([0, 1], [0], "same length"), ([0, 2], [0, 0], "codes below 2")]
)
def test_impossible_codes_are_refused(group, stratum, message):
    with pytest.raises(ValueError, match=message):
        standard_weights(np.array(group), np.array(stratum), groups=2)


def test_standardised_to_equal_prevalence_precision_depends_on_the_model_alone():
    rng = np.random.default_rng(4)
    n = 40_000
    group = rng.integers(0, 2, n)
    label = (rng.random(n) < np.where(group == 0, 0.5, 0.1)).astype(np.int64)
    p = np.where(rng.random(n) < np.where(label == 1, 0.8, 0.1), 0.9, 0.1)
    data = Scored(label, np.stack([1 - p, p], 1), 1)
    metrics = [m for m in threshold_metrics(0.5, "fixed") if m.name == "ppv"]
    partition = Partition.cut(np.arange(n), group, 2)
    weights = standard_weights(group, label, groups=2).weights
    raw, standard = (
        Resampler.prepare(metrics, data, partition, share)(np.ones((n, 1)))[0, :, 0]
        for share in (None, weights)
    )
    prevalence = label.mean()
    expected = 0.8 * prevalence / (0.8 * prevalence + 0.1 * (1 - prevalence))
    assert raw[0] - raw[1] > 0.3
    np.testing.assert_allclose(standard, expected, atol=0.02)
