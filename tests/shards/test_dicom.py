import contextlib
import io
import subprocess
import sys

import numpy as np
import psutil
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import write_dicom, write_series

from shards.adapter import UnreadableSample
from shards.formats import _gdcm
from shards.formats.dicom import KEPT_TAGS, kept_tags, read_dicom_image, read_series

SLICES = np.arange(5 * 6 * 4, dtype=np.int16).reshape(5, 6, 4)


def reason(call, *arguments, **options):
    with pytest.raises(UnreadableSample) as caught:
        call(*arguments, **options)
    return caught.value.reason


def change(path, **elements):
    """Change elements of a file; None removes one."""
    file = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    file.save_as(path)


def test_slices_are_ordered_by_place_and_rescaled(tmp_path):
    write_series(tmp_path / "s", SLICES, RescaleSlope="2", RescaleIntercept="-1024")
    found = read_series(tmp_path / "s", "axial")
    assert found.image.dtype == np.int16
    assert np.array_equal(found.image, SLICES * 2 - 1024)
    assert found.spacing_mm == (2.0, 0.5, 0.25)
    assert (found.orientation, found.dropped) == ("SPL", 0)
    assert found.origin == (-10.0, -20.0, 30.0)


def test_sagittal_scan_is_turned_into_the_plane_that_is_asked_for(tmp_path):
    write_series(tmp_path / "s", SLICES, axes=(0, 1, 0, 0, 0, -1), step=3.0)
    sagittal = read_series(tmp_path / "s", "sagittal")
    assert sagittal.image.shape == (5, 6, 4)
    assert sagittal.spacing_mm == (3.0, 0.5, 0.25)
    axial = read_series(tmp_path / "s", "axial")
    assert axial.spacing_mm == (0.5, 0.25, 3.0)
    assert axial.image.shape == (6, 4, 5)
    # the first row of the slices is at the head, the first slice at the patient's ... normal: (-1, 0, 0)
    assert axial.image[-1, 0, -1] == SLICES[0, 0, 0]


def test_agrees_with_simpleitk_on_a_whole_series(tmp_path):
    write_series(tmp_path / "s", SLICES, axes=(0.8, 0.6, 0, 0, 0, -1), step=1.5)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    expected = sitk.DICOMOrient(reader.Execute(), "LPS")
    found = read_series(tmp_path / "s", "axial")
    assert np.array_equal(found.image, sitk.GetArrayFromImage(expected))
    assert np.allclose(found.origin, expected.GetOrigin())
    assert np.allclose(found.directions, expected.GetDirection())
    assert np.allclose(found.spacing_mm[::-1], expected.GetSpacing())


