"""Models of transformers: every tensor of the published file in its place, as independent implementations compute them.

Small networks go through the same code as the published ones; what is full-size runs where it is quick enough, and otherwise
its names and shapes are checked without memory.
"""

import dataclasses
import json

import hf_layouts as layouts
import hf_references as references
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from evaluator.models.families._hf_names import matched
from evaluator.models.families.hf import build, image_tower, numbers
from evaluator.models.generic import measure
from evaluator.models.interfaces import VisionLanguageModel
from evaluator.models.loading import load_model
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

NAMES = (
    "plip",
    "siglip-b16-224",
    "siglip2-b16-224",
    "medsiglip-448",
    "medgemma-vision",
    "rad-dino",
    "dinov3-vit-b16",
    "aimv2-large",
)
REGISTRY = default_registry(plugins=[])
CARDS = {name: REGISTRY.card(name) for name in NAMES}

BASE, SO400M = (768, 3072, 12), (1152, 4304, 27)
FULL = {
    "plip": layouts.clip(BASE, (512, 2048, 12), 512, patch=32, side=224, vocabulary=49408, context=77),
    "siglip-b16-224": layouts.siglip(BASE, patch=16, side=224, vocabulary=32000),
    "siglip2-b16-224": layouts.siglip(BASE, patch=16, side=224, vocabulary=256000),
    "medsiglip-448": layouts.siglip(SO400M, patch=14, side=448, vocabulary=32000),
    "medgemma-vision": layouts.siglip_tower(SO400M, patch=14, side=896, prefix=""),
    "rad-dino": layouts.dinov2(BASE, patch=14, side=518),
    "dinov3-vit-b16": layouts.dinov3(BASE, patch=16),
    "aimv2-large": layouts.aimv2((1024, 2816, 24), patch=14),
}

#: The same architectures small: name -> (checkpoint, changes of the card's numbers).
BLOCKS = (32, 128, 2)
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WIDE = {**TINY, "intermediate_size": 128}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 64,
}
SIGLIP_TEXT = {**TEXT, "projection_size": 32}
SMALL = {
    "plip": (
        layouts.clip(BLOCKS, BLOCKS, 24, patch=8, side=32, vocabulary=49408, context=77),
        {"projection_dim": 24, "vision_config": WIDE, "text_config": {**TEXT, "vocab_size": 49408}},
    ),
    "siglip-b16-224": (
        layouts.siglip(BLOCKS, patch=8, side=32, vocabulary=64),
        {"vision_config": WIDE, "text_config": SIGLIP_TEXT},
    ),
    "siglip2-b16-224": (
        layouts.siglip(BLOCKS, patch=8, side=32, vocabulary=64),
        {"vision_config": WIDE, "text_config": SIGLIP_TEXT},
    ),
    "medsiglip-448": (
        layouts.siglip(BLOCKS, patch=8, side=32, vocabulary=64),
        {"vision_config": WIDE, "text_config": SIGLIP_TEXT},
    ),
    "medgemma-vision": (
        layouts.siglip_tower(BLOCKS, patch=8, side=32, prefix="vision_tower.vision_model."),
        WIDE,
    ),
    "rad-dino": (layouts.dinov2(BLOCKS, patch=8, side=32), TINY),
    "dinov3-vit-b16": (layouts.dinov3(BLOCKS, patch=16), {**WIDE, "patch_size": 16, "image_size": 32}),
    "aimv2-large": (layouts.aimv2(BLOCKS, patch=8), WIDE),
}
VISION_LANGUAGE = [name for name in NAMES if CARDS[name].projected is not None]
SIGLIPS = [name for name in VISION_LANGUAGE if name != "plip"]


def small_card(name):
    """Return a card of the small architecture, everything else as published."""
    card = CARDS[name]
    config = dict(card.options["config"])
    for key, value in SMALL[name][1].items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    width = SMALL[name][1].get("projection_dim", 32)
    return dataclasses.replace(
        card,
        options={**card.options, "config": config},
        preprocessing=dataclasses.replace(card.preprocessing, size=32),
        dimension=32,
        projected=None if card.projected is None else width,
    )


def place(card, state, folder):
    """Save a checkpoint as published, under the published names of the files, and find it as a user's would be."""
    own = folder / card.name
    own.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    if not card.weights.part:
        save_file(state, own / card.weights.file)
        return locate(card, [folder])
    rest = {
        "language_model.model.norm.weight": torch.ones(3),
        "multi_modal_projector.mm_soft_emb_norm.weight": torch.ones(2),
    }
    half = len(state) // 2
    files = {
        "model-00001-of-00002.safetensors": {**dict(list(state.items())[:half]), **rest},
        "model-00002-of-00002.safetensors": dict(list(state.items())[half:]),
    }
    for file, tensors in files.items():
        save_file(tensors, own / file)
    listed = {name: file for file, tensors in files.items() for name in tensors}
    (own / card.weights.file).write_text(json.dumps({"metadata": {}, "weight_map": listed}))
    return locate(card, [folder])


