"""Point metrics of masks against brute-force oracles, and the rules for empty masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_edt

from evaluator.metrics.segmentation import assd, hd95, nsd, score_mask

pair_of_masks = st.tuples(st.integers(2, 14), st.integers(2, 14)).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)
pair_of_volumes = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def surface(mask):
    """Pixels with a neighbour along an axis outside the mask (or outside the image), found neighbour by neighbour."""
    padded = np.pad(mask, 1)
    shifted = [np.roll(padded, step, axis) for axis in range(mask.ndim) for step in (-1, 1)]
    inner = np.logical_and.reduce(shifted)[(slice(1, -1),) * mask.ndim]
    return mask & ~inner


def oracle(predicted, true, spacing, tolerance):
    """HD95, NSD and ASSD from dense distance transforms of the whole, uncropped image."""
    surfaces = surface(predicted), surface(true)
    to_true = distance_transform_edt(~surfaces[1], sampling=spacing)[surfaces[0]]
    to_predicted = distance_transform_edt(~surfaces[0], sampling=spacing)[surfaces[1]]
    distance = max(np.percentile(to_true, 95), np.percentile(to_predicted, 95))
    near = (to_true <= tolerance).sum() + (to_predicted <= tolerance).sum()
    pixels = len(to_true) + len(to_predicted)
    return distance, near / pixels, (to_true.sum() + to_predicted.sum()) / pixels


@settings(max_examples=80, deadline=None)
@given(pair_of_masks, st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.7, 1.3), (2.0, 0.25)]))
def test_distances_agree_with_dense_distance_transforms(masks, spacing):
    predicted, true = masks
    if not predicted.any() or not true.any():
        return
    expected_hd, expected_nsd, expected_assd = oracle(predicted, true, spacing, 1.05)
    scores = score_mask(predicted, true, spacing_mm=spacing, tolerance_mm=1.05)
    assert scores.hd95_mm == pytest.approx(expected_hd, rel=1e-6)
    assert scores.nsd == pytest.approx(expected_nsd)
    assert scores.assd_mm == pytest.approx(expected_assd, rel=1e-6)
    in_pixels = oracle(predicted, true, (1, 1), 1)
    assert scores.hd95_px == pytest.approx(in_pixels[0], rel=1e-6)
    assert scores.assd_px == pytest.approx(in_pixels[2], rel=1e-6)
    assert hd95(predicted, true, spacing=spacing) == scores.hd95_mm
    assert assd(predicted, true, spacing=spacing) == scores.assd_mm
    assert assd(predicted, true) == scores.assd_px
    assert nsd(predicted, true, spacing=spacing, tolerance=1.05) == scores.nsd


@settings(max_examples=60, deadline=None)
@given(pair_of_volumes, st.sampled_from([(1.0, 1.0, 1.0), (2.5, 0.7, 0.7)]))
def test_volumes_are_measured_as_images_are(masks, spacing):
    predicted, true = masks
    scores = score_mask(predicted, true, spacing_mm=spacing, tolerance_mm=1.05)
    both, voxel = (predicted & true).sum(), np.prod(spacing)
    assert scores.volume_true == pytest.approx(true.sum() * voxel)
    assert scores.volume_predicted == pytest.approx(predicted.sum() * voxel)
    if not predicted.any() or not true.any():
        return
    assert scores.dice == pytest.approx(2 * both / (predicted.sum() + true.sum()))
    expected = oracle(predicted, true, spacing, 1.05)
    assert (scores.hd95_mm, scores.nsd, scores.assd_mm) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(pair_of_masks)
def test_a_volume_of_one_thick_slice_has_the_distances_of_its_image_along_the_surface(masks):
    predicted, true = masks
    flat = score_mask(predicted, true, spacing_mm=(0.5, 2.0))
    deep = score_mask(predicted[None], true[None], spacing_mm=(9.0, 0.5, 2.0))
    assert (deep.dice, deep.iou, deep.case) == (flat.dice, flat.iou, flat.case)
    assert deep.volume_true == pytest.approx(9.0 * flat.volume_true)


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
    if scores.case in ("both", "true_negative"):
        for other in (swapped, turned):
            assert (other.assd_px, other.assd_mm) == pytest.approx(
                (scores.assd_px, scores.assd_mm), rel=1e-12
            )


@pytest.mark.filterwarnings(
    "ignore:monai.metrics.utils get_mask_edges:FutureWarning"
)  # MONAI warns of itself
@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 30), (0.5, 0.8)), ((9, 20, 16), (2.5, 0.5, 0.8))], ids=["image", "volume"]
)
def test_monai_on_whole_images_gives_the_same(shape, spacing):
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice
    from monai.metrics.surface_distance import compute_average_surface_distance

    random = np.random.default_rng(1)
    predicted, true = random.random((2, *shape)) < 0.3
    scores = score_mask(predicted, true, spacing_mm=spacing, tolerance_mm=0.6)
    tensors = [torch.tensor(mask)[None, None] for mask in (predicted, true)]
    common = {"include_background": True, "spacing": list(spacing)}
    whole = compute_hausdorff_distance(*tensors, percentile=95, **common)
    dice = compute_surface_dice(*tensors, [0.6], **common)
    average = compute_average_surface_distance(*tensors, symmetric=True, **common)
    assert scores.hd95_mm == pytest.approx(float(whole), rel=1e-6)
    assert scores.nsd == pytest.approx(float(dice), rel=1e-6)
    assert scores.assd_mm == pytest.approx(float(average), rel=1e-6)


def test_a_shifted_square_has_the_distances_of_its_shift():
    true = np.zeros((30, 30), bool)
    true[5:15, 5:15] = True
    predicted = np.roll(true, 3, axis=1)
    scores = score_mask(predicted, true, spacing_mm=(1.0, 0.5), tolerance_mm=1.0)
    assert (scores.hd95_px, scores.hd95_mm) == (3.0, 1.5)
    assert scores.dice == pytest.approx(0.7)
    assert scores.volume_true == 50.0


def test_average_distance_counts_every_surface_pixel_once():
    line, longer = np.zeros((3, 12), bool), np.zeros((3, 12), bool)
    line[1, 2:4] = True
    longer[1, 2:8] = True
    # 2 pixels at 0 one way; 0 0 1 2 3 4 the other: 10 / 8, not (0 + 10 / 6) / 2.
    assert assd(line, longer) == pytest.approx(10 / 8)
    assert assd(line, longer, spacing=(1.0, 0.5)) == pytest.approx(5 / 8)


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
    assert (scores.assd_px, scores.assd_mm) == (distance, distance)
    assert hd95(predicted, true) == assd(predicted, true) == distance
    assert nsd(predicted, true, spacing=(1, 1), tolerance=1) == surface_dice


@pytest.mark.parametrize("true", [EMPTY, FULL])
def test_millimetres_are_null_without_spacing(true):
    scores = score_mask(true, true, spacing_mm=None)
    assert (scores.hd95_mm, scores.assd_mm, scores.nsd) == (None, None, None)
    assert scores.hd95_px == scores.assd_px == 0.0
    assert scores.volume_true == true.sum()


def test_object_at_the_left_edge_counts_column_zero():
    true = np.zeros((8, 8), bool)
    true[2:6, 0:3] = True
    predicted = np.zeros((8, 8), bool)
    predicted[2:6, 1:3] = True
    assert score_mask(predicted, true, spacing_mm=None).dice == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("predicted", "true"),
    [
        (np.ones((2, 3), bool), np.ones((3, 2), bool)),
        (np.ones((2, 2)), np.ones((2, 2), bool)),
        (np.ones(4, bool), np.ones(4, bool)),
    ],
)
def test_masks_of_other_shape_or_type_are_refused(predicted, true):
    with pytest.raises(ValueError, match="masks must be"):
        score_mask(predicted, true, spacing_mm=None)


def test_spacing_must_have_a_number_for_every_axis():
    with pytest.raises(ValueError, match="spacing must have 2 numbers"):
        score_mask(FULL, FULL, spacing_mm=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="spacing must have 3 numbers"):
        assd(FULL[None], FULL[None], spacing=(1.0, 1.0))


def test_a_distance_equal_to_the_tolerance_is_within_it():
    true = np.zeros((12, 12), bool)
    true[2:5, 2:9] = True
    moved = np.roll(true, 2, axis=0)
    # 2 pixels of 0.6 mm: 1.2 mm, which float32 makes a little more.
    assert score_mask(moved, true, spacing_mm=(0.6, 0.6), tolerance_mm=1.2).nsd == 1.0
    assert score_mask(moved, true, spacing_mm=(0.6, 0.6), tolerance_mm=1.19).nsd < 1.0
