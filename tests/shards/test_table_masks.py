"""Masks of own images: label maps and volumes, one file per structure, run lengths, COCO's annotations."""

import json

import numpy as np
import pytest
from own_files import CT, LENIENT, Own, reasons, rows_of, stored
from pycocotools import mask as coco

from shards.convert import convert
from shards.errors import UserError

GREY = np.full((8, 10), 90, np.uint8)
LEFT, RIGHT = np.zeros((8, 10), bool), np.zeros((8, 10), bool)
LEFT[2:5, 1:6] = True
RIGHT[3:7, 4:9] = True
LIVER = np.zeros(CT.shape, np.uint8)
LIVER[1:3, 2:4, 1:4] = 7


@pytest.fixture
def own(tmp_path):
    own = Own(tmp_path / "own")
    own.folder.mkdir()
    return own


def runs(mask):
    pixels = np.concatenate([[0], mask.T.flatten(), [0]])
    found = np.where(pixels[1:] != pixels[:-1])[0] + 1
    found[1::2] -= found[::2]
    return " ".join(map(str, found))


def inside(dataset, sample, name):
    """Where a stored mask shows a structure."""
    structure = {one.name: one for one in dataset.card.structures}[name]
    return np.isin(stored(dataset)[sample].mask, structure.values)


def test_label_volumes_must_lie_where_their_image_lies(own, tmp_path):
    own.nifti("a.nii.gz", CT)
    own.nifti("good.nii.gz", LIVER)
    own.nifti("turned.nii.gz", LIVER, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    own.nifti("moved.mha", LIVER, origin=(0, 0, 4))
    own.nifti("scaled.nrrd", LIVER, spacing=(0.5, 0.25, 1.0))
    own.nifti("other.nii.gz", LIVER + 1)
    own.nifti("smaller.nii.gz", LIVER[:3])
    np.save(own.folder / "nowhere.npy", LIVER)
    own.picture("flat.png", GREY)
    names = ("good.nii.gz", "turned.nii.gz", "moved.mha", "scaled.nrrd", "other.nii.gz", "smaller.nii.gz")
    rows = [{"image": "a.nii.gz", "mask": mask} for mask in (*names, "nowhere.npy", "flat.png", "absent.mha")]
    options = {"mask": "mask", "structures": {"liver": 7}, "window": "ct-liver", "sample_id": "who"}
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {
        **{f"w{place}": "mask_geometry_mismatch" for place in (1, 2, 3, 5, 6, 7)},
        "w4": "mask_values",
        "w8": "missing_mask",
    }
    assert np.array_equal(inside(dataset, "w0", "liver"), LIVER > 0)
    details = {row["sample_id"]: row["detail"] for row in dataset.rejected.to_pylist()}
    assert "origin" in details["w1"]
    assert "origin" in details["w2"]
    assert "voxel size" in details["w3"]
    assert "1, 8; expected 0, 7" in details["w4"]
    lenient = convert(own(rows, **options, other_values="background"), tmp_path / "more", LENIENT)
    assert not inside(lenient, "w4", "liver").any()


def test_arrays_of_images_and_masks_share_a_file(own, tmp_path):
    np.savez(own.folder / "a.npz", image=CT, seg=LIVER)
    np.savez(own.folder / "b.npz", image=CT, seg=LIVER[:2])
    np.savez(own.folder / "c.npz", image=GREY, seg=LEFT)
    rows = [{"image": f"{name}.npz", "mask": f"{name}.npz"} for name in "abc"]
    options = {
        "mask": "mask",
        "structures": {"x": [1, 7]},
        "window": "ct-liver",
        "array": "image",
        "mask_array": "seg",
    }
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"b": "mask_shape_mismatch"}
    assert np.array_equal(inside(dataset, "a", "x"), LIVER > 0)
    assert np.array_equal(inside(dataset, "c", "x"), LEFT)


def test_one_file_per_structure(own, tmp_path):
    own.picture("image.png", GREY)
    own.picture("left.png", LEFT.astype(np.uint8) * 255)
    own.picture("right.png", RIGHT.astype(np.uint8))
    own.picture("soft.png", LEFT.astype(np.uint8) * 200 + RIGHT)
    own.picture("large.png", np.kron(RIGHT, np.ones((2, 2))).astype(np.uint8))
    pairs = [
        ("left.png", "right.png"),
        ("left.png", "large.png"),
        ("soft.png", "right.png"),
        ("left.png", ""),
        ("", ""),
    ]
    rows = [{"image": "image.png", "l": left, "r": right} for left, right in pairs]
    options = {"mask": {"left": "l", "right": "r"}, "sample_id": "who"}
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"w2": "mask_values", "w3": "missing_mask"}
    for sample in ("w0", "w1"):  # pixels of both stay in both
        assert np.array_equal(inside(dataset, sample, "left"), LEFT)
        assert np.array_equal(inside(dataset, sample, "right"), RIGHT)
    assert {name: row["mask_resized"] for name, row in rows_of(dataset).items()} == {
        "w0": False,
        "w1": True,
        "w4": None,
    }
    empty = convert(own(rows, **options, no_mask="empty"), tmp_path / "empty", LENIENT)
    assert reasons(empty) == {"w2": "mask_values"}
    assert np.array_equal(inside(empty, "w3", "left"), LEFT)
    assert not inside(empty, "w3", "right").any()
    assert not inside(empty, "w4", "left").any()
    refused = convert(own(rows, **options, overlaps="reject"), tmp_path / "refused", LENIENT)
    assert reasons(refused)["w0"] == "overlapping_structures"


