"""A tokenizer that needs no vocabulary file: one token per UTF-8 byte.

Like CLIP's it lower-cases, collapses white space, cuts long texts and lets the end token have the highest id,
by which the text tower finds it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PAD, START, END = 256, 257, 258
VOCABULARY = 259
CONTEXT_LENGTH = 80


def clean(text: str) -> str:
    r"""Return the text as the model sees it: NFC, lower case, single spaces.

    Examples
    --------
    >>> clean("  A  Chest\nX-ray ")
    'a chest x-ray'
    """
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def tokenize(texts: str | Sequence[str], context_length: int = CONTEXT_LENGTH) -> Tensor:
    """Turn texts into token ids.

    Parameters
    ----------
    texts
        One text or several.
    context_length
        Tokens per text, with start and end; at least 3. Longer texts are cut, shorter ones padded.

    Returns
    -------
    torch.Tensor
        ``[len(texts), context_length]`` int64 in [0, 258].

    Raises
    ------
    ValueError
        If `context_length` is below 3.
    """
    import torch

    if context_length < 3:
        raise ValueError(f"context_length must be at least 3, got {context_length}")
    listed = [texts] if isinstance(texts, str) else list(texts)
    ids = torch.full((len(listed), context_length), PAD, dtype=torch.long)
    for row, text in enumerate(listed):
        content = list(clean(text).encode("utf-8", errors="replace")[: context_length - 2])
        ids[row, : len(content) + 2] = torch.tensor([START, *content, END])
    return ids


def detokenize(ids: Tensor) -> list[str]:
    """Return the texts of ``[N, L]`` token ids; a character cut in half by the length limit is dropped."""
    return [
        bytes(token for token in row if token < PAD).decode("utf-8", errors="ignore") for row in ids.tolist()
    ]
