"""Runs items on Ray: actors that hold one model and take one item at a time, and plain CPU items beside them.

Only this module imports Ray (after :mod:`jobs.ray_environment` has set what Ray reads on import). Actors commit their
parts to the store themselves and return counts; no image and no table passes through Ray's object store. Ray runs
things at least once; the store's commits make that exactly once.

Resources: an actor takes one CPU and, where the cluster has GPUs, `gpu_share` of one. When nothing is free for a ready item,
an idle actor of another model gives way. Ray's own view of free resources is not used, because it lags behind.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from jobs.scheduler import Failure
from jobs.store import Store
from jobs.task import Item, Report
from jobs.work import attempt
from jobs.workshop import Workshop

if TYPE_CHECKING:
    from ray.actor import ActorHandle


class Worker:
    """The actor: a workshop that stays, so that a model is loaded once.

    Parameters
    ----------
    store
        Where parts are committed.
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    """

    def __init__(self, store: Store, device: str | None) -> None:
        self._store = store
        self._workshop = Workshop(device)

    def do(self, item: Item) -> Report | Failure:
        """Do one item."""
        return attempt(self._store, self._workshop, item)


@dataclass
class _Slot:
    """One actor, what it holds, and what it is doing."""

    actor: ActorHandle[Worker]
    on_gpu: bool
    affinity: str | None = None
    item: Item | None = None


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
        Fraction of a GPU an actor takes.
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    """

    workers: int | None = None
    address: str | None = None
    dashboard: bool = False
    gpu_share: float = 1.0
    device: str | None = None


class RayExecutor:
    """Workers on a Ray cluster, started here unless an address is given.

    Parameters
    ----------
    store
        Where parts are committed; its folder must be the same on every machine of the cluster.
    options
        See :class:`RayOptions`.
    """

    def __init__(self, store: Store, options: RayOptions) -> None:
        self._store = store
        self._options = options
        self._started_here = not ray.is_initialized()
        if self._started_here:
            _connect(options)
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self._gpus = 0.0 if options.device == "cpu" else float(resources.get("GPU", 0))
        self._cpus = int(options.workers or resources.get("CPU", 1))
        self._slots: list[_Slot] = []
        self._running: dict[Any, _Slot] = {}

    def idle_affinities(self) -> frozenset[str]:
        """Return the models that idle actors hold."""
        return frozenset(slot.affinity for slot in self._slots if slot.item is None and slot.affinity)

    def can_start(self, item: Item) -> bool:
        """Tell whether an actor is idle or another one fits in."""
        return bool(self._usable(item)) or self._has_room(item)

    def start(self, item: Item) -> None:
        """Start an item on the best actor: one that holds its model, else a new one, else one that gives way."""
        slot = self._choose(item)
        slot.item = item
        if item.affinity is not None:
            slot.affinity = item.affinity
        self._running[slot.actor.do.remote(item)] = slot

    def wait(self, seconds: float) -> list[tuple[Item, Report | Failure]]:
        """Return the items that ended."""
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._collect(reference) for reference in ready]

    def close(self) -> None:
        """Stop the actors, and Ray if it was started here."""
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots.clear()
        if self._started_here:
            ray.shutdown()

    def _collect(self, reference: Any) -> tuple[Item, Report | Failure]:
        slot = self._running.pop(reference)
        item, slot.item = slot.item, None
        assert item is not None  # noqa: S101 - a running slot has an item
        try:
            return item, ray.get(reference)
        except ray.exceptions.RayActorError as error:
            self._slots.remove(slot)
            return item, Failure("lost", f"the worker died while doing {item.name}: {error}")
        except ray.exceptions.RayTaskError as error:
            return item, Failure("error", str(error))

    def _uses_gpu(self, item: Item) -> bool:
        return item.affinity is not None and self._gpus > 0

    def _has_room(self, item: Item) -> bool:
        if self._uses_gpu(item):
            held = sum(slot.on_gpu for slot in self._slots)
            return (held + 1) * self._options.gpu_share <= self._gpus
        return sum(not slot.on_gpu for slot in self._slots) < self._cpus

    def _choose(self, item: Item) -> _Slot:
        idle = self._usable(item)
        same = [slot for slot in idle if slot.affinity == item.affinity]
        if same:
            return same[0]
        if self._has_room(item):
            return self._hire(item)
        if not self._uses_gpu(item):
            return idle[0]  # it changes its model: the workshop frees the old one first
        # CUDA memory is only surely free when the process is gone.
        ray.kill(idle[0].actor)
        self._slots.remove(idle[0])
        return self._hire(item)

    def _usable(self, item: Item) -> list[_Slot]:
        """Return the idle actors that hold the kind of resource the item needs."""
        idle = [slot for slot in self._slots if slot.item is None]
        return [slot for slot in idle if not self._gpus or slot.on_gpu == self._uses_gpu(item)]

    def _hire(self, item: Item) -> _Slot:
        gpus = self._options.gpu_share if self._uses_gpu(item) else 0
        # max_restarts=0: a dead actor is seen by the scheduler, which counts the tries and starts a fresh one.
        actor: Any = (
            ray.remote(Worker)
            .options(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)
            .remote(self._store, self._options.device)
        )
        slot = _Slot(actor, on_gpu=gpus > 0)
        self._slots.append(slot)
        return slot


def _connect(options: RayOptions) -> None:
    """Join the cluster, or start Ray on this machine."""
    if options.address is not None:
        ray.init(address=options.address, log_to_driver=False, logging_level=logging.WARNING)
        return
    ray.init(
        num_cpus=options.workers,
        include_dashboard=options.dashboard,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
