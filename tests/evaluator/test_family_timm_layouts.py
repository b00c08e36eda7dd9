"""Image encoders of timm's architectures in their publishers' own checkpoint layouts."""

import argparse
import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from transformer_layouts import drawn, length_and_gflops, mae_shapes, redrawn, vit_shapes, vit_tokens

from evaluator.models.families import timm as family
from evaluator.models.loading import fill, load_model
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
RADIOGRAPHS = ["medmae", "moco-cxr-rn18", "moco-cxr-rn50", "moco-cxr-densenet121", "c2l-rn18"]
RETINA = ["retfound-cfp", "retfound-oct", "retfound-dinov2-meh"]
PATHOLOGY = ["uni2-h", "virchow2", "prov-gigapath"]
EVERY = [*RADIOGRAPHS, *RETINA, *PATHOLOGY, "lvm-med-rn50"]
CONVOLUTIONAL = {
    "moco-cxr-rn18": torchvision.models.resnet18,
    "moco-cxr-rn50": torchvision.models.resnet50,
    "moco-cxr-densenet121": torchvision.models.densenet121,
    "c2l-rn18": torchvision.models.resnet18,
    "lvm-med-rn50": torchvision.models.resnet50,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels_for(card, count=1):
    size = card.preprocessing.size
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def by_hand(card, pixels):
    """Normalise with torchvision, independently of ours."""
    from torchvision.transforms.v2.functional import normalize

    return normalize(pixels.float() / 255, list(card.preprocessing.mean), list(card.preprocessing.std))


def placed(card, folder, content):
    """Save a checkpoint where the card's file is looked for, and find it there."""
    path = folder / card.name / card.weights.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        # The older ones are from before torch 1.6, which had another format.
        older = card.name.startswith(("c2l", "moco"))
        torch.save(content, path, _use_new_zipfile_serialization=not older)
    return locate(card, [folder])


def features(card, folder, content, pixels):
    return load_model(card, placed(card, folder, content)).encode(pixels).features


# Convolutional encoders, at their full size.


@cache
def trunk(name, seed=0):
    """The publisher's trunk as torchvision builds it, without any head; shared, so never to be changed."""
    network = CONVOLUTIONAL[name](weights=None)
    if name.endswith("densenet121"):
        network.classifier = torch.nn.Identity()
    else:
        network.fc = torch.nn.Identity()
    return redrawn(network, seed)


def head(name, width):
    """Names and shapes of a contrastive head of two layers, 128 at its end, as MoCo-CXR trained them."""
    return {
        f"{name}.0.weight": (width, width),
        f"{name}.0.bias": (width,),
        f"{name}.2.weight": (128, width),
        f"{name}.2.bias": (128,),
    }


def moco_file(name, state, seed=0):
    """What MoCo-CXR's training saves: both encoders with their heads, the queue, the optimiser."""
    card = REGISTRY.card(name)
    layers = head("classifier" if name.endswith("densenet121") else "fc", card.dimension)
    other = drawn({key: tensor.shape for key, tensor in state.items()}, seed + 1)
    query = {**state, **drawn(layers, seed + 2)}
    key = {**other, **drawn(layers, seed + 3)}
    return {
        "epoch": 20,
        "arch": card.architecture,
        "state_dict": {
            **{f"module.encoder_q.{name}": tensor for name, tensor in query.items()},
            **{f"module.encoder_k.{name}": tensor for name, tensor in key.items()},
            "module.queue": drawn({"queue": (128, 24576)})["queue"],
            "module.queue_ptr": torch.zeros(1, dtype=torch.long),
        },
        "optimizer": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-4}]},
    }


