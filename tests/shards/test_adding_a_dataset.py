import importlib.util
import re
import sys
from pathlib import Path

import pytest

from shards import datasets

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"
BLOCK = re.compile(r"<!-- (\S+\.py) -->\n```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The files of the page's example, importable under the names that the page gives them."""
    files = dict(BLOCK.findall(PAGE.read_text()))
    modules = {}
    for place, text in files.items():
        name = place.removeprefix("tests/").removesuffix(".py").replace("/", ".")
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        modules[name] = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, modules[name])
        spec.loader.exec_module(modules[name])
    monkeypatch.setitem(datasets._ADAPTERS, "valley-cxr", ("shards.datasets.valley_cxr", "ValleyCxr"))
    return files, modules


def test_the_example_of_the_documentation_passes_its_own_tests(example, tmp_path):
    _, modules = example
    tests = vars(modules["shards.test_dataset_valley_cxr"])
    names = [name for name in tests if name.startswith("test_")]
    assert len(names) == 2
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        tests[name](folder)


def test_the_example_has_the_length_that_the_page_promises(example):
    files, _ = example
    code = files["shards/datasets/valley_cxr.py"].rstrip("\n").splitlines()
    assert 40 < len(code) < 60
