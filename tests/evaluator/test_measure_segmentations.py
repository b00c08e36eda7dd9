import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from measuring import KEYS, QUICK, masks, row, segmented

from evaluator.groups import parse_groups
from evaluator.measure import measure_segmentations
from evaluator.tables import GAPS, METRICS, SEGMENTATIONS


def test_tables_have_the_fixed_schemas():
    segmentations, attributes = masks()
    full = segmentations.assign(
        volume_true=1.0, volume_predicted=1.0, predicted_iou=None, points=None, box=None
    )
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
    assert len(gaps) == 4 * 5


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
