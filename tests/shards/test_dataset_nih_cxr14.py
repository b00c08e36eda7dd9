import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from replicas import nih_cxr14 as made
from replicas import replica
from replicas.grouping import count_groups

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.verify import verify

ONE = ConvertOptions(workers=1)
TABLE = "Data_Entry_2017_v2020.csv"
FINDINGS = [
    *(
        "atelectasis",
        "cardiomegaly",
        "effusion",
        "infiltration",
        "mass",
        "nodule",
        "pneumonia",
        "pneumothorax",
    ),
    *("consolidation", "edema", "emphysema", "fibrosis", "pleural_thickening", "hernia"),
]


@pytest.fixture
def raw(tmp_path):
    return replica("nih-cxr14")(tmp_path / "raw")["raw"]


def adapter(raw):
    return make_adapter("nih-cxr14", {"raw": raw})


def converted(raw, tmp_path, options=ONE):
    return convert(adapter(raw), tmp_path / "out", options)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def edit(raw, old, new, name=TABLE):
    path = raw / name
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())


def image(number, follow_up=0):
    return f"{number:08d}_{follow_up:03d}"


def test_every_label_of_an_image_is_a_finding_of_one_family(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    rows = by_id(dataset)
    assert len(rows) == 80
    assert dataset.rejected.num_rows == 0
    assert [t.name for t in dataset.card.targets if t.family == "findings"] == FINDINGS
    for number in made.PEOPLE:
        said = made.labels(number, 0)
        row = rows[image(number)]
        assert row["finding_labels"] == said
        assert row["no_finding"] == ("present" if said == "No Finding" else "absent")
        present = {name for name in FINDINGS if row[name] == "present"}
        assert present == {label.lower() for label in said.split("|")} - {"no finding"}
        assert {row[name] for name in FINDINGS} <= {"absent", "present"}
    assert verify(dataset, None) == ()


def test_columns_after_the_bracketed_headers_are_found_by_their_place(raw, tmp_path):
    row = by_id(converted(raw, tmp_path))[image(7)]
    assert (row["radiograph_width"], row["radiograph_height"]) == ("2507", "2048")
    assert (row["radiograph_spacing_x"], row["radiograph_spacing_y"]) == ("0.168", "0.171")
    assert (row["sex"], row["view"]) == ("male", "AP")


def test_quoted_headers_and_the_trailing_comma_of_2017_move_no_column(raw):
    expected = adapter(raw).manifest().drop(columns="_image")
    brackets = "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    edit(raw, brackets, '"OriginalImage[Width,Height]","OriginalImagePixelSpacing[x,y]"')
    assert adapter(raw).manifest().drop(columns="_image").equals(expected)
    edit(raw, '"OriginalImage[Width,Height]","OriginalImagePixelSpacing[x,y]"', brackets)
    edit(raw, "\r\n", ",\r\n")
    (raw / TABLE).rename(raw / "Data_Entry_2017.csv")
    assert adapter(raw).manifest().drop(columns="_image").equals(expected)


def test_ages_are_years_whatever_their_spelling_and_impossible_ones_are_unknown(raw, tmp_path):
    rows = by_id(converted(raw, tmp_path))
    assert {n: rows[image(n)]["age"] for n in (5, 14, 20, 9)} == {5: 58.0, 14: None, 20: 0.0, 9: 60.0}
    assert [rows[image(n)]["age_raw"] for n in (5, 14)] == ["058Y", "411"]


def test_age_sixty_is_old_for_the_papers_loaders_and_young_for_its_notebooks(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    ages = [age for age in dataset.index["age"].to_pylist() if age is not None]
    sixty = ages.count(60.0)
    assert sixty > 1
    young = sum(age < 60 for age in ages)
    assert count_groups(dataset, "fairmedfm", "age") == {
        "<60": young,
        "60+": len(ages) - young,
        "unknown": 1,
    }
    notebook = count_groups(dataset, "fairmedfm_notebook", "age")
    assert notebook == {"<=60": young + sixty, ">60": len(ages) - young - sixty, "unknown": 1}


def test_the_publishers_test_list_is_kept_and_val_is_carved_out_of_its_train_by_patient(raw, tmp_path):
    rows = by_id(converted(raw, tmp_path))
    listed = set((raw / "test_list.txt").read_text().split())
    assert {name for name, row in rows.items() if row["split"] == "test"} == {
        n.removesuffix(".png") for n in listed
    }
    splits = {}
    for row in rows.values():
        splits.setdefault(row["subject_id"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) == 60 < len(rows)
    for split in ("train", "val", "test"):
        mine = [row for row in rows.values() if row["split"] == split]
        assert {row["no_finding"] for row in mine} == {"absent", "present"}
        assert {row["sex"] for row in mine} == {"female", "male"}


def test_without_its_lists_splits_are_drawn_and_the_card_says_so(raw):
    told = "Converted without the publisher's split"
    given = "Test is the publisher's list"
    assert not any(note.startswith(told) for note in adapter(raw).card().notes)
    assert any(note.startswith(given) for note in adapter(raw).card().notes)
    (raw / "test_list.txt").unlink()
    assert "split" not in adapter(raw).manifest().columns
    assert any(note.startswith(told) for note in adapter(raw).card().notes)
    assert not any(note.startswith(given) for note in adapter(raw).card().notes)


def test_an_image_in_both_lists_is_refused(raw):
    with (raw / "test_list.txt").open("a") as file:
        file.write("00000001_000.png\n")
    with pytest.raises(UserError, match=r"1 images are in both of train_val_list\.txt and test_list\.txt"):
        adapter(raw).manifest()


def test_a_patient_in_both_parts_is_refused(raw, tmp_path):
    edit(raw, "00000003_001.png\n", "", "test_list.txt")
    with (raw / "train_val_list.txt").open("a") as file:
        file.write("00000003_001.png\n")
    with pytest.raises(
        UserError, match="1 subjects of 'nih-cxr14' are in more than one split: '3' in test and train"
    ):
        converted(raw, tmp_path)


def test_images_in_one_folder_or_in_numbered_ones_are_found(raw):
    numbered = adapter(raw).manifest()
    assert set(numbered["_source"]) >= {
        f"images_002/images/{image(1)}.png",
        f"images_001/images/{image(2)}.png",
    }
    (raw / "images").mkdir()
    for path in raw.glob("images_*/images/*.png"):
        path.rename(raw / "images" / path.name)
    for root in (raw, raw.parent):
        one = adapter(root).manifest()
        assert list(one["_image"]) == [str(raw / "images" / f"{name}.png") for name in one["sample_id"]]
        assert all(Path(path).is_file() for path in one["_image"])


def test_images_with_transparency_keep_their_grey_values(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    samples = {s.sample_id: s for shard in dataset.shards for s in dataset.read(shard.name, masks=False)}
    assert {sample.status for sample in samples.values()} == {"ok"}
    transparent = raw / "images_001" / "images" / f"{image(4)}.png"
    with Image.open(transparent) as file:
        assert file.mode == "RGBA"
        expected = np.asarray(file)[:, :, :3]
    assert np.array_equal(samples[image(4)].image, expected)


def test_renamed_columns_and_missing_tables_are_named_with_the_page(raw):
    edit(raw, "Patient Gender", "Sex")
    with pytest.raises(UserError, match=r"lacks the column 'Patient Gender'.*nihcc\.app\.box\.com"):
        adapter(raw).manifest()
    (raw / TABLE).unlink()
    with pytest.raises(UserError, match=r"has none of Data_Entry_2017_v2020\.csv.*nihcc\.app\.box\.com"):
        adapter(raw).manifest()


def test_codes_of_another_release_are_named(raw):
    edit(raw, ",M,", ",1,")
    with pytest.raises(
        UserError, match="column 'Patient Gender' has values that its coding does not know: '1'"
    ):
        adapter(raw).manifest()


def test_bad_rows_and_files_are_rejected_one_by_one(raw, tmp_path):
    edit(raw, f"{image(1)}.png,Cardiomegaly", f"{image(1)}.png,Cardiomegaly|Wart")
    edit(raw, f"{image(17)}.png,No Finding", f"{image(17)}.png,No Finding|Edema")
    edit(raw, f"{image(2)}.png,", f"{image(4)}.png,")
    places = {path.stem: path for path in raw.glob("images_*/images/*.png")}
    places[image(8)].unlink()
    places[image(10)].write_bytes(places[image(10)].read_bytes()[:-60])
    dataset = converted(raw, tmp_path, ConvertOptions(workers=1, max_rejected=0.5))
    found = sorted((row["sample_id"] or row["source"], row["reason"]) for row in dataset.rejected.to_pylist())
    assert found == sorted(
        [
            (image(1), "unknown_label"),
            (image(17), "unknown_label"),
            (image(4), "duplicate_id"),
            (image(4), "duplicate_id"),
            (f"images_001/images/{image(2)}.png", "not_listed"),
            (image(8), "missing_image"),
            (image(10), "decode_error"),
        ]
    )
    details = {row["sample_id"]: row["detail"] for row in dataset.rejected.to_pylist()}
    assert details[image(1)].startswith("'Finding Labels' has 'Wart'; expected No Finding, Atelectasis")
    assert details[image(17)] == "'Finding Labels' has No Finding together with Edema"


def test_images_without_labels_have_no_class(raw, tmp_path):
    edit(raw, f"{image(1)}.png,Cardiomegaly", f"{image(1)}.png,")
    row = by_id(converted(raw, tmp_path))[image(1)]
    assert {row[name] for name in ("no_finding", *FINDINGS)} == {None}


@pytest.mark.real
@pytest.mark.slow
def test_the_real_sample_is_converted_as_its_table_says(tmp_path):
    folder = Path(os.environ.get("FAIRRAY_REAL_DATA", "")) / "NIH"
    if not os.environ.get("FAIRRAY_REAL_DATA") or not folder.is_dir():
        pytest.skip("set FAIRRAY_REAL_DATA to the folder that holds NIH as its publisher lays it out")
    dataset = converted(folder, tmp_path, ConvertOptions(max_side=256))
    with (folder / TABLE).open(newline="") as file:
        table = list(csv.reader(file))[1:]
    rows = by_id(dataset)
    assert dataset.rejected.num_rows == 0
    assert set(rows) == {line[0].removesuffix(".png") for line in table}
    said = Counter(label for line in table for label in line[1].split("|"))
    for name in FINDINGS:
        present = sum(row[name] == "present" for row in rows.values())
        assert present == said[name.capitalize() if name != "pleural_thickening" else "Pleural_Thickening"]
    assert sum(row["no_finding"] == "present" for row in rows.values()) == said["No Finding"]
    assert {row["sample_id"]: row["age"] for row in rows.values()} == {
        line[0].removesuffix(".png"): float(line[4]) for line in table
    }
    assert Counter(row["sex"] for row in rows.values()) == Counter(
        {"M": "male", "F": "female"}[line[5]] for line in table
    )
    assert len({row["subject_id"] for row in rows.values()}) == len({line[3] for line in table})
    assert {row["radiograph_spacing_y"] for row in rows.values()} == {line[10] for line in table}
    samples = [sample for shard in dataset.shards for sample in dataset.read(shard.name, masks=False)]
    assert {sample.status for sample in samples} == {"ok"}
    assert all(sample.image.shape[:2] == (256, 256) and sample.image.std() > 10 for sample in samples)
    assert verify(dataset, None) == ()
