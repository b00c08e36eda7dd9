"""Volumes: read from files as their headers say, stored as arrays, shown as 8 bits."""

import io
import itertools
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from replicas._volumes import WORLD, ball, body, save

from shards.adapter import Access, Facts, UnreadableSample, Volume
from shards.card import DatasetCard, Structure, Target
from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset
from shards.datasets._published import Scans
from shards.errors import UserError
from shards.formats.volume_file import load_volume, read_volume_file
from shards.members import store
from shards.verify import verify
from shards.volumes import decode_npy, encode_npy, fit_volume, show_volume
from shards.windows import PERCENTILES, WINDOWS, showing

SHAPE = (5, 6, 7)
SPACING = (3.0, 0.8, 0.7)
ORDERS = ["".join(order) for order in itertools.permutations("LPS")]
FLIPPED = ["RAI", "LAS", "RPS", "LPI", "IPL", "SAR", "AIL"]
PLANES = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}
ENDINGS = [".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"]


def values(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).permutation(np.prod(shape)).reshape(shape).astype(np.int16)


def card(window=(-100, 100)):
    return DatasetCard("scans", "1", "CT", "none", "here", window=window)


# Orientation and spacing


@pytest.mark.parametrize("axes", ORDERS + FLIPPED)
@pytest.mark.parametrize("plane", PLANES)
def test_every_order_and_direction_of_a_files_axes_gives_the_same_volume(tmp_path, axes, plane):
    straight = read_volume_file(save(tmp_path / "straight.nii.gz", values()), plane)
    turned = read_volume_file(save(tmp_path / "turned.nii.gz", values(), axes=axes), plane)
    assert np.array_equal(turned.image, straight.image)
    assert turned.spacing_mm == pytest.approx(straight.spacing_mm)
    assert turned.orientation == straight.orientation == PLANES[plane]


def test_axial_volume_is_the_one_that_was_written(tmp_path):
    found = read_volume_file(save(tmp_path / "scan.nii.gz", values(), axes="IPL"), "axial")
    assert np.array_equal(found.image, values())
    assert found.spacing_mm == pytest.approx(SPACING)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("plane", PLANES)
def test_voxels_lie_where_the_files_own_geometry_says(tmp_path, ending, plane):
    path = save(tmp_path / f"scan{ending}", values(), axes="AIL")
    found = read_volume_file(path, plane)
    oracle = sitk.ReadImage(str(path))
    assert sorted(found.image.ravel()) == sorted(values().ravel())
    for place in np.ndindex(found.image.shape):
        point = np.array(found.origin)
        for step, mm, letter in zip(place, found.spacing_mm, found.orientation, strict=True):
            axis, sign = WORLD[letter]
            point[axis] += step * mm * sign
        assert oracle[oracle.TransformPhysicalPointToIndex(point.tolist())] == found.image[place]


def test_slices_of_each_plane_cut_across_the_axis_they_name(tmp_path):
    path = save(tmp_path / "scan.nii.gz", values(), axes="SAR")
    axial, coronal, sagittal = (read_volume_file(path, plane) for plane in PLANES)
    assert (axial.image.shape, coronal.image.shape, sagittal.image.shape) == ((5, 6, 7), (6, 5, 7), (7, 5, 6))
    assert np.array_equal(coronal.image, values().transpose(1, 0, 2)[:, ::-1])
    assert np.array_equal(sagittal.image, values().transpose(2, 0, 1)[:, ::-1])
    assert sagittal.spacing_mm == pytest.approx((0.7, 3.0, 0.8))


def test_oblique_scans_go_to_the_nearest_axes_unresampled(tmp_path):
    image = sitk.GetImageFromArray(values())
    image.SetSpacing(SPACING[::-1])
    angle = np.deg2rad(12)
    image.SetDirection([1, 0, 0, 0, np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle)])
    sitk.WriteImage(image, str(tmp_path / "oblique.nii.gz"))
    found = read_volume_file(tmp_path / "oblique.nii.gz", "axial")
    assert np.array_equal(found.image, values())
    assert (found.orientation, found.spacing_mm) == ("SPL", pytest.approx(SPACING))


def test_scans_with_skewed_axes_are_refused_by_name(tmp_path):
    path = save(tmp_path / "scan.nii", values())
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<2h", 0, 1)  # only the matrix counts
    data[280:328] = struct.pack("<12f", 0.7, 0.3, 0, 0, 0, 0.8, 0, 0, 0, 0, 3, 0)
    path.write_bytes(data)
    with pytest.raises(UnreadableSample, match=r"scan\.nii has axes that are not at right angles"):
        read_volume_file(path, "axial")


