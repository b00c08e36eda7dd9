"""``hf:REPO`` and ``hf:REPO@FOLDER``: read from files, never from a hub, and the same identity wherever the files lie."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from evaluator.models.card import Preprocessing
from evaluator.models.generic_hf import fetch_description, hf_card
from evaluator.models.loading import load_model
from evaluator.models.preprocess import normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
CLIP_PIXELS = {
    "crop_size": 32,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 3,
    "size": 32,
}
SQUARE = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 32},
}
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WIDE = {**TINY, "intermediate_size": 64}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 10,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SIGLIP_TEXT = {**TEXT, "hidden_size": 32, "pad_token_id": 1, "projection_size": 32}
#: class -> (its configuration, how its pixels are prepared, feature length, length shared with texts)
MADE = {
    "CLIPModel": (
        transformers.CLIPConfig(projection_dim=24, vision_config=WIDE, text_config=TEXT),
        CLIP_PIXELS,
        32,
        24,
    ),
    "SiglipModel": (transformers.SiglipConfig(vision_config=WIDE, text_config=SIGLIP_TEXT), SQUARE, 32, 32),
    "SiglipVisionModel": (transformers.SiglipVisionConfig(**WIDE), SQUARE, 32, None),
    "Dinov2Model": (transformers.Dinov2Config(**TINY, mlp_ratio=2), SQUARE, 32, None),
    "Dinov2WithRegistersModel": (
        transformers.Dinov2WithRegistersConfig(**TINY, num_register_tokens=3),
        SQUARE,
        32,
        None,
    ),
    "DINOv3ViTModel": (
        transformers.DINOv3ViTConfig(**WIDE, num_register_tokens=2, use_gated_mlp=True),
        SQUARE,
        32,
        None,
    ),
    "ViTModel": (transformers.ViTConfig(**WIDE), SQUARE, 32, None),
    "Aimv2VisionModel": (transformers.Aimv2VisionConfig(**WIDE), SQUARE, 32, None),
}


def network(name):
    """Return the library's own network with weights that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = getattr(transformers, name)(MADE[name][0]).eval().requires_grad_(False)
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


def saved(name, folder, made=None, **options):
    """Save a repository as the library does, with a preprocessor_config.json beside it."""
    made = made or network(name)
    made.save_pretrained(folder, **options)
    (folder / "preprocessor_config.json").write_text(json.dumps(MADE[name][1]))
    return made


