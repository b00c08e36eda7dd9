import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from measuring import KEYS, QUICK, masks, row, segmented
from scipy.stats import linregress

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, measure_segmentations
from evaluator.metrics.per_subject import Volumes, cdr_distance, size_slope
from evaluator.tables import GAPS, METRICS, SEGMENTATIONS
from shards.errors import UserError

QUICK_VALUES = {"bootstrap": 50, "permutations": 20}


def test_tables_have_the_fixed_schemas():
    segmentations, attributes = masks()
    full = segmentations.assign(predicted_iou=None, points=None, box=None)
    table = pa.Table.from_pandas(full, schema=SEGMENTATIONS, preserve_index=False)
    measured = measure_segmentations(table, attributes, parse_groups({"sex": {}}), QUICK, KEYS)
    assert (measured.metrics.schema, measured.gaps.schema) == (METRICS, GAPS)


def test_value_is_the_mean_over_subjects_of_their_means():
    segmentations, attributes = masks(slices=3)
    uneven = segmentations.drop(index=[0, 1, 3])
    metrics, _ = segmented(uneven, attributes)
    expected = uneven.groupby("subject_id")["dice"].mean().astype(float).mean()
    found = row(metrics, group="all", metric="dice")
    assert found["value"] == pytest.approx(expected, abs=1e-7)
    assert found["ci_low"] < found["value"] < found["ci_high"]
    assert found["n_pos"] is None or np.isnan(found["n_pos"])


def test_structures_and_prompts_are_measured_apart():
    segmentations, attributes = masks()
    parts = [segmentations.assign(structure=s, prompt=p) for s in ("cup", "rim") for p in ("center", "bbox")]
    metrics, gaps = segmented(pd.concat(parts), attributes)
    keys = metrics[["structure", "prompt"]].drop_duplicates()
    assert keys.to_numpy().tolist() == [
        ["cup", "bbox"],
        ["cup", "center"],
        ["rim", "bbox"],
        ["rim", "center"],
    ]
    assert len(gaps) == 4 * 9


def test_metric_without_any_value_is_null_with_a_reason():
    metrics, gaps = segmented(*masks())
    found = row(metrics, group="all", metric="hd95_mm")
    assert (found["status"], found["reason"]) == ("undefined", "no_samples: none could be measured")
    assert row(gaps, metric="hd95_mm")["status"] == "undefined"


def test_samples_without_a_stored_mask_are_not_failures():
    segmentations, attributes = masks()
    numbers = ["dice", "iou", "hd95_mm", "hd95_px", "nsd"]
    segmentations.loc[:9, numbers] = np.nan
    segmentations.loc[:4, "status"] = "no_mask"
    segmentations.loc[5:9, "status"] = "decode_error"
    metrics, _ = segmented(segmentations, attributes)
    found = row(metrics, group="all", metric="dice")
    assert (found["n"], found["n_failed"]) == (110, 5)


def test_samples_without_a_distance_are_left_out_and_counted():
    segmentations, attributes = masks()
    missed = segmentations.assign(hd95_px=segmentations["hd95_px"].where(segmentations.index >= 7))
    metrics, _ = segmented(missed, attributes)
    found = row(metrics, group="all", metric="hd95_px")
    assert (found["n"], found["status"]) == (113, "ok")
    assert found["reason"] == "7 of 120 samples have no value"
    assert found["value"] == pytest.approx(missed["hd95_px"].astype(float).mean(), abs=1e-9)


def test_samples_with_nothing_to_segment_are_neither_measured_nor_failures():
    segmentations, attributes = masks()
    status = np.select([segmentations.index < 5, segmentations.index < 9], ["no_target", "nan_output"], "ok")
    broken = segmentations.assign(status=status, dice=segmentations["dice"].where(status == "ok"))
    metrics, _ = segmented(broken, attributes)
    assert row(metrics, group="all", metric="dice")[["n", "n_failed"]].tolist() == [111, 4]


def test_best_group_has_the_smaller_distance():
    _, gaps = segmented(*masks(worse="male", by=0.2))
    assert row(gaps, metric="dice")[["best_group", "worst_group"]].tolist() == ["female", "male"]
    gap = row(gaps, metric="hd95_px")
    assert gap[["best_group", "worst_group"]].tolist() == ["female", "male"]
    assert 0 < gap["ci_low"] < gap["raw"] < gap["ci_high"]
    assert gap["p_value"] == 1 / 200


