"""The studies that users start from are right, whatever data is at hand."""

from pathlib import Path

import pytest
from replicas import replica

from jobs.plan import PlanOptions, check_names
from jobs.study import load_study
from shards.datasets import adapter_class, make_adapter

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_a_study_of_known_datasets_and_models(path):
    study = load_study(path)
    check_names(study, PlanOptions())
    for name, entry in study.datasets.items():
        assert adapter_class(entry.adapter or name).name == (entry.adapter or name)


def test_targets_and_presets_of_the_fairmedfm_example_are_on_the_cards(tmp_path):
    study = load_study(next(path for path in EXAMPLES if path.stem == "fairmedfm"))
    asked = {name for name, options in study.attributes.items() if options.get("preset") == "fairmedfm"}
    found = set()
    for name, entry in study.datasets.items():
        card = make_adapter(name, replica(name)(tmp_path / name)).card()
        assert set(entry.targets or ()) <= {target.name for target in card.targets}, name
        found |= {preset.attribute for preset in card.presets if preset.name == "fairmedfm"}
    assert len(study.datasets) == 16
    assert asked <= found
