"""Limits of pipelines: the grammar, what they are judged on, and that unknown counts as violated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.auditing.limits import judge_limits, parse_limit
from shards.errors import UserError
from tests.evaluator.audited import audited, table


@pytest.fixture(scope="module")
def result():
    frame = table(300, seed=3)
    frame.loc[frame["sex"] == "male", "score"] = 1 - frame.loc[frame["sex"] == "male", "score"]
    return audited(frame, permutations=99)


def judged(result, text):
    verdicts = judge_limits([parse_limit(text)], result.groups, result.gaps)
    assert len(verdicts) == 1
    return verdicts[0]


def test_every_function_reads_the_number_of_the_tables(result):
    gap = result.gaps[(result.gaps["metric"] == "auc") & (result.gaps["attribute"] == "sex")].iloc[0]
    groups = result.groups[
        (result.groups["metric"] == "auc") & (result.groups["attribute"] == "sex")
    ].set_index("group")
    everyone = result.groups[(result.groups["metric"] == "auc") & (result.groups["attribute"] == "all")].iloc[
        0
    ]
    expected = {
        "adjusted_gap(auc,sex)": gap["adjusted"],
        "raw_gap(auc, sex)": gap["raw"],
        "p(auc,sex)": gap["p_adjusted"],
        "detectable(auc,sex)": gap["detectable_adjusted"],
        "worst(auc,sex)": groups["value"].min(),
        "value(auc)": everyone["value"],
        "value(auc, sex, female)": groups.loc["female", "value"],
        "value(auc@auc:midrank, 'sex', \"male\")": groups.loc["male", "value"],
    }
    for call, value in expected.items():
        assert judged(result, f"{call} > {value - 1e-6}").violated
        assert not judged(result, f"{call} > {value + 1e-6}").violated
        assert f"{value:.4g}" in judged(result, f"{call}>0").sentence


def test_a_kind_of_gap_can_be_named_and_composites_have_their_own(result):
    gaps = result.gaps[result.gaps["attribute"] == "sex"]
    for metric, kind, written in (
        ("auc", "es:sum", "auc@es:sum"),
        ("equalized_odds", "eqodds:max", "equalized_odds"),
        ("sensitivity", "max-min", "sensitivity@fixed:0.5"),
    ):
        value = gaps.loc[(gaps["metric"] == metric) & (gaps["kind"] == kind), "raw"].iloc[0]
        assert judged(result, f"raw_gap({written}, sex) > {value - 1e-6}").violated
        assert not judged(result, f"raw_gap({written}, sex) > {value + 1e-6}").violated


def test_the_worst_group_of_a_loss_is_the_largest(result):
    rows = result.groups[(result.groups["metric"] == "brier") & (result.groups["attribute"] == "sex")]
    assert judged(result, f"worst(brier,sex) >= {rows['value'].max() - 1e-9}").violated


@pytest.mark.parametrize(
    ("text", "violated"),
    [
        ("value(auc)>0 and value(auc)>2", False),
        ("value(auc)>0 or value(auc)>2", True),
        ("value(auc)>2 or value(auc)>0 and value(brier)>2", False),
        ("(value(auc)>0 or value(auc)>2) and value(brier)>2", False),
        ("0.9<=value(auc) or 1e-3 < value(auc)", True),
        ("value(auc,age,<40) >= 0", True),
        ("value(auc,age,'80+') <= 1", True),
    ],
)
def test_words_and_brackets_bind_as_in_speech(result, text, violated):
    assert judged(result, text).violated is violated


def test_what_is_undefined_counts_as_violated_and_says_why():
    frame = table()
    frame.loc[frame["sex"] == "male", "label"] = 0
    broken = audited(frame)
    verdict = judged(broken, "adjusted_gap(auc,sex)>0.05")
    assert verdict.violated
    assert "cannot be judged" in verdict.sentence
    assert "undefined" in verdict.sentence
    assert judged(broken, "adjusted_gap(auc,sex)>0.05 and value(auc)>2").violated is False
    assert judged(broken, "adjusted_gap(auc,sex)>0.05 or value(auc)>0").sentence.startswith("adjusted_gap")


def test_each_model_is_judged_by_itself_and_named():
    frame = table(200).rename(columns={"score": "score_good"})
    frame["score_bad"] = 1 - frame["score_good"]
    verdicts = audited(frame, fail_if="value(auc)<0.5").limits
    assert {verdict.result: verdict.violated for verdict in verdicts} == {
        "good, label": False,
        "bad, label": True,
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "comparisons such as"),
        ("0.1 > 0.2", "a function on one side"),
        ("value(auc)", "comparisons such as"),
        ("value(auc) > 0.5 0.6", "nothing more after it"),
        ("value(auc) = 0.5", "at '= 0.5'"),
        ("(value(auc) > 0.5", "a closing bracket"),
        ("value() > 0.5", "1 or 3 names"),
        ("p(auc) > 0.5", "2 names"),
        ("gap(auc,sex) > 0.5", "did you mean"),
        ("__import__('os').system('x') > 1", "function"),
        ("value(auc) > value", "at 'value'"),
    ],
)
def test_what_is_no_limit_is_a_message(text, said):
    with pytest.raises(UserError, match=said):
        parse_limit(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("value(acu)>0.5", "did you mean 'auc'"),
        ("p(auc,sexx)>0.5", "did you mean 'sex'"),
        ("value(auc,sex,femal)>0.5", "did you mean 'female'"),
        ("value(auc@auc:mid)>0.5", "did you mean 'auc:midrank'"),
    ],
)
def test_misspelt_names_are_messages_with_the_nearest(result, text, said):
    with pytest.raises(UserError, match=said):
        judged(result, text)


def test_a_limit_on_an_attribute_that_is_not_compared_is_refused_before_measuring():
    with pytest.raises(UserError, match="compared: sex"):
        audited(table(), attributes="sex", fail_if="adjusted_gap(auc,age)>0.05")


@given(st.text(max_size=60))
def test_any_text_is_a_limit_or_a_message(text):
    try:
        limit = parse_limit(text)
    except UserError:
        return
    assert list(limit.calls())


@given(st.floats(0, 1), st.sampled_from([">", ">=", "<", "<="]))
def test_comparisons_are_those_of_numbers(value, operator):
    expected = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}[operator](
        0.5, value
    )
    rule = parse_limit(f"value(auc) {operator} {value!r}").rule
    assert rule.operator == operator
    assert rule.right == pytest.approx(value)
    from evaluator.auditing.limits import _COMPARE

    assert _COMPARE[operator](0.5, rule.right) == expected
