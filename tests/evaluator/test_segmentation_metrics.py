"""Point metrics of masks against brute-force oracles, and the rules for empty masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from evaluator.metrics.segmentation import hd95, nsd, score_mask

pair_of_masks = st.tuples(st.integers(2, 14), st.integers(2, 14)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def surface(mask):
    """Pixels with a 4-neighbour outside the mask (or outside the image), found neighbour by neighbour."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def oracle(predicted, true, spacing, tolerance):
    """HD95 and NSD from dense distance transforms of the whole, uncropped image."""
    surfaces = surface(predicted), surface(true)
    to_true = distance_transform_edt(~surfaces[1], sampling=spacing)[surfaces[0]]
    to_predicted = distance_transform_edt(~surfaces[0], sampling=spacing)[surfaces[1]]
    distance = max(np.percentile(to_true, 95), np.percentile(to_predicted, 95))
    near = (to_true <= tolerance).sum() + (to_predicted <= tolerance).sum()
    return distance, near / (len(to_true) + len(to_predicted))


@settings(max_examples=80, deadline=None)
@given(pair_of_masks, st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.7, 1.3), (2.0, 0.25)]))
def test_distances_agree_with_dense_distance_transforms(masks, spacing):
    predicted, true = masks
    if not predicted.any() or not true.any():
        return
    expected_hd, expected_nsd = oracle(predicted, true, spacing, 1.05)
    scores = score_mask(predicted, true, spacing_mm=spacing, tolerance_mm=1.05)
    assert scores.hd95_mm == pytest.approx(expected_hd, rel=1e-6)
    assert scores.nsd == pytest.approx(expected_nsd)
    assert scores.hd95_px == pytest.approx(oracle(predicted, true, (1, 1), 1)[0], rel=1e-6)
    assert hd95(predicted, true, spacing=spacing) == scores.hd95_mm
    assert nsd(predicted, true, spacing=spacing, tolerance=1.05) == scores.nsd


@settings(max_examples=60, deadline=None)
@given(pair_of_masks)
def test_overlap_agrees_with_sets_of_pixels(masks):
    predicted, true = masks
    p, t = (set(map(tuple, np.argwhere(m))) for m in masks)
    scores = score_mask(predicted, true, spacing_mm=None)
    assert scores.dice == pytest.approx(2 * len(p & t) / (len(p) + len(t)) if p or t else 1)
    assert scores.iou == pytest.approx(len(p & t) / len(p | t) if p or t else 1)
    assert scores.dice == pytest.approx(2 * scores.iou / (1 + scores.iou))
    assert (scores.volume_predicted, scores.volume_true) == (len(p), len(t))


@settings(max_examples=40, deadline=None)
@given(pair_of_masks, st.integers(0, 9), st.integers(0, 9))
def test_empty_space_around_the_masks_changes_nothing(masks, above, left):
    wide = [np.pad(mask, ((above, 3), (left, 1))) for mask in masks]
    assert score_mask(*wide, spacing_mm=(0.5, 2.0)) == score_mask(*masks, spacing_mm=(0.5, 2.0))


@settings(max_examples=40, deadline=None)
@given(pair_of_masks)
def test_scores_are_symmetric_and_transpose_with_the_image(masks):
    predicted, true = masks
    scores = score_mask(predicted, true, spacing_mm=(0.5, 2.0))
    swapped = score_mask(true, predicted, spacing_mm=(0.5, 2.0))
    turned = score_mask(predicted.T, true.T, spacing_mm=(2.0, 0.5))
    for name in ("dice", "iou", "hd95_px", "hd95_mm", "nsd"):
        assert getattr(swapped, name) == getattr(scores, name)
        assert getattr(turned, name) == getattr(scores, name)


@pytest.mark.filterwarnings(
    "ignore:monai.metrics.utils get_mask_edges:FutureWarning"
)  # MONAI warns of itself
def test_monai_on_whole_images_gives_the_same():
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    random = np.random.default_rng(1)
    predicted, true = random.random((2, 40, 30)) < 0.3
    scores = score_mask(predicted, true, spacing_mm=(0.5, 0.8), tolerance_mm=0.6)
    tensors = [torch.tensor(mask)[None, None] for mask in (predicted, true)]
    whole = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=[0.5, 0.8])
    dice = compute_surface_dice(*tensors, [0.6], include_background=True, spacing=[0.5, 0.8])
    assert scores.hd95_mm == pytest.approx(float(whole), rel=1e-6)
    assert scores.nsd == pytest.approx(float(dice), rel=1e-6)


def test_a_shifted_square_has_the_distances_of_its_shift():
    true = np.zeros((30, 30), bool)
    true[5:15, 5:15] = True
    predicted = np.roll(true, 3, axis=1)
    scores = score_mask(predicted, true, spacing_mm=(1.0, 0.5), tolerance_mm=1.0)
    assert (scores.hd95_px, scores.hd95_mm) == (3.0, 1.5)
    assert scores.dice == pytest.approx(0.7)
    assert scores.volume_true == 50.0


EMPTY, FULL = np.zeros((4, 4), bool), np.ones((4, 4), bool)


@pytest.mark.parametrize(
    ("predicted", "true", "case", "dice", "distance", "surface_dice"),
    [
        (FULL, EMPTY, "false_positive_structure", 0.0, None, None),
        (EMPTY, FULL, "missed_structure", 0.0, None, None),
        (EMPTY, EMPTY, "true_negative", 1.0, 0.0, 1.0),
        (FULL, FULL, "both", 1.0, 0.0, 1.0),
    ],
)
def test_empty_masks_follow_the_named_rule(predicted, true, case, dice, distance, surface_dice):
    scores = score_mask(predicted, true, spacing_mm=(1.0, 1.0))
    assert (scores.case, scores.dice, scores.iou) == (case, dice, dice)
    assert (scores.hd95_px, scores.hd95_mm, scores.nsd) == (distance, distance, surface_dice)
    assert hd95(predicted, true) == distance
    assert nsd(predicted, true, spacing=(1, 1), tolerance=1) == surface_dice


@pytest.mark.parametrize("true", [EMPTY, FULL])
def test_millimetres_are_null_without_spacing(true):
    scores = score_mask(true, true, spacing_mm=None)
    assert (scores.hd95_mm, scores.nsd) == (None, None)
    assert scores.hd95_px == 0.0
    assert scores.volume_true == true.sum()


def test_object_at_the_left_edge_counts_column_zero():
    true = np.zeros((8, 8), bool)
    true[2:6, 0:3] = True
    predicted = np.zeros((8, 8), bool)
    predicted[2:6, 1:3] = True
    assert score_mask(predicted, true, spacing_mm=None).dice == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("predicted", "true"),
    [(np.ones((2, 3), bool), np.ones((3, 2), bool)), (np.ones((2, 2)), np.ones((2, 2), bool))],
)
def test_masks_of_other_shape_or_type_are_refused(predicted, true):
    with pytest.raises(ValueError, match="masks must be"):
        score_mask(predicted, true, spacing_mm=None)


def test_a_distance_equal_to_the_tolerance_is_within_it():
    true = np.zeros((12, 12), bool)
    true[2:5, 2:9] = True
    moved = np.roll(true, 2, axis=0)
    # 2 pixels of 0.6 mm: 1.2 mm, which float32 makes a little more.
    assert score_mask(moved, true, spacing_mm=(0.6, 0.6), tolerance_mm=1.2).nsd == 1.0
    assert score_mask(moved, true, spacing_mm=(0.6, 0.6), tolerance_mm=1.19).nsd < 1.0
