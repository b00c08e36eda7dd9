"""Converted datasets in object stores: copied up whole, and read through a folder on this machine.

A location is a folder or an address that pyarrow knows (``s3://bucket/name``, ``gs://...``; further settings as pyarrow takes
them, e.g. ``?endpoint_override=HOST:PORT&scheme=http``). Guarantees: a reader sees a dataset in a bucket only when all of it is
there (``dataset.json`` goes up last, and away first); an upload that was interrupted goes on with what is missing; what comes
down is checked against the hashes in ``dataset.json``. Shards are fetched when they are read and kept in the cache folder
(``FAIRRAY_CACHE``, by default ``~/.cache/fairray``), so each machine loads each of them once.
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
from typing import Any
from urllib.parse import urlsplit

from shards.errors import UserError
from shards.files import canonical_json, sha256_file, write_atomically, write_text

#: A folder, or an address of an object store as text.
Location = Path | str
#: Says whose shards are being copied up, so that another dataset's are never taken for them.
_MARK = "upload.json"
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
        with self._told("read", name), self._system.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        with self._told("write", name):
            self._make_parent(name)
            with self._system.open_output_stream(self._path(name)) as stream:
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
            with self._system.open_output_stream(self._path(name)) as stream:
                shutil.copyfileobj(source, stream, 1 << 22)

    def download(self, name: str, path: Path) -> None:
        """Copy an object down; the file has its name only when all of it is there."""

        def copy(target: Any) -> None:
            with self._system.open_input_stream(self._path(name)) as stream:
                shutil.copyfileobj(stream, target, 1 << 22)

        path.parent.mkdir(parents=True, exist_ok=True)
        with self._told("read", name):
            write_atomically(path, copy)

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
    if bucket.read(_DATASET) == description:
        return
    value = json.loads(description)
    shards = {shard["name"]: (shard["bytes"], shard["sha256"]) for shard in value["shards"]}
    mark = canonical_json({"shards": {name: list(facts) for name, facts in shards.items()}}).encode()
    there = bucket.sizes(_SHARDS) if bucket.read(_MARK) == mark else {}
    bucket.remove(_DATASET)
    bucket.write(_MARK, mark)
    for name, (size, _) in shards.items():
        if there.get(name) != size:
            bucket.upload(folder / _SHARDS / name, f"{_SHARDS}/{name}")
    for name in sorted(set(bucket.sizes(_SHARDS)) - set(shards)):
        bucket.remove(f"{_SHARDS}/{name}")
    for table in _TABLES:
        bucket.upload(folder / table, table)
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
    bucket, folder = Bucket(address), cache_folder(address)
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
    known = folder / _DATASET
    if known.is_file() and known.read_bytes() == description:
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # another dataset was there
    for table in _TABLES:
        bucket.download(table, folder / table)
    write_text(known, description.decode())
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
        Bucket(address).download(f"{_SHARDS}/{name}", path)
        if sha256_file(path) != sha256:
            path.unlink(missing_ok=True)
            raise UserError(
                f"{address}/{_SHARDS}/{name} is not the shard that was converted; copy the dataset up again."
            )
    return path


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
