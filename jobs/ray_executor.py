"""Runs items on Ray: actors that hold one model and take one item at a time, and plain CPU items beside them.

Ray is imported here and in :mod:`jobs.ray_cluster` (after :mod:`jobs.ray_environment` has set what Ray reads on import), and
nowhere else. Actors commit their parts to the store themselves and return counts; no image and no table passes through Ray's
object store. Ray runs things at least once; the store's commits make that exactly once.

Resources: an actor takes either one CPU or `gpu_share` of a GPU, never both, so that neither kind can keep the other from
starting. When nothing is free for a ready item, an idle actor of another model gives way. Ray's own view of free resources is
not used, because it lags behind; where a cluster gives less than it has (other users, a lost node), an item whose actor does
not come up moves to one that did, and if none ever does, the item fails with a message instead of waiting forever.
"""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from jobs.ray_cluster import RayOptions, connect
from jobs.scheduler import Failure
from jobs.store import Store
from jobs.task import Item, Report
from jobs.work import attempt
from jobs.workshop import Workshop
from shards.errors import UserError

if TYPE_CHECKING:
    from ray.actor import ActorHandle

log = logging.getLogger(__name__)

#: Seconds after which an item no longer waits for its own actor to start if another one is idle.
PATIENCE = 30.0
#: Seconds after which an item whose actor never started fails.
START_LIMIT = 900.0


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

    def ready(self) -> None:
        """Answer once the actor runs."""

    def do(self, item: Item) -> Report | Failure:
        """Do one item."""
        try:
            Store(self._store.path)
        except UserError as error:
            text = f"{socket.gethostname()} does not see the store, which must be on storage that all machines share"
            return Failure("user", f"{text}: {error}")
        return attempt(self._store, self._workshop, item)


@dataclass
class _Slot:
    """One actor, what it holds, and what it is doing."""

    actor: ActorHandle[Worker]
    born: Any
    on_gpu: bool
    started: bool = False
    affinity: str | None = None
    item: Item | None = None
    since: float = 0.0


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
        url = connect(options) if self._started_here else None
        self.notice: str | None = None
        if options.dashboard and url:
            self.notice = (
                f"Ray dashboard: http://{url} (log in with RAY_AUTH_TOKEN; set it yourself to know it)"
            )
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = 0 if options.device == "cpu" else int(resources.get("GPU", 0))
        most = options.workers or max(1, int(resources.get("CPU", 1)))
        # A share is of one GPU: what is left of each cannot be put together to another share.
        self._gpu_slots = gpus * int(1 / options.gpu_share + 1e-9)
        if options.workers:
            self._gpu_slots = min(self._gpu_slots, options.workers)
        self._cpu_slots = max(1, most - self._gpu_slots)
        self._warned = False
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
        self._give(self._choose(item), item)

    def wait(self, seconds: float) -> list[tuple[Item, Report | Failure]]:
        """Return the items that ended."""
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        ended = [self._collect(reference) for reference in ready]
        self._note_started()
        return ended + self._rescue()

    def close(self) -> None:
        """Stop the actors, and Ray if it was started here."""
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots.clear()
        if self._started_here:
            ray.shutdown()

    def _give(self, slot: _Slot, item: Item) -> None:
        slot.item = item
        slot.since = time.monotonic()
        if item.affinity is not None:
            slot.affinity = item.affinity
        self._running[slot.actor.do.remote(item)] = slot

    def _collect(self, reference: Any) -> tuple[Item, Report | Failure]:
        slot = self._running.pop(reference)
        item, slot.item = slot.item, None
        assert item is not None  # noqa: S101 - a running slot has an item
        try:
            return item, ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            return item, Failure("error", str(error))
        except ray.exceptions.RayError as error:  # died, out of reach, cannot be placed, ...
            self._dismiss(slot)
            return item, Failure("lost", f"the worker died while doing {item.name}: {error}")

    def _dismiss(self, slot: _Slot) -> None:
        ray.kill(slot.actor)
        self._slots.remove(slot)

    def _note_started(self) -> None:
        waiting = {slot.born: slot for slot in self._slots if not slot.started}
        if waiting:
            for born in ray.wait(list(waiting), num_returns=len(waiting), timeout=0)[0]:
                waiting[born].started = True

    def _rescue(self) -> list[tuple[Item, Failure]]:
        """Move items away from actors that do not come up; return those for which there is no hope."""
        now = time.monotonic()
        given_up = []
        for reference, slot in list(self._running.items()):
            waited = now - slot.since
            item = slot.item
            if item is None or slot.started or waited < PATIENCE:
                continue
            spare = next((other for other in self._usable(item) if other.started), None)
            if spare is None and waited < START_LIMIT:
                self._warn()
                continue
            del self._running[reference]
            self._dismiss(slot)
            if spare is None:
                given_up.append((item, Failure("user", f"{item.name}: {self._shortage()}")))
            else:
                # A fresh actor keeps the place in the queue; it is used when the cluster has room for it.
                self._hire(item)
                self._give(spare, item)
        return given_up

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning("waiting for workers: %s", self._shortage())

    def _shortage(self) -> str:
        free = ray.available_resources()  # type: ignore[no-untyped-call]
        return (
            f"no worker could start for {PATIENCE:.0f} s or more; the cluster has {free.get('CPU', 0):g} CPUs and "
            f"{free.get('GPU', 0):g} GPUs free. Wait for other jobs, add nodes, or lower --workers or --gpu-share."
        )

    def _uses_gpu(self, item: Item) -> bool:
        return item.affinity is not None and self._gpu_slots > 0

    def _has_room(self, item: Item) -> bool:
        on_gpu = self._uses_gpu(item)
        held = sum(slot.on_gpu == on_gpu for slot in self._slots)
        return held < (self._gpu_slots if on_gpu else self._cpu_slots)

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
        self._dismiss(idle[0])
        return self._hire(item)

    def _usable(self, item: Item) -> list[_Slot]:
        """Return the idle actors that hold the kind of resource the item needs; those that run, if any does."""
        on_gpu = self._uses_gpu(item)
        mine = [slot for slot in self._slots if slot.on_gpu == on_gpu]
        running = any(slot.started for slot in mine)
        return [slot for slot in mine if slot.item is None and (slot.started or not running)]

    def _hire(self, item: Item) -> _Slot:
        on_gpu = self._uses_gpu(item)
        share = {"num_cpus": 0, "num_gpus": self._options.gpu_share} if on_gpu else {"num_cpus": 1}
        # max_restarts=0: a dead actor is seen by the scheduler, which counts the tries and starts a fresh one.
        actor: Any = (
            ray.remote(Worker)
            .options(**share, max_restarts=0, max_task_retries=0)
            .remote(self._store, self._options.device)
        )
        slot = _Slot(actor, actor.ready.remote(), on_gpu)
        self._slots.append(slot)
        return slot
