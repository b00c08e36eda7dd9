import fairlearn.metrics as fairlearn
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve

from evaluator.metrics.disparity import GroupValues, disparity
from evaluator.metrics.legacy import (
    Confusion,
    area,
    bce_clamp100,
    ece_range10,
    fairclip_multiclass,
    fairclip_report,
    fairmedfm_report,
    fairmedfm_segmentation,
    fairmedfm_segmentation_of_groups,
    medfair_report,
    range_bins,
)
from evaluator.metrics.thresholds import choose_threshold
from shards.errors import UserError

P16 = np.array(
    [0.05, 0.10, 0.22, 0.31, 0.35, 0.42, 0.48, 0.55, 0.61, 0.66, 0.72, 0.80, 0.84, 0.90, 0.95, 0.97]
)
Y16 = np.array([0, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1], bool)

# FairMedFM's published operating points: (tn, fp, fn, tp) of both groups
POINTS = {
    "A legacy": ((1, 22, 1, 4), (0, 24, 0, 4)),
    "A corrected": ((1, 22, 0, 5), (0, 24, 0, 4)),
    "A at 0.5": ((0, 23, 0, 5), (0, 24, 0, 4)),
    "B best-F1": ((1, 22, 0, 5), (1, 23, 1, 3)),
    "B at 0.5": ((7, 16, 4, 1), (11, 13, 4, 0)),
    "C best-F1": ((578, 159, 56, 111), (630, 181, 38, 58)),
    "C at 0.5": ((724, 13, 151, 16), (786, 25, 83, 13)),
}
# TPR, TNR, EO, FPR gap, eqodds:max, eqodds:mean, one_minus, DPD, DP ratio, acc gap
DERIVED = {
    "A legacy": (0.8, 1, 0.043478, 0, 0.2, 0.043478, 0.2, 0.121739, 0.878261, 0.071429, 0.928571, 0.035714),
    "A corrected": (
        1,
        1,
        0.043478,
        0,
        0,
        0.043478,
        0.043478,
        0.021739,
        0.978261,
        0.035714,
        0.964286,
        0.071429,
    ),
    "B best-F1": (
        *(
            1,
            0.75,
            0.043478,
            0.041667,
            0.25,
            0.001812,
            0.25,
            0.125906,
            0.874094,
            0.035714,
            0.962963,
            0.071429,
        ),
    ),
    "B at 0.5": (
        *(0.2, 0, 0.304348, 0.458333, 0.2, 0.153986, 0.2, 0.176993, 0.823007, 0.142857, 0.764706, 0.107143),
    ),
    "C best-F1": (
        *(0.664671, 0.604167, 0.784261, 0.776819, 0.060504, 0.007442),
        *(0.060504, 0.033973, 0.966027, 0.035167, 0.882257, 0.003623),
    ),
    "C at 0.5": (
        *(0.095808, 0.135417, 0.982361, 0.969174, 0.039608, 0.013187),
        *(0.039608, 0.026398, 0.973602, 0.009817, 0.765690, 0.062342),
    ),
}


@pytest.mark.parametrize("point", DERIVED)
def test_every_convention_follows_from_the_published_counts(point):
    counts = Confusion.of_counts(*POINTS[point])
    found = (
        *counts.rate("sensitivity"),
        *counts.rate("specificity"),
        counts.disparity("eqopp:tpr_gap"),
        counts.disparity("max-min", "specificity"),
        *(counts.disparity(kind) for kind in ("eqodds:max", "eqodds:mean", "eqodds:one_minus_mean")),
        *(counts.disparity(kind) for kind in ("dp:diff", "dp:ratio")),
        counts.disparity("max-min", "accuracy"),
    )
    assert found == pytest.approx(DERIVED[point], abs=6e-7)


