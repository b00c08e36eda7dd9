"""The tables of a report as data frames, from the two measured tables. Pure: no file, no formatting.

A *question* is what can be ranked together: one target or structure of one dataset's split. An *arm* is one
answer to it: model, usage, mitigation and prompt. Seeds of an arm are summarised, never picked from.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from evaluator.report.rankings import rank
from evaluator.report.standing import with_standing
from evaluator.report.words import Better, metric_words, primary_metric
from evaluator.views import base_split

ARM = ["model", "usage", "mitigation", "prompt"]
QUESTION = ["dataset", "split", "target", "structure"]
OVERALL, UNKNOWN = "all", "unknown"
THRESHOLD = "threshold"  # rows of the metrics table that say where decisions were cut; not a measure
GAP_KIND = "max-min"
_TEXT_KEYS = [
    *QUESTION, *ARM, *(f"against_{name}" for name in ARM), "attribute", "group", "metric", "convention", "kind",
    "item", "against", "rule",
]  # fmt: skip
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
    """The rows of the tables that belong to one question."""

    question: Question
    metrics: pd.DataFrame
    gaps: pd.DataFrame
    comparisons: pd.DataFrame

    def measures(self) -> tuple[Measure, ...]:
        """Return the measures, the primary one first, the others in the order of the table."""
        return measures_of(self.metrics)

    def at(self, measure: Measure) -> Measured:
        """Return the rows of one measure."""
        return Measured(
            self.question,
            _of(self.metrics, measure),
            _of(self.gaps, measure),
            _of(self.comparisons, measure),
        )

    def of_arm(self, arm: tuple[str, ...]) -> Measured:
        """Return the rows of one arm (values of :data:`ARM` in that order)."""
        return Measured(
            self.question,
            of_arm(self.metrics, arm),
            of_arm(self.gaps, arm),
            of_arm(self.comparisons, arm),
        )


@dataclass(frozen=True)
class Ranked:
    """A question with its ranking by every measure, the primary one first."""

    part: Measured
    rankings: Mapping[Measure, pd.DataFrame]

    @property
    def primary(self) -> Measure:
        """The measure that the question is opened with."""
        return next(iter(self.rankings))


def measures_of(metrics: pd.DataFrame) -> tuple[Measure, ...]:
    """Return the measures of some rows, the primary one first, the others in the order of the table.

    Derived conventions (``...|...``, as of re-weighted values) are never primary; metrics without any value only where
    no metric has one.
    """
    found = _pairs(metrics)
    primary = primary_metric(measure.metric for measure in _pairs(metrics[metrics["value"].notna()]) or found)
    plain = [m for m in found if m.metric == primary and "|" not in m.convention]
    default = [m for m in plain if m.convention == "default"]
    first = (default or plain or [m for m in found if m.metric == primary])[0]
    return (first, *(m for m in found if m != first))


def _pairs(metrics: pd.DataFrame) -> list[Measure]:
    pairs = metrics[["metric", "convention"]].drop_duplicates().itertuples(index=False)
    return [Measure(str(metric), str(convention)) for metric, convention in pairs]


def of_arm(frame: pd.DataFrame, arm: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of one arm (values of :data:`ARM` in that order) of a tidy table."""
    return _where(frame, ARM, arm)


def rank_all(
    metrics: pd.DataFrame,
    gaps: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
    *,
    alpha: float = 0.05,
) -> tuple[Ranked, ...]:
    """Rank the arms of every question by every measure; `alpha` is the level of the paired comparisons."""
    found = []
    for part in split_by_question(metrics, gaps, comparisons):
        tables = {}
        for measure in part.measures():
            at = part.at(measure)
            table = ranking(at.metrics, at.gaps, better=metric_words(measure.metric).better)
            tables[measure] = with_standing(table, at.comparisons, arm=ARM, alpha=alpha)
        found.append(Ranked(part, tables))
    return tuple(found)


