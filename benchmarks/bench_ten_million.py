"""Ten million predictions grouped with AUC, as ``fairray query`` computes it, against pandas with scikit-learn, in one run.

Work: one Parquet file of 10,000,000 rows with score, label and one of four groups; count and AUC of each group. Each side runs
in a process of its own that reads the file; wall time, and the peak of its memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import write_csv

ROWS = 10_000_000

OURS = """
import duckdb
from jobs.sql_functions import functions
with functions(duckdb.connect()) as connection:
    sql = f"select sex, count(*), auc(score, label = 'sick') from read_parquet('{path}') group by sex order by sex"
    found = connection.execute(sql).fetchall()
"""

PEER = """
import pandas as pd
from sklearn.metrics import roc_auc_score
frame = pd.read_parquet(path)
found = [
    (sex, len(rows), roc_auc_score(rows["label"] == "sick", rows["score"]))
    for sex, rows in frame.groupby("sex", observed=True)
]
"""

HARNESS = """
import json, resource, sys, time
path = sys.argv[1]
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({{"seconds": seconds, "peak_gib": peak, "found": [list(map(str, row)) for row in found]}}))
"""


def write_rows(path):
    rng = np.random.default_rng(0)
    sick = rng.random(ROWS) < 0.1
    score = 1 / (1 + np.exp(-(rng.normal(size=ROWS) + 1.3 * sick - 1)))
    columns = {
        "score": score.astype("float32"),
        "label": pa.array(np.where(sick, "sick", "well")).dictionary_encode(),
        "sex": pa.array(np.array(["a", "b", "c", "d"])[rng.integers(0, 4, ROWS)]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def measure(work, path):
    command = [sys.executable, "-c", HARNESS.format(work=work), str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.parquet"
        write_rows(path)
        ours, peer = measure(OURS, path), measure(PEER, path)
    for one, other in zip(sorted(ours["found"]), sorted(peer["found"]), strict=True):
        assert one[:2] == other[:2]
        assert abs(float(one[2]) - float(other[2])) < 1e-9
    row = {
        "rows": ROWS,
        "groups": 4,
        "ours_s": round(ours["seconds"], 2),
        "ours_peak_gib": round(ours["peak_gib"], 2),
        "pandas_sklearn_s": round(peer["seconds"], 2),
        "pandas_sklearn_peak_gib": round(peer["peak_gib"], 2),
        "times_faster": round(peer["seconds"] / ours["seconds"], 1),
        "limit_s": 5,
        "limit_gib": 4,
    }
    write_csv(Path(__file__).with_suffix(".csv"), [row])
    print(row)


if __name__ == "__main__":
    main()
