"""Joining a Ray cluster, or starting Ray on this machine; and what else runs there than items: the shards of a conversion.

Imported only after :mod:`jobs.ray_environment` has set what Ray reads on import.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from shards.errors import UserError
from shards.writer import ShardJob, write_shard

#: Shards in flight for each processor: enough that none waits for the driver.
_AHEAD = 2
#: Times that Ray does a shard again after its machine died; writing one is repeatable.
_RETRIES = 3


@dataclass(frozen=True)
class RayOptions:
    """How a run uses Ray.

    Attributes
    ----------
    workers
        Items at a time; None takes every CPU (every GPU share, for models on GPUs).
    address
        Address of a running cluster; None starts Ray on this machine.
    dashboard
        Whether a locally started Ray serves its dashboard (on loopback).
    gpu_share
        Fraction of a GPU an actor of a model takes.
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    """

    workers: int | None = None
    address: str | None = None
    dashboard: bool = False
    gpu_share: float = 1.0
    device: str | None = None


def connect(options: RayOptions) -> str | None:
    """Join the cluster, or start Ray on this machine; return the address of the dashboard, if there is one.

    Raises
    ------
    UserError
        If there is no cluster at the address, or it does not let this user in.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if options.address is None:
        # "local": without it Ray joins whatever cluster was last started on this machine, perhaps somebody else's.
        context = ray.init(
            address="local",
            num_cpus=options.workers,
            include_dashboard=options.dashboard,
            dashboard_host="127.0.0.1",
            **quiet,
        )
        return _dashboard_of(context)
    try:
        return _dashboard_of(ray.init(address=options.address, **quiet))
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"cannot join the Ray cluster at {options.address!r}: {error}. Check --address (or RAY_ADDRESS), that the cluster "
            "runs, and that RAY_AUTH_MODE and RAY_AUTH_TOKEN are those it was started with."
        ) from None


def _dashboard_of(context: Any) -> str | None:
    return context.dashboard_url or None


class RayShardWriter:
    """Writes the shards of a conversion on a Ray cluster; the same bytes as local processes write.

    Raw data and output must be on storage that all machines see under the same paths. What a machine has written is whole or
    absent, so a shard whose machine died is simply written again.

    Parameters
    ----------
    options
        Which cluster; `workers` bounds the shards at a time.
    """

    def __init__(self, options: RayOptions) -> None:
        self._options = options

    def __call__(self, jobs: list[ShardJob], folder: Path) -> Iterator[ShardJob]:
        """Yield each job when its shard is on disk (see :func:`shards.pool.write_shards`)."""
        if not jobs:
            return
        started_here = not ray.is_initialized()
        if started_here:
            connect(self._options)
        try:
            yield from self._write(jobs, folder)
        finally:
            if started_here:
                ray.shutdown()

    def _write(self, jobs: list[ShardJob], folder: Path) -> Iterator[ShardJob]:
        write: Any = ray.remote(_write_one).options(num_cpus=1, max_retries=_RETRIES)
        cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        most = shards_in_flight(cpus, self._options.workers)
        waiting = iter(jobs)
        running: dict[Any, ShardJob] = {}
        while True:
            while len(running) < most and (job := next(waiting, None)) is not None:
                running[write.remote(job, folder)] = job
            if not running:
                return
            (ready,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ready)
            _raise_from(ready, job)
            # Listing makes a network file system forget that the file was not there when it was last asked for.
            os.listdir(folder)
            yield job


def shards_in_flight(cpus: int, workers: int | None) -> int:
    """Return how many shards Ray is given at once: all of them may run, so that they are never more than `workers`."""
    ahead = _AHEAD * max(1, cpus)
    return ahead if workers is None else min(workers, ahead)


def _write_one(job: ShardJob, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(
            f"{socket.gethostname()} does not see {folder}; the output must be on storage that all machines share."
        )
    write_shard(job, folder)


def _raise_from(reference: Any, job: ShardJob) -> None:
    """Raise what went wrong with a shard, as it would be raised by a local process."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, UserError | OSError):
            raise cause from error
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"shard {job.name} could not be written: its worker died {_RETRIES + 1} times, most likely for lack of memory "
            f"({type(error).__name__}). Repeat with fewer workers: what is done is kept."
        ) from error
