"""Arrays of MATLAB files (``.mat``), of the versions up to 7 and of 7.3 (which is HDF5).

Guarantees: only the variables that are asked for are read, and only arrays of numbers and texts: cells, structures, functions
and objects are refused, nothing is executed. Axes are MATLAB's own in both kinds of files.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards.adapter import UnreadableSample
from shards.formats.hdf5 import hdf5_arrays, read_hdf5

#: What a cut, altered or foreign file raises while it is read.
_DAMAGE = (
    *(ValueError, TypeError, KeyError, IndexError, EOFError, OSError, MemoryError, OverflowError),
    *(NotImplementedError, UnicodeDecodeError, zlib.error, Warning),
)
_VERSION_73 = b"MATLAB 7.3 MAT-file"


def mat_names(path: Path, *, missing: str = "missing_image") -> tuple[str, ...]:
    """Return the names of a file's variables; their values are not read.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``.
    """
    if _is_hdf5(path, missing):
        return tuple(hdf5_arrays(path, missing=missing))
    import scipy.io

    with _damage_told(path):
        return tuple(str(name) for name, _, _ in scipy.io.whosmat(path, appendmat=False))


def read_mat(path: Path, name: str, *, missing: str = "missing_image") -> NDArray[Any]:
    """Read one variable.

    Parameters
    ----------
    path
        The ``.mat`` file.
    name
        Of the variable.
    missing
        Reason if the file is not there.

    Returns
    -------
    ndarray
        At least two axes, as MATLAB has them.

    Raises
    ------
    UnreadableSample
        `missing`, ``empty_file``, ``decode_error``; ``missing_array`` if the file lacks the variable;
        ``unsupported_pixels`` if it is no array of numbers or texts.
    """
    names = mat_names(path, missing=missing)
    if name not in names:
        shown = ", ".join(names) or "none"
        raise UnreadableSample("missing_array", f"{path.name} lacks the variable {name!r}; found {shown}")
    if _is_hdf5(path, missing):
        return read_hdf5(path, name, missing=missing).T  # HDF5 has MATLAB's axes the other way round
    import scipy.io

    with _damage_told(path):
        found = scipy.io.loadmat(path, appendmat=False, variable_names=[name])[name]
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biufU":
        raise UnreadableSample(
            "unsupported_pixels", f"variable {name!r} of {path.name} is no array of numbers or texts"
        )
    return found


def _is_hdf5(path: Path, missing: str) -> bool:
    if not path.is_file():
        raise UnreadableSample(missing, f"file {path.name} does not exist")
    with path.open("rb") as file:
        start = file.read(len(_VERSION_73))
    if not start:
        raise UnreadableSample("empty_file", f"file {path.name} has no bytes")
    return start == _VERSION_73 or start.startswith(b"\x89HDF")


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    from scipy.io.matlab import MatReadError

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            yield
        except (*_DAMAGE, MatReadError) as error:
            text = str(error).replace(str(path), path.name) or type(error).__name__
            raise UnreadableSample(
                "decode_error", f"file {path.name} is cut off or no MATLAB file: {text}"
            ) from error
