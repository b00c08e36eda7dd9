"""Groups of papers in a study: looked up on each dataset's card, said where there are none; who is in one group only."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings
from jobs import cli
from jobs.kinds import measure
from jobs.plan import PlanOptions, make_plan
from jobs.preview import small_groups
from jobs.run import Exit, RunOptions, run_study
from jobs.study import parse_study
from jobs.task import Inputs, Task
from shards.errors import UserError

AGE = {"name": "fairmedfm", "attribute": "age", "column": "age", "labels": ["<60", "60+"], "bins": [60.0],
       "closed": "left", "values": [], "otherwise": None, "note": "as in the paper"}  # fmt: skip
RIGHT = {**AGE, "name": "fairmedfm_notebook", "labels": ["<=60", ">60"], "closed": "right", "note": ""}
#: Reads a column that is no attribute.
FILES = {**AGE, "attribute": "files", "column": "shard", "bins": [], "labels": ["first", "later"],
         "values": [["test-000000.tar"], []], "otherwise": "later"}  # fmt: skip


def with_presets(folder: Path, to: Path, *presets) -> Path:
    shutil.copytree(folder, to)
    path = to / "dataset.json"
    value = json.loads(path.read_text())
    value["card"]["presets"] = list(presets)
    path.chmod(0o644)
    path.write_text(json.dumps(value))
    return to


@pytest.fixture
def values(study_values, converted, tmp_path):
    cxr = with_presets(converted["cxr"], tmp_path / "cxr", AGE, RIGHT, FILES)
    return {
        **study_values,
        "datasets": {
            "cxr": {"shards": str(cxr), "targets": ["opacity"]},
            "fundus": {"shards": str(converted["fundus"])},
        },
        "models": ["tiny-clip"],
        "usages": {"zero_shot": {}},
    }


def planned(values, **changes):
    return make_plan(parse_study({**values, **changes}), PlanOptions())


def test_a_preset_groups_the_dataset_that_has_it_and_the_plan_says_which_has_not(values):
    plan = planned(values, attributes={"age": {"preset": "fairmedfm_notebook"}, "sex": {}})
    assert [[rule.name for rule in plan.groups[name]] for name in plan.datasets] == [["age", "sex"], ["sex"]]
    assert plan.groups["cxr"][0].parts[0].names == ("<=60", ">60")
    line = "fundus has no preset fairmedfm_notebook of age (it has none for it): no groups by age."
    assert line in plan.skipped


def test_a_preset_that_no_dataset_of_the_study_has_is_an_error_that_lists_them(values):
    with pytest.raises(UserError, match=r"has a preset 'medfair' for it .*phantom-cxr: fairmedfm of age"):
        planned(values, attributes={"age": {"preset": "medfair"}})


def test_measured_groups_are_those_of_the_preset_and_the_report_says_what_it_stands_for(values):
    attributes = {"age": {"preset": "fairmedfm_notebook"}, "Sex": {}, "files": {"preset": "fairmedfm"}}
    alone = {**values, "datasets": {"cxr": values["datasets"]["cxr"]}, "attributes": attributes}
    outcome = run_study(parse_study(alone), RunOptions(executor="serial", device="cpu"), Console(quiet=True))
    assert outcome.exit == Exit.COMPLETE
    groups = outcome.tables.metrics.groupby("attribute")["group"].unique()
    assert {"<=60", ">60"} <= set(groups["age"])
    assert {"female", "male"} <= set(groups["sex"])
    assert set(groups["files"]) == {"first", "later"}
    page = outcome.report.read_text()
    assert "preset fairmedfm_notebook: &lt;=60, &gt;60 (column age)" in page
    assert "as in the paper" in page
    # The same groups by another name are the same tasks; the report says the name.
    written = {**alone, "attributes": {**attributes, "age": {"bins": [60], "closed": "right"}}}
    again = run_study(parse_study(written), RunOptions(executor="serial", device="cpu"), Console(quiet=True))
    assert again.tally is None
    assert "preset fairmedfm_notebook" not in again.report.read_text()


def test_both_views_of_one_edge_are_different_measurements_of_the_same_predictions(values):
    ids = {
        name: {task.kind: task.id for task in planned(values, attributes={"age": {"preset": name}}).tasks
               if task.dataset == "cxr"}
        for name in ("fairmedfm", "fairmedfm_notebook")
    }  # fmt: skip
    assert ids["fairmedfm"]["zero_shot"] == ids["fairmedfm_notebook"]["zero_shot"]
    assert ids["fairmedfm"]["measure"] != ids["fairmedfm_notebook"]["measure"]


def test_a_preset_and_the_same_bins_written_out_are_one_task(values):
    one, other = (
        {task.id for task in planned(values, attributes={"age": given}).tasks if task.dataset == "cxr"}
        for given in ({"preset": "fairmedfm"}, {"bins": [60]})
    )
    assert one == other


def test_groups_too_small_to_judge_are_told_for_presets_too(values):
    values = {**values, "measure": {**values["measure"], "minimum_subjects": 1000}}
    small = small_groups(planned(values, attributes={"age": {"preset": "fairmedfm_notebook"}}))
    assert {(row["dataset"], row["group"]) for row in small} == {("cxr", "<=60"), ("cxr", ">60")}


def test_an_attribute_in_one_group_only_is_said_and_has_no_gap_that_could_look_fair(values):
    study = {
        **values,
        "datasets": {"cxr": values["datasets"]["cxr"]},
        "attributes": {"age": {"bins": [0]}, "sex": {}},
    }
    outcome = run_study(parse_study(study), RunOptions(executor="serial", device="cpu"), Console(quiet=True))
    told = "cxr: all known test samples are in group '0+' of age; there are no gaps by it"
    assert any(line.startswith(told) for line in outcome.plan.skipped)
    gaps = outcome.tables.gaps[outcome.tables.gaps["attribute"] == "age"]
    assert len(gaps)
    assert set(gaps["status"]) == {"undefined"}
    assert gaps["raw"].isna().all()
    assert gaps["reason"].str.startswith("single_group").all()
    assert not outcome.plan.skipped[0].startswith("cxr: all known test samples are in group 'female'")


def test_masks_are_measured_in_the_groups_of_any_attribute(values, converted, tmp_path):
    fundus = with_presets(converted["fundus"], tmp_path / "fundus", RIGHT)
    study = {
        **values,
        "datasets": {"fundus": {"shards": str(fundus)}},
        "models": ["tiny-sam"],
        "usages": {"segment": {"prompts": ["bbox"], "structures": ["disc"]}},
        "attributes": {"race": {}, "age": {"preset": "fairmedfm_notebook"}},
    }
    outcome = run_study(parse_study(study), RunOptions(executor="serial", device="cpu"), Console(quiet=True))
    dice = outcome.tables.metrics.query("metric == 'dice'")
    assert {"<=60", ">60"} <= set(dice.loc[dice["attribute"] == "age", "group"])
    assert dice.loc[dice["attribute"] == "race", "group"].nunique() > 2
    assert outcome.tables.gaps.query("metric == 'dice' and kind == 'max-min'")["raw"].notna().any()


def test_a_rule_that_does_not_fit_a_dataset_is_refused_before_anything_runs(values):
    with pytest.raises(UserError, match=r"dataset 'cxr': attribute 'age' is a number .* needs bins"):
        planned(values, attributes={"age": {}})


def test_an_attribute_named_twice_in_different_cases_is_refused(values):
    with pytest.raises(UserError, match=r"attribute 'sex' of cxr is named twice"):
        planned(values, attributes={"sex": {}, "Sex": {}})


def test_attributes_are_taken_out_by_reweighting_in_any_case_too(values):
    settings = {**values["measure"], "standardize": ["AGE"]}
    tasks = planned(values, attributes={"sex": {}, "age": {"bins": [60]}}, measure=settings).tasks
    measured = [task for task in tasks if task.kind == "measure"]
    assert {task.inputs.measure.standardize for task in measured} == {("age",)}


def test_a_study_may_probe_a_representation_for_attributes_in_any_case(values):
    usages = {"representation": {"attributes": ["SEX"]}}
    tasks = planned(values, attributes={"sex": {}}, usages=usages).tasks
    assert {task.inputs.target for task in tasks if task.kind == "representation"} == {"attribute:sex"}


def test_measurements_of_rules_that_were_there_before_presets_keep_their_ids(monkeypatch):
    monkeypatch.setattr(measure, "VERSION", 2)  # of the time; numbers that change raise it, rules do not
    shared = {"dataset": "d", "model": "m", "identity": {"dataset": "f" * 64, "n": 1}, "requires": ()}
    parts = {"parts": ("test-000000",)}
    predicted = Task("zero_shot", "predictions", usage="zero_shot", inputs=Inputs(Path("x"), target="sick"),
                     **shared, **parts)  # fmt: skip
    segmented = Task("segment", "segmentations", usage="segment", inputs=Inputs(Path("x")), **shared, **parts)
    rules = parse_groups(
        {"sex": {}, "age": {"bins": [40, 60]}, "race": {"groups": ["a", "b"]}, "sex*age": {}}
    )
    (one,) = measure.plan([predicted], {"d": rules}, MeasureSettings(standardize=("age",)))
    (two,) = measure.plan([segmented], {"d": parse_groups({"sex": {}})}, MeasureSettings())
    assert (one.id, two.id) == ("measure-2b6643305d9bc082", "measure-9af42817e787f082")


def test_the_groups_of_papers_are_listed_as_a_study_names_them(converted, tmp_path):
    cxr = with_presets(converted["cxr"], tmp_path / "cxr", AGE, RIGHT)
    for name, told in (
        ("ham10000", "age: fairmedfm (<60, 60+)"),
        (str(cxr), "age: fairmedfm (<60, 60+); age: fairmedfm_notebook (<=60, >60)"),
    ):
        done = CliRunner().invoke(cli.app, ["datasets", "show", name])
        assert done.exit_code == 0
        assert told in " ".join(done.stdout.replace("│", " ").replace("|", " ").split())
