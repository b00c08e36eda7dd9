"""Run lengths, polygons and label maps of several structures, against COCO's own library."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from shards.adapter import UnreadableSample
from shards.datasets.table.regions import Coding, read_runs, read_segmentation, read_text
from shards.errors import UserError

SHAPE = (7, 5)


def region(seed, shape=SHAPE):
    return np.random.default_rng(seed).random(shape) < 0.4


def kaggle(mask):
    """Write run lengths as Kaggle's notebooks do."""
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(map(str, runs))


def reason(call, *arguments):
    with pytest.raises(UnreadableSample) as caught:
        call(*arguments)
    return caught.value.reason


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_all_run_lengths_give_the_same_region(seed, height, width):
    mask = region(seed, (height, width))
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = packed["counts"].decode()
    flat = mask.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    counts = [0, *counts] if flat[0] else counts
    assert np.array_equal(read_text(kaggle(mask), mask.shape), mask)
    for runs in (text, counts):
        value = {"size": [height, width], "counts": runs}
        assert np.array_equal(read_segmentation(value, mask.shape), mask)
        assert np.array_equal(read_text(json.dumps(value), mask.shape), mask)


def test_an_empty_region_can_be_written_in_two_ways():
    assert not read_runs("-1", SHAPE).any()
    assert not read_runs("", SHAPE).any()


@pytest.mark.parametrize(
    "text",
    ["1", "1 2 3", "1 x", "0 2", "34 3", "1 3 2 1", "5 1 1 1", "1 2.5", "-3 2", "1 9999999999999999999"],
)
def test_runs_that_do_not_fit_are_refused(text):
    assert reason(read_runs, text, SHAPE) == "bad_rle"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"size": [7, 5], "counts": [30, 4]}, "bad_rle"),
        ({"size": [7, 5], "counts": [30, 6]}, "bad_rle"),
        ({"size": [7, 5], "counts": [40, -5]}, "bad_rle"),
        ({"size": [7, 5], "counts": "~~~"}, "bad_rle"),
        ({"size": [7, 5], "counts": "oooooooooooooooooo"}, "bad_rle"),
        ({"size": [7, 5], "counts": "o"}, "bad_rle"),
        ({"size": [7, 5]}, "bad_rle"),
        ({"size": [5, 7], "counts": [35]}, "mask_shape_mismatch"),
        ("text", "bad_rle"),
        ([[0, 0, 4, 0]], "bad_polygon"),
        ([[0, 0, 4, 0, 4]], "bad_polygon"),
        ([[0, 0, 4, 0, 400, 7]], "bad_polygon"),
        ([[0, 0, 4, 0, float("nan"), 7]], "bad_polygon"),
        ([["a", 0, 4, 0, 4, 7]], "bad_polygon"),
    ],
)
def test_regions_that_do_not_fit_are_refused(value, expected):
    assert reason(read_segmentation, value, SHAPE) == expected


def test_a_cell_that_is_no_json_is_refused():
    assert reason(read_text, '{"size": [7,', SHAPE) == "bad_rle"


def test_polygons_are_drawn_as_coco_does():
    polygons = [[0.5, 0.5, 4.2, 0.5, 4.2, 3.0], [1.0, 4.0, 4.0, 4.0, 4.0, 6.5, 1.0, 6.5]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that library's decoding is older than NumPy 2
        expected = coco.decode(coco.merge(coco.frPyObjects(polygons, *SHAPE))).astype(bool)
    assert 5 < expected.sum() < 25
    assert np.array_equal(read_segmentation(polygons, SHAPE), expected)
    assert not read_segmentation([], SHAPE).any()


def test_a_pixel_in_several_structures_stays_in_all():
    coding = Coding(("disc", "cup", "vessel"), "keep")
    regions = [region(1), region(2), region(3)]
    stored = coding.combine(regions)
    for structure, expected in zip(coding.structures, regions, strict=True):
        assert np.array_equal(np.isin(stored, structure.values), expected)


def test_up_to_eight_structures_are_kept_and_more_must_be_decided():
    names = tuple("abcdefgh")
    coding = Coding(names, "keep")
    regions = [region(place) for place in range(8)]
    stored = coding.combine(regions)
    for structure, expected in zip(coding.structures, regions, strict=True):
        assert np.array_equal(np.isin(stored, structure.values), expected)
    with pytest.raises(UserError, match="9 structures cannot be stored with overlaps: keep, at most 8 can"):
        Coding((*names, "i"), "keep")
    assert [s.values for s in Coding((*names, "i"), "reject").structures][-1] == (9,)


def test_the_smaller_structure_lies_on_top():
    big, small = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    small[2, 2] = True
    for order, expected in (((big, small), 2), ((small, big), 1)):
        stored = Coding(("a", "b"), "smaller_on_top").combine(order)
        assert stored[2, 2] == expected
        assert (stored != expected).sum() == stored.size - 1
        assert stored.min() > 0


def test_overlaps_can_be_refused():
    coding = Coding(("a", "b", "c"), "reject")
    apart = [np.zeros(SHAPE, bool) for _ in range(3)]
    apart[0][0], apart[1][1], apart[2][2] = True, True, True
    assert np.unique(coding.combine(apart)).tolist() == [0, 1, 2, 3]
    apart[1][2] = True
    with pytest.raises(UnreadableSample, match="5 pixels belong to several of b, c") as caught:
        coding.combine(apart)
    assert caught.value.reason == "overlapping_structures"
