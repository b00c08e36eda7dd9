import numpy as np
import pytest
from scipy.stats import permutation_test

from evaluator.metrics.calibration import calibration_line, ece, log_loss, mass_ece
from evaluator.metrics.classification import (
    Scored,
    adjusted_average_precision,
    argmax_metrics,
    auc,
    average_precision,
    class_f1_metrics,
    generalised_entropy,
    threshold_metrics,
)
from evaluator.metrics.metric import Metric, Ranks, Ratios
from evaluator.metrics.per_subject import Measured, subject_mean
from evaluator.statistics.partition import Partition
from evaluator.statistics.permutation import permute_groups
from evaluator.statistics.resampling import evaluate
from evaluator.statistics.spreads import Spreads

GOLDEN_P = np.array(
    [0.05, 0.10, 0.22, 0.31, 0.35, 0.42, 0.48, 0.55, 0.61, 0.66, 0.72, 0.80, 0.84, 0.90, 0.95, 0.97]
)
GOLDEN_Y = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1])


def binary(p, y):
    return Scored(np.asarray(y, np.int64), np.stack([1 - p, p], axis=1), 1)


def spread_of(metric: Metric, data, partition, codes):
    (spread,) = Spreads.prepare([metric], data, partition)(codes, int(codes.max()) + 1)
    return spread


def permuted(metric, data, partition, *, groups=None, permutations=300, seed=0):
    groups = range(partition.groups) if groups is None else groups
    return permute_groups(
        [metric],
        data,
        partition,
        groups,
        seed=seed,
        subjects=("x",),
        attribute="a",
        permutations=permutations,
    )[0]


def some_rows(rng, people=40, rows=130, groups=3, *, classes=2):
    subject = np.concatenate([np.arange(people), rng.integers(0, people, rows - people)])
    of_subject = rng.integers(0, groups, people)
    of_subject[: 2 * groups] = np.repeat(np.arange(groups), 2)
    scores = np.round(rng.dirichlet(np.ones(classes), rows), 2)
    label = rng.integers(0, classes, rows)
    label[: 2 * groups * classes] = np.arange(2 * groups * classes) // (2 * groups)
    data = Scored(label, scores, 1 if classes == 2 else None)
    return data, Partition.cut(subject, of_subject[subject], groups), subject, of_subject


def test_golden_delong_variance():
    rows = np.arange(16)
    data = binary(GOLDEN_P, GOLDEN_Y)
    spread = spread_of(auc(data), data, Partition.cut(rows, rows * 0, 1), np.zeros((1, 16), np.int16))
    assert spread.value[0, 0] == pytest.approx(0.8730158730, abs=1e-10)
    assert spread.variance[0, 0] == pytest.approx(0.0079994961, abs=1e-10)


def brute_delong(score, y):
    wins = (score[y][:, None] > score[~y]) + 0.5 * (score[y][:, None] == score[~y])
    return wins.mean(), wins.mean(1).var(ddof=1) / y.sum() + wins.mean(0).var(ddof=1) / (~y).sum()


@pytest.mark.parametrize("digits", [1, 2, 8])
def test_delong_agrees_with_brute_force_for_many_assignments_and_ties(digits):
    rng = np.random.default_rng(digits)
    p, y = np.round(rng.random(120), digits), rng.random(120) < 0.4
    codes = rng.integers(0, 3, (7, 120)).astype(np.int16)
    rows = np.arange(120)
    spread = spread_of(auc(binary(p, y)), binary(p, y), Partition.cut(rows, rows * 0, 1), codes)
    for assignment in range(7):
        for group in range(3):
            inside = codes[assignment] == group
            expected = brute_delong(p[inside], y[inside])
            found = spread.value[assignment, group], spread.variance[assignment, group]
            assert found == pytest.approx(expected, abs=1e-10)


def test_clusters_of_one_row_and_rows_give_the_same_variance():
    rng = np.random.default_rng(0)
    data, partition, _, _ = some_rows(rng, people=130, rows=130)
    codes = partition.unit_group[None].astype(np.int16)
    plain = spread_of(auc(data), data, partition, codes)
    form = Ranks(lambda d: [(d.score, d.is_positive)] * 2)
    twice = spread_of(Metric("auc", "twice", True, form), data, partition, codes)
    np.testing.assert_allclose(twice.variance, plain.variance, rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 4])
