"""``fairray run``, ``plan``, ``status``, ``verify`` and ``report``."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.commands.output import err, out, print_json, print_table, say
from jobs.commands.summary import print_summary, probed_rows, summary_rows, ties
from jobs.conversion import unconverted
from jobs.plan import Plan, PlanOptions, check_names, make_plan
from jobs.run import Exit, Outcome, RunOptions, prepare, run_study
from jobs.store import Store
from jobs.study import Study, load_study
from shards.errors import UserError


def read(
    path: Path, overrides: list[str] | None, store: Path | None, seed: int | None, fail_budget: float | None
) -> Study:
    """Read a study with what the command line adds."""
    extra: list[tuple[str, object]] = [("measure.seed", seed), ("fail_budget", fail_budget)]
    if store is not None:
        extra.append(("store", json.dumps(str(store), ensure_ascii=False)))  # a path is no YAML
    given = [f"{key}={value}" for key, value in extra if value is not None]
    return load_study(path, [*(overrides or []), *given])


def plan_options(
    limit: int | None, models: str, datasets: str, offline: bool, batch_size: int
) -> PlanOptions:
    """Gather what narrows a plan."""
    return PlanOptions(limit=limit, models=models, datasets=datasets, offline=offline, batch_size=batch_size)


def run_options(
    plan: PlanOptions,
    executor: str,
    workers: int | None,
    address: str | None,
    dashboard: bool,
    gpu_share: float,
    device: str | None,
) -> RunOptions:
    """Gather where a study runs, refusing names that do not exist."""
    if executor not in ("ray", "serial"):
        raise UserError(f"--executor must be ray or serial, got {executor!r}.")
    if device not in (None, "cpu", "cuda"):
        raise UserError(f"--device must be cpu or cuda, got {device!r}.")
    return RunOptions(
        plan=plan,
        executor="serial" if executor == "serial" else "ray",
        workers=workers,
        address=address,
        dashboard=dashboard,
        gpu_share=gpu_share,
        device=device,
    )


def run(study: Study, options: RunOptions, as_json: bool) -> int:
    """Run a study and print its results."""
    outcome = run_study(study, options, err())
    for line in outcome.plan.skipped:
        say(f"skipped: {line}")
    if as_json:
        print_json(_outcome_json(outcome))
    else:
        print_summary(outcome.tables, outcome.plan, outcome.changes)
        out().print(_work_done(outcome), markup=False)
        out().print(f"report: {outcome.report}", markup=False, soft_wrap=True)
    for message in outcome.messages:
        say(message)
    return outcome.exit


def show_plan(study: Study, options: PlanOptions, as_json: bool) -> int:
    """Show what would be done; datasets that are not converted yet are counted, not planned."""
    from jobs.preview import preview_conversions, preview_tasks, small_groups

    check_names(study, options)
    conversions = preview_conversions(study, options.datasets)
    missing = unconverted(study, options.datasets)
    chosen = [name for name in study.datasets if fnmatch.fnmatch(name, options.datasets)]
    store = Store(study.store) if (study.store / "store.json").exists() else None
    hashes = None if store is None else store.path / "hashes" / "weights.json"
    plan = make_plan(study, options, hashes=hashes, leave_out=missing) if len(chosen) > len(missing) else None
    tasks = preview_tasks(plan, store) if plan else []
    small = small_groups(plan) if plan else []
    if as_json:
        said = {"skipped": plan.skipped, "blocked": plan.blocked} if plan else {"skipped": (), "blocked": ()}
        print_json({"convert": conversions, "tasks": tasks, "small_groups": small, **said})
        return Exit.COMPLETE
    if conversions:
        _print_dicts("to convert first (their tasks are planned when they are)", conversions)
    if plan is not None:
        _print_plan(plan, tasks, small)
    return Exit.COMPLETE


def _print_plan(plan: Plan, tasks: list[dict[str, Any]], small: list[dict[str, Any]]) -> None:
    _print_dicts(f"plan of {plan.study.study}", tasks)
    left = sum(task["predicted_s"] for task in tasks if task["state"] != "done")
    out().print(f"predicted work left: {left:,.0f} s on one CPU worker (assumed 60 GFLOP/s)", markup=False)
    if small:
        _print_dicts("groups too small to judge (shown, but without a value)", small)
    for line in plan.skipped:
        say(f"skipped: {line}")
    for line in plan.blocked:
        say(line)


def status(study: Study, limit: int | None, as_json: bool) -> int:
    """Show how far every task is."""
    from jobs.coverage import states

    plan, store = _planned(study, limit)
    rows = [
        {
            "task": s.task.id,
            "dataset": s.task.dataset,
            "model": s.task.model,
            "parts": f"{s.parts_done}/{len(s.task.parts)}",
            "rows": s.rows,
            "failed": s.failed,
        }
        for s in states(plan, store)
    ]
    if as_json:
        print_json(rows)
    else:
        _print_dicts(f"status of {plan.study.study}", rows)
        done = sum(s.complete for s in states(plan, store))
        out().print(f"{done} of {len(rows)} tasks are complete", markup=False)
    return Exit.COMPLETE


def verify(study: Study, limit: int | None, as_json: bool, *, drop: bool) -> int:
    """Check everything that is committed against the study."""
    from jobs.coverage import drop as drop_part
    from jobs.coverage import find_faults

    store = Store(study.store)
    plan = prepare(study, PlanOptions(limit=limit), store)
    faults = list(find_faults(plan, store))
    if as_json:
        print_json([vars(fault) for fault in faults])
    for fault in faults:
        say(f"{fault.task}/{fault.part}: {fault.kind}: {fault.detail}")
        if drop:
            drop_part(store, fault)
    if not faults and not as_json:
        parts = sum(len(task.parts) for task in plan.tasks)
        out().print(f"{parts} parts of {len(plan.tasks)} tasks are complete and unaltered", markup=False)
    return Exit.FAILURES if faults else Exit.COMPLETE


def report(study: Study, limit: int | None) -> int:
    """Write the report anew from what is committed."""
    from jobs.assemble import content_of, report_path, write_page
    from jobs.kinds import MEASURES
    from jobs.plan import find_tasks
    from jobs.study_tables import read_tables

    plan, store = _planned(study, limit)
    measured = tuple(task for task in find_tasks(plan, MEASURES) if store.is_complete(task))
    if not measured:
        raise UserError(
            f"study {plan.study.study!r} has no measured task in {study.store} yet. Run it first: fairray run STUDY."
        )
    tables = read_tables(store, measured, study.measure)
    page = write_page(content_of(store, plan, tables), report_path(store, plan.study.study).parent)
    out().print(f"report: {page}", markup=False, soft_wrap=True)
    return Exit.COMPLETE


def _planned(study: Study, limit: int | None) -> tuple[Plan, Store]:
    """Plan what is converted of a study; name what is not."""
    store = Store(study.store)
    missing = unconverted(study, "*")
    for name in missing:
        say(f"dataset {name!r} is not converted yet; 'fairray run' does it. Its tasks are not counted here.")
    if len(missing) == len(study.datasets):
        raise UserError(
            f"no dataset of study {study.study!r} is converted yet. Run it first: fairray run STUDY."
        )
    hashes = store.path / "hashes" / "weights.json"
    return make_plan(study, PlanOptions(limit=limit), hashes=hashes, leave_out=missing), store


def _work_done(outcome: Outcome) -> str:
    if outcome.tally is None:
        return "everything was done already; nothing was computed"
    tally = outcome.tally
    return f"{tally.done} parts computed, {tally.kept} kept from before, {tally.failed_rows} samples failed"


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    tally = outcome.tally
    return {
        "exit": int(outcome.exit),
        "computed": tally.done if tally else 0,
        "report": str(outcome.report),
        "messages": list(outcome.messages),
        "results": summary_rows(outcome.tables, outcome.plan.study.measure),
        "representation": probed_rows(outcome.tables, outcome.plan.study.measure),
        "ties": [asdict(tie) for tie in ties(outcome.tables, outcome.plan.study.measure)],
        "changes": list(outcome.changes),
    }


def _print_dicts(title: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0]) if rows else []
    print_table(title, columns, [[row[c] for c in columns] for row in rows])
