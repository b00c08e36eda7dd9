"""A study from end to end in this process."""

import json

import duckdb
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from store_bytes import table_bytes

from jobs import run as running
from jobs.coverage import drop, find_faults
from jobs.plan import PlanOptions, make_plan
from jobs.query import connect
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.errors import UserError

SERIAL = RunOptions(executor="serial", device="cpu")


def run(values, options=SERIAL):
    return run_study(parse_study(values), options, Console(quiet=True))


@pytest.fixture(scope="session")
def finished(converted, tmp_path_factory):
    """A finished run of a small study, shared by tests that only read."""
    values = {
        "study": "finished",
        "store": str(tmp_path_factory.mktemp("finished") / "store"),
        "datasets": {"fundus": {"shards": str(converted["fundus"]), "adapter": "phantom-fundus"}},
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {
            "zero_shot": {},
            "linear_probe": {"grid": [0.1], "seeds": 2},
            "segment": {"structures": ["disc"]},
        },
        "attributes": {"sex": {}, "age": {"bins": [60]}, "sex*age": {}},
        "measure": {"bootstrap": 20, "permutations": 20},
    }
    outcome = run(values)
    assert outcome.exit == Exit.COMPLETE
    return values, outcome


def test_every_sample_is_covered_and_every_byte_is_as_committed(finished):
    _, outcome = finished
    assert list(find_faults(outcome.plan, Store(outcome.plan.study.store))) == []


def test_a_second_run_starts_no_worker_and_changes_no_byte(finished, monkeypatch):
    values, outcome = finished
    store = outcome.plan.study.store
    before = table_bytes(store)
    page = outcome.report.read_bytes()
    monkeypatch.setattr(running, "_executor", lambda *_: pytest.fail("a worker was started"))
    again = run(values)
    assert again.exit == Exit.COMPLETE
    assert again.tally is None
    assert table_bytes(store) == before
    assert again.report.read_bytes() == page


def test_usages_a_model_cannot_do_are_said_and_skipped(finished):
    _, outcome = finished
    assert "tiny-clip cannot do segment: it does not segment." in outcome.plan.skipped
    assert "tiny-sam cannot do zero_shot: it has no text tower." in outcome.plan.skipped


def test_the_tables_are_readable_with_duckdb_alone_and_hold_each_sample_once(finished):
    _, outcome = finished
    pattern = str(outcome.plan.study.store / "predictions" / "**" / "*.parquet")
    found = duckdb.sql(
        f"select usage, model, count(*), count(distinct (task, sample_id)) from "
        f"read_parquet('{pattern}', hive_partitioning = true) group by all"
    ).fetchall()
    assert {(usage, model) for usage, model, *_ in found} == {
        ("zero_shot", "tiny-clip"), ("linear_probe", "tiny-clip"), ("linear_probe", "tiny-sam"),
    }  # fmt: skip
    assert all(rows == distinct for *_, rows, distinct in found)


def test_query_views_join_the_attributes(finished):
    _, outcome = finished
    connection = connect(Store(outcome.plan.study.store))
    index = outcome.plan.datasets["fundus"].index.to_pandas()
    women = index[(index.split == "test") & (index.sex == "female")].sample_id
    sql = "select distinct sample_id from segmentations where sex = 'female' and structure = 'disc' and prompt = 'bbox'"
    assert {row[0] for row in connection.execute(sql).fetchall()} == set(women)


def test_metrics_and_gaps_have_the_published_columns_and_all_groups(finished):
    _, outcome = finished
    store = outcome.plan.study.store
    metrics = pq.read_table(store / "metrics" / "finished.parquet").to_pandas()
    gaps = pq.read_table(store / "gaps" / "finished.parquet").to_pandas()
    assert {"all", "sex", "age", "sex*age"} == set(metrics.attribute)
    assert {"sex", "age", "sex*age"} == set(gaps.attribute)
    overall = metrics[(metrics.attribute == "all") & (metrics.metric == "auc") & (metrics.split == "test")]
    assert overall.groupby(["model", "usage", "seed"], dropna=False).size().max() == 1
    test_rows = outcome.plan.datasets["fundus"].counts.samples["test"]
    assert set(overall.n) == {test_rows}