def test_permuted_values_are_the_metric_of_the_regrouped_rows(classes):
    rng = np.random.default_rng(classes)
    data, partition, _, _ = some_rows(rng, people=60, rows=200, classes=classes)
    metrics = [auc(data), ece(data, bins=15), log_loss()]
    if classes == 2:
        metrics += [average_precision(data), adjusted_average_precision(data), *calibration_line(data)]
        metrics += threshold_metrics(0.5, "f")
    else:
        metrics += [*argmax_metrics(classes), *class_f1_metrics(tuple("abcd"))]
    codes = np.stack([rng.permutation(partition.unit_group) for _ in range(4)]).astype(np.int16)
    for metric in metrics:
        spread = spread_of(metric, data, partition, codes)
        for assignment in range(4):
            for group in range(3):
                rows = np.flatnonzero(codes[assignment][partition.row_unit] == group)
                part = Scored(data.label[rows], data.scores[rows], data.positive)
                expected = evaluate(metric, part, np.arange(len(rows)), np.ones((len(rows), 1)))[0]
                assert spread.value[assignment, group] == pytest.approx(expected, abs=1e-10, nan_ok=True)


BINARY_METRICS = [
    lambda data: auc(data),
    lambda data: average_precision(data),
    lambda data: adjusted_average_precision(data),
    *(lambda data, which=which: threshold_metrics(0.5, "f")[which] for which in range(8)),
    lambda data: generalised_entropy(0.5, "f"),
    lambda data: ece(data, bins=5),
    lambda data: mass_ece(bins=8),
    lambda data: log_loss(),
    lambda data: calibration_line(data)[0],
    lambda data: calibration_line(data)[1],
]


@pytest.mark.parametrize("of", BINARY_METRICS)
def test_variance_agrees_with_the_jackknife_over_subjects(of):
    rng = np.random.default_rng(5)
    data, partition, subject, _ = some_rows(rng, people=400, rows=1200, groups=1)
    p = np.clip(0.7 * data.scores[:, 1] + 0.3 * data.label, 0.01, 0.99).round(2)
    data = Scored(data.label, np.stack([1 - p, p], 1), 1)
    metric = of(data)
    spread = spread_of(metric, data, partition, np.zeros((1, 400), np.int16))
    leave_one_out = evaluate(metric, data, subject, 1.0 - np.eye(400))
    expected = 399 / 400 * ((leave_one_out - leave_one_out.mean()) ** 2).sum()
    assert spread.variance[0, 0] == pytest.approx(expected, rel=0.05)


def test_variance_of_a_mean_is_that_of_subject_means():
    rng = np.random.default_rng(6)
    value = rng.random(50)
    rows = np.arange(50)
    data = Measured({"dice": value})
    spread = spread_of(
        subject_mean("dice"), data, Partition.cut(rows, rows * 0, 1), np.zeros((1, 50), np.int16)
    )
    assert spread.variance[0, 0] == pytest.approx(value.var(ddof=1) / 50, rel=1e-9)


def test_p_value_agrees_with_scipy_for_a_difference_of_means():
    rng = np.random.default_rng(7)
    a, b = rng.normal(0.8, 0.1, 40), rng.normal(0.75, 0.1, 60)
    value, group = np.concatenate([a, b]), np.repeat([0, 1], [40, 60])
    partition = Partition.cut(np.arange(100), group, 2)
    null = permuted(subject_mean("dice"), Measured({"dice": value}), partition, permutations=4000)

    def welch(x, y, axis):
        return abs(x.mean(axis) - y.mean(axis)) / np.sqrt(x.var(axis, ddof=1) / 40 + y.var(axis, ddof=1) / 60)

    expected = permutation_test(
        (a, b), welch, n_resamples=4000, vectorized=True, alternative="greater", rng=1
    )
    assert null.p_value == pytest.approx(expected.pvalue, abs=0.02)
    absolute = permutation_test(
        (a, b), lambda x, y, axis: abs(x.mean(axis) - y.mean(axis)), n_resamples=4000, vectorized=True, rng=1
    )
    assert null.mean == pytest.approx(absolute.null_distribution.mean(), rel=0.05)


