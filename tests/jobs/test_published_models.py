"""A study with models from files in their publishers' layouts, texts by a tokenizer's file, and what is said without it."""

import pyarrow.parquet as pq
import pytest
import timm
import torch
from rich.console import Console

from evaluator.models.registry import default_registry
from jobs.plan import PlanOptions, make_plan
from jobs.run import Exit, RunOptions, run_study
from jobs.study import parse_study
from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *"-,.", *(f"##{one}" for one in LETTERS)]
OPTIONS = PlanOptions()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random numbers in the layout of MoCo-CXR's and MedCLIP's files; the tokenizer is not there yet."""
    from evaluator.models.families.medclip import build

    folder = tmp_path_factory.mktemp("weights")
    registry = default_registry(plugins=[])
    torch.manual_seed(0)
    trunk = timm.create_model("resnet18", num_classes=128).state_dict()
    moco = {f"module.encoder_{which}.{name}": value for which in "qk" for name, value in trunk.items()}
    torch.save({"epoch": 1, "state_dict": moco}, folder / registry.card("moco-cxr-rn18").weights.file)
    card = registry.card("medclip-rn50")
    state = {
        name: torch.randn_like(value) * 0.02 if value.is_floating_point() else value
        for name, value in build(card).state_dict().items()
    }
    state |= {name: torch.ones_like(value) for name, value in state.items() if "running_var" in name}
    (folder / card.weights.file).parent.mkdir(parents=True)
    torch.save(state, folder / card.weights.file)
    return folder


@pytest.fixture
def values(study_values, weights, tmp_path):
    few = {"shards": str(tmp_path / "cxr"), "adapter": "phantom-cxr", "options": {"subjects": 24}}
    convert(make_adapter("phantom-cxr", few["options"]), tmp_path / "cxr", ConvertOptions(workers=1))
    study_values["datasets"] = {"cxr": {**few, "targets": ["opacity"]}}
    study_values["models"] = ["moco-cxr-rn18", "MedCLIP-ResNet50"]
    study_values["weights"] = [str(weights)]
    study_values["usages"] = {
        "zero_shot": {},
        "linear_probe": {"grid": [0.01, 1.0]},
        "tip_adapter": {"seeds": 1, "alpha": 1.0, "beta": 1.0},
    }
    return study_values


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_models_from_published_files_run_in_a_study(values, weights, tmp_path):
    plan = make_plan(parse_study(values), OPTIONS)
    assert {(t.model, t.kind) for t in plan.tasks if t.table == "predictions"} == {
        ("moco-cxr-rn18", "linear_probe"),
        ("medclip-rn50", "linear_probe"),
    }
    assert any("tokenizer 'vocab.txt' of model 'medclip-rn50' not found" in line for line in plan.blocked)
    (weights / "medclip-rn50").mkdir()
    (weights / "medclip-rn50" / "vocab.txt").write_text("\n".join(WORDS))
    outcome = run_study(
        parse_study(values),
        RunOptions(plan=OPTIONS, executor="serial", device="cpu"),
        Console(quiet=True),
    )
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    table = pq.read_table(tmp_path / "store" / "metrics" / "small.parquet").to_pandas()
    found = table[(table["group"] == "all") & (table["metric"] == "auc") & (table["split"] == "test")]
    assert set(zip(found["model"], found["usage"], strict=True)) == {
        ("moco-cxr-rn18", "linear_probe"),
        ("medclip-rn50", "linear_probe"),
        ("medclip-rn50", "zero_shot"),
        ("medclip-rn50", "tip_adapter"),
    }
    assert found["value"].between(0, 1).all()
