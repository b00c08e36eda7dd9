"""A study from end to end: convert what is not converted, plan, compute what is missing, measure, report.

Safe to repeat: whatever is committed is kept, and a finished study starts no worker at all.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from jobs.assemble import StudyTables, assemble
from jobs.conversion import convert_missing
from jobs.plan import Plan, PlanOptions, make_plan
from jobs.record import record_study, record_totals
from jobs.scheduler import Executor, Scheduler, Tally
from jobs.store import Store
from jobs.study import Study
from shards.dataset import Dataset
from shards.errors import UserError
from shards.verify import verify

if TYPE_CHECKING:
    from rich.console import Console


class Exit(enum.IntEnum):
    """Exit codes of the command line (see the README)."""

    COMPLETE = 0
    LIMIT_VIOLATED = 1
    USER_ERROR = 2
    FAILURES = 3
    CONTINUABLE = 75
    INTERRUPTED = 130


@dataclass(frozen=True)
class RunOptions:
    """Where and how a study runs; nothing here changes a number.

    Attributes
    ----------
    plan
        Limits and filters.
    executor
        ``"ray"`` or ``"serial"`` (this process only).
    workers
        Items at a time; None takes every CPU.
    address
        Address of a running Ray cluster.
    dashboard
        Whether a locally started Ray serves its dashboard on loopback.
    gpu_share
        Fraction of a GPU that a worker takes.
    device
        ``"cpu"`` or ``"cuda"``; None chooses what torch sees.
    drain_seconds
        How long running items may go on after a signal.
    """

    plan: PlanOptions = field(default_factory=PlanOptions)
    executor: Literal["ray", "serial"] = "ray"
    workers: int | None = None
    address: str | None = None
    dashboard: bool = False
    gpu_share: float = 1.0
    device: str | None = None
    drain_seconds: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    exit
        The exit code.
    plan
        What was planned.
    tally
        What was done; None when there was nothing to do.
    tables, report
        The assembled tables and the page.
    messages
        What a person must know, one text each.
    """

    exit: Exit
    plan: Plan
    tally: Tally | None
    tables: StudyTables
    report: Path
    messages: tuple[str, ...]


def run_study(study: Study, options: RunOptions, console: Console) -> Outcome:
    """Run a study to its end, or to where a signal or a full disk stops it.

    Parameters
    ----------
    study
        The study.
    options
        Where and how.
    console
        Shows progress.

    Raises
    ------
    UserError
        If the study cannot be run as it is written.
    """
    store = Store.create(study.store)
    store.clean()
    convert_missing(study, options.plan.datasets, options.workers, console)
    plan = prepare(study, options.plan, store)
    record_study(store, plan)
    tally = None
    if any(not store.is_complete(task) for task in plan.tasks):
        tally = _compute(plan, store, options, console)
        record_totals(store, plan.tasks)
    tables, page = assemble(store, plan)
    code, messages = judge(plan, store, tally)
    _log_failures(store, plan, tally)
    return Outcome(code, plan, tally, tables, page, messages)


def prepare(study: Study, options: PlanOptions, store: Store) -> Plan:
    """Plan a study on a store and check its shards before any work starts.

    Raises
    ------
    UserError
        If a shard is missing, truncated, swapped or altered; names the first ones.
    """
    plan = make_plan(study, options, hashes=store.path / "hashes" / "weights.json")
    for name, dataset in plan.datasets.items():
        check_shards(name, dataset, store.path / "hashes" / f"{dataset.fingerprint[:16]}.json")
    return plan


def check_shards(name: str, dataset: Dataset, cache: Path) -> None:
    """Refuse damaged shards (the verdict is remembered in `cache` until a file changes)."""
    problems = verify(dataset, cache)
    if problems:
        shown = "\n".join(f"  {problem.file}: {problem.kind}: {problem.detail}" for problem in problems[:5])
        raise UserError(
            f"dataset {name!r} at {dataset.path} has {len(problems)} damaged files:\n{shown}\n"
            "Restore them from a copy, or delete the folder and convert it again."
        )


def _compute(plan: Plan, store: Store, options: RunOptions, console: Console) -> Tally:
    from jobs.progress import ProgressDisplay

    with console.status("starting workers"):
        executor = _executor(store, options)
    try:
        scheduler = Scheduler(plan.tasks, store, executor)
        with ProgressDisplay(console) as display, _signals(scheduler.stop):
            return scheduler.run(display.update, drain_seconds=options.drain_seconds)
    finally:
        executor.close()


def _executor(store: Store, options: RunOptions) -> Executor:
    if options.executor == "serial":
        from jobs.serial import SerialExecutor

        return SerialExecutor(store, options.device)
    from jobs.ray_environment import prepare_environment

    prepare_environment(joins_cluster=options.address is not None)
    from jobs.ray_executor import RayExecutor, RayOptions

    chosen = RayOptions(
        workers=options.workers,
        address=options.address,
        dashboard=options.dashboard,
        gpu_share=options.gpu_share,
        device=options.device,
    )
    return RayExecutor(Store(store.path.absolute()), chosen)


@contextmanager
def _signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Turn a batch system's signals into a stop with drain; a second Ctrl-C ends at once."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        stop(name)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def judge(plan: Plan, store: Store, tally: Tally | None) -> tuple[Exit, tuple[str, ...]]:
    """Decide the exit code of a run from what is committed, and say why.

    Parameters
    ----------
    plan
        What was planned.
    store
        What is committed.
    tally
        What this run did; None when there was nothing to do.
    """
    messages = list(plan.blocked)
    if tally is not None and tally.stopped is not None:
        messages.append(f"stopped early ({tally.stopped}). Run the same command again to continue.")
        return (Exit.INTERRUPTED if tally.stopped == "SIGINT" else Exit.CONTINUABLE), tuple(messages)
    failures = tally.failures if tally is not None else []
    messages += [
        f"{item.name} ({item.task.model} on {item.task.dataset}): {_last_line(failure.text)}"
        for item, failure in failures
    ]
    share, text = failed_share(plan, store)
    over = share > plan.study.fail_budget
    if over:
        messages.append(
            f"{text}: more than the failure budget of {plan.study.fail_budget:.2%} (fail_budget in the study)."
        )
    code = Exit.FAILURES if over or failures or plan.blocked else Exit.COMPLETE
    return code, tuple(messages)


def _last_line(text: str) -> str:
    """Return the line of a trace that says what happened; the whole trace goes to the log."""
    return text.strip().splitlines()[-1]


def _log_failures(store: Store, plan: Plan, tally: Tally | None) -> None:
    """Keep the whole text of every failure in ``studies/<name>/errors.log``."""
    if tally is None or not tally.failures:
        return
    log = store.path / "studies" / plan.study.study / "errors.log"
    with log.open("a", encoding="utf-8") as file:
        for item, failure in tally.failures:
            file.write(f"== {item.name} ({failure.kind})\n{failure.text.strip()}\n\n")


def failed_share(plan: Plan, store: Store) -> tuple[float, str]:
    """Return the largest share of failed rows over the tasks that give rows of samples, and a sentence about it."""
    worst = (0.0, "no sample failed")
    for task in plan.tasks:
        if task.kind == "measure":
            continue
        markers = list(store.markers(task))
        rows, failed = sum(m.rows for m in markers), sum(m.failed for m in markers)
        if rows and failed / rows > worst[0]:
            name = f"{task.kind} of {task.model} on {task.dataset}"
            worst = (failed / rows, f"{failed} of {rows} rows failed in {name}")
    return worst
