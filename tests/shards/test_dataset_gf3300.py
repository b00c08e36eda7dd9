import numpy as np
import pandas as pd
import pytest
from replicas import _harvard as harvard
from replicas import replica
from replicas.gf3300 import thickness
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)


@pytest.fixture
def root(tmp_path):
    replica("gf3300")(tmp_path / "raw")
    return tmp_path / "raw"


def adapter(root, **options):
    return make_adapter("gf3300", {"raw": root, **options})


def converted(root, **options):
    return convert(adapter(root, **options), root.parent / "out", ONE)


def samples(dataset):
    read = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=False)]
    assert {sample.status for sample in read} == {"ok"}
    return {sample.sample_id: sample for sample in read}


def is_ill(number):
    return harvard.codes(number)["glaucoma"] == 1


def test_every_person_has_the_publishers_label_facts_and_split(root):
    dataset = converted(root)
    rows = {row["sample_id"]: row for row in dataset.index.to_pylist()}
    assert len(rows) == harvard.PEOPLE
    assert dataset.rejected.num_rows == 0
    for number in range(1, harvard.PEOPLE + 1):
        row, coded = rows[f"data_{number:04d}"], harvard.codes(number)
        assert row["glaucoma"] == ("non-glaucoma", "glaucoma")[coded["glaucoma"]]
        assert row["sex"] == ("female", "male")[coded["gender"]]
        assert row["age"] == harvard.age(number)
        assert (
            row["marital_status"]
            == (*("married or partnered", "single", "divorced", "widowed", "legally separated", None),)[
                coded["maritalstatus"]
            ]
        )
        assert row["language"] == ("english", "spanish", "other", None)[coded["language"]]
        assert row["split"] == {"training": "train", "validation": "val", "test": "test"}[harvard.use(number)]
    assert {row["language_raw"] for row in rows.values()} == {
        "english",
        "spanish",
        "other languages",
        "unknown",
    }
    for part in ("train", "val", "test"):
        assert {row["sex"] for row in rows.values() if row["split"] == part} == {"female", "male"}


def test_the_papers_groups_have_the_papers_sizes(root):
    dataset = converted(root)
    people = range(1, harvard.PEOPLE + 1)
    old = sum(harvard.age(number) >= 60 for number in people)
    assert count_groups(dataset, "fairmedfm", "age") == {"60+": old, "<60": 36 - old}
    assert count_groups(dataset, "fairmedfm_notebook", "age") == {">60": old - 6, "<=60": 42 - old}
    english = sum(harvard.codes(number)["language"] == 0 for number in people)
    assert count_groups(dataset, "fairmedfm", "language") == {"english": english, "non-english": 36 - english}
    white = sum(harvard.codes(number)["race"] == 2 for number in people)
    assert count_groups(dataset, "fairmedfm", "race") == {"white": white, "non-white": 36 - white}


def test_thickness_is_clipped_into_eight_bits_and_never_wraps(root):
    read = samples(converted(root))
    for number in (1, 2, 36):
        image = read[f"data_{number:04d}"].image[:, :, 0]
        micrometres = thickness(number, ill=is_ill(number))
        assert micrometres.max() > 350
        assert micrometres.min() < -2
        expected = np.rint((np.clip(micrometres, -2, 350) + 2) / 352 * 255)
        assert np.array_equal(image, expected)
        assert [image[0, 0], image[0, -1], image[-1, 0], image[-1, -1]] == [0, 255, 0, 255]
    assert any("350 and above is 255" in note for note in adapter(root).card().notes)


def test_volumes_keep_every_slice_and_claim_no_spacing(root):
    dataset = converted(root, pixels="oct")
    assert dataset.card.name == "gf3300-oct"
    assert dataset.card.modality == "OCT volume"
    row = dataset.index.to_pylist()[0]
    assert (row["depth"], row["height"], row["width"]) == (8, 20, 20)
    assert row["spacing_mm"] is None
    assert row["orientation"] is None
    read = samples(dataset)["data_0002"]
    assert read.volumetric
    image = harvard.eye(2, (20, 20), ill=is_ill(2))
    assert np.array_equal(read.image, np.stack([image // 2 + place for place in range(8)]))


def test_maps_and_volumes_that_cannot_be_shown_cost_their_sample(root):
    folder = root / "Training"
    np.savez(folder / "data_0001.npz", rnflt=np.full((20, 20), np.nan))
    np.savez(folder / "data_0002.npz", rnflt=np.zeros(0), oct_bscans=np.zeros(0))
    np.savez(folder / "data_0003.npz", oct_bscans=np.zeros((2, 3, 3), np.uint8))
    (folder / "data_0004.npz").write_bytes(b"")
    (folder / "data_0005.npz").unlink()
    dataset = converted(root)
    assert {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()} == {
        "data_0001": "nan_pixels",
        "data_0002": "empty_image",
        "data_0003": "missing_array",
        "data_0004": "empty_file",
        "data_0005": "missing_image",
    }
    volumes = convert(adapter(root, pixels="oct"), root.parent / "volumes", ONE)
    found = {row["sample_id"]: row["reason"] for row in volumes.rejected.to_pylist()}
    assert found["data_0001"] == "missing_array"
    assert "data_0003" not in found


def test_another_datasets_table_is_refused(root):
    path = root / "ReadMe" / "data_summary.csv"
    table = pd.read_csv(path)
    table.drop(columns="glaucoma").to_csv(path, index=False)
    with pytest.raises(
        UserError, match=r"lacks the column 'glaucoma'.*harvard-glaucoma-fairness-3300-samples"
    ):
        adapter(root).manifest()


def test_an_unknown_kind_of_pixels_is_refused(root):
    with pytest.raises(UserError, match=r"'gf3300'\.pixels"):
        adapter(root, pixels="ilm")
