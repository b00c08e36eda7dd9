"""CANDI: coronal slices, FreeSurfer's structures, diagnosis and demographics of four tables."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas._volumes import save
from replicas.candi import GROUPS, SHAPE, SPACING

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1)
SUBJECTS = {f"{group}_{number:03d}" for group, numbers in GROUPS.items() for number in numbers}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candi")
    options = replica("candi")(folder)
    return options["raw"], convert(make_adapter("candi", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "CANDI"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def sample_of(dataset, name):
    shard = by_id(dataset)[name]["shard"]
    return next(sample for sample in dataset.read(shard, masks=True) if sample.sample_id == name)


def rewrite(raw, group, change):
    path = raw / f"{group}_Basic_Demographics.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def test_subjects_of_all_four_tables_have_their_own_demographics(whole):
    raw, dataset = whole
    rows = by_id(dataset)
    assert set(rows) == SUBJECTS
    for group, diagnosis in (
        ("BPDwithoutPsy", "bipolar disorder without psychosis"),
        ("BPDwithPsy", "bipolar disorder with psychosis"),
        ("HC", "healthy control"),
        ("SS", "schizophrenia spectrum"),
    ):
        for record in pd.read_csv(raw / f"{group}_Basic_Demographics.csv").to_dict("records"):
            row = rows[record["Subject"]]
            assert row["diagnosis"] == diagnosis
            assert (row["sex"], row["age"]) == (record["Gender"], record["Age"])
            assert row["subject_id"] == record["Subject"]
    assert rows["HC_001"]["handedness"] == "Left"
    assert rows["HC_002"]["handedness"] is None
    assert {row["sex"] for row in rows.values()} == {"female", "male"}


def test_there_are_as_many_slices_as_the_axis_is_long(whole):
    raw, dataset = whole
    row = by_id(dataset)["HC_001"]
    height, depth, width = SHAPE
    assert (row["depth"], row["height"], row["width"]) == (depth, height, width)
    assert row["orientation"] == "PIL"
    assert row["spacing_mm"] == pytest.approx([1.5, 0.9375, 0.9375])
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "HC_001" / "HC_001_seg.nii.gz")))
    # the file's axes run to the right, the head and the front; ours to the back, the feet and the left
    assert np.array_equal(sample_of(dataset, "HC_001").mask, labels[::-1, ::-1, ::-1])


def test_structures_are_on_the_side_that_freesurfer_gives_them(whole):
    _, dataset = whole
    mask = sample_of(dataset, "SS_084").mask
    values = {structure.name: structure.values[0] for structure in dataset.card.structures}
    assert len(values) == len(set(values.values())) == 34
    for name in ("cerebral_cortex", "cerebral_white_matter", "lateral_ventricle"):
        left, right = (np.nonzero(mask == values[f"{side}_{name}"])[2].mean() for side in ("left", "right"))
        assert right < mask.shape[2] / 2 < left  # columns run to the patient's left
    stem, ventricle = (
        np.nonzero(mask == values[name])[1].mean() for name in ("brain_stem", "left_lateral_ventricle")
    )
    assert stem > ventricle  # rows run down


def test_labels_of_other_numbers_are_refused(raw, tmp_path):
    mask = np.zeros(SHAPE, np.int16)
    mask[3, 3, 3] = 77
    save(raw / "HC_001" / "HC_001_seg.nii.gz", mask, SPACING, axes="RSA")
    (raw / "HC_002" / "HC_002_procimg.nii.gz").unlink()
    (raw / "HC_003" / "HC_003_seg.nii.gz").unlink()
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("candi", {"raw": raw}), tmp_path / "out", options)
    found = {row["sample_id"]: (row["reason"], row["detail"]) for row in dataset.rejected.to_pylist()}
    assert found["HC_001"][0] == "mask_values"
    assert "HC_001_seg.nii.gz has the values 77" in found["HC_001"][1]
    assert found["HC_002"][0] == "missing_image"
    assert found["HC_003"][0] == "missing_mask"
    assert len(found) == 3


def test_shortened_names_and_nested_folders_are_found(raw):
    groups = {"HC": "HC", "SS": "SS", "BPDwithoutPsy": "BPDwoPsy", "BPDwithPsy": "BPDwPsy"}
    for group, short in groups.items():
        (raw / group).mkdir()
        (raw / f"{group}_Basic_Demographics.csv").rename(raw / group / f"{group}_Basic_Demographics.csv")
        for number in GROUPS[group]:
            old, new = f"{group}_{number:03d}", f"{short}_{number:03d}"
            (raw / old).rename(raw / group / new)
            for path in sorted((raw / group / new).iterdir()):
                path.rename(path.with_name(path.name.replace(old, new)))
    rows = make_adapter("candi", {"raw": raw}).manifest().set_index("sample_id")
    assert set(rows.index) == SUBJECTS
    assert rows["_source"]["BPDwithoutPsy_030"] == "BPDwithoutPsy/BPDwoPsy_030/BPDwoPsy_030_procimg.nii.gz"
    assert all(Path(path).is_file() for column in ("_image", "_mask") for path in rows[column])
    assert rows["age"].notna().all()


def test_scans_without_demographics_stay_with_unknown_attributes(raw):
    rewrite(raw, "SS", lambda table: table[1:])
    rows = make_adapter("candi", {"raw": raw}).manifest().set_index("sample_id")
    assert rows["sex"]["SS_084"] is None
    assert rows["diagnosis"]["SS_084"] == "schizophrenia spectrum"


def test_wrong_folders_and_tables_are_told(raw):
    adapter = make_adapter("candi", {"raw": raw})
    rewrite(raw, "HC", lambda table: pd.concat([table, table[:1]]))
    with pytest.raises(UserError, match=r"the tables of demographics has several rows.*'HC_001'"):
        adapter.manifest()
    rewrite(raw, "HC", lambda table: table[:-1].assign(Gender="boy"))
    with pytest.raises(UserError, match=r"column 'Gender' has values.*'boy'"):
        adapter.manifest()
    rewrite(raw, "HC", lambda table: table.drop(columns="Age"))
    with pytest.raises(UserError, match=r"HC_Basic_Demographics.csv lacks the column 'Age'.*nitrc.org"):
        adapter.manifest()
    (raw / "SS_Basic_Demographics.csv").unlink()
    with pytest.raises(
        UserError, match=r"lacks SS_Basic_Demographics.csv; expected one for each of.*registration"
    ):
        adapter.manifest()
    with pytest.raises(UserError, match=r"has none of \*_Basic_Demographics.csv"):
        make_adapter("candi", {"raw": raw / "HC_001"}).manifest()
