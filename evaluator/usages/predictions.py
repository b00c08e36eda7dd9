"""From logits to rows of the predictions table: the part that zero-shot and every trained head share.

Guarantee: one row per input row, in the same order; a row without usable features keeps its status and gets
nulls; a row's numbers depend on that row's logits only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shards.card import Target
from shards.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def labels_of(index: pa.Table, target: Target) -> dict[str, str | None]:
    """Return the true class of every sample of a dataset's index, None where unknown.

    Raises
    ------
    UserError
        If the index lacks the target's column.
    """
    if target.name not in index.column_names:
        raise UserError(
            f"the index has no column {target.name!r} for the target of that name (found: "
            f"{', '.join(index.column_names)}). Convert the dataset again."
        )
    return dict(zip(index["sample_id"].to_pylist(), index[target.name].to_pylist(), strict=True))


def true_labels(embeddings: pa.Table, labels: Mapping[str, str | None], target: Target) -> list[str | None]:
    """Return the true class of every row of an embeddings table, checked against the target's classes.

    Raises
    ------
    UserError
        If a sample has no entry in `labels`, or a class that the target does not have.
    """
    found: list[str | None] = []
    for sample in embeddings["sample_id"].to_pylist():
        if sample not in labels:
            raise UserError(
                f"sample {sample!r} has an embedding but no entry in the labels of target {target.name!r}. "
                "The embeddings and the index belong to different versions of the dataset; compute the "
                "embeddings again."
            )
        label = labels[sample]
        if label is not None and label not in target.classes:
            raise UserError(
                f"label of sample {sample!r} must be one of {', '.join(target.classes)} (target "
                f"{target.name!r}) or null, got {label!r}. Correct the dataset and convert it again."
            )
        found.append(label)
    return found


class PredictionRows:
    """The rows of one embeddings table on their way into the predictions table.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema`.
    labels
        True class per row, None where unknown.
    target
        What is predicted.
    """

    def __init__(self, embeddings: pa.Table, labels: Sequence[str | None], target: Target) -> None:
        self._source = embeddings
        self._labels = labels
        self._target = target
        self._usable = np.array([status == "ok" for status in embeddings["status"].to_pylist()], dtype=bool)

    def features(self, column: str) -> NDArray[np.float64]:
        """Return ``[rows with status ok, D]`` float64 features of a column.

        Raises
        ------
        UserError
            If the table has no such column, or a usable row has a null or non-finite value.
        """
        return usable_features(self._source, column, self._usable)

    def table(self, logits: NDArray[np.float64], absent: Sequence[int] = ()) -> pa.Table:
        """Build the predictions table.

        Parameters
        ----------
        logits
            ``[rows with status ok, C]`` float64 in the order of the target's classes.
        absent
            Positions of classes that the predictor has never seen: probability 0 and a null logit.

        Returns
        -------
        pyarrow.Table
            Schema :data:`evaluator.tables.PREDICTIONS`. `predicted` is the class of the highest score, ties
            to the first. Rows whose logits are not finite get status ``nan_output``.
        """
        import pyarrow as pa

        from evaluator.tables import PREDICTIONS

        seen = np.ones(len(self._target.classes), dtype=bool)
        seen[list(absent)] = False
        scores = np.zeros(logits.shape)
        scores[:, seen] = softmax(logits[:, seen])
        finite = np.asarray(np.isfinite(logits[:, seen]).all(axis=1))
        cells = self._cells(logits, scores, finite, seen)
        source = self._source
        columns = {name: source[name] for name in ("sample_id", "subject_id", "split")}
        target = pa.array([self._target.name] * len(source), pa.string())
        columns |= {"target": target, "label": pa.array(self._labels, pa.string())}
        return pa.table({**columns, **cells}, schema=PREDICTIONS)

    def _cells(
        self,
        logits: NDArray[np.float64],
        scores: NDArray[np.float64],
        finite: NDArray[np.bool_],
        seen: NDArray[np.bool_],
    ) -> dict[str, pa.Array]:
        """Spread the usable rows' numbers over all rows."""
        import pyarrow as pa

        classes = self._target.classes
        positive = classes.index(self._target.positive) if self._target.positive is not None else None
        status, reason = self._source["status"].to_pylist(), self._source["reason"].to_pylist()
        size = len(status)
        predicted: list[str | None] = [None] * size
        score: list[float | None] = [None] * size
        lists: list[NDArray[np.float64] | None] = [None] * size
        raw: list[list[float | None] | None] = [None] * size
        for k, row in enumerate(np.flatnonzero(self._usable)):
            if not finite[k]:
                status[row], reason[row] = "nan_output", "the logits are not finite"
                continue
            predicted[row] = classes[int(scores[k].argmax())]
            score[row] = float(scores[k, positive]) if positive is not None else None
            lists[row] = scores[k]
            raw[row] = [float(v) if has else None for v, has in zip(logits[k], seen, strict=True)]
        return {
            "predicted": pa.array(predicted, pa.string()),
            "score": pa.array(score, pa.float32()),
            "scores": pa.array(lists, pa.list_(pa.float32())),
            "logits": pa.array(raw, pa.list_(pa.float32())),
            "status": pa.array(status, pa.string()),
            "reason": pa.array(reason, pa.string()),
        }


def usable_features(table: pa.Table, column: str, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return ``[rows.sum(), D]`` float64 of a fixed-size list column.

    Raises
    ------
    UserError
        If the column is absent, or one of the rows has a null or non-finite value.
    """
    import pyarrow as pa

    if column not in table.column_names:
        raise UserError(
            f"embeddings must have a column {column!r}, found: {', '.join(table.column_names)}. "
            + ("The model has no text tower; zero_shot needs one." if column == "projected" else "")
        )
    length = table.schema.field(column).type.list_size
    chosen = table[column].combine_chunks().filter(pa.array(rows))
    flat = chosen.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    if chosen.null_count or not np.isfinite(flat).all():
        bad = [
            vector is None or not np.isfinite(np.array(vector, float)).all() for vector in chosen.to_pylist()
        ]
        ids = table["sample_id"].to_numpy()[rows][np.array(bad)]
        raise UserError(
            "features of samples with status ok must be finite numbers, got null or NaN in column "
            f"{column!r} (first of {len(ids)} such samples: {ids[0]!r}). Compute the embeddings again."
        )
    return np.asarray(flat.reshape(-1, length))


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the soft-max over the last axis, without overflow; rows with NaN stay NaN."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
