"""A study from end to end: convert what is not converted, plan, compute what is missing, measure, report.

Safe to repeat: whatever is committed is kept, and a finished study starts no worker at all.
"""

from __future__ import annotations

import enum
import fnmatch
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Literal

from jobs.assemble import assemble
from jobs.conversion import convert_missing, unconverted
from jobs.extras import require_run
from jobs.plan import Plan, PlanOptions, check_names, make_plan
from jobs.record import record_study, record_totals
from jobs.scheduler import Executor, Failure, Scheduler, Tally
from jobs.store import Store
from jobs.study import Study
from jobs.study_tables import StudyTables
from shards.dataset import Dataset
from shards.errors import FairRayError, UserError
from shards.verify import verify

if TYPE_CHECKING:
    from rich.console import Console


#: Failed parts that are named on the screen; all are in the log.
SHOWN_FAILURES = 10


class Interrupted(FairRayError):
    """A signal ended the run; what is committed is kept and the run can be continued."""


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
    changes
        Claims that differ from those of the last run, one line each.
    """

    exit: Exit
    plan: Plan
    tally: Tally | None
    tables: StudyTables
    report: Path
    messages: tuple[str, ...]
    changes: tuple[str, ...] = ()


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
    require_run()
    with _signals(_leave):
        return _run_study(study, options, console)


def _run_study(study: Study, options: RunOptions, console: Console) -> Outcome:
    check_names(study, options.plan)
    store = Store.create(study.store)
    store.clean()
    failed = convert_missing(study, options.plan.datasets, options.workers, console, address=options.address)
    plan = prepare(study, options.plan, store, failed)
    whole = _whole(study, plan, options.plan, store)
    record_study(store, whole)
    tally = None
    if any(not store.is_complete(task) for task in plan.tasks):
        tally = _compute(plan, store, options, console)
    record_totals(store, plan.tasks)
    assembled = assemble(store, whole)
    code, messages = judge(plan, store, tally)
    _log_failures(store, plan, tally)
    return Outcome(code, plan, tally, assembled.tables, assembled.page, messages, assembled.changes)


def prepare(
    study: Study, options: PlanOptions, store: Store, failed: Mapping[str, str] = MappingProxyType({})
) -> Plan:
    """Plan a study on a store and check its shards before any work starts.

    Parameters
    ----------
    study, options, store
        What, how much of it, and where.
    failed
        Datasets that could not be converted, with the reasons: they are left out of the plan and told in it.

    Raises
    ------
    UserError
        If no dataset is left, or a shard is missing, truncated, swapped or altered; names the first ones.
    """
    wanted = [name for name in study.datasets if fnmatch.fnmatch(name, options.datasets)]
    if wanted and set(wanted) <= set(failed):
        raise UserError("\n".join(failed[name] for name in wanted))
    plan = make_plan(study, options, hashes=store.path / "hashes" / "weights.json", leave_out=failed)
    plan = replace(plan, blocked=(*failed.values(), *plan.blocked))
    for name, dataset in plan.datasets.items():
        check_shards(name, dataset, store.path / "hashes" / f"{dataset.fingerprint[:16]}.json")
    return plan


def _whole(study: Study, plan: Plan, options: PlanOptions, store: Store) -> Plan:
    """Return the plan without globs: a run of a few models or datasets adds to the study's tables, it never shrinks them."""
    if options.models == "*" and options.datasets == "*":
        return plan
    return make_plan(
        study,
        replace(options, models="*", datasets="*", offline=True),
        hashes=store.path / "hashes" / "weights.json",
        leave_out=unconverted(study, "*"),
    )


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
    if executor.notice is not None:
        console.print(executor.notice, markup=False, soft_wrap=True)
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
    from jobs.ray_cluster import RayOptions
    from jobs.ray_executor import RayExecutor

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

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(signal_name: str) -> None:
    """End a run that has no items to wait for: converting, starting workers, writing the report."""
    if signal_name == "SIGINT":
        raise KeyboardInterrupt
    raise Interrupted(f"stopped early ({signal_name}). Run the same command again to continue.")


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
    failures = tally.failures if tally is not None else []
    messages += [
        f"{item.name} ({item.task.model} on {item.task.dataset}): {_shown(failure)}"
        for item, failure in failures[:SHOWN_FAILURES]
    ]
    if failures:
        messages.append(f"{len(failures)} parts given up; the whole texts are in {_error_log(store, plan)}.")
    if tally is not None and tally.stopped is not None:
        messages.append(f"stopped early ({tally.stopped}). Run the same command again to continue.")
        return (Exit.INTERRUPTED if tally.stopped == "SIGINT" else Exit.CONTINUABLE), tuple(messages)
    unfinished = sum(not store.is_complete(task) for task in plan.tasks)
    if unfinished:
        messages.append(
            f"{unfinished} of {len(plan.tasks)} tasks are not complete; 'fairray status STUDY' lists them."
        )
    share, text = failed_share(plan, store)
    over = share > plan.study.fail_budget
    if over:
        messages.append(
            f"{text}: more than the failure budget of {plan.study.fail_budget:.2%} (fail_budget in the study)."
        )
    code = Exit.FAILURES if over or failures or unfinished or plan.blocked else Exit.COMPLETE
    return code, tuple(messages)


def _shown(failure: Failure) -> str:
    """Return a message as it is, of a trace the line that says what happened; the whole trace goes to the log."""
    lines = failure.text.strip().splitlines()
    return lines[-1] if lines and failure.kind == "error" else failure.text.strip()


def _error_log(store: Store, plan: Plan) -> Path:
    return store.path / "studies" / plan.study.study / "errors.log"


def _log_failures(store: Store, plan: Plan, tally: Tally | None) -> None:
    """Keep the whole text of every failure in ``studies/<name>/errors.log``."""
    if tally is None or not tally.failures:
        return
    with _error_log(store, plan).open("a", encoding="utf-8") as file:
        for item, failure in tally.failures:
            file.write(f"== {item.name} ({failure.kind})\n{failure.text.strip()}\n\n")


def failed_share(plan: Plan, store: Store) -> tuple[float, str]:
    """Return the largest share of failed rows over the tasks that give rows of samples, and a sentence about it."""
    worst = (0.0, "no sample failed")
    for task in plan.tasks:
        if task.table == "measures":
            continue
        markers = list(store.markers(task))
        rows, failed = sum(m.rows for m in markers), sum(m.failed for m in markers)
        if rows and failed / rows > worst[0]:
            name = f"{task.kind} of {task.model} on {task.dataset}"
            worst = (failed / rows, f"{failed} of {rows} rows failed in {name}")
    return worst
