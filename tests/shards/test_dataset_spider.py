"""SPIDER: every series with its own patient's sex, sagittal slices, labels counted from below."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas.spider import PATIENTS, SHAPE, series_of, sex_of

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1)
SEX = {"M": "male", "F": "female"}
SERIES = sum(len(series_of(patient)) for patient in PATIENTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spider")
    options = replica("spider")(folder)
    return options["raw"], convert(make_adapter("spider", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "SPIDER"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def rewrite(raw, change):
    table = pd.read_csv(raw / "overview.csv", dtype=str, keep_default_na=False)
    (change(table) if change is not None else table).to_csv(raw / "overview.csv", index=False)


def test_sex_is_that_of_each_row_and_not_of_the_first(whole):
    rows = by_id(whole[1])
    assert len(rows) == SERIES
    assert {row["sex"] for row in rows.values()} == {"female", "male"}
    for name, row in rows.items():
        assert row["sex"] == SEX[sex_of(int(name.split("_")[0]))]


def test_series_of_a_patient_are_one_subject_in_one_split(whole):
    rows = by_id(whole[1])
    assert {row["subject_id"] for row in rows.values()} == {str(patient) for patient in PATIENTS}
    assert [rows[f"6_{series}"]["series"] for series in series_of(6)] == ["T1", "T2", "T2 SPACE"]
    assert {rows[f"6_{series}"]["subject_id"] for series in series_of(6)} == {"6"}
    for patient in PATIENTS:
        assert len({rows[f"{patient}_{series}"]["split"] for series in series_of(patient)}) == 1
    assert {row["split"] for row in rows.values()} == {"train", "val", "test"}
    assert rows["1_t1"]["subset"] == "validation"


def test_slices_are_sagittal_whatever_the_order_of_axes(whole):
    raw, dataset = whole
    row = by_id(dataset)["2_t2"]
    slices, height, width = SHAPE[2], SHAPE[0], SHAPE[1]
    assert (row["depth"], row["height"], row["width"]) == (slices, height, width)
    assert row["orientation"] == "LIP"
    assert row["spacing_mm"] == pytest.approx([4.4, 0.9, 0.9])
    sample = next(s for s in dataset.read(row["shard"], masks=True) if s.sample_id == "2_t2")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "masks" / "2_t2.mha")))
    assert np.array_equal(sample.mask, labels)  # the file's own slices are sagittal
    canal = np.unique(np.nonzero(sample.mask == 100)[0])
    assert canal.tolist() == [3]  # one slice in the middle: slices go from right to left


def test_labels_count_from_below_and_those_beyond_fifteen_stay(whole):
    _, dataset = whole
    sample = next(iter(dataset.read(dataset.shards[0].name, masks=True)))
    lowest = {value: np.nonzero(sample.mask == value)[1].max() for value in np.unique(sample.mask) if value}
    assert lowest[1] > lowest[2] > lowest[7]  # rows go down
    assert set(lowest) == {*range(1, 9), 100, 109, *range(201, 208)}
    structures = {structure.name: structure.values for structure in dataset.card.structures}
    assert structures["vertebra_7"] == (7,)
    assert structures["disc_1"] == (201,)
    assert structures["spinal_canal"] == (100,)
    assert len([name for name in structures if "_" in name]) == 15
    assert {8, 25} <= set(structures["vertebrae"])
    assert 109 not in structures["vertebrae"]


def test_every_series_is_shown_by_its_own_percentiles(whole):
    _, dataset = whole
    assert (dataset.card.window, dataset.card.normalise) == (None, (0.5, 99.5))
    for sample in dataset.read(dataset.shards[0].name, masks=False):
        assert sample.image.min() == 0
        assert sample.image.max() == 255


def test_age_needs_the_day_of_the_scan(whole, raw):
    assert "age" not in {attribute.name for attribute in whole[1].card.attributes}
    assert by_id(whole[1])["4_t1"]["birth_date"] == "19440115"
    rewrite(raw, lambda table: table.assign(study_date="20190115"))
    adapter = make_adapter("spider", {"raw": raw})
    assert "age" in {attribute.name for attribute in adapter.card().attributes}
    rows = adapter.manifest().set_index("sample_id")
    assert rows["age"]["4_t1"] == pytest.approx(75.0, abs=0.01)
    assert rows["age"]["5_t1"] is None  # no date of birth
    rewrite(raw, lambda table: table.assign(age="061Y"))
    assert set(adapter.manifest()["age"]) == {61.0}


def test_series_without_a_row_stay_with_unknown_attributes(raw, tmp_path):
    rewrite(raw, lambda table: table[table["new_file_name"] != "5_t2"])
    dataset = convert(make_adapter("spider", {"raw": raw}), tmp_path / "out", ONE)
    row = by_id(dataset)["5_t2"]
    assert (row["sex"], row["subject_id"]) == (None, "5")
    assert by_id(dataset)["5_t1"]["sex"] == "female"


def test_bad_files_cost_their_series_only(raw, tmp_path):
    (raw / "images" / "1_t1.mha").unlink()
    (raw / "masks" / "1_t2.mha").unlink()
    path = raw / "images" / "2_t1.mha"
    path.write_bytes(path.read_bytes()[:-50])
    dataset = convert(
        make_adapter("spider", {"raw": raw}), tmp_path / "out", ConvertOptions(workers=1, max_rejected=0.5)
    )
    found = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert found == {"1_t1": "missing_image", "1_t2": "missing_mask", "2_t1": "decode_error"}


def test_wrong_folders_and_tables_are_told(raw, tmp_path):
    adapter = make_adapter("spider", {"raw": raw})
    table = pd.read_csv(raw / "overview.csv", dtype=str, keep_default_na=False)
    rewrite(raw, lambda _: pd.concat([table, table[:1]]))
    with pytest.raises(
        UserError, match=r"overview.csv has several rows for 1 values of 'name', the first '36_t1'"
    ):
        adapter.manifest()
    rewrite(raw, lambda _: table.assign(sex="X"))
    with pytest.raises(UserError, match=r"column 'sex' has values.*'x'"):
        adapter.manifest()
    rewrite(raw, lambda _: table.rename(columns={"sex": "gender"}))
    with pytest.raises(UserError, match=r"overview.csv lacks the column 'sex'.*spider.grand-challenge.org"):
        adapter.manifest()
    rewrite(raw, lambda _: table)
    shutil.rmtree(raw / "masks")
    with pytest.raises(UserError, match=r"SPIDER lacks masks\."):
        adapter.manifest()
    (raw / "overview.csv").unlink()
    with pytest.raises(UserError, match=r"has none of overview.csv.*it can be downloaded by anyone"):
        adapter.manifest()
