"""The study file: what is accepted, and what an error says."""

import pytest
import yaml

from jobs.study import load_study, parse_study
from shards.errors import UserError


def write(tmp_path, values):
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def test_a_complete_study_is_read(study_values, tmp_path):
    study = load_study(write(tmp_path, study_values))
    assert [model.name for model in study.models] == ["tiny-clip", "tiny-sam"]
    assert list(study.usages) == ["zero_shot", "linear_probe", "segment"]
    assert [rule.name for rule in study.groups()] == ["sex", "age"]


@pytest.mark.parametrize(
    ("path", "wrong", "near"),
    [
        (["stdy"], "x", "study"),
        (["datasets", "cxr", "shard"], "x", "shards"),
        (["measure", "bootstap"], 5, "bootstrap"),
        (["usages", "linear_prob"], {}, "linear_probe"),
        (["usages", "segment", "promts"], ["bbox"], "prompts"),
        (["datasets", "cxr", "convert", "max_sid"], 64, "max_side"),
    ],
)
def test_an_unknown_key_names_the_nearest_valid_one(study_values, tmp_path, path, wrong, near):
    place = study_values
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = wrong
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        load_study(write(tmp_path, study_values))


def test_a_missing_key_is_named(study_values, tmp_path):
    del study_values["store"]
    with pytest.raises(UserError, match=r"study\.store: required"):
        load_study(write(tmp_path, study_values))


def test_overrides_win_over_the_file(study_values, tmp_path):
    path = write(tmp_path, study_values)
    study = load_study(
        path, ["measure.bootstrap=7", "models.1=clip-vit-b32", "datasets.cxr.options.subjects=3"]
    )
    assert study.measure.bootstrap == 7
    assert study.models[1].name == "clip-vit-b32"
    assert study.datasets["cxr"].options == {"subjects": 3}


@pytest.mark.parametrize("override", ["measure.bootstrap", "=5", "models.9=x", "study.name=x"])
def test_an_override_that_fits_nowhere_is_refused(study_values, tmp_path, override):
    with pytest.raises(UserError, match="override"):
        load_study(write(tmp_path, study_values), [override])


def test_a_file_that_is_no_study_is_a_clear_error(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_study(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    with pytest.raises(UserError, match="not valid YAML"):
        load_study(broken)
    broken.write_text("- just\n- a list\n")
    with pytest.raises(UserError, match="must hold a mapping, found list"):
        load_study(broken)


def test_a_yaml_file_cannot_make_python_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("study: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_study(path)


def test_a_number_without_bins_is_refused_when_groups_are_formed(study_values):
    study_values["attributes"] = {"age": {"bins": [60, 40]}}
    with pytest.raises(UserError, match="bins"):
        parse_study(study_values)


def test_an_override_into_a_single_value_is_a_clear_error(study_values, tmp_path):
    with pytest.raises(UserError, match="holds a single value"):
        load_study(write(tmp_path, study_values), ["models.0.name=x"])
