import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from sklearn.metrics import f1_score, precision_recall_curve, recall_score, roc_curve

from evaluator.metrics.thresholds import (
    RULE_FORMS,
    check_rule,
    choose_threshold,
    chooses_on_measured_rows,
    describe_rule,
    group_rule,
    is_rule,
)
from shards.errors import UserError

CASES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=40)


def merits(rule, score, y):
    def merit(threshold):
        decided = score >= threshold
        if rule == "val:f1":
            return f1_score(y, decided)
        return recall_score(y, decided) + recall_score(~y, ~decided)

    return {threshold: merit(threshold) for threshold in np.unique(score)}


@pytest.mark.parametrize("rule", ["val:youden", "val:f1"])
@given(rows=CASES)
@settings(max_examples=60, deadline=None)
def test_threshold_is_the_highest_of_the_best(rule, rows):
    score, y = np.array([s for s, _ in rows]) / 20, np.array([b for _, b in rows])
    chosen = choose_threshold(rule, score, y)
    if y.all() or not y.any():
        assert (chosen.value, chosen.convention) == (0.5, "fixed:0.5")
        return
    found = merits(rule, score, y)
    best = max(found.values())
    assert chosen.value == max(t for t, merit in found.items() if merit > best - 1e-9)
    assert (chosen.convention, chosen.n) == (rule, len(rows))


def test_without_both_classes_the_fallback_says_why():
    chosen = choose_threshold("val:youden", np.array([]), np.array([], bool))
    assert chosen.convention == "fixed:0.5"
    assert "0 positive and 0 negative" in chosen.reason


def test_fixed_threshold_is_taken_as_it_is():
    chosen = choose_threshold("fixed:0.25", np.array([0.1]), np.array([True]))
    assert (chosen.value, chosen.convention, chosen.n, chosen.reason) == (0.25, "fixed:0.25", 0, None)


def test_perfect_separation_keeps_the_boundary_positive():
    score, y = np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True])
    assert choose_threshold("val:f1", score, y).value == 0.6
    assert choose_threshold("val:youden", score, y).value == 0.6


CASES_OF_BOTH = CASES.filter(lambda rows: 0 < sum(b for _, b in rows) < len(rows))
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0])


def arrays(rows):
    return np.array([s for s, _ in rows]) / 20, np.array([b for _, b in rows])


def roc(score, y, **options):
    """The ROC of scikit-learn, with whole numbers of samples and a finite first threshold."""
    fpr, tpr, thresholds = roc_curve(y, score, **options)
    return np.rint(fpr * (~y).sum()), np.rint(tpr * y.sum()), thresholds


@given(rows=CASES_OF_BOTH, share=SHARES)
@settings(max_examples=60, deadline=None)
def test_fixed_sensitivity_is_the_first_point_of_the_roc_that_has_it(rows, share):
    score, y = arrays(rows)
    _, true, thresholds = roc(score, y, drop_intermediate=False)
    enough = (true / y.sum() >= share) & np.isfinite(thresholds)
    assert choose_threshold(f"val:tpr={share}", score, y).value == thresholds[np.argmax(enough)]


@given(rows=CASES_OF_BOTH, share=SHARES)
@settings(max_examples=60, deadline=None)
def test_fixed_specificity_has_the_largest_sensitivity_of_the_roc(rows, share):
    score, y = arrays(rows)
    false, true, thresholds = roc(score, y, drop_intermediate=False)
    negatives = (~y).sum()
    for rule, allowed in (
        (f"val:tnr={share}", (negatives - false) / negatives >= share),
        (f"val:fpr={share}", false / negatives <= share),
    ):
        expected = thresholds[np.argmax(np.where(allowed, true, -1))]
        chosen = choose_threshold(rule, score, y)
        assert np.isinf(expected) or chosen.value == expected
        assert not np.isinf(expected) or not chosen.decide(score).any()


