"""The people of one measurement: who is in the split, in which groups, and which rows can be measured.

Rows are sorted by sample id before anything is computed, so results do not depend on the order they come in.

What a row's status means here: rows of :data:`MEASURED` are measured; those of :data:`evaluator.tables.NOT_FAILURES` that
are not measured had nothing to predict and count nowhere; all others are failures, counted in `n_failed` of their group.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.groups import Grouping, GroupRule, assign_groups
from shards.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

#: Columns that every table of samples has.
SAMPLE_COLUMNS = ("sample_id", "subject_id", "split", "status")

#: Statuses of rows that hold a result; the last two are masks of an absent structure.
MEASURED = ("ok", "false_positive_structure", "true_negative")


@dataclass(frozen=True)
class Cohort:
    """Rows of one split, sorted by sample id, with their subjects and groups.

    Attributes
    ----------
    rows
        The table's rows of the split, index 0..n-1.
    names
        Sorted ids of all subjects with a row of any status: the set that the bootstrap draws from.
    subject
        ``[n]`` index into `subjects`.
    groupings
        Codes ``[n]`` of each rule.
    """

    rows: pd.DataFrame
    names: pd.Index[Any]
    subject: NDArray[np.int64]
    groupings: tuple[Grouping, ...]

    @functools.cached_property
    def subjects(self) -> tuple[str, ...]:
        """The ids as text, for the keys of random streams."""
        return tuple(map(str, self.names))

    @property
    def people(self) -> int:
        """How many subjects there are."""
        return len(self.names)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """``[n]`` rows that should have been measured and could not."""
        from evaluator.tables import NOT_FAILURES

        return np.asarray(~self.rows["status"].isin(NOT_FAILURES), bool)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``[n]`` rows whose status lets them be measured."""
        return np.asarray(self.rows["status"].isin(MEASURED), bool)


def as_frame(table: Any, columns: Sequence[str], what: str) -> pd.DataFrame:
    """Return an Arrow table or a DataFrame as a DataFrame that has `columns`.

    Raises
    ------
    UserError
        If a column is missing.
    """
    frame: pd.DataFrame = table if hasattr(table, "iloc") else table.to_pandas()
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        found = ", ".join(str(name) for name in frame.columns)
        raise UserError(
            f"{what} must have the columns {', '.join(columns)}; missing: {', '.join(missing)} (found: {found})."
        )
    return frame


def gather(
    rows: pd.DataFrame, attributes: pd.DataFrame, rules: Sequence[GroupRule], split: str | None
) -> Cohort:
    """Select a split and join subjects' groups to its rows.

    Parameters
    ----------
    rows
        One row per sample with `sample_id`, `subject_id`, `split`, `status`.
    attributes
        `sample_id` and the raw attributes of every sample of the dataset.
    rules
        Groups to form.
    split
        Which rows; None for all of them.

    Raises
    ------
    UserError
        If a sample occurs twice, or has no attributes, or an attribute cannot be grouped.
    """
    import pandas as pd

    chosen = rows if split is None else rows[rows["split"] == split]
    if not chosen["sample_id"].is_monotonic_increasing:
        chosen = chosen.sort_values("sample_id", kind="stable")
    chosen = chosen.reset_index(drop=True)
    _refuse_duplicates(chosen["sample_id"], "rows of one result")
    _refuse_duplicates(attributes["sample_id"], "attributes")
    subject, names = pd.factorize(chosen["subject_id"], sort=True)
    where = _positions(attributes["sample_id"], chosen["sample_id"])
    groupings = [assign_groups(rule, attributes) for rule in rules]
    return Cohort(
        rows=chosen,
        names=pd.Index(names),
        subject=subject.astype(np.int64),
        groupings=tuple(Grouping(g.name, g.groups, g.codes[where]) for g in groupings),
    )


def _refuse_duplicates(ids: pd.Series[Any], what: str) -> None:
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise UserError(
            f"{what} must have one row per sample_id; {len(twice)} occur more than once, e.g. {twice[0]!r}."
            " Select one result (target, structure, prompt, model) before measuring."
        )


def _positions(known: pd.Series[Any], wanted: pd.Series[Any]) -> NDArray[np.int64]:
    import pandas as pd

    where = pd.Index(known).get_indexer(pd.Index(wanted))
    lost = wanted[where < 0]
    if len(lost):
        raise UserError(
            f"{len(lost)} samples have results but no row in the attributes, e.g. {lost.iloc[0]!r}. The results belong to"
            " another version of the dataset; use its index."
        )
    return np.asarray(where, np.int64)
