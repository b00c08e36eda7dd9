"""Turn texts into tokens by a tokenizer's file, without asking a hub.

Guarantee: every text gets the same number of tokens, so that the embedding of a text does not depend on the others; a text that
is too long is refused rather than cut off unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shards.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Tokens(NamedTuple):
    """Texts as a text tower takes them.

    Attributes
    ----------
    ids
        ``[P, length]`` int64, padded at the end.
    mask
        ``[P, length]`` int64, 1 where there is a token and 0 where there is padding.
    """

    ids: Tensor
    mask: Tensor


class FileTokenizer:
    """A tokenizer read from its file when the first text comes.

    Parameters
    ----------
    path
        ``tokenizer.json`` of the tokenizers library, or ``vocab.txt`` of BERT's word pieces (lower case, accents off).
    length
        Tokens of every text, both end marks counted.
    model
        Name for messages.
    pad
        The token that fills up; None for that of the file.
    ends
        The marks before and after every text (None: no mark there), where the file's own are not to be relied on; None for
        those of the file.
    """

    def __init__(
        self,
        path: Path,
        length: int,
        model: str,
        pad: str | None = None,
        ends: tuple[str | None, str | None] | None = None,
    ) -> None:
        self._path = path
        self._length = length
        self._model = model
        self._pad = pad
        self._ends = ends
        self._read: Any = None

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Turn texts into tokens.

        Raises
        ------
        UserError
            If a text has more tokens than the model reads, or the file is no tokenizer.
        """
        import torch

        if self._read is None:
            self._read = self._open()
        found = [self._read.encode(text) for text in texts]
        for text, encoding in zip(texts, found, strict=True):
            count = sum(encoding.attention_mask)
            if count > self._length:
                raise UserError(
                    f"text {text!r} has {count} tokens; model {self._model!r} reads at most {self._length}. "
                    "Shorten it: the rest would be cut off unseen."
                )
        return Tokens(
            torch.tensor([encoding.ids for encoding in found], dtype=torch.int64),
            torch.tensor([encoding.attention_mask for encoding in found], dtype=torch.int64),
        )

    def _open(self) -> Any:
        from tokenizers import Tokenizer
        from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

        try:
            if self._path.suffix == ".txt":
                made: Any = BertWordPieceTokenizer(str(self._path), lowercase=True)
            else:
                made = Tokenizer.from_file(str(self._path))
        except Exception as error:  # the library raises plain exceptions of its own
            raise UserError(
                f"tokenizer file {self._path} of model {self._model!r} cannot be read: {error}. Get it again."
            ) from error
        pad = self._pad or (made.padding or {}).get("pad_token") or "[PAD]"
        number = self._number(made, pad, "to fill up with")
        if self._ends is not None:
            made.post_processor = self._marks(made, self._ends)
        made.no_truncation()
        made.enable_padding(length=self._length, pad_id=number, pad_token=pad)
        return made

    def _marks(self, made: Any, ends: tuple[str | None, str | None]) -> Any:
        from tokenizers.processors import TemplateProcessing

        first, last = ends
        marks = {mark: self._number(made, mark, "to mark an end with") for mark in ends if mark is not None}
        template = " ".join(part for part in (first, "$A", last) if part is not None)
        return TemplateProcessing(single=template, special_tokens=list(marks.items()))

    def _number(self, made: Any, token: str, purpose: str) -> int:
        number = made.token_to_id(token)
        if number is None:
            raise UserError(
                f"tokenizer file {self._path} of model {self._model!r} has no token {token!r} {purpose}. "
                "It belongs to another model; get the one named on the model's page."
            )
        return int(number)
