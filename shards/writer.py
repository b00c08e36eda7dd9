"""Writes one shard: the unit of work of a conversion, the same in every process.

Guarantee: after :func:`write_shard` the tar and then its sidecar are whole on disk; a sidecar that carries a
job's identity says that this very work is done. A sample that cannot be read costs one rejected row. Nothing
here imports pandas or pyarrow, so worker processes start fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.adapter import Adapter, UnreadableSample
from shards.card import DatasetCard
from shards.dataset import FORMAT
from shards.files import canonical_json, digest, sha256_file, write_atomically, write_text
from shards.index import rejected_row
from shards.keys import encode_key
from shards.manifest import Row, reject
from shards.members import Stored, store
from shards.tar import Block, write_tar


@dataclass(frozen=True)
class ShardJob:
    """Everything that determines one shard.

    Attributes
    ----------
    name
        File name, ``<split>-000000.tar``.
    rows
        The samples in their order in the tar; those that turn out unreadable leave a gap.
    stamps
        What each row was made of, taken before any raw file is read (:func:`shards.stamps.row_stamps`).
    max_side
        Longer side of the stored pixels at most; None keeps them.
    """

    name: str
    split: str
    adapter: Adapter
    card: DatasetCard
    rows: tuple[Row, ...]
    stamps: tuple[str, ...]
    max_side: int | None

    @property
    def identity(self) -> str:
        """Hash of all that determines the shard's bytes."""
        described = {
            "format": FORMAT,
            "split": self.split,
            "adapter": adapter_json(self.adapter),
            "card": self.card.to_json(),
            "max_side": self.max_side,
            "rows": list(self.stamps),
        }
        return digest(described)


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Attributes
    ----------
    bytes, sha256
        Of the tar; 0 and None when every sample was rejected, so that there is no tar.
    rows, rejected
        Rows of the index and of ``rejected.parquet``.
    """

    name: str
    split: str
    bytes: int
    sha256: str | None
    rows: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


def adapter_json(adapter: Adapter) -> dict[str, Any]:
    """Return an adapter's name and options as JSON values."""
    return {"name": adapter.name, "options": adapter.model_dump(mode="json")}


def write_shard(job: ShardJob, folder: Path) -> None:
    """Write a shard and its sidecar ``<name>.json`` into a folder.

    Raises
    ------
    OSError
        If the folder cannot be written (full, read-only, ...); a repetition starts this shard anew.
    """
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []

    def samples() -> Iterator[tuple[str, Mapping[str, bytes]]]:
        for row in job.rows:
            try:
                members, entry = _sample(job, row)
            except UnreadableSample as error:
                rejected.append(rejected_row(reject(row, error.reason, error.detail, split=job.split)))
                continue
            rows.append(entry)
            yield entry["key"], members

    path = folder / job.name
    blocks: list[Block] = []
    write_atomically(path, lambda file: blocks.extend(write_tar(file, samples())))
    for entry, block in zip(rows, blocks, strict=True):
        entry.update(_place(block))
    result = ShardResult(job.name, job.split, path.stat().st_size, sha256_file(path), rows, rejected)
    if not rows:
        path.unlink()
        result = ShardResult(job.name, job.split, 0, None, rows, rejected)
    write_text(sidecar(folder, job.name), canonical_json({"identity": job.identity, **vars(result)}))


def load_result(job: ShardJob, sidecars: Path, places: tuple[Path, ...]) -> ShardResult | None:
    """Return the result of a shard that is done already, None if it is not.

    Parameters
    ----------
    job
        The work; a sidecar of other work is ignored.
    sidecars
        Folder of the sidecars.
    places
        Folders where the finished tar may lie.
    """
    try:
        value = json.loads(sidecar(sidecars, job.name).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if value.pop("identity", None) != job.identity:
        return None
    result = ShardResult(**value)
    found = [place / job.name for place in places if (place / job.name).is_file()]
    whole = bool(found) and found[0].stat().st_size == result.bytes
    return result if whole or result.sha256 is None else None


def sidecar(folder: Path, name: str) -> Path:
    """Return the path of a shard's sidecar."""
    return folder / f"{name}.json"


def _sample(job: ShardJob, row: Row) -> tuple[dict[str, bytes], dict[str, Any]]:
    stored = _stored(job, row)
    described = {
        "sample_id": row.sample_id,
        "subject_id": row.subject_id,
        "split": job.split,
        "width": stored.width,
        "height": stored.height,
        "depth": stored.depth,
        "original_width": stored.original_width,
        "original_height": stored.original_height,
        "spacing_mm": None if stored.spacing_mm is None else list(stored.spacing_mm),
        "orientation": stored.orientation,
        "mask_resized": stored.mask_resized,
        **row.targets,
        **row.attributes,
        **stored.derived,
        **row.published,
        "source": row.source,
    }
    members = {**stored.files, "json": canonical_json(described).encode()}
    looked = vars(stored.look)  # not in the tar: its bytes do not hang on how looks are taken
    return members, {**described, **looked, "key": encode_key(row.sample_id), "shard": job.name}


def _stored(job: ShardJob, row: Row) -> Stored:
    """Read a sample's pixels and make them members; a fault of its files is its own, any other names the sample."""
    try:
        return store(job.adapter.read(row.values), job.card, job.max_side)
    except UnreadableSample:
        raise
    except OSError as error:
        raise UnreadableSample(
            "decode_error", f"a raw file cannot be read: {error.strerror or error}"
        ) from error
    except Exception as error:
        error.add_note(f"while reading sample {row.sample_id!r} of {job.card.name!r}")
        raise


def _place(block: Block) -> dict[str, Any]:
    place: dict[str, Any] = {"offset": block.offset, "size": block.size, "sha256": block.sha256}
    members = {member.name.split(".")[0]: member for member in block.members}
    for part in ("image", "mask", "json"):
        member = members.get(part)
        for what in ("name", "offset", "size", "sha256"):
            place[f"{part}_{what}"] = None if member is None else getattr(member, what)
    return place
