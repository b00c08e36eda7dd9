"""Reads a user's CSV, TSV or Parquet file as texts, without guessing at types.

Every value comes out as the text that stands in the file (Parquet numbers as they would be written: 1.0 as
``1``, booleans as ``true`` and ``false``), stripped of blanks around it; texts that stand for "unknown" come
out as None.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import UserError, unknown_name

Column = list[str | None]


@dataclass(frozen=True)
class Columns:
    """A table as columns of texts.

    Attributes
    ----------
    path
        Where it was read from.
    values
        Column by name; all of one length.
    """

    path: Path
    values: dict[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), []))

    def get(self, name: str) -> Column:
        """Return a column; capitals do not matter where that leaves one column only.

        Raises
        ------
        UserError
            If there is none, naming the nearest.
        """
        if name in self.values:
            return self.values[name]
        alike = [known for known in self.values if known.casefold() == name.casefold()]
        if len(alike) == 1:
            return self.values[alike[0]]
        raise unknown_name(f"column in {self.path.name}", name, self.values)

    def known(self, name: str, unknown: Collection[str]) -> Column:
        """Return a column with None for every text of `unknown` (given in lower case)."""
        return [None if text is None or text.lower() in unknown else text for text in self.get(name)]


def read_columns(path: Path) -> Columns:
    """Read a table by the ending of its name: ``.csv``, ``.tsv``, ``.tab`` or ``.parquet``.

    Raises
    ------
    UserError
        If it is missing, of another kind, damaged, empty, or has two columns of one name.
    """
    separators = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError(
            f"the table {path} does not exist; give the path of a CSV, TSV or Parquet file as 'table'."
        )
    if suffix == ".parquet":
        return Columns(path, _parquet(path))
    if suffix not in separators:
        raise UserError(
            f"the table {path} must end in .csv, .tsv, .tab or .parquet, got {suffix or 'no ending'!r}."
        )
    return Columns(path, _csv(path, separators[suffix]))


def _csv(path: Path, separator: str) -> dict[str, Column]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, delimiter=separator, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the table {path} cannot be read as UTF-8 text with columns: {error}.") from error
    if not lines:
        raise UserError(
            f"the table {path} is empty; expected a line of column names and one line per sample."
        )
    header = [name.strip() for name in lines[0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"the table {path} has two columns called {twice[0]!r}; rename one.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise UserError(
                f"row {number} of the table {path} has {len(line)} values, expected {len(header)}; quote values "
                "that hold the separator."
            )
    return {name: [line[i].strip() for line in lines[1:]] for i, name in enumerate(header)}


def _parquet(path: Path) -> dict[str, Column]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"the table {path} cannot be read as Parquet: {error}.") from error
    if len(set(table.column_names)) < len(table.column_names):
        raise UserError(f"the table {path} has two columns of one name; rename one.")
    return {name: [_text(value) for value in table[name].to_pylist()] for name in table.column_names}


def _text(value: Any) -> str | None:
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
