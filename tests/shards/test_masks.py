import numpy as np
import pytest
from PIL import Image

from shards.adapter import UnreadableSample
from shards.masks import fit_mask, load_mask

BLOCK = np.zeros((6, 8), np.uint8)
BLOCK[2:4, 2:6] = 255


def write(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_mask_of_its_image_size_is_left_alone():
    fitted = fit_mask(BLOCK, (6, 8))
    assert fitted.mask is BLOCK
    assert not fitted.resized


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_larger_mask_of_the_same_frame_is_brought_to_size_without_new_values(factor):
    large = np.kron(BLOCK, np.ones((factor, factor), np.uint8))
    fitted = fit_mask(large, (6, 8))
    assert fitted.resized
    assert np.array_equal(fitted.mask, BLOCK)
    assert np.array_equal(fit_mask(BLOCK, large.shape).mask, large)


def test_one_percent_of_the_ratio_is_the_limit():
    assert fit_mask(np.zeros((100, 100), np.uint8), (101, 100)).mask.shape == (101, 100)
    with pytest.raises(
        UnreadableSample, match="mask_shape_mismatch: the mask is 100x100 and the image 102x100"
    ):
        fit_mask(np.zeros((100, 100), np.uint8), (100, 102))
    with pytest.raises(UnreadableSample, match="mask_shape_mismatch"):
        fit_mask(np.zeros((60, 80), np.uint8), (80, 60))


def test_values_that_mean_nothing_are_refused_with_examples(tmp_path):
    path = write(tmp_path / "mask.png", np.where(BLOCK > 0, 254, 1).astype(np.uint8))
    with pytest.raises(
        UnreadableSample, match=r"mask_values: mask mask.png has the values 1, 254; expected 0, 255"
    ):
        load_mask(path, (6, 8), {0, 255})
    assert load_mask(path, (6, 8), range(256)).mask.max() == 254


def test_jpeg_masks_are_refused_for_their_blurred_borders(tmp_path):
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (32, 32))
    path = write(tmp_path / "mask.jpg", noise, quality=50)
    with pytest.raises(UnreadableSample, match="mask_values"):
        load_mask(path, (32, 32), {0, 255})


def test_a_missing_mask_has_its_own_reason(tmp_path):
    with pytest.raises(UnreadableSample, match="missing_mask"):
        load_mask(tmp_path / "none.png", (6, 8), {0, 255})
