import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from evaluator.statistics.delong import clustered_delong, delong, paired_test

P = [0.05, 0.10, 0.22, 0.31, 0.35, 0.42, 0.48, 0.55, 0.61, 0.66, 0.72, 0.80, 0.84, 0.90, 0.95, 0.97]
Y = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1], bool)


def draw(seed, models=3, n=120, digits=1):
    """Scores with many ties, classes, and subjects of which some have samples of both classes."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    scores = np.round(rng.normal(size=(models, n)) + rng.normal(size=n) + positive, digits)
    return scores, positive, rng.integers(0, n // 3, n)


def placements(row, positive):
    """Shares of the other class on the right side, from all pairs."""
    wins = np.sign(row[positive][:, None] - row[~positive][None]) / 2 + 0.5
    return wins.mean(axis=1), wins.mean(axis=0)


def test_golden_area_and_variance():
    found = delong(np.array(P), Y)
    assert found.values[0] == pytest.approx(0.8730158730, abs=5e-11)
    assert found.covariance[0, 0] == pytest.approx(0.0079994961, abs=5e-11)
    assert (found.positives, found.negatives) == (9, 7)


def test_areas_are_those_of_scikit_learn():
    scores, positive, subject = draw(0)
    expected = [roc_auc_score(positive, row) for row in scores]
    np.testing.assert_allclose(delong(scores, positive).values, expected, atol=1e-12)
    np.testing.assert_allclose(clustered_delong(scores, positive, subject).values, expected, atol=1e-12)


def test_covariance_is_that_of_placement_values_over_all_pairs():
    scores, positive, _ = draw(1)
    above, below = zip(*(placements(row, positive) for row in scores), strict=True)
    expected = np.cov(above) / positive.sum() + np.cov(below) / (~positive).sum()
    np.testing.assert_allclose(delong(scores, positive).covariance, expected, atol=1e-10)


def test_clustered_covariance_is_obuchowskis_over_all_pairs():
    scores, positive, subject = draw(2)
    people, m, n = np.unique(subject), positive.sum(), (~positive).sum()
    sums = []
    for row in scores:
        v10, v01 = placements(row, positive)
        area = v10.mean()
        x = [v10[subject[positive] == s].sum() - area * (positive & (subject == s)).sum() for s in people]
        y = [v01[subject[~positive] == s].sum() - area * (~positive & (subject == s)).sum() for s in people]
        sums.append((np.array(x), np.array(y)))
    i10, i01, i = len(set(subject[positive])), len(set(subject[~positive])), len(people)
    expected = np.empty((3, 3))
    for j in range(3):
        for k in range(3):
            s10 = i10 / ((i10 - 1) * m) * np.sum(sums[j][0] * sums[k][0])
            s01 = i01 / ((i01 - 1) * n) * np.sum(sums[j][1] * sums[k][1])
            s11 = i / (i - 1) * np.sum(sums[j][0] * sums[k][1])
            s11_turned = i / (i - 1) * np.sum(sums[k][0] * sums[j][1])
            expected[j, k] = s10 / m + s01 / n + (s11 + s11_turned) / (m * n)
    found = clustered_delong(scores, positive, subject)
    np.testing.assert_allclose(found.covariance, expected, atol=1e-10)
    assert (found.positives, found.negatives) == (i10, i01)


def test_one_sample_per_subject_is_delong():
    scores, positive, _ = draw(3)
    clustered = clustered_delong(scores, positive, np.random.default_rng(0).permutation(len(positive)))
    np.testing.assert_allclose(clustered.covariance, delong(scores, positive).covariance, atol=1e-15)


def test_copies_of_a_sample_under_the_same_subject_do_not_shrink_the_variance():
    scores, positive, _ = draw(4)
    subject = np.arange(len(positive))
    twice = np.concatenate([subject, subject])
    copied = clustered_delong(scores[:, twice], positive[twice], twice)
    np.testing.assert_allclose(copied.covariance, delong(scores, positive).covariance, atol=1e-14)


def test_order_of_samples_and_monotone_changes_of_scores_change_nothing():
    scores, positive, subject = draw(5)
    order = np.random.default_rng(1).permutation(len(positive))
    found = clustered_delong(np.exp(scores[:, order]), positive[order], subject[order])
    np.testing.assert_allclose(
        found.covariance, clustered_delong(scores, positive, subject).covariance, atol=1e-14
    )


def test_covariance_has_no_negative_direction():
    for seed in range(20):
        scores, positive, subject = draw(seed, models=6, n=30)
        covariance = clustered_delong(scores, positive, subject).covariance
        assert np.linalg.eigvalsh(covariance).min() > -1e-15


@pytest.mark.parametrize("classes", [np.zeros(6, bool), np.ones(6, bool)])
def test_one_class_has_no_area(classes):
    found = delong(np.arange(6.0), classes)
    assert np.isnan(found.values).all()
    assert np.isnan(found.covariance).all()


def test_one_positive_has_an_area_without_variance():
    found = delong(np.arange(6.0), np.arange(6) == 4)
    assert found.values[0] == pytest.approx(0.8)
    assert np.isnan(found.covariance).all()
    assert np.isnan(paired_test(found, 0, 0, alpha=0.05).p_value)


@pytest.mark.parametrize(
    ("scores", "positive", "message"),
    [
        (np.array([0.1, np.nan, 0.3]), np.array([True, False, True]), "must not be NaN"),
        (np.zeros((2, 3)), np.array([True, False]), "same samples"),
    ],
)
def test_scores_without_value_or_of_other_samples_are_refused(scores, positive, message):
    with pytest.raises(ValueError, match=message):
        delong(scores, positive)


def test_paired_test_is_students_on_the_difference():
    scores, positive, _ = draw(6)
    areas = delong(scores, positive)
    found = paired_test(areas, 0, 2, alpha=0.05)
    c = areas.covariance
    error = np.sqrt(c[0, 0] + c[2, 2] - 2 * c[0, 2])
    freedom = min(positive.sum(), (~positive).sum()) - 1
    assert found.difference == pytest.approx(areas.values[0] - areas.values[2])
    assert found.standard_error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, freedom))
    assert found[2:4] == pytest.approx(stats.t.interval(0.95, freedom, found.difference, error))
    turned = paired_test(areas, 2, 0, alpha=0.05)
    assert (turned.difference, turned.low, turned.p_value) == (-found.difference, -found.high, found.p_value)


def test_two_equal_models_have_no_test():
    scores, positive, _ = draw(7, models=1)
    found = paired_test(delong(np.concatenate([scores, 3 * scores + 1]), positive), 0, 1, alpha=0.05)
    assert (found.difference, found.standard_error) == (0.0, 0.0)
    assert np.isnan([found.p_value, found.low, found.high]).all()


@pytest.mark.parametrize("clustered", [False, True])
def test_paired_test_of_equally_good_models_rejects_as_often_as_stated(clustered):
    rng = np.random.default_rng(8)
    runs, rejected, naive = 500, 0, 0
    subject = np.repeat(np.arange(80), 4 if clustered else 1)
    positive = subject < 40
    for _ in range(runs):
        own = rng.normal(size=(2, 80))[:, subject] + 0.7 * rng.normal(size=(2, len(subject)))
        scores = own + positive
        rejected += paired_test(clustered_delong(scores, positive, subject), 0, 1, alpha=0.05).p_value < 0.05
        naive += paired_test(delong(scores, positive), 0, 1, alpha=0.05).p_value < 0.05
    assert rejected / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert not clustered or naive / runs > 0.15
