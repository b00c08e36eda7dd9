"""Rows, columns and values that are lost on the way are counted, named and said where they matter."""

import numpy as np
import pandas as pd
import pytest

from shards.errors import UserError
from tests.evaluator.audited import audited, overall, role, table


@pytest.fixture(scope="module")
def lossy():
    frame = table(300)
    frame["label"] = frame["label"].astype(float)
    frame.loc[:29, "label"] = np.nan
    frame.loc[20:59, "score"] = np.nan
    return frame


def test_rows_add_up_at_the_top_of_the_summary(lossy):
    result = audited(lossy)
    assert "300 rows: 240 measured, 30 without a score, 30 without a true class." in result.summary[:200]
    assert overall(result, "auc")["n"] == 240


def test_shares_of_failures_are_of_the_rows_that_should_have_been_measured(lossy):
    failures = audited(lossy).tables.failures
    everyone = failures[failures["attribute"] == "all"].set_index("status")
    assert everyone.loc["no_score", "share"] == pytest.approx(30 / 270)
    assert everyone.loc["no_label", "share"] == pytest.approx(30 / 300)


def test_lost_labels_are_counted_by_group(lossy):
    failures = audited(lossy).tables.failures
    lost = failures[(failures["status"] == "no_label") & (failures["attribute"] == "sex")]
    expected = lossy[lossy["label"].isna()].groupby("sex").size()
    assert lost.set_index("group")["rows"].to_dict() == expected.to_dict()
    share = expected["male"] / (lossy["sex"] == "male").sum()
    assert (
        f"- sex male: {expected['male']} rows without a true class ({100 * share:.1f} % of all rows)"
        in audited(lossy).summary
    )


def test_a_table_without_losses_says_so_and_has_no_section_of_them():
    summary = audited(table()).summary
    assert "120 rows, all measured." in summary
    assert "## Not measured" not in summary


def test_rows_of_several_results_are_told_apart():
    frame = table()[["image_id", "patient_id", "sex", "label"]]
    frame = frame.assign(score_a=table()["score"], score_b=table()["score"].where(frame.index > 9))
    summary = audited(frame).summary
    assert "- label, a: 120 rows, all measured." in summary
    assert "- label, b: 120 rows: 110 measured, 10 without a score." in summary


def test_rows_without_a_mask_score_add_up():
    frame = table()[["image_id", "patient_id", "sex"]].assign(dice=0.8)
    frame.loc[:4, "dice"] = np.nan
    assert "120 rows: 115 measured, 5 without a score." in audited(frame).summary


@pytest.mark.parametrize("positive", [None, "1", "1.0"])
def test_labels_of_0_and_1_that_became_fractions_are_0_and_1(positive, tmp_path, lossy):
    lossy.to_csv(tmp_path / "t.csv", index=False)
    assert "0.0" in (tmp_path / "t.csv").read_text()
    result = audited(tmp_path / "t.csv", positive=positive)
    assert any("the class of interest is '1'" in note for note in result.notes)
    expected = overall(audited(lossy), "auc")["value"]
    assert overall(result, "auc")["value"] == pytest.approx(expected)


def test_numbers_with_a_true_fraction_stay_as_they_are():
    frame = table().assign(dose=np.resize(["1.0", "none of it"], 120))
    groups = audited(frame, attributes="dose").groups
    assert set(groups.loc[groups["attribute"] == "dose", "group"]) == {"1.0", "none of it"}


def test_ages_of_dicom_are_years_and_it_says_so():
    plain = table(200)
    frame = plain.assign(age=[f"{age:03d}Y" for age in plain["age"]])
    frame.loc[0, "age"], plain.loc[0, "age"] = "018M", 1
    result, expected = audited(frame), audited(plain)
    pd.testing.assert_frame_equal(result.groups, expected.groups)
    assert any("were read as years" in note and note.startswith("age: ages such as") for note in result.notes)


def test_ages_with_anything_else_among_them_are_no_ages():
    frame = table(200).assign(age=lambda t: [f"{age:03d}Y" for age in t["age"]])
    frame.loc[0, "age"] = "old"
    with pytest.raises(UserError, match="is not a number everywhere"):
        audited(frame, bins="age=50")


def test_an_attribute_that_is_dropped_is_named_where_the_answer_stands():
    frame = table(200).assign(age=lambda t: [f"about {row}" for row in range(len(t))])
    short = audited(frame).summary.split("## Result")[0]
    assert "- NOT COMPARED: age has 200 different values (at most 50 groups)" in short
    assert any(
        text.startswith("age is not compared: it has 200") for text in audited(frame).content().methods
    )


def test_columns_without_a_part_are_listed_with_the_option_that_gives_them_one():
    frame = table().assign(exposure=np.linspace(0, 9, 120), scanner=np.resize(list("xyz"), 120))
    result = audited(frame)
    assert role(result, "not used") == ("exposure", "scanner")
    assert "not used    exposure, scanner; to compare groups: --attributes scanner" in result.summary
    assert "not used" not in audited(table()).summary
