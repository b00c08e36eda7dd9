"""Every dataset that can be converted, from the publisher's layout to metrics: one study over made-up raw folders."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from replicas import replica
from rich.console import Console

from jobs.coverage import find_faults
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.datasets import adapter_names, make_adapter

SEX = ("female", "male")
#: Enough people that each split has both classes and both sexes.
GENERATED = {
    "phantom-ct": {"subjects": 36, "slices": 6, "side": 32},
    "phantom-cxr": {"subjects": 36, "views": 1},
    "phantom-fundus": {"subjects": 36},
}


def own_images(folder):
    """Write the images and the table of somebody who has no adapter; returns the options of ``table``."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(40):
        bright = number % 2
        pixels = np.random.default_rng(number).normal(80 + 90 * bright, 20, (24, 30))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
        rows.append(
            (f"{number}.png", f"p{number}", ("dark", "bright")[bright], SEX[number // 2 % 2], 40 + number)
        )
    pd.DataFrame(rows, columns=["image", "patient", "look", "sex", "age"]).to_csv(
        folder / "own.csv", index=False
    )
    return {
        "table": str(folder / "own.csv"),
        "images_root": str(folder),
        "subject": "patient",
        "targets": {"look": {"positive": "bright"}},
        "attributes": {"sex": {}, "age": {}},
    }


def raw_options(name, folder):
    """Make the raw folder of a dataset; returns its adapter's options. No dataset may be without one."""
    if name in GENERATED:
        return GENERATED[name]
    if name == "table":
        return own_images(folder)
    if importlib.util.find_spec(f"replicas.{name.replace('-', '_')}") is None:
        pytest.fail(f"adapter {name!r} has no replica: write tests/replicas/{name.replace('-', '_')}.py")
    return {
        key: str(value) if isinstance(value, Path) else value for key, value in replica(name)(folder).items()
    }


def first_target(card):
    """Choose one target: two classes and prompts if there is such a one."""
    prompted = {prompts.target for prompts in card.prompts}
    ranked = sorted(card.targets, key=lambda t: (len(t.classes) != 2, t.name not in prompted))
    return [target.name for target in ranked[:1]]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_dataset_is_converted_run_and_measured(tmp_path):
    cards, datasets = {}, {}
    for name in adapter_names():
        options = raw_options(name, tmp_path / "raw" / name)
        cards[name] = make_adapter(name, options).card()
        datasets[name] = {
            "shards": str(tmp_path / "shards" / name),
            "adapter": name,
            "options": options,
            "targets": first_target(cards[name]),
        }
    study = {
        "study": "every",
        "store": str(tmp_path / "store"),
        "datasets": datasets,
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {
            "zero_shot": {"slices": "central"},
            "linear_probe": {"grid": [0.1], "slices": "central"},
            "segment": {"prompts": ["bbox"]},
        },
        "attributes": {"sex": {}, "age": {"bins": [60]}},
        "measure": {
            "bootstrap": 10,
            "permutations": 10,
            "minimum_subjects": 1,
            "minimum_positives": 1,
            "minimum_negatives": 1,
        },
    }
    outcome = run_study(
        parse_study(study), RunOptions(executor="serial", device="cpu", workers=1), Console(quiet=True)
    )
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    assert list(find_faults(outcome.plan, Store(tmp_path / "store"))) == []
    metrics = outcome.tables.metrics
    overall = metrics[(metrics.attribute == "all") & metrics["value"].notna()]
    found = {name: set(rows.usage) for name, rows in overall.groupby("dataset")}
    for name, card in cards.items():
        expected = set()
        if card.targets:
            expected |= {"linear_probe"}
            if any(prompts.target in datasets[name]["targets"] for prompts in card.prompts):
                expected |= {"zero_shot"}
        if card.structures:
            expected |= {"segment"}
        assert expected, f"{name} has neither a target nor a structure"
        assert expected <= found.get(name, set()), f"{name}: measured {found.get(name)}, expected {expected}"
        aucs = overall[(overall.dataset == name) & (overall.metric == "auc") & (overall.split == "test")]
        assert not card.targets or len(aucs), f"{name}: no AUC on test; its replica lacks a class there"
        known = {attribute.name for attribute in card.attributes} & {"sex", "age"}
        grouped = set(metrics[metrics.dataset == name].attribute) - {"all"}
        assert grouped == known, f"{name}: groups by {grouped}, the card has {known}"