@pytest.mark.parametrize(
    ("point", "n", "accuracy", "accuracy_gap", "eo", "eod"),
    [
        ("A legacy", 56, 0.1607143, 0.0357143, 0.20, 0.8782609),
        ("A corrected", 56, 10 / 56, 0.0714286, 0.0, 0.9782609),
        ("B best-F1", 56, 0.1785714, 0.0714286, 0.25, 0.8740942),
        ("C best-F1", 1811, 0.7603534, 0.0036235, 0.0605040, 0.9660271),
    ],
)
def test_published_fairmedfm_numbers_follow_from_the_counts(point, n, accuracy, accuracy_gap, eo, eod):
    counts = Confusion.of_counts(*POINTS[point])
    assert counts.pooled.sizes.item() == n
    assert counts.pooled.rate("accuracy").item() == pytest.approx(accuracy, abs=6e-8)
    assert counts.disparity("max-min", "accuracy") == pytest.approx(accuracy_gap, abs=6e-8)
    assert counts.disparity("eqopp:tpr_gap") == pytest.approx(eo, abs=6e-8)
    assert counts.disparity("eqodds:one_minus_mean") == pytest.approx(eod, abs=6e-8)


def test_corrected_decision_at_point_a_removes_the_gap_that_strictness_made():
    legacy, corrected = Confusion.of_counts(*POINTS["A legacy"]), Confusion.of_counts(*POINTS["A corrected"])
    assert legacy.tp.sum() - corrected.tp.sum() == -1  # the one positive that set the threshold
    assert legacy.disparity("eqopp:tpr_gap") - corrected.disparity("eqopp:tpr_gap") == pytest.approx(0.2)
    assert corrected.disparity("eqodds:max") == pytest.approx(0.0434783, abs=6e-8)
    at_half = Confusion.of_counts(*POINTS["A at 0.5"])
    assert at_half.rate("selection_rate").tolist() == [1.0, 1.0]
    assert at_half.disparity("dp:diff") == 0.0


@pytest.mark.parametrize(
    ("kind", "groups", "expected"),
    [
        ("worst", (0.2695652, 0.0625), 0.0625),
        ("max-min", (0.2695652, 0.0625), 0.2070652),
        ("max-min", (0.3266914, 0.3978597), 0.0711683),
        ("worst", (0.2521739, 0.125), 0.125),
        ("max-min", (0.2521739, 0.125), 0.1271739),
        ("worst", (0.7879736, 0.7615598), 0.7615598),
        ("max-min", (0.7879736, 0.7615598), 0.0264138),
        ("max-min", (0.4027899, 0.3096982), 0.0930917),
        ("max-min", (0.0405852, 0.0477441), 0.0071589),
    ],
)
def test_published_gaps_follow_from_the_published_group_values(kind, groups, expected):
    values = GroupValues(np.array([groups]), np.array([np.mean(groups)]))
    assert float(disparity(kind).compute(values)) == pytest.approx(expected, abs=1.01e-7)


def test_point_d_segmentation_summary_from_group_means():
    means, sizes = np.array([0.2563191623, 0.2799923259]), np.array([722, 138])
    values = GroupValues(means[None], np.array([np.average(means, weights=sizes)]))
    found = fairmedfm_segmentation_of_groups(values)
    published = {
        "mean_dice": 0.2601178793,
        "min_dice": 0.2563191623,
        "max_dice": 0.2799923259,
        "delta_dice": 0.0236731636,
        "skewness_dice": 1.0328790434,
        "std_dice": 0.0118365818,
        "es_dice": 0.2570749901,
    }
    assert found == pytest.approx(published, abs=1.5e-10)
    others = {
        "es:sum": 0.2541024700,
        "es:mean": 0.2570749901,
        "es:popstd": 0.2570749901,
        "es:std": 0.2558353353,
    }
    for kind, expected in others.items():
        assert float(disparity(kind).compute(values)) == pytest.approx(expected, abs=1.5e-10)


