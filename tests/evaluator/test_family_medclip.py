"""MedCLIP by checkpoints in its authors' layout: against transformers' Swin, timm's ResNet and BERT's formulas."""

import re
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from clinical_bert import (
    bert_layers,
    bert_shapes,
    bert_state,
    gflops,
    random_tensors,
    tokens_alone,
    without_storage,
    write_vocabulary,
)
from transformers import SwinConfig, SwinModel

from evaluator.models.families.medclip import build
from evaluator.models.loading import load_model
from evaluator.models.registry import default_registry
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
NAMES = ("medclip-vit", "medclip-rn50")
TEXTS = ["mild pneumonia", "Severe cardiomegaly, atelectasis of the left lung base.", "edema"]
TEXT, IMAGE = "text_model.model.", "vision_model.model."

#: Names of transformers' Swin today, and in the versions of 2022 with which the checkpoint was saved.
SWIN_OF_2022 = (
    (".attention.q_proj.", ".attention.self.query."),
    (".attention.k_proj.", ".attention.self.key."),
    (".attention.v_proj.", ".attention.self.value."),
    (".attention.o_proj.", ".attention.output.dense."),
    (".attention.relative_position_bias.", ".attention.self."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)


def swin_name_of_2022(name):
    for today, then in SWIN_OF_2022:
        name = name.replace(today, then)
    return name


def reference_image(name):
    """The image tower as another library has it, with random weights."""
    if name == "medclip-vit":
        with torch.random.fork_rng(devices=[]):
            network = SwinModel(SwinConfig(), add_pooling_layer=True)
    else:
        network = timm.create_model("resnet50", num_classes=0)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    network.load_state_dict(random_tensors(shapes, 1))
    return network.eval().requires_grad_(False)


def published(name):
    """The checkpoint in its authors' layout and the image tower it holds."""
    tower = reference_image(name)
    state = {IMAGE + swin_name_of_2022(key): tensor for key, tensor in tower.state_dict().items()}
    if name == "medclip-vit":
        # Versions of then stored the constant index of each window; each is 49 x 49 numbers below 169.
        tables = [key for key in state if key.endswith("relative_position_bias_table")]
        for key in tables:
            state[key.replace("bias_table", "index")] = torch.zeros(49, 49, dtype=torch.int64)
        head = "vision_model.projection_head.weight"
        width = 768
    else:
        head, width = "vision_model.model.fc.weight", 2048
    heads = {head: (512, width), "text_model.projection_head.weight": (512, 768)}
    state |= random_tensors(heads, 2) | bert_state(TEXT, 3)
    state["logit_scale"] = torch.tensor(3.0)
    return state, tower, state[head]


@pytest.fixture(scope="module", params=NAMES)
def setting(request, tmp_path_factory):
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    state, tower, head = published(name)
    card = REGISTRY.card(name)
    path = folder / card.weights.file
    path.parent.mkdir()
    torch.save(state, path)
    write_vocabulary(path.parent)
    located = locate(card, [folder])
    assert located.path == path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        model = load_model(card, located)
        texts = model.encode_text(TEXTS)  # once: it is the slow part
    path.unlink()  # half a gigabyte
    return Setting(model, state, tower, head, path.parent, texts)


def refuse(*_):
    raise AssertionError("a connection was tried")


class Setting(NamedTuple):
    model: Any
    state: dict
    tower: Any
    head: torch.Tensor
    folder: Path
    texts: torch.Tensor


def pixels_for(card, count, seed=0):
    size = card.preprocessing.size
    drawn = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=drawn)