def test_a_changed_byte_a_lost_file_and_a_lost_row_are_found_and_made_again(finished, tmp_path):
    values, _ = finished
    values = {
        **values,
        "store": str(tmp_path / "store"),
        "models": ["tiny-sam"],
        "usages": {"segment": {"structures": ["disc"]}},
    }
    outcome = run(values)
    store = Store(outcome.plan.study.store)
    before = table_bytes(store.path)
    parts = sorted((store.path / "segmentations").rglob("*.parquet"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1] + b"x")
    table = pq.read_table(sorted((store.path / "measures").rglob("gaps.parquet"))[0], partitioning=None)
    pq.write_table(table.slice(1), sorted((store.path / "measures").rglob("gaps.parquet"))[0])
    faults = list(find_faults(outcome.plan, store))
    assert [fault.kind for fault in faults] == ["altered", "altered"]
    for fault in faults:
        drop(store, fault)
    run(values)
    assert table_bytes(store.path) == before


def test_two_studies_that_need_the_same_task_share_it(finished):
    values, outcome = finished
    other = {**values, "study": "other", "models": ["tiny-clip"], "usages": {"zero_shot": {}}}
    shared = run(other)
    assert shared.tally is None
    assert {task.id for task in shared.plan.tasks} < {task.id for task in outcome.plan.tasks}


@pytest.mark.parametrize(
    ("path", "value", "kinds"),
    [
        (("measure", "seed"), 1, {"measure"}),
        (("measure", "bootstrap"), 21, {"measure"}),
        (("attributes", "age"), {"bins": [50]}, {"measure"}),
        (("usages", "zero_shot"), {"templates": ["an eye with {}"]}, {"zero_shot", "measure"}),
        (("usages", "linear_probe"), {"grid": [0.2], "seeds": 2}, {"linear_probe", "measure"}),
        (("usages", "segment"), {"structures": ["disc"], "nsd_tolerance_mm": 0.5}, {"segment", "measure"}),
        (("precision",), "bf16", {"embed", "zero_shot", "linear_probe", "segment", "measure"}),
    ],
)
def test_what_can_change_a_result_changes_identity_and_nothing_else_does(finished, path, value, kinds):
    values, outcome = finished
    changed = json.loads(json.dumps(values))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    before = {task.id for task in outcome.plan.tasks}
    plan = make_plan(parse_study(changed), PlanOptions())
    assert {task.kind for task in plan.tasks if task.id not in before} == kinds


def test_store_place_batch_size_and_fail_budget_are_no_part_of_identity(finished, tmp_path):
    values, outcome = finished
    moved = {**values, "store": str(tmp_path / "elsewhere"), "fail_budget": 0.5, "study": "renamed"}
    plan = make_plan(parse_study(moved), PlanOptions(batch_size=7))
    assert [task.id for task in plan.tasks] == [task.id for task in outcome.plan.tasks]


def test_a_model_with_missing_weights_is_reported_and_the_others_run(finished, tmp_path):
    values, _ = finished
    mixed = {
        **values,
        "store": str(tmp_path / "store"),
        "models": ["tiny-clip", "sam-vit-b", "hf:nobody/absent"],
        "usages": {"zero_shot": {}},
    }
    outcome = run(mixed)
    assert outcome.exit == Exit.FAILURES
    assert any("sam_vit_b_01ec64.pth" in message for message in outcome.messages)
    assert any("config.json of 'hf:nobody/absent'" in message for message in outcome.messages)
    assert set(outcome.tables.metrics.model) == {"tiny-clip"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ["tiny-clop"]}, "did you mean 'tiny-clip'"),
        ({"attributes": {"sexx": {}}}, "did you mean 'sex'"),
        ({"models": ["tiny-clip"], "usages": {"segment": {}}}, "nothing to do.*tiny-clip cannot do segment"),
        ({"models": ["tiny-clip", "tiny_clip"]}, "appears twice"),
    ],
)
def test_a_study_that_cannot_run_is_a_clear_error(finished, change, message):
    values, _ = finished
    with pytest.raises(UserError, match=f"(?s){message}"):
        make_plan(parse_study({**values, **change}), PlanOptions())


def test_a_dataset_that_is_not_converted_names_what_is_missing(finished, tmp_path):
    values, _ = finished
    lost = {
        **values,
        "store": str(tmp_path / "store"),
        "datasets": {"mine": {"shards": str(tmp_path / "absent")}},
    }
    with pytest.raises(UserError, match="'mine' is no adapter"):
        run(lost)
