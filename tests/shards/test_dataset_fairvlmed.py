import shutil

import numpy as np
import pandas as pd
import pytest
from replicas import _harvard as harvard
from replicas import replica
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.images import decode

ONE = ConvertOptions(workers=1, max_rejected=0.5)
PAGE = "github.com/Harvard-Ophthalmology-AI-Lab/FairCLIP"


@pytest.fixture
def root(tmp_path):
    replica("fairvlmed")(tmp_path / "raw")
    return tmp_path / "raw"


def adapter(root, **options):
    return make_adapter("fairvlmed", {"raw": root, **options})


def converted(root, **options):
    return convert(adapter(root, **options), root.parent / f"out-{options.get('pixels', 'jpg')}", ONE)


def reasons(dataset):
    return {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}


def change(root, number, **values):
    """Change cells of a person's row of the summary table."""
    table = pd.read_csv(root / "data_summary.csv", dtype=str, keep_default_na=False)
    for name, value in values.items():
        table.loc[table["filename"] == f"data_{number:05d}.npz", name] = value
    table.to_csv(root / "data_summary.csv", index=False)


def pixels(dataset):
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=False)]
    assert {sample.status for sample in samples} == {"ok"}
    return {sample.sample_id: sample.image for sample in samples}


def test_every_person_has_the_publishers_label_facts_and_split(root):
    dataset = converted(root)
    rows = {row["sample_id"]: row for row in dataset.index.to_pylist()}
    assert len(rows) == harvard.PEOPLE
    for number in range(1, harvard.PEOPLE + 1):
        row, coded = rows[f"data_{number:05d}"], harvard.codes(number)
        assert row["glaucoma"] == ("non-glaucoma", "glaucoma")[coded["glaucoma"]]
        assert row["sex"] == ("female", "male")[coded["gender"]]
        assert row["age"] == harvard.age(number)
        assert row["race"] == ("asian", "black", "white")[coded["race"]]
        assert row["ethnicity"] == ("non-hispanic", "hispanic", None)[coded["ethnicity"]]
        assert row["language"] == ("english", "spanish", "other", None)[coded["language"]]
        assert row["language_raw"] == ("english", "spanish", "other", "unknown")[coded["language"]]
        assert row["split"] == {"training": "train", "validation": "val", "test": "test"}[harvard.use(number)]
        assert row["subject_id"] == row["sample_id"]
        assert row["source"] == f"{harvard.FOLDERS[harvard.use(number)]}/slo_fundus_{number:05d}.jpg"
    assert reasons(dataset) == {}
    assert dataset.card.target("glaucoma").positive == "glaucoma"


def test_both_sexes_and_both_classes_are_in_every_split(root):
    frame = converted(root).index.to_pandas()
    for _, part in frame.groupby("split"):
        assert set(part["sex"]) == {"female", "male"}
        assert set(part["glaucoma"]) == {"glaucoma", "non-glaucoma"}


def test_unknown_values_stay_in_all_splits_as_null(root):
    frame = converted(root).index.to_pandas()
    unknown = frame[frame["language"].isna()]
    assert set(unknown["split"]) == {"train", "val", "test"}
    assert set(unknown["language_raw"]) == {"unknown"}


def test_the_papers_groups_have_the_papers_sizes(root):
    dataset = converted(root)
    people = range(1, harvard.PEOPLE + 1)
    old = sum(harvard.age(number) >= 60 for number in people)
    exactly = sum(harvard.age(number) == 60 for number in people)
    assert exactly == 6
    assert count_groups(dataset, "fairmedfm", "age") == {"60+": old, "<60": 36 - old}
    assert count_groups(dataset, "fairmedfm_notebook", "age") == {">60": old - 6, "<=60": 42 - old}
    white = sum(harvard.codes(number)["race"] == 2 for number in people)
    assert count_groups(dataset, "fairmedfm", "race") == {"white": white, "non-white": 36 - white}
    english = sum(harvard.codes(number)["language"] == 0 for number in people)
    unknown = sum(harvard.codes(number)["language"] == -1 for number in people)
    assert unknown == 4
    assert count_groups(dataset, "fairmedfm", "language") == {"english": english, "non-english": 36 - english}
    assert count_groups(dataset, "fairclip", "language")["unknown"] == unknown
    assert set(count_groups(dataset, "fairclip", "race")) == {"asian", "black", "white"}