def split_by_question(
    metrics: pd.DataFrame, gaps: pd.DataFrame, comparisons: pd.DataFrame | None = None
) -> tuple[Measured, ...]:
    """Take the tables apart into questions, in the order in which they first appear.

    Of a dataset that was measured on several splits only ``test`` is kept where it is one of them: the others
    chose thresholds and hyper-parameters. Rows of thresholds are left to :func:`threshold_table`.
    """
    metrics, gaps = _test_only(tidy(metrics)), tidy(gaps)
    metrics = metrics[metrics["metric"] != THRESHOLD]
    paired = tidy(_no_comparisons() if comparisons is None else comparisons)
    parts, pairs = by_question(gaps), by_question(paired)
    return tuple(
        Measured(question, rows, parts.get(question, gaps.iloc[:0]), pairs.get(question, paired.iloc[:0]))
        for question, rows in by_question(metrics).items()
    )


def by_question(frame: pd.DataFrame) -> dict[Question, pd.DataFrame]:
    """Return the rows of each question of a tidy table."""
    return {Question(*map(str, key)): rows for key, rows in frame.groupby(QUESTION, sort=False)}


def _no_comparisons() -> pd.DataFrame:
    from evaluator.tables import COMPARISONS

    return pd.DataFrame(columns=COMPARISONS.names)


def ranking(metrics: pd.DataFrame, gaps: pd.DataFrame, *, better: Better) -> pd.DataFrame:
    """Rank the arms of one question by one measure, see :func:`evaluator.report.rankings.rank`."""
    return rank(metrics, gap_table(gaps), better=better, arm=ARM)


def threshold_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of thresholds: `value` is the probability from which on a sample counts as positive."""
    metrics = tidy(metrics)
    return metrics[metrics["metric"] == THRESHOLD].reset_index(drop=True)


def other_gaps(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of kinds other than the judged max-min gap, ordered by attribute; `p` as in :func:`gap_table`."""
    table = gaps[gaps["kind"] != GAP_KIND].copy()
    table["p"] = table["p_adjusted"].where(table["p_adjusted"].notna(), table["p_value"])
    return table.sort_values(["attribute", "kind"], kind="stable").reset_index(drop=True)


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
    names = [name for name in _COUNTS if name in frame.columns and not _holds_lists(frame[name])]
    return frame.assign(**{name: frame[name].astype("Int64") for name in names})


def _holds_lists(column: pd.Series[Any]) -> bool:
    return any(hasattr(value, "__iter__") for value in column)


_COUNTS = ("seed", "n", "n_pos", "n_neg", "n_subjects", "n_failed", "rows", "failed_rows")


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy whose texts are plain Python objects: null keys are empty, so that grouping keeps their rows.

    Other null texts are None. Plain objects also make the many small selections of a report several times faster.
    """
    texts = {}
    for name in frame.columns:
        if name in _TEXT_KEYS or not pd.api.types.is_numeric_dtype(frame[name]):
            null = "" if name in _TEXT_KEYS else None
            plain = [null if _is_null(value) else value for value in frame[name].tolist()]
            texts[name] = pd.Series(
                [str(v) for v in plain] if name in _TEXT_KEYS else plain, frame.index, object
            )
    return frame.assign(**texts)


def _is_null(value: Any) -> bool:
    return not hasattr(value, "__iter__") and bool(pd.isna(value))


def _test_only(metrics: pd.DataFrame) -> pd.DataFrame:
    about = metrics[["dataset", "target", "structure"]].astype(str).agg("\n".join, axis=1)
    of_test = metrics["split"].map(base_split) == "test"
    return metrics[~about.isin(about[of_test]) | of_test]


def _of(frame: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    return _where(frame, ["metric", "convention"], measure)


def _where(frame: pd.DataFrame, columns: list[str], values: tuple[str, ...]) -> pd.DataFrame:
    fits = [frame[column].to_numpy() == value for column, value in zip(columns, values, strict=True)]
    return frame[np.logical_and.reduce(fits)]


def gap_over_seeds(gaps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and attribute: means over the seeds, and the largest p of them."""
    groups = gap_table(gaps).groupby([*ARM, "attribute"], sort=False)
    table = groups[["raw", "null_mean", "adjusted", "detectable"]].mean()
    return table.assign(p=groups["p"].max()).reset_index()
