"""DuckDB views over a store: every committed row as a table, with the subjects' attributes joined.

Only files that commit markers name are read, so an unfinished or orphaned file is never counted.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.store import Store, read_marker
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    import duckdb

#: Views of sample rows; ``<name>_raw`` is the same without attributes.
SAMPLE_VIEWS = ("embeddings", "predictions", "segmentations")
#: Views of a study's tables, with a column `study`.
STUDY_VIEWS = ("metrics", "gaps", "comparisons", "across", "selection")
#: Views of what measurements hold beside metrics and gaps, of all tasks of the store.
MEASURE_VIEWS = ("curves", "replicates", "failures")
VIEWS = (*SAMPLE_VIEWS, "samples", *STUDY_VIEWS, *MEASURE_VIEWS, "commits")


def connect(store: Store) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB with the views of a store (those that have rows).

    Notes
    -----
    `predictions`, `segmentations` and `embeddings` have the Hive keys (dataset, model, usage, task), the table's
    own columns, and the columns of the dataset's index (attributes, targets) joined by sample.
    """
    import duckdb

    connection = duckdb.connect(":memory:")
    files, commits = _committed(store)
    _create_commits(connection, commits)
    indexes = sorted((store.path / "datasets").glob("dataset=*/fingerprint=*/index.parquet"))
    if indexes:
        connection.execute(f"create view samples as select * from {_scan(indexes)}")
    for name in SAMPLE_VIEWS:
        if files[name]:
            connection.execute(f"create view {name}_raw as select * from {_scan(files[name])}")
            connection.execute(_joined(name))
    for name in MEASURE_VIEWS:
        tables = [path for path in files["measures"] if path.stem == name]
        if tables:
            # The rows of most name what they are of; those of failures are named by their folder.
            connection.execute(f"create view {name} as select * from {_scan(tables)}")
    for name in STUDY_VIEWS:
        tables = sorted((store.path / name).glob("*.parquet"))
        if tables:
            scan = _scan(tables, filename=True)
            study = "regexp_extract(filename, '([^/]+)\\.parquet$', 1) as study"
            connection.execute(f"create view {name} as select {study}, * exclude (filename) from {scan}")
    return connection


def require_view(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return the name if such a view has rows; raise :class:`UserError` naming the near ones otherwise."""
    if name not in VIEWS:
        raise unknown_name("table", name, VIEWS)
    held = {
        row[0]
        for row in connection.execute(
            "select view_name from duckdb_views() union select table_name from duckdb_tables()"
        ).fetchall()
    }
    if name not in held:
        raise UserError(f"table {name!r} has no committed rows in this store yet. Run a study that fills it.")
    return name


def _committed(store: Store) -> tuple[dict[str, list[Path]], list[tuple[object, ...]]]:
    files: dict[str, list[Path]] = defaultdict(list)
    commits: list[tuple[object, ...]] = []
    for path in sorted((store.path / "commits").glob("*/*.json")):
        marker = read_marker(path)
        if marker is None or not all((store.path / file.path).is_file() for file in marker.files):
            continue  # as everywhere: it counts as not committed
        counts = (marker.rows, marker.failed, marker.seconds.get("total"))
        commits.append((marker.task, marker.part, *counts, marker.host, marker.fingerprint[:16]))
        for file in marker.files:
            if file.rows is not None:
                files[Path(file.path).parts[0]].append(store.path / file.path)
    return files, commits


def _create_commits(connection: duckdb.DuckDBPyConnection, commits: list[tuple[object, ...]]) -> None:
    connection.execute(
        "create table commits "
        "(task varchar, part varchar, rows bigint, failed bigint, seconds double, host varchar, fingerprint varchar)"
    )
    if commits:
        connection.executemany("insert into commits values (?, ?, ?, ?, ?, ?, ?)", commits)


def _scan(files: list[Path], *, filename: bool = False) -> str:
    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    return (
        f"read_parquet([{names}], hive_partitioning = true, hive_types_autocast = false, union_by_name = true, "
        f"filename = {str(filename).lower()})"
    )


def _joined(name: str) -> str:
    """Join the attributes from the very index that the task was computed on."""
    return f"""
        create view {name} as
        select r.*, s.* exclude (sample_id, subject_id, split, dataset, fingerprint, key, shard, source)
        from {name}_raw r
        join (select distinct task, fingerprint from commits) c using (task)
        left join samples s
        on s.dataset = r.dataset and s.fingerprint = c.fingerprint and s.sample_id = r.sample_id
    """
