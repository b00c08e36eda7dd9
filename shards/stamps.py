"""What tells whether finished work is still good: the manifest rows it was made of, and the state of their raw files.

Of every raw file the size and the time of change count, so that nothing is read. Stamps are taken once, before any raw file is
read: a file that changes while a conversion runs is then seen to have changed by the next one.

Trade-off: a file that changes and keeps both is taken for unchanged. Stamps are taken by many threads, because a file system
on the network answers each question only after a millisecond or so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shards.files import digest
from shards.manifest import Row

_THREADS = 16
#: Rows that a thread takes at once.
_CHUNK = 256
#: Endings of the files with the voxels of a MetaImage header (``.mhd``), which has the same name otherwise.
_VOXELS = (".raw", ".zraw")


def row_stamps(rows: Sequence[Row]) -> list[str]:
    """Return the hash of each row's values and of the state of its files."""
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    columns = digest(list(rows[0].values)) if rows else ""  # all rows of a manifest have the same

    def stamp(chunk: Sequence[Row]) -> list[str]:
        return [digest([columns, row.values.cells, file_stamps(row)]) for row in chunk]

    if len(chunks) <= 1:
        return [one for chunk in chunks for one in stamp(chunk)]
    with ThreadPoolExecutor(_THREADS) as threads:
        return [one for stamped in threads.map(stamp, chunks) for one in stamped]


def file_stamps(row: Row) -> dict[str, tuple[int, int] | None]:
    """Return (bytes, time of change in ns) of every raw file that a row names, at any depth; None for absent files.

    A folder (of a DICOM series) has the bytes of all files in it, also in its folders, and the sum of all times: any of them
    may change, also to an earlier one.
    """
    stamps: dict[str, tuple[int, int] | None] = {}
    for name in row.values:
        if name.startswith("_") and name != "_source":
            stamps.update((key, _file_stamp(path)) for key, path in _paths(name, row.values[name]))
    return stamps


def _paths(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every absolute path in a value, with a name for it."""
    if isinstance(value, str):
        if value.startswith("/"):
            yield name, value
            if value.lower().endswith(".mhd"):
                yield from ((f"{name}{ending}", f"{value[:-4]}{ending}") for ending in _VOXELS)
    elif isinstance(value, list | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for place, item in items:
            yield from _paths(f"{name}[{place}]", item)


def _file_stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
        inside = list(_inside(path)) if stat.S_ISDIR(found.st_mode) else []
    except (OSError, ValueError):
        return None
    size = sum(one.st_size for one in inside) if stat.S_ISDIR(found.st_mode) else found.st_size
    return size, sum(one.st_mtime_ns for one in [found, *inside])


def _inside(folder: str) -> Iterator[os.stat_result]:
    for entry in os.scandir(folder):
        # A link that leads nowhere is what it is: it must not hide the changes of its neighbours.
        leads = not entry.is_symlink() or os.path.exists(entry.path)
        yield entry.stat(follow_symlinks=leads)
        if entry.is_dir(follow_symlinks=False):
            yield from _inside(entry.path)
