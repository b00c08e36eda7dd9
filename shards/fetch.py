"""Downloads the files of a dataset that anyone may download, so that they can be converted.

Guarantees: a file has its name only when all its bytes are there and match the checksum that its archive gives; a download
that was interrupted goes on where it stopped, if the server can and the file is still the same; repeating a finished download
transfers nothing. Archives (zip, tar) are unpacked beside themselves, and nothing is ever written outside the folder.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from shards.archives import PUBLIC, Archives, RemoteFile, files_of, open_address
from shards.errors import UserError

_CHUNK = 1 << 20
_PART = ".part"
_SAME = ".etag"


@dataclass(frozen=True)
class FetchProgress:
    """How far a file is.

    Attributes
    ----------
    name
        Its name.
    done, total
        Bytes that are there, and all; None where the server does not say.
    """

    name: str
    done: int
    total: int | None


Tell = Callable[[FetchProgress], None]


def fetch(
    records: Iterable[str], folder: Path, *, archives: Archives = PUBLIC, tell: Tell | None = None
) -> tuple[Path, ...]:
    """Download all files of some records and unpack the archives among them.

    Parameters
    ----------
    records
        See :mod:`shards.archives`.
    folder
        Where to; made if absent.
    archives
        Where the archives answer.
    tell
        Called after every block of bytes.

    Returns
    -------
    tuple of Path
        The files, by record and name.

    Raises
    ------
    UserError
        If something cannot be reached, is damaged, or the folder cannot be written. Repeating goes on.
    """
    folder = Path(folder).absolute()
    files = [file for record in records for file in files_of(record, archives)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(download(file, folder, tell=tell) for file in files)
        for path in paths:
            unpack(path)
    except OSError as error:
        raise UserError(
            f"cannot write in {folder}: {error.strerror or error}. Make room or choose another place, then repeat: what is "
            "there is kept."
        ) from error
    return paths


def download(file: RemoteFile, folder: Path, *, tell: Tell | None = None) -> Path:
    """Download one file, going on where an earlier attempt stopped.

    Returns
    -------
    Path
        The whole file, checked.

    Raises
    ------
    UserError
        If the server cannot be reached or stops early (what came is kept), or the bytes are not those that the archive
        describes (what came is removed).
    OSError
        If the folder cannot be written.
    """
    path = folder / file.name
    if path.is_file() and file.size in (None, path.stat().st_size):
        return path  # it got its name only after it was checked
    part = folder / f"{file.name}{_PART}"
    size = part.stat().st_size if part.exists() else 0
    if file.size is None or size != file.size:
        _transfer(file, part, tell)
    _check(file, part)
    part.replace(path)
    _mark(part).unlink(missing_ok=True)
    return path


def _transfer(file: RemoteFile, part: Path, tell: Tell | None) -> None:
    mark = _mark(part)
    start = part.stat().st_size if part.exists() else 0
    known = mark.read_text() if mark.exists() else ""
    headers = {}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known:
            headers["If-Range"] = known
    try:
        with open_address(file.address, headers) as answer:
            _receive(file, part, answer, start, tell)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # there are more bytes here than there
            part.unlink(missing_ok=True)
        raise UserError(
            f"{file.address} answered {error.code} {error.reason}; repeat, or get it by hand."
        ) from error
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"the download of {file.name} from {file.address} stopped ({getattr(error, 'reason', error)}); repeat the "
            "command: it goes on where it stopped."
        ) from error


def _receive(file: RemoteFile, part: Path, answer: HTTPResponse, start: int, tell: Tell | None) -> None:
    """Append what comes; from the beginning where the server sends the whole file."""
    resumed = answer.status == 206
    done = start if resumed else 0
    length = answer.headers.get("Content-Length")
    total = done + int(length) if length is not None else file.size
    # An entity tag or a date names these very bytes: going on is right only while it stays.
    _mark(part).write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
    with part.open("ab" if resumed else "wb") as target:
        while block := answer.read(_CHUNK):
            target.write(block)
            done += len(block)
            if tell is not None:
                tell(FetchProgress(file.name, done, total))
    if total is not None and done < total:
        raise UserError(
            f"the download of {file.name} ended after {done} of {total} bytes; repeat the command: it goes on there."
        )


def _check(file: RemoteFile, part: Path) -> None:
    size = part.stat().st_size
    found = f"{size} bytes"
    right = file.size in (None, size)
    if right and file.checksum is not None:
        kind, _, expected = file.checksum.partition(":")
        with part.open("rb") as source:
            found = f"{kind} {hashlib.file_digest(source, kind).hexdigest()}"
        right = found == f"{kind} {expected.lower()}"
    if not right:
        part.unlink()
        _mark(part).unlink(missing_ok=True)
        raise UserError(
            f"{file.name} is not the file that its archive describes: found {found}, expected {file.checksum or file.size}. "
            "It was removed; repeat the command, and if it happens again, get the file by hand."
        )


def _mark(part: Path) -> Path:
    return part.with_name(part.name + _SAME)


def unpack(path: Path) -> Path | None:
    """Unpack an archive beside itself; once.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    Path or None
        The folder named as the archive is: either the archive's only folder, or one that was made for its files. None if the
        file is no zip or tar archive.

    Raises
    ------
    UserError
        If the archive is damaged, or a member would be written outside.
    OSError
        If the folder cannot be written.
    """
    name = path.name
    stem = next(
        (name[: -len(end)] for end in (".zip", ".tar.gz", ".tgz", ".tar") if name.lower().endswith(end)), None
    )
    if not stem:
        return None
    target = path.with_name(stem)
    if target.exists():
        return target
    made = path.with_name(f".{stem}.unpacking")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    try:
        _extract(path, made)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError) as error:
        shutil.rmtree(made)  # a RuntimeError: encrypted, or packed by a method that Python does not know
        raise UserError(
            f"{path} cannot be unpacked ({error}); delete it and fetch it again, or unpack it by hand into {target}."
        ) from error
    inner = [entry for entry in made.iterdir() if entry.name != "__MACOSX"]
    if len(inner) == 1 and inner[0].is_dir() and inner[0].name == stem:
        inner[0].replace(target)
        shutil.rmtree(made)
    else:
        made.replace(target)
    return target


def _extract(path: Path, folder: Path) -> None:
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                _inside(member)
            archive.extractall(folder)  # noqa: S202 - every member was checked
        return
    with tarfile.open(path) as packed:
        packed.extractall(folder, filter="data")


def _inside(member: str) -> None:
    steps = PurePosixPath(member.replace("\\", "/"))
    if steps.is_absolute() or ".." in steps.parts:
        raise ValueError(f"member {member!r} would be written outside")
