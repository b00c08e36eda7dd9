"""How many rows there are, how many of them were measured, and what the others lack; also by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.auditing.layout import Layout, Part
from evaluator.measure.cohort import MEASURED
from evaluator.reasons import reason_words

if TYPE_CHECKING:
    import pandas as pd

#: Status of rows without a true class in the table of what was left out; they are lost to the audit, but nobody's failure.
NO_CLASS = "no_label"
_LACKING = {
    "no_score": "without a score",
    "no_target": "without a true class",
    NO_CLASS: "without a true class",
    "no_mask": "without a true mask",
}


@dataclass(frozen=True)
class Coverage:
    """Rows of one result.

    Attributes
    ----------
    result
        Values of the keys that name it.
    rows, measured
        How many there are, and how many of them have numbers.
    lacking
        What the others lack, in words -> how many.
    split
        Whether they are the test rows of a table that has others too.
    """

    result: Mapping[str, Any]
    rows: int
    measured: int
    lacking: Mapping[str, int]
    split: bool

    @property
    def sentence(self) -> str:
        """All of it, e.g. ``800 rows: 712 measured, 45 without a score, 43 without a true class``."""
        kind = "test rows" if self.split else "rows"
        if not self.lacking:
            return f"{self.rows:,} {kind}, all measured"
        told = [
            f"{self.measured:,} measured",
            *(f"{count:,} {words}" for words, count in self.lacking.items()),
        ]
        return f"{self.rows:,} {kind}: {', '.join(told)}"


def lacking_words(status: str) -> str:
    """Return what a row of a status lacks."""
    return _LACKING.get(status) or f"left out ({reason_words(status)})"


def coverage_of(layout: Layout) -> tuple[Coverage, ...]:
    """Count the measured split's rows of every part."""
    split = any(role.role == "split" and role.columns for role in layout.said)
    return tuple(_of(part, split) for part in layout.parts)


def _of(part: Part, split: bool) -> Coverage:
    rows = _measured_split(part)
    words = np.array([_words(part, status) for status in rows["status"]], dtype=object)
    if part.mask_metrics:
        without = rows[part.mask_metrics[0]].isna().to_numpy() & (words == "")
        words[without] = f"without {part.mask_metrics[0]}"
    names, counts = np.unique(words[words != ""].astype(str), return_counts=True)
    lacking = dict(sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda item: -item[1]))
    named = {**vars(part.keys), "target": part.target.name if part.target else None}
    if part.mask_metrics:
        named["structure"] = str(rows["structure"].iloc[0]) if len(rows) else part.keys.structure
    return Coverage(named, len(rows), int((words == "").sum()), lacking, split and part.target is not None)


def _words(part: Part, status: str) -> str:
    if status in MEASURED:
        return ""
    if status == "no_score" and not part.scored:
        return "without a predicted class"
    return lacking_words(status)


def _measured_split(part: Part) -> pd.DataFrame:
    return part.rows if part.target is None else part.rows[part.rows["split"] == "test"]


def losses(part: Part, layout: Layout) -> pd.DataFrame:
    """Count the rows that could not be measured, by group.

    Shares of failures are of the rows that should have been measured; those of rows without a true class are of all rows.

    Returns
    -------
    DataFrame
        Schema :data:`evaluator.tables.FAILURES` with dataset, model, usage and target in front.
    """
    import pandas as pd

    from evaluator.tables import FAILURES, NOT_FAILURES

    rows = _measured_split(part)
    status = rows["status"]
    eligible = rows[status.isin(MEASURED) | ~status.isin(NOT_FAILURES)]
    labels = rows.assign(status=np.where(status == "no_target", NO_CLASS, "ok"))
    found = [
        _by_group(some, part, layout)
        for some in (eligible, labels)
        if not some["status"].isin(NOT_FAILURES).all()
    ]
    none: pd.DataFrame = FAILURES.empty_table().to_pandas()
    frame = pd.concat(found, ignore_index=True) if found else none
    names: Sequence[Any] = (
        part.keys.dataset,
        part.keys.model,
        part.keys.usage,
        part.target and part.target.name,
    )
    for place, (name, value) in enumerate(zip(("dataset", "model", "usage", "target"), names, strict=True)):
        frame.insert(place, name, value or "")
    return frame


def _by_group(rows: pd.DataFrame, part: Part, layout: Layout) -> pd.DataFrame:
    import pyarrow as pa

    from evaluator.failures import count_failures

    table = pa.table({name: pa.array(rows[name], pa.string()) for name in ("sample_id", "status")})
    attributes = layout.attributes[str(part.keys.dataset)]
    frame: pd.DataFrame = count_failures(table, attributes, layout.rules).to_pandas()
    return frame
