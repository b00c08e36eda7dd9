"""What the openclip family's cards say is what its networks and its publishers' transforms do."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from evaluator.models.families.openclip import build, split_tower
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from evaluator.models.weights import MissingWeights, locate

REGISTRY = default_registry(plugins=[])
CARDS = [card for card in REGISTRY.cards() if card.family == "openclip" and card.architecture != "tiny-clip"]
#: Side of the images that each of the medical models takes.
SIZES = {
    "biomedclip": 224,
    "conch": 448,
    "pubmedclip-rn50": 224,
    "pubmedclip-rn50x4": 288,
    "pubmedclip-vit-b32": 224,
}
MEDICAL = [REGISTRY.card(name) for name in SIZES]
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_lengths_and_costs_on_the_card_are_those_of_the_network(card):
    with torch.device("meta"):
        tower = split_tower(build(card).eval().requires_grad_(False).visual)
    size = card.preprocessing.size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = tower(torch.empty(1, 3, size, size, device="meta"))
    assert [tuple(output.shape) for output in outputs] == [(1, card.dimension), (1, card.projected)]
    assert card.gflops == pytest.approx(counter.get_total_flops() / 1e9, rel=0.01)


def test_cost_of_conch_counts_every_matrix_product():
    # By hand: 784 patches of 768 values, 785 tokens through 12 blocks, keys and answers of one pooling query.
    tokens, width, pooled = 785, 768, 512
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    pool = 2 * tokens * width * pooled + 3 * pooled**2 + 2 * tokens * pooled
    assert REGISTRY.card("conch").gflops == pytest.approx(
        2e-9 * (784 * width**2 + 12 * block + pool), rel=0.01
    )


@pytest.mark.parametrize("card", MEDICAL, ids=lambda card: card.name)
@pytest.mark.parametrize(("height", "width"), [(301, 517), (613, 224), (97, 130), (449, 449)])
def test_images_are_prepared_as_their_publishers_do(card, height, width):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = SIZES[card.name]
    steps = [Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size), ToTensor()]
    expected = Compose([*steps, Normalize(MEAN, DEVIATION)])(Image.fromarray(image))
    pixels = torch.from_numpy(Preprocessor(card.preprocessing)(image).pixels)[None]
    assert torch.equal(normalise(pixels, card.preprocessing)[0], expected)


@pytest.mark.parametrize("card", MEDICAL, ids=lambda card: card.name)
def test_missing_weights_are_named_with_page_and_licence(card, tmp_path):
    with pytest.raises(MissingWeights) as raised:
        locate(card, [tmp_path])
    message = str(raised.value)
    assert f"'{card.weights.file}'" in message
    assert f"https://huggingface.co/{card.weights.hub}" in message
    assert f"licence: {card.licence}" in message
    assert ("gated" in message) == card.weights.gated == (card.name == "conch")


def test_what_a_reader_of_results_must_know_is_on_the_cards():
    assert all(card.notes for card in MEDICAL)
    assert {card.name: card.trained_on for card in MEDICAL} == {
        "biomedclip": ("pmc-15m",),
        "conch": ("conch-1.17m",),
        "pubmedclip-rn50": ("openai-wit-400m", "roco"),
        "pubmedclip-rn50x4": ("openai-wit-400m", "roco"),
        "pubmedclip-vit-b32": ("openai-wit-400m", "roco"),
    }


def test_the_context_is_part_of_a_models_identity():
    card = REGISTRY.card("biomedclip")
    assert card.identity() != dataclasses.replace(card, context_length=77).identity()
