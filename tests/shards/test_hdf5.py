"""HDF5 and MATLAB files: only what is asked for is read, nothing is followed or executed, damage is told."""

import h5py
import numpy as np
import pytest
import scipy.io

from shards.adapter import UnreadableSample
from shards.formats.hdf5 import hdf5_arrays, read_hdf5, read_hdf5_texts
from shards.formats.matlab import mat_names, read_mat

STACK = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
UNITS = np.array([[-3024, -1000, 0], [40, 1000, 32767]], np.int16)


@pytest.fixture
def path(tmp_path):
    """A file with a stack of frames, names, one slice, and what must not be read."""
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.zeros((2, 2))
    with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
        file["image"] = STACK
        file["annot_id"] = [b"103_", b"103_", b"7_"]
        file["fixed"] = np.array([b"a", b"bc"], "S4")
        file["numbers"] = np.array([4, 11])
        file["slice"] = UNITS
        file["outside"] = h5py.ExternalLink("other.h5", "/secret")
        file["soft"] = h5py.SoftLink("/image")
        file.create_group("folder")["deep"] = UNITS
        file["references"] = np.array([file["image"].ref], dtype=h5py.ref_dtype)
    return tmp_path / "dataset.hdf5"


def reason(call, *arguments, **named):
    with pytest.raises(UnreadableSample) as caught:
        call(*arguments, **named)
    return caught.value.reason


def test_one_frame_is_read_as_stored(path):
    assert np.array_equal(read_hdf5(path, "image", 1), STACK[1])
    assert np.array_equal(read_hdf5(path, "slice"), UNITS)
    assert read_hdf5(path, "slice").dtype == np.int16


def test_a_frame_of_a_file_larger_than_memory_costs_that_frame(tmp_path):
    huge = tmp_path / "huge.hdf5"
    with h5py.File(huge, "w") as file:  # 2 TB that are not written
        frames = file.create_dataset("image", (2_000_000, 1024, 1024), np.uint8, chunks=(1, 1024, 1024))
        frames[1_999_999] = 7
    assert huge.stat().st_size < 50_000_000
    assert (read_hdf5(huge, "image", 1_999_999) == 7).all()
    assert hdf5_arrays(huge)["image"].shape == (2_000_000, 1024, 1024)


def test_texts_come_out_without_padding(path):
    assert read_hdf5_texts(path, "annot_id") == ["103_", "103_", "7_"]
    assert read_hdf5_texts(path, "fixed") == ["a", "bc"]
    assert read_hdf5_texts(path, "numbers") == ["4", "11"]


def test_arrays_are_described_without_reading_them(path):
    found = hdf5_arrays(path)
    assert found["image"] == ((3, 4, 5), np.dtype(np.uint8))
    assert not {"outside", "soft", "folder"} & set(found)


def test_nothing_outside_of_the_file_and_nothing_but_numbers_is_read(path, tmp_path):
    assert reason(read_hdf5, path, "outside") == "unsupported_pixels"
    assert reason(read_hdf5, path, "soft") == "unsupported_pixels"
    assert reason(read_hdf5, path, "folder") == "unsupported_pixels"
    assert reason(read_hdf5, path, "references") == "unsupported_pixels"
    assert reason(read_hdf5_texts, path, "slice") == "decode_error"
    elsewhere = tmp_path / "elsewhere.h5"
    (tmp_path / "raw.bin").write_bytes(bytes(range(16)))
    with h5py.File(elsewhere, "w") as file:
        file.create_dataset("image", (16,), np.uint8, external=[(str(tmp_path / "raw.bin"), 0, 16)])
    assert reason(read_hdf5, elsewhere, "image") == "unsupported_pixels"


def test_what_is_missing_or_damaged_is_told_without_the_place_of_the_file(path, tmp_path):
    assert reason(read_hdf5, path, "image", 3) == "missing_image"
    assert reason(read_hdf5, path, "image", -1) == "missing_image"
    with pytest.raises(UnreadableSample, match=r"lacks the array 'label'; found annot_id, fixed, folder"):
        read_hdf5(path, "label", missing="missing_mask")
    assert reason(read_hdf5, tmp_path / "no.h5", "image") == "missing_image"
    (tmp_path / "empty.h5").touch()
    assert reason(read_hdf5, tmp_path / "empty.h5", "image") == "empty_file"
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UnreadableSample, match=r"cut\.h5 is cut off") as caught:
        read_hdf5(cut, "image")
    assert str(tmp_path) not in str(caught.value)


@pytest.fixture
def mat(tmp_path):
    """Return a file of MATLAB 5 with numbers, texts, and what must not be read."""
    values = {"images": STACK, "Age": 67.0, "note": "words", "cells": np.array([{"a": 1}], dtype=object)}
    scipy.io.savemat(tmp_path / "five.mat", values, do_compression=True)
    return tmp_path / "five.mat"


@pytest.fixture
def mat73(tmp_path):
    """Return a file of MATLAB 7.3: HDF5 behind 512 bytes of text, axes the other way round."""
    path = tmp_path / "seven.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = STACK.T
        file["Age"] = np.array([[67.0]])
    data = bytearray(path.read_bytes())
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64"
    data[: len(text)] = text
    path.write_bytes(data)
    return path


def test_both_versions_of_matlab_files_give_the_same_arrays(mat, mat73):
    for path in (mat, mat73):
        assert {"images", "Age"} <= set(mat_names(path))
        assert np.array_equal(read_mat(path, "images"), STACK)
        assert read_mat(path, "Age").tolist() == [[67.0]]
    assert read_mat(mat, "note").tolist() == ["words"]


def test_matlab_cells_are_refused_and_the_rest_of_the_file_can_be_read(mat):
    assert reason(read_mat, mat, "cells") == "unsupported_pixels"
    assert read_mat(mat, "Age").item() == 67.0


def test_missing_cut_and_foreign_matlab_files_are_told(mat, tmp_path):
    with pytest.raises(UnreadableSample, match=r"lacks the variable 'volume'; found images, Age"):
        read_mat(mat, "volume")
    assert reason(read_mat, tmp_path / "no.mat", "images") == "missing_image"
    (tmp_path / "empty.mat").touch()
    assert reason(read_mat, tmp_path / "empty.mat", "images") == "empty_file"
    mat.write_bytes(b"<html>not found</html>" * 20)
    assert reason(mat_names, mat) == "decode_error"


@pytest.mark.parametrize("packed", [True, False])
def test_a_matlab_file_that_was_cut_off_anywhere_never_gives_an_array(tmp_path, packed):
    path = tmp_path / "cut.mat"
    scipy.io.savemat(path, {"images": STACK.astype(np.float64) / 7}, do_compression=packed)
    data = path.read_bytes()
    assert np.array_equal(read_mat(path, "images"), STACK / 7)
    for length in range(1, len(data) - 1, 23):
        path.write_bytes(data[:length])
        assert reason(read_mat, path, "images") in ("decode_error", "missing_array"), length
