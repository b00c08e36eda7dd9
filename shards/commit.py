"""The end of a conversion: all new shards take the place of the old ones at once, for a reader.

``dataset.json`` goes first and comes last, so at no moment does it describe other bytes than those that are
there. A kill in between leaves an unfinished conversion, which continues from the shards wherever they lie by
then.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from shards.adapter import Adapter
from shards.audit import audit
from shards.card import DatasetCard
from shards.dataset import DATASET_FILE, FORMAT, INDEX_FILE, PARTS_FOLDER, REJECTED_FILE, SHARDS_FOLDER
from shards.files import fsync_folder, sha256_file, write_json
from shards.index import (
    count,
    fingerprint,
    index_schema,
    rejected_schema,
    unknown_attributes,
    write_table,
)
from shards.options import ConvertOptions
from shards.writer import ShardResult, adapter_json


def commit(
    out: Path,
    adapter: Adapter,
    card: DatasetCard,
    options: ConvertOptions,
    *,
    identity: str,
    results: list[ShardResult],
    rejected: list[dict[str, Any]],
) -> None:
    """Move the shards to their place and write the tables and ``dataset.json``.

    Parameters
    ----------
    out
        The dataset's folder.
    adapter, card, options
        What was converted and how.
    identity
        Hash of all that determined the dataset.
    results
        One per shard, in index order.
    rejected
        Rows of ``rejected.parquet``.

    Raises
    ------
    OSError
        If the folder cannot be written; a repetition continues.
    """
    whole = [result for result in results if result.sha256 is not None]
    (out / DATASET_FILE).unlink(missing_ok=True)
    fsync_folder(out)
    _move_shards(out, {result.name for result in whole})
    rows = [row for result in whole for row in result.rows]
    staging = out / PARTS_FOLDER  # what a kill leaves there goes with it
    write_table(out / INDEX_FILE, rows, index_schema(card), staging=staging)
    write_table(out / REJECTED_FILE, rejected, rejected_schema(card), staging=staging)
    description = {
        "format": FORMAT,
        "card": card.to_json(),
        "fingerprint": fingerprint(card, rows),
        "identity": identity,
        "index_sha256": sha256_file(out / INDEX_FILE),
        "adapter": _without_places(adapter_json(adapter)),
        "conversion": options.determining(),
        "counts": {**count(card, rows), "rejected": _by_reason(rejected)},
        "audit": audit(card, rows, rejected).to_json(),
        "notes": [
            f"attribute {name!r} is unknown for all samples" for name in unknown_attributes(card, rows)
        ],
        "shards": [
            {"name": r.name, "split": r.split, "samples": len(r.rows), "bytes": r.bytes, "sha256": r.sha256}
            for r in whole
        ],
        "software": {"fairray": _version()},
    }
    write_json(out / DATASET_FILE, description, staging=staging)
    clear(out)


def clear(out: Path) -> None:
    """Remove what only an unfinished conversion needs."""
    shutil.rmtree(out / PARTS_FOLDER, ignore_errors=True)


def _move_shards(out: Path, names: set[str]) -> None:
    target, staged = out / SHARDS_FOLDER, out / PARTS_FOLDER / SHARDS_FOLDER
    target.mkdir(exist_ok=True)
    for name in sorted(names):
        if (staged / name).exists():
            (staged / name).replace(target / name)
    for path in target.iterdir():
        if path.name not in names:
            path.unlink()
    fsync_folder(target)


def _by_reason(rejected: list[dict[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(row["reason"] for row in rejected).items()))


def _without_places(value: Any) -> Any:
    """Shorten absolute paths to their last component: where the raw data lay is nobody's business."""
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def _version() -> str:
    try:
        return importlib.metadata.version("fairray")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
