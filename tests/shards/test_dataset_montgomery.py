"""Montgomery County: sex and age of everybody from the readings, two lungs in one mask, labels from the names."""

import numpy as np
import pytest
from PIL import Image
from replicas import replica
from replicas.montgomery import PEOPLE, SMALL, TOUCHING, age, ill, lungs, name_of, sex

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError

ONE = ConvertOptions(workers=1, max_rejected=0.5)


@pytest.fixture
def raw(tmp_path):
    replica("montgomery")(tmp_path / "raw")
    return tmp_path / "raw" / "MontgomerySet"


def adapter(root):
    return make_adapter("montgomery", {"raw": root})


def converted(root, tmp_path):
    return convert(adapter(root), tmp_path / "out", ONE)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def masks_of(dataset):
    return {s.sample_id: s.mask for shard in dataset.shards for s in dataset.read(shard.name, masks=True)}


def test_everybody_has_a_sex_and_an_age_however_the_reading_is_laid_out(raw, tmp_path):
    rows = by_id(converted(raw, tmp_path))
    assert len(rows) == len(PEOPLE)
    for person in PEOPLE:
        row = rows[name_of(person)]
        assert row["sex"] == {"F": "female", "M": "male"}[sex(person)]
        assert row["age"] == age(person)
        assert row["tuberculosis"] == ("normal", "tuberculosis")[ill(person)]
        assert row["reading"] == ("normal", "infiltrate in the left upper lobe scars")[ill(person)]
    assert {rows[name_of(9)]["age"], rows[name_of(10)]["age"]} == {4.0, 100.0}


def test_both_lungs_are_structures_and_their_union_is_one(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    masks = masks_of(dataset)
    assert {s.name: s.values for s in dataset.card.structures} == {
        "left_lung": (128,),
        "right_lung": (255,),
        "lungs": (128, 255),
    }
    for person in set(PEOPLE) - {SMALL}:
        left, right = lungs(person)
        mask = masks[name_of(person)]
        assert np.array_equal(mask == 255, right)
        assert np.array_equal(mask == 128, left & ~right)
        assert np.array_equal(mask > 0, left | right)
    assert (lungs(TOUCHING)[0] & lungs(TOUCHING)[1]).any()


def test_a_smaller_mask_of_the_same_frame_is_brought_to_size(raw, tmp_path):
    dataset = converted(raw, tmp_path)
    rows = by_id(dataset)
    assert [name for name, row in rows.items() if row["mask_resized"]] == [name_of(SMALL)]
    found = masks_of(dataset)[name_of(SMALL)]
    assert set(np.unique(found)) == {0, 128, 255}
    assert abs((found == 128).sum() - lungs(SMALL)[0].sum()) < 0.25 * lungs(SMALL)[0].sum()


def test_parts_have_both_classes_and_sexes(raw, tmp_path):
    frame = converted(raw, tmp_path).index.to_pandas()
    for split in ("train", "val", "test"):
        part = frame[frame["split"] == split]
        assert set(part["sex"]) == {"female", "male"}
        assert set(part["tuberculosis"]) == {"normal", "tuberculosis"}


def test_files_that_lack_their_partners_are_named(raw, tmp_path):
    names = {person: name_of(person) for person in PEOPLE}
    (raw / "CXR_png" / f"{names[1]}.png").unlink()
    (raw / "ClinicalReadings" / f"{names[2]}.txt").unlink()
    (raw / "ManualMask" / "rightMask" / f"{names[3]}.png").unlink()
    (raw / "ClinicalReadings" / f"{names[4]}.txt").write_text("Patient's Age: 027Y\nnormal")
    (raw / "ClinicalReadings" / f"{names[7]}.txt").write_text("Patient's Sex: F\nnormal")
    (raw / "CXR_png" / f"{names[8]}.png").rename(raw / "CXR_png" / "MCUCXR_0008.png")
    data = (raw / "CXR_png" / f"{names[12]}.png").read_bytes()
    (raw / "CXR_png" / f"{names[12]}.png").write_bytes(data[:-40])
    Image.new("L", (36, 44), 77).save(raw / "ManualMask" / "leftMask" / f"{names[13]}.png")
    Image.new("1", (44, 36)).save(raw / "ManualMask" / "leftMask" / f"{names[14]}.png")
    found = {row["sample_id"]: row["reason"] for row in converted(raw, tmp_path).rejected.to_pylist()}
    assert found == {
        names[1]: "missing_image",
        names[2]: "missing_reading",
        names[3]: "missing_mask",
        names[4]: "unreadable_reading",
        names[7]: "unreadable_reading",
        names[8]: "missing_image",
        "MCUCXR_0008": "unknown_label",
        names[12]: "decode_error",
        names[13]: "mask_values",
        names[14]: "mask_shape_mismatch",
    }


def test_readings_of_another_coding_are_refused(raw):
    path = raw / "ClinicalReadings" / f"{name_of(1)}.txt"
    path.write_text("Patient's Sex: X\nPatient's Age: 027Y")
    with pytest.raises(UserError, match=r"column \"Patient's Sex\" has values.*'x'; expected f, female"):
        adapter(raw).manifest()
    path.write_text("Patient's Sex: F\nPatient's Age: 227Y")
    with pytest.raises(UserError, match=r"1 values that are no age of 0 to 120 years, the first '227Y'"):
        adapter(raw).manifest()


@pytest.mark.parametrize("folder", ["ClinicalReadings", "ManualMask/rightMask", "CXR_png"])
def test_a_missing_folder_is_named_with_the_page(raw, folder):
    (raw / folder).rename(raw / "elsewhere")
    with pytest.raises(UserError, match=rf"lacks {folder}.*data.lhncbc.nlm.nih.gov.*downloaded by anyone"):
        adapter(raw).manifest()


def test_the_sister_set_of_shenzhen_is_not_taken_for_it(tmp_path):
    for folder in ("CXR_png", "ClinicalReadings"):
        (tmp_path / "China" / folder).mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "China" / "CXR_png" / "CHNCXR_0001_0.png")
    with pytest.raises(UserError, match=r"has none of CXR_png/MCUCXR_\*.png, ManualMask"):
        adapter(tmp_path / "China").manifest()
