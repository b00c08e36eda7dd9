import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shards.convert import ConvertOptions, convert
from shards.dataset import open_dataset
from shards.errors import UserError

ONE = ConvertOptions(workers=1, samples_per_shard=4)
LENIENT = ConvertOptions(workers=1, samples_per_shard=4, max_rejected=0.9)


def rejected(dataset):
    return {row["sample_id"]: row["reason"] for row in dataset.rejected.to_pylist()}


def test_every_sample_ends_in_the_index_once(many, tmp_path):
    dataset = convert(many.adapter(), tmp_path / "out", ONE)
    index = dataset.index.to_pylist()
    assert sorted(row["sample_id"] for row in index) == [f"images/view-{n:02d}" for n in range(24)]
    assert sum(shard.samples for shard in dataset.shards) == 24
    assert dataset.counts.samples == {"train": 14, "val": 6, "test": 4}
    by_id = {row["sample_id"]: row for row in index}
    assert by_id["images/view-03"]["subject_id"] == "p1"
    assert by_id["images/view-03"]["label"] == "no"
    assert by_id["images/view-02"]["sex"] is None
    assert by_id["images/view-02"]["age"] == 22.0
    assert all(re.fullmatch("[a-z0-9_-]+", row["key"]) for row in index)
    assert all((row["width"], row["height"], row["depth"]) == (16, 12, 1) for row in index)


def test_subjects_stay_together(many, tmp_path):
    dataset = convert(many.adapter(), tmp_path / "out", ONE)
    splits = {}
    for row in dataset.index.to_pylist():
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert set().union(*splits.values()) == {"train", "val", "test"}


def test_workers_do_not_change_a_byte(many, tmp_path, files_of):
    folders = []
    for workers in (1, 3):
        folders.append(tmp_path / f"workers-{workers}")
        convert(many.adapter(), folders[-1], ConvertOptions(workers=workers, samples_per_shard=4))
    assert files_of(folders[0]) == files_of(folders[1])
    assert sorted({name.split("/")[0] for name in files_of(folders[0])}) == [
        "dataset.json",
        "index.parquet",
        "rejected.parquet",
        "shards",
    ]


def test_converting_again_changes_nothing_and_reads_no_pixel(many, tmp_path, files_of):
    convert(many.adapter(), tmp_path / "out", ONE)
    before = files_of(tmp_path / "out")
    told = []
    convert(many.adapter(), tmp_path / "out", ONE, told.append)
    assert files_of(tmp_path / "out") == before
    assert told == []


def test_progress_ends_with_everything_done(many, tmp_path):
    told = []
    many.add("broken", data=b"")
    convert(many.adapter(), tmp_path / "out", ONE, told.append)
    last = told[-1]
    assert (last.samples_done, last.samples_total, last.rejected) == (25, 25, 1)
    assert last.shards_done == last.shards_total == len(told)


def test_splits_stay_when_samples_are_added_and_changed(many, tmp_path):
    first = convert(many.adapter(), tmp_path / "out", ONE)
    before = dict(zip(*(first.index[name].to_pylist() for name in ("subject_id", "split")), strict=True))
    for number in range(30):
        many.add(f"added-{number:02d}", person=f"p{number + 6}")
    many.add("view-00", np.zeros((12, 16), np.uint8))
    del many.rows[-1]
    second = convert(many.adapter(), tmp_path / "out", ONE)
    after = dict(zip(*(second.index[name].to_pylist() for name in ("subject_id", "split")), strict=True))
    assert {name: after[name] for name in before} == before
    assert second.index.num_rows == 54
    assert second.fingerprint != first.fingerprint
    samples = [sample for shard in second.shards for sample in second.read(shard.name, masks=False)]
    assert [sample.sample_id for sample in samples if not sample.image.any()] == ["images/view-00"]
    fresh = convert(many.adapter(), tmp_path / "fresh", ONE)
    assert {row["sample_id"]: row["image_sha256"] for row in fresh.index.to_pylist()} == {
        row["sample_id"]: row["image_sha256"] for row in second.index.to_pylist()
    }


