"""The command line as a person or a script uses it."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FAIRRAY = Path(sys.executable).with_name("fairray")


def fairray(*arguments, cwd=None):
    command = [FAIRRAY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=280)


@pytest.fixture(scope="module")
def finished(converted, tmp_path_factory):
    """A finished study made by the command itself, and its folder."""
    folder = tmp_path_factory.mktemp("cli")
    study = folder / "study.yaml"
    study.write_text(f"""
study: small
store: {folder}/store
datasets: {{cxr: {{shards: {converted["cxr"]}, targets: [opacity]}}}}
models: [tiny-clip]
usages: {{zero_shot: {{}}}}
attributes: {{sex: {{}}}}
measure: {{bootstrap: 10, permutations: 10, minimum_subjects: 2, minimum_positives: 1, minimum_negatives: 1}}
""")
    done = fairray("run", study, "--executor", "serial", "--json")
    assert done.returncode == 0, done.stderr
    return study, json.loads(done.stdout)


def test_version_and_help_name_the_program():
    assert fairray("--version").stdout.startswith("fairray 0.")
    shown = fairray("--help").stdout
    assert all(
        command in shown for command in ("run", "plan", "status", "verify", "report", "query", "doctor")
    )


def test_run_prints_results_for_programs(finished):
    _, printed = finished
    assert printed["exit"] == 0
    assert [(row["model"], row["metric"]) for row in printed["results"]] == [("tiny-clip", "auc")]
    assert Path(printed["report"]).read_text().startswith("<!doctype html>")


def test_plan_status_and_verify_agree_that_all_is_done(finished):
    study, _ = finished
    plan = json.loads(fairray("plan", study, "--json").stdout)
    assert {task["state"] for task in plan["tasks"]} == {"done"}
    status = fairray("status", study)
    assert "3 of 3 tasks are complete" in status.stdout
    verified = fairray("verify", study)
    assert verified.returncode == 0
    assert "complete and unaltered" in verified.stdout


def test_query_and_export_give_the_same_rows(finished, tmp_path):
    study, _ = finished
    store = study.parent / "store"
    counted = json.loads(fairray("query", store, "select count(*) as n from predictions", "--json").stdout)
    assert fairray("export", store, tmp_path / "flat.csv").returncode == 0
    assert len((tmp_path / "flat.csv").read_text().splitlines()) == counted[0]["n"] + 1


def test_an_exported_csv_runs_no_formula(finished, tmp_path):
    study, _ = finished
    index = next((study.parent / "store" / "datasets").rglob("index.parquet"))
    table = pq.read_table(index, partitioning=None)
    position = table.column_names.index("race")
    evil = table.set_column(position, "race", pa.array(["=cmd()"] * table.num_rows))
    store = tmp_path / "store"
    shutil.copytree(study.parent / "store", store)
    pq.write_table(evil, store / index.relative_to(study.parent / "store"))
    assert fairray("export", store, tmp_path / "flat.csv").returncode == 0
    with (tmp_path / "flat.csv").open() as file:
        assert {row["race"] for row in csv.DictReader(file)} == {"'=cmd()"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "absent.yaml"], "does not exist"),
        (["query", ".", "select 1"], "not a FairRay store"),
        (["shard", "ham1000", "--out", "x"], "did you mean 'ham10000'"),
        (["models", "show", "tiny-clop"], "did you mean 'tiny-clip'"),
        (["models", "verify", "sam-vit-b"], "sam_vit_b_01ec64.pth"),
        (["datasets", "show", "phantom-cxrr"], "did you mean 'phantom-cxr'"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(arguments, said, tmp_path):
    done = fairray(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_bad_query_is_a_message(finished):
    study, _ = finished
    done = fairray("query", study.parent / "store", "select nothing from nowhere")
    assert done.returncode == 2
    assert "the query failed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_listings_are_readable_by_programs(kind):
    listed = json.loads(fairray(kind, "ls", "--json").stdout)
    assert all(item["name"] and item["licence"] and item["task"] for item in listed)
    assert {"models": "tiny-clip", "datasets": "ham10000"}[kind] in {item["name"] for item in listed}


def test_a_model_is_shown_in_words():
    shown = fairray("models", "show", "blip2").stdout
    assert "file: blip2_pretrained.pth" in shown
    assert "abilities      │ encode, text" in shown
    assert not set("{}") & set(shown)


def test_a_dataset_is_converted_shown_and_verified(tmp_path):
    done = fairray("shard", "phantom-cxr", "--out", tmp_path / "d", "-o", "subjects=12", "--workers", "1")
    assert done.returncode == 0, done.stderr
    shown = json.loads(fairray("datasets", "show", tmp_path / "d", "--json").stdout)
    assert sum(shown["counts"]["samples"].values()) == 24
    assert fairray("datasets", "verify", tmp_path / "d").returncode == 0
    shard = next((tmp_path / "d" / "shards").glob("train-*.tar"))
    shard.write_bytes(shard.read_bytes()[:-512])
    damaged = fairray("datasets", "verify", tmp_path / "d")
    assert damaged.returncode == 3
    assert shard.name in damaged.stderr


def test_doctor_says_what_is_here(tmp_path):
    checks = json.loads(fairray("doctor", tmp_path, "--json").stdout)
    assert {"python", "libraries", "memory", "disk"} <= {check["name"] for check in checks}


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGUSR1", 75), ("SIGINT", 130)])
def test_a_signal_while_converting_ends_with_a_code_that_says_go_on(name, code, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("""
study: s
store: store
datasets: {phantom-cxr: {shards: data, options: {subjects: 3000}, convert: {samples_per_shard: 16}}}
models: [tiny-clip]
usages: {zero_shot: {}}
""")
    command = [FAIRRAY, "run", study, "--executor", "serial", "--workers", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if list(tmp_path.glob("data/.parts/shards/*.tar")) or process.poll() is not None:
            break
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said


def test_paths_are_taken_as_they_are_and_a_place_that_cannot_be_written_is_a_message(finished, tmp_path):
    study, _ = finished
    status = fairray("status", study, "--store", "it's: a {store} # 1", cwd=tmp_path)
    assert status.returncode == 2
    assert "it's: a {store} # 1" in status.stderr
    (tmp_path / "file").touch()
    done = fairray("run", study, "--store", tmp_path / "file" / "store", "--executor", "serial")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    export = fairray("export", study.parent / "store", tmp_path / "absent" / "flat.csv")
    assert export.returncode == 2
    assert "cannot write" in export.stderr


def test_plan_and_status_work_while_some_datasets_are_not_converted(finished, tmp_path):
    study, _ = finished
    more = [
        "-o",
        f"datasets.phantom-fundus.shards={tmp_path / 'new'}",
        "-o",
        "datasets.phantom-fundus.options.subjects=20",
    ]
    plan = json.loads(fairray("plan", study, *more, "--json").stdout)
    assert [row["dataset"] for row in plan["convert"]] == ["phantom-fundus"]
    assert {task["dataset"] for task in plan["tasks"]} == {"cxr"}
    only = json.loads(fairray("plan", study, *more, "--datasets", "phantom*", "--json").stdout)
    assert (len(only["convert"]), only["tasks"]) == (1, [])
    status = fairray("status", study, *more)
    assert status.returncode == 0
    assert "'phantom-fundus' is not converted yet" in status.stderr
