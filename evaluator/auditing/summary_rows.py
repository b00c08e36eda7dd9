"""Parts of the summary about the table: what was lost, how it was read, which limits hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from evaluator.auditing.coverage import NO_CLASS, Coverage, lacking_words
from evaluator.auditing.limits import Verdict
from evaluator.auditing.options import NOT_USED, Role
from evaluator.report.words import listing, share

if TYPE_CHECKING:
    import pandas as pd

#: More lines than this of what was left out by group are left to the report.
MOST_LOSSES = 40


def tell_coverage(coverage: Sequence[Coverage], several: int) -> Iterator[str]:
    """Say how many rows were measured: once where that is the same for all results, else for up to `several` of them."""
    told = list(dict.fromkeys(item.sentence for item in coverage))
    if len(told) == 1:
        yield f"{told[0]}."
    elif len(coverage) <= several:
        yield from (f"- {result_name(item, coverage)}: {item.sentence}." for item in coverage)
    else:
        yield "Not every result has the same rows; see Results."


def result_name(item: Coverage, among: Sequence[Coverage]) -> str:
    """Return what a result is called among others, as :func:`evaluator.auditing.summary.results_of` calls it."""
    several = ("dataset",) if len({other.result["dataset"] for other in among}) > 1 else ()
    keys = (*several, "target", "structure", "prompt", "model", "usage", "mitigation", "seed")
    return ", ".join(str(item.result[key]) for key in keys if item.result[key] not in (None, ""))


def tell_failures(failures: pd.DataFrame) -> Iterator[str]:
    """Say of whom rows were lost."""
    targets = failures["target"].nunique() > 1
    rows = failures.to_dict("records")
    for row in rows[:MOST_LOSSES]:
        keys = ("model", "usage", "target") if targets else ("model", "usage")
        where = ", ".join(str(row[key]) for key in keys if row[key])
        group = "all samples" if row["attribute"] == "all" else f"{row['attribute']} {row['group']}"
        about = ", ".join(part for part in (where, group) if part)
        of = "all rows" if row["status"] == NO_CLASS or not row["target"] else "those with a true class"
        yield f"- {about}: {int(row['rows']):,} rows {lacking_words(row['status'])} ({share(row['share'])} of {of})"
    if len(rows) > MOST_LOSSES:
        yield f"- ... {len(rows) - MOST_LOSSES:,} more are in the report"


def tell_roles(said: Sequence[Role]) -> Iterator[str]:
    """Say what columns were taken for."""
    width = max((len(role.role) for role in said), default=0)
    for role in said:
        columns = ", ".join(role.columns[:8]) + (
            f", ... ({len(role.columns)} columns)" if len(role.columns) > 8 else ""
        )
        why = f": {role.why}" if role.why else ""
        option = f" [{role.option}]" if role.option else ""
        if role.role == NOT_USED and role.option:
            option = f"; to compare groups: {role.option}"
        yield f"    {role.role:<{width}}  {columns or '-'}{why}{option}"


def tell_limits(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Say which limits are violated, with their numbers; those first."""
    for verdict in sorted(verdicts, key=lambda verdict: not verdict.violated):
        state = "VIOLATED" if verdict.violated else "kept"
        yield f"- {state}: {verdict.limit} ({verdict.result}): {verdict.sentence}"


def tell_left_out(left_out: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Say which attributes are not compared though they are called like ones."""
    yield from (f"- NOT COMPARED: {name} {why}" for name, why in left_out)


def tell_detectable(rows: pd.DataFrame) -> str:
    """List the attributes without a reliable gap, each with the gap that would have been found."""
    return listing(
        [
            f"{row['attribute']} (one of {row['detectable']:.3f} would have been found)"
            if row["detectable"] == row["detectable"]
            else str(row["attribute"])
            for row in rows.to_dict("records")
        ]
    )
