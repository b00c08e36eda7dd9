import numpy as np
import pytest
import torch

from evaluator.models.interfaces import ImageFeatures, PromptableSegmenter
from evaluator.models.loading import load_model
from evaluator.models.preprocess import Framed, Preprocessor
from evaluator.models.registry import default_registry
from evaluator.models.tiles import embed_tiles, encode_tiles, tile_size
from evaluator.models.weights import locate

REGISTRY = default_registry(plugins=[])
COUNT = 37


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(name):
    card = REGISTRY.card(name)
    return load_model(card, locate(card))


def images_for(card, count=COUNT):
    rng = np.random.default_rng(5)
    preprocess = Preprocessor(card.preprocessing)
    shapes = [(40 + i, 90 - i, 3) for i in range(count)]
    return [preprocess(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def handed_over_in_batches(images, size):
    """What a caller that reads `size` images at a time passes on."""
    for start in range(0, len(images), size):
        yield from images[start : start + size]


@pytest.mark.parametrize("name", ["tiny-clip", "timm:test_efficientnet@random"])
def test_features_are_bit_identical_for_every_batch_size_of_the_caller(name):
    model = model_of(name)
    images = images_for(model.card)
    runs = []
    for size in (1, 7, 64):
        parts = list(encode_tiles(model, handed_over_in_batches(images, size), tile=16))
        assert [len(part.features) for part in parts] == [16, 16, 5]
        runs.append(torch.cat([part.features for part in parts]))
    assert runs[0].shape == (COUNT, model.card.dimension)
    assert all(torch.equal(run, runs[0]) for run in runs[1:])


def test_tiles_give_the_same_features_as_single_images_within_rounding():
    model = model_of("tiny-clip")
    images = images_for(model.card, 5)
    (part,) = encode_tiles(model, images, tile=16)
    for row, image in enumerate(images):
        alone = model.encode(torch.from_numpy(image.pixels)[None])
        torch.testing.assert_close(part.features[row : row + 1], alone.features, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(part.projected[row : row + 1], alone.projected, rtol=1e-4, atol=1e-5)


def test_embeddings_come_one_by_one_with_their_own_padding():
    model = model_of("tiny-sam")
    images = images_for(model.card, 5)
    embeddings = list(embed_tiles(model, images, tile=4))
    assert [list(embedding.shape) for embedding in embeddings] == [[1, 64, 16, 16]] * 5
    for embedding, image in zip(embeddings, images, strict=True):
        alone = model.embed(torch.from_numpy(image.pixels)[None], [image.frame])
        torch.testing.assert_close(embedding, alone, rtol=1e-3, atol=1e-4)


class Recorder(PromptableSegmenter):
    """Counts passes and remembers how many images each had."""

    def __init__(self, card):
        self.card = card
        self.batches = []

    def embed(self, images, frames=None):
        self.batches.append(len(images))
        return images[:, :1].float()

    def encode(self, images, frames=None):
        self.batches.append((len(images), frames))
        return ImageFeatures(images.float().flatten(1), None)

    def decode(self, embedding, prompts, *, frame, original):
        raise AssertionError("tiles do not decode")


def test_network_always_sees_full_tiles_and_images_are_taken_lazily():
    recorder = Recorder(REGISTRY.card("tiny-clip"))
    taken = []

    def source():
        for number in range(9):
            taken.append(number)
            yield Framed(np.full((3, 4, 4), number, np.uint8), (4, 4))

    stream = encode_tiles(recorder, source(), tile=4)
    assert taken == []
    first = next(stream)
    assert taken == [0, 1, 2, 3]
    rest = list(stream)
    values = [int(row[0]) for part in (first, *rest) for row in part.features]
    assert values == list(range(9))
    assert recorder.batches == [(4, None)] * 3


def test_no_images_give_no_tiles():
    assert list(encode_tiles(Recorder(REGISTRY.card("tiny-clip")), [], tile=4)) == []


def test_tiles_below_one_image_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        next(encode_tiles(Recorder(REGISTRY.card("tiny-clip")), [], tile=0))


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [
        ("clip-vit-b32", "cpu", 16),
        ("clip-vit-b32", "cuda:1", 64),
        ("sam-vit-b", "cpu", 1),
        ("sam-vit-b", "cuda", 4),
    ],
)
def test_tile_follows_from_model_and_device_alone(name, device, expected):
    assert tile_size(REGISTRY.card(name), device) == expected
