"""One small study for all tests of jobs: two phantom datasets in many small shards, two shipped models, three usages."""

from pathlib import Path

import pytest
import yaml

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter


@pytest.fixture(scope="session")
def converted(tmp_path_factory) -> dict[str, Path]:
    """Folders of two converted phantom datasets."""
    folder = tmp_path_factory.mktemp("datasets")
    options = ConvertOptions(workers=1, samples_per_shard=24)
    for name, subjects in (("phantom-cxr", 60), ("phantom-fundus", 50)):
        convert(make_adapter(name, {"subjects": subjects}), folder / name, options)
    return {"cxr": folder / "phantom-cxr", "fundus": folder / "phantom-fundus"}


@pytest.fixture
def study_values(converted, tmp_path) -> dict:
    """Plain values of the study; its store is in a folder of the test's own."""
    return {
        "study": "small",
        "store": str(tmp_path / "store"),
        "datasets": {
            "cxr": {"shards": str(converted["cxr"]), "adapter": "phantom-cxr", "targets": ["opacity"]},
            "fundus": {"shards": str(converted["fundus"]), "adapter": "phantom-fundus"},
        },
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {
            "zero_shot": {},
            "linear_probe": {"grid": [0.01, 1.0]},
            "segment": {"prompts": ["bbox", "rand"], "structures": ["disc"]},
        },
        "attributes": {"sex": {}, "age": {"bins": [60]}},
        "measure": {"bootstrap": 20, "permutations": 20, "minimum_subjects": 2, "minimum_positives": 1, "minimum_negatives": 1},
    }  # fmt: skip


@pytest.fixture
def study_file(study_values, tmp_path) -> Path:
    """The study as a YAML file."""
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_values))
    return path
