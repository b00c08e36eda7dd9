"""What fits on frozen features read: the usable, labelled rows of a split, in an order of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from evaluator.usages.predictions import true_labels, usable_features
from shards.card import Target
from shards.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LabelledRows:
    """Usable, labelled rows of one split, sorted by sample id.

    Attributes
    ----------
    features
        ``[n, D]`` float64.
    classes
        ``[n]`` position of the class in the target.
    subjects, samples
        ``[n]`` ids.
    """

    features: NDArray[np.float64]
    classes: NDArray[np.int64]
    subjects: NDArray[np.object_]
    samples: tuple[str, ...]


def labelled_rows(
    embeddings: pa.Table,
    labels: Mapping[str, str | None],
    target: Target,
    split: str,
    column: Literal["embedding", "projected"] = "embedding",
) -> LabelledRows:
    """Pick a split's usable, labelled rows.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema`; rows in any order.
    labels
        True class name by sample id, None where unknown (such samples take no part).
    target, split
        Which.
    column
        The features: before the projection, or in the space of the text tower.

    Raises
    ------
    UserError
        If a label or feature is invalid, or there is no such column.
    """
    import pyarrow.compute as pc

    rows = embeddings.filter(
        pc.and_(pc.equal(embeddings["split"], split), pc.equal(embeddings["status"], "ok"))
    ).sort_by("sample_id")
    names = true_labels(rows, labels, target)
    known = np.array([name is not None for name in names], dtype=bool)
    order = {name: k for k, name in enumerate(target.classes)}
    samples = rows["sample_id"].to_pylist()
    return LabelledRows(
        features=usable_features(rows, column, known),
        classes=np.array([order[name] for name in names if name is not None], dtype=np.int64),
        subjects=np.array(rows["subject_id"].to_pylist(), dtype=object)[known],
        samples=tuple(sample for sample, has in zip(samples, known.tolist(), strict=True) if has),
    )


def held_out_rows(embeddings: pa.Table) -> pa.Table:
    """Return the rows that are predicted: those of val and test, in the table's order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return embeddings.filter(pc.is_in(embeddings["split"], value_set=pa.array(["val", "test"], pa.string())))


def check_fit(usage: str, train: LabelledRows, val: LabelledRows, target: Target) -> None:
    """Refuse what cannot be fitted, saying why.

    Raises
    ------
    UserError
        If train or val have no row, or train has a single class.
    """
    name = f"target {target.name!r}"
    for split, part in (("train", train), ("val", val)):
        if len(part.classes) == 0:
            raise UserError(
                f"{usage} of {name} needs {split} samples with a label and usable features, found none. "
                f"Check the split and the column {target.name!r} of the index, or leave the target out."
            )
    present = np.unique(train.classes)
    if len(present) < 2:
        raise UserError(
            f"{usage} of {name} needs at least two classes in train, found only "
            f"{target.classes[present[0]]!r} ({len(train.classes)} samples). Split the dataset again or "
            "leave the target out."
        )
    if not np.isin(val.classes, present).any():
        raise UserError(
            f"no val sample of target {target.name!r} has a class that train has: {usage} cannot choose anything on val."
        )