@given(rows=CASES_OF_BOTH)
@settings(max_examples=60, deadline=None)
def test_prevalence_rule_decides_for_as_many_as_are_positive(rows):
    score, y = arrays(rows)
    off = {t: abs(int((score >= t).sum()) - int(y.sum())) for t in score}
    assert choose_threshold("val:prevalence", score, y).value == max(
        t for t, distance in off.items() if distance == min(off.values())
    )


@given(rows=CASES_OF_BOTH, costs=st.tuples(st.integers(0, 5), st.integers(1, 5)))
@settings(max_examples=60, deadline=None)
def test_cost_rule_is_never_beaten(rows, costs):
    score, y = arrays(rows)

    def cost(decided):
        return costs[0] * (decided & ~y).sum() + costs[1] * (~decided & y).sum()

    chosen = choose_threshold(f"val:cost({costs[0]},{costs[1]})", score, y)
    assert cost(chosen.decide(score)) == min(cost(score >= t) for t in (*score, 2.0))


def test_dear_false_positives_leave_nobody_decided_for():
    score, y = np.array([0.2, 0.9]), np.array([True, False])
    assert not choose_threshold("val:cost(10,1)", score, y).decide(score).any()
    assert choose_threshold("val:cost(1,10)", score, y).value == 0.2


@given(rows=CASES_OF_BOTH)
@settings(max_examples=60, deadline=None)
def test_legacy_f1_is_the_first_maximum_of_the_precision_recall_curve(rows):
    score, y = arrays(rows)
    precision, recall, thresholds = precision_recall_curve(y, score)
    f1 = 2 * precision * recall / (precision + recall + 1e-8)
    chosen = choose_threshold("test:f1:legacy", score, y)
    assert chosen.value == thresholds[np.argmax(f1[:-1])]
    assert (chosen.strict, chosen.optimistic, chosen.n) == (True, True, len(rows))


@given(rows=CASES_OF_BOTH, share=SHARES)
@settings(max_examples=60, deadline=None)
def test_medfair_interpolates_the_threshold_on_the_roc(rows, share):
    score, y = arrays(rows)
    fpr, tpr, thresholds = roc_curve(y, score)
    thresholds[0] = thresholds[1] + 1.0  # what scikit-learn returned when MEDFAIR was written; now infinite
    for rule, along in (("tnr", 1 - fpr), ("tpr", tpr)):
        chosen = choose_threshold(f"test:{rule}={share}:medfair", score, y)
        assert chosen.value == pytest.approx(float(interp1d(along, thresholds)(share)), abs=1e-12)
        assert chosen.strict
        assert chosen.optimistic


def sensitivity(threshold, score, y):
    return threshold.decide(score)[y].mean()


@pytest.mark.parametrize(
    ("score", "y", "kept", "lost"),
    [
        ([0.2, 0.3, 0.6, 0.9], [0, 0, 1, 1], 1.0, 0.5),
        ([0.1] * 3 + [0.7] * 4, [0] * 3 + [1] * 4, 1.0, 0.0),
    ],
)
def test_legacy_loses_the_positives_that_set_the_threshold(score, y, kept, lost):
    score, y = np.array(score), np.array(y, bool)
    ours, legacy = choose_threshold("val:f1", score, y), choose_threshold("test:f1:legacy", score, y)
    assert ours.value == legacy.value
    assert sensitivity(ours, score, y) == kept
    assert sensitivity(legacy, score, y) == lost


def test_rounded_scores_lose_three_points_of_f1_in_legacy():
    rng = np.random.default_rng(0)
    y = rng.random(2000) < 0.5
    score = np.round(1 / (1 + np.exp(-rng.normal(np.where(y, 1.0, -1.0), 1.0))), 1)
    f1 = [
        f1_score(y, choose_threshold(rule, score, y).decide(score)) for rule in ("val:f1", "test:f1:legacy")
    ]
    assert f1[0] == pytest.approx(0.842, abs=0.02)
    assert 0.015 < f1[0] - f1[1] < 0.05


