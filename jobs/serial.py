"""Runs items one after the other in this process: for tests, debugging and machines without Ray's needs."""

from __future__ import annotations

from jobs.scheduler import Failure
from jobs.store import Store
from jobs.task import Item, Report
from jobs.work import attempt
from jobs.workshop import Workshop


class SerialExecutor:
    """One worker: this process.

    Parameters
    ----------
    store
        Where parts are committed.
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    """

    notice: str | None = None

    def __init__(self, store: Store, device: str | None = None) -> None:
        self._store = store
        self._workshop = Workshop(device)
        self._started: Item | None = None
        self._affinity: str | None = None

    def idle_affinities(self) -> frozenset[str]:
        """Return the model held, if any."""
        return frozenset([self._affinity] if self._affinity else [])

    def can_start(self, item: Item) -> bool:
        """Tell whether nothing is started."""
        return self._started is None

    def start(self, item: Item) -> None:
        """Remember the item; :meth:`wait` does it."""
        self._started = item

    def wait(self, seconds: float) -> list[tuple[Item, Report | Failure]]:
        """Do the started item now."""
        if self._started is None:
            return []
        item, self._started = self._started, None
        self._affinity = item.affinity or self._affinity
        return [(item, attempt(self._store, self._workshop, item))]

    def close(self) -> None:
        """Nothing to stop."""
