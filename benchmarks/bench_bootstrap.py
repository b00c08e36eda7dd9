"""Bootstrap of group metrics: weights and matrix products against fairlearn's resampling loop, in one run.

Work: 20,000 rows of 20,000 subjects, 4 groups, accuracy, balanced accuracy, sensitivity and specificity, overall and by group;
then the area under the ROC curve. Ours makes 1,000 replicates; fairlearn (rows, not subjects) makes a few and is scaled up
linearly, as the column `fairlearn_replicates_run` says. One thread. Times are CPU seconds, so that other load matters little.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from fairlearn.metrics import MetricFrame, true_negative_rate, true_positive_rate
from machine import write_csv
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from threadpoolctl import threadpool_limits

from evaluator.metrics.classification import Scored, auc, threshold_metrics
from evaluator.statistics.bootstrap import subject_weights
from evaluator.statistics.partition import Partition
from evaluator.statistics.resampling import Resampler

ROWS, REPLICATES, PEER_REPLICATES = 20_000, 1_000, 5


def make_rows():
    rng = np.random.default_rng(0)
    group, sick = rng.integers(0, 4, ROWS), rng.random(ROWS) < 0.2
    p = 1 / (1 + np.exp(-(rng.normal(size=ROWS) + 1.3 * sick)))
    return Scored(sick.astype(np.int64), np.stack([1 - p, p], 1), 1), group


def ours(metrics, data, group):
    subject = np.arange(ROWS)
    names = [f"p{i:05d}" for i in range(ROWS)]
    start = time.process_time()
    whole = Partition.cut(subject, np.zeros(ROWS, np.int64), 1)
    prepared = [Resampler.prepare(metrics, data, p) for p in (whole, Partition.cut(subject, group, 4))]
    draws = [[values(weights) for values in prepared] for _, weights in subject_weights(0, names, REPLICATES)]
    seconds = time.process_time() - start
    return seconds, np.concatenate([block[1] for block in draws], axis=2)


def peer(metrics, data, group, predicted):
    start = time.process_time()
    frame = MetricFrame(
        metrics=metrics, y_true=data.label, y_pred=predicted, sensitive_features=group,
        n_boot=PEER_REPLICATES, ci_quantiles=[0.025, 0.975], random_state=0,
    )  # fmt: skip
    return time.process_time() - start, frame.by_group


def main():
    data, group = make_rows()
    work = {
        "4 threshold metrics": (
            threshold_metrics(0.5, "fixed:0.5")[:4],
            {
                "accuracy": accuracy_score,
                "balanced_accuracy": balanced_accuracy_score,
                "sensitivity": true_positive_rate,
                "specificity": true_negative_rate,
            },
            (data.score >= 0.5).astype(int),
        ),
        "auc": ((auc(data),), {"auc": roc_auc_score}, data.score),
    }
    rows = []
    with threadpool_limits(1):
        for name, (metrics, peers, predicted) in work.items():
            seconds, draws = ours(metrics, data, group)
            theirs, values = peer(peers, data, group, predicted)
            for position, metric in enumerate(metrics):
                np.testing.assert_allclose(draws[position].mean(axis=1), values[metric.name], atol=0.01)
            scaled = theirs * REPLICATES / PEER_REPLICATES
            rows.append(
                {
                    "work": name,
                    "rows": ROWS,
                    "groups": 4,
                    "replicates": REPLICATES,
                    "ours_cpu_s": round(seconds, 2),
                    "fairlearn_replicates_run": PEER_REPLICATES,
                    "fairlearn_cpu_s_scaled": round(scaled),
                    "times_faster": round(scaled / seconds),
                    "fairlearn": version("fairlearn"),
                }
            )
    write_csv(Path(__file__).with_suffix(".csv"), rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
