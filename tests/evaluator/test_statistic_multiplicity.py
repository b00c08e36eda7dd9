import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from evaluator.statistics.multiplicity import adjust, benjamini_hochberg, family_size, holm

GOLDEN = (0.001, 0.008, 0.039, 0.041, 0.042, 0.060, 0.074, 0.205, 0.212, 0.216)


def test_golden_holm():
    expected = (0.010, 0.072, *[0.312] * 5, *[0.615] * 3)
    np.testing.assert_allclose(holm(GOLDEN), expected, atol=1e-12)


def test_golden_benjamini_hochberg():
    expected = (0.010, 0.040, 0.084, 0.084, 0.084, 0.100, 0.1057142857, 0.216, 0.216, 0.216)
    np.testing.assert_allclose(benjamini_hochberg(GOLDEN), expected, atol=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_agrees_with_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_the_raw_value_and_bonferroni(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()


def table(*rows):
    frame = pd.DataFrame(rows, columns=["dataset", "metric", "attribute", "p_value"])
    return frame.assign(convention="c", kind="max-min")


def test_each_dataset_has_its_own_families_and_only_the_primary_metric_is_confirmatory():
    gaps = table(
        ("a", "auc", "sex", 0.01),
        ("a", "auc", "age", 0.04),
        ("a", "brier", "sex", 0.01),
        ("a", "ece", "sex", 0.04),
        ("b", "dice", "sex", 0.03),
    )
    assert adjust(gaps)["p_adjusted"].tolist() == pytest.approx([0.02, 0.04, 0.02, 0.04, 0.03])
    assert family_size(gaps).tolist() == [2, 2, 2, 2, 1]


def test_rows_without_a_p_value_count_in_no_family():
    gaps = table(("a", "auc", "sex", 0.02), ("a", "auc", "race", None))
    adjusted = adjust(gaps)["p_adjusted"]
    assert adjusted[0] == 0.02
    assert np.isnan(adjusted[1])
    assert family_size(gaps).tolist() == [1, 0]


def test_other_kinds_take_over_the_p_value_of_the_gap_and_count_as_no_test():
    gaps = table(
        ("a", "sensitivity", "sex", 0.01),
        ("a", "specificity", "sex", 0.2),
        ("a", "sensitivity", "sex", 0.01),
        ("a", "equalized_odds", "sex", 0.02),
        ("a", "equalized_odds", "sex", None),
    )
    gaps["kind"] = ["max-min", "max-min", "ratio", "eqodds:max", "eqodds:mean"]
    adjusted = adjust(gaps)["p_adjusted"].tolist()
    assert adjusted[:4] == pytest.approx([0.02, 0.2, 0.02, 0.04])
    assert np.isnan(adjusted[4])
    assert family_size(gaps).tolist() == [2, 2, 2, 2, 0]


def test_reweighted_values_are_screened_and_do_not_burden_the_primary_family():
    gaps = table(("a", "auc", "sex", 0.01), ("a", "auc", "sex", 0.02))
    gaps["convention"] = ["auc:midrank", "auc:midrank|age-standardised"]
    assert adjust(gaps)["p_adjusted"].tolist() == [0.01, 0.02]


def test_order_and_index_of_rows_are_kept():
    gaps = table(("a", "auc", "sex", 0.04), ("a", "auc", "age", 0.01)).set_index(pd.Index([7, 3]))
    adjusted = adjust(gaps)
    assert adjusted.index.tolist() == [7, 3]
    assert adjusted["p_adjusted"].tolist() == pytest.approx([0.04, 0.02])
    assert "p_adjusted" not in gaps


def test_balanced_accuracy_is_primary_where_nothing_else_could_be_tested():
    gaps = table(
        ("a", "auc", "sex", None),
        ("a", "balanced_accuracy", "sex", 0.02),
        ("a", "accuracy", "sex", 0.02),
        ("a", "ppv", "sex", 0.5),
        ("b", "auc", "sex", 0.02),
        ("b", "balanced_accuracy", "sex", 0.02),
    )
    assert family_size(gaps).tolist() == [0, 1, 2, 2, 1, 1]
    assert adjust(gaps)["p_adjusted"].tolist()[1:] == pytest.approx([0.02, 0.04, 0.5, 0.02, 0.02])


def test_the_gap_that_could_be_found_among_all_tests_is_larger_than_alone():
    gaps = table(("a", "auc", "sex", 0.02), ("a", "auc", "age", 0.5), ("a", "auc", "race", None))
    found = adjust(gaps.assign(detectable=[0.1, 0.1, 0.1]))["detectable_adjusted"]
    assert found[0] == found[1] == pytest.approx(0.1099, abs=1e-3)
    assert np.isnan(found[2])