def test_subject_whose_age_passes_a_bin_counts_in_both_groups_and_once_overall():
    segmentations, attributes = masks(slices=2)
    attributes["age"] = np.where(np.arange(len(attributes)) % 2, 59.0, 60.0)
    metrics, gaps = segmented(segmentations, attributes, {"age": {"bins": [60]}})
    counts = [row(metrics, group=g, metric="dice")["n_subjects"] for g in ("all", "<60", "60+")]
    assert counts == [120, 120, 120]
    assert row(gaps, metric="dice")["status"] == "ok"


def test_rows_of_all_splits_that_the_usage_made_are_measured():
    segmentations, attributes = masks()
    half = len(segmentations) // 2
    segmentations.loc[: half - 1, "split"] = "train"
    metrics, _ = segmented(segmentations, attributes)
    found = row(metrics, group="all", metric="dice")
    assert (found["n"], found["split"]) == (len(segmentations), "train+test")


def with_sizes(segmentations, attributes, *, slope, seed=1, smaller=None, by=0.0):
    """Give the masks areas exp(6 + noise), those of the sex `smaller` exp(`by`) times less, and Dice a slope on their log."""
    rng = np.random.default_rng(seed)
    log_area = 6 + 0.5 * rng.normal(size=len(segmentations))
    log_area = log_area - by * (attributes["sex"] == smaller).to_numpy()
    dice = 0.6 + slope * (log_area - 6) + 0.01 * rng.normal(size=len(segmentations))
    area = np.exp(log_area)
    return segmentations.assign(volume_true=area, volume_predicted=1.1 * area, dice=dice.astype("float32"))


def test_volume_error_and_signed_bias_are_relative_to_the_true_volume():
    segmentations, attributes = masks(3)
    small = QUICK.model_copy(update={"minimum_subjects": 1})
    sized = segmentations.assign(volume_true=[100.0, 200.0, 0.0], volume_predicted=[50.0, 250.0, 10.0])
    sized["status"] = ["ok", "ok", "false_positive_structure"]
    metrics, _ = segmented(sized, attributes, settings=small)
    error, bias = (row(metrics, group="all", metric=name) for name in ("volume_error", "volume_bias"))
    assert error["value"] == pytest.approx((0.5 + 0.25) / 2)
    assert bias["value"] == pytest.approx((-0.5 + 0.25) / 2)
    assert error["n"] == bias["n"] == 2
    assert "1 of 3 samples have no value" in error["reason"]
    assert "0 is best" in bias["reason"]


def test_missed_structure_has_lost_its_whole_volume():
    segmentations, attributes = masks()
    metrics, _ = segmented(segmentations.assign(volume_predicted=0.0), attributes)
    assert row(metrics, group="all", metric="volume_error")["value"] == 1.0
    assert row(metrics, group="all", metric="volume_bias")["value"] == -1.0


def cups_and_discs():
    segmentations, attributes = masks(60)
    rng = np.random.default_rng(3)
    disc, cup = rng.uniform(80, 120, 60), rng.uniform(20, 60, 60)
    sizes = {"disc": (disc, disc * 1.2), "cup": (cup, cup * 0.9)}
    parts = [
        segmentations.assign(structure=name, volume_true=true, volume_predicted=predicted)
        for name, (true, predicted) in sizes.items()
    ]
    return pd.concat(parts, ignore_index=True), attributes, np.abs(0.9 / 1.2 - 1) * cup / disc


def test_cup_to_disc_distance_pairs_the_structures_of_a_sample():
    segmentations, attributes, distance = cups_and_discs()
    shuffled = segmentations.sample(frac=1, random_state=1)
    metrics, gaps = segmented(shuffled, attributes)
    ratio = metrics[metrics["structure"] == "cup/disc"]
    assert set(ratio["metric"]) == {"cdr_distance"}
    found = row(ratio, group="all")
    assert found["value"] == pytest.approx(distance.mean(), rel=1e-9)
    assert found["prompt"] == "bbox"
    assert found["ci_low"] < found["value"] < found["ci_high"]
    assert row(gaps, structure="cup/disc", metric="cdr_distance", kind="max-min")["status"] == "ok"


