"""Functions of our own in DuckDB: the area under the ROC curve as an aggregate, over millions of rows.

``select sex, auc(score, label = 'sick') from predictions group by sex``. Rows whose score or label is null (or whose score is
not a number) take no part; a group without both classes gives null.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import duckdb

_LISTED = "fairray_auc_of_lists"


@contextmanager
def functions(connection: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """Offer ``auc(score, positive)`` while the block runs, and close the connection after it."""
    from duckdb.func import FunctionNullHandling, PythonUDFType

    connection.execute("set enable_progress_bar = false")  # it would end up in what programs read
    connection.create_function(
        _LISTED,
        _areas,
        ["FLOAT[]", "BOOLEAN[]"],
        "DOUBLE",
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )
    kept = "filter (where score is not null and not isnan(score::float) and positive is not null)"
    connection.execute(
        f"create macro auc(score, positive) as {_LISTED}(list(score::float) {kept}, list(positive) {kept})"
    )
    try:
        yield connection
    finally:
        # DuckDB complains at exit about functions that outlive their connection.
        connection.execute("drop macro auc")
        connection.remove_function(_LISTED)
        connection.close()


def _areas(scores: Any, positives: Any) -> Any:
    import pyarrow as pa

    found: list[float | None] = []
    pairs = zip(_chunks(scores), _chunks(positives), strict=True)
    for score_lists, positive_lists in pairs:
        for score, positive in zip(score_lists, positive_lists, strict=True):
            found.append(None if score.values is None else _area(_numbers(score), _numbers(positive)))
    return pa.array(found, pa.float64())


def _chunks(column: Any) -> list[Any]:
    return list(column.chunks) if hasattr(column, "chunks") else [column]


def _numbers(listed: Any) -> Any:
    return listed.values.to_numpy(zero_copy_only=False)


def _area(score: Any, positive: Any) -> float | None:
    """Return the area with ties counting half; None without both classes."""
    order = np.argsort(score)
    ordered, hit = score[order], positive[order].astype(bool)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    above, below = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    if not above[-1] or not below[-1]:
        return None
    fresh, tied = np.diff(above, prepend=0), np.diff(below, prepend=0)
    won = (fresh * (below - tied + 0.5 * tied)).sum()
    return float(won / (float(above[-1]) * float(below[-1])))
