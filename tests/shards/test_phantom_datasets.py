import pickle

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from shards.adapter import Pixels
from shards.datasets.phantom_cxr import PhantomCxr
from shards.datasets.phantom_fundus import PhantomFundus

BOTH = pytest.mark.parametrize("kind", [PhantomCxr, PhantomFundus])


def rows_of(adapter):
    return adapter.manifest().to_dict("records")


def same(a: Pixels, b: Pixels) -> bool:
    masks = (a.mask is None and b.mask is None) or np.array_equal(a.mask, b.mask)
    return masks and np.array_equal(a.image, b.image)


@BOTH
def test_pixels_do_not_depend_on_order_or_process(kind):
    adapter = kind(subjects=5, seed=3, disparity=0.4)
    rows = rows_of(adapter)
    forwards = [adapter.read(row) for row in rows]
    copy = pickle.loads(pickle.dumps(adapter))
    backwards = [copy.read(row) for row in reversed(rows)][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))


@BOTH
def test_more_subjects_leave_the_first_ones_alone(kind):
    few, many = kind(subjects=5).manifest(), kind(subjects=9).manifest()
    pd.testing.assert_frame_equal(few, many.head(len(few)))


@BOTH
def test_other_seed_gives_other_people_ids_and_pixels(kind):
    one, other = kind(subjects=20, seed=0), kind(subjects=20, seed=1)
    first, second = one.manifest(), other.manifest()
    assert not set(first["sample_id"]) & set(second["sample_id"])
    assert first["sex"].tolist() != second["sex"].tolist()
    assert not same(one.read(rows_of(one)[0]), other.read(rows_of(other)[0]))


@BOTH
def test_images_have_the_promised_shape_and_use_the_range(kind):
    adapter = kind(subjects=3)
    for row in rows_of(adapter):
        drawn = adapter.read(row)
        assert drawn.image.dtype == np.uint8
        assert drawn.image.shape[:2] == (128, 128)
        assert len(np.unique(drawn.image)) > 100


@BOTH
def test_manifest_holds_every_target_and_attribute_of_the_card(kind):
    adapter = kind(subjects=60)
    manifest, card = adapter.manifest(), adapter.card()
    assert manifest["sample_id"].is_unique
    assert manifest["sample_id"].str.fullmatch(r"[a-z0-9_-]+").all()
    for target in card.targets:
        assert set(manifest[target.name]) == set(target.classes)
        assert target.positive is None or target.positive in target.classes
    assert {a.name for a in card.attributes} <= set(manifest.columns)
    for prompts in card.prompts:
        assert len(prompts.names) == len(card.target(prompts.target).classes)
        assert all(template.count("{}") == 1 for template in prompts.templates)


@BOTH
def test_cards_survive_json(kind):
    card = kind().card()
    assert type(card).from_json(card.to_json()) == card


@BOTH
def test_unknown_attributes_are_null_for_a_few_percent(kind):
    people = kind(subjects=2000).manifest().drop_duplicates("subject_id")
    for attribute in ("sex", "age", "race"):
        assert 0.01 < people[attribute].isna().mean() < 0.06
    assert set(people["sex"].dropna()) == {"female", "male"}
    assert set(people["race"].dropna()) == {"asian", "black", "white"}
    assert people["age"].min() == 20
    assert people["age"].max() == 90


@pytest.mark.parametrize(("kind", "target"), [(PhantomCxr, "opacity"), (PhantomFundus, "glaucoma")])
def test_label_is_independent_of_attributes(kind, target):
    from scipy.stats import chi2_contingency

    people = kind(subjects=3000).manifest().drop_duplicates("subject_id")
    people["old"] = people["age"] >= 60
    for attribute in ("sex", "race", "old"):
        table = pd.crosstab(people[attribute], people[target])
        assert chi2_contingency(table).pvalue > 0.01
    assert 0.45 < (people[target] == people[target].iloc[0]).mean() < 0.55


def test_views_of_a_subject_share_label_and_attributes_but_not_pixels():
    adapter = PhantomCxr(subjects=12, views=3)
    manifest = adapter.manifest()
    assert len(manifest) == 36
    for column in ("opacity", "finding", "sex", "age", "race"):
        assert (manifest.groupby("subject_id")[column].nunique(dropna=False) == 1).all()
    first, second, third = (adapter.read(row) for row in rows_of(adapter)[:3])
    assert not same(first, second)
    assert not same(second, third)


def test_two_views_of_one_chest_are_more_alike_than_two_chests():
    adapter = PhantomCxr(subjects=30)
    images = np.stack([adapter.read(row).image.ravel() for row in rows_of(adapter)]).astype(float)
    alike = np.corrcoef(images)
    own = np.mean([alike[2 * i, 2 * i + 1] for i in range(30)])
    foreign = np.mean([alike[2 * i, (2 * i + 3) % 60] for i in range(30)])
    assert own > foreign + 0.01


