"""What a conversion noticed about its data that a reader of results must know; written to ``dataset.json``.

Guarantee: an audit describes and decides nothing: no sample, split or result depends on it. It is made of the rows of the
index and of the rejected samples alone, so it costs seconds for 100,000 samples, and the same rows give the same audit.

What is counted: subjects in two splits (none, by construction; counted all the same), pictures that are there twice or look
alike and belong to different subjects, equal pictures with different labels, unknown and contradictory attributes, classes and
rejected samples by group, and groups whose images differ in size or intensity before any model has seen them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shards.audit.findings import Audit
from shards.card import DatasetCard

__all__ = ["Audit", "audit"]


def audit(
    card: DatasetCard, rows: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]
) -> Audit:
    """Look through a dataset's rows.

    Parameters
    ----------
    card
        What the rows describe.
    rows, rejected
        Rows of ``index.parquet`` and ``rejected.parquet``.
    """
    import pandas as pd

    from shards.audit.alike import find_duplicates
    from shards.audit.groups import describe_attributes

    targets, attributes = [t.name for t in card.targets], [a.name for a in card.attributes]
    frame = pd.DataFrame.from_records([dict(row) for row in rows], columns=[*_COLUMNS, *targets, *attributes])
    left_out = pd.DataFrame.from_records([dict(row) for row in rejected], columns=["reason", *attributes])
    splits = frame.groupby("subject_id", sort=True)["split"].nunique()
    return Audit(
        samples=len(frame),
        subjects=len(splits),
        subjects_across_splits=tuple(str(name) for name in splits.index[splits > 1]),
        duplicates=find_duplicates(frame, targets),
        attributes=describe_attributes(card, frame, left_out),
    )


_COLUMNS = (
    *("sample_id", "subject_id", "split", "original_width", "original_height"),
    *("pixels_sha256", "phash", "phash_fine", "intensity_mean", "intensity_sd"),
)
