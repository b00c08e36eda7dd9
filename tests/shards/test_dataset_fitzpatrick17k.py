"""Fitzpatrick17k: both annotators, unknown skin types that stay, rows without a photo, MEDFAIR's groups."""

import pandas as pd
import pytest
from replicas import replica
from replicas.fitzpatrick17k import CONDITIONS, PHOTOS, QC, TWINS, WITHOUT_ADDRESS, centaur, md5, scale
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets.fitzpatrick17k import CONDITIONS as CLASSES
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)
ROMAN = {-1: None, 1: "I", 2: "II", 3: "III", 4: "IV", 5: "V", 6: "VI"}
KNOWN = [photo for photo in range(PHOTOS) if photo != WITHOUT_ADDRESS]


@pytest.fixture
def raw(tmp_path):
    replica("fitzpatrick17k")(tmp_path / "fitzpatrick17k")
    return tmp_path / "fitzpatrick17k"


def adapter(root):
    return make_adapter("fitzpatrick17k", {"raw": root})


def converted(root, out="out"):
    return convert(adapter(root), root.parent / out, ONE)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(root, change):
    path = root / "fitzpatrick17k.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def with_cell(row, column, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


def test_labels_of_all_four_finenesses_and_both_annotators(raw):
    rows = by_id(converted(raw))
    assert set(rows) == {md5(photo) for photo in KNOWN}
    for photo in KNOWN:
        row, (condition, nine, three) = rows[md5(photo)], CONDITIONS[photo // 6 % 6]
        assert (row["condition"], row["nine_partition"], row["three_partition"]) == (condition, nine, three)
        assert row["malignant"] == ("malignant" if three == "malignant" else "not malignant")
        assert row["skin_type"] == ROMAN[scale(photo)]
        assert row["skin_type_centaur"] == ROMAN[centaur(photo)]
        assert row["qc"] == QC.get(photo)
    assert any(row["skin_type"] != row["skin_type_centaur"] for row in rows.values())


def test_photos_of_unknown_skin_type_stay_and_are_a_group_of_their_own(raw):
    dataset = converted(raw)
    known = [scale(photo) for photo in KNOWN]
    assert known.count(-1) == 3
    assert count_groups(dataset, "medfair", "skin_type") == {
        "I-III": sum(1 <= kind <= 3 for kind in known),
        "IV-VI": sum(kind >= 4 for kind in known),
        "unknown": 3,
    }
    other = [centaur(photo) for photo in KNOWN]
    assert count_groups(dataset, "medfair", "skin_type_centaur")["IV-VI"] == sum(kind >= 4 for kind in other)


def test_a_row_without_a_photo_is_counted_and_named(raw):
    dataset = converted(raw)
    assert [(row["sample_id"], row["reason"]) for row in dataset.rejected.to_pylist()] == [
        (md5(WITHOUT_ADDRESS), "missing_image")
    ]


def test_wrongly_labelled_photos_are_marked_not_dropped(raw):
    dataset = converted(raw)
    assert by_id(dataset)[md5(9)]["qc"] == "3 Wrongly labelled"
    notes = " ".join(dataset.card.notes)
    assert "Wrongly labelled" in notes
    assert "near duplicates" in notes
    assert dataset.card.subject == "image"


def test_the_same_photo_under_two_names_can_be_found_by_its_hash(raw):
    rows = by_id(converted(raw))
    one, other = (rows[md5(photo)] for photo in TWINS)
    assert one["phash"] == other["phash"]
    assert one["pixels_sha256"] != other["pixels_sha256"]


def test_there_are_114_conditions():
    assert len(set(CLASSES)) == len(CLASSES) == 114
    assert list(CLASSES) == sorted(CLASSES)
    assert {condition for condition, _, _ in CONDITIONS} <= set(CLASSES)


@pytest.mark.parametrize("images", ["data/finalfitz17k", "finalfitz17k"])
def test_images_are_found_in_the_folders_that_people_use(tmp_path, images):
    replica("fitzpatrick17k")(tmp_path / "raw", images=images)
    rows = adapter(tmp_path / "raw").manifest()
    assert len(rows) == PHOTOS
    assert rows["_source"].str.startswith(images).all()


def test_what_is_wrong_with_one_row_costs_that_row(raw):
    edit(raw, with_cell(0, "label", "sunburn"))
    edit(raw, with_cell(1, "three_partition_label", "dunno"))
    edit(raw, with_cell(2, "md5hash", md5(3)))
    (raw / "images" / f"{md5(5)}.jpg").write_bytes(b"<html>gone</html>")
    (raw / "images" / f"{md5(6)}.jpg").unlink()
    dataset = converted(raw)
    found = sorted((row["sample_id"] or row["source"], row["reason"]) for row in dataset.rejected.to_pylist())
    assert found == sorted(
        [
            (md5(0), "unknown_label"),
            (md5(1), "unknown_label"),
            (md5(3), "duplicate_id"),
            (md5(3), "duplicate_id"),
            (f"images/{md5(2)}.jpg", "not_listed"),
            (md5(5), "decode_error"),
            (md5(6), "missing_image"),
            (md5(WITHOUT_ADDRESS), "missing_image"),
        ]
    )


def test_other_releases_and_missing_folders_are_told(raw):
    edit(raw, with_cell(0, "fitzpatrick_scale", "0"))
    with pytest.raises(UserError, match=r"column 'fitzpatrick_scale' has values.*'0'; expected 1, 2, 3"):
        adapter(raw).manifest()
    edit(raw, with_cell(0, "fitzpatrick_scale", "1"))
    edit(raw, lambda table: table.rename(columns={"fitzpatrick_scale": "fitzpatrick"}))
    with pytest.raises(UserError, match=r"lacks the column 'fitzpatrick_scale'.*found md5hash, fitzpatrick,"):
        adapter(raw).manifest()
    edit(raw, lambda table: table.rename(columns={"fitzpatrick": "fitzpatrick_scale"}))
    (raw / "images").rename(raw / "pictures")
    with pytest.raises(UserError, match=r"lacks images or data/finalfitz17k.*mattgroh/fitzpatrick17k"):
        adapter(raw).manifest()
