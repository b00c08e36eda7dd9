"""OCT-AMD: disease is the positive class, B-scans are slices, ages from MATLAB files of two kinds, MEDFAIR's groups."""

import numpy as np
import pytest
import scipy.io
from replicas import replica
from replicas.grouping import count_groups
from replicas.oct_amd import (
    FRACTIONS,
    GROUPS,
    NEWER,
    NO_AGE,
    SHAPE,
    age,
    name_of,
    subjects,
    volume,
    write_newer,
)

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.errors import UserError
from shards.volumes import decode_npy

ONE = ConvertOptions(workers=1, max_rejected=0.5)


@pytest.fixture
def raw(tmp_path):
    replica("oct-amd")(tmp_path / "OCT")
    return tmp_path / "OCT"


def adapter(root):
    return make_adapter("oct-amd", {"raw": root})


def converted(root):
    return convert(adapter(root), root.parent / "out", ONE)


def by_id(dataset):
    return {row["sample_id"]: row for row in dataset.index.to_pylist()}


def stored(dataset, name):
    row = by_id(dataset)[name]
    data = (dataset.path / "shards" / row["shard"]).read_bytes()
    return decode_npy(data[row["image_offset"] :][: row["image_size"]])


def save(path, **values):
    scipy.io.savemat(path, values)


def test_disease_is_the_positive_class_and_the_papers_opposite_has_its_own_name(raw):
    dataset = converted(raw)
    rows = by_id(dataset)
    assert len(rows) == sum(GROUPS.values())
    for group, number in subjects():
        row = rows[name_of(group, number)]
        assert row["amd"] == row["control_medfair"] == {"AMD": "AMD", "Control": "control"}[group]
    targets = {target.name: target for target in dataset.card.targets}
    assert (targets["amd"].classes, targets["amd"].positive) == (("control", "AMD"), "AMD")
    assert targets["control_medfair"].classes == ("AMD", "control")
    assert targets["control_medfair"].positive == "control"


def test_equal_numbers_of_the_two_groups_are_different_people(raw):
    frame = converted(raw).index.to_pandas()
    assert frame["subject_id"].nunique() == len(frame)
    for split in ("train", "val", "test"):
        assert set(frame[frame["split"] == split]["amd"]) == {"AMD", "control"}


def test_slices_are_the_b_scans_in_their_order(raw):
    dataset = converted(raw)
    for group, number in (("AMD", 1001), NEWER, ("Control", 1007)):
        found = stored(dataset, name_of(group, number))
        assert found.shape == (SHAPE[2], *SHAPE[:2])
        assert found.dtype == np.uint8
        assert np.array_equal(found, volume(group, number).transpose(2, 0, 1))
    fractions = stored(dataset, name_of(*FRACTIONS))
    assert fractions.dtype == np.float32
    assert np.allclose(fractions, volume(*FRACTIONS).transpose(2, 0, 1))
    row = by_id(dataset)[name_of("AMD", 1001)]
    assert row["spacing_mm"] is None
    assert row["orientation"] is None


def test_each_volume_is_shown_from_its_darkest_to_its_brightest(raw):
    dataset = converted(raw)
    assert (dataset.card.window, dataset.card.normalise) == (None, (0.0, 100.0))
    for shard in dataset.shards:
        for sample in dataset.read(shard.name, masks=False):
            assert (sample.image.min(), sample.image.max()) == (0, 255)


def test_ages_of_both_kinds_of_files_are_read_and_an_empty_one_is_unknown(raw):
    rows = by_id(converted(raw))
    for group, number in subjects():
        expected = None if (group, number) == NO_AGE else age(group, number)
        assert rows[name_of(group, number)]["age"] == expected


def test_medfairs_two_cuts_put_seventy_and_seventy_five_where_it_does(raw):
    dataset = converted(raw)
    ages = [row["age"] for row in by_id(dataset).values() if row["age"] is not None]
    assert ages.count(70.0) > 0
    assert ages.count(75.0) > 0
    assert count_groups(dataset, "medfair_notebook", "age") == {
        "<=70": sum(a <= 70 for a in ages),
        ">70": sum(a > 70 for a in ages),
        "unknown": 1,
    }
    assert count_groups(dataset, "medfair", "age") == {
        "<75": sum(a < 75 for a in ages),
        "75+": sum(a >= 75 for a in ages),
        "unknown": 1,
    }


def test_archives_unpacked_into_several_folders_are_found(raw):
    (raw / "AMD").rename(raw / "AMD1")
    (raw / "AMD2" / "inside").mkdir(parents=True)
    for path in sorted((raw / "AMD1").glob("*.mat"))[:5]:
        path.rename(raw / "AMD2" / "inside" / path.name)
    rows = adapter(raw).manifest()
    assert len(rows) == len(subjects())
    assert rows["_source"].str.startswith("AMD2/inside/").sum() == 5


def test_bad_files_cost_their_subjects_only(raw):
    paths = {number: raw / "AMD" / f"{name_of('AMD', number)}.mat" for number in range(1001, 1010)}
    paths[1001].write_bytes(paths[1001].read_bytes()[:400])
    save(paths[1002], volume=volume("AMD", 1002), Age=60.0)
    save(paths[1005], images=volume("AMD", 1005)[:, :, 0], Age=60.0)
    save(paths[1006], images=np.array([[{"a": 1}]], dtype=object), Age=60.0)
    save(paths[1007], images=np.full(SHAPE, np.nan), Age=60.0)
    paths[1008].write_bytes(b"")
    write_newer(paths[1009], {"images": volume("AMD", 1009), "Age": 66.0})
    paths[1009].write_bytes(paths[1009].read_bytes()[:1500])
    (raw / "AMD" / f"{name_of('Control', 1050)}.mat").write_bytes(paths[1005].read_bytes())
    found = {row["sample_id"]: row["reason"] for row in converted(raw).rejected.to_pylist()}
    assert found == {
        paths[1001].stem: "decode_error",
        paths[1002].stem: "missing_array",
        paths[1005].stem: "unsupported_pixels",
        paths[1006].stem: "unsupported_pixels",
        paths[1007].stem: "nan_pixels",
        paths[1008].stem: "empty_file",
        paths[1009].stem: "decode_error",
        name_of("Control", 1050): "unknown_label",
    }


def test_an_age_that_nobody_has_and_missing_groups_are_refused(raw, tmp_path):
    path = raw / "AMD" / f"{name_of('AMD', 1001)}.mat"
    save(path, images=volume("AMD", 1001), Age=671.0)
    with pytest.raises(UserError, match=r"column 'Age' has 1 values that are no age.*'671.0'"):
        adapter(raw).manifest()
    save(path, images=volume("AMD", 1001), Age=67.0)
    (raw / "Control").rename(raw / "Healthy")
    with pytest.raises(UserError, match=r"has no file that matches Control\*/\*\.mat.*people\.duke\.edu"):
        adapter(raw).manifest()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has none of AMD\*/\*\.mat, Control\*/\*\.mat"):
        adapter(tmp_path / "empty").manifest()
