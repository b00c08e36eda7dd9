"""Converted datasets in object stores: copied up whole, and read through a folder on this machine.

A location is a folder or an address that pyarrow knows (``s3://bucket/name``, ``gs://...``; further settings as pyarrow takes
them, e.g. ``?endpoint_override=HOST:PORT&scheme=http``). Guarantees: a reader sees a dataset in a bucket only when all of it is
there (``dataset.json`` goes up last, and away first); an upload that was interrupted goes on with what is missing; what comes
down has its name only when it has the hash that ``dataset.json`` says. Shards are fetched when they are read and kept in the
cache folder (``FAIRRAY_CACHE``, by default ``~/.cache/fairray``), so each machine loads each of them once.

Every version of a dataset that was read has a folder of its own there, and nothing in it is ever changed: a dataset may be
replaced, and several processes or machines may share a cache, while others read. Trade-off: what is not read any more stays
until somebody removes the cache, which may be done at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from shards.errors import UserError
from shards.files import canonical_json, write_atomically, write_text

#: A folder, or an address of an object store as text.
Location = Path | str
#: Says whose shards are being copied up, so that another dataset's are never taken for them.
_MARK = "upload.json"
#: Folder of the cache in which a dataset is made before it is copied up, and the file that says which version it replaces.
_MAKING, _BASE = "making", ".base"
#: Addresses among an adapter's options are known by these; a text such as ``https://...`` is a text.
_SCHEMES = ("s3", "gs", "gcs", "abfs", "hdfs", "file")
_DATASET, _SHARDS = "dataset.json", "shards"
_TABLES = ("index.parquet", "rejected.parquet")


def location(value: str | Path) -> Location:
    """Tell a folder from an address."""
    return str(value) if "://" in str(value) else Path(value)


def cache_folder(address: str) -> Path:
    """Return the folder in which what is read from an address is kept."""
    root = Path(os.environ.get("FAIRRAY_CACHE") or Path.home() / ".cache" / "fairray")
    name = urlsplit(address).path.rstrip("/").rsplit("/", 1)[-1]
    return root / "datasets" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:16]}"


class Bucket:
    """One folder of an object store.

    Parameters
    ----------
    address
        E.g. ``s3://bucket/ham10000``.

    Raises
    ------
    UserError
        If pyarrow cannot use the address.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def _system(self) -> Any:
        return self._place[0]

    def _path(self, name: str) -> str:
        """Return where an object is in the file system of pyarrow; of the empty name the address itself."""
        return f"{self._place[1]}/{name}" if name else self._place[1]

    @cached_property
    def _place(self) -> tuple[Any, str]:
        import pyarrow as pa
        from pyarrow.fs import FileSystem

        try:
            system, root = FileSystem.from_uri(self.address)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise UserError(
                f"{self.address} is no address of an object store: {error}. Expected e.g. s3://bucket/folder."
            ) from error
        return system, root.rstrip("/")

    def size(self, name: str) -> int | None:
        """Return the bytes of an object; None if there is none."""
        with self._told("look for", name):
            found = self._system.get_file_info(self._path(name))
        return int(found.size) if found.is_file else None

    def sizes(self, folder: str, *, recursive: bool = False) -> dict[str, int]:
        """Return name (from the folder on) and bytes of every object in a folder, or also below it."""
        from pyarrow.fs import FileSelector

        top = self._path(folder)
        with self._told("list", folder):
            found = self._system.get_file_info(FileSelector(top, allow_not_found=True, recursive=recursive))
        return {info.path[len(top) + 1 :]: int(info.size) for info in found if info.is_file}

    def read(self, name: str) -> bytes | None:
        """Return a small object; None if there is none."""
        if self.size(name) is None:
            return None
        with (
            self._told("read", name),
            self._system.open_input_stream(self._path(name), compression=None) as stream,
        ):
            return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        with self._told("write", name):
            self._make_parent(name)
            with self._system.open_output_stream(self._path(name), compression=None) as stream:
                stream.write(data)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        if self.size(name) is not None:
            with self._told("remove", name):
                self._system.delete_file(self._path(name))

    def upload(self, path: Path, name: str) -> None:
        """Copy a file up; the object appears when all of it is there."""
        with self._told("write", name), path.open("rb") as source:
            self._make_parent(name)
            with self._system.open_output_stream(self._path(name), compression=None) as stream:
                shutil.copyfileobj(source, stream, 1 << 22)

    def download(self, name: str, path: Path, sha256: str | None = None) -> None:
        """Copy an object down; the file has its name only when all of it is there and has the hash, if one is given."""

        def copy(target: BinaryIO) -> None:
            found = hashlib.sha256()
            for block in self._blocks(name):
                found.update(block)
                target.write(block)
            if sha256 not in (None, found.hexdigest()):
                what = "shard" if name.startswith(_SHARDS) else "table"
                raise UserError(
                    f"{self.address}/{name} is not the {what} that was converted: the dataset was replaced since it was opened "
                    "(then repeat), or it was altered (then copy the dataset up again)."
                )

        try:
            write_atomically(path, copy)
        except OSError as error:
            raise UserError(
                f"cannot keep {name} of {self.address} in {path.parent}: {error.strerror or error}. Make room, or name another "
                "cache folder in FAIRRAY_CACHE."
            ) from error

    def _blocks(self, name: str) -> Iterator[bytes]:
        with (
            self._told("read", name),
            self._system.open_input_stream(self._path(name), compression=None) as stream,
        ):
            while block := stream.read(1 << 22):
                yield block

    def _make_parent(self, name: str) -> None:
        """Make the folder of an object where folders exist (object stores have none)."""
        if self._system.type_name == "local":
            self._system.create_dir(self._path(name).rpartition("/")[0], recursive=True)

    @contextmanager
    def _told(self, what: str, name: str) -> Iterator[None]:
        """Turn what the object store answers into a message (UserError)."""
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"cannot {what} {name} in {self.address}: {error}. Check the address, the credentials of this machine and that "
                "the bucket exists."
            ) from error


