"""The tables of a report as data frames, from the two measured tables. Pure: no file, no formatting.

A *question* is what can be ranked together: one target or structure of one dataset's split. An *arm* is one
answer to it: model, usage, mitigation and prompt. Seeds of an arm are summarised, never picked from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from evaluator.report.words import Better, is_undefined, primary_metric

ARM = ["model", "usage", "mitigation", "prompt"]
QUESTION = ["dataset", "split", "target", "structure"]
OVERALL, UNKNOWN = "all", "unknown"
THRESHOLD = "threshold"  # rows of the metrics table that say where decisions were cut; not a measure
GAP_KIND = "max-min"
_TEXT_KEYS = [*QUESTION, *ARM, "attribute", "metric", "convention"]
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Question(NamedTuple):
    """One target or structure of one dataset's split; empty text where it has none."""

    dataset: str
    split: str
    target: str
    structure: str

    @property
    def subject_matter(self) -> str:
        """The target's or structure's name; empty when the question has neither."""
        return " / ".join(part for part in (self.target, self.structure) if part)


class Measure(NamedTuple):
    """A metric in one convention."""

    metric: str
    convention: str


@dataclass(frozen=True)
class Tally:
    """How often an attribute's findings came out each way over all arms and seeds of a question.

    Attributes
    ----------
    attribute
        What was compared.
    found, none, unclear
        Arms and seeds with a gap found, with no reliable gap, and that cannot be judged.
    worst
        The group that most often fared worst where a gap was found, and how often; empty without one.
    """

    attribute: str
    found: int
    none: int
    unclear: int
    worst: str

    @property
    def total(self) -> int:
        """How many findings there are."""
        return self.found + self.none + self.unclear


@dataclass(frozen=True)
class Measured:
    """The rows of both tables that belong to one question."""

    question: Question
    metrics: pd.DataFrame
    gaps: pd.DataFrame

    def measures(self) -> tuple[Measure, ...]:
        """Return the measures, the primary one first, the others in the order of the table."""
        pairs = self.metrics[["metric", "convention"]].drop_duplicates().itertuples(index=False)
        found = [Measure(str(metric), str(convention)) for metric, convention in pairs]
        primary = primary_metric(measure.metric for measure in found)
        default = [m for m in found if m.metric == primary and m.convention == "default"]
        first = (default or [m for m in found if m.metric == primary])[0]
        return (first, *(m for m in found if m != first))

    def at(self, measure: Measure) -> Measured:
        """Return the rows of one measure."""
        return Measured(self.question, _of(self.metrics, measure), _of(self.gaps, measure))

    def of_arm(self, arm: tuple[str, ...]) -> Measured:
        """Return the rows of one arm (values of :data:`ARM` in that order)."""
        return Measured(self.question, _where(self.metrics, ARM, arm), _where(self.gaps, ARM, arm))


def split_by_question(metrics: pd.DataFrame, gaps: pd.DataFrame) -> tuple[Measured, ...]:
    """Take both tables apart into questions, in the order in which they first appear.

    Of a dataset that was measured on several splits only ``test`` is kept where it is one of them: the others
    chose thresholds and hyper-parameters. Rows of thresholds are left to :func:`threshold_table`.
    """
    metrics, gaps = _test_only(tidy(metrics)), tidy(gaps)
    metrics = metrics[metrics["metric"] != THRESHOLD]
    parts = {Question(*map(str, key)): rows for key, rows in gaps.groupby(QUESTION, sort=False)}
    nothing = gaps.iloc[:0]
    found = []
    for key, rows in metrics.groupby(QUESTION, sort=False):
        question = Question(*map(str, key))
        found.append(Measured(question, rows, parts.get(question, nothing)))
    return tuple(found)


