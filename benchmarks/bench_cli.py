"""What the command itself costs: ``fairray --help``, and running a finished study again.

Limits: 0.3 s of CPU for the help; no Ray process for a finished study. Writes bench_cli.csv.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import write_csv

HERE = Path(__file__).parent
FAIRRAY = Path(sys.executable).with_name("fairray")
STUDY = """
study: bench
store: {folder}/store
datasets: {{cxr: {{shards: {folder}/cxr, adapter: phantom-cxr, options: {{subjects: 60}}, targets: [opacity]}}}}
models: [tiny-clip]
usages: {{zero_shot: {{}}, linear_probe: {{}}}}
attributes: {{sex: {{}}}}
measure: {{bootstrap: 100, permutations: 100}}
"""


def measure(command: list[str]) -> tuple[float, float]:
    """Return CPU and wall seconds of a command and all its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - started


def row(what: str, runs: list[tuple[float, float]], limit_cpu_s: float | None) -> dict[str, object]:
    cpu, wall = (statistics.median(values) for values in zip(*runs, strict=True))
    ratio = "" if limit_cpu_s is None else round(cpu / limit_cpu_s, 2)
    return {
        "what": what,
        "runs": len(runs),
        "cpu_s": round(cpu, 3),
        "wall_s": round(wall, 3),
        "limit_cpu_s": limit_cpu_s,
        "ratio": ratio,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(STUDY.format(folder=folder))
        measure([FAIRRAY, "--help"])
        rows = [row("fairray --help", [measure([FAIRRAY, "--help"]) for _ in range(runs)], 0.3)]
        rows.append(
            row("first run, Ray, 2 workers", [measure([FAIRRAY, "run", study, "--workers", "2"])], None)
        )
        rows.append(row("run again, finished", [measure([FAIRRAY, "run", study]) for _ in range(runs)], None))
    for line in rows:
        print(line)
    write_csv(HERE / "bench_cli.csv", rows)


if __name__ == "__main__":
    main()