def test_an_update_that_fails_leaves_the_dataset_as_it_was(many, tmp_path, files_of):
    convert(many.adapter(), tmp_path / "out", ONE)
    before = files_of(tmp_path / "out")
    for number in range(10):
        many.add(f"broken-{number}", data=b"")
    with pytest.raises(UserError, match="10 of 34 samples"):
        convert(many.adapter(), tmp_path / "out", ONE)
    after = files_of(tmp_path / "out")
    assert {name: data for name, data in after.items() if not name.startswith(".parts")} == before
    assert open_dataset(tmp_path / "out").index.num_rows == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw.adapter(dataset="yours"), "holds the dataset 'mine', not 'yours'"),
        (lambda raw: [raw.rows.pop(), raw.adapter()][1], "is not listed any more"),
        (lambda raw: [raw.rows[0].update(person="p9"), raw.adapter()][1], "is now of subject 'p9'"),
    ],
)
def test_what_would_destroy_a_dataset_is_refused(many, tmp_path, files_of, change, message):
    convert(many.adapter(), tmp_path / "out", ONE)
    before = files_of(tmp_path / "out")
    with pytest.raises(UserError, match=message):
        convert(change(many), tmp_path / "out", ONE)
    assert files_of(tmp_path / "out") == before


def test_other_options_for_the_same_folder_are_refused(many, tmp_path):
    convert(many.adapter(), tmp_path / "out", ONE)
    with pytest.raises(UserError, match="was converted with max_side = None, now 8"):
        convert(many.adapter(), tmp_path / "out", ConvertOptions(max_side=8, samples_per_shard=4))


def test_a_folder_with_other_things_in_it_is_refused(many, tmp_path):
    with pytest.raises(UserError, match=r"is not empty and holds no dataset \(found images, table.csv\)"):
        convert(many.adapter(), many.folder, ONE)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        convert(many.adapter(), file, ONE)


def test_a_deleted_shard_is_made_again_with_the_same_bytes(many, tmp_path, files_of):
    dataset = convert(many.adapter(), tmp_path / "out", ONE)
    before = files_of(tmp_path / "out")
    (tmp_path / "out" / "shards" / dataset.shards[1].name).unlink()
    convert(many.adapter(), tmp_path / "out", ONE)
    assert files_of(tmp_path / "out") == before


def test_bad_images_are_rejected_with_their_reasons_and_nothing_else_is_lost(many, tmp_path):
    many.add("empty", data=b"")
    many.add("text", data=b"this is no image")
    many.add("cut", data=(many.folder / "images/view-00.png").read_bytes()[:200])
    many.add("gone").unlink()
    many.add("deep", (np.arange(192, dtype=np.uint16) * 9).reshape(12, 16))
    dataset = convert(many.adapter(), tmp_path / "out", LENIENT)
    assert rejected(dataset) == {
        "images/empty": "empty_file",
        "images/text": "decode_error",
        "images/cut": "decode_error",
        "images/gone": "missing_image",
        "images/deep": "window_missing",
    }
    assert dataset.index.num_rows == 24
    assert dataset.counts.rejected == {
        "decode_error": 2,
        "empty_file": 1,
        "missing_image": 1,
        "window_missing": 1,
    }
    row = dataset.rejected.to_pylist()[0]
    assert row["split"] in {"train", "val", "test"}
    assert {"sex", "age", "label", "source", "detail"} <= set(row)


def test_all_rows_of_a_duplicated_id_are_rejected(many, tmp_path):
    many.rows[5] = {**many.rows[5], "image": many.rows[4]["image"], "person": "p2"}
    dataset = convert(many.adapter(), tmp_path / "out", LENIENT)
    assert rejected(dataset) == {"images/view-04": "duplicate_id"}
    assert dataset.rejected.num_rows == 2
    assert dataset.index.num_rows == 22


def test_dotted_ids_stay_apart(many, tmp_path):
    for number, row in enumerate(many.rows):
        row["uid"] = f"1.2.840.{number}"
    dataset = convert(many.adapter(sample_id="uid"), tmp_path / "out", ONE)
    assert len(set(dataset.index["key"].to_pylist())) == 24
    assert not any("." in key for key in dataset.index["key"].to_pylist())
    assert set(dataset.index["sample_id"].to_pylist()) == {f"1.2.840.{number}" for number in range(24)}