def c2l_file(state, seed=0):
    """What C2L's training saves: encoder with its head, its slow copy, the memory, options."""
    full = {**state, **drawn({"fc.weight": (128, 512), "fc.bias": (128,)}, seed + 2)}
    slow = drawn({key: tensor.shape for key, tensor in full.items()}, seed + 1)
    return {
        "opt": argparse.Namespace(model="resnet18", batch_size=128),
        "model": {f"encoder.module.{name}": tensor for name, tensor in full.items()},
        "model_ema": {f"encoder.module.{name}": tensor for name, tensor in slow.items()},
        "contrast": {"params": torch.ones(5), "memory": torch.ones(16, 128)},
        "epoch": 240,
    }


def convolutional_file(name, state, seed=0):
    if name.startswith("moco"):
        return moco_file(name, state, seed)
    return c2l_file(state, seed) if name == "c2l-rn18" else state


def inner_states(content):
    """The named tensors of the encoder's own wrapper, wherever a publisher puts it."""
    return content.get("state_dict") or content.get("model") or content.get("teacher") or content


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_features_of_published_convolutional_checkpoints_equal_those_of_torchvisions_trunk(name, tmp_path):
    card = REGISTRY.card(name)
    published = trunk(name)
    pixels = pixels_for(card, 2)
    found = features(card, tmp_path, convolutional_file(name, published.state_dict()), pixels)
    with torch.inference_mode():
        expected = published(by_hand(card, pixels))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.shape == (2, card.dimension)


@pytest.mark.parametrize("name", ["moco-cxr-rn18", "c2l-rn18"])
def test_contrastive_features_are_the_trunks_and_never_those_of_a_head_or_of_random_layers(name, tmp_path):
    card = REGISTRY.card(name)
    pixels = pixels_for(card)
    state = trunk(name).state_dict()
    first = features(card, tmp_path / "a", convolutional_file(name, state), pixels)
    # Loading again, with another state of the random generator, gives the same bits.
    torch.manual_seed(123)
    assert torch.equal(features(card, tmp_path / "a", convolutional_file(name, state), pixels), first)
    # Other heads, slow encoders and queues change nothing;
    assert torch.equal(features(card, tmp_path / "b", convolutional_file(name, state, 50), pixels), first)
    # another trunk does.
    other = features(card, tmp_path / "c", convolutional_file(name, trunk(name, 9).state_dict()), pixels)
    assert not torch.allclose(other, first, rtol=0.1)
    assert first.shape == (1, card.dimension)
    assert card.dimension != 128
    assert (first >= 0).all()  # averages after a rectifier; a head's outputs would have both signs
    assert float(first.norm()) != pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["moco-cxr-rn18", "c2l-rn18"])
def test_every_tensor_of_the_network_is_the_files(name, tmp_path):
    card = REGISTRY.card(name)
    state = trunk(name).state_dict()
    model = load_model(card, placed(card, tmp_path, convolutional_file(name, state)))
    own = model.network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], state[key]) for key in own)


def test_files_are_read_once_and_onto_the_cpu(tmp_path, monkeypatch):
    card = REGISTRY.card("c2l-rn18")
    located = placed(card, tmp_path, convolutional_file("c2l-rn18", trunk("c2l-rn18").state_dict()))
    calls = []
    real = torch.load

    def spy(path, **options):
        calls.append(options["map_location"])
        return real(path, **options)

    monkeypatch.setattr(torch, "load", spy)
    model = load_model(card, located)
    assert set(calls) == {"cpu"}
    assert {tensor.device.type for tensor in model.network.state_dict().values()} == {"cpu"}


def test_checkpoint_without_counters_of_training_steps_fits(tmp_path):
    card = REGISTRY.card("lvm-med-rn50")
    state = trunk("lvm-med-rn50").state_dict()
    bare = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(bare) < len(state)
    pixels = pixels_for(card)
    assert torch.equal(
        features(card, tmp_path / "a", bare, pixels), features(card, tmp_path / "b", state, pixels)
    )


# Transformers: small ones of the same options numerically, full ones by names and shapes.


def small(card, **options):
    """The card of a network of the same kind that is quick to run."""
    return dataclasses.replace(card, options={**card.options, **options})