def test_scouts_are_dropped_and_counted(tmp_path):
    write_series(tmp_path / "s", SLICES)
    write_dicom(tmp_path / "s" / "A_scout.dcm", np.zeros((9, 9), np.int16))
    write_dicom(
        tmp_path / "s" / "B_localizer.dcm",
        np.zeros((6, 4), np.int16),
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImagePositionPatient=[0, 0, 31],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        SliceLocation=31.0,
        series="9.9",
    )
    write_dicom(  # lies across the others and has no slice location
        tmp_path / "s" / "C_across.dcm",
        np.zeros((6, 4), np.int16),
        ImagePositionPatient=[0, 0, 31],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    (tmp_path / "s" / "notes.txt").write_text("not an image")
    found = read_series(tmp_path / "s", "axial")
    assert found.dropped == 3
    assert np.array_equal(found.image, SLICES)


def test_slice_location_orders_slices_without_position(tmp_path):
    paths = write_series(tmp_path / "s", SLICES, ImagePositionPatient=None, ImageOrientationPatient=None)
    write_dicom(tmp_path / "s" / "scout.dcm", np.zeros((9, 9), np.int16))
    found = read_series(tmp_path / "s", "axial")
    assert np.array_equal(found.image, SLICES)
    assert found.spacing_mm == (2.0, 0.5, 0.25)
    assert found.orientation is None
    assert found.dropped == 1
    for path in paths:
        change(path, SliceLocation=None)
    assert reason(read_series, tmp_path / "s", "axial") == "missing_position"


def test_missing_slice_is_named(tmp_path):
    paths = write_series(tmp_path / "s", SLICES)
    paths[2].unlink()
    with pytest.raises(
        UnreadableSample, match=r"2 mm apart, but 4 mm between IM0004.dcm and IM0002.dcm"
    ) as caught:
        read_series(tmp_path / "s", "axial")
    assert caught.value.reason == "missing_slice"


def test_slice_twice_at_one_place_is_refused(tmp_path):
    paths = write_series(tmp_path / "s", SLICES)
    (tmp_path / "s" / "again.dcm").write_bytes(paths[1].read_bytes())
    assert reason(read_series, tmp_path / "s", "axial") == "duplicate_position"


def test_uneven_distances_are_refused(tmp_path):
    paths = write_series(tmp_path / "s", SLICES)
    change(paths[2], ImagePositionPatient=[-10.0, -20.0, 34.6])
    assert reason(read_series, tmp_path / "s", "axial") == "uneven_spacing"


@pytest.mark.parametrize(
    "elements",
    [
        {"SeriesInstanceUID": "1.2.4"},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]},
        {"PixelSpacing": [0.5, 0.3]},
    ],
)
def test_slices_of_another_series_are_refused(tmp_path, elements):
    paths = write_series(tmp_path / "s", SLICES)
    change(paths[3], **elements)
    assert reason(read_series, tmp_path / "s", "axial") == "mixed_series"


def test_slices_of_another_size_are_refused(tmp_path):
    write_series(tmp_path / "s", SLICES)
    write_series(tmp_path / "s", np.zeros((1, 3, 4), np.int16), start=(-10, -20, 40))
    assert reason(read_series, tmp_path / "s", "axial") in ("mixed_series", "duplicate_position")
    write_series(tmp_path / "t", SLICES[:, :3])
    (tmp_path / "s" / "IM0001.dcm").unlink()
    (tmp_path / "t" / "IM0001.dcm").rename(tmp_path / "s" / "IM0001.dcm")
    assert reason(read_series, tmp_path / "s", "axial") == "mixed_series"


def test_one_slice_needs_its_thickness(tmp_path):
    path = write_series(tmp_path / "s", SLICES[:1])[0]
    assert reason(read_series, tmp_path / "s", "axial") == "missing_spacing"
    change(path, SliceThickness="5")
    assert read_series(tmp_path / "s", "axial").spacing_mm == (5.0, 0.5, 0.25)


@pytest.mark.parametrize("size", [None, [0, 0.5], [-1, 1]])
def test_pixel_size_is_needed(tmp_path, size):
    write_series(tmp_path / "s", SLICES, PixelSpacing=size)
    assert reason(read_series, tmp_path / "s", "axial") == "missing_spacing"


def test_damaged_files_are_refused_by_name(tmp_path):
    paths = write_series(tmp_path / "s", SLICES)
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:-20])
    with pytest.raises(UnreadableSample, match=r"IM0003\.dcm") as caught:
        read_series(tmp_path / "s", "axial")
    assert caught.value.reason == "decode_error"
    paths[2].write_bytes(whole[:150])
    assert reason(read_series, tmp_path / "s", "axial") == "decode_error"
    paths[2].write_bytes(b"")
    assert reason(read_series, tmp_path / "s", "axial") == "empty_file"
    paths[2].write_bytes(b"no picture" * 100)
    assert reason(read_series, tmp_path / "s", "axial") == "decode_error"
    assert reason(read_series, tmp_path / "nowhere", "axial") == "missing_image"
    (tmp_path / "empty").mkdir()
    assert reason(read_series, tmp_path / "empty", "axial", missing="missing_mask") == "missing_mask"


