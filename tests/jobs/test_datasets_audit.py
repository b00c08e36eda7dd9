"""What a person and a script read of a converted dataset's audit."""

import json

import pytest
from typer.testing import CliRunner

from jobs import cli
from shards.convert import ConvertOptions, convert
from shards.datasets.phantom_cxr import PhantomCxr


def shown(*arguments):
    done = CliRunner().invoke(cli.app, ["datasets", "show", *map(str, arguments)])
    assert done.exit_code == 0, done.exception
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("audited") / "cxr"
    convert(PhantomCxr(subjects=40, seed=1), place, ConvertOptions(workers=1))
    return place


def test_an_audit_is_shown_in_words_with_the_groups(folder):
    text = " ".join(shown(folder).split())
    assert "No patient is in two splits (40 patients)." in text
    assert "No images of different patients have the same pixels." in text
    assert "samples by class" in text
    for group in ("female", "male", "unknown"):
        assert f"sex │ {group} │" in text


def test_a_script_gets_the_audit_as_json(folder):
    audit = json.loads(shown(folder, "--json"))["audit"]
    assert audit["subjects"] == 40
    assert audit["duplicates"]["same"]["pairs"] == 0
    assert {one["name"] for one in audit["attributes"]} >= {"sex", "age", "race"}
    groups = {one["name"]: one["groups"] for one in audit["attributes"]}
    assert sum(group["samples"] for group in groups["sex"]) == audit["samples"]


def test_generated_people_do_not_look_alike(folder):
    near = json.loads(shown(folder, "--json"))["audit"]["duplicates"]["near"]
    assert near["pairs"] == 0
