"""Own images of every kind: volumes, arrays, DICOM, several files per sample, and ids that are replaced."""

import json

import numpy as np
import openpyxl
import pytest
from dicom_files import write_dicom, write_series
from own_files import CT, LENIENT, Own, read, reasons, rows_of, stored

from shards.convert import convert
from shards.datasets import make_adapter
from shards.errors import UserError


@pytest.fixture
def own(tmp_path):
    return Own(tmp_path / "own")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.mhd", "a.nrrd"])
def test_volumes_keep_intensities_and_spacing(own, tmp_path, name):
    adapter = own(
        [{"image": own.nifti(name, CT)}] * 1 + [{"image": own.nifti(f"b{name}", CT)}], window="ct-lung"
    )
    volume = read(adapter)
    assert np.array_equal(volume.image, CT)
    assert volume.image.dtype == np.int16
    assert np.allclose(volume.spacing_mm, (2.0, 0.25, 0.5))
    dataset = convert(adapter, tmp_path / "out", LENIENT)
    assert dataset.card.window == (-1350.0, 150.0)
    assert set(rows_of(dataset)) == {"a", "ba"}
    row = rows_of(dataset)["a"]
    assert (row["depth"], row["height"], row["width"], row["orientation"]) == (4, 6, 5, "SPL")
    shown = stored(dataset)["a"].image
    assert shown.dtype == np.uint8
    assert shown[0, 0, 0] == round((-500 + 1350) / 1500 * 255)


def test_the_plane_says_what_slices_show(own):
    own.folder.mkdir()
    name = own.nifti("a.nii.gz", CT)
    coronal = read(own([{"image": name}] * 2, window=[-500, 700], plane="coronal"))
    assert coronal.image.shape == (6, 4, 5)
    assert coronal.spacing_mm == pytest.approx((0.25, 2.0, 0.5))
    with pytest.raises(UserError, match="plane"):
        own([{"image": name}], plane="oblique")


