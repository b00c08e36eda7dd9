"""One thing written in several ways: ``yes`` and ``Yes``, ``1`` and ``1.0``, ``17`` and ``017``.

Taken for different things they would make classes that do not exist, and put one person into two splits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

_NUMBER = re.compile(r"([+-]?)0*(\d+)(?:\.(\d*?)0*)?")


def plain(text: str) -> str:
    """Return a text without what does not matter: capitals, and zeros around a number.

    Examples
    --------
    >>> plain("Yes"), plain("1.0"), plain("017"), plain("1.50"), plain("0"), plain("7a")
    ('yes', '1', '17', '1.5', '0', '7a')
    """
    return number(text.casefold())


def number(text: str) -> str:
    """Return a number without zeros around it, any other text as it is.

    Examples
    --------
    >>> number("1.0"), number("017"), number("P017"), number("Yes")
    ('1', '17', 'P017', 'Yes')
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return f"{match[1].strip('+')}{match[2]}{'.' + match[3] if match[3] else ''}"


def alike(texts: Iterable[str | None], key: Callable[[str], str]) -> tuple[str, str] | None:
    """Return the first two texts, in their order as texts, that are one thing by `key`; None if all differ."""
    first: dict[str, str] = {}
    for text in sorted({text for text in texts if text is not None}):
        other = first.setdefault(key(text), text)
        if other != text:
            return other, text
    return None


def as_declared(classes: Collection[str]) -> Mapping[str, str]:
    """Return which class each plain text is; none for one that could be two."""
    found: dict[str, list[str]] = {}
    for name in classes:
        found.setdefault(plain(name), []).append(name)
    return {key: names[0] for key, names in found.items() if len(names) == 1}
