import dataclasses
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from evaluator.models.registry import Registry, default_registry
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
TINY = REGISTRY.card("tiny-clip")


def plugin(value, name="extra"):
    return EntryPoint(name=name, value=value, group="fairray.models")


def test_promised_models_are_there():
    names = {card.name for card in REGISTRY.cards()}
    assert names >= {
        "clip-vit-b32", "clip-vit-b16", "clip-vit-l14", "clip-vit-b32-laion2b", "dinov2-vit-b14", "vit-b16-in21k",
        "biomedclip", "conch", "pubmedclip-vit-b32", "pubmedclip-rn50", "pubmedclip-rn50x4",
        "blip-base", "blip2", "blip2-query0",
        "plip", "siglip-b16-224", "siglip2-b16-224", "medsiglip-448", "medgemma-vision", "rad-dino", "dinov3-vit-b16",
        "aimv2-large",
        "resnet50-imagenet", "mobilenetv2-035", "sam-vit-b", "sam-vit-l", "sam-vit-h", "tiny-clip", "tiny-sam",
        "gloria-rn50", "medclip-rn50", "medclip-vit",
        "medmae", "moco-cxr-rn18", "moco-cxr-rn50", "moco-cxr-densenet121", "c2l-rn18", "lvm-med-vit-b",
        "lvm-med-rn50", "retfound-cfp", "retfound-oct", "retfound-dinov2-meh", "uni2-h", "virchow2", "prov-gigapath",
    }  # fmt: skip
    assert REGISTRY.problems == ()


@pytest.mark.parametrize("card", REGISTRY.cards(), ids=lambda card: card.name)
def test_every_card_is_complete(card):
    assert card.licence
    assert card.feature
    assert card.gflops > 0
    assert card.dimension > 0
    assert card.trained_on
    assert ("text" in card.abilities) == (card.projected is not None) == (card.context_length is not None)
    assert ("segment" in card.abilities) == bool(card.prompts) == (card.mask_threshold is not None)
    assert card.weights.file
    assert card.weights.shipped or card.weights.page or card.weights.sha256


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("clip-vit-b32", "clip-vit-b32"),
        ("CLIP_ViT_B32", "clip-vit-b32"),
        ("CLIP ViT-B/32", "clip-vit-b32"),
        ("clip", "clip-vit-b32"),
        ("DINOv2", "dinov2-vit-b14"),
        ("SAM", "sam-vit-b"),
        ("mobilenetv2_035", "mobilenetv2-035"),
        ("MedSigLIP", "medsiglip-448"),
        ("SigLIP", "siglip-b16-224"),
        ("RAD-DINO", "rad-dino"),
        ("MedGemma", "medgemma-vision"),
    ],
)
def test_aliases_and_other_spellings_are_accepted(spelling, name):
    assert REGISTRY.card(spelling).name == name


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("clip-vit-b-3", "clip-vit-b32"),
        ("tiny-clop", "tiny-clip"),
        ("sam-vit-x", "sam-vit-"),
        ("PILP", "Known"),
    ],
)
def test_unknown_name_is_refused_and_the_nearest_named(wrong, nearest):
    with pytest.raises(UserError, match=rf"unknown model '{wrong}'.*{nearest}"):
        REGISTRY.card(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("timm:resnat18", "did you mean 'resnet18'"),
        ("timm:resnet18.nothing", "resnet18.a1_in1k"),
        ("timm:mobilenetv2_035", "has no published weights"),
        ("timm:resnet18@", "neither side empty"),
        ("timm:resnet18@random:x", "whole number"),
        ("openclip:ViT-B-33/openai", "did you mean 'ViT-B-32'"),
        ("openclip:ViT-B-32/openia", "did you mean 'openai'"),
        ("openclip:ViT-B-32", "ARCH/PRETRAINED"),
        ("openclip:coca_ViT-B-32/laion2b_s13b_b90k", "writes captions"),
        ("openclip:mt5-base-ViT-B-32@w.pth", "'google/mt5-base' from outside of open_clip"),
        ("sam:vit_x@w.pth", "Known: vit_b, vit_h, vit_l"),
        ("sam:vit_b", "sam:vit_b@FILE"),
        ("hub:org/repo", "unknown model family 'hub'"),
        ("hf:org/repo", r"config\.json of 'hf:org/repo' is not in the Hugging Face cache"),
    ],
)
def test_wrong_generic_names_say_what_is_wrong(wrong, message):
    with pytest.raises(UserError, match=message):
        REGISTRY.card(wrong)


def test_patterns_find_names():
    assert {card.name for card in REGISTRY.find("sam_vit_*")} == {"sam-vit-b", "sam-vit-l", "sam-vit-h"}
    assert [card.name for card in REGISTRY.find("clip")] == ["clip-vit-b32"]
    with pytest.raises(UserError, match="pattern"):
        REGISTRY.find("nothing-*")