def test_segmentation_summary_takes_the_mean_over_images_not_groups():
    dice, group = np.array([0.5, 0.7, 0.9, 0.9]), np.array(["a", "a", "a", "b"])
    found = fairmedfm_segmentation(dice, group)
    assert found["mean_dice"] == pytest.approx(0.75)
    assert (found["min_dice"], found["max_dice"]) == (pytest.approx(0.7), pytest.approx(0.9))
    assert found["skewness_dice"] == pytest.approx(3.0)
    assert np.isnan(fairmedfm_segmentation(np.array([1.0, 0.5]), np.array([0, 1]))["skewness_dice"])


def test_golden_sixteen_points():
    assert ece_range10(P16, Y16) == pytest.approx(0.253125, abs=1e-9)
    assert ece_range10(0.2 * P16 + 0.4, Y16) == pytest.approx(0.400625, abs=1e-9)
    assert area(P16, Y16) == pytest.approx(0.8730159, abs=5e-8)


def pandas_ece(score, y):
    frame = pd.DataFrame({"p": score, "y": y, "bin": pd.cut(score, 10, labels=False)})
    parts = frame.groupby("bin").agg(p=("p", "mean"), y=("y", "mean"), n=("p", "size"))
    return float(np.average((parts.p - parts.y).abs(), weights=parts.n))


SCORES = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=60)


@given(scores=SCORES)
@settings(max_examples=100, deadline=None)
def test_range_bins_are_those_of_pandas(scores):
    score = np.round(np.array(scores), 6)
    assert range_bins(score).tolist() == pd.cut(score, 10, labels=False).tolist()


def test_range_ece_agrees_with_pandas_and_depends_on_the_range():
    rng = np.random.default_rng(0)
    score = np.round(rng.random(500) * 0.3 + 0.2, 2)
    y = rng.random(500) < score
    assert ece_range10(score, y) == pytest.approx(pandas_ece(score, y), abs=1e-12)
    assert ece_range10(np.append(score, 0.999), np.append(y, True)) != pytest.approx(
        ece_range10(score, y), abs=1e-3
    )
    assert np.isnan(ece_range10(np.array([]), np.array([], bool)))


def test_log_loss_is_clamped_at_a_hundred():
    assert bce_clamp100(np.array([0.0]), np.array([True])) == 100.0
    assert bce_clamp100(np.array([0.0, 1.0]), np.array([False, True])) == 0.0
    assert bce_clamp100(np.array([1e-60]), np.array([True])) == 100.0
    assert bce_clamp100(np.array([0.25, 0.25]), np.array([True, False])) == pytest.approx(
        -(np.log(0.25) + np.log(0.75)) / 2
    )
    assert np.isnan(bce_clamp100(np.array([]), np.array([], bool)))


def test_log_loss_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    score, y = (
        np.r_[rng.random(50), 0.0, 1.0, 0.0, 1.0],
        np.r_[rng.random(50) < 0.5, True, False, False, True],
    )
    expected = torch.nn.BCELoss()(torch.from_numpy(score), torch.from_numpy(y.astype(float))).item()
    assert bce_clamp100(score, y) == pytest.approx(expected, abs=1e-10)


def rows(seed, n=240, groups=2):
    rng = np.random.default_rng(seed)
    y, group = rng.random(n) < 0.35, rng.integers(0, groups, n)
    score = np.round(1 / (1 + np.exp(-rng.normal(1.5 * y - 1 + 0.3 * group, 1.0))), 2)
    return score, y, group


