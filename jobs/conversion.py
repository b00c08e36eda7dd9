"""Converts the datasets of a study that are not converted yet."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from jobs.study import DatasetEntry, Study
from shards.dataset import is_dataset
from shards.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from shards.adapter import Adapter
    from shards.convert import ConvertProgress, ShardWriter
    from shards.fetch import FetchProgress


def convert_missing(
    study: Study, datasets: str, workers: int | None, console: Console, *, address: str | None = None
) -> dict[str, str]:
    """Convert every matching dataset whose folder holds no finished conversion.

    Parameters
    ----------
    study
        The study.
    datasets
        Glob.
    workers
        Processes (on a cluster: shards at a time); None for all processors.
    console
        Shows progress.
    address
        Address of a Ray cluster that writes the shards; None for processes of this machine.

    Returns
    -------
    dict of str to str
        By name what could not be converted, and why: the rest of the study can run.

    Raises
    ------
    UserError
        If a dataset is not converted and the study does not say from what to convert it, or its options are wrong: before
        any is converted.
    """
    adapters = {
        name: (entry, adapter_of(name, entry)) for name, entry in unconverted(study, datasets).items()
    }
    failed: dict[str, str] = {}
    for name, (entry, adapter) in adapters.items():
        try:
            _convert(name, entry, adapter, workers, console, address)
        except UserError as error:
            failed[name] = f"dataset {name!r} was not converted and is left out: {error}"
    return failed


def cluster_writer(address: str | None, workers: int | None) -> ShardWriter | None:
    """Return what writes shards on the Ray cluster at an address; None without one: local processes do."""
    if address is None:
        return None
    from jobs.ray_environment import prepare_environment

    prepare_environment(joins_cluster=True)
    from jobs.ray_cluster import RayOptions, RayShardWriter

    return RayShardWriter(RayOptions(workers=workers, address=address))


def unconverted(study: Study, datasets: str) -> dict[str, DatasetEntry]:
    """Return the matching datasets of a study whose folder holds no finished conversion."""
    return {
        name: entry
        for name, entry in study.datasets.items()
        if fnmatch.fnmatch(name, datasets) and not is_dataset(entry.shards)
    }


def adapter_of(name: str, entry: DatasetEntry) -> Adapter:
    """Return the adapter that a study converts a dataset with.

    Raises
    ------
    UserError
        If the study does not say from what to convert it, or the adapter's options are wrong.
    """
    from shards.buckets import brought
    from shards.datasets import adapter_names, make_adapter

    kind = (entry.adapter or name).replace("_", "-")
    if kind not in adapter_names():
        raise UserError(
            f"dataset {name!r}: {entry.shards} holds no converted dataset, and {kind!r} is no adapter to convert it with. "
            f"Correct 'shards', or give 'adapter' (one of {', '.join(adapter_names())}) and 'raw'."
        )
    return make_adapter(kind, brought(entry.adapter_options()))


def _convert(
    name: str,
    entry: DatasetEntry,
    adapter: Adapter,
    workers: int | None,
    console: Console,
    address: str | None,
) -> None:
    from shards.convert import convert_to

    options = entry.convert.options(workers)
    with ConversionDisplay(console, f"converting {name}") as display:
        convert_to(adapter, entry.shards, options, display.update, cluster_writer(address, workers))


class ConversionDisplay:
    """Progress of one conversion, as a context manager: a live bar on a terminal, one line at the end elsewhere.

    Parameters
    ----------
    console
        Where to show it.
    what
        Text before the bar.
    """

    def __init__(self, console: Console, what: str) -> None:
        from rich.progress import Progress

        self._console = console
        self._what = what
        self._bar = Progress(
            *Progress.get_default_columns(), console=console, disable=not console.is_terminal
        )
        self._line = self._bar.add_task(what, total=None)
        self._last: ConvertProgress | None = None

    def __enter__(self) -> ConversionDisplay:
        """Start the bar."""
        self._bar.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the bar; say how it went."""
        self._bar.stop()
        if self._last is not None and error is None:
            last = self._last
            self._console.print(
                f"{self._what}: {last.samples_done} samples, {last.rejected} rejected", highlight=False
            )

    def update(self, progress: ConvertProgress) -> None:
        """Show how far the conversion is."""
        self._last = progress
        self._bar.update(self._line, total=progress.samples_total, completed=progress.samples_done)


class FetchDisplay:
    """Progress of downloads, as a context manager: a live bar for each file on a terminal, a line for each elsewhere.

    Parameters
    ----------
    console
        Where to show it.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._lines: dict[str, TaskID] = {}

    def __enter__(self) -> FetchDisplay:
        """Start the bars."""
        self._bar.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the bars."""
        self._bar.stop()

    def update(self, progress: FetchProgress) -> None:
        """Show how far a file is."""
        if progress.name not in self._lines:
            self._lines[progress.name] = self._bar.add_task(progress.name, total=progress.total)
            if not self._console.is_terminal:
                self._console.print(f"downloading {progress.name}", highlight=False, markup=False)
        self._bar.update(self._lines[progress.name], total=progress.total, completed=progress.done)