def loaded(name, folder, seed=0):
    card, state = small_card(name), layouts.tensors(SMALL[name][0], seed)
    return load_model(card, place(card, state, folder)), state


def pixels_for(card, count=3):
    size = card.preprocessing.size
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def under(state, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def reference(name, state, *, side=32, patch=8, heads=2):
    """Return features and projected features as another library computes them from the same checkpoint."""
    if name == "plip":
        network = references.clip(state, heads=heads, text_heads=heads, side=side, patch=patch)
        projection, network.visual.proj = network.visual.proj, None
        return lambda pixels: (network.visual(pixels), network.visual(pixels) @ projection)
    if name in SIGLIPS:
        tower = references.siglip_vision(under(state, "vision_model."), heads=heads, side=side, patch=patch)
        return lambda pixels: (tower(pixels), tower(pixels))
    if name == "medgemma-vision":
        own = under(state, "vision_tower.vision_model.")
        tower = references.siglip_vision(own, heads=heads, side=side, patch=patch, pooled=False)
    elif name == "rad-dino":
        tower = references.vit(state, heads=heads, side=side, patch=patch)
    elif name == "dinov3-vit-b16":
        tower = references.dinov3(state, heads=heads, side=side)
    else:
        tower = references.aimv2(state, heads=heads, side=side, patch=patch)
    return lambda pixels: (tower(pixels), None)


@pytest.mark.parametrize("name", NAMES)
def test_features_equal_those_of_another_library_with_the_same_file(tmp_path, name):
    model, state = loaded(name, tmp_path)
    pixels = pixels_for(model.card)
    found = model.encode(pixels)
    with torch.inference_mode():
        features, projected = reference(name, state)(normalise(pixels, model.card.preprocessing))
    torch.testing.assert_close(found.features, features, rtol=1e-4, atol=1e-5)
    assert found.features.shape == (3, model.card.dimension)
    assert found.features.std(dim=0).min() > 1e-4  # of no image alone
    if projected is None:
        assert found.projected is None
    else:
        torch.testing.assert_close(found.projected, projected, rtol=1e-4, atol=1e-5)
        assert found.projected.shape == (3, model.card.projected)


@pytest.mark.parametrize("name", NAMES)
def test_one_image_keeps_its_batch_axis_and_a_second_load_gives_the_same(tmp_path, name):
    model, _ = loaded(name, tmp_path)
    again, _ = loaded(name, tmp_path)
    pixels = pixels_for(model.card, 1)
    features = model.encode(pixels).features
    assert features.shape == (1, model.card.dimension)
    assert torch.equal(features, again.encode(pixels).features)
    assert not any(module.training for module in model.network.modules())
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_gives_float32_features_close_to_full_precision(tmp_path, name):
    model, state = loaded(name, tmp_path)
    half = load_model(model.card, place(model.card, state, tmp_path), precision="bf16")
    pixels = pixels_for(model.card)
    full, found = model.encode(pixels).features, half.encode(pixels).features
    assert found.dtype == torch.float32
    assert not torch.equal(found, full)
    assert torch.nn.functional.cosine_similarity(found, full).min() > 0.99


@pytest.mark.parametrize("name", NAMES)
def test_full_size_network_has_the_names_and_shapes_of_the_published_file(name):
    card = CARDS[name]
    with torch.device("meta"):
        own = build(card).state_dict()
    found = matched(card.architecture, own, layouts.meta(FULL[name]))
    assert found.keys() == own.keys()
    assert all(found[key].shape == own[key].shape for key in own)
    assert len(found) == len(FULL[name]) + (
        2 * CARDS[name].options["config"]["num_hidden_layers"] if name == "aimv2-large" else 0
    )


@pytest.mark.parametrize("name", NAMES)
def test_cost_and_lengths_of_the_card_are_those_measured(name):
    card = CARDS[name]
    with torch.device("meta"):
        network = build(card).eval().requires_grad_(False)
    tower = image_tower(card, network)
    lengths, gflops = measure(
        lambda pixels: tuple(each for each in tower(pixels) if each is not None),
        card.preprocessing.size,
        name,
    )
    assert card.gflops == pytest.approx(gflops, rel=0.01)
    assert lengths == ((card.dimension,) if card.projected is None else (card.dimension, card.projected))


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_on_the_card_are_complete(name):
    # What a card left to the library could change with the library's release, and the task's identity would not.
    card = CARDS[name]
    assert numbers(card.architecture, card.options["config"]) == card.options["config"]


#: The publishers' own configurations as far as they differ from the library's defaults of that class.
PUBLISHED = {
    "plip": ("CLIPModel", {}),
    "siglip-b16-224": ("SiglipModel", {"model_type": "siglip", "text_config": {}, "vision_config": {}}),
    "siglip2-b16-224": ("SiglipModel", {"text_config": {"vocab_size": 256000}, "vision_config": {}}),
    "rad-dino": ("Dinov2Model", {"image_size": 518}),
    "dinov3-vit-b16": (
        "DINOv3ViTModel",
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_register_tokens": 4},
    ),
    "aimv2-large": ("Aimv2VisionModel", {"is_native": True, "use_head": False}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_numbers_on_the_card_are_those_of_the_published_configuration(name):
    architecture, config = PUBLISHED[name]
    card = CARDS[name]
    assert (card.architecture, card.options["config"]) == (architecture, numbers(architecture, config))


# ---- files


def test_positions_that_older_releases_saved_are_left_out(tmp_path):
    # PLIP's file holds whole numbers besides the weights.
    card, state = small_card("plip"), layouts.tensors(SMALL["plip"][0])
    saved = {
        **state,
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }
    (tmp_path / "plip").mkdir()
    torch.save(saved, tmp_path / "plip" / "pytorch_model.bin")
    model = load_model(card, locate(card, [tmp_path]))
    expected, _ = loaded("plip", tmp_path / "other")
    pixels = pixels_for(card)
    assert torch.equal(model.encode(pixels).features, expected.encode(pixels).features)


def test_both_published_layouts_of_aimv2_are_the_same_model(tmp_path):
    model, state = loaded("aimv2-large", tmp_path)
    card = model.card
    other = load_model(card, place(card, layouts.aimv2_of_transformers(state), tmp_path / "other"))
    pixels = pixels_for(card)
    assert torch.equal(other.encode(pixels).features, model.encode(pixels).features)


def test_vision_tower_of_medgemma_needs_only_the_files_that_hold_it(tmp_path):
    card, state = small_card("medgemma-vision"), layouts.tensors(SMALL["medgemma-vision"][0])
    weights = place(card, state, tmp_path)
    assert [path.name for path in weights.others] == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (tmp_path / card.name / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        MissingWeights, match=r"model-00002-of-00002\.safetensors.*google/medgemma-4b-pt.*gated"
    ):
        locate(card, [tmp_path])


def test_vision_tower_in_one_file_and_in_half_precision_is_taken_too(tmp_path):
    card, state = small_card("medgemma-vision"), layouts.tensors(SMALL["medgemma-vision"][0])
    half = {name: tensor.bfloat16() for name, tensor in state.items()}
    save_file({**half, "language_model.model.norm.weight": torch.ones(3)}, tmp_path / "tower.safetensors")
    one = dataclasses.replace(
        card, weights=dataclasses.replace(card.weights, file=str(tmp_path / "tower.safetensors"))
    )
    pixels = pixels_for(card)
    found = load_model(one, locate(one)).encode(pixels).features
    exact = {name: tensor.float() for name, tensor in half.items()}
    assert found.dtype == torch.float32
    assert torch.equal(found, load_model(card, place(card, exact, tmp_path)).encode(pixels).features)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["missing", "unexpected", "misshaped"])
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, name, change):
    card, state = small_card(name), layouts.tensors(SMALL[name][0])
    chosen = next(key for key in state if "fc2" in key or "down_proj" in key)
    if change == "missing":
        del state[chosen]
    elif change == "unexpected":
        state[f"{card.weights.part}surplus.weight"] = torch.ones(1)
    else:
        state[chosen] = state[chosen][..., :-1]
    message = "of another shape" if change == "misshaped" else f"1 {change}"
    with pytest.raises(UserError, match=message) as caught:
        load_model(card, place(card, state, tmp_path))
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rad-dino", "attention.attention.query", "attention.q_proj"),
        ("aimv2-large", "mlp.fc2", "ffn.down_proj"),
        ("dinov3-vit-b16", "layer.0", "model.layer.0"),
        ("medgemma-vision", "vision_model.", "vision_model.vision_model."),
    ],
)
def test_a_tensor_that_is_there_in_two_spellings_is_refused(tmp_path, name, old, new):
    card, state = small_card(name), layouts.tensors(SMALL[name][0])
    known = next(key for key in state if old in key)
    state[known.replace(old, new)] = state[known] + 1
    with pytest.raises(UserError, match=r"1 unexpected: .*in two spellings"):
        load_model(card, place(card, state, tmp_path))


