import argparse
import dataclasses
import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evaluator.models.card import ModelCard, Preprocessing, Weights, WeightsFile
from evaluator.models.cards import packaged_cards
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from shards.errors import UserError

CARDS = {card.name: card for card in packaged_cards()}


def card(**weights):
    return ModelCard(
        name="some-model",
        family="timm",
        architecture="resnet18",
        weights=Weights(**weights),
        preprocessing=Preprocessing(32, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3),
        licence="CC BY 4.0",
        abilities=frozenset({"encode"}),
        feature="pool",
        dimension=512,
    )


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache, and a record of every question that would have gone to the network."""
    import huggingface_hub

    asked = []
    real = huggingface_hub.hf_hub_download

    def spy(repo, file, *, local_files_only, **rest):
        if not local_files_only:
            asked.append((repo, file))
            raise OSError("no route to host\nmore text")
        return real(repo, file, local_files_only=True, **rest)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", spy)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub", asked


def put_into_cache(cache, repo, file, data):
    root = cache / f"models--{repo.replace('/', '--')}"
    commit = "a" * 40
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    path = root / "snapshots" / commit / file
    path.write_bytes(data)
    return path


def test_file_is_found_in_a_folder_or_in_its_models_folder(tmp_path):
    for place in (tmp_path / "w.pth", tmp_path / "some-model" / "w.pth"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"abc")
        found = locate(card(file="w.pth"), [tmp_path / "absent", tmp_path])
        assert found == LocatedWeights(place, sha256(b"abc"))
        place.unlink()


def test_absolute_path_needs_no_folder(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"abc")
    assert locate(card(file=str(path))).path == path


def test_wrong_hash_names_file_expected_and_found(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"abc")
    expected = "0" * 64
    with pytest.raises(UserError) as caught:
        locate(card(file="w.pth", sha256=expected, page="https://example.org/w"), [tmp_path])
    assert not isinstance(caught.value, MissingWeights)
    for part in ("some-model", str(path), expected, sha256(b"abc"), "https://example.org/w"):
        assert part in str(caught.value)


def test_missing_weights_say_what_where_and_how_to_get_them(tmp_path):
    with pytest.raises(MissingWeights) as caught:
        locate(CARDS["sam-vit-b"], [tmp_path])
    for part in ("sam-vit-b", "sam_vit_b_01ec64.pth", str(tmp_path), "segment-anything", "Apache-2.0"):
        assert part in str(caught.value)


def test_missing_gated_weights_say_that_they_are_gated(hub_cache):
    gated = card(file="model.safetensors", hub="org/secret", gated=True)
    with pytest.raises(MissingWeights, match=r"gated.*fairray models fetch some-model"):
        locate(gated)


def test_offline_never_asks_the_network(hub_cache, tmp_path):
    _, asked = hub_cache
    with pytest.raises(MissingWeights, match=r"timm/vit_base_patch32_clip_224\.openai"):
        locate(CARDS["clip-vit-b32"], [tmp_path], offline=True)
    assert asked == []


def test_online_asks_the_hub_for_safetensors_first_and_reports_its_answer(hub_cache, tmp_path):
    _, asked = hub_cache
    with pytest.raises(MissingWeights, match="no route to host") as caught:
        locate(CARDS["clip-vit-b32"], [tmp_path], offline=False)
    assert [file for _, file in asked] == ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    assert "more text" not in str(caught.value)


@pytest.mark.parametrize("offline", [True, False])
def test_cached_hub_file_is_used_without_asking(hub_cache, offline):
    cache, asked = hub_cache
    path = put_into_cache(cache, "org/repo", "model.safetensors", b"xyz")
    found = locate(card(file="model.safetensors", hub="org/repo"), offline=offline)
    assert (found.path, found.sha256, asked) == (path, sha256(b"xyz"), [])


def test_cached_file_under_its_older_name_is_used(hub_cache):
    cache, _ = hub_cache
    path = put_into_cache(cache, "org/repo", "pytorch_model.bin", b"xyz")
    assert locate(card(file="model.safetensors", hub="org/repo")).path == path


def test_one_hub_models_file_is_never_taken_for_anothers(hub_cache, tmp_path):
    # 'model.safetensors' says nothing about whose it is.
    (tmp_path / "model.safetensors").write_bytes(b"of another model")
    wanted = card(file="model.safetensors", hub="org/repo")
    with pytest.raises(MissingWeights):
        locate(wanted, [tmp_path])
    own = tmp_path / "some-model" / "model.safetensors"
    own.parent.mkdir()
    own.write_bytes(b"own")
    assert locate(wanted, [tmp_path]).path == own


def test_weights_in_several_files_are_found_together_and_each_is_part_of_their_identity(tmp_path):
    several = card(file="w.pth", others=(WeightsFile("tower.pth"), WeightsFile("head.pth")))
    kept, own = tmp_path / "kept", tmp_path / "kept" / "some-model"
    own.mkdir(parents=True)
    for place in (own / "w.pth", own / "head.pth", kept / "tower.pth", kept / "head.pth"):
        place.write_bytes(str(place).encode())
    found = locate(several, [kept])
    # Beside the first file before anywhere else.
    assert (found.path, found.others) == (own / "w.pth", (kept / "tower.pth", own / "head.pth"))
    alone = locate(card(file="w.pth"), [kept])
    assert (alone.sha256, alone.others) == (sha256((own / "w.pth").read_bytes()), ())
    identities = {found.sha256, alone.sha256}
    for place in (own / "w.pth", kept / "tower.pth", own / "head.pth"):
        place.write_bytes(b"changed")
        identities.add(locate(several, [kept]).sha256)
    assert len(identities) == 5


def test_other_files_lie_beside_a_file_given_by_its_path(tmp_path, monkeypatch):
    for name in ("w.pth", "tower.pth"):
        (tmp_path / name).write_bytes(name.encode())
    several = card(file=str(tmp_path / "w.pth"), others=(WeightsFile("tower.pth", sha256(b"tower.pth")),))
    assert locate(several).others == (tmp_path / "tower.pth",)
    # A worker may run in another folder.
    monkeypatch.chdir(tmp_path)
    relative = card(file="w.pth", others=(WeightsFile("tower.pth"),))
    assert all(path.is_absolute() for path in locate(relative, ["."]).others)


def test_a_missing_or_wrong_other_file_is_named_with_its_own_page(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"abc")
    tower = WeightsFile("tower.pth", "0" * 64, "https://example.org/tower")
    several = card(file="w.pth", page="https://example.org/w", others=(tower,))
    with pytest.raises(
        MissingWeights,
        match=r"'tower\.pth' \(one of 2: w\.pth, tower\.pth\) of model.*https://example\.org/tower",
    ):
        locate(several, [tmp_path])
    (tmp_path / "tower.pth").write_bytes(b"abc")
    with pytest.raises(UserError, match=r"tower\.pth has sha256 ba78.*https://example\.org/tower"):
        locate(several, [tmp_path])


def test_other_files_come_from_the_same_repository_as_the_first(hub_cache):
    cache, asked = hub_cache
    first = put_into_cache(cache, "org/repo", "model-1.safetensors", b"1")
    several = card(file="model-1.safetensors", hub="org/repo", others=(WeightsFile("model-2.safetensors"),))
    with pytest.raises(MissingWeights, match="no route to host"):
        locate(several, offline=False)
    assert asked == [("org/repo", "model-2.safetensors")]
    (first.parent / "model-2.safetensors").write_bytes(b"2")
    assert locate(several).others == (first.parent / "model-2.safetensors",)


def test_random_weights_have_their_seed_as_identity():
    control = dataclasses.replace(card(), options={"random_seed": 7})
    assert locate(control) == LocatedWeights(None, "random:7")


def test_remembered_hash_is_that_of_the_current_bytes(tmp_path):
    path, memory = tmp_path / "w.pth", tmp_path / "cache" / "hashes.json"
    path.write_bytes(b"abc")
    assert locate(card(file=str(path)), hashes=memory).sha256 == sha256(b"abc")
    assert locate(card(file=str(path)), hashes=memory).sha256 == sha256(b"abc")
    path.write_bytes(b"abcd")
    assert locate(card(file=str(path)), hashes=memory).sha256 == sha256(b"abcd")
    assert len(json.loads(memory.read_text())) == 1


def test_remembered_hash_saves_reading_the_file_again(tmp_path):
    path, memory = tmp_path / "w.pth", tmp_path / "hashes.json"
    path.write_bytes(b"abc")
    locate(card(file=str(path)), hashes=memory)
    record = json.loads(memory.read_text())
    record[str(path)]["sha256"] = "from memory"
    memory.write_text(json.dumps(record))
    assert locate(card(file=str(path)), hashes=memory).sha256 == "from memory"


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"x": 1}'])
def test_damaged_memory_of_hashes_is_made_anew(tmp_path, damaged):
    path, memory = tmp_path / "w.pth", tmp_path / "hashes.json"
    path.write_bytes(b"abc")
    memory.write_text(damaged)
    assert locate(card(file=str(path)), hashes=memory).sha256 == sha256(b"abc")
    assert str(path) in json.loads(memory.read_text())


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".torch", ".safetensors"])
def test_tensors_survive_every_supported_kind_of_file(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    save_file(STATE, path) if suffix == ".safetensors" else torch.save(STATE, path)
    state = load_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE},
        {"model_state_dict": STATE},
        {"teacher": STATE, "optimizer": {"step": 3}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path, wrapped):
    torch.save(wrapped, tmp_path / "w.pth")
    assert load_state(tmp_path / "w.pth").keys() == STATE.keys()


def test_a_prefix_that_only_some_names_have_is_part_of_the_name(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert set(load_state(tmp_path / "w.pth")) == {"module.a", "b"}


def attack():
    pytest.fail("code of the weights file was run")


class Attack:
    def __reduce__(self):
        return (attack, ())


def save_legacy(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


def save_pickled(value, path):
    path.write_bytes(pickle.dumps(value, 2))


@pytest.mark.parametrize("save", [torch.save, save_legacy, save_pickled])
def test_pickled_objects_among_the_tensors_are_refused_and_never_run(tmp_path, save):
    path = tmp_path / "w.pth"
    save({"a": torch.ones(1), "b": Attack()}, path)
    with pytest.raises(UserError, match=r"named tensors only, found entries.* b\.|damaged"):
        load_state(path)


@pytest.mark.parametrize("save", [torch.save, save_legacy])
def test_tensors_are_read_beside_objects_that_are_never_built(tmp_path, save):
    path = tmp_path / "w.ckpt"
    settings = argparse.Namespace(lr=0.1, nested=[Attack()], numbers=np.float64(3.0))
    save({"state_dict": STATE, "hyper_parameters": settings, "epoch": 3}, path)
    state = load_state(path)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert state.keys() == STATE.keys()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_archive_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match=r"TorchScript archive.*open_clip_model.safetensors"):
        load_state(path)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("keep", [0, 40, -10])
def test_cut_files_are_reported_as_damaged(tmp_path, name, keep):
    path = tmp_path / name
    save_file(STATE, path) if name.endswith("safetensors") else torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"{name}.*(damaged|pickled)"):
        load_state(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": torch.ones(1), "epoch": 3}, {}])
def test_files_without_a_plain_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="must hold named tensors"):
        load_state(tmp_path / "w.pth")


def test_other_kinds_of_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"\.npz"):
        load_state(tmp_path / "w.npz")
