import numpy as np
import pandas as pd
import pytest

from evaluator.groups import assign_groups, bin_names, parse_groups
from shards.errors import UserError

PEOPLE = pd.DataFrame(
    {
        "sample_id": list("abcde"),
        "sex": ["female", "male", None, "male", "female"],
        "age": [59.9, 60.0, 30.0, None, 85.0],
    }
)


def named(options, table=PEOPLE, *, rule=-1):
    grouping = assign_groups(parse_groups(options)[rule], table)
    return [grouping.groups[code] if code >= 0 else "unknown" for code in grouping.codes]


def test_category_values_are_group_names_and_null_is_unknown():
    assert named({"sex": {}}) == ["female", "male", "unknown", "male", "female"]


def test_a_bin_holds_its_lower_edge():
    assert named({"age": {"bins": [60]}}) == ["<60", "60+", "<60", "unknown", "60+"]


@pytest.mark.parametrize(
    ("bins", "names"),
    [([60], ("<60", "60+")), ([40, 60], ("<40", "40-60", "60+")), ([0.5], ("<0.5", "0.5+"))],
)
def test_bins_are_named_by_their_edges(bins, names):
    assert bin_names(bins) == names


def test_intersection_uses_the_bins_of_its_parts_and_is_unknown_when_any_part_is():
    options = {"sex": {}, "age": {"bins": [60]}, "sex*age": {}}
    assert named(options) == ["female*<60", "male*60+", "unknown", "unknown", "female*60+"]


def test_intersection_lists_every_cell_of_the_product_even_without_rows():
    rule = parse_groups({"sex": {}, "age": {"bins": [60]}, "sex*age": None})[-1]
    assert assign_groups(rule, PEOPLE).groups == ("female*<60", "female*60+", "male*<60", "male*60+")


def test_declared_groups_stay_in_their_order_when_absent():
    rule = parse_groups({"sex": {"groups": ["other", "male", "female"]}})[0]
    assert assign_groups(rule, PEOPLE).groups == ("other", "male", "female")


def test_value_outside_the_declared_groups_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"not among its declared groups: male \(declared: female\)"):
        named({"sex": {"groups": ["female"]}})


def test_groups_do_not_depend_on_the_order_of_rows():
    shuffled = PEOPLE.iloc[[3, 1, 4, 0, 2]]
    rule = parse_groups({"sex": {}})[0]
    assert assign_groups(rule, shuffled).groups == assign_groups(rule, PEOPLE).groups


def test_number_without_bins_is_an_error_that_asks_for_bins():
    with pytest.raises(UserError, match=r"'age' is a number \(30 to 85\) and needs bins"):
        named({"age": {}})


def test_numbers_in_an_object_column_are_numbers_too():
    with pytest.raises(UserError, match="needs bins"):
        named({"age": {}}, pd.DataFrame({"age": pd.Series([1, 2, None], dtype=object)}))


def test_bins_on_a_category_are_an_error():
    with pytest.raises(UserError, match=r"'sex' has bins but is not a number \(found 'female'\)"):
        named({"sex": {"bins": [1]}})


def test_infinite_number_is_an_error():
    with pytest.raises(UserError, match="infinite"):
        named({"age": {"bins": [60]}}, pd.DataFrame({"age": [1.0, np.inf]}))


@pytest.mark.parametrize("column", [[None, None], [np.nan, np.nan]])
def test_attribute_that_is_all_null_has_no_groups_but_unknown(column):
    assert named({"race": {}}, pd.DataFrame({"race": column})) == ["unknown", "unknown"]


def test_the_word_unknown_is_unknown():
    assert named({"race": {}}, pd.DataFrame({"race": ["asian", "unknown"]})) == ["asian", "unknown"]


def test_true_and_false_are_categories():
    assert named({"smoker": {}}, pd.DataFrame({"smoker": [True, False]})) == ["True", "False"]


def test_missing_column_is_an_error_with_the_nearest_one():
    with pytest.raises(UserError, match=r"unknown attribute 'gender'"):
        named({"gender": {}})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"age": {"bin": [60]}}, "did you mean 'bins'"),
        ({"age": {"bins": [60, 40]}}, "rising numbers"),
        ({"age": {"bins": []}}, "rising numbers"),
        ({"age": {"bins": "60"}}, "rising numbers"),
        ({"age": {"bins": [True]}}, "rising numbers"),
        ({"sex": {"groups": ["a", "a"]}}, "different names"),
        ({"sex": {"groups": ["a"], "bins": [1]}}, "both bins and groups"),
        ({"all": {}}, "reserved"),
        ({"sex*sex": {}}, "different attributes"),
        ({"sex*age": {"bins": [60]}}, "takes no options"),
    ],
)
def test_wrong_options_are_errors(options, text):
    with pytest.raises(UserError, match=text):
        parse_groups(options)


def test_a_rule_round_trips_into_json():
    rule = parse_groups({"age": {"bins": [60]}})[0]
    assert rule.to_json() == {"name": "age", "parts": [{"attribute": "age", "bins": (60.0,), "groups": None}]}