def test_generic_timm_name_takes_timms_own_preprocessing():
    card = REGISTRY.card("timm:vit_base_patch16_224.augreg_in21k")
    packaged = REGISTRY.card("vit-b16-in21k")
    assert card.preprocessing == packaged.preprocessing
    assert card.weights == packaged.weights
    assert card.dimension == packaged.dimension
    assert card.gflops == pytest.approx(packaged.gflops, rel=0.01)


@pytest.mark.parametrize("name", ["resnet50-imagenet", "dinov2-vit-b14"])
def test_packaged_timm_cards_agree_with_timms_own_configuration(name):
    packaged = REGISTRY.card(name)
    generic = REGISTRY.card(f"timm:{packaged.architecture}")
    assert generic.preprocessing == packaged.preprocessing
    assert generic.weights == packaged.weights
    assert (generic.dimension, generic.licence.lower()) == (packaged.dimension, packaged.licence.lower())
    assert generic.gflops == pytest.approx(packaged.gflops, rel=0.01)


@pytest.mark.parametrize(
    ("generic", "name"),
    [
        ("openclip:ViT-B-32/openai", "clip-vit-b32"),
        ("openclip:ViT-B-16/openai", "clip-vit-b16"),
        ("openclip:ViT-L-14/openai", "clip-vit-l14"),
        ("openclip:ViT-B-32/laion2b_s34b_b79k", "clip-vit-b32-laion2b"),
    ],
)
def test_packaged_clip_cards_agree_with_open_clips_own_configuration(generic, name):
    card, packaged = REGISTRY.card(generic), REGISTRY.card(name)
    assert card.weights == packaged.weights
    assert card.preprocessing == packaged.preprocessing
    assert (card.dimension, card.projected) == (packaged.dimension, packaged.projected)
    assert card.gflops == pytest.approx(packaged.gflops, rel=0.01)
    # OpenAI's weights want QuickGELU: by option here, by the architecture's name there.
    assert card.options.get("quick_gelu", False) == packaged.architecture.endswith("-quickgelu")


def test_generic_names_with_a_file_keep_the_file():
    assert REGISTRY.card("timm:resnet18@/data/w.pth").weights.file == "/data/w.pth"
    assert REGISTRY.card("sam:vit_l@own.pth").weights.file == "own.pth"
    siglip = REGISTRY.card("openclip:ViT-B-16-SigLIP@own.safetensors")
    assert (siglip.weights.file, siglip.context_length) == ("own.safetensors", 64)


def test_random_control_says_so_and_has_its_seed_in_its_identity():
    first, second = REGISTRY.card("timm:resnet18@random"), REGISTRY.card("timm:resnet18@random:1")
    assert "random" in first.notes[0]
    assert first.identity() != second.identity()


def test_good_plugin_is_added_and_bad_ones_are_reported_and_skipped(tmp_path, monkeypatch):
    (tmp_path / "good_models.py").write_text(
        "import dataclasses\n"
        "from evaluator.models.cards import packaged_cards\n"
        "def cards():\n"
        "    card = packaged_cards()[0]\n"
        "    return [dataclasses.replace(card, name='my-model', aliases=(), family='good_models:load')]\n"
        "taken = packaged_cards()[:1]\n"
        "strings = ['my-model']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = default_registry(
        plugins=[
            plugin("no_such_module_at_all:cards", "absent"),
            plugin("good_models:taken", "greedy"),
            plugin("good_models:strings", "strings"),
            plugin("good_models:cards", "good"),
            plugin("good_models:cards", "twice"),
        ]
    )
    assert registry.card("my-model").family == "good_models:load"
    assert len(registry.cards()) == len(REGISTRY.cards()) + 1
    broken = ["absent", "greedy", "strings", "twice"]
    assert [name for name in broken for text in registry.problems if f"'{name}'" in text] == broken
    assert "ModelCard" in registry.problems[2]


@pytest.mark.parametrize(
    "other",
    [
        TINY,
        dataclasses.replace(TINY, name="tiny-clip-2", aliases=("Tiny_CLIP",)),
        dataclasses.replace(TINY, name="Tiny"),
        dataclasses.replace(TINY, name="tiny--clip"),
    ],
)
def test_names_taken_twice_or_badly_formed_are_errors(other):
    with pytest.raises(UserError, match=r"taken by|kebab-case"):
        Registry([TINY, other])


def test_listing_models_needs_no_torch():
    program = (
        "import sys; from evaluator.models.registry import default_registry; "
        "default_registry().cards(); default_registry().card('clip'); "
        "heavy = {'torch', 'open_clip', 'timm', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
