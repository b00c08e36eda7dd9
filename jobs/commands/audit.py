"""``fairray audit``: a table of predictions to fairness tables, a report and a plain-language summary."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.output import out, print_json, say
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.auditing.result import AuditResult

#: Exit code where a limit of ``--fail-if`` is violated.
VIOLATED = 1


def run(table: Path, folder: Path | None, as_json: bool, bins: Sequence[str], options: dict[str, Any]) -> int:
    """Audit a table, write everything, and print the summary.

    Parameters
    ----------
    table
        File of predictions.
    folder
        Where to write; ``<name of the table>-audit`` in this folder by default.
    as_json
        Print JSON instead of the summary.
    bins
        ``attribute=edge,edge`` each.
    options
        Further arguments of :func:`evaluator.audit`.

    Returns
    -------
    int
        0, or 1 where a limit is violated.
    """
    import gc

    from evaluator import audit
    from evaluator.auditing.questions import Missing
    from evaluator.auditing.result import check_folder

    if folder is not None:
        check_folder(folder)
    # A report is a million small objects that live until the end; looking for dead ones takes a fifth of its time.
    gc.set_threshold(500_000)
    try:
        result = audit(table, bins=bins, **options)
    except Missing as missing:
        command = shlex.join(["fairray", *sys.argv[1:], *missing.options])
        raise UserError(f"{missing}\nFor example, if that is right: {command}") from None
    written = result.write(folder or Path(f"{result.name}-audit"))
    if as_json:
        print_json(_as_json(result, written))
    else:
        out().print(result.summary, markup=False, soft_wrap=True)
        out().print(f"report: {written / 'report.html'}", markup=False, soft_wrap=True)
        out().print(
            f"tables: {written / 'groups.csv'}, {written / 'gaps.csv'}, {written / 'tables'}",
            markup=False,
            soft_wrap=True,
        )
    for verdict in result.violated:
        where = f" ({verdict.result})" if verdict.result else ""
        say(f"fairray: limit violated: {verdict.limit}{where}: {verdict.sentence}")
    return VIOLATED if result.violated else 0


def _as_json(result: AuditResult, written: Path) -> dict[str, Any]:
    overall = result.groups[result.groups["attribute"] == "all"]
    return {
        "table": result.name,
        "read_as": [vars(role) for role in result.roles],
        "notes": list(result.notes),
        "results": _records(overall),
        "gaps": _records(result.gaps),
        "findings": _records(result.findings),
        "rows": [
            {**item.result, "rows": item.rows, "measured": item.measured, "lacking": dict(item.lacking)}
            for item in result.coverage
        ],
        "not_compared": dict(result.left_out),
        "limits": [vars(verdict) for verdict in result.limits],
        "report": str(written / "report.html"),
        "folder": str(written),
        "exit": VIOLATED if result.violated else 0,
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows with null for everything undefined."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if value is None or value != value else value