def test_volumes_with_one_file_per_structure(own, tmp_path):
    own.nifti("a.nii.gz", CT)
    own.nifti("liver.nii.gz", LIVER)
    own.nifti(
        "tumour.nii.gz", (LIVER > 0).astype(np.uint8) * (np.arange(4)[:, None, None] == 2).astype(np.uint8)
    )
    row = {"image": "a.nii.gz", "l": "liver.nii.gz", "t": "tumour.nii.gz"}
    dataset = convert(
        own([row], mask={"liver": "l", "tumour": "t"}, window="ct-liver"), tmp_path / "out", LENIENT
    )
    assert np.array_equal(inside(dataset, "a", "liver"), LIVER > 0)
    assert inside(dataset, "a", "tumour").sum() == 6


def test_run_lengths_in_the_table(own, tmp_path):
    own.picture("image.png", GREY)
    packed = coco.encode(np.asfortranarray(RIGHT.astype(np.uint8)))
    right = json.dumps({"size": [8, 10], "counts": packed["counts"].decode()})
    wrong = json.dumps({"size": [8, 10], "counts": [10, 5]})
    own.nifti("ct.nii.gz", CT)
    cells = [(runs(LEFT), right), (runs(LEFT), "-1"), ("1 2 3", right), ("80 2", right), (runs(LEFT), wrong)]
    rows = [{"image": "image.png", "l": left, "r": right} for left, right in cells]
    rows.append({"image": "ct.nii.gz", "l": runs(LEFT), "r": right})
    options = {
        "mask": {"left": "l", "right": "r"},
        "mask_format": "rle",
        "sample_id": "who",
        "window": "ct-lung",
    }
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {
        "w2": "bad_rle",
        "w3": "bad_rle",
        "w4": "bad_rle",
        "w5": "mask_geometry_mismatch",
    }
    assert np.array_equal(inside(dataset, "w0", "left"), LEFT)
    assert np.array_equal(inside(dataset, "w0", "right"), RIGHT)
    assert not inside(dataset, "w1", "right").any()
    with pytest.raises(UserError, match="needs a column per structure"):
        own(rows, mask="l", structures={"left": 1}, mask_format="rle").card()


def test_rows_of_one_image_give_it_several_regions(own, tmp_path):
    own.picture("image.png", GREY)
    rows = [{"image": "image.png", "who": "a", "y": "1", "id": "one", "l": runs(m)} for m in (LEFT, RIGHT)]
    rows.append({"image": "image.png", "who": "b", "y": "0", "id": "two", "l": runs(LEFT)})
    options = {"mask": {"spot": "l"}, "mask_format": "rle", "sample_id": "id", "join_rows": True}
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert np.array_equal(inside(dataset, "one", "spot"), LEFT | RIGHT)
    assert rows_of(dataset)["one"]["depth"] == 1
    own.picture("a.png", LEFT.astype(np.uint8))
    own.picture("b.png", RIGHT.astype(np.uint8))
    for row, mask in zip(rows, "aba", strict=True):
        row["m"] = f"{mask}.png"
    maps = own(rows, mask="m", structures={"spot": 1}, sample_id="id", join_rows=True)
    assert reasons(convert(maps, tmp_path / "maps", LENIENT)) == {"one": "contradicting_rows"}


def test_stacks_have_a_mask_per_slice(own, tmp_path):
    for name in "ab":
        own.picture(f"{name}.png", GREY)
    own.picture("l.png", LEFT.astype(np.uint8))
    own.picture("r.png", RIGHT.astype(np.uint8))
    rows = [{"image": "a.png;b.png", "m": mask} for mask in ("l.png;r.png", "l.png", "", "l.png;")]
    options = {"separator": ";", "mask": "m", "structures": {"x": 1}, "sample_id": "who"}
    dataset = convert(own(rows, **options), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"w1": "missing_mask", "w3": "missing_mask"}
    assert np.array_equal(inside(dataset, "w0", "x"), np.stack([LEFT, RIGHT]))
    assert stored(dataset)["w2"].mask is None
    empty = convert(own(rows, **options, no_mask="empty"), tmp_path / "empty", LENIENT)
    assert np.array_equal(inside(empty, "w3", "x"), np.stack([LEFT, LEFT & False]))


