import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replicas.grouping import count_groups
from replicas.ham10000 import make

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

ONE = ConvertOptions(workers=1, max_rejected=0.5)
DIAGNOSES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


@pytest.fixture
def ham(tmp_path):
    """The publisher's layout with 28 images of 14 lesions."""
    return make(tmp_path / "HAM10000", images=28)["raw"]


def adapter(root):
    return make_adapter("ham10000", {"raw": root})


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def test_targets_attributes_and_subjects_are_those_of_the_publisher(ham, tmp_path):
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    rows = by_id(dataset)
    assert len(rows) == 28
    assert rows["ISIC_0000002"]["dx"] == "bcc"
    assert rows["ISIC_0000002"]["malignant"] == "malignant"
    assert rows["ISIC_0000002"]["malignant_fairmedfm"] == "benign"
    for row in rows.values():
        assert row["malignant"] == ("malignant" if row["dx"] in {"akiec", "bcc", "mel"} else "benign")
        assert row["malignant_fairmedfm"] == ("malignant" if row["dx"] in {"akiec", "mel"} else "benign")
    assert rows["ISIC_0000002"]["sex"] is None
    assert rows["ISIC_0000003"]["age"] is None
    assert rows["ISIC_0000004"]["age"] == 20.0
    assert rows["ISIC_0000005"]["localization"] is None
    assert rows["ISIC_0000006"]["subject_id"] == rows["ISIC_0000007"]["subject_id"] == "HAM_0000003"
    assert rows["ISIC_0000006"]["source"] == "HAM10000_images/ISIC_0000006.jpg"
    assert dataset.card.subject == "lesion"
    assert any("lower bound" in note for note in dataset.card.notes)


def test_unknown_sex_is_unknown_and_only_the_papers_groups_make_it_female_or_male(ham, tmp_path):
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    said = dataset.index["sex_raw"].to_pylist()
    men, women, unknown = (said.count(sex) for sex in ("male", "female", "unknown"))
    assert (men, women, unknown) == (10, 9, 9)
    assert dataset.index["sex"].null_count == unknown
    assert count_groups(dataset, "fairmedfm", "sex") == {"female": women + unknown, "male": men}
    assert count_groups(dataset, "fairmedfm_seg", "sex") == {"female": women, "male": men + unknown}


def test_age_sixty_is_old_for_fairmedfms_loaders_and_young_for_its_notebooks_and_medfair(ham, tmp_path):
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    ages = [age for age in dataset.index["age"].to_pylist() if age is not None]
    assert ages.count(60.0) == 1
    young = sum(age < 60 for age in ages)
    old = len(ages) - young
    assert count_groups(dataset, "fairmedfm", "age") == {"<60": young, "60+": old, "unknown": 1}
    for paper in ("fairmedfm_notebook", "medfair"):
        assert count_groups(dataset, paper, "age") == {"<=60": young + 1, ">60": old - 1, "unknown": 1}


def test_how_a_diagnosis_was_confirmed_is_kept(ham):
    assert set(adapter(ham).manifest()["dx_type"]) == {"histo"}
    table = pd.read_csv(ham / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table.drop(columns="dx_type").to_csv(ham / "HAM10000_metadata.csv", index=False)
    assert adapter(ham).manifest()["dx_type"].isna().all()


def test_palette_and_larger_masks_mark_the_lesion(ham, tmp_path):
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    expected = np.zeros((15, 20), np.uint8)
    expected[5:10, 5:15] = 255
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=True)]
    assert len(samples) == 28
    assert all(np.array_equal(sample.mask, expected) for sample in samples)
    assert dataset.counts.masks_resized == 28


def test_publishers_two_parts_and_name_without_ending_are_found(ham):
    (ham / "HAM10000_metadata.csv").rename(ham / "HAM10000_metadata")
    (ham / "HAM10000_images").rename(ham / "HAM10000_images_part_1")
    (ham / "HAM10000_images_part_2").mkdir()
    moved = ham / "HAM10000_images_part_2" / "ISIC_0000009.jpg"
    (ham / "HAM10000_images_part_1" / "ISIC_0000009.jpg").rename(moved)
    for root in (ham, ham.parent):
        manifest = adapter(root).manifest().set_index("sample_id")
        assert manifest.loc["ISIC_0000009", "_image"] == str(moved)
        assert all(Path(path).is_file() for path in manifest["_image"])