def mae_file(shapes, seed=0):
    """What the training of a masked autoencoder saves."""
    return {
        "model": drawn(shapes, seed),
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "epoch": 799,
        "scaler": {"scale": 1.0},
        "args": argparse.Namespace(model="mae_vit_base_patch16", mask_ratio=0.9),
    }


def dinov2_file(shapes, seed=0):
    """What DINOv2's training saves of the teacher: the encoder, its mask token and the heads of both losses."""
    heads = {
        f"{kind}.{name}": shape
        for kind in ("dino_head", "ibot_head")
        for name, shape in {
            "mlp.0.weight": (32, 16),
            "mlp.0.bias": (32,),
            "last_layer.weight_g": (8, 1),
            "last_layer.weight_v": (8, 16),
        }.items()
    }
    width = shapes["cls_token"][-1]
    encoder = {f"backbone.{name}": shape for name, shape in {**shapes, "mask_token": (1, width)}.items()}
    return {"teacher": drawn({**encoder, **heads}, seed)}


#: Published name -> (options of a small network, its shapes, heads, gated).
SMALL = {
    "medmae": (
        {"depth": 2, "embed_dim": 64, "num_heads": 4},
        mae_shapes(2, 64, decoder_depth=1, decoder_width=32),
        4,
        False,
    ),
    "retfound-cfp": (
        {"depth": 3, "embed_dim": 96, "num_heads": 4},
        mae_shapes(3, 96, decoder_depth=2, decoder_width=32),
        4,
        False,
    ),
    "retfound-oct": (
        {"depth": 2, "embed_dim": 64, "num_heads": 2},
        mae_shapes(2, 64, decoder_depth=1, decoder_width=32),
        2,
        False,
    ),
    "retfound-dinov2-meh": (
        {"depth": 2, "embed_dim": 64, "num_heads": 4},
        vit_shapes(2, 64, patch=14, hidden=256, positions=257, scaled=True),
        4,
        False,
    ),
    "uni2-h": (
        {"depth": 2, "embed_dim": 48, "num_heads": 3},
        vit_shapes(2, 48, patch=14, hidden=128, positions=256, gated=True, scaled=True, registers=8),
        3,
        True,
    ),
    "virchow2": (
        {"depth": 2, "embed_dim": 80, "num_heads": 4},
        # 80 x 5.3375 = 427 is odd; a ratio of 5.3 gives 424.
        vit_shapes(2, 80, patch=14, hidden=212, positions=261, gated=True, scaled=True, registers=4),
        4,
        True,
    ),
    "prov-gigapath": (
        {"depth": 2, "embed_dim": 48, "num_heads": 3},
        vit_shapes(2, 48, patch=16, hidden=128, positions=197, gated=True, scaled=True),
        3,
        True,
    ),
}
SMALL["virchow2"][0]["mlp_ratio"] = 5.3


def transformer_file(name, shapes, seed=0):
    if name == "retfound-dinov2-meh":
        return dinov2_file(shapes, seed)
    return drawn(shapes, seed) if name in PATHOLOGY else mae_file(shapes, seed)


def encoder_of(name, content):
    state = inner_states(content)
    if name == "retfound-dinov2-meh":
        return {key.removeprefix("backbone."): t for key, t in state.items() if key.startswith("backbone.")}
    return {key: t for key, t in state.items() if not key.startswith("decoder_")}


def pooled_by_hand(name, tokens):
    """The features that the cards promise, from the tokens after the last norm."""
    if name in ("retfound-cfp", "retfound-oct"):
        return tokens[:, 1:].mean(dim=1)
    if name == "virchow2":
        return torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1)
    return tokens[:, 0]


@pytest.mark.parametrize("name", SMALL)
def test_features_of_published_transformer_layouts_equal_the_papers_formula(name, tmp_path):
    options, shapes, heads, gated = SMALL[name]
    card = small(REGISTRY.card(name), **options)
    content = transformer_file(name, shapes)
    pixels = pixels_for(card, 2)
    found = features(card, tmp_path, content, pixels)
    tokens = vit_tokens(encoder_of(name, content), by_hand(card, pixels), heads, gated=gated)
    expected = pooled_by_hand(name, tokens)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.shape[0] == 2