def test_missing_ids_and_unknown_labels_are_rejected(many, tmp_path):
    for number, row in enumerate(many.rows):
        row["uid"] = f"u{number}"
    many.rows[0]["uid"] = ""
    many.rows[1]["label"] = "perhaps"
    many.rows[2]["label"] = "unknown"
    targets = {"label": {"classes": ["no", "yes"]}}
    dataset = convert(many.adapter(sample_id="uid", targets=targets), tmp_path / "out", LENIENT)
    assert rejected(dataset) == {None: "missing_id", "u1": "unknown_label"}
    assert "'perhaps'; expected one of no, yes" in dataset.rejected.to_pylist()[1]["detail"]
    assert next(row for row in dataset.index.to_pylist() if row["sample_id"] == "u2")["label"] is None


def test_a_subject_in_two_splits_is_refused_by_name(many, tmp_path):
    for number, row in enumerate(many.rows):
        row["part"] = "test" if number in (3, 8, 9) else "train"
    with pytest.raises(
        UserError, match="1 subjects of 'mine' are in more than one split: 'p1' in test and train"
    ):
        convert(many.adapter(split="part"), tmp_path / "out", ONE)


def test_a_sample_without_subject_is_refused_by_name(many, tmp_path):
    many.rows[7]["person"] = ""
    with pytest.raises(
        UserError, match=r"1 samples of 'mine' have no subject_id, the first \['images/view-07'\]"
    ):
        convert(many.adapter(), tmp_path / "out", ONE)


def test_publishers_splits_are_kept_and_val_is_carved(many, tmp_path):
    for number, row in enumerate(many.rows):
        row["part"] = "testing" if number < 8 else "Training"
    dataset = convert(many.adapter(split="part"), tmp_path / "out", ONE)
    assert dataset.counts.subjects == {"test": 4, "train": 6, "val": 2}
    tested = {row["subject_id"] for row in dataset.index.to_pylist() if row["split"] == "test"}
    assert tested == {"p0", "p1", "p2", "p3"}


def test_a_split_of_another_name_is_refused(many, tmp_path):
    for row in many.rows:
        row["part"] = "fold-1"
    with pytest.raises(UserError, match="must be one of train, val, test; got 'fold-1'"):
        convert(many.adapter(split="part"), tmp_path / "out", ONE)


def test_too_many_rejections_fail_but_are_written_down_and_mending_continues(many, tmp_path):
    for number in range(3):
        many.add(f"broken-{number}", data=b"")
    with pytest.raises(
        UserError, match=r"3 of 27 samples.*5.0% allowed.*3 empty_file.*images/broken-0: empty_file"
    ):
        convert(many.adapter(), tmp_path / "out", ONE)
    assert pq.read_table(tmp_path / "out" / "rejected.parquet").num_rows == 3
    with pytest.raises(UserError, match="not finished"):
        open_dataset(tmp_path / "out")
    for number in range(3):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(many.folder / f"images/broken-{number}.png")
    told = []
    dataset = convert(many.adapter(), tmp_path / "out", ONE, told.append)
    assert dataset.index.num_rows == 27
    assert 0 < told[-1].samples_reused < 27


def test_a_shard_of_which_nothing_is_readable_is_left_out(many, tmp_path):
    for row in many.rows[:8]:
        row["part"] = "test"
    for row in many.rows[8:]:
        row["part"] = "train"
    for row in many.rows[:4]:
        (many.folder / row["image"]).write_bytes(b"")
    dataset = convert(many.adapter(split="part"), tmp_path / "out", LENIENT)
    assert [shard.name for shard in dataset.shards if shard.split == "test"] == ["test-000001.tar"]
    assert sum(1 for shard in dataset.shards for _ in dataset.read(shard.name, masks=False)) == 20


def test_an_attribute_that_is_all_unknown_is_kept_and_noted(many, tmp_path):
    for row in many.rows:
        row["race"] = "unknown"
    attributes = {"race": {}, "weight": {"kind": "number"}}
    for row in many.rows:
        row["weight"] = ""
    dataset = convert(many.adapter(attributes=attributes), tmp_path / "out", ONE)
    assert dataset.index["race"].null_count == dataset.index["weight"].null_count == 24
    assert dataset.index.schema.field("weight").type == pa.float64()
    assert dataset.notes == (
        "attribute 'race' is unknown for all samples",
        "attribute 'weight' is unknown for all samples",
    )


@pytest.mark.parametrize("name", ["split", "width", "image_sha256", "_hidden"])
def test_columns_that_clash_with_the_index_are_refused(many, tmp_path, name):
    for row in many.rows:
        row[name] = "a"
    with pytest.raises(UserError, match=f"column '{name}' of 'mine' has a meaning of its own"):
        convert(many.adapter(attributes=[name]), tmp_path / "out", ONE)