def change(folder, file, **values):
    path = folder / file
    content = json.loads(path.read_text())
    content.update(values)
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def pixels_for(card):
    size = card.preprocessing.size
    return torch.randint(
        0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache; a question to the network fails the test."""
    import huggingface_hub

    real = huggingface_hub.hf_hub_download

    def local(repository, file, *, local_files_only, **rest):
        assert local_files_only, "the hub was asked"
        return real(repository, file, local_files_only=True, **rest)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", local)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_into_cache(cache, repository, folder):
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("a" * 40)
    shutil.copytree(folder, root / "snapshots" / ("a" * 40))


@pytest.mark.parametrize("name", MADE)
def test_a_folder_is_described_and_gives_the_librarys_own_features(tmp_path, name):
    made = saved(name, tmp_path)
    card = REGISTRY.card(f"hf:org/repo@{tmp_path}")
    _, _, dimension, projected = MADE[name]
    assert (card.family, card.architecture) == ("hf", name)
    assert (card.dimension, card.projected) == (dimension, projected)
    assert card.gflops > 0
    pixels = pixels_for(card)
    found = load_model(card, locate(card)).encode(pixels)
    images = normalise(pixels, card.preprocessing)
    with torch.inference_mode():
        output = (made.vision_model if projected else made)(pixel_values=images)
    pooled = name in ("CLIPModel", "SiglipModel", "SiglipVisionModel", "Aimv2VisionModel")
    expected = output.pooler_output if pooled else output.last_hidden_state[:, 0]
    torch.testing.assert_close(found.features, expected, rtol=1e-5, atol=1e-5)
    assert found.features.shape == (2, dimension)


def test_preprocessing_is_that_of_the_repository(tmp_path):
    saved("CLIPModel", tmp_path)
    card = hf_card(f"org/repo@{tmp_path}")
    assert card.preprocessing == Preprocessing(
        32, "shortest-crop-floor", "bicubic", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    )
    assert (card.context_length, card.tokenizer.file) == (10, "tokenizer.json")
    saved("ViTModel", tmp_path / "vit")
    half = (0.5,) * 3
    assert hf_card(f"org/repo@{tmp_path / 'vit'}").preprocessing == Preprocessing(
        32, "squash", "bilinear", half, half
    )


@pytest.mark.parametrize(("short", "side"), [(36, 32), (50, 34), (32, 32), (53, 40), (256, 224)])
def test_shorter_side_before_the_crop_is_found_again(tmp_path, short, side):
    from evaluator.models.preprocess import _resized

    saved("Dinov2Model", tmp_path)  # takes any size
    crop = {"do_center_crop": True, "crop_size": {"height": side, "width": side}}
    change(tmp_path, "preprocessor_config.json", size={"shortest_edge": short}, **crop)
    found = hf_card(f"org/repo@{tmp_path}").preprocessing
    assert found.size == side
    assert _resized(found, 1000, 2000)[0] == short


def test_identity_holds_numbers_and_no_places(tmp_path, cache):
    saved("CLIPModel", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    put_into_cache(cache, "org/repo", tmp_path / "one")
    cards = [hf_card("org/repo"), *(hf_card(f"org/repo@{tmp_path / name}") for name in ("one", "two"))]
    identities = {json.dumps(card.identity(), sort_keys=True) for card in cards}
    assert len(identities) == 1
    assert str(tmp_path) not in identities.pop()
    assert len({locate(card).sha256 for card in cards}) == 1


def test_what_a_configuration_leaves_to_the_library_is_written_out(tmp_path):
    saved("ViTModel", tmp_path)
    written = hf_card(f"org/repo@{tmp_path}")
    change(tmp_path, "config.json", hidden_act=None, qkv_bias=None, transformers_version="4.0", note="x")
    assert hf_card(f"org/repo@{tmp_path}").identity() == written.identity()
    change(tmp_path, "config.json", hidden_act="relu")
    assert hf_card(f"org/repo@{tmp_path}").identity() != written.identity()


def test_repository_in_the_hubs_cache_is_used_without_asking_the_hub(tmp_path, cache):
    made = saved("ViTModel", tmp_path / "copy")
    put_into_cache(cache, "org/repo", tmp_path / "copy")
    card = REGISTRY.card("hf:org/repo")
    assert card.weights.page == "https://huggingface.co/org/repo"
    features = load_model(card, locate(card)).encode(pixels_for(card)).features
    with torch.inference_mode():
        expected = made(normalise(pixels_for(card), card.preprocessing)).last_hidden_state[:, 0]
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_repository_that_is_not_here_is_named_with_what_to_do(cache):
    with pytest.raises(
        MissingWeights, match=r"config\.json of 'hf:org/repo'.*'fairray models fetch hf:org/repo'.*@FOLDER"
    ):
        REGISTRY.card("hf:org/repo")
    with pytest.raises(MissingWeights, match=r"config\.json of 'hf:org/repo' not found in /nowhere"):
        REGISTRY.card("hf:org/repo@/nowhere")


@pytest.mark.parametrize("wrong", ["hf:", "hf:@x", "hf:org/repo@"])
def test_names_with_an_empty_side_are_refused(wrong):
    with pytest.raises(UserError, match="neither side empty"):
        REGISTRY.card(wrong)


def test_weights_cut_into_files_are_loaded_whole(tmp_path):
    made = saved("ViTModel", tmp_path, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    card = hf_card(f"org/repo@{tmp_path}")
    weights = locate(card)
    assert len(weights.others) > 1
    features = load_model(card, weights).encode(pixels_for(card)).features
    with torch.inference_mode():
        expected = made(normalise(pixels_for(card), card.preprocessing)).last_hidden_state[:, 0]
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_weights_of_before_safetensors_are_taken(tmp_path):
    saved("ViTModel", tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    expected = load_model(hf_card(f"org/repo@{tmp_path}"), locate(hf_card(f"org/repo@{tmp_path}")))
    (tmp_path / "model.safetensors").unlink()
    card = hf_card(f"org/repo@{tmp_path}")
    assert card.weights.file.endswith("pytorch_model.bin")
    pixels = pixels_for(card)
    assert torch.equal(
        load_model(card, locate(card)).encode(pixels).features, expected.encode(pixels).features
    )


@pytest.mark.parametrize("name", ["ViT", "Dinov2"])
def test_a_classifier_on_top_is_left_out(tmp_path, name):
    base = f"{name}Model"
    config = MADE[base][0]
    config.num_labels = 3
    made = getattr(transformers, f"{name}ForImageClassification")(config).eval()
    saved(base, tmp_path, made)
    card = hf_card(f"org/repo@{tmp_path}")
    assert card.architecture == base
    features = load_model(card, locate(card)).encode(pixels_for(card)).features
    inner = made.vit if name == "ViT" else made.dinov2
    with torch.inference_mode():
        expected = inner(normalise(pixels_for(card), card.preprocessing)).last_hidden_state[:, 0]
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_a_repository_without_one_of_its_tensors_is_refused(tmp_path):
    saved("ViTModel", tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop(next(key for key in state if key.endswith("layernorm.weight")))
    save_file(state, tmp_path / "model.safetensors")
    card = hf_card(f"org/repo@{tmp_path}")
    with pytest.raises(UserError, match=r"1 missing: layernorm\.weight"):
        load_model(card, locate(card))


def test_code_of_a_repository_is_never_run(tmp_path):
    saved("ViTModel", tmp_path)
    (tmp_path / "modeling_own.py").write_text("raise SystemExit('code of the repository was run')\n")
    code = {"AutoConfig": "modeling_own.Config", "AutoModel": "modeling_own.OwnModel"}
    change(tmp_path, "config.json", architectures=["OwnModel"], model_type="own", auto_map=code)
    with pytest.raises(UserError, match=r"is a OwnModel; the hf family builds Aimv2VisionModel.*never run"):
        hf_card(f"org/repo@{tmp_path}")
    change(
        tmp_path, "config.json", architectures=["ViTModel"]
    )  # a class of the library's own: its code is used
    card = hf_card(f"org/repo@{tmp_path}")
    assert load_model(card, locate(card)).encode(pixels_for(card)).features.shape == (2, 32)


def test_a_configuration_that_names_no_class_is_known_by_its_type(tmp_path):
    saved("SiglipModel", tmp_path)
    change(tmp_path, "config.json", architectures=None)
    assert hf_card(f"org/repo@{tmp_path}").architecture == "SiglipModel"


@pytest.mark.parametrize(("words", "rule"), [(50, "siglip"), (256000, "siglip2")])
def test_rule_for_texts_of_siglip_follows_from_its_vocabulary(tmp_path, words, rule):
    saved("SiglipModel", tmp_path)
    text = json.loads((tmp_path / "config.json").read_text())["text_config"]
    change(tmp_path, "config.json", text_config={**text, "vocab_size": words})
    assert hf_card(f"org/repo@{tmp_path}").options["texts"] == rule


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"hidden_size": "many"}, "refused by transformers"),
        ("config.json", {"patch_size": 0}, "refused by transformers"),
        ("config.json", {"architectures": ["ResNetModel"]}, "is a ResNetModel; the hf family builds"),
        ("config.json", {"image_size": 48}, "built for 48 pixels, its preprocessor_config.json gives 32"),
        ("preprocessor_config.json", {"do_normalize": False}, "has do_normalize off"),
        ("preprocessor_config.json", {"do_resize": False}, "has do_resize off"),
        ("preprocessor_config.json", {"do_pad": True}, "asks for do_pad"),
        ("preprocessor_config.json", {"rescale_factor": 0.0078}, "scales pixels by 0.0078"),
        ("preprocessor_config.json", {"resample": 1}, "resizes by filter 1"),
        ("preprocessor_config.json", {"image_mean": None}, "lacks 'image_mean'"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "supported are square RGB images"),
        ("preprocessor_config.json", {"size": {"height": 32, "width": 48}}, "resizes to"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 32}}, "without a crop"),
        (
            "preprocessor_config.json",
            {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": 48},
            "crops 48 pixels out of 32",
        ),
    ],
)
def test_what_cannot_be_done_exactly_is_refused(tmp_path, file, values, message):
    saved("ViTModel", tmp_path)
    change(tmp_path, file, **values)
    with pytest.raises(UserError, match=message):
        hf_card(f"org/repo@{tmp_path}")


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["{", "[1]"])
def test_damaged_descriptions_are_named(tmp_path, file, content):
    saved("ViTModel", tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=rf"{file} (is no JSON|must hold a table)"):
        hf_card(f"org/repo@{tmp_path}")


def test_preprocessing_in_the_younger_file_is_read(tmp_path):
    saved("ViTModel", tmp_path)
    older = json.loads((tmp_path / "preprocessor_config.json").read_text())
    expected = hf_card(f"org/repo@{tmp_path}").preprocessing
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": older}))
    assert hf_card(f"org/repo@{tmp_path}").preprocessing == expected
    (tmp_path / "processor_config.json").unlink()
    with pytest.raises(MissingWeights, match=r"preprocessor_config\.json of 'hf:org/repo' not found"):
        hf_card(f"org/repo@{tmp_path}")


def test_fetching_gets_the_description_first(tmp_path, monkeypatch):
    import huggingface_hub

    saved("ViTModel", tmp_path)
    asked = []

    def hub(repository, file):
        asked.append((repository, file))
        if not (tmp_path / file).exists():
            raise OSError("404 not there\nmore text")
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    fetch_description("hf:org/repo")
    assert {file for _, file in asked} >= {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors.index.json",
    }
    asked.clear()
    for other in ("clip-vit-b32", "timm:resnet18", f"hf:org/repo@{tmp_path}"):
        fetch_description(other)
    assert asked == []
    (tmp_path / "config.json").unlink()
    with pytest.raises(MissingWeights, match=r"config\.json of 'hf:org/repo' cannot be had.*404 not there$"):
        fetch_description("hf:org/repo")


def test_texts_of_a_repository_equal_the_librarys_own(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = saved("CLIPModel", tmp_path)
    words = {"<|startoftext|>": 1, "<|endoftext|>": 2, "chest": 3, "x-ray": 4, "edema": 5, "?": 0}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    card = hf_card(f"org/repo@{tmp_path}")
    model = load_model(card, locate(card))
    # The end mark's number is 2 here, for which the library takes the largest number of a text instead.
    ids = torch.tensor([[1, 3, 4, 2, 2, 2, 2, 2, 2, 2], [1, 5, 2, 2, 2, 2, 2, 2, 2, 2]])
    with torch.inference_mode():
        expected = made.text_projection(made.text_model(input_ids=ids).pooler_output)
    torch.testing.assert_close(model.encode_text(["chest x-ray", "edema"]), expected, rtol=1e-5, atol=1e-5)


def crop(side, **rest):
    square = {"height": side, "width": side}
    return {
        **rest,
        "do_center_crop": True,
        "crop_size": square,
        "size": {"shortest_edge": side},
        "resample": 3,
    }


HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
#: The publishers' own descriptions: config.json as far as it differs from the library's defaults, preprocessor_config.json.
PUBLISHED = {
    "plip": (
        {"architectures": ["CLIPModel"], "text_config": {}, "vision_config": {}},
        {
            **CLIP_PIXELS,
            "size": 224,
            "crop_size": 224,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    ),
    "siglip-b16-224": (
        {"architectures": ["SiglipModel"], "model_type": "siglip", "text_config": {}, "vision_config": {}},
        {**HALF, "size": {"height": 224, "width": 224}, "resample": 3},
    ),
    "siglip2-b16-224": (
        {"model_type": "siglip", "text_config": {"vocab_size": 256000}, "vision_config": {}},
        {**HALF, "size": {"height": 224, "width": 224}, "resample": 2},
    ),
    "medsiglip-448": (
        {
            "architectures": ["SiglipModel"],
            "text_config": {
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "projection_size": 1152,
            },
            "vision_config": {
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_attention_heads": 16,
                "num_hidden_layers": 27,
                "image_size": 448,
                "patch_size": 14,
            },
        },
        {**HALF, "size": {"height": 448, "width": 448}, "resample": 3, "rescale_factor": 0.00392156862},
    ),
    "rad-dino": (
        {"architectures": ["Dinov2Model"], "image_size": 518, "model_type": "dinov2"},
        crop(518, image_mean=[0.5307] * 3, image_std=[0.2583] * 3),
    ),
    "dinov3-vit-b16": (
        {
            "architectures": ["DINOv3ViTModel"],
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_register_tokens": 4,
        },
        {
            "size": {"height": 224, "width": 224},
            "resample": 2,
            "do_center_crop": None,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_named_models_are_what_their_publishers_descriptions_say(tmp_path, name):
    config, pixels = PUBLISHED[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    found, named = hf_card(f"org/repo@{tmp_path}"), REGISTRY.card(name)
    assert found.identity() == named.identity()
    assert (found.dimension, found.projected) == (named.dimension, named.projected)
    assert found.gflops == pytest.approx(named.gflops, rel=0.01)
