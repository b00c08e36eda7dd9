"""The evaluator tests itself on data whose truth is known: size of tests, coverage of intervals, bias of gaps."""

import numpy as np
import pytest
from scipy.stats import norm

from evaluator.metrics.classification import Scored, auc, threshold_metrics
from evaluator.metrics.metric import Metric
from evaluator.metrics.per_subject import Measured, subject_mean
from evaluator.statistics.bootstrap import percentile_interval, subject_weights
from evaluator.statistics.gaps import measure_gap
from evaluator.statistics.partition import Partition
from evaluator.statistics.permutation import permute_groups
from evaluator.statistics.resampling import GroupValues

DICE = subject_mean("dice")


def people(sizes, images):
    group = np.repeat(np.arange(len(sizes)), sizes)
    subject = np.repeat(np.arange(len(group)), images)
    return group, subject, Partition.cut(subject, group[subject], len(sizes))


def alike(rng, count, images, icc):
    """Standard normal values, correlated by `icc` within a subject."""
    own, other = rng.normal(size=(count, 1)), rng.normal(size=(count, images))
    return (np.sqrt(icc) * own + np.sqrt(1 - icc) * other).ravel()


def dice_of(rng, sizes, spreads, *, images=1, icc=0.0, means=None):
    group, subject, partition = people(sizes, images)
    center = np.zeros(len(sizes)) if means is None else np.asarray(means)
    noise = alike(rng, len(group), images, icc)
    return Measured({"dice": center[group[subject]] + np.asarray(spreads)[group[subject]] * noise}), partition


def scores_of(rng, sizes, *, images=1, icc=0.0, prevalence=0.4, shifts=None, signal=1.2):
    group, subject, partition = people(sizes, images)
    sick = rng.random(len(group)) < np.broadcast_to(prevalence, len(sizes))[group]
    shift = np.zeros(len(sizes)) if shifts is None else np.asarray(shifts)
    logit = alike(rng, len(group), images, icc) + (signal * sick + shift[group])[subject]
    p = 1 / (1 + np.exp(-logit))
    return Scored(sick[subject].astype(np.int64), np.stack([1 - p, p], 1), 1), partition


def p_value(metric: Metric, data, partition, seed, permutations=199):
    groups = range(partition.groups)
    (null,) = permute_groups(
        [metric],
        data,
        partition,
        groups,
        seed=seed,
        subjects=("s",),
        attribute="a",
        permutations=permutations,
    )
    return null.p_value


def rejected(make, runs, metric=None):
    found = []
    for run in range(runs):
        data, partition = make(np.random.default_rng(run))
        found.append(p_value(metric or auc(data), data, partition, run) <= 0.05)
    return np.mean(found)


def noise_of(runs):
    """Largest excess over the nominal size that chance explains (99.9 %)."""
    return 3.1 * np.sqrt(0.05 * 0.95 / runs)


NULLS = {
    "noisy small group": lambda r: dice_of(r, (40, 400), (0.2, 0.05)),
    "three unequal groups": lambda r: dice_of(r, (200, 60, 30), (0.05, 0.1, 0.2)),
    "five alike images": lambda r: dice_of(r, (40, 200), (0.1, 0.1), images=5, icc=0.6),
}
AUC_NULLS = {
    "unequal sizes": lambda r: scores_of(r, (60, 300)),
    "unequal prevalence": lambda r: scores_of(r, (60, 300), prevalence=(0.5, 0.2)),
    "shifted scores of equal AUC": lambda r: scores_of(r, (60, 300), shifts=(1.0, 0.0)),
    "four alike images": lambda r: scores_of(r, (40, 150), images=4, icc=0.6),
}


@pytest.mark.parametrize("name", NULLS)
def test_size_of_the_test_of_means(name):
    assert rejected(NULLS[name], 150, DICE) <= 0.05 + noise_of(150)


@pytest.mark.parametrize("name", AUC_NULLS)
def test_size_of_the_test_of_auc(name):
    assert rejected(AUC_NULLS[name], 100) <= 0.05 + noise_of(100)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NULLS, *AUC_NULLS])
