"""Reads a user's CSV, TSV, Excel or Parquet file as texts, without guessing at types.

Every value comes out as the text that stands in the file (Parquet and Excel numbers as they would be written: 1.0 as
``1``, booleans as ``true`` and ``false``), stripped of blanks around it; texts that stand for "unknown" come
out as None.
"""

from __future__ import annotations

import csv
import re
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


def read_columns(path: Path, sheet: str | int = 0) -> Columns:
    """Read a table by the ending of its name: ``.csv``, ``.tsv``, ``.tab``, ``.xlsx``, ``.xlsm`` or ``.parquet``.

    Parameters
    ----------
    path
        The file.
    sheet
        Of an Excel file: its name, or its place from 0.

    Raises
    ------
    UserError
        If it is missing, of another kind, damaged, empty, or has two columns of one name.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError(
            f"the table {path} does not exist; give the path of a CSV, TSV, Excel or Parquet file as 'table'."
        )
    if suffix == ".parquet":
        return Columns(path, _parquet(path))
    if suffix in (".xlsx", ".xlsm"):
        return Columns(path, _excel(path, sheet))
    if suffix not in (".csv", ".tsv", ".tab"):
        raise UserError(
            f"the table {path} must end in .csv, .tsv, .tab, .xlsx, .xlsm or .parquet, got {suffix or 'no ending'!r}."
        )
    return Columns(path, _csv(path))


def _csv(path: Path) -> dict[str, Column]:
    try:
        with path.open("rb") as file:
            encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(newline="", encoding=encoding) as file:
            separator = "\t" if path.suffix.lower() != ".csv" else _separator(file.readline())
            file.seek(0)
            lines = [line for line in csv.reader(file, delimiter=separator, strict=True) if line]
    except UnicodeError as error:
        raise UserError(
            f"the table {path} cannot be read as UTF-8 text: {error}. Save it again as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    except csv.Error as error:
        raise UserError(f"the table {path} cannot be read as text with columns: {error}.") from error
    columns = _by_name(path, lines)
    return columns if separator == "," else {name: _with_points(column) for name, column in columns.items()}


def _separator(header: str) -> str:
    """Return what stands between names: a comma, or in a header without one what Excel writes in much of Europe."""
    return "," if "," in header else next((mark for mark in ";\t" if mark in header), ",")


def _with_points(column: Column) -> Column:
    """Return numbers with a comma as numbers with a point, if all of a column are numbers and one has a comma."""
    known = [text for text in column if text]
    numbers = all(re.fullmatch(r"[+-]?\d+(,\d+)?", text) for text in known)
    if not numbers or not any("," in text for text in known):
        return column
    return [text and text.replace(",", ".") for text in column]


def _excel(path: Path, sheet: str | int) -> dict[str, Column]:
    import openpyxl  # type: ignore[import-untyped]

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            name = _sheet(path, sheet, book.sheetnames)
            found = [[_text(cell) or "" for cell in row] for row in book[name].iter_rows(values_only=True)]
        finally:
            book.close()
    except UserError:
        raise
    except Exception as error:  # archives and XML that are damaged raise anything
        raise UserError(f"the table {path} cannot be read as an Excel file: {error}.") from error
    lines = [row for row in found if any(row)]
    width = max((place + 1 for row in lines for place, cell in enumerate(row) if cell), default=0)
    return _by_name(path, [[*row, *[""] * width][:width] for row in lines])


def _sheet(path: Path, sheet: str | int, names: list[str]) -> str:
    if isinstance(sheet, str):
        if sheet not in names:
            raise unknown_name(f"sheet in {path.name}", sheet, names)
        return sheet
    if not 0 <= sheet < len(names):
        raise UserError(
            f"the table {path} has {len(names)} sheets, but sheet {sheet} (from 0) was asked for."
        )
    return names[sheet]


def _by_name(path: Path, lines: list[list[str]]) -> dict[str, Column]:
    """Return the columns of lines, of which the first has the names."""
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
