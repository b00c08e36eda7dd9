"""What a conversion would do is what it does, and nothing is written to find it out."""

import numpy as np
import pytest
from own_files import CT, Own

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.preview import preview

ONE = ConvertOptions(workers=1)


def counts_of(dataset, name):
    rows = dataset.index.to_pylist()
    found = {}
    for row in rows:
        by_split = found.setdefault(row[name] or "", dict.fromkeys(("train", "val", "test"), 0))
        by_split[row["split"]] += 1
    return found


def test_preview_tells_what_the_conversion_makes(many, tmp_path, files_of):
    for row in many.rows[:6:3]:
        row["label"] = ""
    before = files_of(tmp_path)
    adapter = many.adapter()
    before = files_of(tmp_path)  # with the table
    found = preview(adapter, ONE)
    assert files_of(tmp_path) == before
    dataset = convert(adapter, tmp_path / "out", ONE)
    assert found.samples == dict(dataset.counts.samples)
    assert found.subjects == dict(dataset.counts.subjects)
    shown = {label: counts for label, counts in found.classes["label"].items() if any(counts.values())}
    assert shown == counts_of(dataset, "label")
    assert sum(found.classes["label"][""].values()) == 2
    assert found.card == dataset.card
    assert (found.rejected, found.opened.rejected, found.problems) == ({}, {}, ())
    true = sum(shard.bytes for shard in dataset.shards)
    assert 0.7 * true < found.estimated_bytes < 1.3 * true


def test_attributes_are_summed_up_with_their_unknown_values(many):
    for row in many.rows[:5]:
        row["age"] = ""
    sex, age = preview(many.adapter(), ONE, check=0).attributes
    assert (sex.kind, sex.unknown, sex.samples) == ("category", 8, 24)
    assert sex.values == "female: 8, male: 8"
    assert (age.kind, age.unknown) == ("number", 5)
    assert age.values == "25 to 43, median 34"


def test_as_many_images_are_opened_as_asked_for_from_first_to_last(many):
    opened = []

    def count(done, total):
        opened.append((done, total))

    found = preview(many.adapter(), ONE, check=5, progress=count)
    assert opened == [(place, 5) for place in range(1, 6)]
    assert found.opened.samples == 5
    assert found.opened.sizes == {"16x12": 5}
    assert found.opened.kinds == {"8-bit RGB": 5}
    assert preview(many.adapter(), ONE, check=1000).opened.samples == 24
    nothing = preview(many.adapter(), ONE, check=0)
    assert nothing.opened.samples == 0
    assert nothing.estimated_bytes is None


def test_what_the_table_alone_says_is_unfit_is_counted_with_examples(many):
    for row in many.rows[:5]:
        row["label"] = "perhaps"
    found = preview(many.adapter(targets={"label": {"classes": ["no", "yes"], "positive": "yes"}}), ONE)
    assert found.rejected == {"unknown_label": 5}
    assert [example.sample_id for example in found.examples] == [
        "images/view-00",
        "images/view-01",
        "images/view-02",
    ]
    assert "'perhaps'; expected one of no, yes" in found.examples[0].detail
    (problem,) = found.problems
    assert (
        "5 of 24 samples would be rejected, more than the 5.0% allowed: 5 by the table alone, 0 of the 16"
        in problem
    )
    with pytest.raises(UserError, match="more than the"):
        convert(
            many.adapter(targets={"label": {"classes": ["no", "yes"], "positive": "yes"}}),
            many.folder.parent / "out",
            ONE,
        )


def test_unreadable_images_are_a_problem_when_they_are_many(many):
    for name in ("view-00", "view-23"):
        (many.folder / f"images/{name}.png").write_bytes(b"no image")
    found = preview(many.adapter(), ONE, check=2)
    assert found.opened.rejected == {"decode_error": 2}
    assert found.opened.examples[1].sample_id == "images/view-23"
    assert found.problems
    few = preview(many.adapter(), ConvertOptions(workers=1, max_rejected=0.1), check=24)
    assert few.opened.rejected == {"decode_error": 2}
    assert few.problems == ()