# Numbers


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (np.array([0, 255], np.uint8), np.uint8),
        (np.array([-1024, 3071], np.int16), np.int16),
        (np.array([0, 60_000], np.uint16), np.uint16),
        (np.array([-1024, 3071], np.int32), np.int16),
        (np.array([0, 40_000], np.int32), np.uint16),
        (np.array([-1024, 3071], np.float64), np.int16),
        (np.array([0, 100_000], np.int32), np.float32),
        (np.array([0, 0.5], np.float32), np.float32),
    ],
)
def test_numbers_stay_what_they_are_in_the_smallest_kind_that_holds_them(tmp_path, written, kind):
    path = save(tmp_path / "scan.nii", np.resize(written, (2, 2, 2)))
    found = read_volume_file(path, "axial").image
    assert found.dtype == kind
    np.testing.assert_array_equal(found.ravel()[:2], written)


def test_slope_and_intercept_of_a_header_are_applied(tmp_path):
    path = save(tmp_path / "scan.nii", values())
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<2f", 2.0, -1024.0)
    path.write_bytes(data)
    assert np.array_equal(read_volume_file(path, "axial").image, 2 * values() - 1024)


# Files that are not whole, or not one volume


@pytest.mark.parametrize("ending", [*ENDINGS, " raw.mha", " raw.mhd", " raw.nrrd"])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01])
def test_files_that_are_cut_off_are_refused(tmp_path, ending, share):
    path = save(tmp_path / f"scan{ending}", body((8, 24, 24), 0), packed=" raw" not in ending)
    read_volume_file(path, "axial")
    cut = path
    if ending.endswith(".mhd"):
        cut = path.with_suffix(".raw" if " raw" in ending else ".zraw")
    data = cut.read_bytes()
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UnreadableSample, match=r"decode_error: file scan.*(cut off|damaged|no NIfTI header)"):
        read_volume_file(path, "axial")


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_one_wrong_byte_in_compressed_voxels_is_noticed(tmp_path, ending, share):
    path = save(tmp_path / f"scan{ending}", body((8, 24, 24), 0))
    damaged = path.with_suffix(".zraw") if ending == ".mhd" else path
    data = bytearray(damaged.read_bytes())
    data[int(share * len(data))] ^= 0xFF
    damaged.write_bytes(data)
    with pytest.raises(UnreadableSample, match="decode_error"):
        read_volume_file(path, "axial")


def test_nifti_headers_of_either_byte_order_are_measured(tmp_path):
    path = save(tmp_path / "scan.nii", values())
    little = path.read_bytes()
    header = bytearray(little[:352])
    for place, form in ((0, "i"), (70, "h"), (72, "h"), (108, "f"), (252, "h"), (254, "h")):
        header[place : place + struct.calcsize(form)] = struct.pack(
            f">{form}", *struct.unpack_from(f"<{form}", header, place)
        )
    header[40:56] = struct.pack(">8h", *struct.unpack_from("<8h", header, 40))
    header[76:108] = struct.pack(">8f", *struct.unpack_from("<8f", header, 76))
    header[112:124] = b"\0" * 12  # no slope, no units
    header[256:328] = struct.pack(">18f", *struct.unpack_from("<18f", header, 256))
    big = bytes(header) + values().astype(">i2").tobytes()
    path.write_bytes(big)
    assert np.array_equal(read_volume_file(path, "axial").image, values())
    path.write_bytes(big[:-1])
    with pytest.raises(UnreadableSample, match="announces 772 bytes, it has 771"):
        read_volume_file(path, "axial")


def test_version_2_of_nifti_is_refused_by_name(tmp_path):
    (tmp_path / "scan.nii").write_bytes(struct.pack("<i", 540) + bytes(1000))
    with pytest.raises(UnreadableSample, match=r"scan\.nii is of NIfTI version 2; expected version 1"):
        read_volume_file(tmp_path / "scan.nii", "axial")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_voxels_that_are_no_number_are_refused_in_every_format(tmp_path, ending, number):
    image = body(SHAPE, 0).astype(np.float32) + np.float32(0.25)
    image[4, 5, 6] = number
    path = save(tmp_path / f"scan{ending}", image)
    with pytest.raises(UnreadableSample, match="nan_pixels"):
        store(load_volume(path, "axial"), card(), None)