def test_burned_in_texts_are_refused_unless_allowed(tmp_path):
    write_series(tmp_path / "s", SLICES, BurnedInAnnotation="YES")
    assert reason(read_series, tmp_path / "s", "axial") == "burned_in_annotation"
    assert read_series(tmp_path / "s", "axial", allow_burned_in=True).image.shape == SLICES.shape
    path = write_dicom(tmp_path / "one.dcm", np.zeros((4, 4), np.uint8), BurnedInAnnotation="YES")
    assert reason(read_dicom_image, path) == "burned_in_annotation"
    assert read_dicom_image(path, allow_burned_in=True).image.shape == (4, 4)


def test_images_keep_8_or_16_bits(tmp_path):
    dark = np.arange(24, dtype=np.uint16).reshape(4, 6)
    found = read_dicom_image(write_dicom(tmp_path / "a.dcm", dark, BitsStored=12, HighBit=11))
    assert found.image.dtype == np.uint16  # 12 bits although no value needs more than 8
    assert np.array_equal(found.image, dark)
    assert found.spacing_mm == (0.5, 0.25)
    small = read_dicom_image(write_dicom(tmp_path / "b.dcm", dark.astype(np.uint8), PixelSpacing=None))
    assert small.image.dtype == np.uint8
    assert small.spacing_mm is None


def test_the_size_on_the_detector_stands_in_for_that_in_the_patient(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    detector = write_dicom(tmp_path / "a.dcm", pixels, PixelSpacing=None, ImagerPixelSpacing=[0.2, 0.1])
    assert read_dicom_image(detector).spacing_mm == (0.2, 0.1)
    both = write_dicom(tmp_path / "b.dcm", pixels, ImagerPixelSpacing=[0.2, 0.1])
    assert read_dicom_image(both).spacing_mm == (0.5, 0.25)


def test_white_first_is_inverted_within_its_bits(tmp_path):
    stored = np.array([[0, 100], [4000, 4095]], np.uint16)
    path = write_dicom(
        tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"
    )
    assert np.array_equal(read_dicom_image(path).image, 4095 - stored)
    shown = read_dicom_image(path, window=(0, 4095)).image
    assert np.array_equal(shown, 255 - np.rint(stored / 4095 * 255))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [12, 16])
def test_compression_without_decoder_of_pydicom_gives_the_same_values(tmp_path, photometric, bits):
    stored = (np.arange(32 * 32, dtype=np.uint16) * 3).reshape(32, 32)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    writer.Execute(sitk.GetImageFromArray(stored[None]))
    path = tmp_path / "lossless.dcm"
    elements = {
        "PhotometricInterpretation": photometric,
        "RescaleSlope": "2",
        "RescaleIntercept": "10",
        "BitsStored": bits,
        "HighBit": bits - 1,
    }
    change(path, **elements)
    assert "JPEG Lossless" in pydicom.dcmread(path).file_meta.TransferSyntaxUID.name
    plain = write_dicom(tmp_path / "plain.dcm", stored, **elements)
    for window in (None, (0, 5000)):
        if window is None and bits == 16:
            continue  # values up to 131080
        expected = read_dicom_image(plain, window=window).image
        assert np.array_equal(read_dicom_image(path, window=window).image, expected)
        assert expected.max() > expected.min()


@pytest.fixture
def lossless(tmp_path):
    """A file of a compression that pydicom has no decoder for."""
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    writer.Execute(sitk.GetImageFromArray(np.arange(32 * 32, dtype=np.uint16).reshape(1, 32, 32)))
    return tmp_path / "lossless.dcm"


@pytest.mark.parametrize("cut", [8, 20, 200])
def test_compressed_pixels_that_are_cut_off_are_refused(lossless, cut):
    whole = lossless.read_bytes()
    lossless.write_bytes(whole[:-cut])
    assert reason(read_dicom_image, lossless) == "decode_error"
    file = pydicom.dcmread(io.BytesIO(whole))
    frame = pydicom.encaps.get_frame(file.PixelData, 0, number_of_frames=1)
    file.PixelData = pydicom.encaps.encapsulate([frame[: -cut - 2]])
    file.save_as(lossless)
    assert reason(read_dicom_image, lossless) == "decode_error"


