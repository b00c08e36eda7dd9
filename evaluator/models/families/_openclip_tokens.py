"""Tokenizers of the openclip family: those that open_clip ships, and those that are files of their own.

Guarantee: no hub is asked. A text that is too long is refused rather than cut off unseen. Either is built when the first text
comes: image work needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evaluator.models.card import ModelCard, TokenizerFile
from evaluator.models.cards.openclip import CONCH_TOKENIZER
from evaluator.models.tokens import FileTokenizer
from evaluator.models.weights import LocatedWeights, require_tokenizer
from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    Tokenize = Callable[[Sequence[str]], Tensor]

#: Token that fills up, where the tokenizer's file does not name it and it is not BERT's.
_PADDING = {
    "roberta-base": "<pad>",
    "xlm-roberta-base": "<pad>",
    "xlm-roberta-large": "<pad>",
    "facebook/xlm-v-base": "<pad>",
    "google/mt5-base": "<pad>",
    CONCH_TOKENIZER.file: "<pad>",
}


def tokenizer_file(text: Mapping[str, Any]) -> TokenizerFile | None:
    """Return the file that an architecture's text configuration names; None where open_clip ships the tokenizer."""
    if "tokenizer_file" in text:
        made: TokenizerFile = text["tokenizer_file"]
        return made
    name = text.get("hf_tokenizer_name")
    return TokenizerFile("tokenizer.json", name) if name else None


def tokenizer(card: ModelCard, weights: LocatedWeights, text: Mapping[str, Any]) -> Tokenize:
    """Return the function that turns texts into ``[P, context]`` token numbers.

    Parameters
    ----------
    card, weights
        The model; its tokenizer's file may be missing until the first text comes.
    text
        Text configuration of its architecture.
    """
    if card.tokenizer is not None:
        return _from_file(card, weights, text)
    if tokenizer_file(text) is not None:
        raise UserError(f"card of model {card.name!r} must name the tokenizer's file of its text tower.")
    return _shipped(card)


def _from_file(card: ModelCard, weights: LocatedWeights, text: Mapping[str, Any]) -> Tokenize:
    settings = text.get("tokenizer_kwargs", {})
    built: list[FileTokenizer] = []

    def tokenize(texts: Sequence[str]) -> Tensor:
        require_tokenizer(card, weights)
        if not built and weights.tokenizer is not None and card.context_length is not None:
            padding, ends = _marks(text)
            built.append(FileTokenizer(weights.tokenizer, card.context_length, card.name, padding, ends))
        clean = _cleaning(settings.get("clean", "whitespace"))
        ids, mask = built[0]([clean(each) for each in texts])
        if settings.get("strip_sep_token"):  # CLIPA was trained with padding in the place of BERT's end mark
            ids.scatter_(1, mask.sum(1, keepdim=True) - 1, 0)
        return ids

    return tokenize


def _marks(text: Mapping[str, Any]) -> tuple[str | None, tuple[None, str] | None]:
    """Return the token that fills up and those at both ends; None for what the file says (or BERT's padding)."""
    wanted = tokenizer_file(text)
    source = "" if wanted is None else wanted.hub or wanted.file
    if source.startswith("timm/") and "SigLIP2" in source:
        return "<pad>", (None, "<eos>")
    if source.startswith("timm/") and "SigLIP" in source:
        return "</s>", (None, "</s>")
    return _PADDING.get(source), None


def _cleaning(kind: str) -> Callable[[str], str]:
    """Return what open_clip does to a text before it is cut into tokens; ``"none"`` for models that do nothing."""
    if kind == "none":
        return str
    from open_clip.tokenizer import get_clean_fn

    clean: Callable[[str], str] = get_clean_fn(kind)
    return clean


def _shipped(card: ModelCard) -> Tokenize:
    built: list[tuple[Any, Callable[[str], int]]] = []
    limit = card.context_length or 0

    def tokenize(texts: Sequence[str]) -> Tensor:
        if not built:
            built.append(_build_shipped(card))
        split, length = built[0]
        long = next((text for text in texts if length(text) > limit), None)
        if long is not None:
            raise UserError(
                f"text {long!r} has {length(long)} tokens; model {card.name!r} reads at most {limit}. "
                "Shorten it: the rest would be cut off unseen."
            )
        tokens: Tensor = split(list(texts), context_length=limit)
        return tokens

    return tokenize


def _build_shipped(card: ModelCard) -> tuple[Any, Callable[[str], int]]:
    """Return the tokenizer and a function that counts a text's tokens with both end marks."""
    if card.architecture == "tiny-clip":
        from evaluator.models.tiny import tokenizer as tiny

        return tiny.tokenize, lambda text: len(tiny.clean(text).encode()) + 2
    import open_clip

    shipped: Any = open_clip.get_tokenizer(card.architecture)
    return shipped, lambda text: len(shipped.encode(text)) + 2