def ranking(metrics: pd.DataFrame, gaps: pd.DataFrame, *, better: Better) -> pd.DataFrame:
    """Rank the arms of one question by one measure.

    Parameters
    ----------
    metrics, gaps
        Rows of one question and one measure (see :meth:`Measured.at`).
    better
        Which direction of the measure is good.

    Returns
    -------
    pandas.DataFrame
        A row per arm, best first, undefined values last with a null `rank`. `value` is the mean over the
        arm's `seeds`, `seed_low` and `seed_high` their range, `ci_low` and `ci_high` the outermost ends of
        their intervals. `within_leader` says that the value lies inside the first row's interval, which is
        not a test of difference. `worst_attribute`, `worst_group`, `worst_value`, `worst_n_subjects`: the
        worst group among those with a value, of single attributes where there are any. `gap_attribute`,
        `raw`, `null_mean`, `adjusted`, `detectable`, `p`: the attribute with the smallest p (adjusted where
        there is an adjusted one); means over seeds, the largest p of them.
    """
    overall = metrics[metrics["attribute"] == OVERALL]
    records = []
    for key, rows in overall.groupby(ARM, sort=False):
        arm = dict(zip(ARM, map(str, key), strict=True))
        mine, my_gaps = _where(metrics, ARM, tuple(arm.values())), _where(gaps, ARM, tuple(arm.values()))
        records.append({**arm, **_overall(rows), **_worst_group(mine, better), **_strongest_gap(my_gaps)})
    table = pd.DataFrame.from_records(records, columns=_RANKING_COLUMNS)
    table = table.sort_values("value", ascending=better == "lower", na_position="last", kind="stable")
    table["rank"] = table["value"].rank(method="min", ascending=better == "lower").astype("Int64")
    return _mark_within_leader(table.reset_index(drop=True))


_RANKING_COLUMNS = [
    "rank", *ARM, "value", "ci_low", "ci_high", "seeds", "seed_low", "seed_high", "n", "n_subjects",
    "n_failed", "within_leader", "worst_attribute", "worst_group", "worst_value", "worst_n_subjects",
    "gap_attribute", "raw", "null_mean", "adjusted", "detectable", "p", "status", "reason",
]  # fmt: skip


def threshold_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of thresholds: `value` is the probability from which on a sample counts as positive."""
    metrics = tidy(metrics)
    return metrics[metrics["metric"] == THRESHOLD].reset_index(drop=True)


def gap_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return the max-min gaps of one measure; `p` is the adjusted p where there is one."""
    table = gaps[gaps["kind"] == GAP_KIND].copy()
    table["p"] = table["p_adjusted"].where(table["p_adjusted"].notna(), table["p_value"])
    return table.reset_index(drop=True)


def group_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the group rows of one measure: all first, attributes in their order, unknown last in each."""
    table = metrics.reset_index(drop=True)
    attributes = [OVERALL, *(a for a in table["attribute"].unique() if a != OVERALL)]
    order = table["attribute"].map({name: place for place, name in enumerate(attributes)})
    last = (table["group"] == UNKNOWN) & (table["attribute"] != OVERALL)
    table = table.assign(_order=order, _last=last).sort_values(["_order", "_last"], kind="stable")
    return table.drop(columns=["_order", "_last"]).reset_index(drop=True)


def to_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV that a spreadsheet cannot run.

    Text cells and headings that start with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return get an
    apostrophe in front; numbers keep all their digits and signs. Undefined values are empty; lists are joined
    by ``"; "``.
    """
    out = io.StringIO(newline="")
    # RFC 4180 line ends; with them the writer also quotes a lone carriage return, which would else start a new row.
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([_csv_cell(str(name)) for name in frame.columns])
    for row in frame.itertuples(index=False, name=None):
        writer.writerow([_csv_cell(value) for value in row])
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    if hasattr(value, "__iter__"):
        return _csv_cell("; ".join(map(str, value)))
    return "" if value is None or pd.isna(value) else value


def whole_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose counts are whole numbers again, where a null had made them fractions."""
    names = [name for name in _COUNTS if name in frame.columns]
    return frame.assign(**{name: frame[name].astype("Int64") for name in names})


_COUNTS = ("seed", "n", "n_pos", "n_neg", "n_subjects", "n_failed", "rows", "failed_rows")


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy whose key columns are texts: null keys are empty, so that grouping keeps their rows."""
    keys = [name for name in _TEXT_KEYS if name in frame.columns]
    texts = {name: [("" if pd.isna(v) else str(v)) for v in frame[name]] for name in keys}
    return frame.assign(**texts)


