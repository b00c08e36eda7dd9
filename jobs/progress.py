"""Shows how a run is going: a live line on a terminal, a plain line every few seconds elsewhere (batch logs)."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from jobs.scheduler import Tally

#: Seconds between lines where there is no terminal.
QUIET_SECONDS = 10.0


def describe(tally: Tally, seconds: float) -> str:
    """Return rate, time left and failures as one short text.

    Parameters
    ----------
    tally
        How far the run is.
    seconds
        Since it started.
    """
    rate = tally.rows / seconds if seconds > 0 else 0.0
    left = _left(tally, seconds)
    parts = [f"{rate:,.0f} rows/s", f"ETA {clock(left)}" if left is not None else "ETA --"]
    if tally.failed_rows:
        parts.append(f"{tally.failed_rows} samples failed")
    if tally.retries:
        parts.append(f"{tally.retries} retries")
    if tally.failures:
        parts.append(f"{len(tally.failures)} parts given up")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _left(tally: Tally, seconds: float) -> float | None:
    """Estimate seconds left: by share of the predicted work where there is any, else by share of the items."""
    if not tally.done:
        return None
    items = tally.items - tally.kept
    share = tally.done / items
    return seconds * (1 - share) / share


class ProgressDisplay:
    """A progress display as a context manager; call :meth:`update` with every new tally.

    Parameters
    ----------
    console
        Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._last = -QUIET_SECONDS
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._line = self._bar.add_task("running", total=None, detail="")

    def __enter__(self) -> ProgressDisplay:
        """Start the live line."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the live line."""
        self._bar.stop()

    def update(self, tally: Tally) -> None:
        """Show a tally."""
        seconds = time.monotonic() - self._started
        done = tally.kept + tally.done
        detail = describe(tally, seconds)
        self._bar.update(self._line, total=tally.items, completed=done, detail=detail)
        ended = done + len(tally.failures) >= tally.items
        if not self._console.is_terminal and (ended or seconds - self._last >= QUIET_SECONDS):
            self._last = seconds
            self._console.print(f"{clock(seconds)}  {done}/{tally.items} parts, {detail}", highlight=False)
