"""Opens a converted dataset and reads its samples.

Guarantees: a shard gives exactly one :class:`~shards.sample.Sample` per indexed sample, in index order,
whatever state its bytes are in: a sample whose bytes are not those of the index comes with a status and no
image, never as an exception and never not at all. Members are found by offset, checked by sha256 and are PNG
or JPEG; tars are never unpacked and nothing is unpickled. Opening reads one JSON file; pyarrow is imported
when the index is needed, pandas never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from shards.audit.findings import Audit
from shards.buckets import Bucket, Location, bring, mirror
from shards.card import DatasetCard
from shards.errors import UserError, unknown_name
from shards.files import sha256_file
from shards.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

DATASET_FILE = "dataset.json"
INDEX_FILE = "index.parquet"
REJECTED_FILE = "rejected.parquet"
SHARDS_FOLDER = "shards"
#: Holds what an unfinished conversion has done so far.
PARTS_FOLDER = ".parts"
#: Version of everything on disk that a reader depends on.
FORMAT = 2
#: Member that holds the pixels of a volume; images are PNG or JPEG.
VOLUME_MEMBER = "image.npy"
_ALLOWED = frozenset({"image.png", "image.jpg", VOLUME_MEMBER, "mask.png", "mask.npy"})


@dataclass(frozen=True)
class Shard:
    """One tar of a dataset, as ``dataset.json`` describes it.

    Attributes
    ----------
    name
        File name inside ``shards/``.
    samples, bytes, sha256
        What the file must hold.
    """

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Counts:
    """How many samples a dataset has.

    Attributes
    ----------
    samples, subjects
        By split.
    classes
        Samples by target, split and class; the class ``""`` stands for unknown.
    masks, masks_resized
        Samples with a mask, and those whose mask had another size than the image at the publisher's.
    rejected
        Samples left out, by reason.
    """

    samples: Mapping[str, int]
    subjects: Mapping[str, int]
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    masks: int
    masks_resized: int
    rejected: Mapping[str, int]


@dataclass(frozen=True)
class Dataset:
    """A converted dataset; made by :func:`open_dataset`.

    Attributes
    ----------
    path
        Its folder; of a dataset in an object store, what is on this machine of it.
    card
        What its samples are.
    fingerprint
        Hash over the index: changes when any sample, label, split or pixel does.
    index_sha256
        Hash of the file ``index.parquet``.
    shards
        In index order.
    counts
        Numbers of samples.
    notes
        What the conversion noticed, e.g. an attribute that is unknown for all.
    audit
        What it found out about people, groups and duplicates.
    remote
        Address in an object store; None for a folder.
    """

    path: Path
    card: DatasetCard
    fingerprint: str
    index_sha256: str
    shards: tuple[Shard, ...]
    counts: Counts
    notes: tuple[str, ...]
    audit: Audit
    remote: str | None = None

    @property
    def location(self) -> Location:
        """Where the dataset is for every machine: its folder, or its address."""
        return self.path if self.remote is None else self.remote

    def shard_file(self, name: str) -> Path:
        """Return the path of a shard's file, fetched from the object store if it is not on this machine yet.

        Raises
        ------
        UserError
            If there is no such shard, or the object store does not give the one that was written.
        """
        shard = self.shard(name)
        if self.remote is not None:
            return bring(self.remote, self.path, name, shard.sha256)
        return self.path / SHARDS_FOLDER / name

    @cached_property
    def index(self) -> pa.Table:
        """The table ``index.parquet``, one row per sample, ordered by split, shard and place.

        Raises
        ------
        UserError
            If the file is missing or not the one that was written with the dataset.
        """
        return _read_parquet(self._table_file(INDEX_FILE), self.index_sha256)

    @cached_property
    def volumetric(self) -> bool:
        """Whether any sample is a volume (one of a single slice included)."""
        import pyarrow.compute as pc

        return bool(pc.any(pc.equal(self.index["image_name"], VOLUME_MEMBER)).as_py())

    @cached_property
    def rejected(self) -> pa.Table:
        """The table ``rejected.parquet``: samples left out, with the reason."""
        return _read_parquet(self._table_file(REJECTED_FILE), None)

    def _table_file(self, name: str) -> Path:
        """Return the path of a table, fetched again if the cache was removed since the dataset was opened."""
        path = self.path / name
        if self.remote is not None and not path.is_file() and mirror(self.remote) != self.path:
            raise UserError(f"{self.remote} was replaced since it was opened; repeat.")
        return path

    def shard(self, name: str) -> Shard:
        """Return the shard of that name (UserError when there is none)."""
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise unknown_name(
            f"shard of dataset {self.card.name!r}", name, [shard.name for shard in self.shards]
        )

    def rows(self, shard_name: str) -> pa.Table:
        """Return the index rows of one shard, in their order in the tar."""
        self.shard(shard_name)
        start, length = self._places.get(shard_name, (0, 0))
        return self.index.slice(start, length)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """Where each shard's rows are in the index, which is ordered by shard: (first, how many)."""
        places: dict[str, tuple[int, int]] = {}
        for number, name in enumerate(self.index["shard"].to_pylist()):
            start, length = places.get(name, (number, 0))
            places[name] = (start, length + 1)
        return places

    def read(self, shard_name: str, *, masks: bool) -> Iterator[Sample]:
        """Read a shard's samples.

        Parameters
        ----------
        shard_name
            One of the names in :attr:`shards`.
        masks
            Whether to read label maps as well.

        Yields
        ------
        Sample
            One per index row of the shard, in index order. Status ``missing`` if the shard cannot be opened,
            ``decode_error`` if the sample's bytes are cut off, altered or no image.

        Raises
        ------
        UserError
            If there is no such shard, or no index.
        """
        rows = self.rows(shard_name).select(_READ_COLUMNS).to_pylist()
        return self._read_rows(self.shard_file(shard_name), rows, masks=masks)

    def _read_rows(self, path: Path, rows: list[dict[str, Any]], *, masks: bool) -> Iterator[Sample]:
        try:
            file = self._open(path)
        except OSError as error:
            text = f"shard {path.name} cannot be opened: {error.strerror}"
            yield from (_failed(row, "missing", text) for row in rows)
            return
        with file:
            for row in rows:
                yield self._read_row(file, row, masks=masks)

    def _open(self, path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except FileNotFoundError:
            if self.remote is None:
                raise
            return self.shard_file(path.name).open("rb")  # the cache was removed just now

    def _read_row(self, file: BinaryIO, row: Mapping[str, Any], *, masks: bool) -> Sample:
        from shards.adapter import UnreadableSample

        try:
            image = self._image(file, row)
            mask = _mask(file, row) if masks and row["mask_name"] is not None else None
            if mask is not None and mask.shape != image.shape[: mask.ndim]:
                raise UnreadableSample("decode_error", f"mask {mask.shape} and image {image.shape} differ")
        except UnreadableSample as error:
            return _failed(row, "decode_error", error.detail)
        except OSError as error:
            return _failed(row, "decode_error", f"shard {row['shard']} cannot be read: {error.strerror}")
        return Sample(
            row["sample_id"],
            row["subject_id"],
            row["split"],
            image,
            mask,
            None if row["spacing_mm"] is None else tuple(row["spacing_mm"]),
            volumetric=_volumetric(row),
        )

    def _image(self, file: BinaryIO, row: Mapping[str, Any]) -> NDArray[np.uint8]:
        from shards.images import decode, to_rgb
        from shards.volumes import decode_npy, show_volume

        data = _member(file, row, "image")
        if _volumetric(row):
            return show_volume(decode_npy(data), self.card.window, self.card.normalise)
        return to_rgb(decode(data), self.card.window)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded tables out when sent to another process; it reads them from disk."""
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("index", "rejected", "_places")
        }


_READ_COLUMNS = ["sample_id", "subject_id", "split", "shard", "spacing_mm"] + [
    f"{part}_{what}" for part in ("image", "mask") for what in ("name", "offset", "size", "sha256")
]


def open_dataset(place: Location) -> Dataset:
    """Open a converted dataset.

    Parameters
    ----------
    place
        Its folder, or its address in an object store (see :mod:`shards.buckets`).

    Raises
    ------
    UserError
        If there is no dataset, an unfinished conversion, or a dataset of another format.
    """
    remote = place if isinstance(place, str) and "://" in place else None
    path = Path(place).absolute() if remote is None else mirror(remote)
    file = path / DATASET_FILE
    if not file.is_file():
        if (path / PARTS_FOLDER).is_dir():
            raise UserError(
                f"the conversion in {path} is not finished; repeat 'fairray shard' to continue it."
            )
        found = "there is no such folder" if not path.is_dir() else f"it has no {DATASET_FILE}"
        raise UserError(f"{path} is not a converted dataset: {found}. Make one with 'fairray shard'.")
    try:
        value = json.loads(file.read_text())
        version = value["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error}); convert the dataset again into a new folder."
        ) from error
    if version != FORMAT:
        raise UserError(
            f"{path} has format {version}, this version of FairRay reads format {FORMAT}; convert the dataset "
            "again into a new folder, or use the version of FairRay that wrote it "
            f"({value.get('software', {}).get('fairray', 'unknown')})."
        )
    try:
        return Dataset(
            path,
            DatasetCard.from_json(value["card"]),
            value["fingerprint"],
            value["index_sha256"],
            tuple(Shard(**shard) for shard in value["shards"]),
            Counts(**value["counts"]),
            tuple(value["notes"]),
            Audit.from_json(value["audit"]),
            remote,
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged (lacks or misnames {error}); convert the dataset again into a new folder."
        ) from error


def is_dataset(place: Location) -> bool:
    """Tell whether a folder or an address holds a finished conversion.

    Raises
    ------
    UserError
        If the object store cannot be asked.
    """
    if isinstance(place, str) and "://" in place:
        return Bucket(place).size(DATASET_FILE) is not None
    return (Path(place) / DATASET_FILE).exists()


def _member(file: BinaryIO, row: Mapping[str, Any], part: str) -> bytes:
    """Read one member by its place in the index and check that it is the one that was written."""
    from shards.adapter import UnreadableSample

    name, offset, size = row[f"{part}_name"], row[f"{part}_offset"], row[f"{part}_size"]
    if name not in _ALLOWED:
        raise UnreadableSample("decode_error", f"member {name!r} is not of a kind that is read")
    file.seek(offset)
    data = file.read(size)
    if len(data) < size:
        raise UnreadableSample(
            "decode_error", f"shard {row['shard']} is cut off before the end of this sample"
        )
    if sha256(data).hexdigest() != row[f"{part}_sha256"]:
        raise UnreadableSample(
            "decode_error", f"the {part} in shard {row['shard']} is not the one that was written"
        )
    return data


def _mask(file: BinaryIO, row: Mapping[str, Any]) -> NDArray[np.uint8]:
    from shards.adapter import UnreadableSample
    from shards.images import read_mask
    from shards.volumes import decode_npy

    data = _member(file, row, "mask")
    if not row["mask_name"].endswith(".npy"):
        return read_mask(data)
    mask = decode_npy(data)
    if mask.dtype.name != "uint8":
        raise UnreadableSample("decode_error", f"the mask is of {mask.dtype}, expected uint8")
    return cast("NDArray[np.uint8]", mask)


def _volumetric(row: Mapping[str, Any]) -> bool:
    """Tell a volume from an image: a volume of one slice is still one."""
    return bool(row["image_name"] == VOLUME_MEMBER)


def _failed(row: Mapping[str, Any], status: str, reason: str) -> Sample:
    return Sample(
        row["sample_id"],
        row["subject_id"],
        row["split"],
        None,
        status=status,
        reason=reason,
        volumetric=_volumetric(row),
    )


def _read_parquet(path: Path, expected: str | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"{path} is missing; convert the dataset again into a new folder.")
    if expected is not None and sha256_file(path) != expected:
        raise UserError(
            f"{path} is not the file that was written with its {DATASET_FILE}. If the dataset was converted anew since it was "
            "opened, repeat; else convert it again into a new folder."
        )
    try:
        with pq.ParquetFile(path) as file:  # unlike read_table, this does not import pandas
            return file.read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); convert the dataset again into a new folder."
        ) from error
