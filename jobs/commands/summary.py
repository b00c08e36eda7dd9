"""The few lines a person reads when a run ends: how good each model is, which cannot be told apart, whom it serves worse."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluator.usages.representation import PREFIX
from evaluator.views import base_split
from jobs.commands.output import out, print_table
from jobs.plan import Plan
from jobs.study_tables import PROBE, StudyTables, probe_rows

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.measure import MeasureSettings

_SHOWN = ("dataset", "target", "structure", "prompt", "model", "usage", "mitigation")
_KEYS = [*_SHOWN, "seed"]
_QUESTION = ["dataset", "target", "structure", "metric"]
_ARM = ("model", "usage", "mitigation", "prompt")


@dataclass(frozen=True)
class Tie:
    """How the models of one question stand to the one they are compared with.

    Attributes
    ----------
    dataset, target, structure, metric
        The question and its primary metric.
    against
        The best arm, or the baseline's.
    is_baseline
        Whether `against` was named by the study.
    tied, better, worse
        Arms that cannot be told from it, and those that reliably can.
    """

    dataset: str
    target: str | None
    structure: str | None
    metric: str
    against: str
    is_baseline: bool
    tied: tuple[str, ...]
    better: tuple[str, ...]
    worse: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The same in words."""
        where = " ".join(part for part in (self.target, self.structure) if part)
        role = "is the baseline" if self.is_baseline else "has the best value"
        told = [
            f"{words} {', '.join(arms)}"
            for words, arms in (
                ("cannot be told from", self.tied),
                ("reliably better than", self.worse),
                ("reliably worse than", self.better),
            )
            if arms
        ]
        return f"{self.dataset}, {where}: {self.against} {role} ({self.metric}); {'; '.join(told)}."


def summary_rows(tables: StudyTables, settings: MeasureSettings) -> list[dict[str, Any]]:
    """Return one row per arm, seed and question: the primary metric over all samples, and the claims on its gaps.

    Rows of val, on which models are chosen, are left out where the study measures another split.
    """
    from evaluator.statistics.findings import findings

    claims = findings(
        tables.gaps,
        alpha=settings.alpha,
        relevant=settings.relevant_gap,
        permutations=settings.permutations,
    )
    claims = claims[claims["primary"]]
    rows = []
    for record in _overall(tables.metrics, settings).sort_values(_KEYS).to_dict("records"):
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


def _overall(metrics: pd.DataFrame, settings: MeasureSettings) -> pd.DataFrame:
    """Return the rows of the primary metrics over all samples of the measured split (masks: of all splits)."""
    from evaluator.statistics.multiplicity import measures_primary

    measured = (metrics["split"].map(base_split) == settings.split) | metrics["structure"].notna()
    questions = metrics["usage"] != PROBE
    return metrics[(metrics["attribute"] == "all") & measures_primary(metrics) & measured & questions]


def probed_rows(tables: StudyTables, settings: MeasureSettings) -> list[dict[str, Any]]:
    """Return one row per attribute and model: the AUC with which a linear probe reads it from the features."""
    names = ("dataset", "target", "model", "seed", "value", "ci_low", "ci_high", "n", "status", "reason")
    rows = probe_rows(tables.metrics, settings).sort_values(["dataset", "target", "model", "seed"])
    return [{name: _plain(row[name]) for name in names} for row in rows.to_dict("records")]


def ties(tables: StudyTables, settings: MeasureSettings) -> tuple[Tie, ...]:
    """Say for every question which arms cannot be told from the best one, or from the baseline."""
    from evaluator.compare import tied
    from evaluator.statistics.multiplicity import measures_primary

    table = tables.comparisons
    measured = (table["split"].map(base_split) == settings.split) | table["structure"].notna()
    rows = table[measures_primary(table) & measured & (table["status"] == "ok")]
    rows = rows.assign(
        tied=tied(rows, alpha=settings.alpha),
        arm=[_arm(row, "") for row in rows.to_dict("records")],
        against=[_arm(row, "against_") for row in rows.to_dict("records")],
    )
    found = []
    for key, group in rows.groupby([*_QUESTION, "against"], dropna=False, sort=True):
        dataset, target, structure, metric, against = (_plain(part) for part in key)
        apart = group[~group["tied"]]
        found.append(
            Tie(
                dataset=dataset,
                target=target,
                structure=structure,
                metric=metric,
                against=against,
                is_baseline=settings.baseline in set(group["against_model"]),
                tied=tuple(group.loc[group["tied"], "arm"]),
                better=tuple(apart.loc[apart["difference"] > 0, "arm"]),
                worse=tuple(apart.loc[apart["difference"] < 0, "arm"]),
            )
        )
    return tuple(found)


