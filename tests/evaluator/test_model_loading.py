import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from evaluator.models.interfaces import ImageEncoder, PromptableSegmenter, VisionLanguageModel
from evaluator.models.loading import load_model
from evaluator.models.registry import default_registry
from evaluator.models.state import load_state
from evaluator.models.weights import LocatedWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("tiny-clip", (ImageEncoder, VisionLanguageModel)),
        ("tiny-sam", (ImageEncoder, PromptableSegmenter)),
        ("timm:test_efficientnet@random", (ImageEncoder,)),
    ],
)
def test_models_have_the_interfaces_of_their_abilities(name, kinds):
    card = REGISTRY.card(name)
    model = load_model(card, locate(card))
    assert model.card == card
    for kind in (ImageEncoder, VisionLanguageModel, PromptableSegmenter):
        assert isinstance(model, kind) == (kind in kinds)


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-sam", "timm:test_efficientnet@random"])
def test_loaded_models_are_in_evaluation_mode_without_gradients(name):
    card = REGISTRY.card(name)
    model = load_model(card, locate(card))
    assert not any(module.training for module in model.network.modules())
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    pixels = torch.zeros(2, 3, card.preprocessing.size, card.preprocessing.size, dtype=torch.uint8)
    assert not model.encode(pixels).features.requires_grad


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-sam"])
def test_one_image_keeps_its_batch_axis(name):
    card = REGISTRY.card(name)
    pixels = torch.zeros(1, 3, card.preprocessing.size, card.preprocessing.size, dtype=torch.uint8)
    assert load_model(card, locate(card)).encode(pixels).features.shape == (1, card.dimension)


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-sam", "timm:test_efficientnet@random"])
def test_bfloat16_gives_float32_features_close_to_full_precision(name):
    card = REGISTRY.card(name)
    size = card.preprocessing.size
    pixels = torch.randint(
        0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    full = load_model(card, locate(card)).encode(pixels).features
    half = load_model(card, locate(card), precision="bf16").encode(pixels).features
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert torch.nn.functional.cosine_similarity(half, full).min() > 0.99


def half_of(state):
    return dict(list(state.items())[: len(state) // 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (half_of, r"\d+ missing: "),
        (lambda state: {**state, "extra.weight": torch.ones(1)}, "1 unexpected: extra.weight"),
        (lambda state: {f"encoder.{name}": tensor for name, tensor in state.items()}, "missing.*unexpected"),
        (
            lambda state: {name: tensor[None] for name, tensor in state.items()},
            r"of another shape.*expected \[",
        ),
    ],
)
@pytest.mark.parametrize("name", ["tiny-clip", "tiny-sam"])
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, name, change, message):
    card = REGISTRY.card(name)
    path = tmp_path / "w.safetensors"
    save_file(change(load_state(locate(card).path)), path)
    with pytest.raises(UserError, match=message) as caught:
        load_model(card, LocatedWeights(path, "x"))
    assert name in str(caught.value)
    assert str(caught.value).count(",") < 60


def test_unknown_precision_device_and_family_are_refused():
    card = REGISTRY.card("tiny-clip")
    weights = locate(card)
    with pytest.raises(UserError, match="'fp32' or 'bf16', got 'fp16'"):
        load_model(card, weights, precision="fp16")
    with pytest.raises(UserError, match="got 'gpu'"):
        load_model(card, weights, device="gpu")
    with pytest.raises(UserError, match=r"cuda:99.*'cpu'"):
        load_model(card, weights, device="cuda:99")
    with pytest.raises(UserError, match="did you mean 'timm'"):
        load_model(dataclasses.replace(card, family="tim"), weights)
    with pytest.raises(UserError, match="cannot be imported"):
        load_model(dataclasses.replace(card, family="no_such_module:load"), weights)


def test_plugin_family_is_called_with_card_weights_device_and_precision(tmp_path, monkeypatch):
    (tmp_path / "my_family.py").write_text("def load(*arguments):\n    return arguments\n")
    monkeypatch.syspath_prepend(tmp_path)
    card = dataclasses.replace(REGISTRY.card("tiny-clip"), family="my_family:load")
    weights = LocatedWeights(None, "x")
    assert load_model(card, weights, precision="bf16") == (card, weights, torch.device("cpu"), "bf16")


def test_global_random_state_is_left_alone():
    card = REGISTRY.card("timm:test_efficientnet@random")
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    load_model(card, locate(card))
    assert torch.equal(torch.rand(3), expected)
