"""Conversion on a Ray cluster of this machine, joined by its address as a user does; one of its workers is killed."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.verify import verify

CLUSTER = """
import sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
SUBJECTS = 240
SETTINGS = {"samples_per_shard": 48}


@pytest.fixture(scope="module")
def cluster():
    """Address of a running cluster with a token of its own, and the process that holds it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "only-for-this-test-0123456789abcdef"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | token,
        text=True,
    )
    yield process.stdout.readline().strip(), token, process
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()


def shard(cluster, out, *options):
    address, token, _ = cluster
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "shard",
        "phantom-cxr",
        "--out",
        str(out),
        "--address",
        address,
    ]
    command += [
        "-o",
        f"subjects={SUBJECTS}",
        "--samples-per-shard",
        str(SETTINGS["samples_per_shard"]),
        *options,
    ]
    return subprocess.Popen(
        command, env=os.environ | token, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
@pytest.mark.ray
def test_same_bytes_on_a_cluster_even_when_a_worker_is_killed(cluster, tmp_path):
    here = convert(
        make_adapter("phantom-cxr", {"subjects": SUBJECTS}),
        tmp_path / "here",
        ConvertOptions(**SETTINGS, workers=1),
    )
    running = shard(cluster, tmp_path / "there")
    killed = kill_a_worker(cluster[2].pid)
    _, errors = running.communicate(timeout=240)
    assert running.returncode == 0, errors
    assert killed
    assert verify(here, None) == ()
    assert bytes_of(tmp_path / "here") == bytes_of(tmp_path / "there")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("cpus", "workers", "most"), [(4, None, 8), (64, 4, 4), (2, 100, 4), (0, None, 2), (0, 1, 1)]
)
def test_no_more_shards_are_written_at_a_time_than_workers_were_asked_for(cpus, workers, most):
    from jobs.ray_cluster import shards_in_flight

    assert shards_in_flight(cpus, workers) == most


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_a_worker(root):
    """Kill the first process of the cluster that writes a shard; tell whether there was one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process(root).children(recursive=True):
            try:
                if "_write_one" in " ".join(process.cmdline()):
                    process.kill()
                    return True
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.02)
    return False


@pytest.mark.slow
@pytest.mark.ray
def test_a_folder_that_no_worker_can_write_is_one_message(cluster, tmp_path):
    out = tmp_path / "file"
    out.write_text("no folder")
    running = shard(cluster, out)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 2
    assert "cannot make the folder" in errors
    assert "Traceback" not in errors
