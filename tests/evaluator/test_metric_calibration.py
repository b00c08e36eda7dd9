import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from evaluator.metrics.calibration import (
    brier,
    calibration_line,
    clamped_log_loss,
    debiased_ce2,
    ece,
    log_loss,
    mass_ece,
)
from evaluator.metrics.classification import Scored
from evaluator.statistics.resampling import evaluate

GOLDEN_P = np.array(
    [0.05, 0.10, 0.22, 0.31, 0.35, 0.42, 0.48, 0.55, 0.61, 0.66, 0.72, 0.80, 0.84, 0.90, 0.95, 0.97]
)
GOLDEN_Y = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1])


def binary(p, y):
    return Scored(np.asarray(y, np.int64), np.stack([1 - p, p], axis=1), 1)


def value(metric, data):
    rows = np.arange(len(data.label))
    return evaluate(metric, data, rows, np.ones((len(rows), 1)))[0]


@pytest.mark.parametrize(("p", "expected"), [(GOLDEN_P, 0.209375), (0.2 * GOLDEN_P + 0.4, 0.199125)])
def test_golden_ece_with_ten_fixed_bins(p, expected):
    data = binary(p, GOLDEN_Y)
    assert value(ece(data, bins=10), data) == pytest.approx(expected, abs=1e-10)


def test_golden_brier():
    data = binary(GOLDEN_P, GOLDEN_Y)
    assert value(brier(data), data) == pytest.approx(0.1421188, abs=5e-8)


def test_golden_equal_mass_and_debiased_errors_with_four_bins():
    data = binary(GOLDEN_P, GOLDEN_Y)
    assert value(mass_ece(bins=4), data) == pytest.approx(0.104375, abs=1e-10)
    assert value(debiased_ce2(bins=4), data) == pytest.approx(-0.0327797, abs=5e-8)


def test_the_debiased_error_of_a_calibrated_model_is_zero_on_average():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        p = rng.random(100)
        data = binary(p, rng.random(100) < p)
        found.append(value(debiased_ce2(), data))
    assert abs(np.mean(found)) < 4 * np.std(found) / 20
    assert min(found) < 0.0


def test_log_loss_agrees_with_scikit_learn_and_is_finite_where_a_probability_is_wrong_for_sure():
    rng = np.random.default_rng(4)
    p, y = rng.random(300), rng.random(300) < 0.4
    data = binary(p, y)
    assert value(log_loss(), data) == pytest.approx(sklearn_log_loss(y, p), abs=1e-10)
    scores, label = rng.dirichlet(np.ones(4), 200), rng.integers(0, 4, 200)
    many = Scored(label, scores)
    assert value(log_loss(), many) == pytest.approx(
        sklearn_log_loss(label, scores, labels=range(4)), abs=1e-10
    )
    sure = binary(np.array([0.0, 1.0]), [1, 1])
    assert value(log_loss(), sure) == pytest.approx(-np.log(1e-7) / 2)
    assert value(clamped_log_loss(), sure) == pytest.approx(50.0)


def test_the_calibration_line_agrees_with_scikit_learn():
    rng = np.random.default_rng(5)
    logit = rng.normal(size=800)
    p, y = 1 / (1 + np.exp(-logit)), rng.random(800) < 1 / (1 + np.exp(-(0.3 + 0.6 * logit)))
    data = binary(p, y)
    slope, intercept = calibration_line(data)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=500).fit(np.log(p / (1 - p))[:, None], y)
    assert value(slope, data) == pytest.approx(fitted.coef_[0, 0], abs=1e-5)
    shifted = value(intercept, data)
    assert (1 / (1 + np.exp(-(logit + shifted)))).mean() == pytest.approx(y.mean(), abs=1e-10)


def test_a_separating_calibration_line_is_undefined():
    data = binary(np.array([0.1, 0.2, 0.8, 0.9]), [0, 0, 1, 1])
    assert np.isnan(value(calibration_line(data)[0], data))


def test_brier_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    p, y = rng.random(700), rng.random(700) < 0.3
    data = binary(p, y)
    assert value(brier(data), data) == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    scores, label = rng.dirichlet(np.ones(5), 300), rng.integers(0, 5, 300)
    many = Scored(label, scores)
    expected = brier_score_loss(label, scores, labels=range(5), scale_by_half=False)
    assert value(brier(many), many) == pytest.approx(expected, abs=1e-12)


def test_ece_agrees_with_a_loop_over_bins():
    rng = np.random.default_rng(1)
    p, y = rng.random(900), rng.random(900) < 0.5
    edges = np.linspace(0, 1, 16)
    parts = [(p >= low) & (p < high) for low, high in itertools.pairwise(edges)]
    expected = sum(abs(p[part].mean() - y[part].mean()) * part.mean() for part in parts if part.any())
    data = binary(p, y)
    assert value(ece(data, bins=15), data) == pytest.approx(expected, abs=1e-10)


def test_ece_of_many_classes_looks_at_the_most_probable_one():
    scores = np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    data = Scored(np.array([0, 1, 2]), scores)
    metric = ece(data, bins=15)
    assert metric.convention == "ece:top15"
    assert value(metric, data) == pytest.approx((abs(1.4 - 1) + abs(0.8 - 1)) / 3)


def test_probability_one_falls_into_the_last_bin():
    data = binary(np.array([1.0, 0.0]), [1, 0])
    assert value(ece(data, bins=15), data) == 0.0


def test_lower_is_better_for_errors():
    data = binary(GOLDEN_P, GOLDEN_Y)
    assert not brier(data).higher_is_better
    assert not ece(data, bins=15).higher_is_better
