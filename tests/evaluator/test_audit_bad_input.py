"""What tables get wrong: ambiguity is an error that lists candidates, and nothing undefined becomes a number."""

import numpy as np
import pandas as pd
import pytest

from shards.errors import UserError
from tests.evaluator.audited import audited, classes, findings, overall, role, table


def groups(result, attribute, metric="auc"):
    rows = result.groups[(result.groups["attribute"] == attribute) & (result.groups["metric"] == metric)]
    return rows.drop_duplicates("group").set_index("group")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(subject=t["patient_id"]), "whose sample a row is: subject, patient_id"),
        (lambda t: t.drop(columns="patient_id"), "--no-subject"),
        (lambda t: t.assign(y_true=t["label"]), "could hold the true class: label, y_true"),
        (lambda t: t.assign(prob=t["score"]), "could be the score: score, prob"),
        (lambda t: t.assign(model="a", classifier="b"), "could name the model: model, classifier"),
        (lambda t: t.drop(columns=["sex", "age"]), "no column is called like an attribute"),
        (lambda t: t.drop(columns="score"), "no column holds the scores"),
        (lambda t: t.drop(columns="label"), "no column holds the true class"),
        (lambda t: t.assign(split="train"), "no row is left"),
    ],
)
def test_ambiguity_and_absence_name_candidates_and_the_option(change, said):
    with pytest.raises(UserError, match=said):
        audited(change(table()))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subject": "patient"}, "did you mean 'patient_id'"),
        ({"target": "lable"}, "did you mean 'label'"),
        ({"score": "scroe"}, "did you mean 'score'"),
        ({"attributes": "sexx"}, "did you mean 'sex'"),
        ({"intersections": "sex*agee"}, "did you mean 'age'"),
        ({"bins": {"age": [60, 40]}}, "must be rising numbers"),
        ({"bins": {"sex": [40]}}, "has bins but is not a number"),
        ({"val": "sex"}, "must say train, val or test"),
        ({"val": "sex=mle"}, "did you mean 'male'"),
        ({"positive": "2"}, "unknown class of 'label'"),
        ({"subject": "patient_id", "independent_rows": True}, "exclude each other"),
        ({"bootstrap": -1}, "bootstrap is not valid"),
        ({"alpha": 2}, "alpha is not valid"),
        ({"threshold": "best", "val": "none"}, "threshold"),
    ],
)
def test_wrong_options_are_messages(options, said):
    with pytest.raises(UserError, match=said):
        audited(table(), **options)


def test_subjects_missing_in_some_rows_are_an_error_unless_rows_are_independent():
    frame = table()
    frame.loc[[3, 4], "patient_id"] = None
    with pytest.raises(UserError, match="no subject id in 2 of 120 rows"):
        audited(frame)
    result = audited(frame, independent_rows=True)
    assert overall(result, "auc")["n_subjects"] == 120
    assert "independent" in result.roles[1].why or any("independent" in r.why for r in result.roles)


def test_repeated_sample_ids_are_an_error():
    frame = table()
    frame.loc[1, "image_id"] = frame.loc[0, "image_id"]
    with pytest.raises(UserError, match=r"differ in subject_id|occur more than once"):
        audited(frame, sample="image_id")
    frame.loc[1] = frame.loc[0]
    with pytest.raises(UserError, match="1 sample ids occur more than once"):
        audited(frame, sample="image_id")


def test_a_group_of_one_class_has_no_auc_and_takes_no_part():
    frame = table(200)
    frame.loc[frame["sex"] == "male", "label"] = 0
    result = audited(frame)
    male = groups(result, "sex").loc["male"]
    assert np.isnan(male["value"])
    assert male["status"] == "undefined"
    gap = result.gaps[(result.gaps["attribute"] == "sex") & (result.gaps["metric"] == "auc")].iloc[0]
    assert np.isnan(gap["raw"])
    assert result.findings.loc[(result.findings["attribute"] == "sex") & result.findings["primary"], "finding"].tolist() == [
        "cannot judge"
    ]  # fmt: skip


@pytest.mark.parametrize("only", [0, 1])
def test_a_label_of_one_class_gives_no_auc(only):
    frame = table().assign(label=only)
    result = audited(frame)
    assert np.isnan(overall(result, "auc")["value"])
    assert not np.isnan(overall(result, "brier")["value"])


def test_a_group_of_one_is_shown_without_a_value():
    frame = table()
    frame.loc[0, "sex"] = "other"
    row = groups(audited(frame), "sex").loc["other"]
    assert (row["n"], row["status"]) == (1, "suppressed")
    assert np.isnan(row["value"])