@pytest.mark.parametrize("name", VISION_LANGUAGE)
def test_a_file_without_its_text_tower_is_refused(tmp_path, name):
    card, state = small_card(name), layouts.tensors(SMALL[name][0])
    images = {key: tensor for key, tensor in state.items() if not key.startswith("text")}
    with pytest.raises(UserError, match=r"missing: text_model"):
        load_model(card, place(card, images, tmp_path))


def test_missing_weights_say_that_the_model_is_gated_and_where_to_get_it(tmp_path):
    with pytest.raises(MissingWeights) as caught:
        locate(CARDS["medsiglip-448"], [tmp_path])
    for part in (
        "medsiglip-448",
        "model.safetensors",
        "google/medsiglip-448",
        "gated",
        "Health AI Developer",
    ):
        assert part in str(caught.value)


# ---- texts


def clip_tokenizer(path):
    """Write CLIP's own tokenizer, as transformers builds it, from the word list that open_clip ships."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    reference = SimpleTokenizer()
    vocabulary = {
        token.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): number
        for token, number in reference.encoder.items()
    }
    merges = [pair for pair, _ in sorted(reference.bpe_ranks.items(), key=lambda item: item[1])]
    CLIPTokenizer(vocab=vocabulary, merges=merges).backend_tokenizer.save(str(path))
    return reference


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.,'"


def siglip_tokenizer(path, *, begins=False):
    """Write a small tokenizer that tells capitals and punctuation apart, so that a rule left out shows."""
    words = ["<pad>", "</s>", "<eos>", "<bos>", "<unk>", *LETTERS]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if begins:  # what Gemma's file does by itself and SigLIP 2 does not want
        made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 3)])
    made.save(str(path))
    return {word: n for n, word in enumerate(words)}


def test_plip_texts_equal_those_of_open_clip(tmp_path):
    # M-03: the reference's wrapper returned the library's output object and failed on its own tokens.
    model, state = loaded("plip", tmp_path)
    tokens = clip_tokenizer(tmp_path / "plip" / "tokenizer.json")
    model = load_model(model.card, locate(model.card, [tmp_path]))
    assert isinstance(model, VisionLanguageModel)
    texts = ["A photo of Tumor-infiltrating lymphocytes.", "benign", "H&E stain,   normal  colon tissue"]
    found = model.encode_text(texts)
    network = references.clip(state, heads=2, text_heads=2, side=32, patch=8)
    with torch.inference_mode():
        expected = network.encode_text(tokens(texts, context_length=77))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (3, 24)
    assert found.std(dim=0).min() > 1e-4
    assert model.similarity.rule == "softmax"
    assert model.similarity.scale == pytest.approx(float(state["logit_scale"].exp()))
    with pytest.raises(UserError, match=r"model 'plip' reads at most 77"):
        model.encode_text(["tumor " * 80])


def siglip_ids(vocabulary, text, *, end, pad):
    ids = [vocabulary[letter] for letter in text if letter in vocabulary] + [vocabulary[end]]
    return ids + [vocabulary[pad]] * (64 - len(ids))


@pytest.mark.parametrize(
    ("name", "written", "end", "pad"),
    [
        ("siglip-b16-224", ["xrayoflung", "noedema"], "</s>", "</s>"),
        ("medsiglip-448", ["xrayoflung", "noedema"], "</s>", "</s>"),
        ("siglip2-b16-224", ["x-rayoflung.", "no,edema"], "<eos>", "<pad>"),
    ],
)
def test_siglip_texts_are_written_as_trained_padded_to_64_and_read_without_mask(
    tmp_path, name, written, end, pad
):
    # M-04: the reference padded to the longest text of the call, so that an embedding depended on the others.
    model, state = loaded(name, tmp_path)
    vocabulary = siglip_tokenizer(tmp_path / name / "tokenizer.json", begins=name == "siglip2-b16-224")
    model = load_model(model.card, locate(model.card, [tmp_path]))
    texts = ["X-RayOfLung.", "No,Edema"]
    found = model.encode_text(texts)
    ids = torch.tensor([siglip_ids(vocabulary, text, end=end, pad=pad) for text in written])
    with torch.inference_mode():
        expected = references.siglip_text(under(state, "text_model."), heads=2)(ids)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.encode_text(texts[1:]), found[1:])
    assert torch.equal(model.encode_text([text.lower() for text in texts]), found)


@pytest.mark.parametrize("name", SIGLIPS)
def test_siglip_scores_by_sigmoid_with_its_bias(tmp_path, name):
    model, state = loaded(name, tmp_path)
    similarity = model.similarity
    assert similarity.rule == "sigmoid"
    assert similarity.scale == pytest.approx(float(state["logit_scale"].exp()), rel=1e-6)
    assert similarity.bias == pytest.approx(float(state["logit_bias"]))
    assert similarity.bias != 0


def test_scale_stored_as_a_number_or_as_a_list_of_one_is_the_same(tmp_path):
    card, state = small_card("siglip-b16-224"), layouts.tensors(SMALL["siglip-b16-224"][0])
    bare = {**state, "logit_scale": state["logit_scale"][0], "logit_bias": state["logit_bias"][0]}
    assert (
        load_model(card, place(card, bare, tmp_path)).similarity == loaded(card.name, tmp_path)[0].similarity
    )


@pytest.mark.parametrize("name", VISION_LANGUAGE)
def test_without_its_tokenizer_a_model_encodes_images_and_refuses_texts(tmp_path, name):
    model, _ = loaded(name, tmp_path)
    assert model.encode(pixels_for(model.card)).projected is not None
    with pytest.raises(MissingWeights, match=rf"tokenizer 'tokenizer\.json' of model '{name}' not found"):
        model.encode_text(["text"])


# ---- pixels

SIZES = [(224, 224), (150, 200), (301, 97), (31, 45), (640, 479), (227, 233)]


def publishers_processor(name):
    """Return the library's image processor with the publisher's preprocessor_config.json, on Pillow as published."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    if name in ("plip", "aimv2-large"):
        return CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=224, resample=3)
    if name == "rad-dino":
        gray = {"image_mean": [0.5307] * 3, "image_std": [0.2583] * 3}
        return BitImageProcessorPil(size={"shortest_edge": 518}, crop_size=518, resample=3, **gray)
    side, resample = {
        "siglip-b16-224": (224, 3),
        "siglip2-b16-224": (224, 2),
        "medsiglip-448": (448, 3),
        "medgemma-vision": (896, 2),
    }[name]
    return SiglipImageProcessorPil(size={"height": side, "width": side}, resample=resample, **half)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dinov3-vit-b16"])
