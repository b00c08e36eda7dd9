"""Asks public archives which files a record has: names, sizes and the checksums that the archive itself gives.

A record is written as ``zenodo:ID``, ``figshare:ARTICLE``, ``dataverse:doi:10.7910/DVN/...`` or a plain address, with the
file's name after ``#`` where the address has another. Scope: public records; nothing here can log in, and what needs an
agreement is never asked for.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from shards.errors import UserError

_TIMEOUT_S = 60
_AGENT = "fairray"


@dataclass(frozen=True)
class RemoteFile:
    """One file that can be fetched.

    Attributes
    ----------
    name
        File name, without folders.
    address
        Where its bytes are.
    size
        In bytes; None where the archive does not say.
    checksum
        ``"md5:..."`` or ``"sha256:..."``; None where the archive gives none.
    """

    name: str
    address: str
    size: int | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Archives:
    """Where the archives answer; other addresses than the public ones are for mirrors.

    Attributes
    ----------
    zenodo, figshare, dataverse
        Roots of their web interfaces for programs.
    """

    zenodo: str = "https://zenodo.org/api"
    figshare: str = "https://api.figshare.com/v2"
    dataverse: str = "https://dataverse.harvard.edu/api"


PUBLIC = Archives()


def files_of(record: str, archives: Archives = PUBLIC) -> tuple[RemoteFile, ...]:
    """List the files of a record.

    Parameters
    ----------
    record
        See the module's text.
    archives
        Where to ask.

    Raises
    ------
    UserError
        If the archive cannot be reached, does not know the record, or answers otherwise than it used to.
    """
    kind, _, name = record.partition(":")
    if kind in ("http", "https"):
        return (_plain(record),)
    readers = {"zenodo": _zenodo, "figshare": _figshare, "dataverse": _dataverse}
    if kind not in readers:
        raise UserError(
            f"record {record!r} must start with {', '.join(readers)} or be an address (https://...)."
        )
    try:
        found = [_checked(file) for file in readers[kind](name, archives)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{kind} describes record {name!r} in a way that is not known ({type(error).__name__}: {error}); download it by "
            "hand from its page."
        ) from error
    return tuple(sorted(found, key=lambda file: file.name))


def _checked(file: RemoteFile) -> RemoteFile:
    """Refuse a name that would leave the folder it is written to, and an address that is no download."""
    if not file.name or "/" in file.name or "\\" in file.name or file.name in (".", ".."):
        raise ValueError(f"file name {file.name!r}")
    if urlsplit(file.address).scheme not in ("http", "https"):
        raise ValueError(f"address {file.address!r}")
    return file


def open_address(address: str, headers: Mapping[str, str]) -> HTTPResponse:
    """Open a web address (http or https only, as every address of a :class:`RemoteFile` is)."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"not a web address: {address!r}")
    request = urllib.request.Request(address, headers={"User-Agent": _AGENT, **headers})  # noqa: S310 - checked above
    return cast("HTTPResponse", urllib.request.urlopen(request, timeout=_TIMEOUT_S))  # noqa: S310


def _plain(address: str) -> RemoteFile:
    place, _, name = address.partition("#")
    return _checked(RemoteFile(name or unquote(urlsplit(place).path.rsplit("/", 1)[-1]), place))


def _zenodo(record: str, archives: Archives) -> list[RemoteFile]:
    answer = _ask(f"{archives.zenodo}/records/{quote(record)}")
    return [
        RemoteFile(file["key"], file["links"]["self"], int(file["size"]), file["checksum"])
        for file in answer["files"]
    ]


def _figshare(article: str, archives: Archives) -> list[RemoteFile]:
    answer = _ask(f"{archives.figshare}/articles/{quote(article)}/files?page_size=1000")
    return [
        RemoteFile(file["name"], file["download_url"], int(file["size"]), f"md5:{file['computed_md5']}")
        for file in answer
    ]


def _dataverse(record: str, archives: Archives) -> list[RemoteFile]:
    query = urllib.parse.urlencode({"persistentId": record})
    answer = _ask(f"{archives.dataverse}/datasets/:persistentId/?{query}")
    return [
        _dataverse_file(entry["dataFile"], archives) for entry in answer["data"]["latestVersion"]["files"]
    ]


def _dataverse_file(file: Mapping[str, Any], archives: Archives) -> RemoteFile:
    """Describe one file; a table that the archive has rewritten is asked for as it was uploaded, so its checksum holds."""
    rewritten = "originalFileName" in file
    address = f"{archives.dataverse}/access/datafile/{int(file['id'])}" + (
        "?format=original" if rewritten else ""
    )
    name = file["originalFileName"] if rewritten else file["filename"]
    size = file["originalFileSize"] if rewritten else file["filesize"]
    checksum = file.get("checksum", {"type": "MD5", "value": file.get("md5")})
    known = checksum["type"] in ("MD5", "SHA-256") and checksum["value"] is not None
    prefix = checksum["type"].lower().replace("-", "")
    return RemoteFile(name, address, int(size), f"{prefix}:{checksum['value']}" if known else None)


def _ask(address: str) -> Any:
    try:
        with open_address(address, {"Accept": "application/json"}) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{address} answered {error.code} {error.reason}; check the record on its page, or try later."
        ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{address} cannot be reached ({reason}). On a machine without network, fetch elsewhere and copy the folder."
        ) from error
