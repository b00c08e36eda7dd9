"""PubMedCLIP: files in half precision with OpenAI's names give the features of independent implementations."""

import dataclasses
import math

import pytest
import torch
from open_clip import SimpleTokenizer
from published_layouts import drawn, openai_resnet, openai_text, openai_vit
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from evaluator.models.families.openclip import build
from evaluator.models.interfaces import Similarity
from evaluator.models.loading import load_model
from evaluator.models.preprocess import normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
TEXTS = ["a chest X-ray of a patient with edema", "no finding", "MRI"]
WORDS = 49408
#: Sizes of text towers and projections: (width, heads, layers, projected).
FULL_TEXT, X4_TEXT, SMALL_TEXT = (512, 8, 12), (640, 10, 12), (32, 4, 2)
VIT = {"width": 768, "layers": 12, "patch": 32, "image": 224, "projected": 512}
SMALL_VIT = {"width": 48, "layers": 2, "patch": 32, "image": 224, "projected": 24}
RESNET = {"width": 64, "layers": (3, 4, 6, 3), "image": 224, "projected": 1024}
RESNET_X4 = {"width": 80, "layers": (4, 6, 10, 6), "image": 288, "projected": 640}
SMALL_RESNET = {"width": 16, "layers": (1, 2, 1, 1), "image": 64, "projected": 24}
#: Endings of the names that OpenAI's code keeps in single precision.
_SINGLE = ("embedding", "embedding.weight", "logit_scale", "num_batches_tracked")


def layout(tower, sizes, text):
    width, _, layers = text
    words = openai_text("", width=width, layers=layers, words=WORDS, places=77, projected=sizes["projected"])
    return {**tower(**sizes), **words, "logit_scale": ()}


def published(shapes, **changes):
    """Return a file as its training wrote it: matrices in half precision, norms and embeddings in single."""
    state = {**drawn(shapes), "logit_scale": torch.tensor(4.6), **changes}
    for name, tensor in state.items():
        norm = (
            any(part.startswith(("ln_", "bn", "downsample")) for part in name.split("."))
            and "downsample.0" not in name
        )
        if not norm and not name.endswith(_SINGLE) and tensor.is_floating_point():
            state[name] = tensor.half()
    optimiser = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-5}]}
    return {"best_epoch": 7, "state_dict": state, "optimizer_state_dict": optimiser, "best_loss": 1.5}


def small_card(name, sizes, vision):
    width, heads, layers = SMALL_TEXT
    card = REGISTRY.card(name)
    text = {"width": width, "heads": heads, "layers": layers, "vocab_size": WORDS, "context_length": 77}
    return dataclasses.replace(
        card,
        options={
            "embed_dim": sizes["projected"],
            "vision_cfg": {"image_size": sizes["image"], **vision},
            "text_cfg": text,
        },
        preprocessing=dataclasses.replace(card.preprocessing, size=sizes["image"]),
    )


SMALL_VIT_CARD = small_card(
    "pubmedclip-vit-b32", SMALL_VIT, {"width": 48, "layers": 2, "patch_size": 32, "head_width": 12}
)
SMALL_RESNET_CARD = small_card(
    "pubmedclip-rn50", SMALL_RESNET, {"width": 16, "layers": [1, 2, 1, 1], "head_width": 16}
)


def load(card, file, folder):
    (folder / card.name).mkdir(exist_ok=True)
    torch.save(file, folder / card.name / card.weights.file)
    return load_model(card, locate(card, [folder]))


def pixels(size, count=2):
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def single(file):
    return {name: tensor.float() for name, tensor in file["state_dict"].items()}


def as_transformers(state, vision, text):
    """Return the CLIP of transformers with the weights of a state of OpenAI's names."""
    config = CLIPConfig(
        vision_config={
            "hidden_size": vision["width"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["heads"],
            "intermediate_size": 4 * vision["width"],
            "patch_size": vision["patch"],
        },
        text_config={
            "hidden_size": text[0],
            "num_attention_heads": text[1],
            "num_hidden_layers": text[2],
            "intermediate_size": 4 * text[0],
            "vocab_size": WORDS,
        },
        projection_dim=vision["projected"],
    )
    network = CLIPModel(config).eval().requires_grad_(False)
    renamed = {}
    for name, tensor in state.items():
        renamed.update(_renamed(name, tensor))
    loaded = network.load_state_dict(renamed, strict=False)
    assert loaded.unexpected_keys == []
    assert all("position_ids" in name for name in loaded.missing_keys)
    return network


_RENAMED = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
    "token_embedding": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_WITHIN_BLOCK = {"attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2"}
_WITHIN_BLOCK |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}


def _renamed(name, tensor):
    if "resblocks." not in name:
        for start, other in _RENAMED.items():
            if name.startswith(start):
                flipped = tensor.T if name in ("visual.proj", "text_projection") else tensor
                return {other + name.removeprefix(start): flipped}
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    number, _, rest = name.partition("resblocks.")[2].partition(".")
    block = f"{tower}.encoder.layers.{number}"
    if "in_proj_" in rest:
        kind = rest.removeprefix("attn.in_proj_")
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{block}.self_attn.{letter}_proj.{kind}": part for letter, part in parts}
    ours, _, kind = rest.rpartition(".")
    return {f"{block}.{_WITHIN_BLOCK[ours]}.{kind}": tensor}


