"""KiTS23: records by case, CTs in Hounsfield units, labels and their unions."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas._volumes import save
from replicas.kits23 import CASES, NO_BMI, NO_RECORD, SHAPE, TRANSGENDER

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.volumes import decode_npy

ONE = ConvertOptions(workers=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The replica's folder and what it becomes."""
    folder = tmp_path_factory.mktemp("kits23")
    options = replica("kits23")(folder)
    return options["raw"], convert(make_adapter("kits23", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(whole[0], tmp_path / "dataset"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def samples_of(dataset):
    return {s.sample_id: s for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}


def rewrite(raw, change):
    records = json.loads((raw / "kits23.json").read_text())
    change(records)
    (raw / "kits23.json").write_text(json.dumps(records))


def test_every_case_is_there_the_last_one_too(whole):
    _, dataset = whole
    assert set(by_id(dataset)) == {*CASES, NO_RECORD}
    assert "case_00588" in by_id(dataset)
    assert dataset.rejected.num_rows == 0
    assert len({row["subject_id"] for row in by_id(dataset).values()}) == len(CASES) + 1


def test_records_are_joined_by_case_and_not_by_position(whole):
    raw, dataset = whole
    records = json.loads((raw / "kits23.json").read_text())
    assert [record["case_id"] for record in records] != sorted(record["case_id"] for record in records)
    rows = by_id(dataset)
    for record in records:
        row = rows[record["case_id"]]
        assert row["age"] == record["age_at_nephrectomy"]
        assert row["bmi"] == record["bmi"]
        assert row["smoking"] == record["smoking_history"]
        assert row["t_stage"] == record["pathology_t_stage"]
        assert row["malignant"] == ("yes" if record["malignant"] else "no")
        assert row["tumour_size"] == record["radiographic_size"]


def test_transgender_is_neither_male_nor_female(whole):
    row = by_id(whole[1])[TRANSGENDER]
    assert (row["sex"], row["sex_raw"]) == ("other", "transgender_male_to_female")
    preset = next(preset for preset in whole[1].card.presets if preset.name == "fairmedfm")
    groups = dict(zip(preset.labels, preset.values, strict=True))
    assert "transgender_male_to_female" in groups["male"]  # as published, and said so in its note
    assert "transgender" in preset.note


def test_what_is_not_known_stays_unknown(whole):
    rows = by_id(whole[1])
    assert rows[NO_BMI]["bmi"] is None
    assert [rows[NO_RECORD][name] for name in ("sex", "sex_raw", "age", "bmi", "smoking")] == [None] * 5
    assert rows[CASES[0]]["t_stage"] is None


def test_hounsfield_units_spacing_and_labels_are_the_files(whole):
    raw, dataset = whole
    samples, rows = samples_of(dataset), by_id(dataset)
    for case in CASES[:4]:
        files = [sitk.ReadImage(str(raw / case / f"{name}.nii.gz")) for name in ("imaging", "segmentation")]
        # in the files slices run along the first axis, from the head down
        units, labels = (sitk.GetArrayFromImage(file).transpose(2, 1, 0)[::-1] for file in files)
        row = rows[case]
        assert (row["depth"], row["height"], row["width"]) == SHAPE
        assert row["spacing_mm"] == pytest.approx(files[0].GetSpacing())
        assert row["orientation"] == "SPL"
        path = dataset.path / "shards" / row["shard"]
        data = path.read_bytes()[row["image_offset"] :][: row["image_size"]]
        assert decode_npy(data).dtype == np.int16
        assert np.array_equal(decode_npy(data), units)
        assert np.array_equal(samples[case].mask, labels)
    assert len({tuple(row["spacing_mm"]) for row in rows.values()}) == 3


def test_shown_intensities_are_those_of_the_recorded_window(whole):
    _, dataset = whole
    assert dataset.card.window == (-200.0, 300.0)
    image = samples_of(dataset)[CASES[0]].image
    assert image[0, 0, 0] == 255  # metal of 3071 HU is clipped, not wrapped
    assert image[0, 0, 1] == 0  # air
    assert 110 < np.median(image[:, 12, 12]) < 140  # tissue of about 40 HU


def test_official_regions_are_unions_of_labels(whole):
    _, dataset = whole
    values = {structure.name: structure.values for structure in dataset.card.structures}
    assert values["kidney_and_mass"] == (1, 2, 3)
    assert values["mass"] == (2, 3)
    assert (values["kidney"], values["tumour"], values["cyst"]) == ((1,), (2,), (3,))
    assert dataset.card.task == "segmentation"
    assert dataset.counts.masks == len(CASES) + 1


def test_smaller_slices_are_interpolated_linearly_and_labels_are_not(raw, tmp_path):
    dataset = convert(
        make_adapter("kits23", {"raw": raw}), tmp_path / "out", ConvertOptions(workers=1, max_side=12)
    )
    row = by_id(dataset)[CASES[0]]
    assert (row["depth"], row["height"], row["width"]) == (8, 12, 12)
    assert row["spacing_mm"] == pytest.approx([5.0, 3.0, 2.5])
    data = (dataset.path / "shards" / row["shard"]).read_bytes()[row["image_offset"] :][: row["image_size"]]
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / CASES[0] / "imaging.nii.gz")))
    assert not np.isin(decode_npy(data), written).all()  # nearest neighbours would be values of the file
    assert set(np.unique(samples_of(dataset)[CASES[0]].mask)) <= {0, 1, 2, 3}