def _test_only(metrics: pd.DataFrame) -> pd.DataFrame:
    has_test = metrics["dataset"].isin(metrics.loc[metrics["split"] == "test", "dataset"])
    return metrics[~has_test | (metrics["split"] == "test")]


def _of(frame: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    return _where(frame, ["metric", "convention"], measure)


def _where(frame: pd.DataFrame, columns: list[str], values: tuple[str, ...]) -> pd.DataFrame:
    for column, value in zip(columns, values, strict=True):
        frame = frame[frame[column] == value]
    return frame


def _overall(rows: pd.DataFrame) -> dict[str, Any]:
    """Summarise an arm's rows of all samples, one per seed."""
    bad = rows[rows["value"].isna()]
    told = bad.iloc[0] if len(bad) else rows.iloc[0]
    return {
        "value": rows["value"].mean(),
        "ci_low": rows["ci_low"].min(),
        "ci_high": rows["ci_high"].max(),
        "seeds": len(rows),
        "seed_low": rows["value"].min(),
        "seed_high": rows["value"].max(),
        "n": rows["n"].max(),
        "n_subjects": rows["n_subjects"].max(),
        "n_failed": rows["n_failed"].sum(),
        "status": told["status"],
        "reason": told["reason"],
    }


def _worst_group(rows: pd.DataFrame, better: Better) -> dict[str, Any]:
    """Find the group that fares worst; groups without a value and unknown take no part."""
    judged = rows[(rows["attribute"] != OVERALL) & (rows["group"] != UNKNOWN) & (rows["status"] == "ok")]
    judged = judged[judged["value"].notna()]
    single = judged[~judged["attribute"].str.contains("*", regex=False)]
    judged = single if len(single) else judged
    if judged.empty:
        return {}
    groups = judged.groupby(["attribute", "group"], sort=False)
    means = groups["value"].mean()
    place = int((means if better == "higher" else -means).argmin())
    attribute, group = means.index[place]
    return {
        "worst_attribute": attribute,
        "worst_group": group,
        "worst_value": means.iloc[place],
        "worst_n_subjects": groups["n_subjects"].max().iloc[place],
    }


def _strongest_gap(gaps: pd.DataFrame) -> dict[str, Any]:
    """Find the attribute with the least doubtful gap, over the seeds of one arm."""
    per_attribute = gap_over_seeds(gaps)
    judged = per_attribute[per_attribute["adjusted"].notna() & per_attribute["p"].notna()]
    if judged.empty:
        return {}
    # Between equals a single attribute says more than an intersection that contains it.
    crossed = judged["attribute"].str.contains("*", regex=False)
    order = judged.assign(_crossed=crossed).sort_values(
        ["p", "_crossed", "adjusted"], ascending=[True, True, False], kind="stable"
    )
    first = order.iloc[0]
    return {"gap_attribute": first["attribute"], **{name: first[name] for name in _GAP_NUMBERS}}


_GAP_NUMBERS = ["raw", "null_mean", "adjusted", "detectable", "p"]


def gap_over_seeds(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per attribute of one arm: means over its seeds, and the largest p of them."""
    groups = gap_table(gaps).groupby("attribute", sort=False)
    table = groups[_GAP_NUMBERS].mean()
    return table.assign(p=groups["p"].max()).reset_index()


def _mark_within_leader(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty or is_undefined(table["ci_low"].iloc[0]) or is_undefined(table["ci_high"].iloc[0]):
        return table.assign(within_leader=False)
    inside = table["value"].between(table["ci_low"].iloc[0], table["ci_high"].iloc[0])
    inside.iloc[0] = False
    return table.assign(within_leader=inside)


def arms(table: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    """Yield the arms of a ranking, best first, as values of :data:`ARM`."""
    for row in table[ARM].itertuples(index=False, name=None):
        yield tuple(map(str, row))