def test_a_language_that_nobody_entered_is_unknown_but_non_english_for_fairmedfm(root):
    change(root, 1, language="")
    dataset = converted(root)
    row = next(row for row in dataset.index.to_pylist() if row["sample_id"] == "data_00001")
    assert row["language"] is row["language_raw"] is None
    english = sum(harvard.codes(number)["language"] == 0 for number in range(2, harvard.PEOPLE + 1))
    assert count_groups(dataset, "fairmedfm", "language") == {"english": english, "non-english": 36 - english}


def test_pictures_are_stored_as_they_are_and_archives_hold_the_same_image(root):
    pictures, arrays = pixels(converted(root)), pixels(converted(root, pixels="npz"))
    for number in (1, 20, 36):
        name = f"data_{number:05d}"
        folder = root / harvard.FOLDERS[harvard.use(number)]
        file = decode((folder / f"slo_fundus_{number:05d}.jpg").read_bytes())
        ill = harvard.codes(number)["glaucoma"] == 1
        assert np.array_equal(pictures[name][:, :, 0], file)
        assert np.array_equal(arrays[name][:, :, 0], harvard.eye(number, (32, 42), ill=ill))


def test_other_releases_layouts_are_found(root):
    (root / "ReadMe").mkdir()
    (root / "data_summary.csv").rename(root / "ReadMe" / "data_summary.csv")
    (root / "Test").rename(root / "Testing")
    for raw in (root, root.parent):
        images = adapter(raw).manifest()["_image"]
        assert len(images) == 36
        assert all(path.startswith(str(root)) for path in images)
        assert sum("/Testing/" in path for path in images) == 12


def test_what_is_wrong_with_one_sample_costs_that_sample(root):
    change(root, 1, glaucoma="maybe")
    change(root, 2, filename="data_00003.npz")
    (root / "Training" / "slo_fundus_00004.jpg").unlink()
    damaged = root / "Training" / "slo_fundus_00005.jpg"
    damaged.write_bytes(damaged.read_bytes()[:300])
    dataset = converted(root)
    rows = dataset.rejected.to_pylist()
    assert sorted((row["sample_id"] or row["source"], row["reason"]) for row in rows) == [
        ("Training/slo_fundus_00002.jpg", "not_listed"),
        ("data_00001", "unknown_label"),
        ("data_00003", "duplicate_id"),
        ("data_00003", "duplicate_id"),
        ("data_00004", "missing_image"),
        ("data_00005", "decode_error"),
    ]
    assert "'maybe'; expected one of non-glaucoma, glaucoma" in next(
        row["detail"] for row in rows if row["reason"] == "unknown_label"
    )
    assert dataset.index.num_rows == 31


def test_a_damaged_or_foreign_archive_costs_its_sample(root):
    damaged = root / "Training" / "data_00005.npz"
    damaged.write_bytes(damaged.read_bytes()[:500])
    np.savez(root / "Training" / "data_00006.npz", fundus=np.zeros((4, 4), np.uint8))
    np.savez(root / "Training" / "data_00007.npz", slo_fundus=np.array({"a": 1}, dtype=object))
    found = reasons(converted(root, pixels="npz"))
    assert found == {
        "data_00005": "decode_error",
        "data_00006": "missing_array",
        "data_00007": "pickled_array",
    }


def test_a_missing_table_folder_or_column_is_named_with_the_page(root):
    table = pd.read_csv(root / "data_summary.csv")
    table.rename(columns={"race": "ancestry"}).to_csv(root / "data_summary.csv", index=False)
    with pytest.raises(UserError, match=rf"lacks the column 'race'.*found.*ancestry.*{PAGE}.*on request"):
        adapter(root).manifest()
    (root / "data_summary.csv").unlink()
    with pytest.raises(UserError, match=rf"has none of data_summary.csv.*{PAGE}"):
        adapter(root).manifest()
    table.to_csv(root / "data_summary.csv", index=False)
    for folder in ("Training", "Validation", "Test"):
        shutil.rmtree(root / folder)
    with pytest.raises(UserError, match=rf"has no file Training/slo_fundus_\*.jpg.*{PAGE}"):
        adapter(root).manifest()


def test_a_spelling_of_sex_that_nobody_knows_is_refused(root):
    change(root, 1, gender="F.")
    with pytest.raises(UserError, match=r"column 'gender' has values that its coding does not know: 'f\.'"):
        adapter(root).manifest()