def classes_by_group(function, *arrays, group):
    return np.array([function(*(part[group == g] for part in arrays)) for g in np.unique(group)])


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_fairmedfm_report_agrees_with_scikit_learn_and_pandas(seed, groups):
    score, y, group = rows(seed, groups=groups)
    precision, recall, thresholds = precision_recall_curve(y, score)
    f1 = 2 * precision * recall / (precision + recall + 1e-8)
    decided = score > thresholds[np.argmax(f1[:-1])]
    tn, fp, fn, tp = classes_by_group(lambda t, d: confusion_matrix(t, d).ravel(), y, decided, group=group).T
    areas = classes_by_group(roc_auc_score, y, score, group=group)
    eces = classes_by_group(pandas_ece, score, y, group=group)
    losses = classes_by_group(bce_clamp100, score, y, group=group)
    expected = {
        "overall-auc": roc_auc_score(y, score),
        "overall-acc": (decided == y).mean(),
        "overall-bce": bce_clamp100(score, y),
        "overall-ece": pandas_ece(score, y),
        "worst-auc": areas.min(),
        "auc-gap": np.ptp(areas),
        "acc-gap": np.ptp((tp + tn) / (tn + fp + fn + tp)),
        "bce-gap": np.ptp(losses),
        "ece-gap": np.ptp(eces),
        "eo": np.ptp(tp / (tp + fn)),
        "eod": 1 - (np.ptp(tp / (tp + fn)) + np.ptp(tn / (tn + fp))) / 2,
    }
    assert fairmedfm_report(score, y, group) == pytest.approx(expected, abs=1e-10)


def test_legacy_report_differs_from_the_corrected_one_by_the_boundary_positives():
    score, y, group = rows(7, n=48)
    ours = choose_threshold("val:f1", score, y)
    legacy = choose_threshold("test:f1:legacy", score, y)
    strict = Confusion.of(legacy.decide(score), y, group)
    whole = Confusion.of(score >= legacy.value, y, group)
    lost = np.array([((score == legacy.value) & y & (group == g)).sum() for g in (0, 1)])
    assert ours.value >= legacy.value
    assert lost.sum() > 0
    assert (whole.tp - strict.tp).tolist() == lost.tolist()
    assert fairmedfm_report(score, y, group)["eo"] == pytest.approx(strict.disparity("eqopp:tpr_gap"))


def test_groups_with_one_class_leave_the_report_undefined_not_zero():
    score, y, group = rows(1, n=60)
    y = y & (group == 0)
    found = fairmedfm_report(score, y, group)
    assert all(np.isnan(found[key]) for key in ("worst-auc", "auc-gap", "eo", "eod"))
    assert all(np.isfinite(found[key]) for key in ("overall-auc", "overall-acc", "acc-gap", "bce-gap"))
    with pytest.raises(UserError, match="0 positive of 60"):
        fairmedfm_report(score, np.zeros(60, bool), group)


def medfair_odds(score, y, group, threshold):
    """1 - half the sum of the absolute differences of positive decisions, among negatives and among positives."""
    decided = score > threshold
    share = {(g, t): decided[(group == g) & (y == t)].mean() for g in (0, 1) for t in (False, True)}
    return share, 1 - 0.5 * sum(abs(share[0, t] - share[1, t]) for t in (False, True))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_medfair_report_follows_its_definitions_under_its_swapped_names(seed):
    score, y, group = rows(seed)
    found = medfair_report(score, y, group)
    best = choose_threshold("test:f1:legacy", score, y).value
    share, odds = medfair_odds(score, y, group, best)
    fpr, tpr, thresholds = roc_curve(y, score)
    thresholds[0] = thresholds[1] + 1.0
    decided = score > best
    expected = {
        "DP": 1 - abs(decided[group == 0].mean() - decided[group == 1].mean()),
        "EqOpp1": 1 - abs(share[0, False] - share[1, False]),
        "EqOpp0": 1 - abs(share[0, True] - share[1, True]),
        "EqOdd": odds,
        "EqOdd_0.5": medfair_odds(score, y, group, 0.5)[1],
        "EqOdd_specificity_0.8": medfair_odds(score, y, group, interp1d(1 - fpr, thresholds)(0.8))[1],
        "EqOdd_sensitivity_0.8": medfair_odds(score, y, group, interp1d(tpr, thresholds)(0.8))[1],
    }
    assert found == pytest.approx(expected, abs=1e-10)


