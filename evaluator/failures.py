"""Counts what could not be evaluated, by group: dropping failures silently can itself be unfair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluator.groups import GroupRule, assign_groups
from evaluator.tables import FAILURES, NOT_FAILURES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def count_failures(rows: pa.Table, attributes: pd.DataFrame, groups: Sequence[GroupRule]) -> pa.Table:
    """Count failed rows by attribute, group and status.

    Parameters
    ----------
    rows
        Predictions or segmentations.
    attributes
        ``sample_id`` and the raw attributes of every sample, from the dataset's index.
    groups
        The rules that form the groups.

    Returns
    -------
    pyarrow.Table
        Schema :data:`evaluator.tables.FAILURES`: a row per attribute x group x failure status; `share` is of all rows of the
        group. Attribute ``all`` holds the total. Groups without a failure have no row.
    """
    import pandas as pd
    import pyarrow as pa

    frame = rows.select(["sample_id", "status"]).to_pandas()
    joined = frame.merge(
        attributes.drop_duplicates("sample_id"), on="sample_id", how="left", validate="many_to_one"
    )
    found = [_counts(joined["status"], pd.Series("all", index=joined.index), "all")]
    for rule in groups:
        grouping = assign_groups(rule, joined)
        names = pd.Series([grouping.groups[code] if code >= 0 else "unknown" for code in grouping.codes])
        found.append(_counts(joined["status"], names, rule.name))
    return pa.Table.from_pandas(pd.concat(found, ignore_index=True), schema=FAILURES, preserve_index=False)


def _counts(status: pd.Series[str], group: pd.Series[str], attribute: str) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({"group": group.to_numpy(), "status": status.to_numpy()})
    totals = frame.groupby("group").size()
    failed = frame[~frame["status"].isin(NOT_FAILURES)]
    counts = (
        failed.groupby(["group", "status"])
        .size()
        .rename("rows")
        .reset_index()
        .sort_values(["group", "status"])
    )
    counts.insert(0, "attribute", attribute)
    counts["share"] = counts["rows"].to_numpy(float) / totals.reindex(counts["group"]).to_numpy(float)
    return counts