def test_cup_to_disc_distance_is_of_areas_and_undefined_without_a_disc():
    cup = Volumes(np.array([30.0, 30.0]), np.array([20.0, 20.0]))
    disc = Volumes(np.array([100.0, 100.0]), np.array([80.0, 0.0]))
    assert cdr_distance(cup, disc)[0] == pytest.approx(0.05)
    assert np.isnan(cdr_distance(cup, disc)[1])


def test_samples_that_lack_one_of_both_structures_are_not_in_the_ratio():
    segmentations, attributes, distance = cups_and_discs()
    cup = segmentations["structure"] == "cup"
    absent = cup & (segmentations["sample_id"] < "s00010")
    broken = ~cup & (segmentations["sample_id"].between("s00010", "s00014"))
    segmentations.loc[absent, "status"] = "no_target"
    segmentations.loc[broken, "status"] = "nan_output"
    metrics, _ = segmented(segmentations, attributes)
    found = row(metrics, structure="cup/disc", group="all")
    assert (found["n"], found["n_failed"]) == (45, 5)
    assert found["value"] == pytest.approx(distance[15:].mean(), rel=1e-9)


def test_datasets_without_a_disc_have_no_ratio():
    metrics, _ = segmented(*masks())
    assert set(metrics["structure"]) == {"cup"}


def test_size_effect_is_the_least_squares_slope():
    segmentations, attributes = masks()
    sized = with_sizes(segmentations, attributes, slope=0.1)
    metrics, _ = segmented(sized, attributes)
    dice, size = sized["dice"].to_numpy(float), np.log(sized["volume_true"].to_numpy())
    for group in ("all", "female"):
        rows = np.ones(len(size), bool) if group == "all" else (attributes["sex"] == group).to_numpy()
        found = row(metrics, group=group, metric="dice_size_slope")
        assert found["convention"] == "ols:log-volume"
        assert found["value"] == pytest.approx(linregress(size[rows], dice[rows]).slope, abs=1e-9)
        assert found["ci_low"] < found["value"] < found["ci_high"]


def test_gap_that_is_only_one_of_size_vanishes_when_size_is_adjusted():
    segmentations, attributes = masks()
    sized = with_sizes(segmentations, attributes, slope=0.1, smaller="female", by=0.6)
    metrics, gaps = segmented(sized, attributes)
    of = {"metric": "dice", "kind": "max-min"}
    plain = row(gaps, convention="mean:subject", **of)
    adjusted = row(gaps, convention="mean:subject|size-adjusted", **of)
    assert plain["raw"] > 0.04
    assert adjusted["raw"] < 0.01
    both = metrics[(metrics["group"] == "all") & (metrics["metric"] == "dice")]
    assert both["value"].iloc[0] == pytest.approx(both["value"].iloc[1], abs=1e-9)


def test_subjects_with_many_slices_do_not_rule_the_size_effect():
    segmentations, attributes = masks(60, slices=2)
    once = with_sizes(segmentations, attributes, slope=0.1)
    repeated = pd.concat(
        [once, *(once.iloc[:40].assign(sample_id=once["sample_id"].iloc[:40] + f"-{k}") for k in range(5))]
    )
    people = attributes.set_index("sample_id").loc[repeated["sample_id"].str[:6]].reset_index(drop=True)
    people["sample_id"] = repeated["sample_id"].to_numpy()
    values = [
        row(segmented(*given)[0], group="all", metric=metric, convention=convention)["value"]
        for given in ((once, attributes), (repeated, people))
        for metric, convention in (
            ("dice_size_slope", "ols:log-volume"),
            ("dice", "mean:subject|size-adjusted"),
        )
    ]
    assert values[:2] == pytest.approx(values[2:], abs=1e-9)


def test_equal_volumes_leave_no_size_effect_to_speak_of():
    metrics, _ = segmented(*masks())
    assert "dice_size_slope" not in set(metrics["metric"])
    assert set(metrics.loc[metrics["metric"] == "dice", "convention"]) == {"mean:subject"}