@pytest.mark.parametrize("asked", ["scan.nii.gz", "scan.nii"])
def test_the_file_that_is_named_is_read_not_its_neighbour(tmp_path, asked):
    for name, shift in (("scan.nii.gz", 0), ("scan.nii", 1)):
        save(tmp_path / name, values() + np.int16(shift))
    expected = values() + (asked == "scan.nii")
    assert np.array_equal(read_volume_file(tmp_path / asked, "axial").image, expected)


def test_compressed_voxels_are_sought_beside_their_header_only(tmp_path):
    path = save(tmp_path / "in" / "scan.mhd", values())
    path.write_text(path.read_text().replace("scan.zraw", "../other.zraw"))
    (tmp_path / "other.zraw").write_bytes((tmp_path / "in" / "scan.zraw").read_bytes())
    with pytest.raises(UnreadableSample, match=r"other.zraw, which scan.mhd names, does not exist"):
        read_volume_file(path, "axial")


def test_missing_and_empty_files_have_reasons_of_their_own(tmp_path):
    (tmp_path / "empty.nii").touch()
    with pytest.raises(UnreadableSample, match="empty_file"):
        read_volume_file(tmp_path / "empty.nii", "axial")
    with pytest.raises(UnreadableSample, match="missing_image"):
        read_volume_file(tmp_path / "none.nii", "axial")
    with pytest.raises(UnreadableSample, match="missing_mask"):
        load_volume(save(tmp_path / "scan.nii", values()), "axial", tmp_path / "none.nii")


def test_only_one_grey_value_at_each_place_of_space_is_a_volume(tmp_path):
    many = sitk.JoinSeries([sitk.GetImageFromArray(values(seed=seed)) for seed in range(3)])
    sitk.WriteImage(many, str(tmp_path / "time.nii.gz"))
    sitk.WriteImage(many[:, :, :, 1:2], str(tmp_path / "single.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.int16)), str(tmp_path / "flat.nii.gz"))
    vectors = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "colour.mha"))
    for name, axes in (
        ("time.nii.gz", "7 x 6 x 5 x 3"),
        ("flat.nii.gz", "5 x 4"),
        ("colour.mha", "5 x 4 x 3"),
    ):
        with pytest.raises(UnreadableSample, match=f"unsupported_pixels: {name} has the axes {axes};"):
            read_volume_file(tmp_path / name, "axial")
    assert np.array_equal(read_volume_file(tmp_path / "single.nii.gz", "axial").image, values(seed=1))


# Masks


def labelled(tmp_path, mask, **geometry):
    image = save(tmp_path / "scan.nii.gz", values())
    return image, save(tmp_path / "mask.nii.gz", mask, **geometry)


def test_mask_follows_its_image_even_where_its_file_has_other_axes(tmp_path):
    marks = (values() % 3 == 0).astype(np.uint8)
    image, mask = labelled(tmp_path, marks, axes="IAR")
    found = load_volume(image, "axial", mask, {1: 7})
    assert np.array_equal(found.mask, marks * 7)
    assert found.mask.dtype == np.uint8


@pytest.mark.parametrize(
    ("geometry", "what"),
    [
        ({"origin": (-12.5, -30.25, 103.0)}, "has the origin -12.5, -30.25, 103, the image"),
        ({"spacing": (3.0, 0.8, 0.75)}, "has the voxel size 3, 0.8, 0.75, the image 3, 0.8, 0.7"),
    ],
)
def test_mask_of_another_frame_is_refused(tmp_path, geometry, what):
    with pytest.raises(UnreadableSample, match=f"mask_geometry_mismatch: mask mask.nii.gz {what}"):
        load_volume(*labelled_pair(tmp_path, np.zeros(SHAPE, np.uint8), **geometry))


def labelled_pair(tmp_path, mask, **geometry):
    image, path = labelled(tmp_path, mask, **geometry)
    return image, "axial", path


def test_mask_of_another_size_or_tilt_is_refused(tmp_path):
    with pytest.raises(UnreadableSample, match=r"has \(4, 6, 7\) voxels, the image \(5, 6, 7\)"):
        load_volume(*labelled_pair(tmp_path, np.zeros((4, 6, 7), np.uint8)))
    image, mask = labelled(tmp_path, np.zeros(SHAPE, np.uint8))
    tilted = sitk.ReadImage(str(mask))
    angle = np.deg2rad(5)
    tilted.SetDirection([1, 0, 0, 0, np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle)])
    sitk.WriteImage(tilted, str(mask))
    with pytest.raises(UnreadableSample, match=r"mask mask\.nii\.gz has the direction"):
        load_volume(image, "axial", mask)


