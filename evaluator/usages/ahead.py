"""Do slow preparation in a background thread, a bounded distance ahead of its consumer.

Guarantee: items arrive in order; an error of the producer reaches the consumer at its place; a consumer that
stops early stops the thread. At most `depth` prepared items wait in memory. One thread suffices here: Pillow
and NumPy release the interpreter lock, and several actors run side by side.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

#: How long a blocked producer waits before it looks whether its consumer has gone.
_PATIENCE_S = 0.2


class _End:
    """Marks the end of the stream, with the error that ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[Made]):
    """Iterate over ``make(item)`` for every item of a source, prepared in a background thread.

    Parameters
    ----------
    source
        Iterated in the background thread only.
    make
        Called once per item in the background thread.
    depth
        How many prepared items may wait, at least 1.

    Attributes
    ----------
    busy_s
        Seconds the thread spent reading and preparing; complete when the iteration has ended.
    """

    def __init__(self, source: Iterable[Item], make: Callable[[Item], Made], *, depth: int) -> None:
        self.busy_s = 0.0
        self._waiting: queue.Queue[Made | _End] = queue.Queue(maxsize=max(1, depth))
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._produce, args=(source, make), daemon=True)

    def __iter__(self) -> Iterator[Made]:
        """Start the thread and yield what it makes; may be called once."""
        self._thread.start()
        try:
            while True:
                item = self._waiting.get()
                if isinstance(item, _End):
                    if item.error is not None:
                        raise item.error
                    return
                yield item
        finally:
            self._gone.set()
            self._thread.join()

    def _produce(self, source: Iterable[Item], make: Callable[[Item], Made]) -> None:
        error: BaseException | None = None
        try:
            items = iter(source)
            while not self._gone.is_set():
                start = time.perf_counter()
                try:
                    made = make(next(items))
                except StopIteration:
                    break
                finally:
                    self.busy_s += time.perf_counter() - start
                self._put(made)
        except BaseException as caught:  # noqa: BLE001 - carried to the consumer, who raises it
            error = caught
        self._put(_End(error))

    def _put(self, item: Made | _End) -> None:
        while not self._gone.is_set():
            try:
                self._waiting.put(item, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return
