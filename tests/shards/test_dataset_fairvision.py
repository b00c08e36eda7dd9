import shutil

import numpy as np
import pandas as pd
import pytest
from replicas import _harvard as harvard
from replicas import replica
from replicas.fairvision import DISEASES

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)
STAGES = ("normal", "early AMD", "intermediate AMD", "late AMD")


@pytest.fixture
def root(tmp_path):
    replica("fairvision")(tmp_path / "raw")
    return tmp_path / "raw"


def adapter(root, disease="glaucoma", **options):
    return make_adapter("fairvision", {"raw": root, "disease": disease, **options})


def converted(root, disease="glaucoma", **options):
    return convert(adapter(root, disease, **options), root.parent / f"out-{disease}", ONE)


def rows_of(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def severity(number, disease):
    return number // 2 % len(DISEASES[disease][2])


@pytest.mark.parametrize(
    ("disease", "target", "classes"),
    [
        ("glaucoma", "glaucoma", ("non-glaucoma", "glaucoma")),
        ("dr", "dr", ("non-vision-threatening", "vision-threatening")),
        ("amd", "amd_stage", STAGES),
    ],
)
def test_each_disease_is_a_dataset_of_its_own(root, disease, target, classes):
    dataset = converted(root, disease)
    rows = rows_of(dataset)
    assert dataset.card.name == f"fairvision-{disease}"
    assert dataset.rejected.num_rows == 0
    assert len(rows) == harvard.PEOPLE
    assert dataset.card.target(target).classes == classes
    for number in range(1, harvard.PEOPLE + 1):
        row, coded = rows[f"data_{number:05d}"], harvard.codes(number)
        assert row[target] == classes[severity(number, disease)]
        assert row["sex"] == ("female", "male")[coded["gender"]]
        assert row["race"] == ("asian", "black", "white")[coded["race"]]
        assert row["ethnicity"] == ("non-hispanic", "hispanic", None)[coded["ethnicity"]]
        assert row["split"] == {"training": "train", "validation": "val", "test": "test"}[harvard.use(number)]
        assert row["source"].startswith(f"{DISEASES[disease][0]}/")
        assert (row["width"], row["height"]) == (42, 32)
    for part in ("train", "val", "test"):
        own = [row for row in rows.values() if row["split"] == part]
        assert {row["sex"] for row in own} == {"female", "male"}
        assert len({row[target] for row in own}) == len(classes)


def test_any_stage_of_amd_is_amd(root):
    for row in rows_of(converted(root, "amd")).values():
        assert row["amd"] == ("no AMD" if row["amd_stage"] == "normal" else "AMD")


def test_the_older_releases_condition_names_are_the_same_classes(root):
    older = {
        "normal": "not.in.icd.table",
        "early amd": "early.dry",
        "intermediate amd": "intermediate.dry",
        "late amd": "wet.amd.inactive.choroidal.neovascularization",
    }
    before = adapter(root, "amd").manifest()["amd_stage"].tolist()
    path = root / "data_summary_amd.csv"
    table = pd.read_csv(path)
    table.assign(amd=table["amd"].map(older)).to_csv(path, index=False)
    assert adapter(root, "amd").manifest()["amd_stage"].tolist() == before


def test_copies_in_archives_and_volumes_are_read_on_request(root):
    small = converted(root, "dr", pixels="npz")
    image = harvard.eye(3, (32, 42), ill=severity(3, "dr") > 0)[::2, ::2]
    read = {s.sample_id: s for shard in small.shards for s in small.read(shard.name, masks=False)}
    assert np.array_equal(read["data_00003"].image[:, :, 0], image)
    volumes = convert(adapter(root, "dr", pixels="oct"), root.parent / "volumes", ONE)
    assert volumes.card.name == "fairvision-dr-oct"
    assert {(row["depth"], row["height"], row["width"]) for row in rows_of(volumes).values()} == {(6, 16, 21)}
    assert rows_of(volumes)["data_00003"]["spacing_mm"] is None
    read = {s.sample_id: s for shard in volumes.shards for s in volumes.read(shard.name, masks=False)}
    assert np.array_equal(read["data_00003"].image, np.stack([image // 2 + place for place in range(6)]))


def test_the_folder_of_one_disease_and_other_layouts_are_found(root):
    expected = adapter(root, "glaucoma").manifest()["_image"].tolist()
    assert adapter(root / "Glaucoma", "glaucoma").manifest()["_image"].tolist() == expected
    inner = root / "Glaucoma" / "Dataset"
    inner.mkdir()
    for old, new in (("Training", "train"), ("Validation", "val"), ("Test", "test")):
        (root / "Glaucoma" / old).rename(inner / new)
    moved = adapter(root, "glaucoma").manifest()
    assert moved["_image"].map(lambda path: path.rpartition("/")[2]).tolist() == [
        path.rpartition("/")[2] for path in expected
    ]
    assert moved["_image"].str.contains("Glaucoma/Dataset/").all()


def test_other_diseases_files_are_not_counted_as_strays(root):
    extra = root / "AMD" / "Test" / "slo_99999.jpg"
    shutil.copy(root / "AMD" / "Test" / "slo_00030.jpg", extra)
    assert converted(root, "glaucoma").rejected.num_rows == 0
    strays = converted(root, "amd").rejected.to_pylist()
    assert [(row["source"], row["reason"]) for row in strays] == [("AMD/Test/slo_99999.jpg", "not_listed")]


def test_what_is_wrong_with_one_sample_costs_that_sample(root):
    path = root / "data_summary_amd.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[0, "amd"] = "very late amd"
    table.loc[1, "amd"] = None
    table.to_csv(path, index=False)
    (root / "AMD" / "Training" / "slo_00003.jpg").unlink()
    dataset = converted(root, "amd")
    rejected = {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}
    assert rejected == {"data_00001": "unknown_label", "data_00003": "missing_image"}
    assert rows_of(dataset)["data_00002"]["amd"] is None
    assert rows_of(dataset)["data_00002"]["amd_stage"] is None


def test_volumes_that_the_publisher_left_empty_cost_their_sample(root):
    np.savez(root / "DR" / "Training" / "data_00001.npz", oct_bscans=np.zeros(0, np.uint8))
    dataset = converted(root, "dr", pixels="oct")
    assert [(row["sample_id"], row["reason"]) for row in dataset.rejected.to_pylist()] == [
        ("data_00001", "empty_image")
    ]


def test_a_missing_disease_and_a_missing_choice_are_told(root):
    with pytest.raises(UserError, match=r"'fairvision'\.disease: required"):
        make_adapter("fairvision", {"raw": root})
    with pytest.raises(UserError, match=r"'fairvision'\.disease"):
        adapter(root, "cataract")
    shutil.rmtree(root / "DR")
    with pytest.raises(
        UserError, match=r"has no file .*slo_\*.jpg.*harvard-fairvision30k: it is given on request"
    ):
        adapter(root, "dr").manifest()
    (root / "data_summary_dr.csv").unlink()
    with pytest.raises(UserError, match=r"lacks data_summary_dr.csv or DR/ReadMe/data_summary_dr.csv"):
        adapter(root, "dr").manifest()
