"""Text towers see tiles of one size, so that a text's embedding does not depend on the others."""

import pytest
import torch

from evaluator.models.families._text import TEXT_TILE, encode_in_tiles
from evaluator.models.tokens import Tokens

CPU = torch.device("cpu")


def tokens(count):
    ids = torch.arange(count * 3).reshape(count, 3)
    return Tokens(ids, (ids % 2 == 0).long())


@pytest.mark.parametrize("count", [1, TEXT_TILE - 1, TEXT_TILE, TEXT_TILE + 1, 3 * TEXT_TILE])
def test_every_call_has_a_full_tile_and_every_text_its_row(count):
    seen = []

    def encode(ids, mask):
        seen.append((ids.shape, mask.shape))
        assert not torch.is_grad_enabled()
        return (ids * mask).double()

    given = tokens(count)
    found = encode_in_tiles(given, encode, CPU)
    assert set(seen) == {((TEXT_TILE, 3), (TEXT_TILE, 3))}
    assert len(seen) == -(-count // TEXT_TILE)
    assert found.dtype == torch.float32
    assert torch.equal(found, (given.ids * given.mask).float())


def test_the_last_tile_is_filled_up_by_its_last_text():
    seen = []
    encode_in_tiles((torch.tensor([[1], [2], [3]]),), lambda ids: seen.append(ids) or ids, CPU, tile=2)
    assert [ids.tolist() for ids in seen] == [[[1], [2]], [[3], [3]]]


def test_no_text_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        encode_in_tiles((torch.zeros(0, 3),), lambda ids: ids, CPU)
