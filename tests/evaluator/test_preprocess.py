import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evaluator.models.card import Preprocessing
from evaluator.models.cards import packaged_cards
from evaluator.models.interfaces import MaskPrompt
from evaluator.models.preprocess import Framed, Preprocessor, normalise
from shards.errors import UserError

CARDS = {card.name: card for card in packaged_cards()}
SIZES = [(224, 224), (150, 200), (301, 97), (31, 45), (640, 479)]
SAM_LIKE = Preprocessing(64, "longest-pad", "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(preprocessing, image):
    framed = Preprocessor(preprocessing)(image)
    return normalise(torch.from_numpy(framed.pixels)[None], preprocessing, [framed.frame])[0]


@pytest.mark.parametrize("size", SIZES)
def test_clip_pixels_equal_those_of_open_clips_own_transform(size):
    from open_clip.transform import PreprocessCfg, image_transform_v2

    image = noise(*size)
    expected = image_transform_v2(PreprocessCfg(size=224), is_train=False)(Image.fromarray(image))
    torch.testing.assert_close(run(CARDS["clip-vit-b32"].preprocessing, image), expected, rtol=0, atol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["vit-b16-in21k", "resnet50-imagenet", "dinov2-vit-b14-224"])
def test_timm_pixels_equal_those_of_timms_own_transform(name, size):
    from timm.data.transforms_factory import transforms_imagenet_eval

    wanted = CARDS[name].preprocessing
    oracle = transforms_imagenet_eval(
        wanted.size,
        wanted.crop_fraction,
        interpolation=wanted.interpolation,
        mean=wanted.mean,
        std=wanted.std,
    )
    image = noise(*size)
    torch.testing.assert_close(run(wanted, image), oracle(Image.fromarray(image)), rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 200))
def test_padded_pixels_equal_those_of_segment_anything(height, width):
    from segment_anything.utils.transforms import ResizeLongestSide

    image = noise(height, width)
    target = ResizeLongestSide.get_preprocess_shape(height, width, 64)
    if min(target) < 1:
        return  # the publisher's resize fails on such strips; ours keeps one pixel
    expected = ResizeLongestSide(64).apply_image(image)
    pixels, frame = Preprocessor(SAM_LIKE)(image)
    assert frame == expected.shape[:2]
    np.testing.assert_array_equal(pixels[:, : frame[0], : frame[1]], expected.transpose(2, 0, 1))


def test_padding_is_zero_after_normalisation_and_nothing_else_changes():
    image = noise(40, 90)
    framed = Preprocessor(SAM_LIKE)(image)
    batch = torch.from_numpy(framed.pixels)[None]
    padded, plain = normalise(batch, SAM_LIKE, [framed.frame]), normalise(batch, SAM_LIKE)
    height, width = framed.frame
    assert (height, width) == (28, 64)
    assert (padded[:, :, height:] == 0).all()
    assert (plain[:, :, height:] != 0).all()
    assert torch.equal(padded[:, :, :height], plain[:, :, :height])


def test_frames_of_a_batch_apply_to_their_own_image():
    flat, tall = Preprocessor(SAM_LIKE)(noise(10, 20)), Preprocessor(SAM_LIKE)(noise(20, 10))
    batch = torch.from_numpy(np.stack([flat.pixels, tall.pixels]))
    both = normalise(batch, SAM_LIKE, [flat.frame, tall.frame])
    for row, framed in enumerate([flat, tall]):
        assert torch.equal(both[row : row + 1], normalise(batch[row : row + 1], SAM_LIKE, [framed.frame]))


@pytest.mark.parametrize("name", ["clip-vit-b32", "mobilenetv2-035", "sam-vit-b"])
def test_red_stays_the_first_channel(name):
    # Red on the left, blue on the right: swapped channels would show at once.
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    image[:, :30, 0] = 255
    image[:, 30:, 2] = 255
    tensor = run(CARDS[name].preprocessing, image)
    side = tensor.shape[-1]
    left, right = tensor[:, side // 2, side // 8], tensor[:, side // 2, -side // 8]
    assert left[0] > left[2]
    assert right[2] > right[0]


def test_padding_rule_keeps_the_aspect_ratio_and_squashing_loses_it():
    image = noise(50, 100)
    assert Preprocessor(SAM_LIKE)(image).frame == (32, 64)
    squash = Preprocessing(64, "squash", "bicubic", SAM_LIKE.mean, SAM_LIKE.std)
    assert Preprocessor(squash)(image).frame == (64, 64)


def test_mobilenet_range_is_minus_one_to_one():
    preprocessing = CARDS["mobilenetv2-035"].preprocessing
    black_and_white = np.concatenate([np.zeros((20, 10, 3)), np.full((20, 10, 3), 255)], axis=1).astype(
        np.uint8
    )
    tensor = run(preprocessing, black_and_white)
    assert (float(tensor.min()), float(tensor.max())) == (-1.0, 1.0)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(8, 300),
    width=st.integers(8, 300),
    x=st.floats(0, 1),
    y=st.floats(0, 1),
)
def test_prompts_move_with_the_pixels(height, width, x, y):
    from segment_anything.utils.transforms import ResizeLongestSide

    point = (x * (width - 1), y * (height - 1))
    box = (0.0, 0.0, point[0], point[1])
    mapped = Preprocessor(SAM_LIKE).map_prompt(MaskPrompt(points=(point,), box=box), (height, width))
    oracle = ResizeLongestSide(64)
    np.testing.assert_allclose(mapped.points[0], oracle.apply_coords(np.array(point), (height, width)))
    np.testing.assert_allclose(mapped.box, oracle.apply_boxes(np.array(box), (height, width))[0])


def test_squashing_moves_x_and_y_by_their_own_scale():
    squash = Preprocessing(100, "squash", "bicubic", SAM_LIKE.mean, SAM_LIKE.std)
    mapped = Preprocessor(squash).map_prompt(MaskPrompt(points=((10.0, 10.0),)), (50, 200))
    assert mapped == MaskPrompt(points=((5.0, 20.0),))


def test_prompts_are_refused_where_the_image_is_cropped():
    with pytest.raises(UserError, match="shortest-crop"):
        Preprocessor(CARDS["clip-vit-b32"].preprocessing).map_prompt(
            MaskPrompt(points=((1.0, 1.0),)), (10, 20)
        )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match=r"\[H, W, 3\] uint8"):
        Preprocessor(SAM_LIKE)(image)


def test_batches_of_another_size_or_type_are_refused():
    with pytest.raises(ValueError, match=r"\[B, 3, 64, 64\] uint8"):
        normalise(torch.zeros(1, 3, 32, 64, dtype=torch.uint8), SAM_LIKE)
    with pytest.raises(ValueError, match="uint8"):
        normalise(torch.zeros(1, 3, 64, 64), SAM_LIKE)
    with pytest.raises(ValueError, match=r"one .* per image"):
        normalise(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), SAM_LIKE, [(64, 64)])


def test_a_strip_of_one_pixel_keeps_one_pixel():
    framed = Preprocessor(SAM_LIKE)(noise(1, 500))
    assert isinstance(framed, Framed)
    assert framed.frame == (1, 64)


@pytest.mark.parametrize("size", [(67, 64), (64, 69), (130, 64), (64, 64)])
def test_crop_of_an_odd_margin_starts_where_transformers_starts_it(size):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    wanted = Preprocessing(64, "shortest-crop-floor", "bicubic", (0.0,) * 3, (1.0,) * 3)
    oracle = CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size=64, do_normalize=False, do_rescale=False
    )
    image = noise(*size)
    expected = oracle(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(Preprocessor(wanted)(image).pixels, expected)