def test_image_features_and_projection_equal_those_of_another_library(setting):
    model, tower, head = setting.model, setting.tower, setting.head
    pixels = pixels_for(model.card, 2)
    normal = (pixels.float() / 255 - 0.5862785803043838) / 0.27950088968644304
    with torch.inference_mode():
        expected = tower(normal)
    expected = expected.pooler_output if hasattr(expected, "pooler_output") else expected
    features, projected = model.encode(pixels)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    wanted = expected @ head.T
    torch.testing.assert_close(projected, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert features.shape == (2, model.card.dimension)
    assert projected.shape == (2, model.card.projected)


def test_one_image_keeps_its_batch_axis(setting):
    model = setting.model
    features, projected = model.encode(pixels_for(model.card, 1))
    assert (features.shape, projected.shape) == ((1, model.card.dimension), (1, 512))


def test_texts_are_the_mean_over_their_own_tokens_of_three_layers(setting):
    for row, text in enumerate(TEXTS):
        ids, mask = tokens_alone(setting.folder, text)
        layers = bert_layers(setting.state, TEXT, ids, mask)
        pooled = torch.stack([layers[1], layers[2], layers[12]]).mean(dim=0).mean(dim=1)
        expected = (pooled @ setting.state["text_model.projection_head.weight"].T)[0]
        torch.testing.assert_close(
            setting.texts[row], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


@pytest.mark.parametrize("setting", ["medclip-vit"], indirect=True)
def test_a_text_has_the_same_embedding_whatever_is_asked_with_it(setting):
    # The package pads to the longest text of the call and averages over the padding.
    model = setting.model
    assert torch.equal(setting.texts[2], model.encode_text([TEXTS[2]])[0])


def test_scale_is_clamped_as_in_the_package(setting):
    model = setting.model
    assert (model.similarity.rule, model.similarity.vectors) == ("softmax", 1)
    assert model.similarity.scale == pytest.approx(20.0855369)
    stored = model.network.logit_scale.clone()
    try:
        model.network.logit_scale.fill_(6.0)
        assert model.similarity.scale == pytest.approx(100.0, abs=0.01)
        model.network.logit_scale.fill_(-1.0)
        assert model.similarity.scale == 1.0
    finally:
        model.network.logit_scale.copy_(stored)


def test_everything_runs_on_the_cpu_without_a_network_and_without_the_package(setting):
    # The setting was made with connections refused.
    assert setting.model.encode(pixels_for(setting.model.card, 1)).features.device.type == "cpu"
    assert setting.texts.device.type == "cpu"
    assert not {"medclip", "nltk", "wget", "textaugment"} & set(sys.modules)


def test_model_is_frozen_and_in_evaluation_mode(setting):
    network = setting.model.network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def saved(tmp_path, state):
    torch.save(without_storage(state), tmp_path / "pytorch_model.bin")
    return LocatedWeights(tmp_path / "pytorch_model.bin", "x")


@pytest.mark.parametrize(
    ("name", "lost", "message"),
    [
        (
            "medclip-vit",
            r"blocks\.1\.attention\.self\.key",
            r"missing: image\.layers\.0\.blocks\.1\.attn\.qkv",
        ),
        ("medclip-vit", r"^vision_model\.projection_head", r"1 missing: projection\.weight"),
        ("medclip-vit", r"^text_model\.projection_head", r"1 missing: text_projection\.weight"),
        ("medclip-rn50", r"fc\.weight", r"1 missing: projection\.weight"),
        ("medclip-rn50", r"encoder\.layer\.11\.", r"16 missing: text\.encoder\.layer\.11"),
        ("medclip-rn50", r"^logit_scale", r"1 missing: logit_scale"),
    ],
)
def test_half_loaded_checkpoints_are_refused(tmp_path, name, lost, message):
    state = {key: tensor for key, tensor in shapes_of(name).items() if not re.search(lost, key)}
    with pytest.raises(UserError, match=message):
        load_model(REGISTRY.card(name), saved(tmp_path, state))


def shapes_of(name):
    """Names and shapes of the published checkpoint, no memory behind them."""
    with torch.device("meta"):
        tower = (
            SwinModel(SwinConfig()) if name == "medclip-vit" else timm.create_model("resnet50", num_classes=0)
        )
        heads = {
            "medclip-vit": {"vision_model.projection_head.weight": torch.empty(512, 768)},
            "medclip-rn50": {"vision_model.model.fc.weight": torch.empty(512, 2048)},
        }[name]
        heads |= {"text_model.projection_head.weight": torch.empty(512, 768), "logit_scale": torch.empty(())}
        text = {TEXT + key: torch.empty(shape) for key, shape in bert_shapes().items()}
    image = {IMAGE + swin_name_of_2022(key): tensor for key, tensor in tower.state_dict().items()}
    return image | text | heads


def test_first_release_of_the_vit_with_a_biased_text_projection_is_refused(tmp_path):
    state = shapes_of("medclip-vit") | {"text_model.projection_head.bias": torch.empty(512)}
    with pytest.raises(UserError, match=r"1 unexpected: text_model\.projection_head\.bias"):
        load_model(REGISTRY.card("medclip-vit"), saved(tmp_path, state))


def test_one_models_checkpoint_is_refused_by_the_other(tmp_path):
    with pytest.raises(UserError, match=r"missing.*unexpected"):
        load_model(REGISTRY.card("medclip-vit"), saved(tmp_path, shapes_of("medclip-rn50")))


def test_texts_without_a_tokenizer_name_the_file_and_its_place(setting):
    model = setting.model
    bare = type(model)(model.card, model.network, LocatedWeights(None, "x"), model.device, "fp32")
    assert bare.encode(pixels_for(model.card, 1)).features.shape == (1, model.card.dimension)
    with pytest.raises(MissingWeights, match=r"'vocab\.txt'.*emilyalsentzer/Bio_ClinicalBERT"):
        bare.encode_text(["edema"])
    with pytest.raises(UserError, match=r"reads at most 77"):
        model.encode_text(["mild " * 76])


@pytest.mark.parametrize("name", NAMES)
def test_missing_weights_are_named_with_their_page(tmp_path, name):
    with pytest.raises(
        MissingWeights, match=r"pytorch_model\.bin.*storage\.googleapis\.com/pytrial/medclip-.*licence"
    ):
        locate(REGISTRY.card(name), [tmp_path])


def test_a_file_of_the_bare_name_is_not_taken_for_a_model(tmp_path):
    # Many models' files are called so.
    (tmp_path / "pytorch_model.bin").write_bytes(b"another model's")
    with pytest.raises(MissingWeights):
        locate(REGISTRY.card("medclip-vit"), [tmp_path])


@pytest.mark.parametrize("name", NAMES)
def test_cards_tell_lengths_and_cost_of_the_network(name):
    card = REGISTRY.card(name)
    with torch.device("meta"):
        network = build(card)
    shape, cost = gflops(network["image"], card.preprocessing.size)
    assert shape == (1, card.dimension)
    assert cost == pytest.approx(card.gflops, rel=0.01)
    assert tuple(network["projection"].weight.shape) == (card.projected, card.dimension)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("MedCLIP", "medclip-vit"), ("MedCLIP_ViT", "medclip-vit"), ("MedCLIP-ResNet", "medclip-rn50")],
)
def test_the_papers_names_are_accepted(spelling, name):
    assert REGISTRY.card(spelling).name == name


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_is_the_processors_of_the_package(name):
    wanted = REGISTRY.card(name).preprocessing
    assert (wanted.size, wanted.resize, wanted.interpolation, wanted.colour) == (
        224,
        "pad-square",
        "bicubic",
        "gray",
    )
    assert (set(wanted.mean), set(wanted.std)) == ({0.5862785803043838}, {0.27950088968644304})
