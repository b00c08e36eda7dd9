"""``fairray doctor``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from jobs.commands.output import print_json, print_table
from jobs.doctor import examine
from jobs.run import Exit


def doctor(folder: Path, as_json: bool) -> int:
    """Show the checks; exit code 3 if something FairRay needs is missing."""
    checks = list(examine(folder))
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        print_table(
            "this machine",
            ("what", "state", "found", "advice"),
            [(c.name, c.state, c.found, c.advice) for c in checks],
        )
    return Exit.FAILURES if any(check.state == "missing" for check in checks) else Exit.COMPLETE