def test_a_few_bad_images_of_few_opened_foretell_many(tmp_path, raw):
    for number in range(60):
        raw.add(f"{number:02d}", data=b"no image" if number % 4 == 0 else None)
    found = preview(raw.adapter(), ConvertOptions(workers=1, max_rejected=0.2), check=8)
    assert sum(found.opened.rejected.values()) > 1
    assert "if the others are like them" in found.problems[0]


def test_16_bit_images_without_a_window_are_a_problem(tmp_path):
    own = Own(tmp_path / "own")
    own.picture("a.png", np.arange(64, dtype=np.uint16).reshape(8, 8) * 900)
    found = preview(own([{"image": "a.png"}] * 2, sample_id="who"), ONE)
    assert found.opened.rejected == {"window_missing": 2}
    assert found.problems
    shown = preview(own([{"image": "a.png"}] * 2, sample_id="who", window=[0, 65535]), ONE)
    assert shown.opened.kinds == {"16-bit grey": 2}
    assert shown.problems == ()


def test_masks_and_volumes_are_looked_into(tmp_path):
    own = Own(tmp_path / "own")
    labels = np.zeros(CT.shape, np.uint8)
    labels[1, 2:4] = 2
    own.nifti("ct.nii.gz", CT)
    own.nifti("seg.nii.gz", labels)
    rows = [{"image": "ct.nii.gz", "m": mask} for mask in ("seg.nii.gz", "seg.nii.gz", "")]
    options = {
        "mask": "m",
        "structures": {"liver": [1, 2], "tumour": 3},
        "window": "ct-liver",
        "sample_id": "who",
    }
    found = preview(own(rows, **options), ONE)
    assert found.opened.kinds == {"volume int16": 3}
    assert found.opened.sizes == {"5x6x4": 3}
    assert found.opened.with_spacing == 3
    assert found.opened.with_mask == 2
    assert found.opened.mask_values == {0: 2, 2: 2}
    assert found.opened.structures == {"liver": 2, "tumour": 0}
    assert "structure 'tumour' is in none of the 2 masks opened" in found.remarks
    assert "1 of the samples opened have no mask" in found.remarks


def test_classes_that_a_split_lacks_are_remarked(many):
    for place, row in enumerate(many.rows):
        row["label"] = "no" if place > 1 else "yes"
    remarks = preview(many.adapter(), ONE, check=0).remarks
    assert any("target 'label' has no sample of class 'yes' in" in remark for remark in remarks)


def test_a_category_with_a_value_for_nearly_everybody_is_remarked(many):
    for place, row in enumerate(many.rows):
        row["age"] = f"19{50 + place}-03-01"
    remarks = preview(many.adapter(), ONE, check=0).remarks
    assert any("'age' is a category with 24 values" in remark for remark in remarks)
    assert not any("'sex' is a category" in remark for remark in remarks)


def test_a_split_without_samples_is_remarked(many):
    for row in many.rows:
        row["part"] = "train" if row["person"] < "p6" else "dev"
    found = preview(many.adapter(split="part"), ConvertOptions(workers=1, fractions=(1, 0, 0)), check=0)
    assert "there is no sample in test" in found.remarks


def test_an_earlier_conversion_decides_splits(many, tmp_path):
    out = tmp_path / "out"
    dataset = convert(many.adapter(), out, ONE)
    for number in range(24, 40):
        many.add(f"view-{number}")
    grown = preview(many.adapter(), ONE, out, check=0)
    again = convert(many.adapter(), out, ONE)
    assert grown.samples == dict(again.counts.samples)
    assert sum(dataset.counts.samples.values()) == 24


def test_a_folder_that_is_taken_is_refused(many, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no dataset"):
        preview(many.adapter(), ONE, tmp_path / "taken")


def test_what_fails_before_any_image_is_told_as_the_conversion_tells_it(many):
    many.rows[3]["person"] = ""
    with pytest.raises(UserError, match="1 samples of 'mine' have no subject_id"):
        preview(many.adapter(), ONE)


def test_generated_data_can_be_previewed(tmp_path):
    found = preview(make_adapter("phantom-fundus", {"subjects": 12}), ONE, check=4)
    assert found.opened.with_mask == 4
    assert set(found.opened.structures) == {structure.name for structure in found.card.structures}
