"""Writes one shard: the unit of work of a conversion, the same in every process.

Guarantee: after :func:`write_shard` the tar and then its sidecar are whole on disk; a sidecar that carries a
job's identity says that this very work is done. A sample that cannot be read costs one rejected row. Nothing
here imports pandas or pyarrow, so worker processes start fast.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shards.adapter import Adapter, Pixels, UnreadableSample
from shards.card import DatasetCard
from shards.dataset import FORMAT
from shards.files import canonical_json, digest, sha256_file, write_atomically, write_text
from shards.images import encode_png, fitting_size, resize_image, resize_mask, to_rgb
from shards.index import rejected_row
from shards.keys import encode_key
from shards.manifest import Row, file_stamps, reject
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
    max_side
        Longer side of the stored pixels at most; None keeps them.
    """

    name: str
    split: str
    adapter: Adapter
    card: DatasetCard
    rows: tuple[Row, ...]
    max_side: int | None

    @cached_property
    def identity(self) -> str:
        """Hash of all that determines the shard's bytes, raw files by size and time of change."""
        described = {
            "format": FORMAT,
            "split": self.split,
            "adapter": adapter_json(self.adapter),
            "card": self.card.to_json(),
            "max_side": self.max_side,
            "rows": [[row.values, file_stamps(row)] for row in self.rows],
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
    pixels = _read(job, row)
    shape = (pixels.image.shape[0], pixels.image.shape[1])
    size = fitting_size(shape, job.max_side)
    members: dict[str, bytes] = {}
    if pixels.encoded is not None and size == shape:
        members["image.jpg"] = pixels.encoded
    else:
        members["image.png"] = encode_png(resize_image(pixels.image, size))
    if pixels.mask is not None:
        members["mask.png"] = encode_png(resize_mask(pixels.mask, size))
    described = {
        "sample_id": row.sample_id,
        "subject_id": row.subject_id,
        "split": job.split,
        "width": size[1],
        "height": size[0],
        "depth": 1,
        "spacing_mm": _spacing(pixels.spacing_mm, shape, size),
        "mask_resized": None if pixels.mask is None else pixels.mask_resized,
        **row.targets,
        **row.attributes,
        "source": row.source,
    }
    members["json"] = canonical_json(described).encode()
    return members, {**described, "key": encode_key(row.sample_id), "shard": job.name}


def _read(job: ShardJob, row: Row) -> Pixels:
    try:
        pixels = job.adapter.read(row.values)
    except UnreadableSample:
        raise
    except OSError as error:
        raise UnreadableSample(
            "decode_error", f"a raw file cannot be read: {error.strerror or error}"
        ) from error
    except Exception as error:
        error.add_note(f"while reading sample {row.sample_id!r} of {job.card.name!r}")
        raise
    image, mask = pixels.image, pixels.mask
    if (
        image.dtype not in (np.uint8, np.uint16)
        or image.ndim not in (2, 3)
        or image.shape[2:] not in ((), (3,))
    ):
        raise UnreadableSample("unsupported_pixels", f"image of shape {image.shape} and kind {image.dtype}")
    if image.size == 0:
        raise UnreadableSample("unsupported_pixels", "the image has no pixels")
    if mask is not None and mask.shape != image.shape[:2]:
        raise UnreadableSample("mask_shape_mismatch", f"mask {mask.shape}, image {image.shape[:2]}")
    if image.dtype == np.uint16 and job.card.window is None:
        to_rgb(image[:1, :1], None)  # raises with the reason and what to do
    return pixels


def _spacing(
    spacing: tuple[float, float] | None, shape: tuple[int, int], size: tuple[int, int]
) -> list[float] | None:
    if spacing is None:
        return None
    return [float(mm) * old / new for mm, old, new in zip(spacing, shape, size, strict=True)]


def _place(block: Block) -> dict[str, Any]:
    place: dict[str, Any] = {"offset": block.offset, "size": block.size, "sha256": block.sha256}
    members = {member.name.split(".")[0]: member for member in block.members}
    for part in ("image", "mask", "json"):
        member = members.get(part)
        for what in ("name", "offset", "size", "sha256"):
            place[f"{part}_{what}"] = None if member is None else getattr(member, what)
    return place
