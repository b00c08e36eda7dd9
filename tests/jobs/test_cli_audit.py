"""``fairray audit`` as a person or a pipeline uses it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from evaluator.tables import GAPS, METRICS

FAIRRAY = Path(sys.executable).with_name("fairray")
EXAMPLE = Path(__file__).parents[2] / "examples" / "predictions.csv"
QUICK = ("--bootstrap", "100", "--permutations", "199")


def fairray_audit(*arguments, cwd):
    command = [FAIRRAY, "audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=120)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    limits = ("--fail-if", "adjusted_gap(auc,sex)>0.05", "--fail-if", "value(auc)<0.5")
    return folder, fairray_audit(EXAMPLE, "--bins", "age=50,70", *QUICK, *limits, cwd=folder)


def test_a_violated_limit_is_exit_code_1_and_names_its_numbers(done):
    _, ran = done
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.startswith("fairray: limit violated: adjusted_gap(auc,sex)>0.05")
    assert "adjusted_gap(auc, sex) is 0." in ran.stderr
    assert "value(auc)" not in ran.stderr
    assert "kept: value(auc)<0.5" in ran.stdout


def test_the_summary_says_the_answer_and_what_was_taken_for_what(done):
    _, ran = done
    for said in (
        "GAP AUC by sex: male is better than female",
        "320 samples of 160 subjects",
        "subject     patient: named like one [--subject]",
        "sex: 12 rows are unknown: empty (12)",
        "Nothing was tuned on this table",
        "report: predictions-audit/report.html",
    ):
        assert said in ran.stdout


def test_all_files_are_written_with_the_public_columns(done):
    folder, _ = done
    out = folder / "predictions-audit"
    assert pq.read_schema(out / "groups.parquet").equals(METRICS)
    assert pq.read_schema(out / "gaps.parquet").equals(GAPS)
    assert pd.read_csv(out / "groups.csv").columns.tolist() == METRICS.names
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert (out / "summary.md").read_text().startswith("# Audit of predictions")
    assert list((out / "tables").glob("*.tex"))


def test_json_is_for_programs_and_holds_no_nan(tmp_path):
    ran = fairray_audit(EXAMPLE, *QUICK, "--out", "here", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout, parse_constant=lambda name: pytest.fail(f"JSON holds {name}"))
    assert printed["exit"] == 0
    assert {row["role"] for row in printed["read_as"]} >= {"label", "score", "subject", "attributes"}
    auc = next(row for row in printed["results"] if row["metric"] == "auc")
    assert 0.5 < auc["value"] < 1
    assert {row["attribute"] for row in printed["gaps"]} == {"sex", "age"}
    assert (tmp_path / printed["report"]).exists()


def test_the_same_table_and_seed_give_the_same_bytes(done, tmp_path):
    first, _ = done
    fairray_audit(EXAMPLE, "--bins", "age=50,70", *QUICK, "--workers", "1", cwd=tmp_path)
    for name in ("groups.parquet", "gaps.csv"):
        assert (tmp_path / "predictions-audit" / name).read_bytes() == (
            first / "predictions-audit" / name
        ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.csv"], "does not exist"),
        ([EXAMPLE, "--subject", "patien"], "did you mean 'patient'"),
        ([EXAMPLE, "--bins", "age=old"], "--bins must be an attribute and rising numbers"),
        ([EXAMPLE, "--bins", "60"], "--bins must be an attribute and rising numbers"),
        ([EXAMPLE, "--fail-if", "auc > 0.5"], "--fail-if 'auc > 0.5' must have"),
        ([EXAMPLE, "--conventions", "fairmedfn"], "did you mean 'fairmedfm'"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(arguments, said, tmp_path):
    ran = fairray_audit(*arguments, cwd=tmp_path)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_asked_for_at_once_with_a_command_to_copy(tmp_path):
    table = (
        pd.read_csv(EXAMPLE).rename(columns={"patient": "wer"}).drop(columns=["sex", "age"], errors="ignore")
    )
    table["hospital"] = ["a", "b"] * (len(table) // 2)
    table.to_csv(tmp_path / "my table.csv", index=False)
    ran = fairray_audit("my table.csv", "--seed", "1", cwd=tmp_path)
    assert ran.returncode == 2
    command = ran.stderr.partition("if that is right: ")[2]
    assert " ".join(command.split()).startswith(
        "fairray audit 'my table.csv' --seed 1 --subject wer --attributes hospital"
    )


def test_a_file_in_the_place_of_the_folder_stops_the_audit_before_it_begins(tmp_path):
    (tmp_path / "taken").write_text("mine")
    ran = fairray_audit(EXAMPLE, "--out", "taken", cwd=tmp_path)
    assert ran.returncode == 2
    assert "--out must be a folder" in ran.stderr
    assert (tmp_path / "taken").read_text() == "mine"


def test_verdicts_come_first_on_the_terminal_and_in_the_file(done):
    folder, ran = done
    for text in (ran.stdout, (folder / "predictions-audit" / "summary.md").read_text()):
        assert text.splitlines()[2] == "## Limits"
        assert text.splitlines()[4].startswith("- VIOLATED: adjusted_gap(auc,sex)>0.05")


def test_an_audit_needs_neither_ray_nor_torch(tmp_path):
    program = (
        "import sys; from evaluator import audit;"
        f"audit({str(EXAMPLE)!r}, bootstrap=20, permutations=19).report(sys.argv[1]);"
        "loaded = {'ray', 'torch', 'sklearn', 'monai', 'jobs'} & set(sys.modules);"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "r.html")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_documentation_names_only_options_that_exist(tmp_path):
    shown = fairray_audit("--help", cwd=tmp_path).stdout
    text = (EXAMPLE.parents[1] / "docs" / "audit.md").read_text()
    foreign = {"--metadata", "--sensitive", "--pos-label"}
    named = set(re.findall(r"--[a-z][a-z-]+", text)) - foreign
    assert len(named) > 20
    assert {option for option in named if option not in shown} == set()