def test_constant_scores_give_one_half_and_no_gap():
    result = audited(table().assign(score=0.5))
    assert overall(result, "auc")["value"] == 0.5
    assert not (result.findings["finding"] == "gap found").any()


def test_scores_that_are_not_numbers_cost_their_rows_and_are_counted_by_group():
    frame = table()
    frame.loc[[0, 1, 2], "score"] = np.nan
    frame.loc[3, "score"] = np.inf
    result = audited(frame)
    assert (overall(result, "auc")["n"], overall(result, "auc")["n_failed"]) == (116, 4)
    by_sex = groups(result, "sex")["n_failed"]
    assert by_sex.sum() == 4
    assert "120 rows: 116 measured, 4 without a score." in result.summary
    assert "no_score" not in result.summary


def test_rows_without_a_true_class_are_not_failures():
    frame = table().assign(label=lambda t: t["label"].astype(object))
    frame.loc[[0, 1], "label"] = ["", "NA"]
    result = audited(frame)
    assert (overall(result, "auc")["n"], overall(result, "auc")["n_failed"]) == (118, 0)
    assert "120 rows: 118 measured, 2 without a true class." in result.summary


@pytest.mark.parametrize(
    ("factor", "said"),
    [(100, "divide them by 100: fractions are expected"), (-5, "If they are logits, say --logits")],
)
def test_scores_outside_0_to_1_are_an_error_with_a_hint(factor, said):
    with pytest.raises(UserError, match=said):
        audited(table().assign(score=lambda t: t["score"] * factor))


def test_text_among_scores_is_an_error_that_shows_it():
    frame = table().assign(score=lambda t: t["score"].astype(object))
    frame.loc[5, "score"] = "high"
    with pytest.raises(UserError, match="must hold numbers, found high"):
        audited(frame, score="score")


def test_an_attribute_of_500_values_is_an_error_when_asked_for_and_else_left_out():
    frame = table(600)
    frame["race"] = [f"r{i % 500}" for i in range(len(frame))]
    with pytest.raises(UserError, match=r"has 500 different values .at most 50 groups"):
        audited(frame, attributes="race")
    result = audited(frame)
    assert "race" not in set(result.groups["attribute"])
    assert "- NOT COMPARED: race has 500 different values" in result.summary.split("## Result")[0]


def test_a_number_without_bins_asks_for_them():
    frame = table().assign(bmi=np.linspace(18, 40, 120))
    with pytest.raises(UserError, match="--bins bmi=29"):
        audited(frame, attributes="bmi")
    with pytest.raises(UserError, match="negative values"):
        audited(table().assign(age=lambda t: t["age"].where(t.index > 0, -1)))


def test_codes_are_groups_by_their_codes_and_it_says_so():
    result = audited(table().assign(sex=lambda t: (t["sex"] == "male").astype(float)))
    assert set(groups(result, "sex").index) == {"0", "1"}
    assert any("called by their codes 0, 1" in note for note in result.notes)


def test_documented_spellings_of_unknown_are_one_group_and_are_counted():
    frame = table(200, unknown=0.1)
    empty = int(frame["sex"].isna().sum())
    frame.loc[[0, 1, 2], "sex"] = ["NA", " not reported ", "Unknown"]
    frame.loc[[3, 4], "sex"] = ["X", "-1"]
    result = audited(frame)
    found = groups(result, "sex")
    assert set(found.index) == {"female", "male", "unknown", "X", "-1"}
    assert found.loc["unknown", "n"] >= 3
    note = next(note for note in result.notes if note.startswith("sex:"))
    assert "NA (1)" in note
    assert "not reported (1)" in note
    assert empty == 0 or "empty (" in note
    gap = result.gaps[(result.gaps["attribute"] == "sex") & (result.gaps["metric"] == "auc")].iloc[0]
    assert "unknown" in list(gap["excluded_groups"])


def test_too_many_classes_are_taken_for_an_id():
    with pytest.raises(UserError, match="looks like an id"):
        audited(table().assign(label=lambda t: t["image_id"]), target="label")


def test_more_classes_than_scores_ask_for_the_class_of_interest():
    frame = table()
    frame.loc[:9, "label"] = -1
    with pytest.raises(UserError, match=r"3 classes .-1, 0, 1. but a single score"):
        audited(frame)
    with pytest.raises(UserError, match="bcc has none"):
        audited(classes().drop(columns="p_bcc"))
    with pytest.raises(UserError, match="say which one the score is for with --positive"):
        audited(table().assign(label=lambda t: np.where(t["label"] == 1, "red", "blue")))


