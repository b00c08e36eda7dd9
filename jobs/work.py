"""The frame around every item: look up, do, check, commit, and say what happened. Runs in a worker; knows nothing of Ray."""

from __future__ import annotations

import socket
import time
import traceback
from typing import TYPE_CHECKING

from evaluator.tables import count_failed
from jobs.kinds import RUN
from jobs.kinds.output import Bench, Output
from jobs.scheduler import Failure
from jobs.store import Store, StoreFull
from jobs.task import Item, Report
from jobs.workshop import Workshop
from shards.errors import FairRayError, UserError

if TYPE_CHECKING:
    import pyarrow as pa


def attempt(store: Store, workshop: Workshop, item: Item) -> Report | Failure:
    """Do an item and turn whatever goes wrong into a :class:`Failure`, so that one item never stops a worker."""
    try:
        return perform(store, workshop, item)
    except StoreFull as error:
        return Failure("full", str(error))
    except UserError as error:
        return Failure("user", str(error))
    except Exception as error:  # noqa: BLE001 - the driver decides what a failed item means; the text keeps the trace
        return Failure("error", "".join(traceback.format_exception(error)))


def perform(store: Store, workshop: Workshop, item: Item) -> Report:
    """Do an item and commit its part; a part committed already is left as it is.

    Raises
    ------
    FairRayError
        If the rows are not exactly those of the samples that the part must cover.
    StoreFull
        If there is no space left.
    """
    done = store.marker(item.task, item.part)
    if done is not None:
        return Report(done.rows, done.failed, done.seconds, done.host)
    started = time.perf_counter()
    workshop.load_seconds = 0.0
    with store.attempt(item.task, item.part) as trial:
        output = RUN[item.task.kind](item, Bench(store, workshop))
        for table in output.tables.values():
            _check(table, output, item)
        computed = time.perf_counter()
        for name, table in output.tables.items():
            trial.add_table(table, name=name)
        if output.tensors is not None:
            trial.add_adapter(output.tensors)
        rows = sum(table.num_rows for table in output.tables.values())
        failed = sum(count_failed(table) for table in output.tables.values())
        seconds = {
            **output.seconds,
            "load": workshop.load_seconds,
            "write": time.perf_counter() - computed,
            "total": time.perf_counter() - started,
        }
        trial.commit(rows=rows, failed=failed, seconds=seconds)
    return Report(rows, failed, seconds, socket.gethostname())


def _check(table: pa.Table, output: Output, item: Item) -> None:
    """Refuse a part that lost or invented samples."""
    if output.sample_ids is None or "sample_id" not in table.column_names:
        return
    expected, found = set(output.sample_ids), set(table["sample_id"].to_pylist())
    if expected != found:
        missing, extra = sorted(expected - found)[:3], sorted(found - expected)[:3]
        raise FairRayError(
            f"{item.name} must hold {len(expected)} samples, got {len(found)}; missing {missing}, not expected {extra}."
        )
