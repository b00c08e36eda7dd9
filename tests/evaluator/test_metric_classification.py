import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, false_positive_rate, true_positive_rate
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from evaluator.metrics.classification import (
    Scored,
    adjusted_average_precision,
    argmax_metrics,
    auc,
    average_precision,
    class_f1_metrics,
    error_rates,
    generalised_entropy,
    threshold_metrics,
)
from evaluator.metrics.summing import exactly_summable
from evaluator.statistics.resampling import evaluate

GOLDEN_P = (0.05, 0.10, 0.22, 0.31, 0.35, 0.42, 0.48, 0.55, 0.61, 0.66, 0.72, 0.80, 0.84, 0.90, 0.95, 0.97)  # fmt: skip
GOLDEN_Y = (0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1)


def binary(p, y):
    p, y = np.asarray(p, float), np.asarray(y)
    return Scored(y.astype(np.int64), np.stack([1 - p, p], axis=1), 1)


def value(metric, data, weights=None):
    rows = np.arange(len(data.label))
    return evaluate(metric, data, rows, np.ones((len(rows), 1)) if weights is None else weights)


def at(threshold):
    return {metric.name: metric for metric in threshold_metrics(threshold, "fixed")}


def from_counts(tn, fp, fn, tp):
    p = np.repeat([0.1, 0.9, 0.1, 0.9], [tn, fp, fn, tp])
    return binary(p, np.repeat([0, 0, 1, 1], [tn, fp, fn, tp]))


def many(rng, n=400, classes=4):
    scores = rng.dirichlet(np.ones(classes), n)
    return Scored(rng.integers(0, classes, n), scores)


def test_golden_auc():
    assert value(auc(binary(GOLDEN_P, GOLDEN_Y)), binary(GOLDEN_P, GOLDEN_Y))[0] == pytest.approx(
        0.8730158730, abs=1e-10
    )


@pytest.mark.parametrize(
    ("counts", "sensitivity", "specificity", "accuracy"),
    [
        ((1, 22, 0, 5), 1.0, 0.043478, 6 / 28),
        ((0, 24, 0, 4), 1.0, 0.0, 4 / 28),
        ((578, 159, 56, 111), 0.664671, 0.784261, 689 / 904),
        ((630, 181, 38, 58), 0.604167, 0.776819, 688 / 907),
        ((724, 13, 151, 16), 0.095808, 0.982361, 740 / 904),
        ((786, 25, 83, 13), 0.135417, 0.969174, 799 / 907),
    ],
)
def test_golden_operating_points(counts, sensitivity, specificity, accuracy):
    data = from_counts(*counts)
    found = {name: value(metric, data)[0] for name, metric in at(0.5).items()}
    assert found["sensitivity"] == pytest.approx(sensitivity, abs=5e-7)
    assert found["specificity"] == pytest.approx(specificity, abs=5e-7)
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx((sensitivity + specificity) / 2, abs=5e-7)


@given(seed=st.integers(0, 10**6), ties=st.sampled_from([2, 10, 10**6]))
@settings(max_examples=40, deadline=None)
def test_auc_agrees_with_scikit_learn_with_weights_and_ties(seed, ties):
    rng = np.random.default_rng(seed)
    p, y = np.round(rng.random(60) * ties) / ties, rng.random(60) < rng.uniform(0.1, 0.9)
    y[:2] = [False, True]
    weights = rng.integers(0, 4, (60, 3)).astype(float)
    weights[:2] = 1
    expected = [roc_auc_score(y, p, sample_weight=column) for column in weights.T]
    np.testing.assert_allclose(value(auc(binary(p, y)), binary(p, y), weights), expected, atol=1e-12)


def test_threshold_metrics_agree_with_scikit_learn_and_fairlearn():
    rng = np.random.default_rng(1)
    p, y, group = rng.random(500), rng.random(500) < 0.3, rng.choice(["a", "b"], 500)
    decided = p >= 0.4
    frame = MetricFrame(metrics=true_positive_rate, y_true=y, y_pred=decided, sensitive_features=group)
    for name in ("a", "b"):
        data = binary(p[group == name], y[group == name])
        assert value(at(0.4)["sensitivity"], data)[0] == pytest.approx(frame.by_group[name], abs=1e-12)
    data = binary(p, y)
    assert value(at(0.4)["accuracy"], data)[0] == pytest.approx(accuracy_score(y, decided), abs=1e-12)
    assert value(at(0.4)["balanced_accuracy"], data)[0] == pytest.approx(
        balanced_accuracy_score(y, decided), abs=1e-12
    )


def test_many_classes_agree_with_scikit_learn():
    data = many(np.random.default_rng(2))
    decided = data.scores.argmax(axis=1)
    accuracy, recall, macro = argmax_metrics(4)
    assert value(accuracy, data)[0] == pytest.approx(accuracy_score(data.label, decided), abs=1e-12)
    assert value(recall, data)[0] == pytest.approx(balanced_accuracy_score(data.label, decided), abs=1e-12)
    expected = roc_auc_score(data.label, data.scores, multi_class="ovr", average="macro")
    assert value(auc(data), data)[0] == pytest.approx(expected, abs=1e-12)
    by_class = f1_score(data.label, decided, average=None)
    assert value(macro, data)[0] == pytest.approx(by_class.mean(), abs=1e-12)
    *single, spread = class_f1_metrics(("a", "b", "c", "d"))
    np.testing.assert_allclose([value(metric, data)[0] for metric in single], by_class, atol=1e-12)
    assert [metric.convention for metric in single][1] == "f1:class=b"
    assert value(spread, data)[0] == pytest.approx(by_class.var(), abs=1e-12)


