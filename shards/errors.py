"""Errors raised on purpose, and the wording they share.

A :class:`UserError` is something the user can mend: the command line prints its text without a traceback and
exits with 2. Its text names the thing, what was expected, what was found and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FairRayError(Exception):
    """Base of every error that this project raises on purpose."""


class UserError(FairRayError):
    """Something the user can mend: a wrong option, a missing file, a column of another name."""


def unknown_name(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UserError:
    """Build the error for a name that does not exist, naming the nearest one that does.

    Parameters
    ----------
    kind
        What the name stands for, e.g. ``"model"``.
    name
        The name received.
    known
        The valid names.
    hint
        What else to do, e.g. which command lists the names.

    Returns
    -------
    UserError
        Ready to be raised.

    Examples
    --------
    >>> str(unknown_name("model", "tiny-clop", ["tiny-clip", "tiny-sam"]))
    "unknown model 'tiny-clop'; did you mean 'tiny-clip'? Known: tiny-clip, tiny-sam."
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    question = f"; did you mean {near[0]!r}?" if near else "."
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    text = f"unknown {kind} {name!r}{question} Known: {shown}."
    return UserError(f"{text} {hint}".rstrip())
