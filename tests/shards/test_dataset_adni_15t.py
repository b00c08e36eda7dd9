"""ADNI 1: scans of a subject stay together, mild impairment is no absence of disease, ages are usable."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from replicas import replica
from replicas.adni_15t import SHAPE, rows, subject_of
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1)
LIST = "ADNI1_Screening_1.5T_8_18_2018.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adni")
    options = replica("adni-15t")(folder)
    return options["raw"], convert(make_adapter("adni-15t", options), folder / "out", ONE)


@pytest.fixture
def raw(whole, tmp_path):
    return Path(shutil.copytree(whole[0], tmp_path / "ADNI_download"))


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def rewrite(raw, change):
    table = pd.read_csv(raw / LIST, dtype=str, keep_default_na=False, skipinitialspace=True)
    change(table).to_csv(raw / LIST, index=False)


def test_every_scan_of_the_list_is_found_in_its_nested_folder(whole):
    raw, dataset = whole
    found = by_id(dataset)
    assert set(found) == {row["Image Data ID"] for row in rows()}
    for row in rows():
        mine = found[row["Image Data ID"]]
        assert mine["subject_id"] == row["Subject"]
        assert (raw / mine["source"]).name.endswith(f"_{row['Image Data ID']}.nii")
        assert (mine["age"], mine["visit"]) == (float(row["Age"]), row["Visit"])
        assert mine["sex"] == {"F": "female", "M": "male"}[row["Sex"]]
        assert mine["description"] == row["Description"]


def test_scans_of_a_subject_are_in_one_split(whole):
    splits = {}
    for row in by_id(whole[1]).values():
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert len(splits) == 36 < len(by_id(whole[1]))
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_mild_impairment_is_a_class_of_its_own_and_unknown_to_the_binary_targets(whole):
    found = by_id(whole[1])
    for row in rows():
        mine, group = found[row["Image Data ID"]], row["Group"]
        assert mine["diagnosis"] == group
        assert mine["alzheimers"] == (None if group == "MCI" else group)
    targets = {target.name: target for target in whole[1].card.targets}
    assert targets["alzheimers"].positive == "AD"
    assert targets["diagnosis"].classes == ("CN", "MCI", "AD")


def test_the_papers_scans_are_those_of_the_screening_visit(whole):
    found = by_id(whole[1])
    published = [row for row in rows() if row["Visit"] == "sc" and row["Group"] != "MCI"]
    mine = {name for name, row in found.items() if row["alzheimers_fairmedfm"] is not None}
    assert mine == {row["Image Data ID"] for row in published}
    later = [row["Image Data ID"] for row in rows() if row["Visit"] != "sc" and row["Group"] != "MCI"]
    assert [found[name]["alzheimers"] for name in later] == ["CN"]  # kept, not dropped


def test_age_groups_of_both_papers_are_recorded(whole):
    presets = {preset.name: preset for preset in whole[1].card.presets}
    assert "none" in presets["fairmedfm"].note
    ages = np.array([row["age"] for row in by_id(whole[1]).values()])
    for paper, young, old in (
        ("medfair", ages <= 75, ages > 75),
        ("fairmedfm", ages < 60, ages >= 60),
        ("fairmedfm_notebook", ages <= 60, ages > 60),
    ):
        labels = presets[paper].labels
        assert count_groups(whole[1], paper, "age") == {labels[0]: young.sum(), labels[1]: old.sum()}
    assert {60.0, 75.0} <= set(ages)
    assert (ages < 60).sum() == 2  # of one subject: as good as nobody


def test_slices_are_axial_and_shown_by_percentiles(whole):
    raw, dataset = whole
    assert dataset.card.normalise == (0.5, 99.5)
    row = by_id(dataset)["I45100"]
    assert (row["depth"], row["height"], row["width"]) == SHAPE
    assert row["orientation"] == "SPL"
    file = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / row["source"])))
    straight = file[::-1].transpose(1, 2, 0)  # the file runs to the back, the head and the right
    sample = next(s for s in dataset.read(row["shard"], masks=False) if s.sample_id == "I45100")
    low, high = np.percentile(straight, [0.5, 99.5])
    expected = np.clip((straight - low) / (high - low) * 255, 0, 255)
    assert np.abs(sample.image - expected).max() <= 0.51


def test_the_companion_at_3_tesla_is_read_by_its_own_list(raw):
    lines = (raw / LIST).read_text().splitlines(keepends=True)
    (raw / "ADNI1_Baseline_3T_8_18_2018.csv").write_text("".join(lines[:4]))
    assert len(make_adapter("adni-15t", {"raw": raw}).manifest()) == len(rows())
    other = make_adapter("adni-15t", {"raw": raw, "table": "ADNI1_Baseline_3T*.csv"})
    assert other.manifest()["sample_id"].tolist() == ["I45100", "I45113", "I45126"]


def test_bad_rows_and_files_cost_their_scans_only(raw, tmp_path):
    shutil.rmtree(raw / "ADNI" / subject_of(3))
    rewrite(raw, lambda table: pd.concat([table.assign(Group=["SMC", *table["Group"][1:]]), table[5:6]]))
    path = next((raw / "ADNI" / subject_of(7)).rglob("*.nii"))
    path.write_bytes(path.read_bytes()[:-10])
    options = ConvertOptions(workers=1, max_rejected=0.5)
    dataset = convert(make_adapter("adni-15t", {"raw": raw}), tmp_path / "out", options)
    found = sorted((row["reason"], row["subject_id"]) for row in dataset.rejected.to_pylist())
    assert found == [
        ("decode_error", subject_of(7)),
        ("duplicate_id", subject_of(5)),
        ("duplicate_id", subject_of(5)),
        ("missing_image", subject_of(3)),
        ("unknown_label", subject_of(0)),
    ]
    missing = next(row for row in dataset.rejected.to_pylist() if row["reason"] == "missing_image")
    assert missing["detail"] == f"no file below ADNI/{subject_of(3)} is of image {missing['sample_id']}"


def test_wrong_folders_and_tables_are_told(raw):
    adapter = make_adapter("adni-15t", {"raw": raw})
    table = pd.read_csv(raw / LIST, dtype=str, keep_default_na=False, skipinitialspace=True)
    rewrite(raw, lambda _: table.assign(Age=["12O", *table["Age"][1:]]))
    with pytest.raises(UserError, match=r"column 'Age' has 1 values that are no age.*'12O'"):
        adapter.manifest()
    rewrite(raw, lambda _: table.assign(Sex="X"))
    with pytest.raises(UserError, match=r"column 'Sex' has values.*'x'"):
        adapter.manifest()
    rewrite(raw, lambda _: table.rename(columns={"Visit": "VISCODE"}))
    with pytest.raises(
        UserError, match=r"lacks the column 'Visit'.*VISCODE.*ida.loni.usc.edu: it is given on request"
    ):
        adapter.manifest()
    rewrite(raw, lambda _: table)
    shutil.rmtree(raw / "ADNI")
    with pytest.raises(UserError, match=r"ADNI_download lacks ADNI\."):
        adapter.manifest()
    (raw / LIST).rename(raw / "ADNI1_Complete_1Yr_1.5T.csv")
    with pytest.raises(UserError, match=r"no file that matches ADNI1_Screening_1.5T\*.csv"):
        adapter.manifest()
