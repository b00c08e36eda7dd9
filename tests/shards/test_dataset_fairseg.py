import numpy as np
import pandas as pd
import pytest
from replicas import _harvard as harvard
from replicas import replica
from replicas.fairseg import SHAPE, outlines
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)
PEOPLE = range(1, harvard.PEOPLE + 1)


@pytest.fixture
def raw(tmp_path):
    """Make a release's folder."""

    def make(release="documented"):
        replica("fairseg")(tmp_path / release, release=release)
        return tmp_path / release

    return make


def adapter(root, **options):
    return make_adapter("fairseg", {"raw": root, **options})


def converted(root, out="out", options=ONE, **chosen):
    return convert(adapter(root, **chosen), root.parent / out, options)


def rows_of(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def samples(dataset):
    read = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=True)]
    assert {sample.status for sample in read} == {"ok"}
    return {sample.sample_id: sample for sample in read}


def name_of(number, release):
    return f"data_{number:0{5 if release == 'documented' else 6}d}"


def rejected(dataset):
    return {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("documented", "slo_fundus and disc_cup_mask (documented)"),
        ("code", "fundus_slo and disc_cup (FairSeg code)"),
        ("script", "fundus and disc_cup_borders (FairMedFM script)"),
    ],
)
def test_every_release_gives_the_same_images_and_outlines(raw, release, said):
    dataset = converted(raw(release))
    read = samples(dataset)
    assert len(read) == harvard.PEOPLE
    assert dataset.rejected.num_rows == 0
    for number in PEOPLE:
        sample = read[name_of(number, release)]
        ill = number % 4 > 1
        assert np.array_equal(sample.image[:, :, 0], harvard.eye(number, SHAPE, ill=ill))
        assert np.array_equal(sample.mask, -outlines(number))
        assert set(np.unique(sample.mask)) == {0, 1, 2}
    assert any(said in note for note in dataset.card.notes)


def test_the_disc_is_rim_and_cup_together(raw):
    card = adapter(raw()).card()
    values = {structure.name: structure.values for structure in card.structures}
    assert values == {"rim": (1,), "cup": (2,), "disc": (1, 2)}
    assert card.task == "segmentation"


@pytest.mark.parametrize("release", ["documented", "code"])
def test_words_codes_and_days_are_the_same_people(raw, release):
    dataset = converted(raw(release))
    rows = rows_of(dataset)
    for number in PEOPLE:
        row, coded = rows[name_of(number, release)], harvard.codes(number)
        assert row["sex"] == ("female", "male")[coded["gender"]]
        assert row["race"] == ("asian", "black", "white")[coded["race"]]
        assert row["ethnicity"] == ("non-hispanic", "hispanic", None)[coded["ethnicity"]]
        assert row["language"] == ("english", "spanish", "other", None)[coded["language"]]
        assert (
            row["marital_status"]
            == (*("married or partnered", "single", "divorced", "widowed", "legally separated", None),)[
                coded["maritalstatus"]
            ]
        )
        assert row["age"] == pytest.approx(harvard.age(number), abs=0.002)
        assert 0 <= row["age"] <= 110
    unit = {"documented": "are in years", "code": "are in days, turned into years"}[release]
    assert any(unit in note for note in dataset.card.notes)


def test_a_release_of_pixels_only_has_unknown_people_and_says_so(raw):
    dataset = converted(raw("script"))
    assert all(row["sex"] is None and row["age"] is None for row in rows_of(dataset).values())
    assert "This release has no ages." in dataset.card.notes
    assert any("'sex' is unknown for all samples" in note for note in dataset.notes)


