"""3D-IRCADb-01: labels beyond eight bits are recoded, never cut; a window for the liver is recorded."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas._volumes import save
from replicas.ircadb import LABELS, NAMES, SHAPE, SPACING

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ircadb")
    options = replica("ircadb")(folder)
    return options["raw"], convert(make_adapter("ircadb", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "IRCADb"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def sample_of(dataset, name):
    shard = by_id(dataset)[name]["shard"]
    return next(sample for sample in dataset.read(shard, masks=True) if sample.sample_id == name)


def test_twenty_people_with_their_sex(whole):
    _, dataset = whole
    rows = by_id(dataset)
    assert sorted(rows) == NAMES
    assert [rows[name]["sex"] for name in NAMES] == ["female", "male"] * 10
    assert [attribute.name for attribute in dataset.card.attributes] == ["sex"]
    assert any("report, do not rank" in note for note in dataset.card.notes)


def test_labels_above_255_get_codes_of_their_own(whole):
    raw, dataset = whole
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


def test_the_window_of_the_liver_is_recorded_and_clips(whole):
    _, dataset = whole
    assert dataset.card.window == (-20.0, 140.0)
    sample = sample_of(dataset, "patient_01")
    assert (sample.image[:, 0, 0] == 0).all()  # air
    inside = sample.image[sample.mask == 1]
    assert 170 < np.median(inside) < 240  # about 100 + 15 columns HU


def test_files_with_nnunets_channel_number_are_found(raw):
    for path in (raw / "Dataset003_3D-IRCADb" / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    rows = make_adapter("ircadb", {"raw": raw}).manifest()
    assert len(rows) == 20
    assert all(Path(path).is_file() for path in rows["_image"])
    assert rows["_source"][0] == "Dataset003_3D-IRCADb/imagesTr/patient_01_0000.nii.gz"


def test_bad_files_cost_their_patients_only(raw, tmp_path):
    data = raw / "Dataset003_3D-IRCADb"
    (data / "imagesTr" / "patient_01.nii.gz").unlink()
    mask = np.zeros(SHAPE, np.int16)
    mask[0, 0, 0] = 258
    save(data / "labelsTr" / "patient_02.nii.gz", mask, SPACING, axes="LAS")
    shutil.copy(data / "imagesTr" / "patient_03.nii.gz", data / "imagesTr" / "patient_21.nii.gz")
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("ircadb", {"raw": raw}), tmp_path / "out", options)
    found = {row["sample_id"] or row["source"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert found == {
        "patient_01": "missing_image",
        "patient_02": "mask_values",
        "Dataset003_3D-IRCADb/imagesTr/patient_21.nii.gz": "not_listed",
    }


def test_wrong_folders_and_tables_are_told(raw):
    adapter = make_adapter("ircadb", {"raw": raw})
    table = (raw / "overview.csv").read_text()
    (raw / "overview.csv").write_text(table.replace(",F", ",0"))
    with pytest.raises(UserError, match=r"column 'sex' has values.*'0'"):
        adapter.manifest()
    (raw / "overview.csv").write_text(table.replace("name,", "patient,"))
    with pytest.raises(UserError, match=r"overview.csv lacks the column 'name'.*ircad.fr"):
        adapter.manifest()
    (raw / "overview.csv").write_text(table)
    shutil.rmtree(raw / "Dataset003_3D-IRCADb" / "labelsTr")
    with pytest.raises(UserError, match=r"lacks Dataset003_3D-IRCADb/labelsTr or \./labelsTr"):
        adapter.manifest()
    (raw / "overview.csv").unlink()
    with pytest.raises(UserError, match=r"has none of overview.csv"):
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
