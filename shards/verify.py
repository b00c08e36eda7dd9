"""Finds damage in a converted dataset before anything is computed from it.

Guarantee: a shard that is missing, cut off, altered or exchanged for another is found, with the samples it
concerns, and so is an index that is not the dataset's own or that names bytes no shard has. Hashes are kept
in a cache file by size, time of change and inode, so that looking again costs one ``stat`` per shard.
Trade-off: a change that leaves all three as they were is found without the cache only (the reader finds it in
any case, sample by sample).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from shards.buckets import Bucket
from shards.dataset import INDEX_FILE, SHARDS_FOLDER, Dataset, Shard
from shards.errors import UserError
from shards.files import sha256_file, write_json

Kind = Literal["missing", "truncated", "altered", "swapped", "unlisted", "index"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a dataset on disk.

    Attributes
    ----------
    file
        Name of the shard, or ``index.parquet``.
    kind
        ``missing``; ``truncated`` (shorter than written); ``swapped`` (holds another shard of this dataset);
        ``altered`` (other bytes); ``unlisted`` (a file the dataset does not know); ``index`` (the index
        contradicts the shards).
    detail
        What was expected, what was found, what to do.
    sample_ids
        The samples that cannot be read because of it.
    """

    file: str
    kind: Kind
    detail: str
    sample_ids: tuple[str, ...] = ()


def verify(dataset: Dataset, cache: Path | None, *, fetch: bool = False) -> tuple[Problem, ...]:
    """Compare a dataset's files with what was written.

    Of a dataset in an object store, what is there is compared by size; bytes are checked when they are fetched.

    Parameters
    ----------
    dataset
        The dataset.
    cache
        JSON file that keeps the hashes for the next time; None to compute them all and keep none.
    fetch
        Whether to fetch the shards that are not on this machine yet, to check their bytes too.

    Returns
    -------
    tuple of Problem
        Empty if all is as it was written.

    Raises
    ------
    UserError
        If the cache file cannot be written.
    """
    folder = dataset.path / SHARDS_FOLDER
    kept = _load(cache)
    hashes: dict[str, Any] = {}
    problems: list[Problem] = []
    remote = Bucket(dataset.remote).sizes(SHARDS_FOLDER) if dataset.remote is not None else {}
    for shard in dataset.shards:
        path = folder / shard.name
        if dataset.remote is not None or not path.is_file():
            elsewhere = _elsewhere(dataset, shard, remote.get(shard.name))
            problems += elsewhere or (_fetched(dataset, shard) if fetch else [])
        if not path.is_file():
            continue
        entry = _entry(path, kept.get(str(path)))
        hashes[str(path)] = entry
        problem = _compare(dataset, shard, entry["size"], entry["sha256"])
        if problem is not None:
            problems.append(problem)
    listed = {shard.name for shard in dataset.shards}
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    problems += [
        Problem(name, "unlisted", f"{folder / name} is no shard of this dataset; remove it")
        for name in found
        if name not in listed
    ]
    problems += _index_problems(dataset)
    if cache is not None and hashes != kept:
        _save(cache, {**kept, **hashes})
    return tuple(problems)


def _elsewhere(dataset: Dataset, shard: Shard, size: int | None) -> list[Problem]:
    """Judge a shard that is not on this machine by its size in the object store (None: it is not there)."""
    if size is None:
        place = f"{dataset.location}/{SHARDS_FOLDER}" if dataset.remote else dataset.path / SHARDS_FOLDER
        return [_problem(dataset, shard, "missing", f"shard {shard.name} is not in {place}")]
    if size == shard.bytes:
        return []
    kind: Kind = "truncated" if size < shard.bytes else "altered"
    return [_problem(dataset, shard, kind, f"shard {shard.name} has {size} bytes, expected {shard.bytes}")]


def _fetched(dataset: Dataset, shard: Shard) -> list[Problem]:
    try:
        dataset.shard_file(shard.name)
    except UserError as error:
        return [Problem(shard.name, "altered", str(error), _unreadable(dataset, shard))]
    return []


def _entry(path: Path, kept: Any) -> dict[str, Any]:
    """Return size, time, inode and hash of a file; the hash from the cache if the rest is as it was."""
    stat = path.stat()
    now = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}
    if (
        isinstance(kept, dict)
        and {k: v for k, v in kept.items() if k != "sha256"} == now
        and "sha256" in kept
    ):
        return kept
    return {**now, "sha256": sha256_file(path)}


def _compare(dataset: Dataset, shard: Shard, size: int, found: str) -> Problem | None:
    if found == shard.sha256:
        return None
    other = [s.name for s in dataset.shards if s.sha256 == found]
    if other:
        return _problem(dataset, shard, "swapped", f"shard {shard.name} holds what {other[0]} should hold")
    kind: Kind = "truncated" if size < shard.bytes else "altered"
    text = f"shard {shard.name} has {size} bytes and sha256 {found[:12]}, expected {shard.bytes} and {shard.sha256[:12]}"
    return _problem(dataset, shard, kind, text)


def _problem(dataset: Dataset, shard: Shard, kind: Kind, text: str) -> Problem:
    text += "; put the right file back, or delete it and convert again"
    return Problem(shard.name, kind, text, _unreadable(dataset, shard))


def _unreadable(dataset: Dataset, shard: Shard) -> tuple[str, ...]:
    """Return the samples of a damaged shard whose bytes are not those that were written."""
    try:
        rows = dataset.rows(shard.name).select(["sample_id", "offset", "size", "sha256"]).to_pylist()
    except UserError:  # reported as a problem of the index
        return ()
    path = dataset.path / SHARDS_FOLDER / shard.name
    if not path.is_file():
        return tuple(row["sample_id"] for row in rows)
    damaged = []
    with path.open("rb") as file:
        for row in rows:
            file.seek(row["offset"])
            if sha256(file.read(row["size"])).hexdigest() != row["sha256"]:
                damaged.append(row["sample_id"])
    return tuple(damaged)


def _index_problems(dataset: Dataset) -> list[Problem]:
    try:
        rows = dataset.index.select(["sample_id", "shard", "offset", "size"]).to_pylist()
    except UserError as error:
        return [Problem(INDEX_FILE, "index", str(error))]
    sizes = {shard.name: shard.bytes for shard in dataset.shards}
    astray = tuple(
        row["sample_id"] for row in rows if row["offset"] + row["size"] > sizes.get(row["shard"], 0)
    )
    problems = []
    if astray:
        text = f"{len(astray)} rows of {INDEX_FILE} name bytes that no shard has; convert the dataset again"
        problems.append(Problem(INDEX_FILE, "index", text, astray))
    counts = Counter(row["shard"] for row in rows)
    for shard in dataset.shards:
        count = counts[shard.name]
        if count != shard.samples:
            text = f"{INDEX_FILE} has {count} rows of {shard.name}, expected {shard.samples}; convert the dataset again"
            problems.append(Problem(INDEX_FILE, "index", text))
    return problems


def _load(cache: Path | None) -> Mapping[str, Any]:
    """Return what the cache holds; a missing or damaged cache is an empty one."""
    if cache is None:
        return {}
    try:
        value = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _save(cache: Path, value: Mapping[str, Any]) -> None:
    try:
        write_json(cache, value)
    except OSError as error:
        raise UserError(f"cannot write the verification cache {cache}: {error.strerror}.") from error