@pytest.mark.slow
def test_medmae_at_its_full_size_equals_the_papers_formula(tmp_path):
    card = REGISTRY.card("medmae")
    content = mae_file(mae_shapes(12, 768, decoder_depth=8, decoder_width=512))
    pixels = pixels_for(card)
    found = features(card, tmp_path, content, pixels)
    with torch.inference_mode():
        tokens = vit_tokens(encoder_of("medmae", content), by_hand(card, pixels), 12)
    torch.testing.assert_close(found, tokens[:, 0], rtol=1e-4, atol=1e-4)
    assert found.shape == (1, 768)


#: Names and shapes of the publishers' files of more than 150 million parameters.
FULL = {
    "retfound-cfp": mae_shapes(24, 1024, decoder_depth=8, decoder_width=512),
    "retfound-oct": mae_shapes(24, 1024, decoder_depth=8, decoder_width=512),
    "retfound-dinov2-meh": vit_shapes(24, 1024, patch=14, hidden=4096, positions=257, scaled=True),
    "uni2-h": vit_shapes(
        24, 1536, patch=14, hidden=4096, positions=256, gated=True, scaled=True, registers=8
    ),
    "virchow2": vit_shapes(
        32, 1280, patch=14, hidden=3416, positions=261, gated=True, scaled=True, registers=4
    ),
    "prov-gigapath": vit_shapes(40, 1536, patch=16, hidden=4096, positions=197, gated=True, scaled=True),
}


def on_meta(name, content_shapes):
    """Build a card's full network without memory, and tensors of a file's names and shapes without memory."""
    card = REGISTRY.card(name)
    with torch.device("meta"):
        network = family.build(card)
        state = {key: torch.empty(shape) for key, shape in content_shapes.items()}
    return card, network, state


def in_file(name, shapes):
    """The names as the reader of files gives them: wrappers taken off, prefixes kept."""
    if name != "retfound-dinov2-meh":
        return shapes
    return {f"backbone.{key}": shape for key, shape in shapes.items()} | {
        "backbone.mask_token": (1, 1024),
        "dino_head.mlp.0.weight": (2048, 1024),
        "ibot_head.last_layer.weight_g": (65536, 1),
    }


@pytest.mark.parametrize("name", FULL)
def test_large_networks_take_every_tensor_of_their_published_files(name):
    card, network, state = on_meta(name, in_file(name, FULL[name]))
    fill(network, family.matching(card, network, state), card)
    own = set(network.state_dict())
    left_out = ("decoder_", "mask_token")
    assert own == {key for key in FULL[name] if not key.startswith(left_out)}


@pytest.mark.parametrize(
    ("name", "millions"), [("retfound-cfp", 303), ("uni2-h", 681), ("virchow2", 631), ("prov-gigapath", 1135)]
)
def test_large_networks_have_the_published_number_of_parameters(name, millions):
    _, network, _ = on_meta(name, {})
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == millions


def test_position_embedding_of_dinov2s_larger_images_is_resampled(tmp_path):
    options, shapes, *_ = SMALL["retfound-dinov2-meh"]
    card = small(REGISTRY.card("retfound-dinov2-meh"), **options)
    larger = {**shapes, "pos_embed": (1, 1 + 37 * 37, 64)}
    found = features(card, tmp_path, dinov2_file(larger), pixels_for(card))
    assert found.shape == (1, 64)
    assert found.isfinite().all()


# What must not be loaded.


def smallest(name):
    """A card and a file of it that are quick to make."""
    if name in CONVOLUTIONAL:
        return REGISTRY.card(name), convolutional_file(name, trunk(name).state_dict())
    options, shapes, *_ = SMALL[name]
    return small(REGISTRY.card(name), **options), transformer_file(name, shapes)


