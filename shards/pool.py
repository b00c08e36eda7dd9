"""Runs the shard jobs of a conversion, in this process or in several.

Guarantees: a job is yielded when its shard and sidecar are whole on disk, in any order; workers end when the
process that started them ends, however that happens; memory does not grow with the number of jobs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from shards.errors import UserError
from shards.writer import ShardJob, write_shard


def write_shards(jobs: list[ShardJob], folder: Path, workers: int | None) -> Iterator[ShardJob]:
    """Write shards into a folder.

    Parameters
    ----------
    jobs
        What to write.
    folder
        Where to.
    workers
        Processes; with one, everything happens in this process. None for all available processors.

    Yields
    ------
    ShardJob
        Each job once, when it is done.

    Raises
    ------
    UserError
        If a worker process dies.
    """
    processes = min(workers or _processors(), len(jobs))
    if processes <= 1:
        for job in jobs:
            write_shard(job, folder)
            yield job
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["shards.writer"])
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker)
    try:
        yield from _submit(pool, jobs, folder, ahead=2 * processes)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the conversion died, most likely for lack of memory; repeat with fewer workers: "
            "what is done is kept. (In a script of your own, call convert under \"if __name__ == '__main__':\".)"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, jobs: list[ShardJob], folder: Path, *, ahead: int
) -> Iterator[ShardJob]:
    waiting = iter(jobs)
    running: dict[Future[None], ShardJob] = {}
    while True:
        while len(running) < ahead and (job := next(waiting, None)) is not None:
            running[pool.submit(write_shard, job, folder)] = job
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            future.result()
            yield job


def _processors() -> int:
    """Count the processors this process may use (a cluster job often has fewer than the machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: an orphan would wait for work forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
