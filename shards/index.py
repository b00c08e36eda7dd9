"""The tables beside the shards: ``index.parquet`` and ``rejected.parquet`` (what was left out, and why).

Index rows are ordered by split (train, val, test), shard and place in the shard. Every column has a fixed
type whatever the data, so that an attribute that is all null keeps its kind.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.card import DatasetCard
from shards.dataset import FORMAT
from shards.files import digest, write_atomically
from shards.looks import Look
from shards.manifest import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

_LOOK = frozenset(field.name for field in dataclasses.fields(Look))


def index_schema(card: DatasetCard) -> pa.Schema:
    """Return the schema of ``index.parquet``.

    `offset`, `size` and `sha256` are of a sample's whole block in its tar, ``image_*``, ``mask_*`` and
    ``json_*`` of the data of one member; `spacing_mm` is (row, column), of volumes (slice, row, column);
    `orientation` says how a volume's axes run (see :class:`shards.adapter.Volume`); `mask_resized` says that the
    publisher's mask had another size than its image; `original_width` and `original_height` are those before
    `max_side`; the rest of a sample's look is told in :class:`shards.looks.Look`.
    """
    import pyarrow as pa

    def member(part: str) -> list[pa.Field]:
        kinds = (("name", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("sha256", pa.string()))
        return [pa.field(f"{part}_{what}", kind, nullable=part == "mask") for what, kind in kinds]

    def required(kind: pa.DataType, *names: str) -> list[pa.Field]:
        return [pa.field(name, kind, nullable=False) for name in names]

    return pa.schema(
        [
            *required(pa.string(), "sample_id", "subject_id", "split", "key", "shard"),
            *required(pa.int64(), "offset", "size"),
            *required(pa.string(), "sha256"),
            *(field for part in ("image", "mask", "json") for field in member(part)),
            *required(pa.int32(), "width", "height", "depth", "original_width", "original_height"),
            *required(pa.string(), "pixels_sha256"),
            pa.field("phash", pa.string()),
            pa.field("phash_fine", pa.string()),
            *required(pa.float64(), "intensity_mean", "intensity_sd"),
            pa.field("spacing_mm", pa.list_(pa.float64())),
            pa.field("orientation", pa.string()),
            pa.field("mask_resized", pa.bool_()),
            *_described(card),
            pa.field("source", pa.string()),
        ]
    )


def rejected_schema(card: DatasetCard) -> pa.Schema:
    """Return the schema of ``rejected.parquet``; targets and attributes are as in the manifest."""
    import pyarrow as pa

    texts = [pa.field(name, pa.string()) for name in ("sample_id", "subject_id", "split", "reason", "detail")]
    return pa.schema([*texts, *_described(card), pa.field("source", pa.string())])


def _described(card: DatasetCard) -> list[pa.Field]:
    import pyarrow as pa

    targets = [pa.field(target.name, pa.string()) for target in card.targets]
    numbers = [pa.field(a.name, pa.float64() if a.kind == "number" else pa.string()) for a in card.attributes]
    return [*targets, *numbers, *(pa.field(name, pa.string()) for name in card.published)]


def rejected_row(rejection: Rejection) -> dict[str, Any]:
    """Return a rejection as a row of ``rejected.parquet``."""
    return {
        "sample_id": rejection.sample_id,
        "subject_id": rejection.subject_id,
        "split": rejection.split,
        "reason": rejection.reason,
        "detail": rejection.detail,
        **rejection.targets,
        **rejection.attributes,
        **rejection.published,
        "source": rejection.source,
    }


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema, *, staging: Path) -> None:
    """Write rows as one Parquet file, atomically by way of `staging`; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd"), staging=staging)


def fingerprint(card: DatasetCard, rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the identity of a converted dataset: all that can change a result computed from it.

    It covers the index (and by its hashes every pixel), the coding of targets and structures and how
    intensities are shown, but not the samples' looks, prompts, presets, notes and licence: these do not change
    what the shards hold, and prompts and groups have an identity of their own.
    """
    value = card.to_json()
    names = ("name", "targets", "structures", "attributes", "window", "normalise")
    meaning = {name: value[name] for name in names}
    index = [digest({name: cell for name, cell in row.items() if name not in _LOOK}) for row in rows]
    return digest({"format": FORMAT, "card": meaning, "index": index})


def count(card: DatasetCard, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Count samples, subjects and classes by split.

    Returns
    -------
    dict
        ``samples`` and ``subjects`` by split; ``classes`` by target, split and class (``""`` stands for
        unknown); ``masks`` and ``masks_resized`` in all.
    """
    subjects = {(row["split"], row["subject_id"]) for row in rows}
    splits = sorted({row["split"] for row in rows})
    classes = {
        target.name: {
            split: dict(
                sorted(Counter(row[target.name] or "" for row in rows if row["split"] == split).items())
            )
            for split in splits
        }
        for target in card.targets
    }
    return {
        "samples": dict(sorted(Counter(row["split"] for row in rows).items())),
        "subjects": dict(sorted(Counter(split for split, _ in subjects).items())),
        "classes": classes,
        "masks": sum(row["mask_name"] is not None for row in rows),
        "masks_resized": sum(row["mask_resized"] is True for row in rows),
    }


def unknown_attributes(card: DatasetCard, rows: list[dict[str, Any]]) -> list[str]:
    """Return the attributes that no sample has a value of."""
    return [a.name for a in card.attributes if all(row[a.name] is None for row in rows)]
