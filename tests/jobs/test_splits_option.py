"""A published list of splits named by a study and on the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from jobs.conversion import convert_missing
from jobs.study import ConvertSettings, parse_study
from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset
from shards.datasets import make_adapter


@pytest.fixture
def listed(tmp_path):
    """A list that puts every second person of a small phantom into test, and those splits."""
    probe = convert(
        make_adapter("phantom-cxr", {"subjects": 10}), tmp_path / "probe", ConvertOptions(workers=1)
    )
    subjects = sorted(set(probe.index["subject_id"].to_pylist()))
    splits = {name: ("test", "train", "val")[n % 3] for n, name in enumerate(subjects)}
    path = tmp_path / "list.csv"
    path.write_text("id,split\n" + "".join(f"{name},{split}\n" for name, split in splits.items()))
    return path, splits


def splits_of(folder):
    return {row["subject_id"]: row["split"] for row in open_dataset(folder).index.to_pylist()}


def test_a_study_converts_with_the_list_that_it_names(listed, tmp_path):
    path, splits = listed
    cxr = {
        "shards": str(tmp_path / "cxr"),
        "adapter": "phantom-cxr",
        "options": {"subjects": 10},
        "convert": {"splits": str(path)},
    }
    values = {"study": "s", "store": "x", "models": ["tiny-clip"], "usages": {"zero_shot": {}}}
    study = parse_study({**values, "datasets": {"cxr": cxr}})
    convert_missing(study, "*", 1, Console(quiet=True))
    assert splits_of(tmp_path / "cxr") == splits


def test_a_study_may_name_a_file_for_each_split():
    given = ConvertSettings.model_validate({"splits": {"train": "a.txt", "test": "b.txt"}})
    assert given.splits == ("train=a.txt", "test=b.txt")
    assert ConvertSettings.model_validate({"splits": ["train.txt", "test.txt"]}).splits == (
        "train.txt",
        "test.txt",
    )


def test_the_command_takes_a_list_and_tells_what_it_did(listed, tmp_path):
    path, splits = listed
    command = [str(Path(sys.executable).with_name("fairray")), "shard", "phantom-cxr", "-o", "subjects=10"]
    given = ["--workers", "1", "--out", str(tmp_path / "out"), "--splits", str(path)]
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Splits are those of list.csv" in done.stdout
    assert splits_of(tmp_path / "out") == splits


def test_a_study_may_allow_a_larger_share_of_rejected_samples():
    assert ConvertSettings.model_validate({"max_rejected": 0.3}).options(1).max_rejected == 0.3
    assert ConvertSettings().options(1).max_rejected == ConvertOptions().max_rejected