def test_size_is_at_most_six_percent(name):
    make = {**NULLS, **AUC_NULLS}[name]
    assert rejected(make, 2000, DICE if name in NULLS else None) <= 0.06 + 0.005


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_size_of_threshold_metrics_is_at_most_six_percent(which):
    metric = threshold_metrics(0.6, "f")[which]
    assert rejected(lambda r: scores_of(r, (60, 300)), 2000, metric) <= 0.06 + 0.005


def test_raw_gaps_would_reject_far_too_often_and_image_level_too():
    def raw(rng, run):
        data, partition = dice_of(rng, (40, 400), (0.2, 0.05))
        (null,) = permute_groups(
            [DICE], data, partition, (0, 1), seed=run, subjects=("s",), attribute="a", permutations=199
        )
        value = data.values["dice"]
        return np.mean(null.gap >= abs(value[:40].mean() - value[40:].mean())) <= 0.05

    assert np.mean([raw(np.random.default_rng(run), run) for run in range(60)]) > 0.2

    def by_image(rng):
        data, partition = dice_of(rng, (40, 200), (0.1, 0.1), images=5, icc=0.6)
        rows = np.arange(len(partition.row_unit))
        return data, Partition.cut(rows, partition.unit_group[partition.row_unit], 2)

    assert rejected(by_image, 60, DICE) > 0.15


def covered(metric, make, truth, runs, replicates):
    hits = []
    for run in range(runs):
        data, partition = make(np.random.default_rng(run))
        values = GroupValues.prepare((metric(data),), data, partition)
        subjects = [str(s) for s in range(partition.unit_subject.max() + 1)]
        draws = np.concatenate([values(w)[0, 0] for _, w in subject_weights(run, subjects, replicates)])
        low, high = percentile_interval(draws, 0.05)
        hits.append(low <= truth <= high)
    return np.mean(hits)


TRUE_AUC = float(norm.cdf(1.2 / np.sqrt(2)))


@pytest.mark.parametrize("icc", [0.0, 0.6])
def test_coverage_of_the_auc_interval(icc):
    found = covered(auc, lambda r: scores_of(r, (150,), images=4, icc=icc), TRUE_AUC, 150, 256)
    assert found == pytest.approx(0.95, abs=0.055)


@pytest.mark.slow
@pytest.mark.parametrize("icc", [0.0, 0.3, 0.6])
def test_coverage_is_93_to_97_percent(icc):
    found = covered(auc, lambda r: scores_of(r, (250,), images=4, icc=icc), TRUE_AUC, 1500, 1000)
    assert 0.93 <= found <= 0.97
    found = covered(lambda _: DICE, lambda r: dice_of(r, (150,), (0.1,), images=4, icc=icc), 0.0, 1500, 1000)
    assert 0.93 <= found <= 0.97


def gap_of(rng, run, means):
    data, partition = dice_of(rng, (100,) * 4, (0.4,) * 4, means=means)
    (null,) = permute_groups(
        [DICE], data, partition, range(4), seed=run, subjects=("s",), attribute="a", permutations=199
    )
    values = np.array([data.values["dice"][100 * g : 100 * (g + 1)].mean() for g in range(4)])
    draws = values[:, None] + 0.04 * rng.normal(size=(4, 50))
    return measure_gap(values, draws, np.full(4, 0.04**2), np.full(4, 100.0), null, higher_is_better=True, alpha=0.05)


def test_adjusted_gap_is_at_most_half_of_the_raw_one_under_the_null_and_near_the_truth_otherwise():
    null = [gap_of(np.random.default_rng(run), run, (0.0,) * 4) for run in range(150)]
    assert np.mean([g.adjusted for g in null]) <= 0.5 * np.mean([g.raw for g in null])
    assert np.mean([g.null_mean for g in null]) == pytest.approx(np.mean([g.raw for g in null]), rel=0.1)
    true = [gap_of(np.random.default_rng(run), run, (0.0, 0.0, 0.0, 0.15)) for run in range(150)]
    assert np.mean([g.adjusted for g in true]) == pytest.approx(0.15, rel=0.1)
