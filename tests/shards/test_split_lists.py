"""Published lists of splits: what they may look like, whom they reach, and what is refused."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from shards.convert import ConvertOptions, convert
from shards.errors import UserError
from shards.split_lists import read_split_list

#: Twelve people p0 to p11; person n has the pictures 2n and 2n + 1.
OF_PERSON = {f"p{n}": ("train" if n < 6 else "val" if n < 8 else "test") for n in range(12)}
OF_SAMPLE = {f"images/view-{n:02d}": OF_PERSON[f"p{n // 2}"] for n in range(24)}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def options(*files, **more):
    return ConvertOptions(workers=1, samples_per_shard=8, splits=read_split_list(files), **more)


def splits_of(dataset, by="sample_id"):
    table = dataset.index.select([by, "split"]).to_pylist()
    return {row[by]: row["split"] for row in table}


def as_lines(splits, between=","):
    return "".join(f"{name}{between}{split}\n" for name, split in splits.items())


FORMS = {
    "samples.csv": "sample_id,split\n" + as_lines(OF_SAMPLE),
    "no_heading.csv": as_lines(OF_SAMPLE),
    "subjects.tsv": "who\tpart\n" + as_lines(OF_PERSON, "\t"),
    "words.csv": as_lines(OF_PERSON).replace("val", "Validation").replace("test", "TEST"),
    "blanks.txt": as_lines(OF_SAMPLE, "   "),
    "paths.csv": "Path,split\n" + as_lines({f"old/place/{k[7:]}.jpg": v for k, v in OF_SAMPLE.items()}),
    "ends.csv": "Path,split\n" + as_lines({f"old/place/{k}.jpg": v for k, v in OF_SAMPLE.items()}),
    "wide.csv": "study,image,set\n"
    + "".join(f"s{n},{k},{v}\n" for n, (k, v) in enumerate(OF_SAMPLE.items())),
}


@pytest.mark.parametrize("name", FORMS)
def test_lists_of_samples_or_subjects_in_the_usual_forms_are_understood(name, many, tmp_path):
    listed = written(tmp_path / name, FORMS[name])
    assert splits_of(convert(many.adapter(), tmp_path / "out", options(listed))) == OF_SAMPLE


def test_a_file_of_one_name_in_two_folders_is_told_apart_by_its_path(raw, tmp_path):
    for number in range(12):
        raw.add(f"p{number // 2}/{('front', 'side')[number % 2]}")
    listed = {
        f"release/images/p{n}/{view}.jpg": ("train", "test")[n % 2]
        for n in range(6)
        for view in ("front", "side")
    }
    path = written(tmp_path / "list.csv", as_lines(listed))
    found = splits_of(convert(raw.adapter(), tmp_path / "out", options(path)), "subject_id")
    assert {name: split for name, split in found.items() if split == "test"} == dict.fromkeys(
        ["p1", "p3", "p5"], "test"
    )


def test_parquet_and_packed_lists_are_read_too(many, tmp_path):
    table = pd.DataFrame({"subject_id": OF_PERSON.keys(), "split": OF_PERSON.values()})
    table.to_parquet(tmp_path / "list.parquet")
    (tmp_path / "list.csv.gz").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    for name in ("list.parquet", "list.csv.gz"):
        assert (
            splits_of(convert(many.adapter(), tmp_path / f"{name}.out", options(tmp_path / name)))
            == OF_SAMPLE
        )


def test_one_file_of_ids_per_split(many, tmp_path):
    for split, name in (("train", "train.txt"), ("val", "valid_ids.txt"), ("test", "b.csv")):
        ids = [key for key, value in OF_SAMPLE.items() if value == split]
        written(tmp_path / name, "\n".join(["image_id", *ids]))
    files = (tmp_path / "train.txt", tmp_path / "valid_ids.txt", f"test={tmp_path / 'b.csv'}")
    assert splits_of(convert(many.adapter(), tmp_path / "out", options(*files))) == OF_SAMPLE


def test_a_missing_val_is_carved_out_of_the_listed_train(many, tmp_path):
    listed = written(tmp_path / "list.csv", as_lines(OF_PERSON).replace("val", "train"))
    found = splits_of(convert(many.adapter(), tmp_path / "out", options(listed)), "subject_id")
    assert {name for name, split in found.items() if split == "test"} == {"p8", "p9", "p10", "p11"}
    assert set(found.values()) == {"train", "val", "test"}


def test_people_who_are_not_listed_are_dealt_out_and_counted_as_are_unknown_ids(many, tmp_path):
    partly = {"images/view-00": "test", "images/view-02": "test", "images/view-99": "train", "x": "train"}
    listed = written(tmp_path / "list.csv", as_lines(partly))
    dataset = convert(many.adapter(), tmp_path / "out", options(listed))
    found = splits_of(dataset)
    assert all(
        found[f"images/view-{n:02d}"] == "test" for n in range(4)
    )  # the second pictures go with the first
    assert set(found.values()) == {"train", "val", "test"}
    note = dataset.card.notes[-1]
    assert note.startswith("Splits are those of list.csv (sha256 ")
    assert (
        "a list of samples: 2 train, 0 val, 2 test. 2 ids of the list are not in this data; 10 of 12 subjects"
        in note
    )


def test_the_list_takes_the_place_of_the_publishers_split_column(many, tmp_path):
    for row in many.rows:
        row["part"] = "train"
    listed = written(tmp_path / "list.csv", as_lines(OF_PERSON))
    dataset = convert(many.adapter(split="part"), tmp_path / "out", options(listed))
    assert splits_of(dataset) == OF_SAMPLE


def test_a_list_that_tears_a_subject_is_refused_and_the_subject_named(many, tmp_path):
    torn = {**OF_SAMPLE, "images/view-01": "test"}
    listed = written(tmp_path / "image_level.csv", as_lines(torn))
    with pytest.raises(UserError, match=r"1 subjects of 'mine' .* image_level\.csv: 'p0' in test and train"):
        convert(many.adapter(), tmp_path / "out", options(listed))


def test_an_id_in_two_splits_is_refused_and_one_listed_twice_alike_is_not(many, tmp_path):
    twice = written(tmp_path / "twice.csv", as_lines(OF_PERSON) + "p0,train\n")
    assert splits_of(convert(many.adapter(), tmp_path / "out", options(twice))) == OF_SAMPLE
    both = written(tmp_path / "both.csv", as_lines(OF_PERSON) + "p0,test\n")
    with pytest.raises(
        UserError, match=r"1 ids are in more than one split of both\.csv: 'p0' in test and train"
    ):
        convert(many.adapter(), tmp_path / "other", options(both))


def test_a_list_of_another_dataset_is_refused_with_examples_of_both(many, tmp_path):
    listed = written(tmp_path / "list.csv", "id,split\nisic_1,train\nisic_2,test\n")
    with pytest.raises(
        UserError, match=r"no id of .* In the list id: isic_1, isic_2; .* 'images/view-00' of subject 'p0'"
    ):
        convert(many.adapter(), tmp_path / "out", options(listed))


def test_the_lists_content_is_part_of_the_identity_and_its_place_is_not(many, tmp_path, files_of, describe):
    first = written(tmp_path / "list.csv", as_lines(OF_PERSON))
    (tmp_path / "elsewhere").mkdir()
    moved = written(tmp_path / "elsewhere" / "list.csv", as_lines(OF_PERSON))
    out = tmp_path / "out"
    convert(many.adapter(), out, options(first))
    before = files_of(out)
    convert(many.adapter(), out, options(moved))
    assert files_of(out) == before
    assert describe(out)["conversion"]["splits"] == read_split_list([first]).digest()
    changed = written(tmp_path / "changed.csv", as_lines({**OF_PERSON, "p0": "test"}))
    with pytest.raises(UserError, match="was converted with splits = "):
        convert(many.adapter(), out, options(changed))
    with pytest.raises(UserError, match=r"was converted with splits = .* now None is asked for"):
        convert(many.adapter(), out, ConvertOptions(workers=1, samples_per_shard=8))


def test_conversions_without_a_list_are_described_as_before(many, tmp_path, describe):
    convert(many.adapter(), tmp_path / "out", ConvertOptions(workers=1))
    assert set(describe(tmp_path / "out")["conversion"]) == {
        "max_side", "seed", "fractions", "stratify", "samples_per_shard",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("absent.csv", None, "does not exist"),
        ("list.json", "{}", r"must end in one of \.csv"),
        ("list.csv", "id,label\na,1\n", r"has no column of splits \(columns: id, label\)"),
        ("list.csv", "id,split\na,train\nb,holdout\n", "'split' has values that are no splits: holdout"),
        ("list.csv", "", "cannot be read as a table"),
        ("list.txt", "", "has no column of splits"),
        ("list.csv", "train\n", "holds no ids"),
        ("list.parquet", "train\n", "cannot be read as a table"),
    ],
)
def test_files_that_are_no_list_are_refused(name, text, said, tmp_path):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_split_list([path])


def test_files_whose_split_is_not_told_or_told_twice_are_refused(tmp_path):
    for name in ("train.txt", "train_val_list.txt", "more_train.txt", "ids.txt"):
        written(tmp_path / name, "a\n")
    for other in ("train_val_list.txt", "ids.txt"):
        with pytest.raises(UserError, match=rf"{other}: its name does not tell .* train="):
            read_split_list([tmp_path / "train.txt", tmp_path / other])
    with pytest.raises(UserError, match="second one of split 'train'"):
        read_split_list([tmp_path / "train.txt", tmp_path / "more_train.txt"])


def test_names_that_stand_for_files_of_several_people_are_refused(raw, tmp_path):
    for number in range(12):
        raw.add(f"{number}/image", person=f"p{number}")
        raw.add(f"{number}/own-{number}", person=f"p{number}")
    names = written(tmp_path / "names.csv", "file,split\nimage.png,train\nown-3.png,test\nown-4.png,val\n")
    with pytest.raises(
        UserError, match=r"1 ids of the splits in names\.csv stand for .* several subjects of 'mine'"
    ):
        convert(raw.adapter(), tmp_path / "out", options(names))
    names.write_text("file,split\nown-3.png,test\nown-4.png,val\n")
    splits = splits_of(convert(raw.adapter(), tmp_path / "out", options(names)), "subject_id")
    assert (splits["p3"], splits["p4"]) == ("test", "val")


def test_packed_lists_of_ids_are_read_and_damaged_ones_are_one_message(many, tmp_path):
    for split in ("train", "val", "test"):
        ids = "\n".join(name for name, found in OF_SAMPLE.items() if found == split)
        (tmp_path / f"{split}.txt.gz").write_bytes(gzip.compress(ids.encode()))
    files = [tmp_path / f"{split}.txt.gz" for split in ("train", "val", "test")]
    assert splits_of(convert(many.adapter(), tmp_path / "out", options(*files))) == OF_SAMPLE
    for name in ("cut.csv.gz", "cut.txt.gz"):
        (tmp_path / name).write_bytes(files[0].read_bytes()[:20])
        with pytest.raises(UserError, match=f"{name} cannot be read as a table"):
            read_split_list([tmp_path / name])