def publish(folder: Path, address: str) -> None:
    """Copy a converted dataset into an object store.

    Parameters
    ----------
    folder
        The finished dataset.
    address
        Where to. A dataset that is there is replaced; of the same one only what is missing is copied.

    Raises
    ------
    UserError
        If the store cannot be written. Repeating goes on.
    """
    bucket = Bucket(address)
    description = (folder / _DATASET).read_bytes()
    value = json.loads(description)
    shards = {shard["name"]: (shard["bytes"], shard["sha256"]) for shard in value["shards"]}
    mark = canonical_json({"shards": {name: list(facts) for name, facts in shards.items()}}).encode()
    known, there = bucket.read(_DATASET) == description, bucket.sizes(_SHARDS)
    if known and there == {name: size for name, (size, _) in shards.items()}:
        return
    if not known and bucket.read(_MARK) != mark:
        there = {}  # of the same names, but of another dataset
    bucket.remove(_DATASET)
    bucket.write(_MARK, mark)
    for name, (size, _) in shards.items():
        if there.get(name) != size:
            bucket.upload(folder / _SHARDS / name, f"{_SHARDS}/{name}")
    for name in sorted(set(bucket.sizes(_SHARDS)) - set(shards)):
        bucket.remove(f"{_SHARDS}/{name}")
    for table in _TABLES:
        bucket.upload(folder / table, table)
    if bucket.read(_MARK) != mark:
        raise UserError(
            f"another machine copies a dataset to {address} at the same time; wait for it, then repeat."
        )
    bucket.write(_DATASET, description)
    bucket.remove(_MARK)


def mirror(address: str) -> Path:
    """Bring the description and the tables of a dataset down; its shards follow when they are read.

    Returns
    -------
    Path
        The folder that stands for it on this machine.

    Raises
    ------
    UserError
        If there is no dataset at the address, or only a part of one.
    """
    bucket = Bucket(address)
    description = bucket.read(_DATASET)
    if description is None:
        part = bucket.size(_MARK) is not None
        raise UserError(
            f"{address} "
            + (
                "is being copied up, or that was interrupted"
                if part
                else f"is not a converted dataset: it has no {_DATASET}"
            )
            + f". Make it with 'fairray shard ... --out {address}'."
        )
    folder = _version(address, description)
    if not all((folder / name).is_file() for name in (*_TABLES, _DATASET)):
        index, rejected = _TABLES
        bucket.download(index, folder / index, _hash_of_index(description))
        bucket.download(rejected, folder / rejected)
        if bucket.read(_DATASET) != description:
            raise UserError(f"{address} was replaced while it was read; repeat.")
        write_text(folder / _DATASET, description.decode())
    return folder