def annotations(own, **changes):
    packed = coco.encode(np.asfortranarray(RIGHT.astype(np.uint8)))
    value = {
        "images": [{"id": n, "file_name": f"i{n}.png", "height": 8, "width": 10} for n in range(4)],
        "categories": [{"id": 5, "name": "nucleus"}, {"id": 9, "name": "gland"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 0,
                "category_id": 5,
                "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4]],
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 0,
                "category_id": 5,
                "segmentation": [[6, 5, 9, 5, 9, 8, 6, 8]],
                "iscrowd": 0,
            },
            {
                "id": 3,
                "image_id": 0,
                "category_id": 9,
                "segmentation": {"size": [8, 10], "counts": packed["counts"].decode()},
                "iscrowd": 1,
            },
        ],
    } | changes
    path = own.folder / "coco.json"
    path.write_text(json.dumps(value))
    return path


def test_coco_polygons_and_run_lengths(own, tmp_path):
    for n in range(6):
        own.picture(f"images/i{n}.png", GREY if n != 3 else np.zeros((9, 9), np.uint8))
    rows = [{"image": f"images/i{n}.png"} for n in (0, 1, 3, 5)]
    adapter = own(rows, annotations=annotations(own))
    dataset = convert(adapter, tmp_path / "out", LENIENT)
    assert reasons(dataset) == {"images/i3": "mask_shape_mismatch"}
    nucleus = inside(dataset, "images/i0", "nucleus")
    assert nucleus[1:4, 1:5].all()
    assert nucleus[5:8, 6:9].all()
    assert nucleus.sum() == 12 + 9
    assert np.array_equal(inside(dataset, "images/i0", "gland"), RIGHT)  # a crowd belongs to its category
    assert not stored(dataset)["images/i1"].mask.any()  # listed, nothing marked
    assert stored(dataset)["images/i5"].mask is None  # not listed: unknown
    assert dataset.card.notes == (
        "coco.json lists 1 images that no row of the table names; they were left out.",
    )
    empty = convert(own(rows, annotations=annotations(own), no_mask="empty"), tmp_path / "empty", LENIENT)
    assert not stored(empty)["images/i5"].mask.any()


def test_coco_categories_can_be_chosen_and_united(own, tmp_path):
    own.picture("i0.png", GREY)
    tissue = own(
        [{"image": "i0.png"}], annotations=annotations(own), categories={"tissue": ["nucleus", "gland"]}
    )
    dataset = convert(tissue, tmp_path / "out", LENIENT)
    assert [s.name for s in dataset.card.structures] == ["tissue"]
    assert inside(dataset, "i0", "tissue").sum() > RIGHT.sum()
    with pytest.raises(UserError, match=r"unknown category in coco\.json 'glands'; did you mean 'gland'"):
        own([{"image": "i0.png"}], annotations=annotations(own), categories={"x": "glands"}).card()


def test_coco_annotations_that_fit_nothing_are_told(own, tmp_path):
    for n in range(3):
        own.picture(f"i{n}.png", GREY)
    rows = [{"image": f"i{n}.png"} for n in range(3)]
    lost = [
        {"id": 1, "image_id": 77, "category_id": 5, "segmentation": [[1, 1, 5, 1, 5, 4]]},
        {"id": 2, "image_id": 1, "category_id": 6, "segmentation": [[1, 1, 5, 1, 5, 4]]},
        {"id": 3, "image_id": 2, "category_id": 5, "segmentation": [[1, 1, 500, 1, 5, 4]]},
    ]
    dataset = convert(own(rows, annotations=annotations(own, annotations=lost)), tmp_path / "out", LENIENT)
    assert reasons(dataset) == {None: "annotation_without_image", "i1": "bad_annotation", "i2": "bad_polygon"}
    assert any("1 annotations of image 77" in row["detail"] for row in dataset.rejected.to_pylist())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "must be COCO's JSON"),
        ('{"images": []}', "'categories'"),
        (
            '{"images": [], "categories": [], "annotations": [{"image_id": {}, "category_id": 1}]}',
            "must be COCO's JSON",
        ),
        (None, "cannot be read"),
    ],
)
def test_files_that_are_no_coco_are_refused(own, content, message):
    path = own.folder / "coco.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        own([{"image": "i0.png"}], annotations=path).card()


def test_coco_images_must_be_those_of_the_table(own):
    with pytest.raises(UserError, match=r"no image of the table is in .*'other\.png'.*'i0\.png'"):
        own([{"image": "other.png"}], annotations=annotations(own)).manifest()
    twice = [{"id": n, "file_name": "i0.png"} for n in range(2)]
    with pytest.raises(UserError, match=r"list an image twice, e\.g\. 'i0\.png'"):
        own([{"image": "i0.png"}], annotations=annotations(own, images=twice, annotations=[])).manifest()


def test_masks_are_given_in_one_way(own):
    rows = [{"image": "a.png", "m": "a.png"}]
    with pytest.raises(UserError, match="'annotations' hold the masks"):
        own(rows, annotations=annotations(own), mask="m").card()
    with pytest.raises(UserError, match="leave them out"):
        own(rows, mask={"x": "m"}, structures={"x": 1}).card()
    with pytest.raises(UserError, match="unknown column in"):
        own(rows, mask={"x": "n"}).manifest()
