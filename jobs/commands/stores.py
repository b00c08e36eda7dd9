"""``fairray query`` and ``fairray export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.commands.output import print_json, print_table
from jobs.query import connect, require_view
from jobs.run import Exit
from jobs.sql_functions import functions
from jobs.store import Store
from shards.errors import UserError
from shards.files import fsync_folder

if TYPE_CHECKING:
    import duckdb


def query(path: Path, sql: str, as_json: bool) -> int:
    """Run SQL and print what it gives."""
    import duckdb

    try:
        with functions(connect(Store(path))) as connection:
            result = connection.execute(sql)
            columns = [column[0] for column in result.description or ()]
            rows = result.fetchall()
    except duckdb.Error as error:
        raise UserError(f"the query failed: {error}") from None
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(f"{len(rows)} rows", columns, rows)
    return Exit.COMPLETE


def export(path: Path, table: str, out: Path) -> int:
    """Write one view as a flat file, whole or not at all."""
    import duckdb

    formats = {".parquet": "(format parquet, compression zstd)", ".csv": "(format csv, header)"}
    if out.suffix not in formats:
        raise UserError(f"export file must end in .parquet or .csv, got {str(out)!r}.")
    connection = connect(Store(path))
    name = require_view(connection, table)
    unfinished = out.with_name(f".{out.name}.unfinished")
    target = str(unfinished).replace("'", "''")
    try:
        columns = _safe_columns(connection, name) if out.suffix == ".csv" else "*"
        connection.execute(f"copy (select {columns} from {name}) to '{target}' {formats[out.suffix]}")  # noqa: S608 - checked name
        unfinished.replace(out)
    except duckdb.Error as error:
        raise UserError(f"cannot write {out}: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    fsync_folder(out.absolute().parent)
    return Exit.COMPLETE


def _safe_columns(connection: duckdb.DuckDBPyConnection, view: str) -> str:
    """Select all columns of a view; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    chosen = []
    for name, kind, *_ in connection.execute(f"describe {view}").fetchall():
        column = '"' + name.replace('"', '""') + '"'
        guarded = f"regexp_replace({column}, '^([=+@\\t\\r-])', chr(39) || '\\1')"
        chosen.append(f"{guarded} as {column}" if kind == "VARCHAR" else column)
    return ", ".join(chosen)
