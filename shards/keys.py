"""Shard keys: any sample id as a name that WebDataset, tar and every file system take.

Guarantee: keys match ``[a-z0-9_-]+``, have at most 88 characters, and two different ids never give the same
key (ids too long to be written out are told apart by their whole sha256). Keys are a function of the id
alone, so they never change when samples are added. Trade-off: an id with much punctuation or mixed case is
less readable than a slug would be; slugs merge ids. WebDataset cuts names at the first dot, which is why a
DICOM UID may not be a key as it is.
"""

from __future__ import annotations

import hashlib
import re

#: A tar header has 100 bytes for the name; the longest extension is ``.image.png``.
MAX_KEY = 88
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_SHORT = {"_": "__", ".": "_d", "/": "_s"}
_READABLE = 16


def encode_key(sample_id: str) -> str:
    """Return the shard key of a sample id.

    Lower-case letters, digits and hyphens stand for themselves. An underscore starts an escape: ``__``
    underscore, ``_d`` dot, ``_s`` slash, ``_c`` turns capitals on or off, ``_xHH`` one byte of UTF-8, ``_e``
    the empty id. A key that would be longer than 88 characters is ``_h``, the id's sha256, a hyphen and the
    beginning of its readable form.

    Examples
    --------
    >>> encode_key("scan-7"), encode_key("ISIC_0024306"), encode_key("1.2.840")
    ('scan-7', '_cisic__0024306', '1_d2_d840')
    """
    key = _escape(sample_id) or "_e"
    if len(key) <= MAX_KEY:
        return key
    hashed = hashlib.sha256(sample_id.encode("utf-8", "surrogatepass")).hexdigest()
    readable = re.sub("[^a-z0-9]+", "-", sample_id.lower())[:_READABLE].strip("-")
    return f"_h{hashed}-{readable}" if readable else f"_h{hashed}"


def _escape(text: str) -> str:
    parts: list[str] = []
    capitals = False
    for character in text:
        letter = character.isascii() and character.isalpha()
        if letter and character.isupper() != capitals:
            parts.append("_c")
            capitals = not capitals
        plain = character.lower() if letter else character
        parts.append(plain if plain in _PLAIN else _SHORT.get(plain) or _bytes(plain))
    return "".join(parts)


def _bytes(character: str) -> str:
    return "".join(f"_x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