def test_rounding_of_a_headers_numbers_is_no_other_frame(tmp_path):
    near = {"origin": (-12.5001, -30.25, 100.0), "spacing": (3.0, 0.80001, 0.7)}
    assert load_volume(*labelled_pair(tmp_path, np.ones(SHAPE, np.uint8), **near)).mask.all()


@pytest.mark.parametrize(("label", "shown"), [(9, "9"), (300, "300"), (-1, "-1"), (0.5, "0.5")])
def test_labels_outside_the_coding_are_refused_not_squeezed(tmp_path, label, shown):
    mask = np.zeros(SHAPE, np.float32 if label == 0.5 else np.int16)
    mask[2, 3, 4] = label
    with pytest.raises(UnreadableSample, match=rf"mask_values: mask mask.nii.gz has the values.* {shown}"):
        load_volume(*labelled_pair(tmp_path, mask), {1: 1, 2: 2})


def test_labels_above_255_are_stored_under_their_new_codes(tmp_path):
    mask = np.zeros(SHAPE, np.int16)
    mask[0], mask[1] = 257, 513
    found = load_volume(*labelled_pair(tmp_path, mask), {257: 2, 513: 10})
    assert [np.unique(slice_).tolist() for slice_ in found.mask[:3]] == [[2], [10], [0]]


# Showing


def test_hounsfield_units_outside_the_window_are_clipped_not_wrapped():
    units = np.array([-32768, -1000, -160, 40, 239, 240, 3071, 32767], np.int16).reshape(2, 2, 2)
    shown = show_volume(units, WINDOWS["ct-abdomen"], None)
    assert shown.ravel().tolist() == [0, 0, 0, 128, 254, 255, 255, 255]


def test_percentiles_are_those_of_each_volume():
    dark = np.arange(1000, dtype=np.uint16).reshape(10, 10, 10)
    for image in (dark, dark * 40):
        shown = show_volume(image, None, (10.0, 90.0))
        assert (shown == 0).mean() == pytest.approx(0.1, abs=0.005)
        assert (shown == 255).mean() == pytest.approx(0.1, abs=0.005)
        assert shown.ravel()[500] == 128


@pytest.mark.parametrize(
    "given", [{"window": (5.0, 5.0), "normalise": None}, {"window": None, "normalise": (0, 100)}]
)
def test_a_volume_of_one_intensity_is_black(given):
    assert not show_volume(np.full((2, 2, 2), 7, np.int16), **given).any()


def test_eight_bits_are_shown_as_they_are():
    image = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert np.array_equal(show_volume(image, None, None), image)


def test_a_dataset_that_says_no_window_is_refused_when_converting():
    with pytest.raises(UnreadableSample, match="window_missing"):
        store(Volume(values()), card(window=None), None)


def test_ways_to_show_have_names():
    assert showing("ct-kidney").window == (-200.0, 300.0)
    assert showing("mri").normalise == PERCENTILES["mri"]
    assert all(low < high for low, high in [*WINDOWS.values(), *PERCENTILES.values()])
    with pytest.raises(UserError, match="ct-kidney"):
        showing("ct-kidny")


# Storing


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (Volume(np.array([[[0.5, np.nan]]], np.float32)), "nan_pixels"),
        (Volume(np.array([[[0.5, np.inf]]], np.float32)), "nan_pixels"),
        (Volume(np.zeros((2, 3, 4), np.float64)), "unsupported_pixels"),
        (Volume(np.zeros((3, 4), np.int16)), "unsupported_pixels"),
        (Volume(np.zeros((0, 3, 4), np.int16)), "unsupported_pixels"),
        (Volume(values(), mask=np.zeros((5, 6, 6), np.uint8)), "mask_shape_mismatch"),
        (Volume(values(), mask=np.zeros(SHAPE, np.int16)), "mask_shape_mismatch"),
        (Volume(values(), (0.0, 1.0, 1.0)), "bad_spacing"),
        (Volume(values(), (3.0, np.nan, 1.0)), "bad_spacing"),
    ],
)
def test_volumes_that_cannot_be_stored_say_why(volume, reason):
    with pytest.raises(UnreadableSample, match=reason):
        store(volume, card(), None)


