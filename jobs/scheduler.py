"""The driver's loop: which item goes to which worker, what is retried, when a run stops.

Knows nothing of Ray: it talks to an :class:`Executor`. Items become ready when every task they read is complete. Among
ready items those of a model that an idle worker already holds go first, then the costliest task, so that long work does not
start last.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from jobs.store import Store
from jobs.task import Item, Report, Task

#: Speed assumed for ordering and first estimates, in GFLOP/s of one CPU worker.
ASSUMED_GFLOPS = 60.0


@dataclass(frozen=True)
class Failure:
    """Why a worker did not finish an item.

    Attributes
    ----------
    kind
        ``"lost"``: the worker died; ``"user"``: the input is at fault, trying again is useless; ``"full"``: no space left;
        ``"error"``: anything else.
    text
        For people.
    """

    kind: Literal["lost", "user", "full", "error"]
    text: str


class Executor(Protocol):
    """Where items run; `notice` is what a person should know about it, e.g. where to watch."""

    notice: str | None

    def idle_affinities(self) -> frozenset[str]:
        """Models that idle workers hold."""

    def can_start(self, item: Item) -> bool:
        """Whether a worker is free for the item, or can be made free."""

    def start(self, item: Item) -> None:
        """Start an item (only after :meth:`can_start` said yes)."""

    def wait(self, seconds: float) -> list[tuple[Item, Report | Failure]]:
        """Return items that ended, waiting at most so long for the first."""

    def close(self) -> None:
        """Stop all workers."""


@dataclass
class Tally:
    """How far a run is; handed to the progress display after every change."""

    items: int = 0
    done: int = 0
    kept: int = 0
    rows: int = 0
    failed_rows: int = 0
    retries: int = 0
    gflop_done: float = 0.0
    gflop_all: float = 0.0
    failures: list[tuple[Item, Failure]] = field(default_factory=list)
    stopped: str | None = None


class Scheduler:
    """Runs a plan's tasks through an executor until all are done, failed, or the run is told to stop.

    Parameters
    ----------
    tasks
        All tasks of the plan.
    store
        Where finished parts are looked up; nothing committed is done again.
    executor
        Where items run.
    max_attempts
        Tries of an item whose worker died.
    """

    def __init__(
        self, tasks: Iterable[Task], store: Store, executor: Executor, *, max_attempts: int = 4
    ) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._store = store
        self._executor = executor
        self._max_attempts = max_attempts
        self._tries: Counter[str] = Counter()
        self._running: set[str] = set()
        self._missing: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting: dict[str, Item] = {}
        self._dead: set[str] = set()
        self.tally = Tally()
        self._stop: str | None = None

    def stop(self, why: str) -> None:
        """Start nothing more; :meth:`run` returns when the running items have ended or its drain time is over."""
        self._stop = self._stop or why

    def run(self, on_change: Callable[[Tally], None], *, drain_seconds: float = 60.0) -> Tally:
        """Run to the end.

        Parameters
        ----------
        on_change
            Called after every start and end of an item.
        drain_seconds
            How long running items may go on after :meth:`stop`.

        Returns
        -------
        Tally
            What was done; ``stopped`` says why it ended early, if it did.
        """
        self._collect()
        deadline: float | None = None
        on_change(self.tally)
        while self._waiting or self._running:
            if self._stop is None:
                self._start_ready()
            elif deadline is None:
                deadline = time.monotonic() + drain_seconds
            if not self._running:
                self._give_up_waiting()
                break
            if deadline is not None and time.monotonic() > deadline:
                break
            for item, outcome in self._executor.wait(0.5):
                self._finish(item, outcome)
            on_change(self.tally)
        self.tally.stopped = self._stop
        return self.tally

    def _collect(self) -> None:
        by_task: defaultdict[str, set[str]] = defaultdict(set)
        for task in self._tasks.values():
            sources = tuple(self._tasks[name] for name in task.requires)
            for part in task.parts:
                share = task.cost.gflop / len(task.parts)
                self.tally.items += 1
                self.tally.gflop_all += share
                if self._store.marker(task, part) is not None:
                    self.tally.kept += 1
                    self.tally.gflop_done += share
                    continue
                item = Item(task, part, sources)
                by_task[task.id].add(part)
                self._waiting[item.name] = item
        self._missing = by_task

    def _is_ready(self, item: Item) -> bool:
        """Whether every part that the item reads is committed."""
        return not any(self._missing[source.id].intersection(item.reads(source)) for source in item.sources)

    def _start_ready(self) -> None:
        while True:
            held = self._executor.idle_affinities()
            ready = [item for item in self._waiting.values() if self._is_ready(item)]
            ready.sort(key=lambda item: (item.affinity not in held, -item.task.cost.seconds(ASSUMED_GFLOPS)))
            item = next((item for item in ready if self._executor.can_start(item)), None)
            if item is None:
                return
            self._waiting.pop(item.name)
            self._running.add(item.name)
            self._tries[item.name] += 1
            self._executor.start(item)

    def _give_up_waiting(self) -> None:
        """Say of what is left, when nothing runs and nothing can start, that it was not done."""
        if self._stop is None:
            text = "no worker can take it: no resource of the kind it needs"
            self.tally.failures += [(item, Failure("error", text)) for item in self._waiting.values()]

    def _finish(self, item: Item, outcome: Report | Failure) -> None:
        self._running.discard(item.name)
        if isinstance(outcome, Report):
            self._missing[item.task.id].discard(item.part)
            self.tally.done += 1
            self.tally.rows += outcome.rows
            self.tally.failed_rows += outcome.failed
            self.tally.gflop_done += item.task.cost.gflop / len(item.task.parts)
            return
        if outcome.kind == "full":
            self.stop(outcome.text)
        tries = {"lost": self._max_attempts, "error": 2, "user": 1, "full": 1}[outcome.kind]
        if self._stop is None and self._tries[item.name] < tries:
            self.tally.retries += 1
            self._waiting[item.name] = item
            return
        self.tally.failures.append((item, outcome))
        self._drop(item.task.id)

    def _drop(self, task: str) -> None:
        """Give up a task and everything that reads it; independent tasks go on."""
        self._dead.add(task)
        grown = True
        while grown:
            more = {t.id for t in self._tasks.values() if set(t.requires) & self._dead} - self._dead
            grown = bool(more)
            self._dead |= more
        self._waiting = {name: item for name, item in self._waiting.items() if item.task.id not in self._dead}