def test_pixels_equal_those_of_the_publishers_processor(name):
    # M-05: MedSigLIP sees 448 pixels, because its card says so.
    preprocessing = CARDS[name].preprocessing
    processor = publishers_processor(name)
    for height, width in SIZES:
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = torch.from_numpy(processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0])
        framed = Preprocessor(preprocessing)(image)
        found = normalise(torch.from_numpy(framed.pixels)[None], preprocessing)[0]
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-6)


def test_pixels_of_dinov3_differ_from_the_publishers_by_rounding_only():
    from transformers import DINOv3ViTImageProcessor

    preprocessing = CARDS["dinov3-vit-b16"].preprocessing
    image = np.random.default_rng(0).integers(0, 256, (301, 97, 3), dtype=np.uint8)
    expected = DINOv3ViTImageProcessor()(Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
    framed = Preprocessor(preprocessing)(image)
    found = normalise(torch.from_numpy(framed.pixels)[None], preprocessing)[0]
    levels = (found - expected).abs() * torch.tensor(preprocessing.std)[:, None, None] * 255
    assert levels.max() < 1.1  # two roundings, one a direction
    assert levels.mean() < 0.5


# ---- full size, where it is quick enough


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "patch", "heads"), [("plip", 32, 12), ("rad-dino", 14, 12), ("dinov3-vit-b16", 16, 12)]
)
def test_full_size_model_equals_another_library(tmp_path, name, patch, heads):
    card, state = CARDS[name], layouts.tensors(FULL[name])
    model = load_model(card, place(card, state, tmp_path))
    pixels = pixels_for(card, 1)
    if name == "plip":
        network = references.clip(state, heads=12, text_heads=8, side=224, patch=32)
        other = lambda images: (None, network.encode_image(images))  # noqa: E731
    else:
        other = reference(name, state, side=card.preprocessing.size, patch=patch, heads=heads)
    found = model.encode(pixels)
    with torch.inference_mode():
        features, projected = other(normalise(pixels, card.preprocessing))
    if features is not None:
        torch.testing.assert_close(found.features, features, rtol=1e-4, atol=1e-4)
    if projected is not None:
        torch.testing.assert_close(found.projected, projected, rtol=1e-4, atol=1e-4)
