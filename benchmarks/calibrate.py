"""The evaluator's own calibration: coverage of intervals, size of tests, bias of gaps, on simulated people of known truth.

Writes one row for each question to calibration.csv and exits with 1 if an answer is outside the range that is guaranteed, by
more than chance (two Monte Carlo errors). `--runs` scales everything; the numbers depend on it and on nothing else, above all
not on the number of processes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from machine import write_csv

from evaluator.selftest import program, run_studies


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=800, help="simulated runs of each main study")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument("--only", default="", help="part of the names of the studies to run; writes no file")
    options = parser.parse_args()
    # Set before the processes start: many small measurements side by side gain nothing from threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    start, rows = time.monotonic(), []
    jobs = [job for job in program(options.runs) if options.only in job.name]
    for job, found in run_studies(jobs, workers=options.workers):
        rows += [
            {
                **asdict(finding),
                "value": f"{finding.value:.4g}",
                "error": f"{finding.error:.2g}",
                "ok": "yes" if finding.ok else "NO",
            }
            for finding in found
        ]
        bad = [finding for finding in found if not finding.ok]
        print(f"{time.monotonic() - start:6.0f} s  {job.name}: {len(found)} answers, {len(bad)} out of range")
        for finding in bad:
            print(
                f"          {finding.what}, {finding.of}: {finding.value:.4f} +- {finding.error:.4f}", end=""
            )
            print(f" outside {finding.low:g} to {finding.high:g}")
    if not options.only:
        write_csv(Path(__file__).with_name("calibration.csv"), rows)
    sys.exit(any(row["ok"] == "NO" for row in rows))


if __name__ == "__main__":
    main()
