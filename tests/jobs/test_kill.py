"""Any process may die at any moment: running again ends with the same bytes and redoes nothing that was committed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from store_bytes import table_bytes

HERE = Path(__file__).parent
FAIRRAY = Path(sys.executable).with_name("fairray")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_every_kind_of_file_operation_ends_with_the_same_bytes(study_file, tmp_path):
    points = 40
    undisturbed = tmp_path / "undisturbed"
    done = subprocess.run(
        [sys.executable, HERE / "kill_harness.py", study_file, str(points)],
        env={**os.environ, "UNDISTURBED": str(undisturbed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report["killed"].values()).count("killed") >= 20, report
    assert report["final"] == "exit 0"
    expected = table_bytes(undisturbed)
    assert len(expected) > 30
    assert table_bytes(tmp_path / "store") == expected


def start(study_file, store, *more):
    """Start a run; what it says goes to a file beside the store."""
    command = [FAIRRAY, "run", study_file, "--store", store, "--workers", "2", "--device", "cpu", *more]
    with log_of(store).open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def log_of(store):
    return store.with_name(f"{store.name}.log")


def wait_for_commits(run, store, count):
    """Wait until so many parts are committed; give the run's own words if it ends before."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if len(list((store / "commits").glob("*/*.json"))) >= count:
            return
        if run.poll() is not None:
            raise AssertionError(log_of(store).read_text())
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} commits in time")


def workers_of(run):
    children = psutil.Process(run.pid).children(recursive=True)
    return [child for child in children if "ray::Worker" in " ".join(child.cmdline())]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_drivers_and_workers_killed_under_ray_end_with_the_same_bytes(study_file, tmp_path):
    undisturbed, store = tmp_path / "undisturbed", tmp_path / "store"
    assert start(study_file, undisturbed, "--executor", "serial").wait(300) == 0
    for commits in (1, 6, 12):
        run = start(study_file, store)
        wait_for_commits(run, store, commits)
        family = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        run.wait(30)
        psutil.wait_procs(family, timeout=30)
    run = start(study_file, store)
    wait_for_commits(run, store, 14)
    for worker in workers_of(run):
        worker.kill()
    assert run.wait(300) == 0, log_of(store).read_text()
    assert table_bytes(store) == table_bytes(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_ends_a_run_with_the_code_that_batch_systems_requeue_on(study_file, tmp_path, number, code):
    store = tmp_path / "store"
    run = start(study_file, store, "--executor", "serial")
    wait_for_commits(run, store, 2)
    run.send_signal(number)
    assert run.wait(120) == code
    assert "Run the same command again" in log_of(store).read_text()
    assert start(study_file, store, "--executor", "serial").wait(300) == 0