def test_a_folder_of_dicom_slices_is_one_volume(own, tmp_path):
    write_series(own.folder / "p1" / "s.1", CT, RescaleIntercept="0")
    write_series(own.folder / "p2", CT, PatientName="Very^Secret")
    paths = write_series(own.folder / "gap", CT)
    paths[1].unlink()
    write_series(own.folder / "burned", CT, BurnedInAnnotation="YES")
    rows = [{"image": name} for name in ("p1/s.1", "p2", "gap", "burned", "nowhere")]
    dataset = convert(own(rows, window="ct-abdomen"), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {
        "gap": "missing_slice",
        "burned": "burned_in_annotation",
        "nowhere": "missing_image",
    }
    assert set(rows_of(dataset)) == {"p1/s.1", "p2"}
    assert rows_of(dataset)["p2"]["spacing_mm"] == [2.0, 0.5, 0.25]
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"Secret" not in written
    assert b"MRN-0007" not in written
    allowed = convert(own(rows, window="ct-abdomen", burned_in="allow"), tmp_path / "all", LENIENT)
    assert "burned" in rows_of(allowed)


def test_a_changed_slice_makes_the_conversion_work_again(own, tmp_path):
    paths = write_series(own.folder / "p1", CT)
    write_series(own.folder / "p2", CT)
    adapter = own([{"image": "p1"}, {"image": "p2"}], window="ct-abdomen")
    first = convert(adapter, tmp_path / "out", LENIENT)
    assert convert(adapter, tmp_path / "out", LENIENT).fingerprint == first.fingerprint
    write_dicom(
        paths[0], CT[0] + 7, ImagePositionPatient=[-10, -20, 30], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    assert convert(adapter, tmp_path / "out", LENIENT).fingerprint != first.fingerprint


def test_single_dicom_files_are_images(own, tmp_path):
    grey = np.arange(24, dtype=np.uint16).reshape(4, 6) * 100
    write_dicom(
        own.folder / "a.dcm", grey, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11
    )
    write_dicom(own.folder / "b", grey)  # without ending
    write_dicom(own.folder / "c.dcm", grey.astype(np.int16) - 1000, WindowCenter=0, WindowWidth=2000)
    rows = [{"image": "a.dcm"}, {"image": "b"}, {"image": "c.dcm"}]
    plain = own(rows)
    assert np.array_equal(read(plain).image, 4095 - grey)
    assert read(plain).spacing_mm == (0.5, 0.25)
    dataset = convert(own(rows, window=[-1000, 1400]), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {}
    assert stored(dataset)["c"].image[0, 0, 0] == 0
    assert read(own(rows, normalise=[0, 100]), 2).image.max() == 255
    of_file = own(rows, window="file")
    assert read(of_file, 2).image.dtype == np.uint8
    assert of_file.card().window is None


def test_arrays_are_images_or_volumes_by_their_shape(own, tmp_path):
    own.folder.mkdir()
    rng = np.random.default_rng(0)
    grey, colour = rng.integers(0, 256, (8, 9), np.uint8), rng.integers(0, 256, (8, 9, 3), np.uint8)
    np.save(own.folder / "grey.npy", grey)
    np.save(own.folder / "colour.npy", colour)
    np.save(own.folder / "ct.npy", CT.astype(np.float64))
    np.savez(own.folder / "one.npz", anything=CT)
    np.savez(own.folder / "two.npz", image=grey, mask=grey)
    np.save(own.folder / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(own.folder / "flat.npy", grey.ravel())
    (own.folder / "cut.npy").write_bytes((own.folder / "ct.npy").read_bytes()[:200])
    np.save(own.folder / "nan.npy", np.full((3, 3), np.nan))
    names = (
        "grey.npy",
        "colour.npy",
        "ct.npy",
        "one.npz",
        "two.npz",
        "objects.npy",
        "flat.npy",
        "cut.npy",
        "nan.npy",
    )
    adapter = own([{"image": name} for name in names], window="ct-lung")
    dataset = convert(adapter, tmp_path / "out", LENIENT)
    assert reasons(dataset) == {
        "two": "missing_array",
        "objects": "decode_error",
        "flat": "unsupported_pixels",
        "cut": "decode_error",
        "nan": "nan_pixels",
    }
    assert np.array_equal(read(adapter, 0).image, grey)
    assert np.array_equal(read(adapter, 1).image, colour)
    assert np.array_equal(read(adapter, 2).image, CT)
    assert read(adapter, 2).image.dtype == np.int16
    assert read(adapter, 3).spacing_mm is None
    named = own([{"image": "two.npz"}], array="image")
    assert np.array_equal(read(named).image, grey)


def test_fractions_are_shown_by_window_or_percentiles(own):
    own.folder.mkdir()
    np.save(own.folder / "a.npy", np.linspace(-1, 1, 12).reshape(3, 4))
    assert read(own([{"image": "a.npy"}], window=[-1, 1])).image.ravel()[[0, -1]].tolist() == [0, 255]
    assert read(own([{"image": "a.npy"}], normalise=[0, 100])).image.ravel()[[0, -1]].tolist() == [0, 255]
    with pytest.raises(Exception, match="window_missing"):
        read(own([{"image": "a.npy"}]))


def test_spacing_of_arrays_comes_from_the_table(own):
    own.folder.mkdir()
    np.save(own.folder / "a.npy", CT)
    columns = {"image": "a.npy", "z": 3, "r": 0.5, "c": 0.25}
    assert read(own([columns], spacing_mm=["z", "r", "c"])).spacing_mm == (3.0, 0.5, 0.25)
    assert read(own([columns], spacing_mm=["r", "c"])).spacing_mm is None
    nifti = {**columns, "image": own.nifti("b.nii.gz", CT)}
    assert read(own([nifti], spacing_mm=["z", "r", "c"])).spacing_mm == pytest.approx((2.0, 0.25, 0.5))


def test_windows_are_named_or_numbers_and_one_of_both(own):
    assert own([{"image": "a.png"}], window="ct-liver").card().window == (-20.0, 140.0)
    assert own([{"image": "a.png"}], window="mri").card().normalise == (0.5, 99.5)
    assert own([{"image": "a.png"}], normalise=[1, 99]).card().normalise == (1.0, 99.0)
    with pytest.raises(UserError, match="unknown window 'ct-lungs'; did you mean 'ct-lung'"):
        own([{"image": "a.png"}], window="ct-lungs").card()
    with pytest.raises(UserError, match="cannot be given both"):
        own([{"image": "a.png"}], window=[0, 1], normalise=[1, 99]).card()
    with pytest.raises(UserError, match="percentiles from 0 to 100"):
        own([{"image": "a.png"}], normalise=[99, 1]).card()


SLICES = [np.full((6, 5), 10 * n, np.uint8) for n in range(4)]


def test_several_columns_or_parts_of_a_cell_make_a_stack(own, tmp_path):
    for n, pixels in enumerate(SLICES):
        own.picture(f"{n}.png", pixels)
    own.picture("rgb-grey.png", np.dstack([SLICES[3]] * 3))
    own.picture("colour.png", np.dstack([SLICES[3], SLICES[0], SLICES[1]]))
    own.picture("large.png", np.zeros((7, 5), np.uint8))
    columns = own([{"image": "0.png", "second": "rgb-grey.png"}] * 2, image=["image", "second"])
    volume = read(columns)
    assert volume.image[:, 0, 0].tolist() == [0, 30]
    assert volume.spacing_mm is None
    rows = [{"image": "0.png|1.png|2.png"}, {"image": "1.png| 3.png"}, {"image": "0.png|large.png"}]
    rows += [{"image": "0.png|colour.png"}, {"image": "0.png|absent.png"}]
    dataset = convert(own(rows, separator="|", sample_id="who"), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"w2": "mixed_sizes", "w3": "unsupported_pixels", "w4": "missing_image"}
    assert rows_of(dataset)["w0"]["depth"] == 3
    assert stored(dataset)["w1"].image[:, 0, 0].tolist() == [10, 30]


def test_rows_of_one_id_make_a_stack_in_the_order_that_is_said(own, tmp_path):
    for n, pixels in enumerate(SLICES):
        own.picture(f"{n}.png", pixels)
    rows = [
        {"image": f"{n}.png", "id": f"scan{n // 4}", "who": "one", "y": "1", "sex": sex, "place": 10 - n}
        for n, sex in enumerate(["f", "", "f", "f"])
    ]
    rows.append({"image": "0.png", "id": "alone", "who": "two", "y": "0", "sex": "m", "place": 1})
    options = {"sample_id": "id", "join_rows": True, "attributes": ["sex"]}
    joined = own(rows, **options)
    assert joined.manifest()["sample_id"].tolist() == ["scan0", "alone"]
    assert joined.manifest()["sex"].tolist() == ["f", "m"]
    assert read(joined).image[:, 0, 0].tolist() == [0, 10, 20, 30]
    assert read(own(rows, order="place", **options)).image[:, 0, 0].tolist() == [30, 20, 10, 0]
    dataset = convert(joined, tmp_path / "out", LENIENT)
    assert rows_of(dataset)["scan0"]["depth"] == 4
    assert rows_of(dataset)["alone"]["depth"] == 1
    assert reasons(convert(own(rows, sample_id="id"), tmp_path / "twice", LENIENT)) == {
        "scan0": "duplicate_id"
    }


def test_rows_of_one_id_that_contradict_each_other_are_rejected(own, tmp_path):
    for n, pixels in enumerate(SLICES):
        own.picture(f"{n}.png", pixels)
    rows = [{"image": f"{n}.png", "id": f"s{n // 2}", "who": f"w{n // 2}", "y": str(n % 2)} for n in range(2)]
    rows += [{"image": f"{n}.png", "id": f"s{n}", "y": str(n % 2)} for n in range(2, 4)]
    dataset = convert(own(rows, sample_id="id", join_rows=True), tmp_path / "out", LENIENT)
    (rejected,) = dataset.rejected.to_pylist()
    assert rejected["reason"] == "contradicting_rows"
    assert "'0' and '1' in column 'y'" in rejected["detail"]
    with pytest.raises(UserError, match="name the column with these ids as 'sample_id'"):
        own(rows, join_rows=True).manifest()
    with pytest.raises(UserError, match="'order' must hold numbers, got 'w0'"):
        own(rows, sample_id="id", join_rows=True, order="who").manifest()


def test_excel_tables_are_read(own, tmp_path):
    own.picture("0.png", SLICES[0])
    book = openpyxl.Workbook()
    book.active.append(["about", "this file"])
    sheet = book.create_sheet("images")
    sheet.append(["image", "who", "y", "age", "ill", None])
    for n in range(4):
        sheet.append(["0.png", n, n % 2, 30.5 + n, n % 2 == 0, None])
    sheet.append([None] * 6)
    book.save(own.folder / "t.xlsx")
    given = {"table": own.folder / "t.xlsx", "sheet": "images", "subject": "who", "targets": ["y", "ill"]}
    adapter = make_adapter("table", given | {"attributes": ["age"], "sample_id": "who"})
    card, frame = adapter.card(), adapter.manifest()
    assert [target.positive for target in card.targets] == ["1", "true"]
    assert frame["subject_id"].tolist() == ["0", "1", "2", "3"]
    assert frame["age"].tolist() == ["30.5", "31.5", "32.5", "33.5"]
    with pytest.raises(UserError, match=r"unknown sheet in t\.xlsx 'image'; did you mean 'images'"):
        make_adapter("table", given | {"sheet": "image"}).card()
    with pytest.raises(UserError, match="has 2 sheets, but sheet 2"):
        make_adapter("table", given | {"sheet": 2}).card()


def test_ids_can_be_replaced_by_keyed_hashes(own, tmp_path):
    for n in range(4):
        own.picture(f"MRN{n}.png", SLICES[n])
    rows = [{"image": f"MRN{n}.png", "who": f"MRN{n // 2}"} for n in range(4)] + [
        {"image": "MRN9.png", "who": "MRN9"}
    ]
    adapter = own(rows, pseudonyms=True)
    dataset = convert(adapter, tmp_path / "out", LENIENT)
    assert reasons(dataset).popitem()[1] == "missing_image"
    found = dataset.index.to_pylist()
    assert len({row["subject_id"] for row in found}) == 2
    assert all(len(row["sample_id"]) == 32 for row in found)
    text = json.dumps([found, dataset.rejected.to_pylist()]) + (tmp_path / "out" / "dataset.json").read_text()
    assert "MRN" not in text
    key = own.folder / "t.csv.key"
    assert key.read_text().strip() not in text
    again = convert(own(rows, pseudonyms=True), tmp_path / "again", LENIENT)
    assert again.fingerprint == dataset.fingerprint
    other = own(rows, pseudonyms=str(tmp_path / "other.key")).manifest()
    assert set(other["subject_id"]).isdisjoint(row["subject_id"] for row in found)


def test_damaged_volumes_cost_their_row_only(own, tmp_path):
    own.nifti("good.nii.gz", CT)
    own.nifti("good2.nii.gz", CT)
    whole = (own.folder / "good.nii.gz").read_bytes()
    (own.folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (own.folder / "empty.mha").write_bytes(b"")
    rows = [{"image": name} for name in ("good.nii.gz", "good2.nii.gz", "cut.nii.gz", "empty.mha", "no.nrrd")]
    dataset = convert(own(rows, window="ct-lung"), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"cut": "decode_error", "empty": "empty_file", "no": "missing_image"}
