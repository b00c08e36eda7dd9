"""Results do not depend on batch size, worker count or the order of shards: the tables are equal byte for byte."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from store_bytes import table_bytes

from jobs import run as running
from jobs.plan import PlanOptions
from jobs.run import Exit, RunOptions, run_study
from jobs.scheduler import Scheduler
from jobs.study import parse_study

FAIRRAY = Path(sys.executable).with_name("fairray")


def run(values, store, **options):
    study = parse_study({**values, "store": str(store)})
    batch = options.pop("batch_size", 32)
    outcome = run_study(
        study, RunOptions(plan=PlanOptions(batch_size=batch), device="cpu", **options), Console(quiet=True)
    )
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    return table_bytes(store)


class Shuffled(Scheduler):
    """Takes the items in a random order."""

    def _collect(self):
        super()._collect()
        items = list(self._waiting.items())
        random.Random(5).shuffle(items)
        self._waiting = dict(items)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_batches_of_1_7_and_64_and_shuffled_shards_give_the_same_bytes(study_values, tmp_path, monkeypatch):
    expected = run(study_values, tmp_path / "64", executor="serial", batch_size=64)
    assert run(study_values, tmp_path / "1", executor="serial", batch_size=1) == expected
    monkeypatch.setattr(running, "Scheduler", Shuffled)
    assert run(study_values, tmp_path / "7", executor="serial", batch_size=7) == expected


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_and_two_ray_workers_and_no_ray_give_the_same_bytes(study_values, study_file, tmp_path):
    expected = run(study_values, tmp_path / "serial", executor="serial")
    for workers in ("1", "2"):
        store = tmp_path / workers
        command = [FAIRRAY, "run", study_file, "--store", store, "--workers", workers, "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert table_bytes(store) == expected
