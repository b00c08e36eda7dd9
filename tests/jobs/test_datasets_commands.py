import json

import pytest
import yaml
from replicas import replica
from typer.testing import CliRunner

from jobs import cli
from shards.datasets import adapter_class, adapter_names
from shards.errors import UserError


def fairray(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def options_of(name):
    """Return the rows of the table of options: name, default, meaning; continued lines are left out."""
    text = fairray("datasets", "show", name).stdout.split("options", 1)[1]
    lines = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if "│" in line]
    return [line for line in lines if line[0]]


def refused(*arguments):
    """Run as the installed command does: the exit code and what a user reads."""
    done = fairray(*arguments)
    return done.exception


def test_every_dataset_is_listed_with_what_it_is_and_how_to_get_it():
    listed = json.loads(fairray("datasets", "ls", "--json").stdout)
    assert [row["name"] for row in listed] == list(adapter_names())
    for row in listed:
        assert all(row[name] for name in ("task", "modality", "licence", "summary"))
        assert row["access"]["kind"] in {
            "open",
            "registration",
            "request",
            "credentialed",
            "generated",
            "yours",
        }
        assert row["access"]["steps"]
        published = row["access"]["kind"] not in ("generated", "yours")
        assert bool(row["attributes"] and row["access"]["expected"]) is published
        assert (row["samples"] is not None) is (published and row["name"] != "tusc")  # frames nobody counted
        assert row["access"]["page"].startswith("https://") is published


def test_what_is_missing_of_a_raw_folder_is_said(tmp_path):
    (tmp_path / "HAM10000" / "HAM10000_images_part_1").mkdir(parents=True)
    (tmp_path / "HAM10000" / "HAM10000_metadata").touch()
    shown = json.loads(fairray("datasets", "show", "ham10000", "--raw", tmp_path, "--json").stdout)
    assert shown["present"] == {
        "HAM10000_metadata*": True,
        "HAM10000_images*": True,
        "HAM10000_segmentations_lesion_tschandl": False,
    }
    text = fairray("datasets", "show", "ham10000", "--raw", tmp_path).stdout
    assert "missing" in text
    assert "10.7910/DVN/DBW86T" in text


@pytest.mark.parametrize("name", [n for n in adapter_names() if adapter_class(n).facts.access.expected])
def test_all_that_is_expected_is_found_in_the_publishers_layout(name, tmp_path):
    raw = replica(name)(tmp_path / "raw")["raw"]
    shown = json.loads(fairray("datasets", "show", name, "--raw", raw, "--json").stdout)
    assert [file for file, there in shown["present"].items() if not there] == []


def test_what_can_be_predicted_and_what_a_reader_must_know_is_shown_before_anything_is_converted():
    shown = json.loads(fairray("datasets", "show", "ham10000", "--json").stdout)
    targets = {target["name"]: target for target in shown["targets"]}
    assert targets["malignant"]["classes"] == ["benign", "malignant"]
    assert targets["malignant"]["positive"] == "malignant"
    assert [structure["name"] for structure in shown["structures"]] == ["lesion"]
    assert any("A subject is a lesion" in note for note in shown["notes"])
    assert any("MedSAM" in note for note in shown["notes"])
    text = " ".join(fairray("datasets", "show", "ham10000").stdout.replace("│", " ").split())
    assert "malignant (benign, malignant = positive)" in text
    assert "note: A subject is a lesion" in text
    assert "subjects are lesions" in text


def test_options_of_a_dataset_are_explained_with_their_choices():
    text = " ".join(fairray("datasets", "show", "chexpert").stdout.replace("│", " ").split())
    assert "uncertain ignore what an uncertain label (-1) stands for (ignore, zero, one or gloria)" in text
    assert "raw required the publisher's folder" in text
    assert "findings: enlarged_cardiomediastinum, cardiomegaly," in text
    described = {line[0]: line[2] for line in options_of("table")}
    assert all(described.values()), described
    assert "condition (114 classes)" in fairray("datasets", "show", "fitzpatrick17k").stdout


