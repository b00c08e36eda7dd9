"""``fairray audit`` on 22,000 rows x 14 labels x 3 attributes with 1,000 replicates and 1,000 permutations, as a user runs it.

The table is a CSV file; the time is that of the whole command (start, reading, every default metric with intervals and
tests, tables, report). The limit is 30 s on two cores; the peer is fairlearn's bootstrap of AUC alone for the same labels
and attributes, of which a few replicates are run and scaled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from machine import write_csv
from sklearn.metrics import roc_auc_score

ROWS, LABELS, REPLICATES, PEER_REPLICATES = 22_000, 14, 1000, 3
LIMIT_S = 30


def make_table():
    rng = np.random.default_rng(0)
    people = ROWS // 2
    person = np.repeat(np.arange(people), 2)
    columns = {
        "patient_id": [f"p{number:06d}" for number in person],
        "sex": rng.choice(["female", "male"], people)[person],
        "age": rng.uniform(18, 95, people).round()[person],
        "race": rng.choice(["asian", "black", "white"], people, p=[0.1, 0.3, 0.6])[person],
    }
    for label in range(LABELS):
        sick = rng.random(ROWS) < 0.05 + 0.02 * label
        columns[f"finding{label}"] = sick.astype(int)
        columns[f"score_finding{label}"] = 1 / (1 + np.exp(-(rng.normal(size=ROWS) + 1.2 * sick - 1)))
    return pd.DataFrame(columns)


def peer_seconds(table):
    ages = pd.cut(table["age"], [0, 40, 60, 80, 120]).astype(str)
    start = time.perf_counter()
    for attribute in (table["sex"], ages, table["race"]):
        MetricFrame(
            metrics=roc_auc_score, y_true=table["finding0"], y_pred=table["score_finding0"],
            sensitive_features=attribute, n_boot=PEER_REPLICATES, ci_quantiles=[0.025, 0.975], random_state=0,
        )  # fmt: skip
    return (time.perf_counter() - start) * LABELS * REPLICATES / PEER_REPLICATES


def main():
    table = make_table()
    findings = [f"finding{label}" for label in range(LABELS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.csv"
        table.to_csv(path, index=False)
        command = [
            str(Path(sys.executable).with_name("fairray")), "audit", str(path), "--out", str(Path(folder) / "out"),
            "--bins", "age=40,60,80", "--bootstrap", str(REPLICATES),
            "--target", ",".join(findings), "--score", ",".join(f"score_{name}" for name in findings),
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    peer = peer_seconds(table)
    row = {
        "rows": ROWS,
        "labels": LABELS,
        "attributes": 3,
        "replicates": REPLICATES,
        "permutations": 1000,
        "ours_wall_s": round(seconds, 1),
        "limit_s": LIMIT_S,
        "share_of_limit": round(seconds / LIMIT_S, 2),
        "fairlearn_auc_only_s_scaled": round(peer),
        "times_faster": round(peer / seconds),
    }
    write_csv(Path(__file__).with_suffix(".csv"), [row])
    print(row)


if __name__ == "__main__":
    main()
