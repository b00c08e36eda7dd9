import dataclasses
import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from evaluator.models.interfaces import Similarity
from evaluator.models.loading import load_model
from evaluator.models.preprocess import normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
ARCHITECTURES = {
    "fairray-vit": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "patch_size": 8, "head_width": 16},
        "text_cfg": TEXT,
    },
    "fairray-quick": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "patch_size": 8, "head_width": 16},
        "text_cfg": TEXT,
    },
    "fairray-outside": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "patch_size": 8, "head_width": 16},
        "text_cfg": {**TEXT, "hf_tokenizer_name": "some/hub-page"},
    },
    "fairray-resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8},
        "text_cfg": TEXT,
    },
    "fairray-sigmoid": {
        "embed_dim": 64,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "token",
            "timm_proj": "none",
        },
        "text_cfg": {**TEXT, "width": 64},
    },
    "fairray-timm-linear": {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_resnet",
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": TEXT,
    },
    "fairray-timm-classifier": {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "token",
            "timm_proj": None,
        },
        "text_cfg": TEXT,
    },
}
TEXTS = ["a chest X-ray of a patient with edema", "no finding", "a photo of a cat"]


@pytest.fixture(scope="module", autouse=True)
def architectures(tmp_path_factory):
    """Small architectures of every kind, known to open_clip for the time of this module."""
    folder = tmp_path_factory.mktemp("configs")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


def published(name):
    """Return open_clip's own network with random weights that are not the initial ones."""
    torch.manual_seed(0)
    network = open_clip.create_model(name, pretrained=None, load_weights=False).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 0:
                parameter.add_(torch.randn_like(parameter) * 0.02)
        network.logit_scale.fill_(2.5)
    return network.requires_grad_(False)  # torch takes other kernels for trainable attention: other last bits


def load(name, network, folder):
    path = folder / "w.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    card = REGISTRY.card(f"openclip:{name}@{path}")
    return load_model(card, locate(card))


def save_tokenizer(folder, pad):
    """Write a tokenizer's file as the tokenizers library does, and what transformers keeps beside it."""
    words = {
        pad: 0,
        "[UNK]": 1,
        "[CLS]": 2,
        "[SEP]": 3,
        "chest": 4,
        "of": 5,
        "&": 6,
        "x": 7,
        "ray": 8,
        "-": 9,
    }
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    made.save(str(folder / "tokenizer.json"))
    kept = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(kept))


def pixels_for(card, count=3):
    size = card.preprocessing.size
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_projected_features_equal_open_clips_encode_image(tmp_path, name):
    network = published(name)
    model = load(name, network, tmp_path)
    pixels = pixels_for(model.card)
    features, projected = model.encode(pixels)
    with torch.inference_mode():
        expected = network.encode_image(normalise(pixels, model.card.preprocessing))
    assert torch.equal(projected, expected)
    assert features.shape == (3, model.card.dimension)
    assert projected.shape == (3, model.card.projected)


def test_features_before_the_projection_are_those_the_projection_was_applied_to(tmp_path):
    network = published("fairray-vit")
    features, projected = load("fairray-vit", network, tmp_path).encode(
        pixels_for(REGISTRY.card("openclip:fairray-vit@x"))
    )
    assert features.shape == (3, 48)
    with torch.inference_mode():
        torch.testing.assert_close(features @ network.visual.proj, projected)


@pytest.mark.parametrize("name", ["fairray-vit", "fairray-sigmoid"])
def test_text_features_equal_open_clips_encode_text(tmp_path, name):
    network = published(name)
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    with torch.inference_mode():
        expected = network.encode_text(tokens)
    torch.testing.assert_close(
        load(name, network, tmp_path).encode_text(TEXTS), expected, rtol=1e-5, atol=1e-5
    )


def test_a_texts_embedding_does_not_depend_on_the_other_texts(tmp_path):
    model = load("fairray-vit", published("fairray-vit"), tmp_path)
    many = model.encode_text([f"finding number {i}" for i in range(40)])
    assert many.shape == (40, 24)
    assert torch.equal(many[:1], model.encode_text(["finding number 0"]))
    assert torch.equal(many[37:38], model.encode_text(["other"] * 5 + ["finding number 37"])[5:])


def test_long_texts_are_refused_instead_of_cut(tmp_path):
    model = load("fairray-vit", published("fairray-vit"), tmp_path)
    with pytest.raises(UserError, match=r"52 tokens.*at most 24"):
        model.encode_text(["short", "word " * 50])
    with pytest.raises(ValueError, match="at least one"):
        model.encode_text([])


def test_similarity_is_the_models_own(tmp_path):
    softmax = load("fairray-vit", published("fairray-vit"), tmp_path).similarity
    assert softmax == Similarity("softmax", pytest.approx(12.182494), 0.0)
    sigmoid = load("fairray-sigmoid", published("fairray-sigmoid"), tmp_path).similarity
    assert sigmoid == Similarity("sigmoid", pytest.approx(12.182494), pytest.approx(-10.0))


