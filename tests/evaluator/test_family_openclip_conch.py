"""CONCH: the contrastive half of a CoCa, re-computed here from its tensors by the formulas of its publisher's code."""

import dataclasses
import json
import math

import pytest
import torch
from published_layouts import coca_pooler, drawn, openai_text, timm_vit
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from evaluator.models.families.openclip import build
from evaluator.models.interfaces import Similarity
from evaluator.models.loading import load_model
from evaluator.models.preprocess import normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate
from shards.errors import UserError

CARD = default_registry(plugins=[]).card("conch")
#: Of the published network: width, layers and heads of both towers, vocabulary, side of the images.
FULL = {"width": 768, "layers": 12, "heads": 12, "words": 32007, "image": 448}
SMALL = {"width": 48, "layers": 2, "heads": 4, "words": 300, "image": 64}
PROJECTED, POOLER_HEADS = 512, 8
TEXTS = ["An H&E image of a Tumour, naïve stain", "lung", "x" * 124]


def layout(sizes):
    """Return names and shapes of what is needed of the file."""
    width = sizes["width"]
    text = {
        "width": width,
        "layers": sizes["layers"],
        "words": sizes["words"],
        "places": 128,
        "projected": PROJECTED,
    }
    return {
        **timm_vit("visual.trunk.", width=width, layers=sizes["layers"], patch=16, image=sizes["image"]),
        **coca_pooler("visual.attn_pool_contrast", width=PROJECTED, context=width, queries=1),
        "visual.ln_contrast.weight": (PROJECTED,),
        "visual.ln_contrast.bias": (PROJECTED,),
        "visual.proj_contrast": (PROJECTED, PROJECTED),
        "text.cls_emb": (width,),
        **openai_text("text.", **text),
        "logit_scale": (),
    }


def captioning(sizes):
    """Return names and shapes of the file's other pooler, which only captions need."""
    width = sizes["width"]
    return {
        **coca_pooler("visual.attn_pool_caption", width=width, context=width, queries=256),
        "visual.ln_caption.weight": (width,),
        "visual.ln_caption.bias": (width,),
    }


@pytest.fixture
def card(tmp_path):
    """The card of a smaller network, its tokenizer beside the weights."""
    save_tokenizer(tmp_path / CARD.tokenizer.file)
    sizes = {name: SMALL[name] for name in ("width", "layers", "heads")}
    vision = {**sizes, "image_size": SMALL["image"], "patch_size": 16, "attn_pooler_heads": POOLER_HEADS}
    text = {**sizes, "context_length": 127, "vocab_size": SMALL["words"]}
    return dataclasses.replace(
        CARD,
        weights=dataclasses.replace(CARD.weights, file=str(tmp_path / "pytorch_model.bin"), hub=None),
        preprocessing=dataclasses.replace(CARD.preprocessing, size=SMALL["image"]),
        options={"vision_cfg": vision, "text_cfg": text},
    )


