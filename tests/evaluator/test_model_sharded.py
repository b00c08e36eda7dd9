"""Weights in several files with an index, and models that are only a part of them."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from evaluator.models.card import ModelCard, Preprocessing, Weights
from evaluator.models.sharded import files_of, is_index, load_part
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

TOWER = {"tower.a": torch.arange(3.0), "tower.b": torch.arange(4.0)}
REST = {"language.a": torch.zeros(5)}
INDEX = "model.safetensors.index.json"
HALF = (0.5,) * 3
CARD = ModelCard(
    name="some-model",
    family="hf",
    architecture="SiglipVisionModel",
    weights=Weights(file=INDEX, hub="org/repo", part="tower."),
    preprocessing=Preprocessing(32, "squash", "bilinear", HALF, HALF),
    licence="CC BY 4.0",
    abilities=frozenset({"encode"}),
    feature="pool",
    dimension=8,
)


@pytest.fixture
def folder(tmp_path):
    """The tower in two of three files."""
    parts = {
        "model-1.safetensors": {"tower.a": TOWER["tower.a"], **REST},
        "model-2.safetensors": {"tower.b": TOWER["tower.b"]},
        "model-3.safetensors": {"language.b": torch.ones(2)},
    }
    place = tmp_path / "some-model"
    place.mkdir()
    for file, tensors in parts.items():
        save_file(tensors, place / file)
    listed = {name: file for file, tensors in parts.items() for name in tensors}
    (place / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    return place


def test_a_part_is_read_from_the_files_that_hold_it_and_its_prefix_is_taken_off(folder):
    state = load_part(folder / INDEX, "tower.")
    assert state.keys() == {"a", "b"}
    assert torch.equal(state["a"], TOWER["tower.a"])
    assert torch.equal(state["b"], TOWER["tower.b"])
    assert load_part(folder / INDEX).keys() == {*TOWER, *REST, "language.b"}


def test_a_part_of_one_file_is_read_too(tmp_path):
    save_file({**TOWER, **REST}, tmp_path / "w.safetensors")
    assert load_part(tmp_path / "w.safetensors", "tower.").keys() == {"a", "b"}
    assert not is_index(tmp_path / "w.safetensors")


def test_an_index_of_torch_files_is_read(tmp_path):
    torch.save(TOWER, tmp_path / "pytorch_model-1.bin")
    listed = dict.fromkeys(TOWER, "pytorch_model-1.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": listed}))
    assert load_part(tmp_path / "pytorch_model.bin.index.json").keys() == TOWER.keys()


def test_only_the_files_of_the_part_need_be_there_and_all_of_them_are_its_identity(folder):
    (folder / "model-3.safetensors").unlink()
    found = locate(CARD, [folder.parent])
    assert found.path == folder / INDEX
    assert [path.name for path in found.others] == ["model-1.safetensors", "model-2.safetensors"]
    assert load_part(found.path, "tower.", found.others).keys() == {"a", "b"}
    save_file({"tower.b": TOWER["tower.b"] + 1}, folder / "model-2.safetensors")
    assert locate(CARD, [folder.parent]).sha256 != found.sha256


def test_a_missing_file_of_the_part_is_named(folder):
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(
        MissingWeights, match=r"weights 'model-2\.safetensors' of model 'some-model' not found"
    ):
        locate(CARD, [folder.parent])


def test_the_part_is_in_the_identity_of_the_card():
    other = dataclasses.replace(CARD, weights=dataclasses.replace(CARD.weights, part="language."))
    whole = dataclasses.replace(CARD, weights=dataclasses.replace(CARD.weights, part=""))
    assert len({json.dumps(card.identity(), sort_keys=True) for card in (CARD, other, whole)}) == 3
    assert "part" not in whole.identity()


def test_a_tensor_that_is_not_where_the_index_says_is_told(folder):
    save_file({"tower.c": torch.ones(1)}, folder / "model-2.safetensors")
    with pytest.raises(UserError, match=r"model-2\.safetensors lacks 1 tensors .* tower\.b"):
        load_part(folder / INDEX, "tower.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("{}", "is damaged"),
        ('{"weight_map": ["a"]}', "is damaged"),
        ('{"weight_map": {"tower.a": "../other/model.safetensors"}}', "no file beside it: refused"),
        ('{"weight_map": {"tower.a": "/etc/model.safetensors"}}', "no file beside it: refused"),
        ('{"weight_map": {"other.a": "model-1.safetensors"}}', "lists no tensor that starts with 'tower.'"),
    ],
)
def test_bad_indexes_are_refused(folder, content, message):
    (folder / INDEX).write_text(content)
    with pytest.raises(UserError, match=message):
        files_of(folder / INDEX, "tower.")


def test_a_damaged_file_of_the_index_is_named(folder):
    (folder / "model-1.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"model-1\.safetensors is missing or damaged"):
        load_part(folder / INDEX, "tower.")