@pytest.mark.parametrize("release", ["documented", "code"])
def test_the_papers_groups_have_the_papers_sizes(raw, release):
    dataset = converted(raw(release))
    old = sum(harvard.age(number) >= 60 for number in PEOPLE)
    assert count_groups(dataset, "fairseg", "age") == {"60+": old, "<60": 36 - old}
    coded = [harvard.codes(number) for number in PEOPLE]
    languages = [sum(facts["language"] == code for facts in coded) for code in (0, 1, 2, -1)]
    expected = dict(zip(("english", "spanish", "other", "unknown"), languages, strict=True))
    assert count_groups(dataset, "fairseg", "language") == expected
    women = sum(facts["gender"] == 0 for facts in coded)
    assert count_groups(dataset, "fairseg", "sex") == {"female": women, "male": 36 - women}
    hispanic, unasked = (sum(facts["ethnicity"] == code for facts in coded) for code in (1, -1))
    assert count_groups(dataset, "fairseg", "ethnicity") == {
        "non-hispanic": 36 - hispanic - unasked,
        "hispanic": hispanic,
        "unknown": unasked,
    }
    married = sum(facts["maritalstatus"] == 0 for facts in coded)
    unknown = sum(facts["maritalstatus"] == -1 for facts in coded)
    assert count_groups(dataset, "fairseg", "marital_status") == {
        "married or partnered": married,
        "not married": 36 - married - unknown,
        "unknown": unknown,
    }


def test_test_is_the_list_and_val_comes_out_of_train(raw):
    root = raw("code")
    listed = {
        line.removesuffix(".npz") for line in (root / "lists/FairSeg_final/test.txt").read_text().split()
    }
    splits = {name: row["split"] for name, row in rows_of(converted(root)).items()}
    assert {name for name, split in splits.items() if split == "test"} == listed
    assert {split: list(splits.values()).count(split) for split in ("train", "val")} == {
        "train": 22,
        "val": 7,
    }
    again = {name: row["split"] for name, row in rows_of(converted(root, "again")).items()}
    assert again == splits
    options = ConvertOptions(workers=1, seed=1)
    other = {name: row["split"] for name, row in rows_of(converted(root, "other", options)).items()}
    assert other != splits
    assert {name for name, split in other.items() if split == "test"} == listed


def test_lists_of_another_folder_and_other_digits_are_matched_by_number(raw):
    root, lists = raw("documented"), raw("code") / "lists" / "FairSeg_final"
    splits = {name: row["split"] for name, row in rows_of(converted(root, lists=lists)).items()}
    assert {name for name, split in splits.items() if split == "test"} == {
        f"data_{number:05d}" for number in range(5, 36, 5)
    }


def test_without_lists_column_use_is_the_split_where_there_is_one(raw):
    root = raw()
    path = root / "ReadMe" / "data_summary.csv"
    table = pd.read_csv(path)
    table.assign(use=[harvard.use(number) for number in PEOPLE]).to_csv(path, index=False)
    splits = [row["split"] for _, row in sorted(rows_of(converted(root)).items())]
    assert splits == ["train"] * 18 + ["val"] * 6 + ["test"] * 12


def test_images_that_a_list_forgets_are_counted_and_contradicting_lists_refused(raw):
    root = raw("code")
    lists = root / "lists" / "FairSeg_final"
    names = lists.joinpath("train.txt").read_text().split()
    lists.joinpath("train.txt").write_text("\n".join(names[1:]))
    assert rejected(converted(root)) == {names[0].removesuffix(".npz"): "not_listed"}
    with lists.joinpath("test.txt").open("a") as file:
        file.write(names[1])
    with pytest.raises(UserError, match=r"is in train.txt and in test.txt"):
        adapter(root).manifest()
    lists.joinpath("test.txt").unlink()
    with pytest.raises(UserError, match=r"lacks test.txt.*harvard-fairseg10k"):
        adapter(root).manifest()
    with pytest.raises(
        UserError, match=r"lists must be the folder with train.txt and test.txt, got .*nowhere"
    ):
        adapter(root, lists=root / "nowhere").manifest()


def save(root, number, **arrays):
    image = {"slo_fundus": np.zeros(SHAPE, np.uint8), "disc_cup_mask": outlines(number)}
    np.savez(root / f"data_{number:05d}.npz", **{**image, **arrays})