@pytest.mark.parametrize("separator", ["\t", ","])
def test_the_archives_own_copy_of_the_table_and_a_folder_of_both_parts_are_found(ham, separator):
    expected = adapter(ham).manifest()
    table = pd.read_csv(ham / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table.to_csv(ham / "HAM10000_metadata.tab", sep=separator, index=False, quoting=csv.QUOTE_NONNUMERIC)
    (ham / "HAM10000_metadata.csv").unlink()
    (ham / "HAM10000_images").rename(ham / "HAM10000_images_combined_600x450")
    found = adapter(ham).manifest()
    places = ["_image", "_source"]
    assert found.drop(columns=places).equals(expected.drop(columns=places))
    assert all(Path(path).is_file() for path in found["_image"])


def test_without_masks_it_is_a_classification_dataset(ham, tmp_path):
    shutil.rmtree(ham / "HAM10000_segmentations_lesion_tschandl")
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    assert dataset.card.task == "classification"
    assert dataset.counts.masks == 0
    assert any("without lesion masks" in note for note in dataset.card.notes)


def test_missing_files_and_unknown_diagnoses_cost_their_rows_only(ham, tmp_path):
    (ham / "HAM10000_images" / "ISIC_0000001.jpg").unlink()
    (ham / "HAM10000_segmentations_lesion_tschandl" / "ISIC_0000002_segmentation.png").unlink()
    table = pd.read_csv(ham / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table.loc[4, "dx"] = "wart"
    table.to_csv(ham / "HAM10000_metadata.csv", index=False)
    dataset = convert(adapter(ham), tmp_path / "out", ONE)
    reasons = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert reasons == {
        "ISIC_0000001": "missing_image",
        "ISIC_0000002": "missing_mask",
        "ISIC_0000004": "unknown_label",
    }


def test_source_dataset_is_an_attribute_where_the_release_has_it(ham):
    table = pd.read_csv(ham / "HAM10000_metadata.csv", dtype=str, keep_default_na=False)
    table["dataset"] = "rosendahl"
    table.to_csv(ham / "HAM10000_metadata.csv", index=False)
    assert [a.name for a in adapter(ham).card().attributes] == [
        "sex",
        "age",
        "localization",
        "ita",
        "source_dataset",
    ]
    assert set(adapter(ham).manifest()["source_dataset"]) == {"rosendahl"}


def test_wrong_folders_and_tables_are_told(ham, tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist.*10.7910/DVN/DBW86T"):
        adapter(tmp_path / "nowhere").card()
    table = pd.read_csv(ham / "HAM10000_metadata.csv")
    table.drop(columns="lesion_id").to_csv(ham / "HAM10000_metadata.csv", index=False)
    with pytest.raises(UserError, match="lacks the column 'lesion_id'"):
        adapter(ham).manifest()
    table.to_csv(ham / "HAM10000_metadata.csv", index=False)
    shutil.rmtree(ham / "HAM10000_images")
    with pytest.raises(UserError, match=r"has no file that matches HAM10000_images\*/\*\.jpg"):
        adapter(ham).manifest()


@pytest.mark.real
@pytest.mark.slow
def test_the_whole_real_dataset_is_converted(tmp_path):
    folder = os.environ.get("FAIRRAY_REAL_DATA")
    if not folder:
        pytest.skip("set FAIRRAY_REAL_DATA to the folder that holds HAM10000 as its publisher lays it out")
    dataset = convert(adapter(Path(folder)), tmp_path / "out")
    index = dataset.index
    assert index.num_rows == 10_015
    assert dataset.rejected.num_rows == 0
    assert index["sex"].null_count == index["age"].null_count == 57
    assert len(set(index["subject_id"].to_pylist())) == 7_470
    assert sum(label == "malignant" for label in index["malignant_fairmedfm"].to_pylist()) == 327 + 1_113
    assert dataset.counts.masks == dataset.counts.masks_resized == 10_015
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=True)]
    assert {sample.status for sample in samples} == {"ok"}
    covered = np.array([(sample.mask == 255).mean() for sample in samples])
    assert (covered == 1).sum() == 2
    assert (covered > 0).all()
    assert verify(dataset, None) == ()
