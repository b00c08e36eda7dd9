import numpy as np
import pandas as pd
import pytest

from shards.adapter import UnreadableSample
from shards.datasets._harvard import age_unit, people, read_array
from shards.errors import UserError


def table(**columns):
    """Two rows of a summary table, one column changed."""
    rows = {
        "filename": ["data_00001.npz", "data_00002.npz"],
        "age": ["56.56", "60.00"],
        "gender": ["female", "male"],
        "race": ["asian", "white"],
        "ethnicity": ["non-hispanic", "hispanic"],
        "language": ["english", "other languages"],
        "maritalstatus": ["married or partnered", "legally separated"],
        "use": ["training", "validation"],
    }
    return pd.DataFrame({**rows, **columns}, dtype=object)


def test_words_of_tables_and_codes_of_archives_are_the_same_people():
    coded = table(
        gender=["0", "1"],
        race=["0", "2"],
        ethnicity=["0", "1.0"],
        language=["0", "2"],
        maritalstatus=["0", "4"],
    )
    attributes = ["sex", "age", "race", "ethnicity", "language", "marital_status"]
    said, written = people(coded)[attributes], people(table())[attributes]
    assert said.to_dict() == written.to_dict()
    assert written.iloc[1].tolist() == ["male", 60.0, "white", "hispanic", "other", "legally separated"]
    assert people(table())["split"].tolist() == ["train", "val"]


@pytest.mark.parametrize("blank", ["-1", "unknown", "Unavailable", None])
def test_an_unknown_value_is_null_and_no_group(blank):
    for column, name in (
        ("race", "race"),
        ("ethnicity", "ethnicity"),
        ("language", "language"),
        ("maritalstatus", "marital_status"),
    ):
        rows = people(table(**{column: [table()[column][0], blank]}))
        assert rows[name][1] is None
        assert rows[name][0] is not None


@pytest.mark.parametrize(
    ("column", "value"),
    [("gender", "fem"), ("race", "purple"), ("language", "3"), ("maritalstatus", "7"), ("use", "dev")],
)
def test_an_unknown_spelling_is_refused_with_what_was_seen(column, value):
    with pytest.raises(
        UserError, match=f"column '{column}' has values that its coding does not know: '{value}'"
    ):
        people(table(**{column: [table()[column][0], value]}))


def test_the_same_code_of_race_is_read_as_its_release_means_it():
    assert people(table(race=["2", "0"]))["race"].tolist() == ["white", "asian"]
    assert people(table(race=["2", "7"]))["race"].tolist() == ["asian", "white"]
    assert people(table(race=["3", "-1"]))["race"].tolist() == ["black", None]


@pytest.mark.parametrize("codes", [["2", "1"], ["2", "2.0"]])
def test_codes_of_race_that_fit_both_codings_are_refused(codes):
    with pytest.raises(UserError, match=r"fit neither of its two codings alone.*0 asian.*7 white"):
        people(table(race=codes))


def test_codes_of_race_of_two_releases_at_once_are_refused():
    with pytest.raises(UserError, match="'race'"):
        people(table(race=["0", "7"]))


def test_ages_in_days_are_told_from_ages_in_years():
    assert age_unit(table()["age"]) == "y"
    days = table(age=["20659", "21915"])
    assert age_unit(days["age"]) == "d"
    assert people(days)["age"].tolist() == pytest.approx([56.56, 60.0], abs=0.01)
    assert age_unit(table(age=["-1", None])["age"]) == "y"


@pytest.mark.parametrize("ages", [["56.56", "21915"], ["200", "21915"]])
def test_ages_in_years_and_days_at_once_are_refused(ages):
    with pytest.raises(
        UserError, match=r"column 'age' mixes years and days: \d values up to 120, 1 above 365"
    ):
        people(table(age=ages))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[1.0, np.nan]]), "nan_pixels"),
        (np.zeros((0, 3), np.uint8), "empty_image"),
        (np.array([["a"]]), "unsupported_pixels"),
        (np.array([[0.0, 0.7]]), "unsupported_pixels"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(tmp_path, array, reason):
    np.savez(tmp_path / "data.npz", slo_fundus=array)
    with pytest.raises(UnreadableSample, match=r"'slo_fundus' of data\.npz") as caught:
        read_array(tmp_path / "data.npz", ("slo_fundus",), (0.0, 255.0))
    assert caught.value.reason == reason


def test_values_outside_of_eight_bits_are_clipped_not_wrapped(tmp_path):
    np.savez(tmp_path / "data.npz", slo_fundus=np.array([[-5, 0, 100, 255, 256, 300]], np.int16))
    read = read_array(tmp_path / "data.npz", ("slo_fundus",), (0.0, 255.0))
    assert read.tolist() == [[0, 0, 100, 255, 255, 255]]


def test_a_missing_array_is_told_with_all_names_that_would_do(tmp_path):
    np.savez(tmp_path / "data.npz", age=3)
    with pytest.raises(UnreadableSample, match="has none of the arrays one, two; found age"):
        read_array(tmp_path / "data.npz", ("one", "two"), (0.0, 255.0))
