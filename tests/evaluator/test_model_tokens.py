"""Texts become tokens by a file beside the weights: as the reference tokenizer's, of one length, never cut off."""

import dataclasses

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizerFast

from evaluator.models.card import ModelCard, Preprocessing, TokenizerFile, Weights
from evaluator.models.tokens import FileTokenizer
from evaluator.models.weights import MissingWeights, locate, require_tokenizer
from shards.errors import UserError

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "chest",
    "x",
    "-",
    "ray",
    "of",
    "pneu",
    "##mo",
    "##nia",
    ".",
]
TEXTS = ["A chest X-ray.", "pneumonia of chest, naïve", ""]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


def test_word_pieces_are_those_of_bert_as_transformers_reads_them(vocabulary):
    found = FileTokenizer(vocabulary, 12, "some-model")(TEXTS)
    reference = BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True)
    expected = reference(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    assert torch.equal(found.ids, expected["input_ids"])
    assert torch.equal(found.mask, expected["attention_mask"])
    assert found.ids.shape == (3, 12)


def test_a_text_has_the_same_tokens_alone_and_among_others(vocabulary):
    tokenizer = FileTokenizer(vocabulary, 12, "some-model")
    together = tokenizer(TEXTS)
    for place, text in enumerate(TEXTS):
        assert torch.equal(tokenizer([text]).ids[0], together.ids[place])


def test_a_text_that_is_too_long_is_refused_and_not_cut_off(vocabulary):
    tokenizer = FileTokenizer(vocabulary, 5, "some-model")
    assert tokenizer(["a chest ray"]).mask.sum() == 5
    with pytest.raises(UserError, match=r"'a chest ray of' has 6 tokens; model 'some-model' reads at most 5"):
        tokenizer(["a chest ray of"])


def test_a_saved_tokenizer_keeps_its_end_marks_and_is_padded_with_the_token_asked_for(tmp_path):
    made = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "a": 2, "b": 3, "<unk>": 4}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    found = FileTokenizer(tmp_path / "tokenizer.json", 5, "some-model", pad="</s>")(["a b a", "b"])
    assert found.ids.tolist() == [[2, 3, 2, 1, 1], [3, 1, 1, 1, 1]]
    assert found.mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]
    with pytest.raises(UserError, match=r"no token '\[PAD\]'.*belongs to another model"):
        FileTokenizer(tmp_path / "tokenizer.json", 5, "some-model")(["a"])


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json of model 'some-model' cannot be read"):
        FileTokenizer(tmp_path / "tokenizer.json", 5, "some-model")(["a"])


def card(tmp_path, **changes):
    (tmp_path / "w.pth").write_bytes(b"weights")
    half = (0.5,) * 3
    made = ModelCard(
        name="some-model",
        family="openclip",
        architecture="x",
        weights=Weights(file=str(tmp_path / "w.pth")),
        preprocessing=Preprocessing(32, "squash", "bilinear", half, half),
        licence="MIT",
        abilities=frozenset({"encode", "text"}),
        feature="pool",
        dimension=8,
        tokenizer=TokenizerFile("vocab.txt", "some/language-model"),
    )
    return dataclasses.replace(made, **changes)


def test_the_tokenizer_is_found_beside_the_weights_or_in_the_models_folder(tmp_path, vocabulary):
    assert locate(card(tmp_path)).tokenizer == vocabulary
    other = tmp_path / "folder" / "some-model" / "vocab.txt"
    other.parent.mkdir(parents=True)
    other.write_text("other")
    found = locate(card(tmp_path), [tmp_path / "folder"])
    assert found.tokenizer == other
    assert found.tokenizer_sha256 != locate(card(tmp_path)).tokenizer_sha256
    assert found.sha256 == locate(card(tmp_path)).sha256


def test_without_a_tokenizer_images_can_be_encoded_and_texts_are_refused_with_the_place(tmp_path):
    found = locate(card(tmp_path))
    assert found.tokenizer is None
    with pytest.raises(MissingWeights, match=r"'vocab.txt'.*some/language-model.*'some-model/vocab.txt'"):
        require_tokenizer(card(tmp_path), found)
    require_tokenizer(card(tmp_path, tokenizer=None), found)


def test_end_marks_that_the_card_asks_for_replace_those_of_the_file(tmp_path):
    made = Tokenizer(
        models.WordLevel({"<pad>": 0, "<eos>": 1, "<bos>": 2, "a": 3, "<unk>": 4}, unk_token="<unk>")
    )
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    made.save(str(tmp_path / "tokenizer.json"))

    def ids(ends):
        tokenizer = FileTokenizer(tmp_path / "tokenizer.json", 4, "some-model", pad="<pad>", ends=ends)
        return tokenizer(["a"]).ids.tolist()

    assert ids(None) == [[2, 3, 0, 0]]
    assert ids((None, "<eos>")) == [[3, 1, 0, 0]]
    assert ids(("<bos>", "<eos>")) == [[2, 3, 1, 0]]
    with pytest.raises(UserError, match=r"no token '</s>' to mark an end with.*belongs to another model"):
        ids((None, "</s>"))
