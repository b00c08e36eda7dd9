"""The few lines a person reads when a run ends: how good each model is, and for whom it is reliably worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.commands.output import out, print_table
from jobs.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.measure import MeasureSettings
    from jobs.assemble import StudyTables

_KEYS = ["dataset", "target", "structure", "prompt", "model", "usage", "seed"]


def summary_rows(tables: StudyTables, settings: MeasureSettings) -> list[dict[str, Any]]:
    """Return one row per model, usage and question: the primary metric over all samples, and the claims on its gaps."""
    from evaluator.statistics.findings import findings
    from evaluator.statistics.multiplicity import PRIMARY

    metrics = tables.metrics
    overall = metrics[(metrics["attribute"] == "all") & metrics["metric"].isin(PRIMARY)]
    claims = findings(
        tables.gaps,
        alpha=settings.alpha,
        relevant=settings.relevant_gap,
        permutations=settings.permutations,
    )
    claims = claims[claims["primary"]]
    rows = []
    for record in overall.to_dict("records"):
        same = _matching(claims, record)
        found = same[same["finding"] == "gap found"]
        rows.append(
            {
                **{key: _plain(record[key]) for key in _KEYS},
                "metric": record["metric"],
                "value": _plain(record["value"]),
                "ci_low": _plain(record["ci_low"]),
                "ci_high": _plain(record["ci_high"]),
                "n": int(record["n"]),
                "n_failed": int(record["n_failed"]),
                "gaps_found": found["attribute"].tolist(),
                "no_reliable_gap": same.loc[same["finding"] == "no reliable gap", "attribute"].tolist(),
                "cannot_judge": same.loc[same["finding"] == "cannot judge", "attribute"].tolist(),
                "sentences": found["sentence"].tolist(),
            }
        )
    return rows


def print_summary(tables: StudyTables, plan: Plan) -> None:
    """Print the table of :func:`summary_rows` for people."""
    rows = summary_rows(tables, plan.study.measure)
    if not rows:
        return
    columns = (
        "dataset",
        "what",
        "model",
        "usage",
        "metric",
        "value [interval]",
        "n",
        "gap found",
        "no reliable gap",
        "cannot judge",
    )
    print_table(f"study {plan.study.study}", columns, [_cells(row) for row in rows])
    for row in rows:
        for sentence in row["sentences"]:
            where = f"{row['dataset']}, {_what(row)}, {row['model']}, {row['usage']}"
            out().print(f"gap found: {where}: {sentence}", markup=False, soft_wrap=True)


def _cells(row: dict[str, Any]) -> list[Any]:
    return [
        row["dataset"],
        _what(row),
        row["model"],
        row["usage"] + (f" (seed {row['seed']})" if row["seed"] else ""),
        row["metric"],
        _interval(row),
        row["n"],
        ", ".join(row["gaps_found"]) or "-",
        ", ".join(row["no_reliable_gap"]) or "-",
        ", ".join(row["cannot_judge"]) or "-",
    ]


def _what(row: dict[str, Any]) -> str:
    return " ".join(str(row[key]) for key in ("target", "structure", "prompt") if row[key])


def _interval(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "undefined"
    if row["ci_low"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _matching(claims: pd.DataFrame, record: Mapping[Any, Any]) -> pd.DataFrame:
    chosen = claims
    for key in ("task", "target", "structure", "prompt", "metric", "convention"):
        value = record[key]
        chosen = chosen[chosen[key].isna()] if _plain(value) is None else chosen[chosen[key] == value]
    return chosen


def _plain(value: Any) -> Any:
    """Return None for every way pandas writes an absent value."""
    import pandas as pd

    return None if pd.isna(value) else value