def test_medfair_refuses_more_than_two_groups():
    with pytest.raises(UserError, match="defined for two groups, got 3"):
        medfair_report(*rows(0, groups=3))


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_fairclip_report_agrees_with_fairlearn_and_scikit_learn(seed, groups):
    score, y, group = rows(seed, groups=groups)
    decided = score >= 0.5
    arguments = {"y_true": y, "y_pred": decided, "sensitive_features": group}
    areas, overall = classes_by_group(roc_auc_score, y, score, group=group), roc_auc_score(y, score)
    right = classes_by_group(lambda t, d: np.mean(t == d), y, decided, group=group)
    expected = {
        "Acc": (y == decided).mean(),
        "ES-Acc": (y == decided).mean() / (1 + np.abs(right - (y == decided).mean()).sum()),
        "AUC": overall,
        "ES-AUC": overall / (1 + np.abs(areas - overall).sum()),
        "DPD": fairlearn.demographic_parity_difference(**arguments),
        "DEOdds": fairlearn.equalized_odds_difference(**arguments),
        "PSD-std": np.std(areas) / overall,
        "PSD-max": np.ptp(areas) / overall,
    }
    assert fairclip_report(score, y, group) == pytest.approx(expected, abs=1e-10)


def test_fairclip_for_many_classes_hands_truth_and_decision_over_in_the_wrong_order():
    rng = np.random.default_rng(3)
    scores, label, group = rng.dirichlet(np.ones(3), 600), rng.integers(0, 3, 600), rng.integers(0, 3, 600)
    decided = scores.argmax(axis=1)

    def mean(function, truth, decision):
        return np.mean(
            [function(truth == c, decision == c, sensitive_features=group) for c in range(3)],
        )

    parity, odds = fairlearn.demographic_parity_difference, fairlearn.equalized_odds_difference
    expected = {
        "DPD": mean(parity, label, decided),
        "DEOdds": mean(odds, label, decided),
        "DPD:released": mean(parity, decided, label),
        "DEOdds:released": mean(odds, decided, label),
    }
    assert fairclip_multiclass(scores, label, group) == pytest.approx(expected, abs=1e-10)
    other_model = rng.dirichlet(np.ones(3), 600)
    other = fairclip_multiclass(other_model, label, group)
    assert other["DPD:released"] == pytest.approx(expected["DPD:released"], abs=1e-12)
    assert other["DPD"] != pytest.approx(expected["DPD"], abs=1e-3)


def test_confusion_counts_by_the_names_of_groups():
    decided, y = np.array([True, False, True, True]), np.array([True, True, False, True])
    found = Confusion.of(decided, y, np.array(["b", "b", "a", "a"]))
    assert [cell.tolist() for cell in found] == [[0, 0], [1, 0], [0, 1], [1, 1]]
    assert np.isnan(Confusion.of_counts((5, 0, 0, 0), (0, 0, 0, 4)).rate("sensitivity")[0])


def test_order_of_rows_and_names_of_groups_do_not_matter():
    score, y, group = rows(11)
    order = np.random.default_rng(0).permutation(len(y))
    for report in (fairmedfm_report, medfair_report, fairclip_report):
        turned = report(score[order], y[order], np.array(["z", "a"])[group[order]])
        assert turned == pytest.approx(report(score, y, group), abs=1e-12)


# FairVLMed, linear probe, race (percent): published ES-AUC, AUC, Asian/Black/White; published PSD follows in the same way
FAIRVLMED = [
    (72.43, 77.27, (79.74, 73.60, 77.82)),
    (74.70, 80.27, (82.19, 75.67, 81.20)),
    (68.88, 73.81, (76.28, 69.55, 74.22)),
    (73.81, 80.10, (82.09, 74.43, 80.97)),
]


@pytest.mark.parametrize(("published", "overall", "groups"), FAIRVLMED)
def test_published_fairvlmed_rows_to_their_printed_precision(published, overall, groups):
    values = GroupValues(np.array([groups]) / 100, np.array([overall]) / 100)
    assert 100 * float(disparity("es:sum").compute(values)) == pytest.approx(published, abs=0.012)