def test_whole_subjects_move():
    rng = np.random.default_rng(8)
    subject = np.repeat(np.arange(60), 5)
    group = np.repeat(np.arange(60) % 2, 5)
    own = np.repeat(rng.normal(size=60), 5)
    partition = Partition.cut(subject, group, 2)
    null = permuted(subject_mean("dice"), Measured({"dice": own}), partition)
    once = permuted(
        subject_mean("dice"), Measured({"dice": own[::5]}), Partition.cut(subject[::5], group[::5], 2)
    )
    np.testing.assert_allclose(null.gap, once.gap, atol=1e-12)


def test_groups_that_are_left_out_do_not_move():
    rng = np.random.default_rng(9)
    group = np.repeat([0, 1, 2], [50, 50, 30])
    value = np.where(group == 2, 1000.0, rng.random(130))
    partition = Partition.cut(np.arange(130), group, 3)
    null = permuted(subject_mean("dice"), Measured({"dice": value}), partition, groups=(0, 1))
    assert null.gap.max() < 1.0


def test_metrics_that_condition_on_the_label_keep_the_labels_of_groups():
    label = np.repeat([1, 0, 1, 0], [12, 88, 60, 40])
    group = np.repeat([0, 0, 1, 1], [12, 88, 60, 40])
    rng = np.random.default_rng(10)
    p = rng.random(200)
    data = binary(p, label)
    sensitivity = threshold_metrics(0.5, "f")[2]
    null = permuted(sensitivity, data, Partition.cut(np.arange(200), group, 2), permutations=500)
    gaps = np.abs(np.subtract.outer(np.arange(13) / 12, np.arange(61) / 60)).ravel()
    assert all(np.abs(gaps - gap).min() < 1e-9 for gap in null.gap)


def test_p_is_never_zero_and_one_when_nothing_differs():
    rows = np.arange(40)
    far = Measured({"dice": np.repeat([0.1, 0.9], 20) + 1e-3 * rows})
    assert permuted(subject_mean("dice"), far, Partition.cut(rows, rows // 20, 2)).p_value == 1 / 301
    same = Measured({"dice": np.full(40, 0.5)})
    assert permuted(subject_mean("dice"), same, Partition.cut(rows, rows // 20, 2)).p_value == 1.0


def test_results_keep_every_bit_for_any_order_of_rows_and_any_names_of_groups():
    rng = np.random.default_rng(11)
    data, partition, subject, of_subject = some_rows(rng)
    order = rng.permutation(130)
    shuffled = Scored(data.label[order], data.scores[order], 1)
    for metric in (auc(data), threshold_metrics(0.5, "f")[1], ece(data, bins=15)):
        one = permuted(metric, data, partition)
        two = permuted(metric, shuffled, Partition.cut(subject[order], of_subject[subject[order]], 3))
        np.testing.assert_array_equal(one.gap, two.gap)
        assert one.p_value == two.p_value
        renamed = permuted(metric, data, Partition.cut(subject, 2 - of_subject[subject], 3))
        np.testing.assert_array_equal(one.gap, renamed.gap)
        assert one.p_value == renamed.p_value


def test_too_many_undefined_permutations_give_a_reason():
    label = np.repeat([1, 0, 1, 0], [1, 39, 1, 39])
    data = binary(np.linspace(0, 1, 80), label)
    sensitivity = Metric("sensitivity", "f", True, threshold_metrics(0.5, "f")[2].form)
    assert isinstance(sensitivity.form, Ratios)
    null = permuted(sensitivity, data, Partition.cut(np.arange(80), np.repeat([0, 1], 40), 2))
    assert null.reason.startswith("undefined_permutations")


def test_no_permutations_is_a_reason():
    rows = np.arange(10)
    data = Measured({"dice": rows / 10})
    assert (
        permuted(subject_mean("dice"), data, Partition.cut(rows, rows % 2, 2), permutations=0).reason
        == "no_permutations"
    )
