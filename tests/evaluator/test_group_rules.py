"""Closed edges, labels and mapped values of groups, and the presets of a dataset's card."""

import pandas as pd
import pytest

from evaluator.groups import assign_groups, parse_groups
from evaluator.presets import NotRecorded, fit, refuse_unknown
from shards.card import Attribute, DatasetCard, GroupPreset
from shards.errors import UserError

CARD = DatasetCard(
    "small",
    "1",
    "none",
    "none",
    "none",
    attributes=(Attribute("sex"), Attribute("age", "number", "years"), Attribute("race"), Attribute("Language")),
    published=("race_raw", "age_raw"),
    presets=(
        GroupPreset("fairmedfm", "age", "age", ("<60", "60+"), bins=(60.0,)),
        GroupPreset("fairmedfm_notebook", "age", "age", ("<=60", ">60"), bins=(60.0,), closed="right"),
        GroupPreset("medfair", "age", "age_raw", ("young", "old"), bins=(60.0,)),
        GroupPreset(
            "fairmedfm", "race", "race_raw", ("White", "Non-White"), values=(("WHITE",),), otherwise="Non-White"
        ),
        GroupPreset("fairclip", "race", "race", ("white", "black"), values=(("white",), ("black",))),
        GroupPreset("legacy", "sex", "sex", ("F", "M"), values=(("female",), ("male", ""))),
    ),
)  # fmt: skip
PEOPLE = pd.DataFrame(
    {
        "sample_id": list("abcdef"),
        "sex": ["female", "male", None, "male", "female", "female"],
        "age": [59.9, 60.0, 30.0, None, 85.0, 60.0],
        "age_raw": ["59", "60", "030", None, "85", "60"],
        "race": ["white", "asian", None, "black", "white", "unknown"],
        "race_raw": ["WHITE", "ASIAN", None, "BLACK", "WHITE", "unknown"],
    }
)


def named(rule):
    grouping = assign_groups(rule, PEOPLE)
    return [grouping.groups[code] if code >= 0 else None for code in grouping.codes]


def rule(**options):
    (name, given), = options.items()  # fmt: skip
    return parse_groups({name: given})[0]


def preset(name, attribute):
    return fit(rule(**{attribute: {"preset": name}}), CARD)


def test_an_edge_belongs_to_the_bin_that_is_closed_there():
    assert named(rule(age={"bins": [60]})) == ["<60", "60+", "<60", None, "60+", "60+"]
    assert named(rule(age={"bins": [60], "closed": "right"})) == ["<=60", "<=60", "<=60", None, ">60", "<=60"]


def test_both_published_views_of_age_60_are_presets():
    assert named(preset("fairmedfm", "age"))[1] == "60+"
    assert named(preset("fairmedfm_notebook", "age"))[1] == "<=60"


def test_labels_name_the_bins_in_their_order():
    found = rule(age={"bins": [40, 60], "labels": ["young", "middle", "old"]})
    assert named(found) == ["middle", "old", "young", None, "old", "old"]


def test_values_are_put_together_under_their_labels():
    found = rule(race={"values": {"White": ["white"], "Other": ["asian", "black"]}})
    assert named(found) == ["White", "Other", None, "Other", "White", None]


def test_a_value_of_no_group_is_refused_and_named_unless_the_study_says_where_it_goes():
    with pytest.raises(UserError, match=r"in none of its groups White: asian, black\. .*otherwise: unknown"):
        named(rule(race={"values": {"White": ["white"]}}))
    elsewhere = rule(race={"values": {"White": ["white"]}, "otherwise": "Non-White"})
    assert named(elsewhere) == ["White", "Non-White", None, "Non-White", "White", None]
    nowhere = rule(race={"values": {"White": ["white"]}, "otherwise": "unknown"})
    assert named(nowhere) == ["White", None, None, None, "White", None]


def test_numbers_can_be_put_together_by_their_values():
    stages = pd.DataFrame({"stage": [1.0, 2.0, 3.0, None]})
    found = assign_groups(rule(stage={"values": {"early": [1, 2], "late": [3]}}), stages)
    assert found.groups == ("early", "late")
    assert found.codes.tolist() == [0, 0, 1, -1]


def test_a_mapped_group_without_rows_is_still_a_group():
    found = rule(race={"values": {"White": ["white"], "Native": ["native"]}, "otherwise": "Rest"})
    assert assign_groups(found, PEOPLE).groups == ("White", "Native", "Rest")


def test_a_preset_reads_the_publishers_own_column_in_which_unknown_is_a_word_like_any_other():
    assert preset("fairmedfm", "race").columns == ("race_raw",)
    assert named(preset("fairmedfm", "race")) == [
        "White",
        "Non-White",
        None,
        "Non-White",
        "White",
        "Non-White",
    ]


def test_values_that_a_preset_does_not_list_are_unknown_when_it_says_nothing_of_them():
    assert named(preset("fairclip", "race")) == ["white", None, None, "black", "white", None]


def test_an_empty_cell_is_in_a_group_only_where_the_preset_lists_the_empty_text():
    assert named(preset("legacy", "sex")) == ["F", "M", "M", "M", "F", "F"]


def test_numbers_kept_as_the_publishers_text_are_read_for_bins():
    assert named(preset("medfair", "age")) == ["young", "old", "young", None, "old", "old"]