def _arm(row: Mapping[Any, Any], prefix: str) -> str:
    return " · ".join(str(row[prefix + name]) for name in _ARM if _plain(row[prefix + name]) is not None)


def print_summary(tables: StudyTables, plan: Plan, changes: Sequence[str]) -> None:
    """Print the table of :func:`summary_rows`, the ties, the gaps found, and what is otherwise than in the last run."""
    rows = summary_rows(tables, plan.study.measure)
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
    arms = [list(seeds) for _, seeds in itertools.groupby(rows, key=lambda row: [row[key] for key in _SHOWN])]
    if arms:
        print_table(f"study {plan.study.study}", columns, [_cells(seeds) for seeds in arms])
    _print_probed(probed_rows(tables, plan.study.measure))
    lines = [tie.sentence for tie in ties(tables, plan.study.measure)]
    for seeds in arms:
        first = seeds[0]
        where = f"{first['dataset']}, {_what(first)}, {first['model']}, {_usage(first)}"
        lines += [f"gap found: {where}: {sentence}" for sentence in _sentences(seeds)]
    lines += [f"changed since the last run: {change}" for change in changes]
    for line in lines:
        out().print(line, markup=False, soft_wrap=True)


def _print_probed(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = ("dataset", "attribute", "model", "auc [interval]", "n")
    cells = [
        [
            row["dataset"],
            row["target"].removeprefix(PREFIX),
            row["model"] + (f" (seed {row['seed']})" if row["seed"] else ""),
            _interval(row),
            row["n"],
        ]
        for row in rows
    ]
    print_table("how well attributes can be read from features (0.5: not at all)", columns, cells)


def _cells(seeds: list[dict[str, Any]]) -> list[Any]:
    """Return the cells of one arm, whose fits are summarised and never chosen from."""
    row = seeds[0]
    return [
        row["dataset"],
        _what(row),
        row["model"],
        _usage(row),
        row["metric"],
        _interval(row) if len(seeds) == 1 else _over_seeds(seeds),
        row["n"],
        *(_counted(seeds, claim) for claim in ("gaps_found", "no_reliable_gap", "cannot_judge")),
    ]


def _usage(row: dict[str, Any]) -> str:
    """Return the usage, with its mitigation where there is one."""
    return row["usage"] if row["mitigation"] in (None, "erm") else f"{row['usage']} · {row['mitigation']}"


def _over_seeds(seeds: list[dict[str, Any]]) -> str:
    values = [row["value"] for row in seeds if row["value"] is not None]
    if not values:
        return "undefined"
    mean = sum(values) / len(values)
    return f"{mean:.3f} ({len(values)} seeds, {min(values):.3f} to {max(values):.3f})"


def _counted(seeds: list[dict[str, Any]], claim: str) -> str:
    """Return the attributes of which a claim is made, with how many seeds say so where not all do."""
    counts = Counter(attribute for row in seeds for attribute in row[claim])
    return (
        ", ".join(
            name if count == len(seeds) else f"{name} ({count} of {len(seeds)})"
            for name, count in counts.items()
        )
        or "-"
    )


def _sentences(seeds: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the first seed's sentence on every gap that was found, with how many seeds say so."""
    counts = Counter(attribute for row in seeds for attribute in row["gaps_found"])
    for attribute, count in counts.items():
        row = next(row for row in seeds if attribute in row["gaps_found"])
        sentence = row["sentences"][row["gaps_found"].index(attribute)]
        yield sentence if len(seeds) == 1 else f"{sentence} ({count} of {len(seeds)} seeds say so)"


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
