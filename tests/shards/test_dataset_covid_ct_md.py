"""COVID-CT-MD: slices in the patient's order, Hounsfield units clipped and not wrapped, odd headers, ages and names."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from replicas import replica
from replicas.covid_ct_md import GROUPS, HUNDRED, NO_AGE, SHAPE, STEP, volume_of, write_slice

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.volumes import decode_npy

ONE = ConvertOptions(workers=1)
COUNTS = {diagnosis: count for diagnosis, (_, _, count) in GROUPS.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("covid")
    options = replica("covid-ct-md")(folder)
    return options["raw"], convert(make_adapter("covid-ct-md", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "COVID-CT-MD"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def units_of(dataset, name):
    row = by_id(dataset)[name]
    data = (dataset.path / "shards" / row["shard"]).read_bytes()
    return decode_npy(data[row["image_offset"] :][: row["image_size"]])


def rewrite(raw, change):
    path = raw / "Clinical-data.csv"
    path.write_text(change(path.read_text()))


def test_ages_with_three_digits_keep_them(whole):
    rows = by_id(whole[1])
    assert rows[HUNDRED]["age"] == 100.0
    assert rows["P001"]["age"] == 27.0  # 027Y
    assert rows[NO_AGE.replace("cap", "CAP")]["age"] is None
    assert len(rows) == sum(COUNTS.values())  # people of unknown age stay


def test_all_patients_are_found_whatever_the_capitals(whole):
    _, dataset = whole
    rows = by_id(dataset)
    assert dataset.rejected.num_rows == 0
    assert rows["CAP001"]["source"] == "Cap Cases/cap001"
    assert rows["P016"]["source"] == "COVID-19 Cases/P016"
    assert {row["subject_id"] for row in rows.values()} == set(rows)
    assert {row["sex"] for row in rows.values()} == {"female", "male"}
    assert rows["P001"]["weight"] == 51.0
    assert rows["P006"]["weight"] is None


def test_targets_of_both_papers_and_all_three_diagnoses(whole):
    _, dataset = whole
    rows = list(by_id(dataset).values())
    counted = {name: sum(row["diagnosis"] == name for row in rows) for name in ("COVID-19", "CAP", "normal")}
    assert counted == {"COVID-19": 16, "CAP": 10, "normal": 12}
    assert sum(row["pneumonia"] == "pneumonia" for row in rows) == 26
    assert sum(row["covid19"] == "COVID-19" for row in rows) == 16
    assert {row["covid19"] for row in rows if row["diagnosis"] == "CAP"} == {"other"}
    assert {target.name: target.positive for target in dataset.card.targets} == {
        "pneumonia": "pneumonia",
        "covid19": "COVID-19",
        "diagnosis": None,
    }
    for split in ("train", "val", "test"):
        assert {row["pneumonia"] for row in rows if row["split"] == split} == {"normal", "pneumonia"}


def test_slices_lie_as_in_the_patient_and_scouts_are_left_out(whole):
    _, dataset = whole
    row = by_id(dataset)["P001"]
    assert (row["depth"], row["height"], row["width"]) == SHAPE
    assert row["spacing_mm"] == pytest.approx([STEP, 0.75, 0.5])
    assert row["orientation"] == "SPL"
    found = units_of(dataset, "P001")
    assert found.dtype == np.int16
    assert found[:, 0, 0].tolist() == [0, 100, 200, 300, 400, 500]  # by place, not by file
    assert np.array_equal(found, volume_of("COVID-19", 1))


def test_the_published_window_clips(whole):
    _, dataset = whole
    assert dataset.card.window == (-1250.0, 250.0)
    shard = by_id(dataset)["P001"]["shard"]
    sample = next(s for s in dataset.read(shard, masks=False) if s.sample_id == "P001")
    assert sample.image[:, 0, 0].tolist() == [212, 230, 246, 255, 255, 255]
    assert (sample.image[0, 4:7, 4] == round((1250 - 850) / 1500 * 255)).all()


def test_both_age_groupings_are_recorded_and_differ_at_sixty(whole):
    presets = {preset.name: (preset.bins, preset.closed) for preset in whole[1].card.presets}
    assert presets == {
        "fairmedfm": ((60.0,), "left"),
        "fairmedfm_notebook": ((60.0,), "right"),
        "medfair": ((60.0,), "right"),
    }


def test_other_spellings_of_headers_are_understood(raw):
    before = make_adapter("covid-ct-md", {"raw": raw}).manifest()
    rewrite(
        raw, lambda text: text.replace("Patient Gender ", "patient_gender").replace(" Folder,", "FOLDER,")
    )
    rewrite(raw, lambda text: text + ",,,,,,\n")  # spreadsheets leave empty rows behind
    assert make_adapter("covid-ct-md", {"raw": raw}).manifest().equals(before)


def test_archives_unpacked_into_folders_of_their_names_are_found(raw):
    for part, _, _ in GROUPS.values():
        (raw / part).rename(raw / "moved")
        (raw / part).mkdir()
        (raw / "moved").rename(raw / part / part)
    rows = make_adapter("covid-ct-md", {"raw": raw}).manifest()
    assert rows["_reject"].isna().all()
    assert all(Path(path).is_dir() for path in rows["_image"])


def test_changed_slices_are_noticed_although_their_folder_is_the_same(raw, tmp_path):
    adapter = make_adapter("covid-ct-md", {"raw": raw})
    before = convert(adapter, tmp_path / "out", ONE).fingerprint
    path = raw / "COVID-19 Cases" / "P001" / "IM0001.dcm"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert convert(adapter, tmp_path / "out", ONE).fingerprint != before


def test_bad_series_and_rows_cost_their_patients_only(raw, tmp_path):
    shutil.rmtree(raw / "COVID-19 Cases" / "P001")
    for path in (raw / "COVID-19 Cases" / "P002").iterdir():
        path.unlink()
    path = raw / "Cap Cases" / "cap001" / "IM0001.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    write_slice(raw / "Cap Cases" / "cap002" / "IM0099.dcm", np.zeros(SHAPE[1:], int), 4.0, 19)
    shutil.copytree(raw / "Normal Cases" / "normal001", raw / "Normal Cases" / "normal077")
    rewrite(raw, lambda text: text.replace("Normal,normal002", "Healthy,normal002"))
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("covid-ct-md", {"raw": raw}), tmp_path / "out", options)
    found = {row["sample_id"] or row["source"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert found == {
        "P001": "missing_image",
        "P002": "missing_image",
        "CAP001": "decode_error",
        "CAP002": "duplicate_position",
        "normal002": "unknown_label",
        "Normal Cases/normal077": "not_listed",
    }


def test_wrong_folders_and_tables_are_told(raw):
    adapter = make_adapter("covid-ct-md", {"raw": raw})
    text = (raw / "Clinical-data.csv").read_text()
    rewrite(raw, lambda _: text.replace("027Y", "027").replace("100Y", "170Y"))
    with pytest.raises(UserError, match=r"column 'age' has 1 values that are no age.*'170Y'"):
        adapter.manifest()
    rewrite(raw, lambda _: text.replace(",M,", ",1,"))
    with pytest.raises(UserError, match=r"column 'sex' has values.*'1'"):
        adapter.manifest()
    rewrite(raw, lambda _: text.replace("Patient Age", "Years"))
    with pytest.raises(UserError, match=r"no column for 'age'; expected Diagnosis.*figshare.12991592"):
        adapter.manifest()
    (raw / "Clinical-data.csv").unlink()
    with pytest.raises(UserError, match=r"lacks Clinical-data.csv or Clinical_data.csv"):
        adapter.manifest()


def test_two_rows_for_one_patient_are_both_refused(raw, tmp_path):
    rewrite(raw, lambda text: text + text.splitlines()[1] + "\n")
    dataset = convert(
        make_adapter("covid-ct-md", {"raw": raw}),
        tmp_path / "out",
        ConvertOptions(workers=1, max_rejected=0.1),
    )
    assert [row["reason"] for row in dataset.rejected.to_pylist()] == ["duplicate_id", "duplicate_id"]
