"""Small made-up tables for the tests of measuring."""

import numpy as np
import pandas as pd

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, ResultKeys, measure_predictions, measure_segmentations
from shards.card import Target

SICK = Target("disease", ("healthy", "sick"), "sick")
QUICK = MeasureSettings(bootstrap=200, permutations=199)
KEYS = ResultKeys(dataset="made-up", model="m", usage="linear_probe", task="t1")


def cases(subjects=300, *, images=1, seed=0, weaker=None, drop=0.0, val=0.0, unknown=0.0):
    """Predictions of a two-class target and the attributes of its samples. `weaker`: sex whose signal loses `drop`."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], subjects)
    age = rng.uniform(20, 90, subjects).round(1)
    sick = rng.random(subjects) < 0.4
    signal = 1.5 * np.where(sex == weaker, 1.0 - drop, 1.0)
    own = rng.normal(size=subjects)
    noise = 0.7 * own[:, None] + 0.7 * rng.normal(size=(subjects, images))
    score = (1 / (1 + np.exp(-(noise + (signal * sick)[:, None] - 0.5)))).ravel()
    split = np.where(rng.random(subjects) < val, "val", "test")
    sex = np.where(rng.random(subjects) < unknown, None, sex)
    person = np.repeat(np.arange(subjects), images)
    ids = [f"s{row:05d}" for row in range(len(person))]
    predictions = pd.DataFrame(
        {
            "sample_id": ids,
            "subject_id": [f"p{p:05d}" for p in person],
            "split": split[person],
            "target": "disease",
            "label": np.where(sick, "sick", "healthy")[person],
            "predicted": np.where(score >= 0.5, "sick", "healthy"),
            "score": score.astype("float32"),
            "scores": [np.array([1 - s, s], "float32") for s in score],
            "logits": None,
            "status": "ok",
            "reason": None,
        }
    )
    attributes = pd.DataFrame(
        {"sample_id": ids, "subject_id": predictions["subject_id"], "sex": sex[person], "age": age[person]}
    )
    return predictions, attributes


def masks(subjects=120, *, slices=1, seed=0, worse=None, by=0.0):
    """Segmentations of one structure and prompt. `worse`: sex whose dice is lower by `by`."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], subjects)
    person = np.repeat(np.arange(subjects), slices)
    dice = np.clip(0.8 - by * (sex == worse)[person] + 0.08 * rng.normal(size=len(person)), 0, 1).astype(
        "float32"
    )
    ids = [f"s{row:05d}" for row in range(len(person))]
    segmentations = pd.DataFrame(
        {
            "sample_id": ids,
            "subject_id": [f"p{p:05d}" for p in person],
            "split": "test",
            "structure": "cup",
            "prompt": "bbox",
            "dice": dice,
            "iou": dice / (2 - dice),
            "hd95_mm": np.float32(np.nan),
            "hd95_px": (20 * (1 - dice)).astype("float32"),
            "assd_mm": np.float32(np.nan),
            "assd_px": (5 * (1 - dice)).astype("float32"),
            "nsd": dice,
            "volume_true": 100.0,
            "volume_predicted": 100.0,
            "status": "ok",
            "reason": None,
        }
    )
    return segmentations, pd.DataFrame(
        {"sample_id": ids, "subject_id": segmentations["subject_id"], "sex": sex[person]}
    )


def predicted(predictions, attributes, groups=None, settings=QUICK, target=SICK, keys=KEYS):
    """Measure predictions; metrics of the measured split and max-min gaps as DataFrames."""
    measured = measurement(predictions, attributes, groups, settings, target, keys)
    metrics, gaps = measured.metrics.to_pandas(), measured.gaps.to_pandas()
    return (
        metrics[metrics["split"] == settings.split].reset_index(drop=True),
        gaps[gaps["kind"] == "max-min"].reset_index(drop=True),
    )


def measurement(predictions, attributes, groups=None, settings=QUICK, target=SICK, keys=KEYS):
    """Measure predictions; all tables."""
    rules = parse_groups({"sex": {}} if groups is None else groups)
    return measure_predictions(predictions, attributes, target, rules, settings, keys)


def segmented(segmentations, attributes, groups=None, settings=QUICK, keys=KEYS):
    """Measure segmentations; metrics and max-min gaps as DataFrames."""
    rules = parse_groups({"sex": {}} if groups is None else groups)
    measured = measure_segmentations(segmentations, attributes, rules, settings, keys)
    gaps = measured.gaps.to_pandas()
    return measured.metrics.to_pandas(), gaps[gaps["kind"] == "max-min"].reset_index(drop=True)


def row(table, **where):
    """The one row with these values."""
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    assert len(chosen) == 1, f"{len(chosen)} rows with {where}"
    return chosen.iloc[0]
