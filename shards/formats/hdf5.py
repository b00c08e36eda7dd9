"""Arrays of HDF5 files (``.h5``, ``.hdf5``), read one by one or one frame at a time.

Guarantees: only what is asked for is read, so a file of tens of gigabytes costs one frame; nothing is followed out of the file
(links to other files and values kept in other files are refused), and nothing but numbers and texts is read. Trade-off: the
file is opened anew for every read, which takes about a millisecond, and no handle has to cross a process border.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample

if TYPE_CHECKING:
    import h5py

#: What HDF5 raises for cut, altered and foreign files, and for filters that are not installed.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)
#: Kinds of NumPy values that are read: truth values, whole numbers, fractions.
_NUMBERS = "biuf"


class Described(NamedTuple):
    """An array that was not read yet.

    Attributes
    ----------
    shape
        As stored.
    dtype
        Kind of its values; ``object`` for texts of any length.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def hdf5_arrays(path: Path, *, missing: str = "missing_image") -> dict[str, Described]:
    """Describe the arrays at the top level of a file; none of them is read.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``.
    """
    import h5py

    with _opened(path, missing) as file:
        links = {str(name): file.get(name, getlink=True) for name in file}
        inside = {name: file[name] for name, link in links.items() if isinstance(link, h5py.HardLink)}
        return {
            name: Described(tuple(found.shape), found.dtype)
            for name, found in inside.items()
            if isinstance(found, h5py.Dataset)
        }


def read_hdf5(
    path: Path, name: str, frame: int | None = None, *, missing: str = "missing_image"
) -> NDArray[Any]:
    """Read an array, or one frame of it.

    Parameters
    ----------
    path
        The file.
    name
        Of the array.
    frame
        Place along its first axis; None reads it whole.
    missing
        Reason if the file or the array is not there.

    Raises
    ------
    UnreadableSample
        `missing`, also for a frame behind the end; ``empty_file``, ``decode_error``; ``unsupported_pixels`` if the array
        holds something else than numbers, or lies in another file.
    """
    with _opened(path, missing) as file:
        found = _array(file, name, path.name, missing)
        if found.dtype.kind not in _NUMBERS:
            raise UnreadableSample(
                "unsupported_pixels", f"array {name!r} of {path.name} holds {found.dtype}, not numbers"
            )
        if frame is not None and not (found.ndim and 0 <= frame < found.shape[0]):
            raise UnreadableSample(
                missing, f"array {name!r} of {path.name} has the shape {found.shape}; no frame {frame}"
            )
        values: NDArray[Any] = np.asarray(found[()] if frame is None else found[frame])
        return values


def read_hdf5_texts(path: Path, name: str, *, missing: str = "missing_image") -> list[str]:
    """Read an array of texts (or of whole numbers, as texts) with one axis.

    Raises
    ------
    UnreadableSample
        As :func:`read_hdf5`; ``decode_error`` also for texts that are not UTF-8.
    """
    import h5py

    with _opened(path, missing) as file:
        found = _array(file, name, path.name, missing)
        if found.ndim != 1:
            raise UnreadableSample(
                "decode_error",
                f"array {name!r} of {path.name} has the shape {found.shape}; expected one axis",
            )
        if h5py.check_string_dtype(found.dtype) is not None:
            return [str(text).strip("\x00 ") for text in found.asstr()[()]]
        if found.dtype.kind in "iu":
            return [str(value) for value in found[()].tolist()]
        raise UnreadableSample(
            "decode_error", f"array {name!r} of {path.name} holds {found.dtype}, not texts"
        )


@contextmanager
def _opened(path: Path, missing: str) -> Iterator[h5py.File]:
    import h5py

    if not path.is_file():
        raise UnreadableSample(missing, f"file {path.name} does not exist")
    if path.stat().st_size == 0:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except _DAMAGE as error:
        # The system's message holds the whole path, which differs from machine to machine.
        text = str(error).replace(str(path), path.name)
        raise UnreadableSample(
            "decode_error", f"file {path.name} is cut off, damaged or no HDF5 file: {text}"
        ) from error


def _array(file: h5py.File, name: str, where: str, missing: str) -> h5py.Dataset:
    import h5py

    link = file.get(name, getlink=True) if name and name in file else None
    if link is None:
        names = sorted(map(str, file))
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise UnreadableSample(missing, f"{where} lacks the array {name!r}; found {shown or 'none'}")
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise UnreadableSample(
            "unsupported_pixels",
            f"{name!r} of {where} is no array of this file's own; links are not followed",
        )
    return found
