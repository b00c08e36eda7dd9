"""What this machine has, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jobs.extras import INSTALL, RUN_MODULES

#: Free bytes below which a warning is given: a study's tables are small, its shards are not.
LOW_DISK = 5 * 2**30


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    name
        What was looked at.
    state
        ``"ok"``; ``"note"``: works without it; ``"missing"``: something that FairRay needs.
    found
        What is there.
    advice
        What to do; empty when nothing is.
    """

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    advice: str = ""


def examine(folder: Path) -> Iterator[Check]:
    """Look at Python, libraries, processors, memory, disk, shared memory and tools; starts nothing.

    Parameters
    ----------
    folder
        Where results would go; its disk is looked at.
    """
    for check in (
        _python,
        _libraries,
        _run_libraries,
        _processors,
        _memory,
        _shared_memory,
        _gpus,
        _slurm,
        _hub,
    ):
        yield check()
    yield _disk(folder)


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} at {sys.prefix}")


def _libraries() -> Check:
    found, missing = _installed("numba", "numpy", "pandas", "pyarrow", "duckdb")
    if missing:
        return Check("libraries", "missing", found, f"pip install {' '.join(missing)}")
    return Check("libraries", "ok", found)


def _run_libraries() -> Check:
    found, missing = _installed(*RUN_MODULES.values())
    if missing:
        advice = f"Auditing and converting work; to run models: {INSTALL}"
        return Check("to run models", "note", found or f"no {', no '.join(missing)}", advice)
    return Check("to run models", "ok", found)


def _installed(*names: str) -> tuple[str, list[str]]:
    """Return the versions of the packages that are installed, as text, and the names of the others."""
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return ", ".join(found), missing


def _processors() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("processors", "ok", f"{usable} usable of {os.cpu_count()}")


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("memory", "ok", f"{total / 2**30:.0f} GiB")


def _shared_memory() -> Check:
    folder = Path("/dev/shm")  # noqa: S108 - looked at, not written
    if not folder.exists():
        return Check("shared memory", "note", "no /dev/shm", "Ray will use the disk for its object store.")
    free = shutil.disk_usage(folder).free
    advice = "" if free > 2**30 else "Less than 1 GiB: start the container with a larger --shm-size."
    return Check("shared memory", "ok" if not advice else "note", f"{free / 2**30:.1f} GiB free", advice)


def _gpus() -> Check:
    try:
        import torch
    except ImportError:
        return Check("GPU", "note", "not looked for: torch is not installed")
    if not torch.cuda.is_available():
        return Check("GPU", "note", "none that torch sees", "Everything runs on CPUs, slower.")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Check("GPU", "ok", ", ".join(names))


def _slurm() -> Check:
    return _tool("SLURM", "sbatch", "Only needed to submit to a cluster.")


def _tool(name: str, command: str, advice: str) -> Check:
    path: Callable[[str], str | None] = shutil.which
    found = path(command)
    return Check(name, "ok" if found else "note", found or f"no {command}", "" if found else advice)


def _hub() -> Check:
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return Check(
            "weights", "note", "not looked for: huggingface_hub is not installed", f"It comes with {INSTALL}"
        )
    cached = len(list(Path(HF_HUB_CACHE).glob("models--*")))
    found = f"{cached} models in the local Hugging Face cache"
    return Check("weights", "ok", found, "'fairray models fetch NAME' gets more where there is a network.")


def _disk(folder: Path) -> Check:
    place = folder if folder.exists() else folder.absolute().parent
    free = shutil.disk_usage(place if place.exists() else Path.cwd()).free
    advice = "" if free > LOW_DISK else "Less than 5 GiB: shards and embeddings may not fit."
    return Check("disk", "ok" if not advice else "note", f"{free / 2**30:.0f} GiB free", advice)
