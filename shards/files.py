"""Files that are either whole or absent, and the hashes that identify them.

Guarantee: after :func:`write_atomically` returns, the file is complete on disk under its final name; if it raises or the
process is killed, the final name holds what it held before. Unfinished bytes live in a staging folder of the caller's
choice on the same file system, under a name no other attempt uses. Trade-off: one fsync of file and folder per file.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

#: Made once: ``json.dumps`` makes a new one for every value.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN.

    Raises
    ------
    ValueError
        If the value holds NaN or infinity, which have no JSON form.
    TypeError
        If the value holds something that is not JSON.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    return _ENCODER.encode(value)


def digest(value: Any) -> str:
    """Return the sha256 (hex) of a value's canonical JSON."""
    # "surrogatepass": names of files may have bytes that are no UTF-8.
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries (renames, new files) durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, write: Callable[[BinaryIO], None], *, staging: Path | None = None) -> None:
    """Write a file so that its name only ever shows complete content.

    Parameters
    ----------
    path
        The final name. Its folder is made if absent. An existing file is replaced.
    write
        Called once with the open staging file.
    staging
        Folder for the unfinished file, on the same file system; by default the folder of `path`, where the unfinished file
        starts with a dot.

    Raises
    ------
    OSError
        As the system says (disk full, read-only, quota); the staging file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = staging or path.parent
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex}"
    try:
        with unfinished.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_text(path: Path, text: str, *, staging: Path | None = None) -> None:
    """Write a UTF-8 text file atomically (see :func:`write_atomically`)."""
    write_atomically(path, lambda file: _write_all(file, text.encode()), staging=staging)


def write_json(path: Path, value: Any, *, staging: Path | None = None) -> None:
    """Write a JSON file for people: sorted keys, indented, atomic."""
    text = json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text, staging=staging)


def _write_all(file: BinaryIO, data: bytes) -> None:
    file.write(data)