def test_finding_and_opacity_agree():
    manifest = PhantomCxr(subjects=200).manifest()
    assert ((manifest["finding"] == "none") == (manifest["opacity"] == "no opacity")).all()


def test_left_finding_brightens_the_right_of_the_picture():
    visible, invisible = (
        PhantomCxr(subjects=60),
        PhantomCxr(subjects=60, disparity=1.0, attribute="age", group="0+"),
    )
    seen = set()
    for row in rows_of(visible):
        added = visible.read(row).image.astype(float) - invisible.read(row).image
        left_half, right_half = np.abs(added[:, :64]).sum(), np.abs(added[:, 64:]).sum()
        seen.add(row["finding"])
        if row["finding"] == "none":
            assert not added.any()
        else:
            assert (right_half > left_half) == (row["finding"] == "opacity left")
    assert seen == {"none", "opacity left", "opacity right"}


@BOTH
@pytest.mark.parametrize(
    ("attribute", "group", "inside"),
    [
        ("sex", "female", lambda row: row["sex"] == "female"),
        ("race", "black", lambda row: row["race"] == "black"),
        ("age", "60+", lambda row: row["age"] >= 60),
        ("age", "<60", lambda row: row["age"] < 60),
    ],
)
def test_planted_disparity_changes_the_sign_in_its_group_only(kind, attribute, group, inside):
    fair = kind(subjects=40)
    unfair = kind(subjects=40, disparity=0.7, attribute=attribute, group=group)
    pd.testing.assert_frame_equal(fair.manifest(), unfair.manifest())
    changed, unchanged = 0, 0
    for row in rows_of(fair):
        if pd.isna(row[attribute]):
            continue
        before, after = fair.read(row), unfair.read(row)
        if inside(row) and row.get("opacity") != "no opacity":
            assert after.image.mean() < before.image.mean()
            changed += 1
        else:
            assert same(before, after)
            unchanged += 1
    assert changed > 3
    assert unchanged > 3


@BOTH
def test_planted_disparity_scales_with_its_size(kind):
    def brightness(disparity):
        adapter = kind(subjects=10, disparity=disparity, attribute="age", group="0+")
        return np.mean([adapter.read(row).image.mean() for row in rows_of(adapter)])

    levels = [brightness(disparity) for disparity in (0.0, 0.35, 0.7, 1.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] - levels[2] == pytest.approx(2 * (levels[0] - levels[1]), rel=0.1)


def test_chest_has_no_mask_and_fundus_has_rim_and_cup():
    chest, fundus = PhantomCxr(subjects=1), PhantomFundus(subjects=30)
    assert chest.read(rows_of(chest)[0]).mask is None
    for row in rows_of(fundus):
        drawn = fundus.read(row)
        assert drawn.mask.dtype == np.uint8
        assert drawn.mask.shape == (128, 128)
        assert set(np.unique(drawn.mask)) == {0, 1, 2}
        assert drawn.spacing_mm == (0.033, 0.033)


def test_label_map_is_exact_and_decides_the_label():
    fundus = PhantomFundus(subjects=80)
    for row in rows_of(fundus):
        mask = fundus.read(row).mask
        diameters = np.sqrt([(mask == 2).sum(), (mask > 0).sum()])
        ratio = diameters[0] / diameters[1]
        assert (ratio > 0.56) == (row["glaucoma"] == "glaucoma")


def test_disparity_never_moves_the_outline():
    fair, unfair = (
        PhantomFundus(subjects=10),
        PhantomFundus(subjects=10, disparity=1.0, attribute="age", group="0+"),
    )
    for row in rows_of(fair):
        assert np.array_equal(fair.read(row).mask, unfair.read(row).mask)


def test_cup_is_paler_than_rim_unless_invisible():
    def paleness(disparity):
        adapter = PhantomFundus(subjects=20, disparity=disparity, attribute="age", group="0+")
        drawn = [adapter.read(row) for row in rows_of(adapter)]
        return np.mean([d.image[d.mask == 2][:, 2].mean() - d.image[d.mask == 1][:, 2].mean() for d in drawn])

    assert paleness(0.0) > 15
    assert abs(paleness(1.0)) < 6


@BOTH
@pytest.mark.parametrize(
    "options",
    [
        {"attribute": "sex", "group": "60+"},
        {"attribute": "age", "group": "female"},
        {"attribute": "age", "group": "<60+"},
        {"attribute": "race", "group": "unknown"},
        {"attribute": "height"},
        {"disparity": 1.1},
        {"disparity": float("nan")},
        {"subjects": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"patients": 4},
    ],
)
def test_bad_options_are_refused(kind, options):
    with pytest.raises(ValidationError):
        kind(**options)


def test_bad_group_names_the_groups_there_are():
    with pytest.raises(ValidationError, match=r"asian, black, white.*'martian'"):
        PhantomCxr(attribute="race", group="martian")
