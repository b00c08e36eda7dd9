"""3D-IRCADb-01: the publisher's folders of masks become one label map; nnU-Net's layout is read as before."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas._volumes import save
from replicas.ircadb import (
    LABELS,
    NAMES,
    PATIENTS,
    SHAPE,
    SILENT,
    SPACING,
    WOMEN,
    drawn_of,
    make_nnunet,
    scan_of,
    shape_of,
    write_series,
)

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets._ircadb import NUMBERED, STRUCTURES, structure_of
from shards.errors import UserError

ONE = ConvertOptions(workers=1)
SOME_BAD = ConvertOptions(workers=1, max_rejected=1.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ircadb")
    options = replica("ircadb")(folder)
    return options["raw"], convert(make_adapter("ircadb", options), folder / "out", ONE)


@pytest.fixture(scope="module")
def whole_nnunet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ircadb-nnunet")
    options = make_nnunet(folder)
    return options["raw"], convert(make_adapter("ircadb", options), folder / "out", ONE)


@pytest.fixture
def few(whole, tmp_path):
    """The first five patients of the publisher's."""
    root = tmp_path / "few" / "3Dircadb1"
    for name in PATIENTS[:5]:
        shutil.copytree(whole[0] / name, root / name)
    return root


@pytest.fixture
def nnunet(whole_nnunet, tmp_path):
    return Path(shutil.copytree(whole_nnunet[0], tmp_path / "IRCADb"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def sample_of(dataset, name):
    shard = by_id(dataset)[name]["shard"]
    return next(sample for sample in dataset.read(shard, masks=True) if sample.sample_id == name)


def inside(sample, name, structures=STRUCTURES):
    values = {structure.name: structure.values for structure in structures}
    return np.isin(sample.mask, values[name])


def manifest_of(root, **options):
    return make_adapter("ircadb", {"raw": root} | options).manifest().set_index("sample_id")


def reasons(root, folder, **options):
    """Convert what may lack patients; returns why those that are there were rejected."""
    dataset = convert(make_adapter("ircadb", {"raw": root} | options), folder / "out", SOME_BAD)
    rows = {row["sample_id"]: (row["reason"], row["detail"]) for row in dataset.rejected.to_pylist()}
    there = {name: found for name, found in rows.items() if (root / name).is_dir()}
    assert all(rows[name][0] == "missing_image" for name in set(rows) - set(there))
    return dataset, there


def test_twenty_people_with_their_sex_and_who_says_so(whole):
    _, dataset = whole
    rows = by_id(dataset)
    assert sorted(rows) == sorted(PATIENTS)
    assert {number for number, name in enumerate(PATIENTS, 1) if rows[name]["sex"] == "female"} == WOMEN
    assert len(WOMEN) == 10
    silent = {
        number for number, name in enumerate(PATIENTS, 1) if rows[name]["sex_source"] == "publisher's page"
    }
    assert silent == SILENT
    assert {row["sex_source"] for row in rows.values()} == {"DICOM header", "publisher's page"}
    assert [attribute.name for attribute in dataset.card.attributes] == ["sex"]
    assert rows["3Dircadb1.7"]["source"] == "3Dircadb1.7/PATIENT_DICOM/PATIENT_DICOM"
    assert any("report, do not rank" in note for note in dataset.card.notes)


@pytest.mark.parametrize("number", [1, 2, 3, 12])
def test_slices_lie_from_feet_to_head_whatever_their_files_are_called(whole, number):
    sample = sample_of(whole[1], f"3Dircadb1.{number}")
    assert by_id(whole[1])[sample.sample_id]["orientation"] == "SPL"
    assert sample.spacing_mm == pytest.approx((1.6, 0.75, 0.75))
    window = (scan_of(number).astype(float) + 20) * 255 / 160
    assert np.abs(sample.image - np.clip(window, 0, 255)).max() <= 0.51
    assert whole[1].card.window == (-20.0, 140.0)


@pytest.mark.parametrize("number", range(1, 21))
def test_every_structure_is_where_it_was_drawn(whole, number):
    sample, drawn = sample_of(whole[1], f"3Dircadb1.{number}"), drawn_of(number)
    found = {}
    for folder, where in drawn.items():
        name = structure_of(folder)
        found[name] = where | found.get(name, np.zeros(shape_of(number), bool))
    assert np.array_equal(inside(sample, "body"), found.pop("body"))
    assert np.array_equal(inside(sample, "liver"), found.pop("liver"))
    later = np.zeros(shape_of(number), bool)
    for name in reversed(list(NUMBERED)):
        if name in found and not name.startswith("both_") and name != "adrenal_gland":
            assert np.array_equal(inside(sample, name), found[name] & ~later), name
        later |= found.get(name, False)
    assert by_id(whole[1])[f"3Dircadb1.{number}"]["drawn"].split() == sorted(drawn)


def test_smaller_structures_hold_where_they_overlap_others(whole):
    sample, drawn = sample_of(whole[1], "3Dircadb1.2"), drawn_of(2)
    vein, tumour = drawn["portalvein"], drawn["livertumor"]
    assert (vein & tumour).any()
    assert (vein & drawn["liver"] & ~tumour).any()
    assert np.array_equal(inside(sample, "liver_tumour"), tumour)
    assert np.array_equal(inside(sample, "portal_vein"), vein & ~tumour)
    assert np.array_equal(inside(sample, "liver"), drawn["liver"])  # what lies in it is its part


def test_numbered_tumours_are_one_and_others_are_not_the_livers(whole):
    for number, folders in ((1, 7), (8, 3), (17, 2), (19, 1)):
        parts = [where for name, where in drawn_of(number).items() if name.startswith("livertumor")]
        assert len(parts) == folders
        sample = sample_of(whole[1], f"3Dircadb1.{number}")
        assert np.array_equal(inside(sample, "liver_tumour"), np.any(parts, axis=0))
    for number, name in ((5, "left_adrenal_tumour"), (7, "other_tumour"), (14, "metastasectomy")):
        sample = sample_of(whole[1], f"3Dircadb1.{number}")
        assert inside(sample, name).any()
        assert not inside(sample, "liver_tumour").any()


def test_lungs_and_kidneys_are_drawn_as_one_or_side_by_side(whole):
    one, sides = sample_of(whole[1], "3Dircadb1.2"), sample_of(whole[1], "3Dircadb1.3")
    assert np.array_equal(inside(one, "kidneys"), drawn_of(2)["kidneys"])
    assert not inside(one, "left_kidney").any()
    both = inside(sides, "left_kidney") | inside(sides, "right_kidney")
    assert both.any()
    assert np.array_equal(inside(sides, "kidneys"), both)


@pytest.mark.parametrize(("axes", "flips"), [((-1, 0, 0, 0, -1, 0), (1, 2)), ((1, 0, 0, 0, -1, 0), (0, 1))])
def test_masks_are_turned_as_their_scan_is(few, tmp_path, axes, flips):
    patient = few / "3Dircadb1.3"  # its files lie in no order
    shutil.rmtree(patient)
    units, liver = scan_of(3), drawn_of(3)["liver"]
    assert not np.array_equal(liver, liver[:, :, ::-1])
    for part, voxels in (("PATIENT_DICOM", units), ("MASKS_DICOM/liver", liver.astype(np.uint8))):
        write_series(patient / part, np.flip(voxels, flips), 3, uid="1.2.3", axes=axes)
    dataset, rejected = reasons(few, tmp_path)
    assert rejected == {}
    sample = sample_of(dataset, "3Dircadb1.3")
    assert np.array_equal(inside(sample, "liver"), liver)
    assert (sample.image[0, 0, 0], sample.image[1, 0, 0]) == (
        32,
        191,
    )  # 0 and 100 HU: what tells slices apart


def test_masks_that_do_not_say_where_they_lie_go_by_their_names(few, tmp_path):
    liver = few / "3Dircadb1.3" / "MASKS_DICOM" / "liver"
    shutil.rmtree(liver)
    absent = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    write_series(liver, drawn_of(3)["liver"].astype(np.uint8), 3, uid="1.2.9", **absent)
    dataset, rejected = reasons(few, tmp_path)
    assert rejected == {}
    assert np.array_equal(inside(sample_of(dataset, "3Dircadb1.3"), "liver"), drawn_of(3)["liver"])


def test_bad_masks_cost_their_patient_only_and_say_which(few, tmp_path):
    masks = [few / name / "MASKS_DICOM" for name in PATIENTS[:4]]
    (masks[0] / "livertumor03" / "image_2").unlink()
    (masks[1] / "liver" / "image_0").rename(tmp_path / "kept")
    (masks[1] / "liver" / "image_1").rename(masks[1] / "liver" / "image_0")
    (tmp_path / "kept").rename(masks[1] / "liver" / "image_1")
    shutil.copy(masks[2] / "bone" / "image_0", masks[2] / "bone" / "image_99")
    shutil.rmtree(masks[3])
    dataset, rejected = reasons(few, tmp_path)
    assert list(by_id(dataset)) == ["3Dircadb1.5"]
    assert {name: reason for name, (reason, _) in rejected.items()} == {
        "3Dircadb1.1": "missing_slice",
        "3Dircadb1.2": "mask_geometry_mismatch",
        "3Dircadb1.3": "mask_geometry_mismatch",
        "3Dircadb1.4": "missing_mask",
    }
    said = {name: detail for name, (_, detail) in rejected.items()}
    assert "livertumor03 lacks image_2" in said["3Dircadb1.1"]
    assert "image_0 of mask liver has the place" in said["3Dircadb1.2"]
    assert "bone has image_99" in said["3Dircadb1.3"]
    assert said["3Dircadb1.4"] == "folder 3Dircadb1.4/MASKS_DICOM does not exist"


def test_patients_that_are_not_there_are_named(few):
    rows = manifest_of(few)
    assert list(rows.index) == PATIENTS
    assert rows["_reject"].isna().sum() == 5
    assert rows.loc["3Dircadb1.20", "_detail"] == "folder 3Dircadb1.20 does not exist"


def test_an_unknown_structure_is_refused_by_name_unless_it_is_to_be_left_out(few, tmp_path):
    shutil.copytree(
        few / "3Dircadb1.1" / "MASKS_DICOM" / "bone", few / "3Dircadb1.1" / "MASKS_DICOM" / "ribs"
    )
    with pytest.raises(UserError, match=r"3Dircadb1.1/MASKS_DICOM has the folder 'ribs'.*leave_out=\[ribs\]"):
        manifest_of(few)
    dataset, rejected = reasons(few, tmp_path, leave_out=["ribs"])
    assert rejected == {}
    assert any("left out as asked for: ribs" in note for note in dataset.card.notes)
    assert "ribs" not in by_id(dataset)["3Dircadb1.1"]["drawn"].split()


def test_overview_csv_adds_sexes_and_overrides(few):
    (few / "overview.csv").write_text("name,sex\n3Dircadb1.1,m\n3Dircadb1.4,M\n3Dircadb1.2,\n")
    rows = manifest_of(few)
    assert rows.loc[PATIENTS[:4], "sex"].tolist() == ["male", "female", "male", "male"]
    assert rows.loc[PATIENTS[:4], "sex_source"].tolist() == [
        "overview.csv (publisher's page: female)",
        "DICOM header",
        "DICOM header",
        "overview.csv",
    ]
    (few / "overview.csv").write_text("name,sex\nliver_1,F\n")
    with pytest.raises(UserError, match=r"names 'liver_1'; expected names of folders, as 3Dircadb1\.1"):
        manifest_of(few)
    (few / "overview.csv").write_text("name,sex\n3Dircadb1.1,0\n")
    with pytest.raises(UserError, match=r"column 'sex' has values.*'0'"):
        manifest_of(few)


def test_the_header_tells_sex_and_age_where_it_has_them(few):
    folder = few / "3Dircadb1.1" / "PATIENT_DICOM"
    assert [a.name for a in make_adapter("ircadb", {"raw": few}).card().attributes] == ["sex"]
    shutil.rmtree(folder)
    write_series(folder, scan_of(1), 1, uid="1.2.3.1", PatientSex="M", PatientAge="062Y")
    rows = manifest_of(few)
    assert rows.loc["3Dircadb1.1", "sex_source"] == "DICOM header (publisher's page: female)"
    assert (rows.loc["3Dircadb1.1", "sex"], rows.loc["3Dircadb1.1", "age"]) == ("male", 62.0)
    assert [a.name for a in make_adapter("ircadb", {"raw": few}).card().attributes] == ["sex", "age"]


def test_nothing_that_a_person_typed_into_a_header_is_kept(whole):
    raw, dataset = whole
    assert b"liver_01^patient" in (raw / "3Dircadb1.1" / "PATIENT_DICOM" / "image_0").read_bytes()
    assert "liver_" not in str(dataset.index.drop_columns(["source"]).to_pylist())


def test_the_folder_may_be_given_from_above_and_archives_may_be_unpacked_into_folders(few):
    (few / "3Dircadb1.2").rename(few / "inner")
    (few / "3Dircadb1.2").mkdir()
    (few / "inner").rename(few / "3Dircadb1.2" / "3Dircadb1.2")
    (few.parent / "3Dircadb1.zip").write_bytes(b"PK")  # people keep what they have unpacked
    for root in (few, few.parent):
        rows = manifest_of(root)
        assert rows["_reject"].isna().sum() == 5
        assert rows.loc["3Dircadb1.2", "_source"] == "3Dircadb1.2/3Dircadb1.2/PATIENT_DICOM"


@pytest.mark.parametrize(
    ("archive", "gone"),
    [
        ("3Dircadb1.2/PATIENT_DICOM.zip", "3Dircadb1.2/PATIENT_DICOM"),
        ("3Dircadb1.3/MASKS_DICOM.zip", "3Dircadb1.3/MASKS_DICOM"),
        ("3Dircadb1.4.zip", "3Dircadb1.4"),
        ("3Dircadb1.9.zip", None),
    ],
)
def test_archives_that_are_still_packed_are_named(few, archive, gone):
    if gone is not None:
        shutil.rmtree(few / gone)
    (few / archive).write_bytes(b"PK")
    with pytest.raises(UserError, match=rf"{archive} in .* is still packed \(1 archives are\): unpack"):
        manifest_of(few)


@pytest.mark.parametrize("archive", ["3Dircadb1.zip", "3Dircadb1.1.zip", "download/3Dircadb1.zip"])
def test_a_folder_of_archives_only_is_told_to_unpack_them(tmp_path, archive):
    (tmp_path / archive).parent.mkdir(exist_ok=True)
    (tmp_path / archive).write_bytes(b"PK")
    with pytest.raises(UserError, match=rf"{archive} in .* is still packed"):
        manifest_of(tmp_path)


def test_an_unknown_layout_is_refused_with_both_that_were_looked_for(few, nnunet, tmp_path):
    (tmp_path / "other" / "scans").mkdir(parents=True)
    (tmp_path / "other" / "overview.csv").write_text("name,sex\n")
    for part in (
        "3Dircadb1.1 to 3Dircadb1.20",
        "PATIENT_DICOM and MASKS_DICOM",
        "imagesTr and labelsTr",
        "ircad.fr",
    ):
        with pytest.raises(UserError, match=part):
            manifest_of(tmp_path / "other")
    shutil.move(nnunet / "Dataset003_3D-IRCADb", few)
    with pytest.raises(
        UserError, match=r"has Dataset003_3D-IRCADb/imagesTr .*and 3Dircadb1\.\d.*give a folder with one"
    ):
        make_adapter("ircadb", {"raw": few}).card()


def test_nnunets_layout_is_told_apart_and_is_a_dataset_of_its_own(whole, whole_nnunet):
    _, dataset = whole_nnunet
    rows = by_id(dataset)
    assert sorted(rows) == NAMES
    assert [rows[name]["sex"] for name in NAMES] == ["female", "male"] * 10
    assert [attribute.name for attribute in dataset.card.attributes] == ["sex"]
    assert (whole[1].card.name, dataset.card.name) == ("ircadb", "ircadb-nnunet")
    assert any("report, do not rank" in note for note in dataset.card.notes)
    assert any("numbers of the label files" in note for note in dataset.card.notes)
    assert not any("drawn" in note for note in dataset.card.notes)


def test_labels_above_255_get_codes_of_their_own(whole_nnunet):
    raw, dataset = whole_nnunet
    mask = sample_of(dataset, "patient_03").mask
    file = sitk.ReadImage(str(raw / "Dataset003_3D-IRCADb" / "labelsTr" / "patient_03.nii.gz"))
    labels = sitk.GetArrayFromImage(file)[:, ::-1]  # the file's second axis runs to the front
    values = {structure.name: structure.values for structure in dataset.card.structures}
    assert len(values) == len(LABELS) == 16
    for label in LABELS:
        assert np.array_equal(np.isin(mask, values[f"label_{label}"]), labels == label)
    assert values["label_257"] == (2,)  # as FairMedFM numbers them
    assert values["label_513"] == (10,)
    assert values["label_193"] == (193,)


def test_the_window_of_the_liver_is_recorded_and_clips(whole_nnunet):
    _, dataset = whole_nnunet
    assert dataset.card.window == (-20.0, 140.0)
    sample = sample_of(dataset, "patient_01")
    assert (sample.image[:, 0, 0] == 0).all()  # air
    inside = sample.image[sample.mask == 1]
    assert 170 < np.median(inside) < 240  # about 100 + 15 columns HU


def test_files_with_nnunets_channel_number_are_found(nnunet):
    for path in (nnunet / "Dataset003_3D-IRCADb" / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    rows = make_adapter("ircadb", {"raw": nnunet}).manifest()
    assert len(rows) == 20
    assert all(Path(path).is_file() for path in rows["_image"])
    assert rows["_source"][0] == "Dataset003_3D-IRCADb/imagesTr/patient_01_0000.nii.gz"


def test_bad_files_cost_their_patients_only(nnunet, tmp_path):
    data = nnunet / "Dataset003_3D-IRCADb"
    (data / "imagesTr" / "patient_01.nii.gz").unlink()
    mask = np.zeros(SHAPE, np.int16)
    mask[0, 0, 0] = 258
    save(data / "labelsTr" / "patient_02.nii.gz", mask, SPACING, axes="LAS")
    shutil.copy(data / "imagesTr" / "patient_03.nii.gz", data / "imagesTr" / "patient_21.nii.gz")
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("ircadb", {"raw": nnunet}), tmp_path / "out", options)
    found = {row["sample_id"] or row["source"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert found == {
        "patient_01": "missing_image",
        "patient_02": "mask_values",
        "Dataset003_3D-IRCADb/imagesTr/patient_21.nii.gz": "not_listed",
    }


def test_wrong_folders_and_tables_are_told(nnunet):
    adapter = make_adapter("ircadb", {"raw": nnunet})
    table = (nnunet / "overview.csv").read_text()
    (nnunet / "overview.csv").write_text(table.replace(",F", ",0"))
    with pytest.raises(UserError, match=r"column 'sex' has values.*'0'"):
        adapter.manifest()
    (nnunet / "overview.csv").write_text(table.replace("name,", "patient,"))
    with pytest.raises(UserError, match=r"overview.csv lacks the column 'name'.*ircad.fr"):
        adapter.manifest()
    (nnunet / "overview.csv").write_text(table)
    shutil.rmtree(nnunet / "Dataset003_3D-IRCADb" / "labelsTr")
    with pytest.raises(UserError, match=r"lacks Dataset003_3D-IRCADb/labelsTr or \./labelsTr"):
        adapter.manifest()
    (nnunet / "overview.csv").unlink()
    with pytest.raises(UserError, match=r"lacks overview.csv"):
        adapter.manifest()


@pytest.mark.parametrize(
    ("window", "shown"), [("ct-lung", (-1350.0, 150.0)), ([-10, 90], (-10.0, 90.0)), ("mri", None)]
)
def test_intensities_can_be_shown_otherwise_and_are_stored_as_they_are(tmp_path, window, shown):
    options = replica("ircadb")(tmp_path / "raw")
    usual, other = (
        convert(make_adapter("ircadb", options | more), tmp_path / name, ConvertOptions(workers=1))
        for name, more in (("usual", {}), ("other", {"window": window}))
    )
    assert other.card.window == shown
    assert other.card.normalise == (None if shown else (0.5, 99.5))
    assert other.index["image_sha256"] == usual.index["image_sha256"]
    assert other.fingerprint != usual.fingerprint
    one, another = (next(d.read(d.shards[0].name, masks=False)).image for d in (usual, other))
    assert (one != another).any()


@pytest.mark.parametrize(
    ("window", "said"), [("ct-long", "did you mean 'ct-lung'"), ([90, -10], "low < high")]
)
def test_windows_that_are_none_are_refused(tmp_path, window, said):
    adapter = make_adapter("ircadb", replica("ircadb")(tmp_path / "raw") | {"window": window})
    with pytest.raises(UserError, match=said):
        adapter.card()