def test_numbered_scores_of_named_classes_ask_for_their_order():
    frame = classes().rename(columns={"p_nev": "prob_0", "p_mel": "prob_1", "p_bcc": "prob_2"})
    with pytest.raises(UserError, match="give the classes in the order"):
        audited(frame)
    right = overall(audited(frame, classes="nev,mel,bcc"), "auc")["value"]
    assert right == pytest.approx(overall(audited(classes()), "auc")["value"])


def test_masks_in_per_cent_are_an_error():
    base = table(60)[["image_id", "patient_id", "sex"]]
    with pytest.raises(UserError, match="look like percentages"):
        audited(base.assign(dice=np.linspace(50, 99, 60)))


def test_masks_and_classes_in_one_table_ask_which_is_meant():
    frame = table().assign(dice=0.5)
    with pytest.raises(UserError, match="masks and predictions of 'label'"):
        audited(frame)
    assert set(audited(frame, score="dice").groups["metric"]) == {"dice"}
    assert "auc" in set(audited(frame, target="label").groups["metric"])


def test_one_sample_cannot_be_of_two_sexes():
    frame = pd.concat([table().assign(model=m) for m in "ab"], ignore_index=True)
    frame.loc[0, "sex"] = "other"
    with pytest.raises(UserError, match="differ in sex"):
        audited(frame)


def test_subjects_in_several_splits_are_a_caution():
    frame = table(100, images=2)
    frame["split"] = np.resize(["val", "test"], len(frame))
    assert any("100 subjects have rows in more than one split" in note for note in audited(frame).notes)


def test_names_with_html_and_other_scripts_are_shown_as_they_are_and_never_run(tmp_path):
    evil = "<script>alert(1)</script>"
    frame = table().rename(columns={"sex": "Geschlecht männlich"})
    frame.loc[frame["Geschlecht männlich"] == "male", "Geschlecht männlich"] = evil
    frame.loc[frame["Geschlecht männlich"] == "female", "Geschlecht männlich"] = "女性"
    result = audited(frame.assign(model="a\x1b[31m"), attributes="Geschlecht männlich")
    assert "女性" in result.summary
    assert "\x1b" not in result.summary
    page = result.report(tmp_path / "r.html").read_text()
    assert evil not in page
    assert "女性" in page


def test_findings_of_their_own_names_are_not_mixed_with_others():
    frame = findings().assign(score_other=0.5)
    with pytest.raises(UserError, match=r"others do not .score_other"):
        audited(frame)
    assert role(audited(findings()), "label") == ("nodule", "mass")


def test_classes_called_1_and_2_are_not_taken_for_yes_and_no():
    frame = table().assign(label=lambda t: t["label"] + 1)
    with pytest.raises(
        UserError, match="classes '1' and '2': say which one the score is for with --positive"
    ):
        audited(frame)
    assert overall(audited(frame, positive="2"), "auc")["value"] > 0.5
    assert overall(audited(frame.replace({"label": {1: -1, 2: 1}})), "auc")["value"] > 0.5


def test_scores_that_are_all_empty_are_refused_and_never_called_decisions():
    frame = table().assign(score=np.nan)
    with pytest.raises(UserError, match="no cell of score holds a number"):
        audited(frame, score="score")
    with pytest.raises(UserError, match="'score' is empty"):
        audited(frame)


def test_a_column_called_score_that_holds_a_word_is_named_with_that_word():
    frame = table().astype({"score": object})
    frame.loc[3, "score"] = "error"
    with pytest.raises(UserError, match="'score' holds 'error', which is no number"):
        audited(frame)


def test_a_model_that_answered_nothing_has_rows_without_a_score_and_no_decisions():
    frame = table()
    both = pd.concat([frame.assign(model="a"), frame.assign(model="b", score=np.nan)])
    found = audited(both)
    assert overall(found, "auc", model="a")["status"] == "ok"
    nothing = overall(found, "auc", model="b")
    assert (nothing["status"], nothing["n"], nothing["n_failed"]) == ("undefined", 0, len(frame))
    assert nothing["reason"].startswith("no_samples")


def test_equal_values_are_not_told_as_one_group_being_better():
    found = audited(table().assign(score=0.5), attributes="sex")
    assert "is better than" not in found.summary
    assert "groups have the same value" in found.summary