def empty_masks():
    """24 subjects: 6 plain masks, 6 invented structures, 6 misses, 6 empty masks on both sides."""
    segmentations, attributes = masks(24)
    case = np.repeat(["both", "invented", "missed", "neither"], 6)
    true, predicted = np.isin(case, ["both", "missed"]), np.isin(case, ["both", "invented"])
    dice = np.select([case == "both", case == "neither"], [0.8, 1.0], 0.0)
    distance = np.select([case == "both", case == "neither"], [4.0, 0.0], np.nan)
    status = np.select(
        [case == "invented", case == "neither"], ["false_positive_structure", "true_negative"], "ok"
    )
    table = segmentations.assign(
        dice=dice,
        iou=dice,
        hd95_px=distance,
        assd_px=distance,
        volume_true=100.0 * true,
        volume_predicted=100.0 * predicted,
        status=status,
    )
    return table, attributes


@pytest.mark.parametrize(
    ("convention", "dice", "hd95", "n"),
    [
        ("mean:subject", (0.8 + 0 + 0 + 1) / 4, (4 + 0) / 2, (24, 12)),
        ("mean:subject|empty:exclude", (0.8 + 0) / 2, 4.0, (12, 6)),
        ("mean:subject|empty:fairseg", (0.8 + 1 + 0 + 0) / 4, (4 + 0 + 0 + 0) / 4, (24, 24)),
    ],
)
def test_empty_masks_score_as_the_named_rule_says(convention, dice, hd95, n):
    asked = MeasureSettings(**QUICK_VALUES, conventions=("empty:exclude", "fairseg"))
    metrics, _ = segmented(*empty_masks(), settings=asked)
    found = [row(metrics, group="all", metric=m, convention=convention) for m in ("dice", "hd95_px")]
    assert [one["value"] for one in found] == pytest.approx([dice, hd95])
    assert tuple(one["n"] for one in found) == n
    if convention.endswith("empty:fairseg"):
        assert all(one["reason"].startswith("legacy") for one in found)


def test_other_rules_for_empty_masks_are_given_only_when_asked_for():
    metrics, _ = segmented(*empty_masks())
    assert not metrics["convention"].str.contains("empty:").any()


def test_fairsegs_zero_distance_is_not_invented_where_there_is_no_spacing():
    asked = MeasureSettings(**QUICK_VALUES, conventions=("empty:fairseg",))
    metrics, _ = segmented(*empty_masks(), settings=asked)
    rows = metrics[metrics["convention"] == "mean:subject|empty:fairseg"]
    assert set(rows["metric"]) == {"dice", "iou", "hd95_px"}


def test_table_with_dice_alone_is_measured_by_dice_alone():
    segmentations, attributes = masks()
    lean = segmentations[["sample_id", "subject_id", "split", "structure", "prompt", "dice", "status"]]
    metrics, _ = segmented(lean, attributes)
    assert set(metrics["metric"]) == {"dice"}


def test_table_without_any_metric_is_refused():
    segmentations, attributes = masks()
    bare = segmentations[["sample_id", "subject_id", "split", "structure", "prompt", "status"]]
    with pytest.raises(UserError, match=r"must have a column of a metric \(dice, iou"):
        segmented(bare, attributes)


def test_slope_differentiates_as_finite_differences_do():
    form = size_slope().form
    sums = np.array([30.0, 2.0, 20.0, 9.0, 3.0])
    step = 1e-6 * np.eye(5)
    numeric = (form.value(sums + step) - form.value(sums - step)) / 2e-6
    assert form.gradient(sums) == pytest.approx(numeric, rel=1e-6)


def test_slope_of_equal_sizes_is_undefined():
    assert np.isnan(size_slope().form.value(np.array([4.0, 2.0, 3.0, 1.0, 1.5])))


def test_dice_is_standardised_to_a_common_case_mix():
    segmentations, attributes = masks(400, worse="female", by=0.2)
    rng = np.random.default_rng(5)
    old = rng.random(400) < np.where(attributes["sex"] == "female", 0.7, 0.3)
    attributes["age"] = np.where(old, 70.0, 40.0)
    segmentations["dice"] = np.where(old, 0.6, 0.8).astype("float32")
    settings = MeasureSettings(**QUICK_VALUES, standardize=("age",))
    _, gaps = segmented(segmentations, attributes, {"sex": {}, "age": {"bins": [60]}}, settings)
    of = {"attribute": "sex", "metric": "dice", "kind": "max-min"}
    assert row(gaps, convention="mean:subject", **of)["raw"] > 0.05
    assert row(gaps, convention="mean:subject|age-standardised", **of)["raw"] == pytest.approx(0, abs=1e-6)
