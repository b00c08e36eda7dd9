"""Runs of a part of a study, studies that share a store, and stores that are half there."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.coverage import drop, find_faults
from jobs.plan import PlanOptions, make_plan
from jobs.query import connect
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from jobs.workshop import Workshop
from shards.errors import UserError


def run(values, **narrowed):
    options = RunOptions(plan=PlanOptions(**narrowed), executor="serial", device="cpu")
    return run_study(parse_study(values), options, Console(quiet=True))


@pytest.fixture
def values(study_values):
    study_values["usages"] = {"zero_shot": {}, "segment": {"prompts": ["bbox"], "structures": ["disc"]}}
    return study_values


def rows(store, study):
    table = pq.read_table(store / "metrics" / f"{study}.parquet")
    return {(d, m) for d, m in zip(table["dataset"].to_pylist(), table["model"].to_pylist(), strict=True)}


EVERYTHING = {("cxr", "tiny-clip"), ("fundus", "tiny-clip"), ("fundus", "tiny-sam")}


def test_a_run_of_some_models_and_datasets_adds_to_the_tables_and_never_shrinks_them(values, tmp_path):
    first = run(values, models="tiny-c*", datasets="cxr")
    assert first.exit == Exit.COMPLETE
    assert rows(tmp_path / "store", "small") == {("cxr", "tiny-clip")}
    second = run(values, models="tiny-sam")
    assert second.exit == Exit.COMPLETE
    assert {task.model for task in second.plan.tasks} == {"tiny-sam"}
    assert rows(tmp_path / "store", "small") == {("cxr", "tiny-clip"), ("fundus", "tiny-sam")}
    run(values)
    assert rows(tmp_path / "store", "small") == EVERYTHING
    run(values, datasets="cxr")
    assert rows(tmp_path / "store", "small") == EVERYTHING


def test_a_limited_run_leaves_the_tables_of_the_whole_as_they_are(values, tmp_path):
    run(values)
    before = (tmp_path / "store" / "metrics" / "small.parquet").read_bytes()
    limited = run(values, limit=1)
    assert limited.plan.study.study == "small-limit-1"
    assert (tmp_path / "store" / "metrics" / "small.parquet").read_bytes() == before
    assert rows(tmp_path / "store", "small-limit-1") == EVERYTHING
    assert limited.report.parent.parent.name == "small-limit-1"


def test_an_attribute_of_a_dataset_that_is_left_out_is_no_error(values):
    del values["attributes"]["sex"]
    values["attributes"]["nobody_has_this"] = {}
    make_plan(parse_study(values), PlanOptions(datasets="cxr"))
    make_plan(parse_study(values), PlanOptions(), leave_out=["fundus"])
    with pytest.raises(UserError, match="nobody_has_this"):
        make_plan(parse_study(values), PlanOptions())


@pytest.mark.parametrize("narrowed", [{"models": "clip*"}, {"datasets": "nope"}])
def test_a_glob_that_matches_nothing_is_said(values, narrowed):
    with pytest.raises(UserError, match=r"matches none of the study's .*: (tiny-clip|cxr), "):
        run(values, **narrowed)


def test_an_unknown_model_is_said_before_anything_is_converted(values, tmp_path):
    values["models"] = ["tiny-clop"]
    values["datasets"] = {
        "new": {"shards": str(tmp_path / "new"), "adapter": "phantom-cxr", "options": {"subjects": 20}}
    }
    with pytest.raises(UserError, match="did you mean 'tiny-clip'"):
        run(values)
    assert not (tmp_path / "new").exists()


def test_one_content_under_two_names_is_refused(values):
    values["datasets"]["again"] = dict(values["datasets"]["cxr"])
    with pytest.raises(UserError, match="'cxr' and 'again' hold the same samples"):
        make_plan(parse_study(values), PlanOptions())


def test_two_studies_may_name_one_dataset_differently_even_with_awkward_names(values, tmp_path):
    run(values)
    renamed = "Röntgen/1 = 50%"
    values["study"] = "other"
    values["datasets"] = {renamed: values["datasets"]["cxr"]}
    assert run(values).exit == Exit.COMPLETE
    assert rows(tmp_path / "store", "other") == {(renamed, "tiny-clip")}
    found = connect(Store(tmp_path / "store")).execute("select distinct dataset from samples").fetchall()
    assert {row[0] for row in found} == {"cxr", "fundus", renamed}


def test_attributes_are_joined_for_awkward_dataset_names(values, tmp_path):
    values["datasets"] = {"a/b %20 ü": values["datasets"]["cxr"]}
    values["models"] = ["tiny-clip"]
    outcome = run(values)
    index = outcome.plan.datasets["a/b %20 ü"].index.to_pandas()
    sql = "select count(*), count(sex), count(distinct sample_id), min(dataset) from predictions"
    total, known, distinct, name = connect(Store(tmp_path / "store")).execute(sql).fetchone()
    held_out = index[index.split != "train"]
    assert (total, known, distinct) == (len(held_out), held_out.sex.notna().sum(), len(held_out))
    assert name == "a/b %20 ü"


def test_damaged_markers_are_not_counted_and_what_they_named_is_made_again(values, tmp_path):
    values["datasets"].pop("fundus")
    outcome = run(values)
    store = Store(tmp_path / "store")
    parts = connect(store).execute("select count(*) from commits").fetchone()[0]
    first, second, *_ = sorted((store.path / "commits").glob("*/*.json"))
    first.write_bytes(b"\xff\xfe{")
    second.write_text("{}")
    assert connect(store).execute("select count(*) from commits").fetchone()[0] == parts - 2
    faults = list(find_faults(outcome.plan, store))
    assert [fault.kind for fault in faults] == ["missing", "missing"]
    for fault in faults:
        drop(store, fault)
    assert run(values).exit == Exit.COMPLETE
    assert connect(store).execute("select count(*) from commits").fetchone()[0] == parts


def test_lost_tables_of_a_finished_study_are_written_again(values, tmp_path):
    run(values)
    (tmp_path / "store" / "gaps" / "small.parquet").unlink()
    assert run(values).tally is None
    assert (tmp_path / "store" / "gaps" / "small.parquet").exists()


def test_a_dataset_that_changed_since_it_was_planned_is_refused(values, converted):
    plan = make_plan(parse_study(values), PlanOptions())
    task = next(task for task in plan.tasks if task.dataset == "cxr")
    other = replace(task, inputs=replace(task.inputs, shards=converted["fundus"]))
    with pytest.raises(UserError, match="holds other samples"):
        Workshop("cpu").dataset(other)


def test_a_dataset_that_cannot_be_converted_blocks_only_itself(values, tmp_path):
    values["datasets"] = {
        "ham10000": {"shards": str(tmp_path / "ham"), "raw": str(tmp_path / "nowhere")},
        "cxr": values["datasets"]["cxr"],
    }
    outcome = run(values)
    assert outcome.exit == Exit.FAILURES
    assert rows(tmp_path / "store", "small") == {("cxr", "tiny-clip")}
    (told,) = outcome.messages
    assert told.startswith("dataset 'ham10000' was not converted and is left out:")
    assert "nowhere" in told
    assert "nowhere" in outcome.report.read_text()


def test_when_no_dataset_can_be_converted_the_reasons_are_the_error(values, tmp_path):
    values["datasets"] = {
        "ham10000": {"shards": str(tmp_path / "ham"), "raw": str(tmp_path / "nowhere")},
        "tusc": {"shards": str(tmp_path / "tusc"), "raw": str(tmp_path / "no-place")},
    }
    with pytest.raises(UserError, match=r"(?s)'ham10000'.*nowhere.*'tusc'.*no-place"):
        run(values)


def test_an_unknown_adapter_is_said_before_anything_is_converted(values, tmp_path):
    values["datasets"] = {
        "new": {"shards": str(tmp_path / "new"), "adapter": "phantom-cxr", "options": {"subjects": 20}},
        "other": {"shards": str(tmp_path / "other"), "adapter": "phantom-cx"},
    }
    with pytest.raises(UserError, match=r"'phantom-cx' is no adapter"):
        run(values)
    assert not (tmp_path / "new").exists()
