"""Encode texts in tiles of a fixed number, for the text towers of every family.

Guarantee: the embedding of a text is the same bits whatever else was asked with it. The last bits of a matrix product depend
on its shape, so a tower always sees exactly `tile` texts of one length; the last tile is filled up by repeating its last text.
Text towers are cheap and stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evaluator.models.numerics import inference

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEXT_TILE = 16


def encode_in_tiles(
    tokens: Sequence[Tensor],
    encode: Callable[..., Tensor],
    device: torch.device,
    *,
    tile: int = TEXT_TILE,
) -> Tensor:
    """Encode the tokens of any number of texts.

    Parameters
    ----------
    tokens
        What the tower takes, one tensor ``[P, length]`` an argument: ``(ids,)``, or ids and mask as
        :class:`evaluator.models.tokens.Tokens` holds them.
    encode
        Called with each of them cut to ``[tile, length]`` on `device`; returns ``[tile, D]``.
    device
        Where the tower runs.
    tile
        Texts a call.

    Returns
    -------
    Tensor
        ``[P, D]`` float32.

    Raises
    ------
    ValueError
        If there is no text.
    """
    import torch

    count = len(tokens[0])
    if count == 0:
        raise ValueError("texts must have at least one entry, got none")
    full = [torch.cat([each, each[-1:].expand(-count % tile, -1)]).to(device) for each in tokens]
    with inference(device, "fp32"):
        parts = [
            encode(*group).float() for group in zip(*(torch.split(each, tile) for each in full), strict=True)
        ]
    return torch.cat(parts)[:count]
