"""Checks that a file of a volume is whole before its voxels are read.

Why this exists: SimpleITK gives the rest of a NIfTI file that was cut off as zeros, and zeros for voxels that are no number;
of ``a.nii.gz`` beside ``a.nii`` it reads the latter, whichever was asked for; and it does not notice a wrong byte in the
compressed voxels of a MetaImage. Guarantees: a NIfTI file has all the bytes that its header announces, and numbers only; what
is compressed is there to its end and has its checksum. Trade-off: compressed files are unpacked twice, in constant memory.
What is not compressed in a MetaImage or NRRD file needs no check: SimpleITK refuses the short ones.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from shards.adapter import UnreadableSample

_CHUNK = 1 << 20
#: No header that is text is longer.
_TEXT_HEADER = 1 << 16
#: Bytes of a NIfTI header, by which it is known; that of version 2 has more, and SimpleITK reads version 1 only.
_NIFTI_1, _NIFTI_2 = 348, 540
#: NIfTI's numbers for kinds of fractions.
_FRACTIONS = {16: "f4", 64: "f8"}


def check_whole(path: Path) -> None:
    """Refuse a NIfTI file, MetaImage or NRRD file that is cut off or damaged.

    Raises
    ------
    UnreadableSample
        ``decode_error``, with what is wrong; ``nan_pixels`` for NIfTI voxels that are no finite number.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    elif name.endswith((".mha", ".mhd")):
        _check_meta(path)
    elif name.endswith(".nrrd"):
        _check_nrrd(path)


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """Give a path at which SimpleITK reads this file and not its packed or unpacked neighbour."""
    name = path.name
    other = path.with_name(name[:-3] if name.endswith(".nii.gz") else f"{name}.gz")
    if not name.endswith((".nii", ".nii.gz")) or not other.exists():
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / name
        link.symlink_to(path.absolute())
        yield link


class _Nifti(NamedTuple):
    """What a header says of its voxels: first byte, bytes in all, and their kind if they are fractions."""

    start: int
    size: int
    fractions: np.dtype[Any] | None


def _check_nifti(path: Path) -> None:
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=plain) as file:
                    _check_voxels(file, path.name)
            else:
                _check_voxels(plain, path.name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UnreadableSample(
                "decode_error", f"file {path.name} is cut off or damaged: {error}"
            ) from error


def _check_voxels(file: BinaryIO | gzip.GzipFile, name: str) -> None:
    """Read a NIfTI file to its end."""
    header = file.read(_NIFTI_1)
    told = _nifti_header(header, name)
    found = len(header) + len(file.read(told.start - len(header)))
    finite = True
    while chunk := file.read(_CHUNK):
        found += len(chunk)
        if told.fractions is not None:
            whole = len(chunk) - len(chunk) % told.fractions.itemsize
            finite = finite and bool(np.isfinite(np.frombuffer(chunk[:whole], told.fractions)).all())
    if found < told.start + told.size:
        raise UnreadableSample(
            "decode_error",
            f"file {name} is cut off: its header announces {told.start + told.size} bytes, it has {found}",
        )
    if not finite:
        raise UnreadableSample("nan_pixels", f"file {name} has voxels that are no finite number")


def _nifti_header(header: bytes, name: str) -> _Nifti:
    """Read the size and kind of a NIfTI file's voxels, in either byte order."""
    for order in "<>":
        if header[:4] == struct.pack(f"{order}i", _NIFTI_2):
            raise UnreadableSample("decode_error", f"file {name} is of NIfTI version 2; expected version 1")
        if header[:4] != struct.pack(f"{order}i", _NIFTI_1) or len(header) < _NIFTI_1:
            continue
        rank, *sizes = struct.unpack_from(f"{order}8h", header, 40)
        kind, bits = struct.unpack_from(f"{order}2h", header, 70)
        (start,) = struct.unpack_from(f"{order}f", header, 108)
        if 1 <= rank <= 7 and np.isfinite(start):
            fractions = _FRACTIONS.get(kind)
            told = None if fractions is None else np.dtype(f"{order}{fractions}")
            return _Nifti(max(int(start), _NIFTI_1), prod(sizes[:rank]) * bits // 8, told)
    raise UnreadableSample("decode_error", f"file {name} has no NIfTI header")


def _check_meta(path: Path) -> None:
    with path.open("rb") as file:
        fields, start = _meta_header(file.read(_TEXT_HEADER))
        if fields.get("compresseddata", "false").lower() != "true":
            return
        where = fields["elementdatafile"]
        if where.upper() == "LOCAL":
            file.seek(start)
            _check_zlib(file, path.name)
            return
    voxels = path.with_name(Path(where).name)  # never a path that a header leads elsewhere
    if not voxels.is_file():
        raise UnreadableSample("decode_error", f"file {voxels.name}, which {path.name} names, does not exist")
    with voxels.open("rb") as file:
        _check_zlib(file, voxels.name)


def _meta_header(data: bytes) -> tuple[dict[str, str], int]:
    """Return a MetaImage's fields (names in lower case) and where its voxels begin."""
    fields: dict[str, str] = {}
    start = 0
    while "elementdatafile" not in fields:
        end = data.find(b"\n", start)
        if end < 0:
            return {}, 0  # no header: SimpleITK says so
        name, _, value = data[start:end].decode("latin-1").partition("=")
        fields[name.strip().lower()] = value.strip()
        start = end + 1
    return fields, start


def _check_nrrd(path: Path) -> None:
    with path.open("rb") as file:
        text, blank, _ = file.read(_TEXT_HEADER).replace(b"\r\n", b"\n").partition(b"\n\n")
        fields = [line.partition(":") for line in text.decode("latin-1").lower().split("\n")]
        told = {name.replace(" ", ""): value.strip() for name, _, value in fields}
        if blank and told.get("encoding") in ("gzip", "gz") and "datafile" not in told:
            file.seek(0)
            while file.readline().strip():
                pass  # the voxels begin after the first empty line
            _check_zlib(file, path.name)


def _check_zlib(file: BinaryIO, name: str) -> None:
    unpacked = zlib.decompressobj(wbits=47)  # zlib or gzip, by its header
    try:
        while not unpacked.eof and (chunk := file.read(_CHUNK)):
            rest = chunk
            while rest and not unpacked.eof:
                unpacked.decompress(rest, _CHUNK)
                rest = unpacked.unconsumed_tail
    except zlib.error as error:
        raise UnreadableSample("decode_error", f"file {name} is damaged: {error}") from error
    if not unpacked.eof:
        raise UnreadableSample("decode_error", f"file {name} is cut off before the end of its voxels")