def test_smaller_slices_have_larger_pixels_and_as_many_slices():
    image = body((3, 40, 60), 1)
    mask = np.where(ball(image.shape, (0.5, 0.5, 0.5), 12), 3, 0).astype(np.uint8)
    found = fit_volume(Volume(image, (5.0, 0.9, 0.6), "SPL", mask), 30)
    assert found.image.shape == found.mask.shape == (3, 20, 30)
    assert found.spacing_mm == pytest.approx((5.0, 1.8, 1.2))
    assert found.orientation == "SPL"
    assert set(np.unique(found.mask)) == {0, 3}
    assert (found.mask == 3).mean() == pytest.approx((mask == 3).mean(), rel=0.1)


def test_intensities_are_resized_linearly_and_keep_their_kind():
    steps = np.where(np.arange(40) < 19, -1000, 3000).astype(np.int16)
    image = np.broadcast_to(steps, (2, 40, 40))
    found = fit_volume(Volume(np.ascontiguousarray(image)), 20).image
    assert found.dtype == np.int16
    between = (found > -1000) & (found < 3000)
    assert between.any()  # nearest neighbours would only copy
    assert found.min() >= -1000
    assert found.max() <= 3000


def test_slices_that_fit_are_left_alone():
    volume = Volume(values(), SPACING)
    assert fit_volume(volume, 7) is volume
    assert fit_volume(volume, None) is volume


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
def test_arrays_come_back_as_they_were_and_equal_arrays_have_equal_bytes(kind):
    array = values().astype(kind)
    data = encode_npy(array)
    assert np.array_equal(decode_npy(data), array)
    assert decode_npy(data).dtype == kind
    assert (
        encode_npy(np.asfortranarray(array))
        == encode_npy(array.astype(array.dtype.newbyteorder(">")))
        == data
    )


def test_objects_and_other_arrays_are_never_read():
    for array in (np.array([[[{"a": 1}]]], object), np.zeros((2, 2)), np.zeros((2, 2, 2), np.float64)):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        with pytest.raises(UnreadableSample, match="decode_error"):
            decode_npy(buffer.getvalue())
    for data in (b"", b"not an array", encode_npy(values())[:-1]):
        with pytest.raises(UnreadableSample, match="decode_error"):
            decode_npy(data)


# In shards


class MadeUpScans(Scans):
    """Every ``*.nii.gz`` of a folder; a mask where there is one in ``masks``."""

    name: ClassVar[str] = "scans"
    facts: ClassVar[Facts] = Facts("both", "CT", "none", None, (), Access("yours", "here", "nothing"))
    source: ClassVar[str] = "here"
    targets: ClassVar[tuple[Target, ...]] = (Target("ill", ("no", "yes"), positive="yes"),)
    structures: ClassVar[tuple[Structure, ...]] = (Structure("ball", (2,)),)
    shown: ClassVar[str] = "ct-abdomen"
    plane: ClassVar[str] = "axial"
    mask_codes: ClassVar[dict[int, int]] = {1: 2}
    landmarks: ClassVar[tuple[str, ...]] = ("*.nii*",)

    def rows(self, raw):
        rows = []
        for number, path in enumerate(raw.files("*.nii*")):
            mask = raw.find(f"masks/{path.name}")
            rows.append(
                {
                    "sample_id": path.name.split(".")[0],
                    "subject_id": path.name.split(".")[0],
                    "split": "test",
                    "ill": ("no", "yes")[number % 2],
                    "_image": str(path),
                    "_mask": None if mask is None else str(mask),
                }
            )
        return pd.DataFrame(rows)


ONE = ConvertOptions(workers=1, max_rejected=0.9)


def scans(folder, shapes):
    for number, shape in enumerate(shapes):
        image = body(shape, number)
        save(folder / f"scan{number}.nii.gz", image, axes=FLIPPED[number % len(FLIPPED)])
        mask = ball(shape, (0.5, 0.5, 0.5), 3).astype(np.uint8)
        save(folder / "masks" / f"scan{number}.nii.gz", mask)
    return MadeUpScans(raw=folder)


def samples_of(dataset):
    return {s.sample_id: s for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}