def test_choosing_on_the_measured_rows_flatters_small_sets_most():
    rng = np.random.default_rng(1)

    def draw(n):
        y = np.arange(n) < 0.2 * n
        return rng.normal(y * 1.2, 1.0), y

    excess = {}
    for n in (100, 300, 1000):
        runs = []
        for _ in range(150):
            val, test = draw(n), draw(n)
            honest = choose_threshold("val:f1", *val).decide(test[0])
            # the threshold is what flatters; take its strictness away
            chosen = choose_threshold("test:f1:legacy", *test).value
            runs.append(f1_score(test[1], test[0] >= chosen) - f1_score(test[1], honest))
        excess[n] = np.mean(runs)
    assert 0.05 < excess[100] < 0.13
    assert excess[100] > excess[300] > excess[1000] > 0.005


def test_group_rule_applies_the_inner_rule_and_keeps_its_name():
    score, y = np.array([0.2, 0.3, 0.6, 0.9]), np.array([False, False, True, True])
    chosen = choose_threshold("group:val:tpr=0.5", score, y)
    assert (chosen.value, chosen.convention, chosen.optimistic) == (0.9, "group:val:tpr=0.5", False)
    assert group_rule("group:val:tpr=0.5") == "val:tpr=0.5"
    assert choose_threshold("group:val:f1", score[:2], y[:2]).convention == "fixed:0.5"


@pytest.mark.parametrize(
    "rule", ["val:f1", "group:fixed:0.5", "group:test:f1:legacy", "group:group:val:f1", "group:"]
)
def test_only_val_rules_are_group_specific(rule):
    assert group_rule(rule) is None


def test_strict_thresholds_decide_above_only():
    score, y = np.array([0.4, 0.5]), np.array([False, True])
    assert choose_threshold("fixed:0.5", score, y).decide(score).tolist() == [False, True]
    assert choose_threshold("test:f1:legacy", score, y).decide(score).tolist() == [False, False]


def test_legacy_rule_without_both_classes_says_that_it_looked_at_measured_rows():
    chosen = choose_threshold("test:f1:legacy", np.array([0.3]), np.array([True]))
    assert (chosen.convention, chosen.optimistic) == ("fixed:0.5", False)
    assert "1 positive and 0 negative labelled rows in the measured rows" in chosen.reason


@pytest.mark.parametrize(
    "rule",
    [
        "val:youden",
        "val:f1",
        "val:prevalence",
        "val:tpr=0.8",
        "val:tnr=0.8",
        "val:fpr=.2",
        "val:cost(1, 5)",
        "fixed:0",
        "group:val:cost(0,1)",
        "test:f1:legacy",
        "test:tnr=0.8:medfair",
        "test:tpr=0.8:medfair",
    ],
)
def test_known_rules_are_returned_and_described(rule):
    assert check_rule(rule) == rule
    assert is_rule(rule)
    assert describe_rule(rule).endswith(".")
    assert ("optimistic" in describe_rule(rule)) == rule.startswith("test:") == chooses_on_measured_rows(rule)
    assert all(number in describe_rule(rule) for number in ("0.8",) if number in rule)


@pytest.mark.parametrize(
    "rule",
    [
        "best",
        "fixed:",
        "fixed:1.5",
        "fixed:half",
        "fixed:nan",
        "test:f1",
        "val:tpr=80",
        "val:tpr",
        "val:fpr=-0.1",
        "val:cost(1)",
        "val:cost(0,0)",
        "val:cost(1,-1)",
        "val:cost(1,inf)",
        "group:fixed:0.5",
        "group:test:f1:legacy",
        "test:tnr=0.8",
    ],
)
def test_unknown_rule_is_an_error_that_names_the_rules(rule):
    assert not is_rule(rule)
    with pytest.raises(UserError, match="threshold must be one of") as error:
        choose_threshold(rule, np.array([0.1]), np.array([True]))
    assert all(form in str(error.value) for form in RULE_FORMS)
    assert repr(rule) in str(error.value)
