"""Gray preprocessing with black padding: the pixels of the publishers' own transforms, and nothing changed for the others."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from evaluator.models.area import resize_area
from evaluator.models.card import Preprocessing
from evaluator.models.interfaces import MaskPrompt
from evaluator.models.preprocess import Preprocessor, normalise
from evaluator.models.registry import default_registry
from shards.errors import UserError
from shards.files import digest

PADDED = Preprocessing(224, "pad-square", "bicubic", (0.58,) * 3, (0.28,) * 3, colour="gray")
CROPPED = Preprocessing(
    224, "longest-pad-crop", "area", (0.5,) * 3, (0.5,) * 3, crop_fraction=0.875, colour="gray"
)
SIZES = [(224, 224), (150, 200), (301, 97), (31, 45), (640, 479), (1, 300)]

#: sha256 (first 16 digits) of what OpenCV 4.10.0 and 5.0.0 alike give: cv2.resize(texture(*source), interpolation=INTER_AREA).
BY_OPENCV = [
    ((512, 512), (256, 256), "1fe35df7801dca48"),
    ((768, 1024), (192, 256), "1eb1f55e74032b45"),
    ((300, 200), (256, 170), "f6d5754370341f7c"),
    ((1023, 731), (256, 182), "b8068a7e3f29db6f"),
    ((257, 256), (256, 255), "370e16b1d0e67ff6"),
    ((31, 45), (176, 256), "0a3ebf053a223b7e"),
    ((150, 200), (192, 256), "a23245ca142de43b"),
    ((255, 1), (256, 1), "e87d4a66c68b7ce8"),
    ((400, 3), (256, 1), "c2152d36d478f33c"),
    ((7, 1000), (1, 256), "030ea317c7ff5e2b"),
    ((256, 256), (256, 256), "78f08094cc88289c"),
    ((100, 90), (60, 120), "4c442af08315b035"),
]
#: The same of GLoRIA's whole pipeline run with OpenCV: longest side to 256, zeros to a square, its middle 224 x 224. 49 is the
#: first side of a square that loses a column to the rounded quotient.
BY_GLORIA = [
    ((224, 224), "6f2a2962b156a446"),
    ((150, 200), "a98510e0dc436b53"),
    ((301, 97), "659a25c146c01c81"),
    ((31, 45), "d042c2c72e84e5a9"),
    ((640, 479), "420f8bc21914427a"),
    ((49, 49), "b3b475b4b260d30f"),
    ((2022, 2021), "fe817100cebc7ec5"),
]


def texture(height, width):
    down, across = np.indices((height, width), dtype=np.int64)
    return ((((down * 73856093) ^ (across * 19349663)) >> 3) & 255).astype(np.uint8)


def colour(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sha(pixels):
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(("source", "target", "expected"), BY_OPENCV)
def test_resizing_by_area_gives_the_bytes_of_opencv(source, target, expected):
    assert sha(resize_area(texture(*source), *target)) == expected


@pytest.mark.parametrize(("source", "target"), [((300, 200), (256, 170)), ((1023, 731), (256, 182))])
def test_shrinking_is_the_mean_over_the_area_that_a_pixel_covers(source, target):
    def shares(length, count):
        edges = np.arange(count + 1) * length / count
        pixels = np.arange(length)
        covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.clip(covered, 0, None) * count / length

    image = texture(*source)
    exact = shares(source[0], target[0]) @ image.astype(float) @ shares(source[1], target[1]).T
    assert np.abs(resize_area(image, *target) - exact).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(("source", "expected"), BY_GLORIA)
def test_longest_pad_crop_gives_the_bytes_of_the_publishers_pipeline(source, expected):
    pixels, frame = Preprocessor(CROPPED)(np.repeat(texture(*source)[..., None], 3, axis=2))
    assert [sha(channel) for channel in pixels] == [expected] * 3
    assert frame == (224, 224)


@pytest.mark.parametrize("size", SIZES)
def test_pad_square_gives_the_tensor_of_the_publishers_transform(size):
    # Its processor pastes the picture into the middle of a black one of mode L, which also takes the luminance.
    image = Image.fromarray(colour(*size))
    side = max(224, *image.size)
    square = Image.new("L", (side, side), 0)
    square.paste(image, (int((side - image.width) / 2), int((side - image.height) / 2)))
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224), transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.58], [0.28]),
        ]
    )
    expected = transform(square).repeat(3, 1, 1)
    framed = Preprocessor(PADDED)(colour(*size))
    assert framed.frame == (224, 224)
    torch.testing.assert_close(
        normalise(torch.from_numpy(framed.pixels)[None], PADDED)[0], expected, rtol=0, atol=0
    )


def test_black_padding_is_a_pixel_value_and_is_normalised():
    framed = Preprocessor(PADDED)(np.full((100, 400, 3), 255, dtype=np.uint8))
    batch = torch.from_numpy(framed.pixels)[None]
    for tensor in (normalise(batch, PADDED), normalise(batch, PADDED, [framed.frame])):
        assert tensor[0, 0, 0, 0] == pytest.approx(-0.58 / 0.28)
        assert tensor[0, 0, 112, 112] == pytest.approx((1 - 0.58) / 0.28)


def test_small_images_are_padded_and_not_enlarged():
    pixels = Preprocessor(PADDED)(np.full((100, 50, 3), 200, dtype=np.uint8)).pixels
    assert (pixels[0] == 200).sum() == 100 * 50
    assert (pixels[0] == 0).sum() == 224 * 224 - 100 * 50


@pytest.mark.parametrize("preprocessing", [PADDED, CROPPED])
def test_gray_is_the_luminance_in_all_three_channels(preprocessing):
    # Of pure red, green and blue the luminances differ; red and blue swapped would show.
    for value, luminance in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)):
        image = np.full((300, 300, 3), value, dtype=np.uint8)
        assert set(np.unique(Preprocessor(preprocessing)(image).pixels)) == {luminance}


def test_gray_colour_applies_to_the_older_rules_too():
    image = colour(60, 90)
    plain = Preprocessing(32, "longest-pad", "bilinear", (0.5,) * 3, (0.5,) * 3, colour="gray")
    pixels, frame = Preprocessor(plain)(image)
    expected = np.asarray(Image.fromarray(image).convert("L").resize((32, 21), Image.Resampling.BILINEAR))
    assert frame == (21, 32)
    np.testing.assert_array_equal(pixels[:, :21], np.stack([expected] * 3))
    assert (pixels[:, 21:] == 0).all()


@pytest.mark.parametrize("preprocessing", [PADDED, CROPPED])
def test_prompts_are_refused_where_the_image_leaves_the_corner(preprocessing):
    with pytest.raises(UserError, match=f"got '{preprocessing.resize}'"):
        Preprocessor(preprocessing).map_prompt(MaskPrompt(points=((1.0, 1.0),)), (10, 20))


def test_area_is_for_gray_images():
    with pytest.raises(ValueError, match="'area' is for gray images, got colour 'rgb'"):
        Preprocessor(Preprocessing(224, "longest-pad-crop", "area", (0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip-vit-b32", "d43b1b86039679dd47d66eba6ca9437f8be920769c6258fb38bff43ed86a7f27"),
        ("sam-vit-b", "b906cd28b4a706df50b3150f7545537e1eafdfd66d491640efce336ce6bee773"),
    ],
)
def test_identities_of_before_the_colour_field_are_unchanged(name, expected):
    # A changed identity would make every finished task of that model run again.
    assert digest(default_registry(plugins=[]).card(name).identity()) == expected


def test_gray_is_part_of_the_identity():
    import dataclasses

    card = default_registry(plugins=[]).card("clip-vit-b32")
    gray = dataclasses.replace(card.preprocessing, colour="gray")
    assert dataclasses.replace(card, preprocessing=gray).identity() != card.identity()
