"""Embedding through the whole path against the bare model's forward pass, in one run on one torch thread.

The whole path is what a worker does: shards, decoding, preprocessing, model, table. The bare forward takes random tensors of
the same size in the same tiles. Goal: at least 0.9 of the bare rate where decoding is not the limit; the rate of reading,
decoding and resizing alone says whether it is. Runs alternate; `ratio` is the median over the pairs, `ratio_min` and
`ratio_max` their range, `load_average` what else the machine did. Decoding runs in a thread of its own, which is free only
where a core is idle: `model_thread_cpu_ratio` compares the CPU time of the thread that runs the model, without decoding.
A shard's last tile is padded, which `tiles_filled` counts. Weights are random (full-size networks): speed does not depend on
them. Writes bench_embedding.csv.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import write_csv

from evaluator.models.loading import load_model
from evaluator.models.numerics import inference
from evaluator.models.preprocess import Preprocessor
from evaluator.models.registry import default_registry
from evaluator.models.tiles import tile_size
from evaluator.models.weights import locate
from evaluator.usages.embed import embed_shard
from shards.convert import ConvertOptions, convert
from shards.dataset import Dataset, open_dataset
from shards.datasets import make_adapter

HERE = Path(__file__).parent
MODELS = ("timm:mobilenetv2_035@random", "timm:vit_base_patch32_clip_224@random")


def phantom(folder: Path, images: int) -> Dataset:
    """Convert chest phantoms, two views a subject."""
    convert(
        make_adapter("phantom-cxr", {"subjects": (images + 1) // 2}),
        folder / "cxr",
        ConvertOptions(workers=1),
    )
    return open_dataset(folder / "cxr")


class Rate(NamedTuple):
    """Images per second of wall time, and per second of CPU time of the calling thread."""

    wall: float
    cpu: float


def rate(images: int, run: Callable[[], Any]) -> Rate:
    wall, cpu = time.perf_counter(), time.thread_time()
    run()
    return Rate(images / (time.perf_counter() - wall), images / (time.thread_time() - cpu))


def bare(model: Any, images: int) -> Callable[[], None]:
    """Return the forward pass over random, already normalised tensors on the device."""
    tile, size = tile_size(model.card, str(model.device)), model.card.preprocessing.size
    tensors = torch.randn(tile, 3, size, size, device=model.device)

    def run() -> None:
        with inference(model.device, "fp32"):
            for _ in range(images // tile):
                features = model.network(tensors)
            features.cpu()

    return run


def whole(model: Any, dataset: Dataset, batch_size: int) -> None:
    for shard in dataset.shards:
        table = embed_shard(model, dataset, shard.name, batch_size=batch_size).table
        assert table["status"].unique().to_pylist() == ["ok"]


def decode(model: Any, dataset: Dataset) -> None:
    preprocessor = Preprocessor(model.card.preprocessing)
    for shard in dataset.shards:
        for sample in dataset.read(shard.name, masks=False):
            preprocessor(sample.image)


def measure(name: str, dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    card = default_registry().card(name)
    model = load_model(card, locate(card), device=options.device)
    images = sum(shard.samples for shard in dataset.shards)
    tile = tile_size(card, options.device)
    bare_images = max(1, images // tile) * tile
    bare(model, tile)()
    embed_shard(model, dataset, dataset.shards[-1].name, batch_size=options.batch_size)
    runs = []
    for _ in range(options.repeats):
        alone = rate(bare_images, bare(model, bare_images))
        path = rate(images, lambda: whole(model, dataset, options.batch_size))
        runs.append((alone, path, rate(images, lambda: decode(model, dataset))))
    forward, path, decoding = (
        statistics.median(one.wall for one in all_) for all_ in zip(*runs, strict=True)
    )
    ratios = [whole_.wall / bare_.wall for bare_, whole_, _ in runs]
    return {
        "model": name,
        "device": options.device,
        "images": images,
        "stored_side": dataset.index["width"][0].as_py(),
        "batch_size": options.batch_size,
        "tile": tile,
        "tiles_filled": round(images / sum(-(-shard.samples // tile) * tile for shard in dataset.shards), 3),
        "bare_forward_per_s": round(forward, 1),
        "decode_alone_per_s": round(decoding, 1),
        "whole_path_per_s": round(path, 1),
        "repeats": options.repeats,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "model_thread_cpu_ratio": round(statistics.median(w.cpu / b.cpu for b, w, _ in runs), 3),
        "load_average": round(os.getloadavg()[0], 1),
        "limit": "model" if decoding > forward else "decoding",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dataset", type=Path, help="a converted dataset instead of chest phantoms")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset(options.dataset) if options.dataset else phantom(Path(folder), options.images)
        rows = [measure(name, dataset, options) for name in options.models]
    for row in rows:
        print(row)
    write_csv(HERE / "bench_embedding.csv", rows)


if __name__ == "__main__":
    main()
