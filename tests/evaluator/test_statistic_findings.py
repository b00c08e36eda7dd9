import pandas as pd
import pytest

from evaluator.statistics.findings import findings, judge

ROW = {
    "dataset": "d", "metric": "auc", "convention": "auc:midrank", "kind": "max-min", "attribute": "sex",
    "raw": 0.08, "null_mean": 0.02, "adjusted": 0.075,
    "p_value": 0.004, "p_adjusted": 0.01, "detectable": 0.06, "best_group": "male", "worst_group": "female",
    "status": "ok", "reason": None,
}  # fmt: skip


def claim(**changes):
    return judge({**ROW, **changes}, alpha=0.05, relevant=0.1)


def test_significant_gap_is_found_and_named():
    found = claim()
    assert found.finding == "gap found"
    assert found.sentence == (
        "auc by sex: male is better than female by 0.080; 0.075 after allowing for chance, which alone gives about 0.020"
        " (adjusted p = 0.010)."
    )


def test_no_gap_is_claimed_only_where_a_relevant_one_would_have_been_found():
    assert claim(p_adjusted=0.4, detectable=0.06).finding == "no reliable gap"
    small = claim(p_adjusted=0.4, detectable=0.3)
    assert small.finding == "cannot judge"
    assert "too few subjects" in small.sentence


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"status": "undefined", "reason": "single_group: 1 of 2 groups can be compared, two are needed"},
            "1 of 2 groups can be compared, two are needed",
        ),
        ({"status": "undefined", "reason": "one_class"}, "all samples are of one class"),
        ({"p_adjusted": None}, "not tested"),
    ],
)
def test_undefined_gap_cannot_be_judged_and_says_why_in_words(changes, why):
    found = claim(**changes)
    assert found.finding == "cannot judge"
    assert found.sentence == f"auc by sex: cannot be judged ({why})."


@pytest.mark.parametrize("p_adjusted", [0.01, 0.4])
def test_groups_only_differ_where_neither_direction_is_good(p_adjusted):
    found = claim(best_group=None, worst_group=None, p_adjusted=p_adjusted)
    assert "auc by sex: groups differ by 0.080" in found.sentence
    assert "better" not in found.sentence


def test_unknown_power_is_not_fairness():
    assert claim(p_adjusted=0.4, detectable=None).finding == "cannot judge"


def test_distances_have_no_relevant_size_on_the_unit_scale():
    assert claim(metric="hd95_mm", p_adjusted=0.4, detectable=3.0).finding == "no reliable gap"


def test_too_few_permutations_for_the_family_is_said():
    rows = [{**ROW, "attribute": str(i), "p_value": 0.01, "p_adjusted": 0.6} for i in range(60)]
    table = findings(pd.DataFrame(rows), permutations=99)
    assert set(table["finding"]) == {"cannot judge"}
    assert table["sentence"].str.contains("too few permutations").all()
    assert table["sentence"].str.contains("male is better than female by 0.080").all()


def test_findings_keep_rows_order_and_keys():
    table = findings(pd.DataFrame([ROW, {**ROW, "metric": "brier", "p_adjusted": 0.5}]), permutations=1000)
    assert table["finding"].tolist() == ["gap found", "no reliable gap"]
    assert table["primary"].tolist() == [True, False]
    assert table["attribute"].tolist() == ["sex", "sex"]


def test_power_is_that_of_one_among_all_tests_of_the_family():
    rows = [
        {**ROW, "attribute": str(i), "p_value": 0.5, "p_adjusted": 1.0, "detectable": 0.08} for i in range(40)
    ]
    alone, family = (findings(pd.DataFrame(some), permutations=10_000) for some in (rows[:1], rows))
    assert alone["finding"].tolist() == ["no reliable gap"]
    assert set(family["finding"]) == {"cannot judge"}
    assert (
        family["sentence"]
        .str.contains("a gap of 0.116 or more would have been found with power 0.8 among 40")
        .all()
    )


def test_only_the_judged_kind_of_gap_makes_claims_and_counts_in_the_family():
    rows = [ROW, {**ROW, "kind": "ratio", "raw": 0.9}, {**ROW, "attribute": "age", "p_adjusted": 0.5}]
    table = findings(pd.DataFrame(rows), permutations=1000)
    assert table["attribute"].tolist() == ["sex", "age"]
    assert table["tests"].tolist() == [2, 2]


def test_what_could_have_been_found_is_a_column_and_null_where_it_is_unknown():
    rows = [{**ROW, "p_adjusted": 0.4}, {**ROW, "p_adjusted": 0.4, "detectable": None}]
    table = findings(pd.DataFrame(rows))
    assert table["detectable"].iloc[0] == pytest.approx(0.0652, abs=1e-3)
    assert pd.isna(table["detectable"].iloc[1])