@given(seed=st.integers(0, 10**6), ties=st.sampled_from([2, 10, 10**6]))
@settings(max_examples=30, deadline=None)
def test_average_precision_agrees_with_scikit_learn_with_weights_and_ties(seed, ties):
    rng = np.random.default_rng(seed)
    p, y = np.round(rng.random(60) * ties) / ties, rng.random(60) < rng.uniform(0.1, 0.9)
    y[:2] = [False, True]
    weights = rng.integers(0, 4, (60, 3)).astype(float)
    weights[:2] = 1
    data = binary(p, y)
    expected = np.array([average_precision_score(y, p, sample_weight=column) for column in weights.T])
    np.testing.assert_allclose(value(average_precision(data), data, weights), expected, atol=1e-12)
    prevalence = np.array([np.average(y, weights=column) for column in weights.T])
    adjusted = value(adjusted_average_precision(data), data, weights)
    np.testing.assert_allclose(adjusted, 1 - np.log(expected) / np.log(prevalence), atol=1e-12)


def test_all_rates_agree_with_scikit_learn():
    rng = np.random.default_rng(7)
    p, y = rng.random(300), rng.random(300) < 0.3
    data, decided = binary(p, y), p >= 0.6
    found = {name: value(metric, data)[0] for name, metric in at(0.6).items()}
    assert found["ppv"] == pytest.approx(precision_score(y, decided), abs=1e-12)
    assert found["npv"] == pytest.approx(precision_score(~y, ~decided), abs=1e-12)
    assert found["f1"] == pytest.approx(f1_score(y, decided), abs=1e-12)
    assert found["selection_rate"] == pytest.approx(decided.mean(), abs=1e-12)
    missed, raised = error_rates(0.6, "f", names=("fnr", "fpr"))
    assert value(missed, data)[0] == pytest.approx(1 - recall_score(y, decided), abs=1e-12)
    assert value(raised, data)[0] == pytest.approx(false_positive_rate(y, decided), abs=1e-12)
    assert not missed.higher_is_better


def test_generalised_entropy_is_its_definition():
    rng = np.random.default_rng(8)
    p, y = rng.random(100), rng.random(100) < 0.5
    benefit = (p >= 0.3) - y.astype(int) + 1.0
    expected = ((benefit / benefit.mean()) ** 2 - 1).mean() / 2
    data = binary(p, y)
    assert value(generalised_entropy(0.3, "f"), data)[0] == pytest.approx(expected, abs=1e-12)


def test_thresholds_may_differ_by_row():
    data = binary((0.2, 0.4, 0.6, 0.8), (0, 1, 0, 1))
    by_row = threshold_metrics((0.1, 0.5, 0.7, 0.7), "group:val:f1")
    assert value(by_row[0], data)[0] == 0.5


def test_the_boundary_sample_is_decided_positive():
    data = binary((0.2, 0.3, 0.6, 0.9), (0, 0, 1, 1))
    assert value(at(0.6)["sensitivity"], data)[0] == 1.0


def test_undefined_values_are_nan_and_never_a_number():
    only_healthy = binary((0.2, 0.3, 0.6), (0, 0, 0))
    assert np.isnan(value(auc(only_healthy), only_healthy)[0])
    assert np.isnan(value(at(0.5)["sensitivity"], only_healthy)[0])
    assert np.isnan(value(at(0.5)["balanced_accuracy"], only_healthy)[0])
    assert value(at(0.5)["specificity"], only_healthy)[0] == pytest.approx(2 / 3)


def test_values_keep_every_bit_when_rows_are_permuted():
    rng = np.random.default_rng(3)
    data = binary(rng.random(3000), rng.random(3000) < 0.4)
    weights = rng.integers(0, 3, (3000, 4)).astype(float)
    order = rng.permutation(3000)
    shuffled = Scored(data.label[order], data.scores[order], 1)
    for metric in (auc(data), *threshold_metrics(0.5, "fixed")):
        np.testing.assert_array_equal(value(metric, data, weights), value(metric, shuffled, weights[order]))


def test_duplicated_rows_with_halved_weights_change_nothing():
    rng = np.random.default_rng(4)
    data = binary(rng.random(200), rng.random(200) < 0.4)
    twice = Scored(np.tile(data.label, 2), np.tile(data.scores, (2, 1)), 1)
    for metric in (auc(data), *threshold_metrics(0.5, "fixed")):
        half = value(metric, twice, np.full((400, 1), 0.5))
        np.testing.assert_allclose(half, value(metric, data), atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_sums_of_rounded_values_are_the_same_in_any_order(seed):
    rng = np.random.default_rng(seed)
    values = exactly_summable(rng.random((5000, 1)) * 10.0 ** rng.integers(-3, 4), 5000)[:, 0]
    weights = rng.multinomial(5000, np.full(5000, 1 / 5000)).astype(float)
    order = rng.permutation(5000)
    assert (values * weights).sum() == (values * weights)[order].sum() == np.cumsum(values * weights)[-1]


def test_whole_numbers_are_not_rounded():
    counts = np.arange(50.0)[:, None]
    np.testing.assert_array_equal(exactly_summable(counts, 10**6), counts)
