"""Reproducible tar files: the same members give the same bytes, on any machine, at any time.

Uncompressed ustar; every header has time 0, owner 0, mode 0644; members of a sample are sorted by extension.
The writer returns where each member's bytes lie, so that readers seek instead of scanning and never parse a
header.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from shards.keys import MAX_KEY

#: All that a shard may hold. Nothing here can carry code: readers refuse other members.
MEMBERS = ("image.jpg", "image.npy", "image.png", "json", "mask.npy", "mask.png")
_BLOCK = 512


@dataclass(frozen=True)
class Member:
    """Where one member's bytes lie in its tar.

    Attributes
    ----------
    name
        Extension without the key, e.g. ``"image.png"``.
    offset, size
        Of the data (after the header), in bytes.
    sha256
        Of the data, hex.
    """

    name: str
    offset: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Block:
    """Where one sample lies in its tar.

    Attributes
    ----------
    offset, size
        From the first member's header to the end of the last member's padding, in bytes.
    sha256
        Of all these bytes, hex.
    members
        Sorted by name.
    """

    offset: int
    size: int
    sha256: str
    members: tuple[Member, ...]


def write_tar(file: BinaryIO, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> list[Block]:
    """Write samples one after the other.

    Parameters
    ----------
    file
        Written from its beginning.
    samples
        (key, {extension: data}) in the order they are to have.

    Returns
    -------
    list of Block
        One per sample, in the same order.

    Raises
    ------
    ValueError
        If an extension is not one that shards may hold, or a key is too long.
    """
    blocks: list[Block] = []
    offset = 0
    for key, members in samples:
        block = _write_block(file, offset, key, members)
        blocks.append(block)
        offset += block.size
    file.write(b"\0" * (2 * _BLOCK))
    return blocks


def _write_block(file: BinaryIO, offset: int, key: str, members: Mapping[str, bytes]) -> Block:
    if not set(members) <= set(MEMBERS) or len(key) > MAX_KEY:
        raise ValueError(
            f"members must be of {MEMBERS} and keys at most {MAX_KEY} long, got {key!r}: {sorted(members)}"
        )
    whole = hashlib.sha256()
    written: list[Member] = []
    position = offset
    for name, data in sorted(members.items()):
        header = _header(f"{key}.{name}", len(data))
        padding = b"\0" * (-len(data) % _BLOCK)
        for piece in (header, data, padding):
            file.write(piece)
            whole.update(piece)
        written.append(Member(name, position + len(header), len(data), hashlib.sha256(data).hexdigest()))
        position += len(header) + len(data) + len(padding)
    return Block(offset, position - offset, whole.hexdigest(), tuple(written))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mtime = 0
    info.mode = 0o644
    return info.tobuf(format=tarfile.USTAR_FORMAT)
