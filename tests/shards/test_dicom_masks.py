"""What is drawn on the slices of a series: a file for each, by its name, where the slice lies."""

import numpy as np
import pytest
from dicom_files import write_dicom, write_series

from shards.adapter import UnreadableSample
from shards.formats.dicom import order_series
from shards.formats.dicom_masks import read_slice_masks

SLICES = np.arange(5 * 6 * 4, dtype=np.int16).reshape(5, 6, 4)
DRAWN = np.zeros((5, 6, 4), np.uint8)
DRAWN[1, 0, 3] = DRAWN[2:4, 2, :2] = 255


@pytest.fixture
def stack(tmp_path):
    write_series(tmp_path / "scan", SLICES)
    return order_series(tmp_path / "scan")


def rewrite(folder, file, pixels, **elements):
    """Write one mask's file anew, as the slice of that name lies."""
    place = 5 - int(file[2:6])
    where = {
        "ImagePositionPatient": [-10.0, -20.0, 30.0 + 2 * place],
        "ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0],
    }
    write_dicom(folder / file, pixels, **(where | elements))


def refused(folder, stack):
    with pytest.raises(UnreadableSample) as caught:
        read_slice_masks(folder, stack.slices)
    return caught.value.reason, caught.value.detail


def test_masks_lie_as_their_slices_and_turn_with_them(tmp_path):
    axes = (0, 1, 0, 0, 0, -1)
    write_series(tmp_path / "scan", SLICES, axes=axes, step=3.0)
    write_series(tmp_path / "liver", DRAWN, axes=axes, step=3.0, series="1.2.4")
    stack = order_series(tmp_path / "scan")
    inside = read_slice_masks(tmp_path / "liver", stack.slices)
    assert inside.dtype == bool
    assert np.array_equal(inside, DRAWN > 0)
    image, mask = (stack.turned(voxels, "axial") for voxels in (stack.intensities(), inside.astype(np.uint8)))
    assert sorted(image.image[mask.image > 0]) == sorted(SLICES[DRAWN > 0])
    assert mask.image.dtype == np.uint8


@pytest.mark.parametrize("value", [1, 7, 255])
def test_whatever_is_not_0_is_inside_and_a_rescale_does_not_matter(stack, tmp_path, value):
    write_series(
        tmp_path / "liver", DRAWN // 255 * np.uint8(value), RescaleIntercept="-1024", RescaleSlope="2"
    )
    assert np.array_equal(read_slice_masks(tmp_path / "liver", stack.slices), DRAWN > 0)


def test_files_without_a_place_belong_to_the_slice_of_their_name(stack, tmp_path):
    absent = dict.fromkeys(
        ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceLocation")
    )
    for path in write_series(tmp_path / "liver", DRAWN, **absent):
        path.rename(path.with_suffix(""))
    assert np.array_equal(read_slice_masks(tmp_path / "liver", stack.slices), DRAWN > 0)


def test_a_slice_without_a_file_and_a_file_without_a_slice_are_refused(stack, tmp_path):
    write_series(tmp_path / "liver", DRAWN)
    (tmp_path / "liver" / "Thumbs.db").write_bytes(b"no mask")
    read_slice_masks(tmp_path / "liver", stack.slices)
    (tmp_path / "liver" / "IM0003.dcm").rename(tmp_path / "liver" / "IM0009.dcm")
    reason, detail = refused(tmp_path / "liver", stack)
    assert reason == "missing_slice"
    assert "liver lacks IM0003: 1 of 5 slices" in detail
    write_series(tmp_path / "liver", DRAWN)
    assert refused(tmp_path / "liver", stack) == (
        "mask_geometry_mismatch",
        "mask liver has IM0009.dcm, the image has no slice of that name",
    )
    assert refused(tmp_path / "spleen", stack)[0] == "missing_mask"


@pytest.mark.parametrize(
    ("pixels", "elements", "said"),
    [
        (
            DRAWN[0],
            {"ImagePositionPatient": [-10.0, -20.0, 38.0]},
            r"place -10, -20, 38, the slice of that name -10, -20, 34",
        ),
        (DRAWN[0], {"ImageOrientationPatient": [0.0, 1, 0, 1, 0, 0]}, "directions"),
        (DRAWN[0], {"PixelSpacing": [0.5, 0.5]}, "pixel size"),
        (DRAWN[0, :4], {}, r"\(4, 4\) pixels"),
    ],
)
def test_a_file_that_lies_elsewhere_than_the_slice_of_its_name_is_refused(
    stack, tmp_path, pixels, elements, said
):
    write_series(tmp_path / "liver", DRAWN)
    rewrite(tmp_path / "liver", "IM0003.dcm", pixels, **elements)
    with pytest.raises(UnreadableSample, match=said) as caught:
        read_slice_masks(tmp_path / "liver", stack.slices)
    assert caught.value.reason == "mask_geometry_mismatch"


def test_several_values_and_colours_are_no_mask(stack, tmp_path):
    write_series(tmp_path / "liver", DRAWN)
    rewrite(tmp_path / "liver", "IM0003.dcm", np.full((6, 4), 128, np.uint8))
    assert refused(tmp_path / "liver", stack) == (
        "mask_values",
        "mask liver has the values 128, 255 beside 0; expected one",
    )
    rewrite(tmp_path / "liver", "IM0003.dcm", np.zeros((6, 4, 3), np.uint8))
    assert refused(tmp_path / "liver", stack)[0] == "unsupported_pixels"
    (tmp_path / "liver" / "IM0003.dcm").write_bytes(b"")
    assert refused(tmp_path / "liver", stack)[0] == "empty_file"