def test_any_number_of_workers_gives_the_same_bytes(whole, tmp_path, files_of):
    options = {"workers": 2, "samples_per_shard": 8}
    adapter = make_adapter("kits23", {"raw": whole[0]})
    convert(adapter, tmp_path / "two", ConvertOptions(**options))
    convert(adapter, tmp_path / "one", ConvertOptions(**{**options, "workers": 1}))
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert len([name for name in one if name.endswith(".tar")]) == 5
    assert one == two


def test_label_volumes_alone_say_what_to_download(raw):
    for path in raw.glob("case_*/imaging.nii.gz"):
        path.unlink()
    with pytest.raises(
        UserError, match=r"for 39 cases and imaging.nii.gz for none.*kits23_download_data.*kits-challenge"
    ):
        make_adapter("kits23", {"raw": raw}).manifest()


def test_the_repositorys_folder_is_as_good_as_the_one_in_it(raw):
    found = make_adapter("kits23", {"raw": raw.parent}).manifest()
    assert len(found) == len(CASES) + 1
    assert found["_source"][0] == "case_00000/imaging.nii.gz"


def test_bad_files_cost_their_cases_only(raw, tmp_path):
    (raw / CASES[0] / "imaging.nii.gz").unlink()
    shutil.rmtree(raw / CASES[1])
    path = raw / CASES[2] / "imaging.nii.gz"
    path.write_bytes(path.read_bytes()[:-100])
    save(raw / CASES[3] / "segmentation.nii.gz", np.zeros(SHAPE, np.uint8), (2.0, 2.0, 2.0))
    save(raw / CASES[4] / "segmentation.nii.gz", np.full(SHAPE, 4, np.uint8), (4.0, 1.5, 1.25), axes="IPL")
    (raw / CASES[5] / "segmentation.nii.gz").unlink()
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("kits23", {"raw": raw}), tmp_path / "out", options)
    found = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert found == {
        CASES[0]: "missing_image",
        CASES[1]: "missing_image",
        CASES[2]: "decode_error",
        CASES[3]: "mask_geometry_mismatch",
        CASES[4]: "mask_values",
        CASES[5]: "missing_mask",
    }