def bring(address: str, folder: Path, name: str, sha256: str) -> Path:
    """Return the file of a shard, fetched if it is not in the folder yet.

    Raises
    ------
    UserError
        If it cannot be read, or is not the one that the dataset describes.
    """
    path = folder / _SHARDS / name
    if not path.is_file():
        Bucket(address).download(f"{_SHARDS}/{name}", path, sha256)
    return path


def description_of(address: str) -> dict[str, Any] | None:
    """Return what ``dataset.json`` at an address says, if every shard is there with its size; else None."""
    bucket = Bucket(address)
    description = bucket.read(_DATASET)
    if description is None:
        return None
    value: dict[str, Any] = json.loads(description)
    there = bucket.sizes(_SHARDS)
    whole = all(there.get(shard["name"]) == shard["bytes"] for shard in value["shards"])
    return value if whole else None


def begin_making(address: str) -> Path:
    """Return the folder in which the dataset of an address is made; one process at a time.

    It holds what an interrupted conversion left there, or the dataset that is at the address: that one decides which samples
    must stay and which subjects keep their splits.
    """
    folder = cache_folder(address) / _MAKING
    if Bucket(address).size(_DATASET) is None:
        return folder  # nothing to go on from, or it was being copied up from here
    there = mirror(address)
    base = folder / _BASE
    if base.is_file() and base.read_text() == there.name:
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # made from another version
    for path in _files(there):
        _link(path, folder / path.relative_to(there))
    write_text(base, there.name)
    return folder


def end_making(address: str) -> None:
    """Make the dataset that was made and copied up the one that is read on this machine."""
    made = cache_folder(address) / _MAKING
    folder = _version(address, (made / _DATASET).read_bytes())
    (made / _BASE).unlink(missing_ok=True)
    for path in _files(made):
        target = folder / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    shutil.rmtree(made, ignore_errors=True)


def _version(address: str, description: bytes) -> Path:
    return cache_folder(address) / hashlib.sha256(description).hexdigest()[:16]


def _hash_of_index(description: bytes) -> str | None:
    """Return what a description says; None where it is damaged or of another format, which who opens it tells."""
    try:
        return str(json.loads(description)["index_sha256"])
    except (ValueError, KeyError, TypeError):
        return None


def _files(folder: Path) -> list[Path]:
    """Return the files of a dataset that are in a folder, ``dataset.json`` last."""
    names = [*(f"{_SHARDS}/{path.name}" for path in (folder / _SHARDS).glob("*.tar")), *_TABLES, _DATASET]
    return [folder / name for name in names if (folder / name).is_file()]


def _link(path: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be; neither is ever written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def brought(value: Any) -> Any:
    """Replace every address in an adapter's options by what was copied down from it.

    Parameters
    ----------
    value
        A text, or lists and mappings of them. An address stands for an object, or for all objects below it.

    Returns
    -------
    Any
        The same, with the path of a file or folder in the cache for each address. What is there already with the size that it
        has in the object store is not copied again.

    Raises
    ------
    UserError
        If there is nothing at an address.
    """
    if isinstance(value, dict):
        return {key: brought(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(brought(item) for item in value)
    scheme = str(value).partition("://")[0] if isinstance(value, str | Path) else ""
    return _brought(str(value)) if isinstance(value, str) and scheme in _SCHEMES else value


def _brought(address: str) -> Path:
    bucket, cache = Bucket(address), cache_folder(address)
    folder = cache.parent.parent / "raw" / cache.name
    size = bucket.size("")
    if size is not None:
        path = folder / urlsplit(address).path.rpartition("/")[2]
        _copy_down(bucket, "", path, size)
        return path
    found = bucket.sizes("", recursive=True)
    if not found:
        raise UserError(f"there is nothing at {address}; expected an object, or objects below it.")
    for name, size in found.items():
        _copy_down(bucket, name, folder / name, size)
    return folder


def _copy_down(bucket: Bucket, name: str, path: Path, size: int) -> None:
    if not path.is_file() or path.stat().st_size != size:
        bucket.download(name, path)