def test_activation_is_part_of_the_architecture(tmp_path):
    # The same tensors with another activation would load without a word and give other features.
    network = published("fairray-quick")
    quick, plain = load("fairray-quick", network, tmp_path), load("fairray-vit", network, tmp_path)
    pixels = pixels_for(quick.card)
    assert not torch.allclose(quick.encode(pixels).projected, plain.encode(pixels).projected, atol=1e-3)


def test_checkpoint_in_the_two_tower_layout_without_text_prefix_is_converted(tmp_path):
    network = published("fairray-sigmoid")
    flat = {name.removeprefix("text."): tensor for name, tensor in network.state_dict().items()}
    flat["logit_scale"] = flat["logit_scale"].reshape(1)
    save_file(flat, tmp_path / "flat.safetensors")
    card = REGISTRY.card(f"openclip:fairray-sigmoid@{tmp_path / 'flat.safetensors'}")
    converted = load_model(card, locate(card))
    assert torch.equal(
        converted.encode_text(TEXTS), load("fairray-sigmoid", network, tmp_path).encode_text(TEXTS)
    )


def test_numbers_that_openai_stored_beside_the_weights_are_ignored(tmp_path):
    network = published("fairray-vit")
    extra = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(24),
        "vocab_size": torch.tensor(9),
    }
    torch.save({"state_dict": {**network.state_dict(), **extra}}, tmp_path / "w.pth")
    card = REGISTRY.card(f"openclip:fairray-vit@{tmp_path / 'w.pth'}")
    assert load_model(card, locate(card)).encode(pixels_for(card)).projected.shape == (3, 24)


def test_checkpoint_of_one_tower_is_refused(tmp_path):
    state = {k: v for k, v in published("fairray-vit").state_dict().items() if k.startswith("visual.")}
    save_file(state, tmp_path / "w.safetensors")
    card = REGISTRY.card(f"openclip:fairray-vit@{tmp_path / 'w.safetensors'}")
    with pytest.raises(UserError, match=r"missing: positional_embedding, text_projection"):
        load_model(card, locate(card))


def test_tokenizer_from_outside_is_asked_for_only_when_text_comes(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    network = published("fairray-outside")
    model = load("fairray-outside", network, tmp_path)
    assert model.encode(pixels_for(model.card)).features.shape == (3, 48)
    with pytest.raises(MissingWeights, match=r"tokenizer 'tokenizer\.json'.*huggingface\.co/some/hub-page"):
        model.encode_text(["text"])
    save_tokenizer(tmp_path, pad="[PAD]")
    tokens = torch.tensor([[2, 4, 3, *[0] * 21]])
    with torch.inference_mode():
        expected = network.encode_text(tokens)
    found = load("fairray-outside", network, tmp_path).encode_text(["chest"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_shipped_tiny_clip_scores_text_offline():
    card = REGISTRY.card("tiny-clip")
    model = load_model(card, locate(card))
    texts = model.encode_text(["a", "b"])
    assert texts.shape == (2, card.projected)
    assert not torch.equal(texts[0], texts[1])
    assert model.similarity.rule == "softmax"
    assert 1 < model.similarity.scale <= 100.01
    with pytest.raises(UserError, match="at most 80"):
        model.encode_text(["x" * 79])


@pytest.mark.slow
def test_published_layout_of_clip_vit_b32_loads_and_gives_open_clips_features(tmp_path):
    torch.manual_seed(0)
    network = (
        open_clip.create_model("ViT-B-32-quickgelu", pretrained=None, load_weights=False)
        .eval()
        .requires_grad_(False)
    )
    path = tmp_path / "open_clip_model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
    card = REGISTRY.card("clip-vit-b32")
    model = load_model(card, LocatedWeights(path, "x"))
    pixels = pixels_for(card)
    features, projected = model.encode(pixels)
    with torch.inference_mode():
        expected = network.encode_image(normalise(pixels, card.preprocessing))
        texts = network.encode_text(open_clip.get_tokenizer("ViT-B-32-quickgelu")(TEXTS))
    assert torch.equal(projected, expected)
    assert features.shape == (3, 768)
    torch.testing.assert_close(model.encode_text(TEXTS), texts, rtol=1e-4, atol=1e-5)
    half = {name: tensor for name, tensor in network.state_dict().items() if "resblocks.11" not in name}
    save_file({name: tensor.contiguous() for name, tensor in half.items()}, path)
    with pytest.raises(UserError, match=r"24 missing: visual.transformer.resblocks.11"):
        load_model(dataclasses.replace(card), LocatedWeights(path, "x"))
