"""Thyroid ultrasound: frames of a clip are one subject, one frame is read at a time, both layouts are the same data."""

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from replicas import replica
from replicas.tusc import ANNOTATIONS, SECOND, SHAPE, age, frame, frames, malignant, number_of, sex

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)
TABLES = {"arrays": "metadata.csv", "folders": "meta.csv"}


@pytest.fixture
def raw(tmp_path):
    """Make the folder in one of the layouts."""

    def make(layout="arrays"):
        replica("tusc")(tmp_path / layout, layout=layout)
        return tmp_path / layout

    return make


def adapter(root):
    return make_adapter("tusc", {"raw": root})


def converted(root, out="out"):
    return convert(adapter(root), root.parent / out, ONE)


def rejected(dataset):
    return {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}


def edit(root, layout, change):
    path = root / TABLES[layout]
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def with_cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize("layout", ["arrays", "folders"])
def test_frames_outlines_and_facts_are_the_publishers_in_either_layout(raw, layout):
    dataset = converted(raw(layout))
    assert dataset.rejected.num_rows == 0
    assert dataset.card.structures[0].name == "thyroid_nodule"
    rows = {row["sample_id"]: row for row in dataset.index.to_pylist()}
    read = {s.sample_id: s for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}
    width = len(str(len(frames())))
    for order, (name, place) in enumerate(frames()):
        key = f"{name}{order:0{width}d}" if layout == "arrays" else f"{name}{place}"
        row, number = rows[key], number_of(name)
        image, outline = frame(name, place)
        assert np.array_equal(read[key].image[:, :, 1], image)
        assert np.array_equal(read[key].mask, outline)
        assert row["annot_id"] == name
        assert row["subject_id"] == str(number)
        assert row["sex"] == sex(number).lower()
        assert row["age"] == (float(age(number)) if age(number) else None)
        assert row["malignant"] == ("benign", "malignant")[malignant(number)]
        assert row["tirads_level"] == str(2 + number % 4)
        assert row["location"] == (
            None if number == 5 else ("left lobe", "right lobe", "isthmus")[number % 3]
        )
    assert len(rows) == len(frames())


def test_frames_and_nodules_of_a_patient_never_cross_splits(raw):
    frame_ = converted(raw()).index.to_pandas()
    assert frame_["subject_id"].nunique() == len(ANNOTATIONS) - 1 < len(frame_)
    assert (frame_.groupby("subject_id")["split"].nunique() == 1).all()
    of_103 = frame_[frame_["subject_id"] == "103"]
    assert set(of_103["annot_id"]) == {"103_", SECOND}
    for split in ("train", "val", "test"):
        part = frame_[frame_["split"] == split]
        assert set(part["sex"]) == {"female", "male"}
        assert set(part["malignant"]) == {"benign", "malignant"}


def test_any_attribute_groups_the_frames(raw):
    dataset = converted(raw())
    ages = [None if age(number_of(n)) == "" else float(age(number_of(n))) for n, _ in frames()]
    assert sorted(dataset.index["age"].to_pylist(), key=str) == sorted(ages, key=str)
    assert {a.name for a in dataset.card.attributes} == {"sex", "age", "location"}


def test_the_arrays_are_never_read_whole(raw, monkeypatch):
    root = raw()
    places = []
    original = h5py.Dataset.__getitem__

    def watched(self, key, *rest, **named):
        if self.name in ("/image", "/mask"):
            places.append(key)
        return original(self, key, *rest, **named)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", watched)
    made = adapter(root)
    rows = made.manifest()
    assert places == []
    made.read(rows.iloc[5].to_dict())
    assert places == [5, 5]


def test_clips_and_frames_without_partners_are_named(raw):
    root = raw()
    edit(root, "arrays", lambda table: table[table["annot_id"] != "7_"])
    extra = dict(zip(pd.read_csv(root / "metadata.csv").columns, ["999_", "50", "Female"], strict=False))
    edit(root, "arrays", lambda table: pd.concat([table, pd.DataFrame([extra])]))
    dataset = converted(root)
    found = rejected(dataset)
    assert found.pop("999_") == "missing_image"
    assert {name.split("_")[0] for name in found} == {"7"}
    assert set(found.values()) == {"not_listed"}


def test_bad_files_of_the_folders_cost_their_frames(raw):
    root = raw("folders")
    (root / "image" / "3_0.png").unlink()
    (root / "label" / "3_1.png").unlink()
    Image.fromarray(np.full(SHAPE, 128, np.uint8)).save(root / "label" / "4_0.png")
    (root / "image" / "4_1.png").write_bytes((root / "image" / "4_1.png").read_bytes()[:-30])
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(root / "image" / "500_0.png")
    edit(root, "folders", with_cell(2, "histopath_diagnosis", "2"))
    found = rejected(converted(root))
    assert found.pop("3_0") == "missing_image"
    assert found.pop("3_1") == "missing_mask"
    assert found.pop("4_0") == "mask_values"
    assert found.pop("4_1") == "decode_error"
    assert found.pop("500_0") == "not_listed"
    assert set(found) == {"5_0", "5_1", "5_2"}
    assert set(found.values()) == {"unknown_label"}


def test_outlines_with_another_value_cost_their_frames(raw):
    root = raw()
    with h5py.File(root / "dataset.hdf5", "r+") as file:
        file["mask"][4, 0, 0] = 127
    found = converted(root).rejected.to_pylist()
    assert [(row["reason"], row["source"]) for row in found] == [("mask_values", "dataset.hdf5/image[4]")]


def test_a_file_that_is_cut_off_or_of_another_layout_is_refused_with_the_page(raw):
    root = raw()
    with h5py.File(root / "dataset.hdf5", "r+") as file:
        del file["mask"]
        file["mask"] = np.zeros((3, *SHAPE), np.uint8)
    with pytest.raises(
        UserError, match=r"array 'mask' of .* must hold \d+ frames.*found the shape \(3, 40, 48\)"
    ):
        adapter(root).manifest()
    with h5py.File(root / "dataset.hdf5", "r+") as file:
        del file["annot_id"]
    with pytest.raises(UserError, match=r"lacks the array 'annot_id'; found image, mask.*stanfordaimi"):
        adapter(root).manifest()
    data = (root / "dataset.hdf5").read_bytes()
    (root / "dataset.hdf5").write_bytes(data[: len(data) // 3])
    with pytest.raises(UserError, match=r"dataset\.hdf5 is not the publisher's file.*cut off"):
        adapter(root).manifest()


def test_wrong_tables_are_told(raw):
    root = raw()
    edit(root, "arrays", lambda table: pd.concat([table, table.iloc[[4]]]))
    with pytest.raises(
        UserError, match=r"metadata.csv has several rows for 1 values of 'annot_id', the first '7_'"
    ):
        adapter(root).manifest()
    edit(root, "arrays", lambda table: table.iloc[:-1].rename(columns={"ti-rads_level": "tirads"}))
    with pytest.raises(UserError, match=r"lacks the column 'ti-rads_level'.*found annot_id, age"):
        adapter(root).manifest()
    (root / "metadata.csv").unlink()
    with pytest.raises(UserError, match=r"lacks metadata.csv or meta.csv.*registration"):
        adapter(root).manifest()


def test_an_unknown_spelling_of_sex_is_refused(raw):
    root = raw("folders")
    edit(root, "folders", lambda table: table.assign(sex=table["sex"].str.replace("Female", "Frau")))
    with pytest.raises(UserError, match=r"column 'sex' has values that its coding does not know: 'frau'"):
        adapter(root).manifest()
