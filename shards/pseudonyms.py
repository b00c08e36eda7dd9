"""Names that stand for identifiers: keyed hashes, so that nobody without the key can tell whose they are.

Guarantee: the same identifier and key give the same name; a name cannot be turned back, nor guessed by hashing all possible
identifiers, without the key. The key is a file of the user's, readable by the user only, and is never written to a dataset.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from shards.errors import UserError

_KEY_BYTES = 32
_SHOWN = 32


def pseudonym(identifier: str, key: bytes) -> str:
    """Return the name that stands for an identifier: HMAC-SHA256, the first 128 bits in hex.

    Examples
    --------
    >>> pseudonym("patient 7", b"k" * 32) == pseudonym("patient 7", b"k" * 32)
    True
    >>> len(pseudonym("1.2.840.113619", b"k" * 32))
    32
    """
    return hmac.new(key, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_SHOWN]


def load_key(path: Path) -> bytes:
    """Return the key in a file; a file that does not exist is made, with a random key that nobody else can read.

    Parameters
    ----------
    path
        File that holds the key in hex. Keep it: another key gives other names, hence other splits.

    Raises
    ------
    UserError
        If the file cannot be read or made, or holds fewer than 16 bytes.
    """
    try:
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise UserError(
            f"the key file {path} must hold at least {2 * 16} hex digits, and be readable: {error}. Give another file, or "
            "one that does not exist yet to have it made."
        ) from error
    if len(key) < 16:
        raise UserError(f"the key in {path} has {len(key)} bytes; expected at least 16. Give another file.")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process of the same conversion was first
        return
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