@pytest.mark.parametrize("name", ["moco-cxr-rn18", "moco-cxr-densenet121", "c2l-rn18", *SMALL])
def test_checkpoint_that_lacks_a_tensor_on_the_feature_path_is_refused(name, tmp_path):
    card, content = smallest(name)
    state = inner_states(content)
    prefix = "module." * name.startswith("moco") + card.options.get("checkpoint", {}).get("prefix", "")
    lost = "layer4.0.conv1.weight" if name in CONVOLUTIONAL else "blocks.1.attn.qkv.weight"
    if name.endswith("densenet121"):
        lost = "features.denseblock4.denselayer1.conv1.weight"
    del state[prefix + lost]
    with pytest.raises(UserError, match=rf"model '{name}'.*1 missing: {lost}"):
        load_model(card, placed(card, tmp_path, content))


@pytest.mark.parametrize("name", ["moco-cxr-rn18", "moco-cxr-densenet121", "c2l-rn18", *SMALL])
def test_checkpoint_with_an_unknown_tensor_in_its_encoder_is_refused(name, tmp_path):
    card, content = smallest(name)
    prefix = "module." * name.startswith("moco") + card.options.get("checkpoint", {}).get("prefix", "")
    inner_states(content)[prefix + "adapter.weight"] = torch.ones(2)
    with pytest.raises(UserError, match=r"1 unexpected: adapter\.weight"):
        load_model(card, placed(card, tmp_path, content))


def test_retfounds_two_kinds_of_file_are_never_taken_for_each_other(tmp_path):
    (_, masked), (_, distilled) = smallest("retfound-cfp"), smallest("retfound-dinov2-meh")
    options = {"depth": 2, "embed_dim": 64, "num_heads": 4}
    for name, content in (("retfound-dinov2-meh", masked), ("retfound-cfp", distilled)):
        with pytest.raises(UserError, match=rf"model '{name}' do not fit.*missing: cls_token"):
            features(small(REGISTRY.card(name), **options), tmp_path, content, None)


def test_patches_of_another_size_are_another_networks(tmp_path):
    # DINOv2's own giant differs from Prov-GigaPath's in nothing else, and timm would resample it.
    options, shapes, *_ = SMALL["prov-gigapath"]
    card = small(REGISTRY.card("prov-gigapath"), **options)
    dinov2 = {**shapes, "patch_embed.proj.weight": (48, 3, 14, 14), "pos_embed": (1, 1 + 37 * 37, 48)}
    with pytest.raises(UserError, match=r"patch_embed\.proj\.weight \(expected \[48, 3, 16, 16\]"):
        load_model(card, placed(card, tmp_path, drawn(dinov2)))


@pytest.mark.parametrize("name", ["moco-cxr-rn18", "c2l-rn18", "retfound-dinov2-meh"])
def test_names_without_the_publishers_prefix_are_refused(name, tmp_path):
    card, content = smallest(name)
    prefix = "module." * name.startswith("moco") + card.options["checkpoint"]["prefix"]
    bare = {key.removeprefix(prefix): t for key, t in inner_states(content).items() if key.startswith(prefix)}
    with pytest.raises(UserError, match=r"\d+ missing: "):
        load_model(card, placed(card, tmp_path, bare))


def test_the_momentum_encoder_alone_is_no_checkpoint(tmp_path):
    card, content = smallest("moco-cxr-rn18")
    content["state_dict"] = {k: t for k, t in content["state_dict"].items() if "encoder_q" not in k}
    with pytest.raises(UserError, match=r"120 tensors expected.*missing: "):
        load_model(card, placed(card, tmp_path, content))


def test_a_norm_that_the_published_file_lacks_is_on_no_path():
    # The publisher's global pool ends in a norm that is not in its file and would stay as it was made.
    _, network, _ = on_meta("retfound-cfp", {})
    assert isinstance(network.fc_norm, torch.nn.Identity)
    assert isinstance(network.norm, torch.nn.LayerNorm)
    assert not [name for name in network.state_dict() if name.startswith(("fc_norm", "head"))]