def test_a_decoder_that_crashes_costs_one_image_only(lossless, tmp_path, monkeypatch):
    decoder = _gdcm._Decoder()
    monkeypatch.setattr(_gdcm, "_decoder", lambda pid: decoder)
    child = _gdcm._CHILD
    crash = tmp_path / "crash.py"
    crash.write_text("import os, sys, signal\nsys.stdin.readline()\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    for script, expected in ((crash, None), (child, 1023), (crash, 1023)):
        monkeypatch.setattr(_gdcm, "_CHILD", script)
        if expected is None:
            assert reason(read_dicom_image, lossless) == "decode_error"
        else:
            assert read_dicom_image(lossless).image.max() == expected
    decoder._process.kill()
    decoder._process.wait()
    monkeypatch.setattr(_gdcm, "_CHILD", child)
    assert read_dicom_image(lossless).image.max() == 1023
    decoder.close()


@pytest.mark.parametrize(("ending", "code"), [("os.kill(os.getpid(), 9)", -9), ("sys.exit(5)", 5)])
def test_the_decoder_ends_with_the_process_that_uses_it(lossless, ending, code):
    script = (
        "import os, pathlib, sys\n"
        "from shards.formats import _gdcm\n"
        "_gdcm.decode_by_gdcm(pathlib.Path(sys.argv[1]))\n"
        "print(_gdcm._decoder(os.getpid())._process.pid, flush=True)\n"
        f"{ending}\n"
    )
    command = [sys.executable, "-W", "always", "-c", script, str(lossless)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(timeout=20)


def test_windows_are_those_of_the_file_or_given(tmp_path):
    hounsfield = np.array([[-1000, -160], [40, 240], [241, 3000]], np.int16)
    path = write_dicom(
        tmp_path / "a.dcm",
        hounsfield + 1024,
        RescaleIntercept="-1024",
        WindowCenter=[40, 50],
        WindowWidth=[400, 350],
    )
    given = read_dicom_image(path, window=(-160, 240)).image
    assert given.tolist() == [[0, 0], [127, 255], [255, 255]]
    assert np.abs(read_dicom_image(path, window="file").image.astype(int) - given).max() <= 1
    assert reason(read_dicom_image, path) == "window_missing"
    plain = write_dicom(tmp_path / "b.dcm", hounsfield)
    assert reason(read_dicom_image, plain, window="file") == "window_missing"


def test_colours_come_out_as_rgb(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    assert np.array_equal(read_dicom_image(write_dicom(tmp_path / "a.dcm", pixels)).image, pixels)


def test_several_frames_are_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 4), np.uint8), Rows=4, NumberOfFrames=2)
    assert reason(read_dicom_image, path) == "unsupported_pixels"


def test_damaged_images_are_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 4), np.uint8))
    path.write_bytes(path.read_bytes()[:-3])
    assert reason(read_dicom_image, path) == "decode_error"
    assert reason(read_dicom_image, tmp_path / "none.dcm") == "missing_image"


def test_only_listed_elements_are_kept(tmp_path):
    path = write_dicom(
        tmp_path / "a.dcm",
        np.zeros((8, 4), np.uint8),
        PatientSex="F",
        PatientAge="058Y",
        PatientBirthDate="19600101",
        StudyDescription="of Mrs Nobody",
        AccessionNumber="77",
        InstitutionName="Somewhere",
        ImageType=["ORIGINAL", "PRIMARY"],
    )
    tags = kept_tags(path)
    assert tags["PatientSex"] == "F"
    assert tags["ImageType"] == "ORIGINAL|PRIMARY"
    assert tags["PixelSpacing"] == "0.5|0.25"
    assert set(tags) <= set(KEPT_TAGS)
    text = " ".join(tags.values())
    assert not any(secret in text for secret in ("Nobody", "MRN", "1960", "Somewhere", "77", "1.2.3"))
    assert not any(
        part in name for name in KEPT_TAGS for part in ("PatientName", "UID", "Date", "Description", "ID")
    )


def test_a_library_that_is_not_installed_is_no_fault_of_a_file(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "one.dcm", np.zeros((3, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ModuleNotFoundError, match="pydicom"):
        kept_tags(path)
