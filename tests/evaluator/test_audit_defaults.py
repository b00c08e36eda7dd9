"""What an audit says where no formula is named: the default one, whatever else was asked for beside it."""

import numpy as np
import pytest

from evaluator.auditing.defaults import default_convention
from shards.errors import UserError
from tests.evaluator.audited import audited, overall, table


@pytest.fixture(scope="module")
def legacy():
    limits = ["value(accuracy)<0.1", "value(accuracy@test:f1:legacy)<0.1", "detectable(auc,sex)<0"]
    return audited(table(200), conventions="fairmedfm", standardize="age", fail_if=limits)


@pytest.fixture(scope="module")
def plain():
    return audited(table(200))


def test_the_headline_and_what_stands_beside_it_do_not_change_with_conventions_asked_for(legacy, plain):
    said = [
        next(line for line in result.summary.splitlines() if line.startswith("Also, over all"))
        for result in (legacy, plain)
    ]
    assert said[0] == said[1]
    assert "score of 0.500, fixed beforehand" in said[0]


def test_thresholds_tuned_on_the_rows_measured_are_never_shown_without_saying_so(legacy):
    line = next(text for text in legacy.summary.splitlines() if "By test:f1:legacy" in text)
    assert "tuned on the rows measured: optimistic" in line
    assert "Nothing was tuned" not in legacy.summary
    assert any("test:f1:legacy" in note and "tuned on the rows measured" in note for note in legacy.notes)
    assert any("tuned on the rows measured" in sentence for sentence in legacy.content().methods)


def test_an_unqualified_metric_in_a_gate_means_the_default_threshold(legacy, plain):
    unqualified, named, _ = legacy.limits
    value = overall(plain, "accuracy")["value"]
    assert unqualified.sentence == f"value(accuracy) is {value:.4g}"
    assert "threshold tuned on the rows measured: optimistic" in named.sentence
    assert named.sentence != unqualified.sentence


@pytest.mark.parametrize(
    ("known", "rule", "default"),
    [
        (["test:f1:legacy", "fixed:0.5"], "fixed:0.5", "fixed:0.5"),
        (["fixed:0.3", "val:youden"], "val:youden", "val:youden"),
        (["test:f1:legacy", "fixed:0.3", "fixed:0.5"], "val:youden", "fixed:0.5"),
        (["decisions:given"], "fixed:0.5", "decisions:given"),
        (["f1:macro", "class:argmax"], "fixed:0.5", "class:argmax"),
        (["ece:range10", "ece:fixed15"], "fixed:0.5", "ece:fixed15"),
        (["auc:midrank|age-standardised", "auc:midrank"], "fixed:0.5", "auc:midrank"),
        (["group:val:f1", "fixed:0.5"], "val:f1", "fixed:0.5"),
        (["ece:range10"], "fixed:0.5", "ece:range10"),
    ],
)
def test_the_default_convention_is_that_of_the_settings_and_never_a_legacy_one(known, rule, default):
    assert default_convention(known, rule) == default


def test_what_could_have_been_found_is_the_number_corrected_for_all_tests_in_gates_and_text(legacy):
    gap = legacy.gaps[(legacy.gaps["metric"] == "auc") & (legacy.gaps["attribute"] == "sex")].iloc[0]
    assert gap["detectable_adjusted"] > gap["detectable"]
    assert legacy.limits[2].sentence == f"detectable(auc, sex) is {gap['detectable_adjusted']:.4g}"
    claim = legacy.findings[legacy.findings["primary"] & (legacy.findings["attribute"] == "sex")].iloc[0]
    assert np.isnan(claim["detectable"]) or claim["detectable"] == pytest.approx(gap["detectable_adjusted"])


def test_re_weighted_gaps_stand_below_the_plain_ones(legacy):
    gaps = legacy.gaps[(legacy.gaps["kind"] == "max-min") & (legacy.gaps["metric"] == "auc")]
    sex = gaps[gaps["attribute"] == "sex"].set_index("convention")["raw"]
    told = f"gap {sex['auc:midrank|age-standardised']:.3f} (was {sex['auc:midrank']:.3f})"
    assert f"-> re-weighted to the same age in all groups: {told}" in legacy.summary


def test_a_misspelt_attribute_to_re_weight_by_names_the_option():
    with pytest.raises(UserError, match=r"unknown attribute 'agee'; did you mean 'age'.*\(--standardize\)"):
        audited(table(), standardize="agee")


def test_re_weighting_without_scores_says_that_nothing_came_of_it():
    frame = table().assign(pred=lambda t: (t["score"] > 0.4).astype(int)).drop(columns="score")
    result = audited(frame, standardize="age")
    assert any("Nothing could be re-weighted to the same age" in note for note in result.notes)


def test_decisions_alone_are_headed_by_balanced_accuracy_and_judged_by_it():
    frame = table(300).assign(pred=lambda t: (t["score"] > 0.4).astype(int)).drop(columns="score")
    result = audited(frame)
    assert "\nBalanced accuracy 0." in result.summary
    tested = result.findings[result.findings["primary"] & (result.findings["tests"] > 0)]
    assert set(tested["metric"]) == {"balanced_accuracy"}


def test_verdicts_stand_before_everything_else_and_reach_the_report(legacy):
    headings = [line for line in legacy.summary.splitlines() if line.startswith("## ")]
    assert headings[:2] == ["## Limits", "## In short"]
    assert [violated for _, violated, _ in legacy.content().limits] == [False, False, False]
    assert legacy.content().limits[0] == (
        "value(accuracy)<0.1",
        False,
        legacy.limits[0].sentence,
    )


def test_sentences_hold_words_and_no_codes():
    frame = table(200).assign(race="x")
    frame.loc[frame["sex"] == "male", "label"] = 0
    decided = frame.assign(pred=frame["label"]).drop(columns="score")
    limits = ["adjusted_gap(auc,race)>0", "worst(auc,sex)>2", "value(auc,sex,male)>0"]
    for result in (audited(frame, fail_if=limits), audited(decided, fail_if=limits)):
        text = result.summary + "".join(verdict.sentence for verdict in result.limits)
        for code in ("one_class", "single_group", "labels_only", "balanced_accuracy", "missing_class"):
            assert code not in text
    assert "all samples are of one class" in audited(frame).summary


def test_names_of_groups_and_columns_keep_their_spelling(tmp_path):
    frame = table(200).rename(columns={"sex": "hautTyp"}).assign(hautTyp=lambda t: t["hautTyp"] + " iV")
    result = audited(frame, attributes="hautTyp,age")
    assert "female iV" in result.summary
    assert any(text.startswith("age: groups") for text in result.content().methods)


def test_scores_that_rank_the_wrong_way_round_are_a_caution():
    frame = table(200)
    turned = audited(frame.assign(score=1 - frame["score"]))
    assert [
        note
        for note in turned.notes
        if note.startswith("Caution: the scores of label rank worse than guessing")
    ]
    assert not [note for note in audited(frame).notes if "worse than guessing" in note]