def test_volumes_are_read_from_shards_as_they_were_stored(tmp_path):
    shapes = [(4, 10, 12), (1, 10, 12), (6, 9, 9)]
    adapter = scans(tmp_path / "raw", shapes)
    dataset = convert(adapter, tmp_path / "out", ONE)
    rows = {row["sample_id"]: row for row in dataset.index.to_pylist()}
    samples = samples_of(dataset)
    for number, shape in enumerate(shapes):
        row, sample = rows[f"scan{number}"], samples[f"scan{number}"]
        assert (row["depth"], row["height"], row["width"]) == shape
        assert (row["orientation"], row["spacing_mm"]) == ("SPL", pytest.approx(SPACING))
        assert (row["image_name"], row["mask_name"]) == ("image.npy", "mask.npy")
        assert sample.status == "ok"
        assert sample.volumetric  # a volume of one slice, too
        assert sample.spacing_mm == pytest.approx(SPACING)
        assert np.array_equal(sample.image, show_volume(body(shape, number), (-160.0, 240.0), None))
        assert np.array_equal(sample.mask, np.where(ball(shape, (0.5, 0.5, 0.5), 3), 2, 0))
    assert verify(dataset, None) == ()
    again = open_dataset(tmp_path / "out")
    assert again.card.window == (-160.0, 240.0)


def test_a_bad_volume_costs_one_row(tmp_path):
    adapter = scans(tmp_path / "raw", [(4, 10, 12)] * 4)
    path = tmp_path / "raw" / "scan1.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])
    save(tmp_path / "raw" / "masks" / "scan2.nii.gz", np.zeros((4, 10, 12), np.uint8), origin=(0.0, 0.0, 0.0))
    dataset = convert(adapter, tmp_path / "out", ONE)
    reasons = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert reasons == {"scan1": "decode_error", "scan2": "mask_geometry_mismatch"}
    assert dataset.index["sample_id"].to_pylist() == ["scan0", "scan3"]


@pytest.mark.parametrize("part", ["image", "mask"])
def test_a_damaged_stored_volume_is_a_row_with_a_status(tmp_path, part):
    dataset = convert(scans(tmp_path / "raw", [(4, 10, 12)] * 3), tmp_path / "out", ONE)
    row = dataset.index.to_pylist()[1]
    path = tmp_path / "out" / "shards" / row["shard"]
    data = bytearray(path.read_bytes())
    data[row[f"{part}_offset"] + row[f"{part}_size"] // 2] ^= 0x01
    path.write_bytes(data)
    samples = list(dataset.read(row["shard"], masks=True))
    assert [sample.status for sample in samples] == ["ok", "decode_error", "ok"]
    assert f"the {part} in shard" in samples[1].reason
    assert samples[1].image is None
    assert samples[1].volumetric


def test_smaller_volumes_say_so_in_the_index(tmp_path):
    adapter = scans(tmp_path / "raw", [(4, 20, 24)])
    options = ConvertOptions(workers=1, max_side=12)
    row = convert(adapter, tmp_path / "out", options).index.to_pylist()[0]
    assert (row["depth"], row["height"], row["width"]) == (4, 10, 12)
    assert row["spacing_mm"] == pytest.approx([3.0, 1.6, 1.4])


def test_shards_of_volumes_are_smaller_than_those_of_images(tmp_path):
    class FewScans(MadeUpScans):
        most_per_shard: ClassVar[int] = 2

    scans(tmp_path / "raw", [(2, 8, 8)] * 5)
    shards = convert(FewScans(raw=tmp_path / "raw"), tmp_path / "out", ONE).shards
    assert [(shard.name, shard.samples) for shard in shards] == [
        ("test-000000.tar", 2),
        ("test-000001.tar", 2),
        ("test-000002.tar", 1),
    ]
    one = ConvertOptions(workers=1, samples_per_shard=1)
    assert len(convert(FewScans(raw=tmp_path / "raw"), tmp_path / "one", one).shards) == 5


_PEAK = """
import resource, sys
from pathlib import Path
from shards.convert import ConvertOptions, convert
from test_volumes import MadeUpScans
convert(MadeUpScans(raw=Path(sys.argv[1])), Path(sys.argv[2]), ConvertOptions(workers=1))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_volumes(tmp_path):
    peaks = {}
    for number in (1, 6):
        folder = tmp_path / f"raw{number}"
        for place in range(number):
            save(folder / f"scan{place}.nii.gz", body((60, 256, 256), place), axes="IPL")
        arguments = [sys.executable, "-c", _PEAK, str(folder), str(tmp_path / f"out{number}")]
        here = Path(__file__).parent
        paths = os.pathsep.join([str(here), str(here.parent), str(here.parents[1])])
        environment = {**os.environ, "PYTHONPATH": paths}
        found = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
        peaks[number] = int(found.stdout)
    assert peaks[6] < peaks[1] + 30_000  # KiB; five more volumes are 38,400