def test_unknown_pooling_is_refused():
    card = small(REGISTRY.card("virchow2"), pool="class+patch")
    with pytest.raises(UserError, match=r"class\+patches"):
        family.pooled(card, torch.nn.Identity())


# Preprocessing, cost, names.

IMAGENET = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
BICUBIC = InterpolationMode.BICUBIC


def shown(*resize, crop=None, normalise=IMAGENET):
    steps = [transforms.Resize(*resize)] + ([] if crop is None else [transforms.CenterCrop(crop)])
    return transforms.Compose([*steps, transforms.ToTensor(), normalise])


def virchow2_transform():
    from timm.data.transforms_factory import create_transform

    return create_transform(
        (3, 224, 224),
        is_training=False,
        interpolation="bicubic",
        crop_pct=1.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


MOCO = shown(320, crop=320, normalise=transforms.Normalize([0.5020] * 3, [0.085585] * 3))
RETFOUND = shown(256, BICUBIC, crop=224)
#: The publishers' evaluation transforms.
TRANSFORMS = {
    "medmae": shown(256, BICUBIC, crop=224, normalise=transforms.Normalize([0.5056] * 3, [0.252] * 3)),
    "moco-cxr-rn18": MOCO,
    "moco-cxr-rn50": MOCO,
    "moco-cxr-densenet121": MOCO,
    "c2l-rn18": shown(256, crop=224),
    "lvm-med-rn50": shown((224, 224)),
    "retfound-cfp": RETFOUND,
    "retfound-oct": RETFOUND,
    "retfound-dinov2-meh": RETFOUND,
    "uni2-h": shown(224, crop=224),
    "virchow2": virchow2_transform(),
    "prov-gigapath": shown(256, BICUBIC, crop=224),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [(224, 224), (301, 97), (31, 45), (390, 320), (500, 700)])
def test_pixels_equal_those_of_the_publishers_evaluation_transform(name, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    preprocessing = REGISTRY.card(name).preprocessing
    framed = Preprocessor(preprocessing)(image)
    found = normalise(torch.from_numpy(framed.pixels)[None], preprocessing)[0]
    torch.testing.assert_close(found, TRANSFORMS[name](Image.fromarray(image)), rtol=0, atol=0)


@pytest.mark.parametrize("name", EVERY)
def test_cost_and_length_on_the_card_are_those_of_the_network(name):
    card, network, _ = on_meta(name, {})
    tower = family.pooled(card, network.eval().requires_grad_(False))
    length, gflops = length_and_gflops(tower, card.preprocessing.size)
    assert length == card.dimension
    assert card.gflops == pytest.approx(gflops, rel=0.01)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("MedMAE", "medmae"),
        ("MoCo-CXR", "moco-cxr-rn18"),
        ("MoCoCXR", "moco-cxr-rn18"),
        ("C2L", "c2l-rn18"),
        ("RETFound", "retfound-cfp"),
        ("RETFound_mae_natureOCT", "retfound-oct"),
        ("RETFound_dinov2_meh", "retfound-dinov2-meh"),
        ("UNI2", "uni2-h"),
        ("Prov-GigaPath", "prov-gigapath"),
        ("GigaPath", "prov-gigapath"),
    ],
)
def test_names_of_papers_and_repositories_are_accepted(spelling, name):
    assert REGISTRY.card(spelling).name == name


@pytest.mark.parametrize("name", [*RETINA, *PATHOLOGY])
def test_missing_gated_weights_name_file_page_and_licence(name, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    card = REGISTRY.card(name)
    with pytest.raises(MissingWeights) as caught:
        locate(card, [tmp_path])
    for part in (card.weights.file, card.weights.page, card.licence, "gated"):
        assert part in str(caught.value)