def save_tokenizer(path):
    """Write a tokenizer in the layout of the published one: bytes, no accents, lower case, two end marks, no padding."""
    specials = ["<pad>", "<start_of_text>", "<end_of_text>"]
    words = {
        word: number for number, word in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    made = Tokenizer(models.BPE({**words, "Ġl": 290, "un": 291}, [("Ġ", "l"), ("u", "n")]))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    marks = [("<start_of_text>", 1), ("<end_of_text>", 2)]
    made.post_processor = processors.TemplateProcessing(
        single="<start_of_text> $A <end_of_text>", special_tokens=marks
    )
    made.add_special_tokens(specials)
    made.save(str(path))
    assert json.loads(path.read_text())["padding"] is None


def tokens_as_published(path, texts):
    """Tokenize as the publisher's code does: 127 places, then one of padding in the place of the class token."""
    reader = PreTrainedTokenizerFast(tokenizer_file=str(path), pad_token="<pad>")
    ids = reader(texts, max_length=127, truncation=True, padding="max_length", return_tensors="pt")[
        "input_ids"
    ]
    return functional.pad(ids, (0, 1), value=0)


def published(**changes):
    state = {**drawn(layout(SMALL) | captioning(SMALL)), "logit_scale": torch.tensor(4.0), **changes}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def load(card, state):
    torch.save(state, card.weights.file)
    return load_model(card, locate(card))


def pixels(count=2):
    side = SMALL["image"]
    return torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


class ByHand:
    """CONCH from its tensors, with nothing but matrix products."""

    def __init__(self, state):
        self.state = {name: tensor.double() for name, tensor in state.items()}

    def linear(self, name, given):
        return given @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def norm(self, name, given, eps):
        centred = given - given.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return centred / spread * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    @staticmethod
    def attend(query, key, value, heads, mask=0.0):
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + mask
        return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)

    def image(self, images):
        """Return the features before and after the projection."""
        width = SMALL["width"]
        kernel, bias = (self.state[f"visual.trunk.patch_embed.proj.{part}"] for part in ("weight", "bias"))
        patches = functional.conv2d(images.double(), kernel, bias, stride=16).flatten(2).transpose(1, 2)
        first = self.state["visual.trunk.cls_token"].expand(len(images), 1, width)
        value = torch.cat([first, patches], 1) + self.state["visual.trunk.pos_embed"]
        for layer in range(SMALL["layers"]):
            block = f"visual.trunk.blocks.{layer}"
            parts = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", value, 1e-6)).chunk(3, -1)
            value = value + self.linear(f"{block}.attn.proj", self.attend(*parts, SMALL["heads"]))
            inner = functional.gelu(self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", value, 1e-6)))
            value = value + self.linear(f"{block}.mlp.fc2", inner)
        pool = "visual.attn_pool_contrast"
        tokens = self.norm(f"{pool}.ln_k", self.norm("visual.trunk.norm", value, 1e-6), 1e-5)
        asked = self.norm(f"{pool}.ln_q", self.state[f"{pool}.query"], 1e-5).expand(len(images), 1, PROJECTED)
        biases = self.state[f"{pool}.attn.in_proj_bias"].chunk(3)
        query, key, answer = (
            given @ self.state[f"{pool}.attn.{letter}_proj_weight"].T + bias
            for letter, given, bias in zip("qkv", (asked, tokens, tokens), biases, strict=True)
        )
        pooled = self.linear(f"{pool}.attn.out_proj", self.attend(query, key, answer, POOLER_HEADS))[:, 0]
        features = self.norm("visual.ln_contrast", pooled, 1e-5)
        return features, features @ self.state["visual.proj_contrast"]

    def text(self, tokens):
        """Encode ``[P, 128]`` tokens; the last one only keeps the place of the class token."""
        tokens = tokens[:, :-1]
        embedded = self.state["text.token_embedding.weight"][tokens]
        last = self.state["text.cls_emb"].expand(len(tokens), 1, -1)
        value = torch.cat([embedded, last], 1) + self.state["text.positional_embedding"]
        causal = torch.full((128, 128), -torch.inf).triu(1)
        mask = causal.repeat(len(tokens), 1, 1)
        # Of the class token only: place j + 1 is hidden where token j is padding.
        mask[:, -1, 1:] = torch.where(tokens == 0, -torch.inf, 0.0)
        for layer in range(SMALL["layers"]):
            block = f"text.transformer.resblocks.{layer}"
            given = self.norm(f"{block}.ln_1", value, 1e-5)
            weight, bias = (self.state[f"{block}.attn.in_proj_{part}"] for part in ("weight", "bias"))
            parts = (given @ weight.T + bias).chunk(3, -1)
            answer = self.attend(*parts, SMALL["heads"], mask[:, None].double())
            value = value + self.linear(f"{block}.attn.out_proj", answer)
            inner = functional.gelu(self.linear(f"{block}.mlp.c_fc", self.norm(f"{block}.ln_2", value, 1e-5)))
            value = value + self.linear(f"{block}.mlp.c_proj", inner)
        return self.norm("text.ln_final", value[:, -1], 1e-5) @ self.state["text.text_projection"]


def test_network_has_the_published_names_and_shapes_at_full_size():
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in build(CARD).state_dict().items()}
    assert own == layout(FULL)
    # The published file has 802 MB: these tensors and the captioning pooler in float32, without the text decoder.
    count = sum(math.prod(shape) for shape in (layout(FULL) | captioning(FULL)).values())
    assert count * 4 / 1e6 == pytest.approx(802, abs=0.6)


