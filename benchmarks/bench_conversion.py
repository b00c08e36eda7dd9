"""Converting images into shards against decoding them, memory of a large conversion, and verifying against hashing.

Images/s are of one core's time (one worker), for JPEGs that are stored as they are and for the same images shrunk by
``max_side``; the peer is Pillow opening and loading the same files in the same run: the floor of everything that looks at
pixels. Looks, audit, hashes and the index are included. The memory is the peak of the process that converts 100,000 tiny
images, in a process of its own; its workers hold one shard each. Verifying is compared with sha256 of the same files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import write_csv
from PIL import Image

from shards.convert import ConvertOptions, convert
from shards.dataset import SHARDS_FOLDER, open_dataset
from shards.datasets import make_adapter
from shards.verify import verify

LARGE_ROWS, LIMIT_GIB, REPEATS = 100_000, 2, 3
#: (name, images, height, width, max_side)
CASES = (
    ("jpeg 200x150, as they are", 2000, 150, 200, None),
    ("jpeg 200x150 to 128", 2000, 150, 200, 128),
    ("jpeg 1024x1024, as they are", 120, 1024, 1024, None),
    ("jpeg 1024x1024 to 512", 120, 1024, 1024, 512),
)


def write_raw(folder, images, height, width, suffix=".jpg"):
    """Write images with structure and noise, two of each person, and their table."""
    folder.mkdir()
    y, x = np.mgrid[0:height, 0:width]
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "person", "label", "sex", "age"])
        for number in range(images):
            rng = np.random.default_rng(number)
            waves = 60 * np.sin(x / rng.uniform(8, 40)) + 50 * np.cos(y / rng.uniform(8, 40))
            grey = 128 + waves + rng.normal(0, 6, (height, width))
            pixels = np.clip(grey[:, :, None] * (1.0, 0.9, 0.8), 0, 255).astype(np.uint8)
            name = f"{number // 1000:03d}/i{number:06d}{suffix}"
            (folder / name).parent.mkdir(exist_ok=True)
            Image.fromarray(pixels if suffix == ".jpg" else pixels[:, :, 0]).save(folder / name)
            age = 20 + number % 60
            table.writerow(
                [name, f"p{number // 2}", ("no", "yes")[number % 2], ("female", "male")[number // 2 % 2], age]
            )


def adapter_of(folder):
    options = {"table": folder / "table.csv", "dataset": "bench", "subject": "person"}
    return make_adapter("table", {**options, "targets": ["label"], "attributes": ["sex", "age"]})


def best_cpu(work):
    """Return the least processor time of a few repetitions, in seconds."""
    times = []
    for repeat in range(REPEATS):
        start = time.process_time()
        work(repeat)
        times.append(time.process_time() - start)
    return min(times)


def decode_all(folder):
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            image.load()


def bench_speed(folder, name, images, height, width, max_side):
    raw = folder / f"raw-{images}"
    if not raw.exists():
        write_raw(raw, images, height, width)
    floor = best_cpu(lambda _: decode_all(raw))
    options = ConvertOptions(workers=1, max_side=max_side)
    ours = best_cpu(lambda repeat: convert(adapter_of(raw), folder / f"{name}-{repeat}", options))
    return {
        "what": f"images/s per core: {name}",
        "ours": round(images / ours),
        "against": "Pillow open and load",
        "peer": round(images / floor),
        "ratio": round(floor / ours, 2),
    }


def convert_large(folder):
    """Convert in this process and print what it took."""
    start = time.perf_counter()
    dataset = convert(adapter_of(folder / "raw"), folder / "out")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert sum(dataset.counts.samples.values()) == LARGE_ROWS
    print(json.dumps({"seconds": time.perf_counter() - start, "gib": peak}))


def bench_memory(folder):
    write_raw(folder / "raw", LARGE_ROWS, 12, 16, suffix=".png")
    command = [sys.executable, __file__, "--large", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {
        "what": f"peak GiB of converting {LARGE_ROWS:,} images ({measured['seconds']:.0f} s)",
        "ours": round(measured["gib"], 2),
        "against": "limit",
        "peer": LIMIT_GIB,
        "ratio": round(measured["gib"] / LIMIT_GIB, 2),
    }


def bench_verify(folder):
    dataset = open_dataset(folder)
    paths = sorted((folder / SHARDS_FOLDER).iterdir())
    megabytes = sum(path.stat().st_size for path in paths) / 1e6

    def hash_all(_):
        for path in paths:
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    floor = best_cpu(hash_all)
    ours = best_cpu(lambda _: verify(dataset, None))
    return {
        "what": f"verify, MB/s of {megabytes:.0f} MB in {len(paths)} shards",
        "ours": round(megabytes / ours),
        "against": "sha256 of the same files",
        "peer": round(megabytes / floor),
        "ratio": round(floor / ours, 2),
    }


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [bench_speed(folder, *case) for case in CASES]
        (folder / "large").mkdir()
        rows.append(bench_memory(folder / "large"))
        rows.append(bench_verify(folder / "large" / "out"))
    for row in rows:
        print(row)
    write_csv(Path(__file__).with_suffix(".csv"), rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--large"]:
        convert_large(Path(sys.argv[2]))
    else:
        main()