def test_wrong_records_are_told(raw, tmp_path):
    adapter = make_adapter("kits23", {"raw": raw})
    rewrite(raw, lambda records: records.append({**records[0]}))
    with pytest.raises(UserError, match=r"kits23.json has several rows for 1 values of 'case_id'"):
        adapter.manifest()
    rewrite(raw, lambda records: (records.pop(), records[3].update(gender="intersex")))
    with pytest.raises(UserError, match=r"column 'gender' has values.*'intersex'"):
        adapter.manifest()
    rewrite(raw, lambda records: records[3].update(gender="male", age_at_nephrectomy="old"))
    with pytest.raises(UserError, match=r"'age_at_nephrectomy' has 1 values that are no age.*'old'"):
        adapter.manifest()
    rewrite(raw, lambda records: records[3].pop("bmi"))
    with pytest.raises(
        UserError, match=r"kits23.json lacks the field 'bmi'; expected case_id, gender.*kits-challenge"
    ):
        adapter.manifest()
    (raw / "kits23.json").write_text('{"cases": 489}')
    with pytest.raises(UserError, match=r"must be a list of records"):
        adapter.manifest()
    (raw / "kits23.json").write_text("[{")
    with pytest.raises(UserError, match=r"kits23.json is no JSON file"):
        adapter.manifest()
    (raw / "kits23.json").unlink()
    with pytest.raises(
        UserError, match=r"has none of kits23.json.*kits-challenge.org/kits23: it can be downloaded"
    ):
        adapter.manifest()
    with pytest.raises(UserError, match="nowhere does not exist"):
        make_adapter("kits23", {"raw": tmp_path / "nowhere"}).manifest()


@pytest.mark.real
@pytest.mark.slow
def test_real_label_volumes_keep_their_spacing_and_meet_their_records(tmp_path):
    folder = os.environ.get("FAIRRAY_REAL_DATA")
    if not folder or not (Path(folder) / "KiTS23").is_dir():
        pytest.skip("set FAIRRAY_REAL_DATA to the folder that holds KiTS23 as its publisher lays it out")
    raw = tmp_path / "raw"
    (raw / "out").mkdir(parents=True)
    shutil.copy(Path(folder) / "KiTS23" / "kits23.json", raw)
    with pytest.raises(UserError, match=r"imaging\.nii\.gz for none"):
        make_adapter("kits23", {"raw": Path(folder) / "KiTS23"}).manifest()
    cases = sorted((Path(folder) / "KiTS23").glob("case_*"))
    for case in cases:  # there are labels only; the CT beside them is made up
        shutil.copytree(case, raw / case.name)
        labels = sitk.ReadImage(str(case / "segmentation.nii.gz"))
        units = sitk.Cast(labels, sitk.sitkInt16) * 40 + 20
        sitk.WriteImage(units, str(raw / case.name / "imaging.nii.gz"))
    dataset = convert(make_adapter("kits23", {"raw": raw}), tmp_path / "converted", ONE)
    rows, samples = by_id(dataset), samples_of(dataset)
    assert sorted(rows) == [case.name for case in cases]
    records = {record["case_id"]: record for record in json.loads((raw / "kits23.json").read_text())}
    for case in cases:
        labels = sitk.ReadImage(str(case / "segmentation.nii.gz"))
        row, sample, record = rows[case.name], samples[case.name], records[case.name]
        assert sample.status == "ok"
        assert (row["sex"], row["age"]) == (record["gender"], record["age_at_nephrectomy"])
        mm = np.array(labels.GetSpacing())
        assert row["spacing_mm"] == pytest.approx(mm)  # of these files slices lie along the first axis
        assert sample.mask.shape == labels.GetSize()
        written = sitk.GetArrayFromImage(labels)
        for label in (1, 2, 3):
            volume = (sample.mask == label).sum() * np.prod(row["spacing_mm"])
            assert volume == pytest.approx((written == label).sum() * mm.prod())
    assert len({tuple(row["spacing_mm"]) for row in rows.values()}) > 1