def test_a_column_used_twice_is_refused(many, tmp_path):
    with pytest.raises(UserError, match="'label'"):
        convert(many.adapter(attributes=["label"]), tmp_path / "out", ONE)


def test_max_side_shrinks_image_mask_and_spacing_together(raw, tmp_path):
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 40:] = 7
    for number in range(6):
        raw.add(f"{number}", np.zeros((40, 80), np.uint8), mask=mask, mm="0.5")
    adapter = raw.adapter(mask="mask", structures={"half": 7}, spacing_mm="mm")
    dataset = convert(adapter, tmp_path / "out", ConvertOptions(workers=1, max_side=20))
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=True)]
    assert {sample.image.shape for sample in samples} == {(10, 20, 3)}
    assert all(np.array_equal(np.unique(sample.mask), [0, 7]) for sample in samples)
    assert all((sample.mask == 7).mean() == 0.5 for sample in samples)
    assert {sample.spacing_mm for sample in samples} == {(2.0, 2.0)}


def test_16_bit_images_are_stored_whole_and_shown_through_the_window(raw, tmp_path):
    values = np.array([[0, 500, 1000, 1500, 60000]] * 5, np.uint16)
    for number in range(6):
        raw.add(f"{number}", values)
    dataset = convert(raw.adapter(window=[500, 1500]), tmp_path / "out", ONE)
    shard = dataset.shards[0]
    sample = next(iter(dataset.read(shard.name, masks=False)))
    assert sample.image[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    row = dataset.index.to_pylist()[0]
    with (dataset.path / "shards" / row["shard"]).open("rb") as file:
        file.seek(row["image_offset"])
        stored = Image.open(io.BytesIO(file.read(row["image_size"])))
    assert np.array_equal(np.asarray(stored), values)


def test_jpeg_pixels_are_stored_as_they_were_published(raw, tmp_path):
    for number in range(6):
        raw.add(f"{number}", suffix=".jpg")
    dataset = convert(raw.adapter(), tmp_path / "out", ONE)
    assert set(dataset.index["image_name"].to_pylist()) == {"image.jpg"}
    for shard in dataset.shards:
        for sample in dataset.read(shard.name, masks=False):
            published = Image.open(raw.folder / f"{sample.sample_id}.jpg")
            assert np.array_equal(sample.image, np.asarray(published))


def test_members_hold_the_row_and_no_place_of_the_raw_data(many, tmp_path, files_of, describe):
    convert(many.adapter(), tmp_path / "out", ONE)
    assert all(str(tmp_path).encode() not in data for data in files_of(tmp_path / "out").values())
    assert describe(tmp_path / "out")["adapter"]["options"]["table"] == "table.csv"
    row = open_dataset(tmp_path / "out").index.to_pylist()[0]
    with (tmp_path / "out" / "shards" / row["shard"]).open("rb") as file:
        file.seek(row["json_offset"])
        stored = json.loads(file.read(row["json_size"]))
    assert {name: row[name] for name in stored} == stored


def test_two_conversions_into_one_folder_do_not_meet(many, tmp_path):
    adapter = many.adapter()
    caught = []

    def second(_):
        with pytest.raises(UserError, match="another process is converting"):
            convert(adapter, tmp_path / "out", ONE)
        caught.append(True)

    convert(adapter, tmp_path / "out", ONE, second)
    assert caught


@pytest.mark.parametrize(
    "options",
    [
        {"fractions": (0.5, 0.2, 0.2)},
        {"fractions": (1.2, -0.1, -0.1)},
        {"max_side": 0},
        {"workers": 0},
        {"samples_per_shard": 0},
        {"max_rejected": 1.5},
    ],
)
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(UserError, match=f"{next(iter(options))} must be"):
        ConvertOptions(**options)


def test_stratify_names_a_target(many, tmp_path):
    with pytest.raises(UserError, match="stratify must be a target of 'mine', got 'sex'"):
        convert(many.adapter(), tmp_path / "out", ConvertOptions(stratify="sex"))


def test_an_empty_table_is_refused(raw, tmp_path):
    raw.add("one")
    adapter = raw.adapter(targets={"label": {"classes": ["no", "yes"]}})
    (raw.folder / "table.csv").write_text("image,person,label,sex,age\n")
    with pytest.raises(UserError, match="has no rows"):
        convert(adapter, tmp_path / "out", ONE)