def test_datasets_that_are_not_open_come_with_instructions(tmp_path):
    for row in json.loads(fairray("datasets", "ls", "--json").stdout):
        if not row["access"]["files"]:
            error = refused("datasets", "fetch", row["name"], "--out", tmp_path / "raw")
            assert row["access"]["steps"] in str(error)
            assert row["access"]["page"] in str(error) or row["access"]["kind"] in ("generated", "yours")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["fetch", "ham10000", "--offline", "--out", "x"], "--offline forbids it"),
        (["show", "ham10000", "--raw", "nowhere"], "nowhere is not a folder"),
        (["fetch", "ham1000", "--out", "x"], "did you mean 'ham10000'"),
    ],
)
def test_mistakes_are_explained(arguments, text):
    assert text in str(refused("datasets", *arguments))


def test_a_study_reads_and_fills_an_object_store(monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "cache"))
    address = f"file://{tmp_path}/bucket/cxr"
    study = {
        "study": "far",
        "store": str(tmp_path / "store"),
        "datasets": {"phantom-cxr": {"shards": address, "targets": ["opacity"], "options": {"subjects": 30}}},
        "models": ["tiny-clip"],
        "usages": {"zero_shot": {}},
        "attributes": {"sex": {}},
        "measure": {"bootstrap": 20, "permutations": 20},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    done = fairray("run", tmp_path / "study.yaml", "--executor", "serial")
    assert done.exit_code == 0, done.output
    assert json.loads(fairray("datasets", "show", address, "--json").stdout)["name"] == "phantom-cxr"
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "other machine"))
    again = fairray("run", tmp_path / "study.yaml", "--executor", "serial")
    assert "nothing was computed" in again.output
    assert not list((tmp_path / "other machine").rglob("*.tar"))
    assert fairray("datasets", "verify", address).exit_code == 0
    assert list((tmp_path / "other machine").rglob("*.tar"))


def test_an_option_that_is_no_yaml_is_one_message():
    error = refused("shard", "phantom-cxr", "--dry-run", "-o", "subjects=[1, 2")
    assert isinstance(error, UserError)
    assert "option 'subjects=[1, 2' has a value that is no YAML" in str(error)


def test_a_converted_dataset_is_shown_to_programs_with_its_task(tmp_path):
    assert (
        fairray(
            "shard", "phantom-fundus", "--out", tmp_path / "out", "-o", "subjects=6", "--workers", 1
        ).exit_code
        == 0
    )
    shown = json.loads(fairray("datasets", "show", tmp_path / "out", "--json").stdout)
    assert (shown["name"], shown["task"]) == ("phantom-fundus", "classification+segmentation")
    assert {"modality", "licence", "fingerprint", "counts", "audit"} <= set(shown)


def test_dry_run_knows_the_splits_of_the_dataset_at_an_address(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRRAY_CACHE", str(tmp_path / "cache"))
    address = f"file://{tmp_path}/bucket/phantoms"
    shard = ("shard", "phantom-cxr", "--out", address)
    assert fairray(*shard, "-o", "subjects=12", "--workers", 1).exit_code == 0
    more = ("-o", "subjects=31", "--workers", 1)
    told = json.loads(fairray(*shard, *more, "--dry-run", "--json", "--check", 0).stdout)
    assert fairray(*shard, *more).exit_code == 0
    made = json.loads(fairray("datasets", "show", address, "--json").stdout)
    assert told["subjects"] == made["counts"]["subjects"]
    fresh = json.loads(fairray("shard", "phantom-cxr", *more, "--dry-run", "--json", "--check", 0).stdout)
    assert fresh["classes"] != told["classes"]


def test_a_folder_called_like_a_dataset_does_not_hide_the_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "papila").mkdir()
    (tmp_path / "mine").mkdir()
    assert "how to get it" in fairray("datasets", "show", "papila").stdout
    with pytest.raises(UserError, match="is not a converted dataset"):
        raise refused("datasets", "show", "mine")
    assert (
        fairray("shard", "phantom-fundus", "-o", "subjects=5", "--workers", "1", "--out", "papila").exit_code
        == 0
    )
    assert "phantom-fundus" in fairray("datasets", "show", "papila").stdout
