"""Text towers from outside of open_clip: open_clip's own results, without its look-ups, for every kind and tokenizer."""

import json

import open_clip
import pytest
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel

from evaluator.models.families import _openclip_towers as towers
from evaluator.models.loading import load_model
from evaluator.models.registry import default_registry
from evaluator.models.weights import locate
from shards.errors import UserError

REGISTRY = default_registry(plugins=[])
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 60,
}
LANGUAGE_MODELS = {
    "some/bert": ("bert", {**SIZES, "pad_token_id": 0, "layer_norm_eps": 1e-12}),
    "some/roberta": (
        "roberta",
        {
            **SIZES,
            "pad_token_id": 1,
            "max_position_embeddings": 98,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
        },
    ),
}
LANGUAGE_MODELS["some/xlm-roberta"] = ("xlm-roberta", LANGUAGE_MODELS["some/roberta"][1])
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
#: (language model, pooler, projection): every pooler and projection, every kind of model.
KINDS = {
    "bert-first-mlp": ("some/bert", "cls_last_hidden_state_pooler", "mlp"),
    "bert-mean-linear": ("some/bert", "mean_pooler", "linear"),
    "roberta-mean-mlp": ("some/roberta", "mean_pooler", "mlp"),
    "xlm-roberta-mean-mlp": ("some/xlm-roberta", "mean_pooler", "mlp"),
    "bert-pooling-layer": ("some/bert", "cls_pooler", "mlp"),
}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "chest",
    "x",
    "-",
    "ray",
    "of",
    "&",
    "cat",
    "CHEST",
    "'",
    "s",
    "<pad>",
    "</s>",
    "<eos>",
]
TEXTS = ["chest x-ray of cat", "CHEST &amp;   cat's", "cat"]


@pytest.fixture(scope="module", autouse=True)
def small_language_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, (language_model, pooler, projection) in KINDS.items():
        text = {"hf_model_name": language_model, "hf_pooler_type": pooler, "hf_proj_type": projection}
        text |= {
            "hf_tokenizer_name": "roberta-base" if "roberta" in name else "some/bert",
            "context_length": 20,
        }
        (folder / f"fairray-{name}.json").write_text(
            json.dumps({"embed_dim": 24, "vision_cfg": VISION, "text_cfg": text})
        )
    open_clip.add_model_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, (kind, settings) in LANGUAGE_MODELS.items():
            patch.setitem(towers.LANGUAGE_MODELS, name, (kind, settings))
        yield


def save_tokenizer(folder, pad, *, ends=("[CLS]", "[SEP]"), wordings=WORDS):
    """Write a tokenizer's file, and what transformers needs beside it to read the same."""
    made = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(wordings)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    template = " ".join(part for part in (ends[0], "$A", ends[1]) if part)
    marks = [(end, wordings.index(end)) for end in ends if end]
    made.post_processor = processors.TemplateProcessing(single=template, special_tokens=marks)
    made.save(str(folder / "tokenizer.json"))
    kept = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad,
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(kept))


def reference(name):
    """Return open_clip's own text tower of a kind, its language model as open_clip makes it when it may look it up."""
    language_model, pooler, projection = KINDS[name]
    kind, settings = LANGUAGE_MODELS[language_model]
    config = AutoConfig.for_model(kind, **settings)
    torch.manual_seed(3)
    tower = HFTextEncoder("", 24, config=config, pooler_type=pooler, proj_type=projection)
    tower.transformer = AutoModel.from_config(config, add_pooling_layer=pooler == "cls_pooler")
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return tower.eval().requires_grad_(False)


def load(name, tower, folder):
    visual = open_clip.model._build_vision_tower(24, VISION).state_dict()
    state = {f"visual.{key}": tensor for key, tensor in visual.items()}
    state |= {f"text.{key}": tensor for key, tensor in tower.state_dict().items()}
    state |= {
        "logit_scale": torch.tensor(2.0),
        "text.transformer.embeddings.position_ids": torch.arange(98)[None],
    }
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "w.safetensors")
    card = REGISTRY.card(f"openclip:fairray-{name}@{folder / 'w.safetensors'}")
    return load_model(card, locate(card))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "bert-pooling-layer"])
def test_text_features_are_those_of_open_clips_own_tower(tmp_path, name):
    pad = "<pad>" if "roberta" in name else "[PAD]"
    wordings = (
        ["[UNK]", pad, *[word for word in WORDS if word not in ("[UNK]", pad)]]
        if "roberta" in name
        else WORDS
    )
    save_tokenizer(tmp_path, pad, wordings=wordings)
    tower = reference(name)
    tokens = HFTokenizer(str(tmp_path), context_length=20)(TEXTS)
    assert (tokens == tower.config.pad_token_id).any()
    model = load(name, tower, tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_text(TEXTS), tower(tokens), rtol=1e-4, atol=1e-5)
    assert model.similarity.scale == pytest.approx(7.389056)
    assert model.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).projected.shape == (1, 24)


def test_towers_with_a_pooling_layer_are_refused_rather_than_pooled_otherwise(tmp_path):
    with pytest.raises(UserError, match=r"pooler of mean_pooler, cls_last.*got 'cls_pooler'"):
        load("bert-pooling-layer", reference("bert-pooling-layer"), tmp_path)


@pytest.mark.parametrize(
    ("architecture", "pad", "ends", "settings"),
    [
        ("roberta-ViT-B-32", "<pad>", ("[CLS]", "[SEP]"), {}),
        ("ViT-B-16-SigLIP", "</s>", (None, "</s>"), {"clean": "canonicalize"}),
        ("ViT-B-16-SigLIP2", "<pad>", (None, "<eos>"), {"clean": "canonicalize"}),
        ("ViT-L-14-worldwide", "<pad>", ("[CLS]", "[SEP]"), {"clean": "canonicalize"}),
        ("ViT-H-14-worldwide", "<pad>", ("[CLS]", "[SEP]"), {}),
        ("ViT-L-14-CLIPA", "[PAD]", ("[CLS]", "[SEP]"), {"strip_sep_token": True}),
    ],
)
def test_tokens_are_those_of_open_clips_tokenizer(tmp_path, architecture, pad, ends, settings):
    from evaluator.models.families._openclip_tokens import tokenizer
    from evaluator.models.families.openclip import architecture_config
    from evaluator.models.weights import LocatedWeights

    save_tokenizer(tmp_path, pad, ends=ends)
    card = REGISTRY.card(f"openclip:{architecture}@w.pth")
    found = LocatedWeights(tmp_path / "w.pth", "x", tmp_path / "tokenizer.json", "y")
    text = architecture_config(architecture)["text_cfg"]
    assert text.get("tokenizer_kwargs", {}) == settings
    expected = HFTokenizer(str(tmp_path), context_length=card.context_length, **settings)(TEXTS)
    assert torch.equal(tokenizer(card, found, text)(TEXTS), expected)
