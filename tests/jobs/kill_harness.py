"""Runs a study many times, each time killed (SIGKILL) at another file-system call; then finishes it undisturbed.

Run as ``python kill_harness.py STUDY POINTS``: forks a child per point from one warm process; prints how many children were
killed where, as JSON. A process of its own, because forking a test runner that has threads is not safe.
"""

import io
import json
import os
import signal
import sys
from pathlib import Path

from rich.console import Console

from jobs.run import RunOptions, run_study
from jobs.study import load_study

#: The calls a commit is made of; the study's child dies just before its N-th call of any of them.
CALLS = ("replace", "fsync", "mkdir", "unlink")


def main(study: Path, points: int) -> None:
    load_study(study)
    import torch

    import evaluator.models.loading
    import evaluator.usages.segment  # noqa: F401 - warm imports make the forks fast

    torch.set_num_threads(1)
    total = count_calls(study)
    # Every run goes a little further than the one before it began: dying ever later sweeps the whole study.
    killed = {at: in_child(study, kill_at=at) for at in range(1, points + 1)}
    final = in_child(study, kill_at=None)
    print(json.dumps({"total": total, "killed": killed, "final": final}))


def count_calls(study: Path) -> int:
    """Number of calls of an undisturbed run into another store (named by the environment)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        calls = instrument(kill_at=None)
        run(study, store=os.environ["UNDISTURBED"])
        os.write(write, str(calls[0]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    return int(os.read(read, 32))


def in_child(study: Path, kill_at: int | None) -> str:
    pid = os.fork()
    if pid == 0:
        last = instrument(kill_at)
        code = run(study)
        os._exit(code if last is not None else 99)
    _, status = os.waitpid(pid, 0)
    return (
        "killed"
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        else f"exit {os.waitstatus_to_exitcode(status)}"
    )


def instrument(kill_at: int | None) -> list[int]:
    calls = [0]

    def counted(function):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    return calls


def run(study: Path, store: str | None = None) -> int:
    given = load_study(study, [f"store={store}"] if store else [])
    outcome = run_study(given, RunOptions(executor="serial", device="cpu"), Console(file=io.StringIO()))
    return int(outcome.exit)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
