"""``fairray query`` and ``fairray export``."""

from __future__ import annotations

from pathlib import Path

from jobs.commands.output import print_json, print_table
from jobs.query import connect, require_view
from jobs.run import Exit
from jobs.store import Store
from shards.errors import UserError
from shards.files import fsync_folder


def query(path: Path, sql: str, as_json: bool) -> int:
    """Run SQL and print what it gives."""
    import duckdb

    try:
        result = connect(Store(path)).execute(sql)
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
        connection.execute(f"copy (select * from {name}) to '{target}' {formats[out.suffix]}")  # noqa: S608 - checked name
        unfinished.replace(out)
    except duckdb.Error as error:
        raise UserError(f"cannot write {out}: {error}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    fsync_folder(out.absolute().parent)
    return Exit.COMPLETE
