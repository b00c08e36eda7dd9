"""What is said where a library for running models is not installed."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from rich.console import Console

from jobs import cli, doctor, record
from jobs.extras import RUN_MODULES, explain_import, missing_packages, require_run
from jobs.run import RunOptions, run_study
from jobs.study import parse_study
from shards.errors import UserError


@pytest.fixture
def light(monkeypatch):
    """Make the libraries of the extra look absent."""
    find, version = importlib.util.find_spec, doctor.importlib.metadata.version

    def version_unless_heavy(name):
        if name in RUN_MODULES.values():
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in RUN_MODULES else find(name))
    monkeypatch.setattr("importlib.metadata.version", version_unless_heavy)


def test_nothing_is_missing_where_all_is_installed():
    assert missing_packages() == ()
    require_run()


def test_running_names_every_missing_package_and_the_install_line(light):
    with pytest.raises(UserError, match=r"torch, torchvision, .*: pip install 'fairray\[run\]'"):
        require_run()


def test_a_study_is_refused_before_anything_is_written(light, tmp_path):
    study = parse_study(
        {
            "study": "s",
            "store": str(tmp_path / "store"),
            "datasets": {"phantom-cxr": {"shards": str(tmp_path / "shards"), "options": {"subjects": 9}}},
            "models": ["tiny-clip"],
            "usages": {"zero_shot": {}},
        }
    )
    with pytest.raises(UserError, match="running a study needs"):
        run_study(study, RunOptions(executor="serial"), Console(quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_doctor_calls_it_a_note_and_not_a_fault(light, tmp_path):
    checks = {check.name: check for check in doctor.examine(tmp_path)}
    assert (checks["libraries"].state, checks["to run models"].state) == ("ok", "note")
    assert "pip install 'fairray[run]'" in checks["to run models"].advice


def test_versions_leave_out_what_is_not_installed(light):
    found = record.versions()
    assert "torch" not in found
    assert {"python", "fairray", "numpy"} <= set(found)


def failing_app(name):
    def app():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return app


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("torch", "run"),
        ("open_clip.model", "run"),
        ("ray", "run"),
        ("SimpleITK", "formats"),
        ("h5py", "formats"),
    ],
)
def test_command_that_needs_an_absent_library_says_how_to_install_it(module, extra, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", failing_app(module))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert f"pip install 'fairray[{extra}]'" in capsys.readouterr().err


def test_any_other_missing_module_is_an_error_of_ours(monkeypatch):
    assert explain_import(ModuleNotFoundError("No module named 'x'", name="x")) is None
    monkeypatch.setattr(cli, "app", failing_app("jobs.nowhere"))
    with pytest.raises(ModuleNotFoundError):
        cli.main()


def test_importing_the_command_line_and_the_measuring_path_loads_no_model_library():
    import subprocess

    code = (
        "import sys\n"
        "import jobs.cli, jobs.assemble, jobs.query, jobs.doctor, evaluator.measure, evaluator.compare, evaluator.report.html\n"
        "print(sorted(set(sys.argv[1:]) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *RUN_MODULES], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