def test_publishers_text_that_is_no_number_is_named():
    people = PEOPLE.assign(age_raw=["59", "sixty", "1", None, "2", "3"])
    with pytest.raises(UserError, match=r"has bins but is not a number \(found 'sixty'\)"):
        assign_groups(preset("medfair", "age"), people)


def test_a_preset_and_the_same_groups_written_out_are_one_rule():
    assert preset("fairmedfm", "age") == rule(age={"bins": [60]})
    written = rule(age={"bins": [60], "closed": "right", "labels": ["<=60", ">60"]})
    assert preset("fairmedfm_notebook", "age") == written


def test_the_json_of_rules_without_the_later_options_is_as_it_was():
    rules = parse_groups({"sex": {}, "age": {"bins": [60]}, "race": {"groups": ["a"]}, "sex*age": {}})
    sex = {"attribute": "sex", "bins": None, "groups": None}
    age = {"attribute": "age", "bins": (60.0,), "groups": None}
    assert [one.to_json() for one in rules] == [
        {"name": "sex", "parts": [sex]},
        {"name": "age", "parts": [age]},
        {"name": "race", "parts": [{"attribute": "race", "bins": None, "groups": ("a",)}]},
        {"name": "sex*age", "parts": [sex, age]},
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"bins": [60], "closed": "right"},
        {"bins": [60], "labels": ["a", "b"]},
        {"values": {"a": ["1"]}},
        {"values": {"a": ["1"]}, "otherwise": "b"},
    ],
)
def test_every_option_that_changes_a_group_is_in_the_json(options):
    plain = {"bins": [60]} if "bins" in options else {"values": {"a": ["1", "2"]}}
    assert rule(age=options).to_json() != rule(age=plain).to_json()


def test_an_intersection_takes_the_presets_of_its_parts():
    rules = parse_groups({"age": {"preset": "fairmedfm_notebook"}, "Sex": {}, "sex*Age": {}})
    assert named(fit(rules[2], CARD))[1] == "male*<=60"


@pytest.mark.parametrize("spelled", ["sex", "Sex", "SEX"])
def test_attributes_are_found_in_any_case_and_named_as_the_dataset_does(spelled):
    assert fit(rule(**{spelled: {}}), CARD) == rule(sex={})


def test_an_attribute_with_a_capital_letter_on_the_card_is_found_too():
    assert fit(rule(language={}), CARD).attributes == ("Language",)


def test_an_unknown_attribute_is_an_error_that_lists_those_there_are():
    with pytest.raises(UserError, match=r"unknown attribute 'gender'.*Language, age, race, sex"):
        refuse_unknown(rule(gender={}), [CARD])


def test_a_preset_that_no_dataset_has_is_an_error_that_lists_those_there_are():
    with pytest.raises(UserError, match="no dataset of the study has a preset 'medfare'") as error:
        refuse_unknown(rule(age={"preset": "medfare"}), [CARD])
    for name in ("fairmedfm of age", "medfair of age", "fairclip of race"):
        assert name in str(error.value)


def test_a_preset_that_one_dataset_lacks_names_those_it_has():
    with pytest.raises(NotRecorded, match=r"has no preset fairseg of race \(it has fairmedfm, fairclip\)"):
        preset("fairseg", "race")
    refuse_unknown(rule(race={"preset": "fairclip"}), [CARD, DatasetCard("none", "1", "", "", "")])


def test_a_preset_whose_labels_do_not_fit_its_bins_is_refused():
    broken = GroupPreset("bad", "age", "age", ("young", "middle", "old"), bins=(60.0,))
    card = DatasetCard("d", "1", "", "", "", attributes=(Attribute("age", "number"),), presets=(broken,))
    with pytest.raises(UserError, match="'bad' of 'age' of dataset 'd' has 3 labels for 2 groups"):
        fit(rule(age={"preset": "bad"}), card)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bins": [60], "closed": "both"}, "must be left"),
        ({"bins": [60], "labels": ["a"]}, "must name the 2 groups"),
        ({"bins": [60], "labels": ["a", "a"]}, "different names"),
        ({"bins": [60], "labels": ["a", "unknown"]}, "cannot have a group called 'unknown'"),
        ({"closed": "right"}, "closed of attribute 'x' goes with bins"),
        ({"labels": ["a"]}, "labels of attribute 'x' goes with bins"),
        ({"otherwise": "a"}, "otherwise of attribute 'x' goes with values"),
        ({"values": {}}, "which values each group has"),
        ({"values": ["a"]}, "which values each group has"),
        ({"values": {"a": ["1"], "b": ["1"]}}, "in more than one group: 1"),
        ({"values": {"unknown": ["1"]}}, "cannot have a group called 'unknown'"),
        ({"values": {"a": []}}, "must list its values"),
        ({"preset": "p", "bins": [60]}, "both preset and bins"),
        ({"values": {"a": ["1"]}, "groups": ["a"]}, "both values and groups"),
        ({"preset": 3}, "must be a name"),
        ({"preste": "p"}, "did you mean 'preset'"),
        ([60], "must have a mapping"),
    ],
)
def test_options_that_do_not_fit_are_errors(options, text):
    with pytest.raises(UserError, match=text):
        parse_groups({"x": options})
