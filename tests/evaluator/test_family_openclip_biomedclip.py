"""BiomedCLIP: a vision transformer of timm beside PubMedBERT, filled from the publisher's file."""

import dataclasses

import pytest
import timm
import torch
from published_layouts import bert, drawn, timm_vit
from transformers import BertConfig, BertModel, BertTokenizerFast

from evaluator.models.families import _openclip_towers as towers
from evaluator.models.families.openclip import build
from evaluator.models.interfaces import Similarity
from evaluator.models.loading import load_model
from evaluator.models.preprocess import normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

CARD = default_registry(plugins=[]).card("biomedclip")
LANGUAGE_MODEL = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["a", "chest", "x", "-", "ray", "of", "pneumonia", "&", "cat", "photo", "the", "##s"],
]
TEXTS = ["A chest X-ray of pneumonia", "a photo of the cat &amp;  cats", "a"]
SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 40,
}


def layout(*, vision, text):
    """Return names and shapes of the published file; its scale is a number without axes."""
    inner = (text["width"] + 512) // 2
    return {
        **timm_vit("visual.trunk.", **vision),
        "visual.head.proj.weight": (512, vision["width"]),
        **bert("text.transformer.", **text),
        "text.proj.0.weight": (inner, text["width"]),
        "text.proj.2.weight": (512, inner),
        "logit_scale": (),
    }


FULL = layout(
    vision={"width": 768, "layers": 12, "patch": 16, "image": 224},
    text={"width": 768, "layers": 12, "inner": 3072, "words": 30522},
)
REDUCED = layout(
    vision={"width": 192, "layers": 12, "patch": 16, "image": 224},
    text={"width": 48, "layers": 2, "inner": 64, "words": 40},
)


@pytest.fixture
def card(tmp_path, monkeypatch):
    """The card of a smaller network at an address of its own, with a tokenizer beside it."""
    kind, settings = towers.LANGUAGE_MODELS[LANGUAGE_MODEL]
    monkeypatch.setitem(towers.LANGUAGE_MODELS, LANGUAGE_MODEL, (kind, {**settings, **SMALL}))
    vision = {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    }
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"), do_lower_case=True)
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    return dataclasses.replace(
        CARD,
        weights=dataclasses.replace(
            CARD.weights, file=str(tmp_path / "open_clip_pytorch_model.bin"), hub=None
        ),
        options={"vision_cfg": vision},
    )


def published(**changes):
    """Return a file's tensors, with the positions that older releases of transformers stored."""
    return {**drawn(REDUCED), "text.transformer.embeddings.position_ids": torch.arange(512)[None], **changes}


def load(card, state):
    torch.save(state, card.weights.file)
    return load_model(card, locate(card))


def pixels(count=2):
    return torch.randint(
        0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def part(state, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def test_network_has_the_published_names_and_shapes_at_full_size():
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in build(CARD).state_dict().items()}
    assert own == FULL
    # The published file has 784 MB: these tensors in float32, and 512 positions.
    assert sum(torch.Size(shape).numel() for shape in FULL.values()) * 4 / 1e6 == pytest.approx(784, abs=0.6)


def test_image_features_are_those_of_timm_with_the_same_weights(card):
    state = published()
    features, projected = load(card, state).encode(pixels())
    trunk = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    trunk.load_state_dict(part(state, "visual.trunk."))
    with torch.inference_mode():
        expected = trunk(normalise(pixels(), CARD.preprocessing))
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
        head = state["visual.head.proj.weight"]
        torch.testing.assert_close(projected, expected @ head.T, rtol=1e-4, atol=1e-4)
    assert load(card, state).encode(pixels(1)).features.shape == (1, 192)


def test_text_features_are_those_of_bert_with_the_same_weights(card, tmp_path):
    state = published()
    found = load(card, state).encode_text(TEXTS)
    config = BertConfig(**SMALL)
    reference = BertModel(config, add_pooling_layer=False).eval()
    reference.load_state_dict(part(published(), "text.transformer."), strict=False)
    tokenizer = BertTokenizerFast(vocab=str(tmp_path / "vocab.txt"), do_lower_case=True)
    cleaned = [text.replace("&amp;  ", "& ") for text in TEXTS]
    tokens = tokenizer(
        cleaned, padding="longest", return_tensors="pt"
    )  # shorter padding: the mask must make up for it
    with torch.inference_mode():
        first = reference(tokens["input_ids"], tokens["attention_mask"]).last_hidden_state[:, 0]
        inner = torch.nn.functional.gelu(first @ state["text.proj.0.weight"].T)
        expected = inner @ state["text.proj.2.weight"].T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_texts_embedding_does_not_depend_on_the_others(card):
    model = load(card, published())
    together = model.encode_text([*TEXTS, *["cat"] * 17])
    assert torch.equal(model.encode_text(TEXTS[1:2])[0], together[1])


def test_scale_is_the_learned_one(card):
    model = load(card, published(logit_scale=torch.tensor(4.4454)))
    assert model.similarity == Similarity("softmax", pytest.approx(85.2, abs=0.1), 0.0)


def test_context_is_256_tokens_and_a_longer_text_is_refused(card):
    model = load(card, published())
    assert model.encode_text(["cat " * 254]).shape == (1, 512)
    with pytest.raises(UserError, match=r"257 tokens; model 'biomedclip' reads at most 256"):
        model.encode_text(["cat " * 255])


def test_images_are_encoded_without_a_tokenizer_and_texts_say_where_it_is(card, tmp_path):
    (tmp_path / "tokenizer.json").unlink()
    model = load(card, published())
    assert model.encode(pixels()).projected.shape == (2, 512)
    with pytest.raises(
        MissingWeights, match=r"'tokenizer.json' of model 'biomedclip'.*huggingface.co/microsoft/BiomedCLIP"
    ):
        model.encode_text(["cat"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual.trunk.norm.weight": None}, r"1 missing: visual\.trunk\.norm\.weight"),
        ({"text.proj.0.weight": None, "text.proj.2.weight": None}, r"2 missing: text\.proj\.0\.weight"),
        ({"text.transformer.pooler.dense.bias": torch.zeros(48)}, r"1 unexpected: text\.transformer\.pooler"),
        (
            {"visual.head.proj.weight": torch.zeros(512, 191)},
            r"1 of another shape: visual\.head\.proj\.weight",
        ),
    ],
)
def test_half_and_foreign_checkpoints_are_refused(card, changes, message):
    state = {name: tensor for name, tensor in published(**changes).items() if tensor is not None}
    with pytest.raises(UserError, match=message):
        load(card, state)


def test_any_checkpoint_of_the_architecture_can_be_named():
    generic = default_registry(plugins=[]).card("openclip:biomedclip@own.pt")
    assert generic.weights.file == "own.pt"
    assert (generic.preprocessing, generic.tokenizer) == (CARD.preprocessing, CARD.tokenizer)
    assert (generic.context_length, generic.projected) == (256, 512)


@pytest.mark.parametrize("name", ["BiomedCLIP", "biomed-clip", "biomed_clip"])
def test_papers_names_are_accepted(name):
    assert default_registry(plugins=[]).card(name).name == "biomedclip"
