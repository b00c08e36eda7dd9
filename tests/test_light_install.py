"""The package as ``pip install fairray`` gives it, without the extra `run`: auditing, converting and asking for help work.

Installs into a fresh environment, so it needs a package index; without one it fails.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.extras import RUN_MODULES

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> Path:
    """Folder of the executables of an environment with the package alone."""
    folder = tmp_path_factory.mktemp("light")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("shards", "evaluator", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    command = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "-c", source / "constraints.txt", source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"pip install failed:\n{done.stderr}"
    return folder / "venv/bin"


@pytest.fixture
def call(light, tmp_path):
    """Run the installed command in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [light / "fairray", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**environment, "COLUMNS": "200"},
        )

    return run


def test_nothing_that_runs_models_is_installed(light):
    code = "import importlib.util as u, sys; print([m for m in sys.argv[1:] if u.find_spec(m)])"
    done = subprocess.run(
        [light / "python", "-c", code, *RUN_MODULES], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert all(importlib.util.find_spec(module) for module in RUN_MODULES), (
        "the test's own environment has them"
    )


def test_help_and_lists_work(call):
    for arguments in (["--help"], ["datasets", "ls"], ["models", "ls"], ["audit", "--help"]):
        done = call(*arguments)
        assert (done.returncode, done.stderr) == (0, "")


def test_doctor_finds_nothing_missing_and_says_what_running_models_takes(call):
    done = call("doctor")
    assert done.returncode == 0
    assert "'fairray[run]'" in done.stdout


def test_run_names_the_install_line_and_writes_nothing(call, tmp_path):
    done = call("run", str(ROOT / "examples/demo.yaml"))
    assert done.returncode == 2
    assert "torch" in done.stderr
    assert "pip install 'fairray[run]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["models", "verify", "tiny-clip"], ["models", "show", "timm:resnet18"]]
)
def test_whatever_else_needs_a_model_library_names_the_install_line(call, arguments):
    done = call(*arguments)
    assert done.returncode == 2
    assert "pip install 'fairray[run]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_datasets_are_converted(call):
    done = call("shard", "phantom-cxr", "--out", "cxr", "-o", "subjects=12")
    assert done.returncode == 0, done.stderr
    assert call("datasets", "verify", "cxr").returncode == 0


def test_predictions_are_audited(call, tmp_path):
    rows = [
        f"p{k},{'f' if k % 2 else 'm'},{k % 3 == 0:d},{0.2 + 0.5 * (k % 3 == 0) + 0.001 * k}"
        for k in range(200)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["patient,sex,sick,probability", *rows]))
    done = call(
        "audit", "table.csv", "--target", "sick", "--score", "probability", "--subject", "patient",
        "--attributes", "sex", "--bootstrap", "100", "--out", "audited",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {"groups.parquet", "gaps.parquet"} <= {path.name for path in (tmp_path / "audited").iterdir()}


def test_versions_that_are_recorded_are_those_that_are_there(light):
    code = "from jobs.record import versions; print(sorted(versions()))"
    done = subprocess.run([light / "python", "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" in done.stdout
    assert "torch" not in done.stdout
