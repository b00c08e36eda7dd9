"""NumPy's archives (``.npz``) of images and of what is known of them.

Guarantee: nothing is unpickled. An archive may hold arrays of Python objects (publishers store texts so); asking for one is
refused, and the others of the same archive can still be read. Only the members that are asked for are decompressed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample

#: What a cut, altered, encrypted or foreign file raises.
_DAMAGE = (
    *(ValueError, EOFError, OSError, MemoryError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def npz_names(path: Path, *, missing: str = "missing_image") -> tuple[str, ...]:
    """Return the names of an archive's arrays, in its order; none of them is read.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``.
    """
    with _opened(path, missing) as archive:
        return _names(archive)


def read_npz(path: Path, *keys: str, missing: str = "missing_image") -> dict[str, NDArray[Any]]:
    """Read arrays of an archive.

    Parameters
    ----------
    path
        The ``.npz`` file.
    keys
        Names of the arrays; none of them means all that hold no Python objects.
    missing
        Reason if the file is not there.

    Returns
    -------
    dict
        Name -> array as stored.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``; ``missing_array`` if the archive lacks a key (naming those it has);
        ``pickled_array`` if a key holds Python objects.
    """
    with _opened(path, missing) as archive:
        names = _names(archive)
        absent = [key for key in keys if key not in names]
        if absent:
            raise UnreadableSample(
                "missing_array",
                f"{path.name} lacks the array {absent[0]!r}; found {', '.join(names) or 'none'}",
            )
        arrays = {name: _array(archive, name, path.name) for name in keys or names}
    pickled = [name for name, array in arrays.items() if array is None]
    if keys and pickled:
        raise UnreadableSample(
            "pickled_array",
            f"array {pickled[0]!r} of {path.name} holds Python objects, which are never unpickled",
        )
    return {name: array for name, array in arrays.items() if array is not None}


def _opened(path: Path, missing: str) -> zipfile.ZipFile:
    if not path.is_file():
        raise UnreadableSample(missing, f"file {path.name} does not exist")
    if path.stat().st_size == 0:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    try:
        return zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise UnreadableSample(
            "decode_error", f"{path.name} is cut off or no .npz archive: {error}"
        ) from error


def _names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    return tuple(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def _array(archive: zipfile.ZipFile, name: str, file: str) -> NDArray[Any] | None:
    """Read one array; None if it holds Python objects."""
    try:
        data = archive.read(f"{name}.npy")
        if _dtype(data).hasobject:
            return None
        array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except _DAMAGE as error:
        raise UnreadableSample(
            "decode_error", f"array {name!r} of {file} is cut off or damaged: {error}"
        ) from error
    return array


def _dtype(data: bytes) -> np.dtype[Any]:
    """Return the kind of values that an array's header declares."""
    header = io.BytesIO(data)
    version = np.lib.format.read_magic(header)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(header)[2]
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(header)[2]
    raise ValueError(f"version {version} of the array format; expected 1.0 or 2.0")
