"""Turns pydantic's findings into one message for people, with the nearest valid key for a misspelt one."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from shards.errors import UserError


def explain(error: ValidationError, model: type[BaseModel], where: str) -> UserError:
    """Describe every finding of a validation in one error.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The model that was validated.
    where
        What the values describe, e.g. ``"study"``; starts every path in the message.

    Returns
    -------
    UserError
        One line per finding: place, what was expected, what was found, nearest valid key.
    """
    lines = [_line(dict(finding), model, where) for finding in error.errors(include_url=False)]
    return UserError("\n".join(dict.fromkeys(lines)))


def _line(finding: Mapping[str, Any], model: type[BaseModel], where: str) -> str:
    place = ".".join([where, *(str(step) for step in finding["loc"])])
    if finding["type"] == "extra_forbidden":
        valid = _fields_at(model, finding["loc"][:-1])
        near = difflib.get_close_matches(str(finding["loc"][-1]), valid, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"{place}: unknown key{hint} Valid keys: {', '.join(sorted(valid))}."
    if finding["type"] == "missing":
        return f"{place}: required, but absent."
    return f"{place}: {finding['msg']}, got {finding['input']!r:.80}."


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the field names valid at a place inside nested models, dicts and tuples."""
    kind: Any = model
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation if str(step) in kind.model_fields else None
        else:
            kind = _inner(kind)
        kind = _strip(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _strip(kind: Any) -> Any:
    """Remove Annotated and None from a type."""
    if typing.get_origin(kind) is typing.Annotated:
        return _strip(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [k for k in typing.get_args(kind) if k is not type(None)]
        return _strip(kinds[0])
    return kind


def _inner(kind: Any) -> Any:
    """Return the element type of a dict, tuple or list."""
    arguments = [a for a in typing.get_args(kind) if a is not Ellipsis]
    return arguments[-1] if arguments else None