def test_masks_that_are_not_the_publishers_cost_their_sample(raw):
    root = raw()
    save(root, 1, disc_cup_mask=outlines(1).astype(np.uint8))  # -1 and -2 became 255 and 254
    save(root, 2, disc_cup_mask=np.where(outlines(2) < 0, 0.5, 0.0))
    save(root, 3, disc_cup_mask=outlines(3)[:, :-9])
    save(root, 4, disc_cup_mask=np.stack([outlines(4)] * 2))
    save(root, 5, disc_cup_mask=np.array(["a"], dtype=object))
    np.savez(root / "data_00006.npz", slo_fundus=np.zeros(SHAPE, np.uint8))
    (root / "data_00007.npz").write_bytes((root / "data_00007.npz").read_bytes()[:400])
    (root / "data_00008.npz").unlink()
    dataset = converted(root)
    assert rejected(dataset) == {
        "data_00001": "mask_values",
        "data_00002": "mask_values",
        "data_00003": "mask_shape_mismatch",
        "data_00004": "mask_shape_mismatch",
        "data_00005": "pickled_array",
        "data_00006": "missing_array",
        "data_00007": "decode_error",
        "data_00008": "missing_image",
    }
    details = {row["sample_id"]: row["detail"] for row in dataset.rejected.to_pylist()}
    assert "the values 254, 255; expected -2, -1, 0" in details["data_00001"]
    assert "fundus_slo and disc_cup" in details["data_00006"]
    assert "has slo_fundus;" in details["data_00006"]


def test_a_mask_of_half_the_size_is_brought_to_its_image(raw):
    root = raw()
    save(root, 1, disc_cup_mask=outlines(1)[::2, ::2])
    dataset = converted(root)
    assert dataset.counts.masks_resized == 1
    assert rows_of(dataset)["data_00001"]["mask_resized"]
    assert samples(dataset)["data_00001"].mask.shape == SHAPE


def test_an_archive_whose_codes_cannot_be_read_costs_its_sample(raw):
    root = raw("code")
    damaged = root / "data_000001.npz"
    damaged.write_bytes(damaged.read_bytes()[:400])
    np.savez(root / "data_000002.npz", age=np.array("x", dtype=object), race=7)
    dataset = converted(root)
    assert rejected(dataset) == {"data_000001": "decode_error", "data_000002": "pickled_array"}
    assert dataset.index.num_rows == 34


def test_a_file_that_the_table_does_not_name_is_counted(raw):
    root = raw()
    save(root, 99)
    strays = converted(root).rejected.to_pylist()
    assert [(row["source"], row["reason"]) for row in strays] == [("data_00099.npz", "not_listed")]


def test_the_folder_above_is_accepted_and_loses_neither_table_nor_lists(raw):
    for release in ("documented", "code"):
        root = raw(release)
        above = root.parent / f"above-{release}"
        above.mkdir()
        expected = adapter(root).manifest().drop(columns="_image")
        root.rename(above / "FairSeg")
        assert adapter(above).manifest().drop(columns="_image").equals(expected)
        assert adapter(above).card().notes == adapter(above / "FairSeg").card().notes


def test_archives_in_folders_of_parts_are_found(raw):
    root = raw()
    for folder in ("All", "Training"):
        (root / folder).mkdir()
    (root / "data_00001.npz").rename(root / "All" / "data_00001.npz")
    (root / "data_00002.npz").rename(root / "Training" / "data_00002.npz")
    dataset = converted(root)
    assert dataset.rejected.num_rows == 0
    assert rows_of(dataset)["data_00001"]["source"] == "All/data_00001.npz"
    assert rows_of(dataset)["data_00002"]["source"] == "Training/data_00002.npz"


def test_a_wrong_table_and_an_empty_folder_are_told(raw, tmp_path):
    root = raw()
    path = root / "ReadMe" / "data_summary.csv"
    table = pd.read_csv(path)
    table.rename(columns={"gender": "sex"}).to_csv(path, index=False)
    with pytest.raises(UserError, match=r"lacks the column 'gender'.*found filename, age, sex"):
        adapter(root).manifest()
    mixed = table["age"].astype(str)
    mixed[0] = "21900"
    table.assign(age=mixed).to_csv(path, index=False)
    with pytest.raises(UserError, match="mixes years and days: 35 values up to 120, 1 above 365"):
        adapter(root).card()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has none of data_\*.npz.*harvard-fairseg10k"):
        adapter(tmp_path / "empty").manifest()
