"""``phantom-ct``: volumes whose truth is known, with a disparity planted in one group."""

import pickle

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter
from shards.datasets.phantom_ct import PhantomCt

EVERYBODY = {"attribute": "age", "group": "0+"}


def rows_of(adapter):
    return adapter.manifest().to_dict("records")


def same(a, b):
    return np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


def test_volumes_are_hounsfield_units_with_spacing_and_orientation():
    adapter = PhantomCt(subjects=4)
    for row in rows_of(adapter):
        scan = adapter.read(row)
        assert (scan.image.dtype, scan.image.shape) == (np.int16, (16, 48, 48))
        assert (scan.mask.dtype, scan.mask.shape) == (np.uint8, (16, 48, 48))
        assert scan.spacing_mm == (10.0, 340 / 48, 340 / 48)
        assert scan.orientation == "SPL"
        assert scan.image[:, 0, 0].mean() == pytest.approx(-1000, abs=20)
        assert scan.image[scan.mask == 1].mean() == pytest.approx(110, abs=12)
        assert scan.image.max() > 300


def test_a_finer_scan_shows_the_same_body_of_the_same_size():
    coarse, fine = PhantomCt(subjects=6), PhantomCt(subjects=6, slices=32, side=96)
    for row in rows_of(coarse):
        small, large = coarse.read(row), fine.read(row)
        volumes = [np.count_nonzero(scan.mask) * np.prod(scan.spacing_mm) for scan in (small, large)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_voxels_do_not_depend_on_order_or_process():
    adapter = PhantomCt(subjects=4, seed=3, disparity=0.4)
    copy = pickle.loads(pickle.dumps(adapter))
    rows = rows_of(adapter)
    backwards = [copy.read(row) for row in reversed(rows)][::-1]
    assert all(same(adapter.read(row), other) for row, other in zip(rows, backwards, strict=True))


def test_more_subjects_leave_the_first_ones_alone_and_another_seed_does_not():
    few, many = PhantomCt(subjects=5).manifest(), PhantomCt(subjects=9).manifest()
    pd.testing.assert_frame_equal(few, many.head(5))
    assert not set(PhantomCt(subjects=5, seed=1).manifest()["sample_id"]) & set(few["sample_id"])


def test_the_lesion_is_in_the_mask_exactly_where_the_label_says_so_and_inside_the_organ():
    adapter = PhantomCt(subjects=40)
    for row in rows_of(adapter):
        scan = adapter.read(row)
        found = set(np.unique(scan.mask))
        assert found == ({0, 1, 2} if row["lesion"] == "lesion" else {0, 1})
        slices = np.flatnonzero((scan.mask == 2).any(axis=(1, 2)))
        if row["lesion"] == "lesion":
            assert 2 <= len(slices) < 16
            assert np.count_nonzero(scan.mask == 2) < 0.3 * np.count_nonzero(scan.mask == 1)


def test_the_organ_is_on_the_patients_right_which_is_left_in_a_slice():
    adapter = PhantomCt(subjects=10)
    for row in rows_of(adapter):
        columns = np.nonzero(adapter.read(row).mask)[2]
        assert columns.mean() < 24


def test_label_is_independent_of_the_recorded_attributes():
    from scipy.stats import chi2_contingency

    people = PhantomCt(subjects=3000).manifest()
    assert 0.45 < (people["lesion"] == "lesion").mean() < 0.55
    people["old"] = people["age"] >= 60
    for attribute in ("sex", "race", "old"):
        assert chi2_contingency(pd.crosstab(people[attribute], people["lesion"])).pvalue > 0.01
    for attribute in ("sex", "age", "race"):
        assert 0.01 < people[attribute].isna().mean() < 0.06


@pytest.mark.parametrize(
    ("attribute", "group", "inside"),
    [
        ("sex", "female", lambda row: row["sex"] == "female"),
        ("race", "black", lambda row: row["race"] == "black"),
        ("age", "60+", lambda row: row["age"] >= 60),
    ],
)
def test_planted_disparity_changes_the_lesion_of_its_group_only(attribute, group, inside):
    fair, unfair = (
        PhantomCt(subjects=60),
        PhantomCt(subjects=60, disparity=0.7, attribute=attribute, group=group),
    )
    pd.testing.assert_frame_equal(fair.manifest(), unfair.manifest())
    changed = 0
    for row in rows_of(fair):
        if pd.isna(row[attribute]):
            continue
        before, after = fair.read(row), unfair.read(row)
        assert np.array_equal(before.mask, after.mask)
        if inside(row) and row["lesion"] == "lesion":
            brighter = after.image.astype(int) - before.image
            assert brighter[before.mask == 2].mean() > 20
            assert not brighter[:, :, 40:].any()
            changed += 1
        else:
            assert np.array_equal(before.image, after.image)
    assert changed > 3


def test_planted_disparity_scales_with_its_size():
    def darkness(disparity):
        adapter = PhantomCt(subjects=12, disparity=disparity, **EVERYBODY)
        scans = [adapter.read(row) for row in rows_of(adapter) if row["lesion"] == "lesion"]
        return np.mean(
            [scan.image[scan.mask == 1].mean() - scan.image[scan.mask == 2].mean() for scan in scans]
        )

    levels = [darkness(disparity) for disparity in (0.0, 0.5, 1.0)]
    assert levels[0] > 30
    assert levels[1] == pytest.approx((levels[0] + levels[2]) / 2, abs=2)
    assert abs(levels[2]) < 6


@pytest.mark.parametrize(
    "options",
    [{"slices": 3}, {"side": 16}, {"disparity": 1.1}, {"group": "60+"}, {"views": 2}, {"seed": 2**32}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValidationError):
        PhantomCt(**options)


def test_conversion_keeps_volumes_whole_and_shows_them_by_the_recorded_window(tmp_path):
    adapter = make_adapter("phantom_ct", {"subjects": 12})
    dataset = convert(adapter, tmp_path / "ct", ConvertOptions(workers=1))
    assert dataset.volumetric
    assert dataset.card.window == (-160.0, 240.0)
    assert set(dataset.index["depth"].to_pylist()) == {16}
    assert dataset.index["spacing_mm"][0].as_py() == pytest.approx([10.0, 340 / 48, 340 / 48])
    truth = {row["sample_id"]: row for row in rows_of(adapter)}
    seen = 0
    for shard in dataset.shards:
        for sample in dataset.read(shard.name, masks=True):
            scan = adapter.read(truth[sample.sample_id])
            assert sample.volumetric
            assert np.array_equal(sample.mask, scan.mask)
            shown = np.clip(np.rint((scan.image.astype(np.float32) + 160) * (255 / 400)), 0, 255)
            assert np.array_equal(sample.image, shown.astype(np.uint8))
            seen += 1
    assert seen == 12
