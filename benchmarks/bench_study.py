"""Statistics of a study of 20 models x 17 datasets of 20,000 cached predictions each: 1,000 replicates, 1,000 permutations.

Measured for real: all 20 models on one dataset (three attributes, every default metric, a process for each core), and the
comparison of all 340 results over the 17 datasets (the results of the one dataset, slightly moved, stand for those of the
others). The first is scaled by 17. The limit is "minutes"; the peer is fairlearn's bootstrap of AUC alone with as many
replicates, of which a few are run and scaled.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from machine import write_csv
from sklearn.metrics import roc_auc_score

from evaluator.compare.analysis import analyse
from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, ResultKeys, measure_predictions
from evaluator.statistics.multiplicity import adjust
from shards.card import Target

ROWS, MODELS, DATASETS, PEER_REPLICATES = 20_000, 20, 17, 3
SETTINGS = MeasureSettings(bootstrap=1000, permutations=1000, threshold="fixed:0.5")
RULES = parse_groups({"sex": {}, "age": {"bins": [40, 60, 80]}, "race": {}})
TARGET = Target("finding", ("absent", "present"), "present")


def make_dataset():
    rng = np.random.default_rng(0)
    people = ROWS // 2
    person = np.repeat(np.arange(people), 2)
    attributes = pd.DataFrame(
        {
            "sample_id": [f"s{row:06d}" for row in range(ROWS)],
            "subject_id": [f"p{row:06d}" for row in person],
            "sex": rng.choice(["female", "male"], people)[person],
            "age": rng.uniform(18, 95, people)[person],
            "race": rng.choice(["asian", "black", "white"], people, p=[0.1, 0.3, 0.6])[person],
        }
    )
    return attributes, rng.random(ROWS) < 0.15


def predictions_of(model, attributes, sick):
    rng = np.random.default_rng(model + 1)
    score = 1 / (1 + np.exp(-(rng.normal(size=ROWS) + (1.0 + 0.05 * model) * sick - 1)))
    columns = {"split": "test", "status": "ok", "target": TARGET.name}
    label = np.where(sick, "present", "absent")
    return attributes[["sample_id", "subject_id"]].assign(**columns, label=label, score=score)


def measure_one(model):
    attributes, sick = make_dataset()
    keys = ResultKeys(
        dataset="dataset-00", model=f"model-{model:02d}", usage="linear_probe", task=f"t{model}"
    )
    return measure_predictions(
        predictions_of(model, attributes, sick), attributes, TARGET, RULES, SETTINGS, keys
    )


def on_all_datasets(frames):
    """Let the results of the one dataset stand for those of all, slightly moved."""
    joined = pd.concat(frames, ignore_index=True)
    copies = []
    for dataset in range(DATASETS):
        copy = joined.assign(dataset=f"dataset-{dataset:02d}")
        if "value" in copy:
            copy["value"] += np.random.default_rng(dataset).normal(0, 0.01, len(copy))
        copies.append(copy)
    return pd.concat(copies, ignore_index=True)


def peer_seconds():
    attributes, sick = make_dataset()
    score = predictions_of(0, attributes, sick)["score"].to_numpy()
    start = time.perf_counter()
    for attribute in (
        attributes["sex"],
        attributes["race"],
        pd.cut(attributes["age"], [0, 40, 60, 80, 120]).astype(str),
    ):
        MetricFrame(
            metrics=roc_auc_score, y_true=sick, y_pred=score, sensitive_features=attribute,
            n_boot=PEER_REPLICATES, ci_quantiles=[0.025, 0.975], random_state=0,
        )  # fmt: skip
    return (time.perf_counter() - start) * SETTINGS.bootstrap / PEER_REPLICATES


def main():
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(measure_one, range(workers)))  # kernels are compiled and pages are warm
        start = time.perf_counter()
        results = list(pool.map(measure_one, range(MODELS)))
        measuring = time.perf_counter() - start
    tables = {
        name: on_all_datasets([getattr(result, name).to_pandas() for result in results])
        for name in ("metrics", "gaps", "replicates")
    }
    start = time.perf_counter()
    analysis = analyse(tables["metrics"], adjust(tables["gaps"]), tables["replicates"], alpha=0.05)
    comparing = time.perf_counter() - start
    assert len(analysis.comparisons) > 0
    ours = measuring * DATASETS + comparing
    peer = peer_seconds() * MODELS * DATASETS / workers
    row = {
        "models": MODELS,
        "datasets": DATASETS,
        "rows": ROWS,
        "replicates": SETTINGS.bootstrap,
        "permutations": SETTINGS.permutations,
        "measuring_one_dataset_s": round(measuring, 1),
        "comparing_all_s": round(comparing, 1),
        "study_minutes": round(ours / 60, 1),
        "fairlearn_auc_only_minutes_scaled": round(peer / 60),
        "times_faster": round(peer / ours),
    }
    write_csv(Path(__file__).with_suffix(".csv"), [row])
    print(row)


if __name__ == "__main__":
    main()
