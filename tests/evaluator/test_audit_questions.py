"""What only the user can say is asked for at once, with options that can be copied."""

import numpy as np
import pytest

from evaluator.auditing.questions import Missing
from shards.errors import UserError
from tests.evaluator.audited import audited, overall, table


def bare():
    frame = table().drop(columns=["patient_id", "sex", "age"])
    return frame.assign(hospital=np.resize(list("ab"), 120), bmi=np.linspace(18, 40, 120))


def test_everything_that_is_missing_is_asked_for_in_one_error():
    frame = bare().rename(columns={"score": "x7"})
    with pytest.raises(Missing, match="leaves 3 things open") as raised:
        audited(frame)
    for said in (
        "1. no column says whose sample",
        "2. no column is called like an attribute",
        "3. no column holds the scores",
    ):
        assert said in str(raised.value)
    options = ("--no-subject", "--attributes", "hospital", "--score", "x7")
    assert raised.value.options == options


def test_numbers_that_need_bins_are_asked_for_together_with_the_rest():
    frame = bare().assign(height=np.linspace(150, 200, 120))
    with pytest.raises(Missing) as raised:
        audited(frame, attributes="bmi,height")
    assert raised.value.options == ("--no-subject", "--bins", "bmi=29", "--bins", "height=175")


def test_a_column_that_repeats_like_ids_of_people_is_proposed_before_independent_rows():
    frame = table(60, images=2).rename(columns={"patient_id": "wer"})
    with pytest.raises(Missing) as raised:
        audited(frame)
    assert raised.value.options == ("--subject", "wer")


def test_what_is_proposed_works():
    result = audited(bare(), independent_rows=True, attributes="hospital", bins="bmi=29")
    assert set(result.findings["attribute"]) == {"hospital", "bmi"}


@pytest.mark.parametrize("bins", [{"age": [50, 70]}, "age=50,70", ["age=50,70"], ("age = 50, 70",)])
def test_bins_are_taken_as_a_mapping_or_as_on_the_command_line(bins):
    groups = audited(table(), bins=bins).groups
    assert set(groups.loc[groups["attribute"] == "age", "group"]) == {"<50", "50-70", "70+"}


@pytest.mark.parametrize("bins", ["age", "age=old", "=50", ["age=50", "sex"], "age="])
def test_bins_of_another_form_are_a_message(bins):
    with pytest.raises(UserError, match="must be an attribute and rising numbers"):
        audited(table(), bins=bins)


def test_a_result_is_shown_in_one_short_line():
    result = audited(table())
    assert repr(result) == "<AuditResult of 'table': 0 gaps found in 2 comparisons>"
    assert overall(result, "auc")["n"] == 120


def test_a_file_in_the_place_of_the_folder_is_a_message(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="--out must be a folder"):
        audited(table()).write(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