def check_vit(card, sizes, heads, text, folder):
    file = published(layout(openai_vit, sizes, text))
    model = load(card, file, folder)
    reference = as_transformers(single(file), {**sizes, "heads": heads}, text)
    images = pixels(224)
    features, projected = model.encode(images)
    with torch.inference_mode():
        pooled = reference.vision_model(normalise(images, card.preprocessing)).pooler_output
        torch.testing.assert_close(features, pooled, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(projected, reference.visual_projection(pooled), rtol=1e-4, atol=1e-4)
        tokens = SimpleTokenizer()(TEXTS)
        expected = reference.text_projection(reference.text_model(tokens).pooler_output)
    torch.testing.assert_close(model.encode_text(TEXTS), expected, rtol=1e-4, atol=1e-4)
    assert model.encode(images[:1]).features.shape == (1, sizes["width"])
    return model


def test_vit_gives_the_features_of_transformers_with_quick_gelu(tmp_path):
    model = check_vit(SMALL_VIT_CARD, SMALL_VIT, 4, SMALL_TEXT, tmp_path)
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_vit_in_full_size_gives_the_features_of_transformers(tmp_path):
    check_vit(REGISTRY.card("pubmedclip-vit-b32"), VIT, 12, FULL_TEXT, tmp_path)


def resnet_by_hand(state, layers, heads, images):
    """Compute OpenAI's residual network from its tensors: blurred strides, three convolutions first, attention last."""

    def step(value, convolution, norm, padding=0, stride=1):
        value = functional.conv2d(
            value, state[f"visual.{convolution}.weight"], stride=stride, padding=padding
        )
        names = (f"visual.{norm}.{part}" for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(value, *(state[name] for name in names))

    value = step(images, "conv1", "bn1", 1, 2).relu()
    value = step(value, "conv2", "bn2", 1).relu()
    value = functional.avg_pool2d(step(value, "conv3", "bn3", 1).relu(), 2)
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = step(value, f"{name}.conv1", f"{name}.bn1").relu()
            inner = step(inner, f"{name}.conv2", f"{name}.bn2", 1).relu()
            inner = step(functional.avg_pool2d(inner, stride), f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                value = step(
                    functional.avg_pool2d(value, stride), f"{name}.downsample.0", f"{name}.downsample.1"
                )
            value = (inner + value).relu()
    tokens = value.flatten(2).transpose(1, 2)
    tokens = (
        torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + state["visual.attnpool.positional_embedding"]
    )

    def project(name, given):
        weight, bias = (state[f"visual.attnpool.{name}.{part}"] for part in ("weight", "bias"))
        return given @ weight.T + bias

    def split(given):
        return given.unflatten(2, (heads, -1)).transpose(1, 2)

    query, key, answer = (split(project(f"{letter}_proj", tokens)) for letter in "qkv")
    scores = query[:, :, :1] @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
    pooled = (scores.softmax(-1) @ answer).transpose(1, 2).flatten(1)
    return value.mean((2, 3)), project("c_proj", pooled)


def check_resnet(card, sizes, heads, text, folder):
    file = published(layout(openai_resnet, sizes, text))
    model = load(card, file, folder)
    images = pixels(sizes["image"])
    features, projected = model.encode(images)
    with torch.inference_mode():
        expected = resnet_by_hand(single(file), sizes["layers"], heads, normalise(images, card.preprocessing))
    for ours, theirs in zip((features, projected), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()))
    assert model.encode(images[:1]).features.shape == (1, 32 * sizes["width"])


def test_resnet_gives_the_features_computed_by_hand(tmp_path):
    check_resnet(SMALL_RESNET_CARD, SMALL_RESNET, 32, SMALL_TEXT, tmp_path)


@pytest.mark.slow
def test_resnet_in_full_size_gives_the_features_computed_by_hand(tmp_path):
    check_resnet(REGISTRY.card("pubmedclip-rn50"), RESNET, 32, FULL_TEXT, tmp_path)


@pytest.mark.parametrize(
    ("name", "tower", "sizes", "text"),
    [
        ("pubmedclip-vit-b32", openai_vit, VIT, FULL_TEXT),
        ("pubmedclip-rn50", openai_resnet, RESNET, FULL_TEXT),
        ("pubmedclip-rn50x4", openai_resnet, RESNET_X4, X4_TEXT),
    ],
)
def test_networks_have_the_published_names_and_shapes_at_full_size(name, tower, sizes, text):
    with torch.device("meta"):
        own = {key: tuple(tensor.shape) for key, tensor in build(REGISTRY.card(name)).state_dict().items()}
    assert own == layout(tower, sizes, text)


def test_scale_is_the_learned_one_without_the_factor_of_its_training(tmp_path):
    model = load(SMALL_VIT_CARD, published(layout(openai_vit, SMALL_VIT, SMALL_TEXT)), tmp_path)
    assert model.similarity == Similarity("softmax", pytest.approx(math.exp(4.6), rel=1e-6), 0.0)
    assert model.similarity.scale != pytest.approx(math.exp(0.01) / math.exp(0.07) * math.exp(4.6), rel=0.05)


def test_file_of_the_other_image_tower_is_refused(tmp_path):
    file = published(layout(openai_resnet, SMALL_RESNET, SMALL_TEXT))
    with pytest.raises(UserError, match=r"missing: visual\.class_embedding.*unexpected: visual\.bn1"):
        load(SMALL_VIT_CARD, file, tmp_path)


def test_file_that_lacks_a_tensor_is_refused(tmp_path):
    file = published(layout(openai_resnet, SMALL_RESNET, SMALL_TEXT))
    del file["state_dict"]["visual.layer2.1.bn2.running_var"]
    with pytest.raises(UserError, match=r"1 missing: visual\.layer2\.1\.bn2\.running_var"):
        load(SMALL_RESNET_CARD, file, tmp_path)


def test_papers_name_means_the_vision_transformer():
    assert REGISTRY.card("PubMedCLIP").name == "pubmedclip-vit-b32"
