"""Tables and JSON on standard output, progress and messages on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def out() -> Console:
    """Return the console of results; wide enough for tables when it is a file or a pipe."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def err() -> Console:
    """Return the console of progress and messages."""
    return Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Print a message on standard error, exactly as it is."""
    err().print(message, markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print JSON."""
    out().out(json.dumps(value, indent=2, default=str, ensure_ascii=False), highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; every cell is text from data and is shown as it is."""
    table = Table(
        title=escape(title), title_justify="left", header_style="bold", show_edge=False, pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    out().print(table)