def test_image_features_are_those_computed_by_hand(card):
    state = published()
    model = load(card, state)
    features, projected = model.encode(pixels())
    expected = ByHand(state).image(normalise(pixels(), card.preprocessing))
    torch.testing.assert_close(features.double(), expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(projected.double(), expected[1], rtol=1e-4, atol=1e-4)
    assert model.encode(pixels(1)).features.shape == (1, PROJECTED)


def test_text_features_are_those_computed_by_hand_for_short_and_full_texts(card, tmp_path):
    state = published()
    tokens = tokens_as_published(tmp_path / CARD.tokenizer.file, TEXTS)
    filled = (tokens != 0).sum(1)
    assert filled[1] < 10
    assert filled[2] == 127
    expected = ByHand(state).text(tokens)
    torch.testing.assert_close(load(card, state).encode_text(TEXTS).double(), expected, rtol=1e-4, atol=1e-4)


def test_texts_of_more_than_127_tokens_are_refused(card):
    with pytest.raises(UserError, match=r"128 tokens; model 'conch' reads at most 127"):
        load(card, published()).encode_text(["x" * 125])


def test_decoder_and_captioning_branch_are_left_out_wherever_they_are(card):
    with_decoder = published(**{"text_decoder.ln_final.weight": torch.ones(48)})
    without = {name: tensor for name, tensor in published().items() if name not in captioning(SMALL)}
    first, second = load(card, with_decoder).encode(pixels()), load(card, without).encode(pixels())
    assert torch.equal(first.features, second.features)
    wrapped = load(card, {"state_dict": {f"module.{name}": tensor for name, tensor in published().items()}})
    assert torch.equal(wrapped.encode(pixels()).projected, first.projected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visual.attn_pool_contrast.query": None}, r"1 missing: visual\.attn_pool_contrast\.query"),
        (
            {"text.cls_emb": None, "visual.proj_contrast": None},
            r"2 missing: visual\.proj_contrast, text\.cls_emb",
        ),
        ({"visual.head.weight": torch.zeros(2)}, r"1 unexpected: visual\.head\.weight"),
        (
            {"visual.trunk.pos_embed": torch.zeros(1, 5, 48)},
            r"visual\.trunk\.pos_embed \(expected \[1, 17, 48\]",
        ),
    ],
)
def test_half_and_foreign_checkpoints_are_refused(card, changes, message):
    with pytest.raises(UserError, match=message):
        load(card, published(**changes))


def test_scale_is_the_learned_one(card):
    assert load(card, published()).similarity == Similarity("softmax", pytest.approx(math.exp(4.0)), 0.0)


def test_missing_weights_and_tokenizer_say_where_they_are_and_that_the_weights_are_gated(card, tmp_path):
    with pytest.raises(
        MissingWeights, match=r"'pytorch_model.bin'.*MahmoodLab/conch, licence: CC-BY-NC-ND-4\.0 \(gated"
    ):
        locate(CARD, [tmp_path / "nothing"])
    (tmp_path / CARD.tokenizer.file).unlink()
    model = load(card, published())
    with pytest.raises(
        MissingWeights, match=r"github\.com/mahmoodlab/CONCH.*'conch/conch_byte_level_bpe_uncased\.json'\.$"
    ):
        model.encode_text(["lung"])
