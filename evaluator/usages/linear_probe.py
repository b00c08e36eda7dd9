"""Linear probe: logistic regression on frozen features.

Guarantees: fitted on the train split only, with C chosen by log-loss on the val split (classes weigh there as
in the fit; the path from strong to weak regularisation ends once the loss has not improved for four values);
the test split never enters :func:`fit` beyond being filtered out. Rows are sorted by sample id and computed in
float64 on one thread, so neither shards nor row order change a bit. Failed samples take no part; they keep a
row with nulls in the predictions.

Seeds: the problem is convex, so a random start would change nothing. Seed 0 is the fit on all training
subjects; every seed >= 1 refits (C included) on a bootstrap of the training *subjects*, drawn with
replacement and used as sample weights. The spread over seeds is therefore training variance: what another
training set of this size would have changed.

Trade-off: val is not added to the training data after C is chosen, so that it stays honest for thresholds and
calibration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluator.usages.labelled import LabelledRows, check_fit, held_out_rows, labelled_rows
from evaluator.usages.logistic import LogisticFit, fit_path, linear_scores, log_loss
from evaluator.usages.options import LinearProbeOptions
from evaluator.usages.predictions import PredictionRows, true_labels
from shards.card import Target
from shards.errors import UserError
from shards.files import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Values of C without improvement after which the path ends: past its minimum the validation loss grows, and
#: the weakest penalties cost most.
_PATIENCE = 4
#: Draws after which a bootstrap that never holds every class is given up.
_MAX_DRAWS = 1000


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: all that is needed to predict, and how it came to be.

    Attributes
    ----------
    target, classes
        What it predicts, in the target's order.
    seen
        Positions of the classes that the training subjects have; the K rows of `coef`.
    coef, intercept
        ``[K, D]`` and ``[K]`` float64 for standardised features.
    mean, scale
        ``[D]`` train statistics; `scale` is 1 where a feature is constant.
    c, n_iter, converged
        The chosen C, its solver iterations, and whether every fit of the path converged.
    grid, val_log_loss
        The values of C tried (ascending; the path ends after four values without improvement), and the
        validation log-loss of each.
    seed
        0: all training subjects; otherwise the bootstrap's number.
    notes
        What a reader must know (C at the grid's edge, classes never seen, ...).
    """

    target: str
    classes: tuple[str, ...]
    seen: tuple[int, ...]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    c: float
    n_iter: int
    converged: bool
    grid: tuple[float, ...]
    val_log_loss: tuple[float, ...]
    seed: int
    notes: tuple[str, ...] = ()

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return everything as named arrays; what is no array is UTF-8 JSON in ``details_json`` (uint8)."""
        rest = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return {**arrays, _DETAILS: np.frombuffer(canonical_json(rest).encode(), dtype=np.uint8)}


def fit(
    embeddings: pa.Table,
    labels: Mapping[str, str | None],
    target: Target,
    options: LinearProbeOptions,
    *,
    seed: int = 0,
) -> LinearProbe:
    """Fit a probe on the train split and choose C on the val split.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema`; rows in any order.
    labels
        True class name by sample id, None where unknown (such samples take no part).
    target
        What to predict.
    options
        Grid of C and class weights.
    seed
        0 for all training subjects, >= 1 for a bootstrap of them (see the module's text).

    Returns
    -------
    LinearProbe
        Of the C with the lowest validation log-loss; ties to the smallest C.

    Raises
    ------
    UserError
        If train or val have no usable labelled sample, train has a single class, all features are constant,
        or a label or feature is invalid.
    """
    train, val = (labelled_rows(embeddings, labels, target, split) for split in ("train", "val"))
    check_fit("linear_probe", train, val, target)
    notes: list[str] = []
    counts = _subject_counts(train, seed)
    kept = counts > 0
    of_class = _class_weights(
        train.classes[kept], counts[kept], options.class_weight, width=len(target.classes)
    )
    weights = counts[kept] * of_class[train.classes[kept]]
    features = train.features[kept]
    mean, scale = _standardisation(features, counts[kept], target)
    seen = np.unique(train.classes)
    val_known = np.isin(val.classes, seen)
    if not val_known.all():
        notes.append(
            f"{int((~val_known).sum())} val samples of classes absent from train took no part in choosing C"
        )
    val_features = (val.features[val_known] - mean) / scale
    val_columns = np.searchsorted(seen, val.classes[val_known])
    val_weights = of_class[val.classes[val_known]]
    path: list[LogisticFit] = []
    losses: list[float] = []
    for one in fit_path((features - mean) / scale, train.classes[kept], weights=weights, grid=options.grid):
        path.append(one)
        logits = linear_scores(val_features, one.coef, one.intercept)
        losses.append(log_loss(logits, val_columns, weights=val_weights))
        if len(losses) - 1 - int(np.argmin(losses)) >= _PATIENCE:
            break
    best = int(np.argmin(losses))
    notes += _path_notes(path, best, options.grid, target, seen)
    return LinearProbe(
        target=target.name,
        classes=target.classes,
        seen=tuple(int(k) for k in seen),
        coef=path[best].coef,
        intercept=path[best].intercept,
        mean=mean,
        scale=scale,
        c=path[best].c,
        n_iter=path[best].n_iter,
        converged=all(one.converged for one in path),
        grid=tuple(one.c for one in path),
        val_log_loss=tuple(losses),
        seed=seed,
        notes=tuple(notes),
    )


def predict_table(
    probe: LinearProbe, embeddings: pa.Table, labels: Mapping[str, str | None], target: Target
) -> pa.Table:
    """Predict the val and test rows.

    Parameters
    ----------
    probe
        From :func:`fit`.
    embeddings, labels, target
        As for :func:`fit`.

    Returns
    -------
    pyarrow.Table
        Schema :data:`evaluator.tables.PREDICTIONS`, val and test rows in the table's order. A class that
        training never saw has probability 0 and a null logit.

    Raises
    ------
    UserError
        If the features have another length than the probe's, or a label is invalid.
    """
    rows = held_out_rows(embeddings)
    builder = PredictionRows(rows, true_labels(rows, labels, target), target)
    features = builder.features("embedding")
    if features.shape[1] != len(probe.mean):
        raise UserError(
            f"features must have length {len(probe.mean)} as in training, got {features.shape[1]}. The probe "
            "belongs to another model; fit it again."
        )
    logits = np.zeros((len(features), len(target.classes)))
    logits[:, list(probe.seen)] = linear_scores(
        (features - probe.mean) / probe.scale, probe.coef, probe.intercept
    )
    absent = sorted(set(range(len(target.classes))) - set(probe.seen))
    return builder.table(logits, absent)


def to_safetensors(probe: LinearProbe) -> bytes:
    """Return the probe as a safetensors file; equal probes give equal bytes."""
    from safetensors.numpy import save

    return bytes(save(probe.to_tensors()))


def from_safetensors(data: bytes) -> LinearProbe:
    """Read what :func:`to_safetensors` wrote.

    Raises
    ------
    UserError
        If the bytes are not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
        rest = json.loads(tensors[_DETAILS].tobytes())
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in rest.items()}
        fields |= {name: tensors[name] for name in _ARRAYS}
        return LinearProbe(**fields)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"not a linear probe in safetensors form: {error}. Fit the probe again.") from error


_ARRAYS = ("coef", "intercept", "mean", "scale")
_DETAILS = "details_json"


def _subject_counts(train: LabelledRows, seed: int) -> NDArray[np.float64]:
    """Return how often each row counts: once, or as often as the bootstrap drew its subject.

    The generator is counter-based and keyed by the seed alone; its raw stream is part of the result's
    identity, so NumPy's changeable distributions are not used. Draws that lose a class are drawn again: such
    a training set could not have been used at all.
    """
    size = len(train.classes)
    if seed == 0:
        return np.ones(size)
    subjects, row_subject = np.unique(train.subjects, return_inverse=True)
    stream = np.random.Philox(key=seed)
    for _ in range(_MAX_DRAWS):
        drawn = stream.random_raw(len(subjects)) % np.uint64(len(subjects))
        counts = np.bincount(drawn.astype(np.int64), minlength=len(subjects))[row_subject]
        if len(np.unique(train.classes[counts > 0])) == len(np.unique(train.classes)):
            return counts.astype(np.float64)
    raise UserError(
        f"no bootstrap of {len(subjects)} training subjects holds every class in {_MAX_DRAWS} draws: some "
        "class has too few subjects. Use linear_probe.seeds: 1."
    )


def _class_weights(
    classes: NDArray[np.int64], counts: NDArray[np.float64], rule: str, *, width: int
) -> NDArray[np.float64]:
    """Return a weight per class: 1, or N / (K n_c) with counted rows (0 for a class without any)."""
    per_class = np.bincount(classes, weights=counts, minlength=width)
    if rule == "none":
        return np.ones(width)
    present = per_class > 0
    return np.where(present, counts.sum() / (present.sum() * np.where(present, per_class, 1.0)), 0.0)


def _standardisation(
    features: NDArray[np.float64], counts: NDArray[np.float64], target: Target
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and population standard deviation of the counted rows; 1 for a constant feature."""
    mean = np.average(features, axis=0, weights=counts)
    spread = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=counts))
    constant = features.min(axis=0) == features.max(axis=0)
    if constant.all():
        raise UserError(
            f"linear_probe of target {target.name!r}: all {features.shape[1]} features are constant over the "
            f"{len(features)} train samples. The model gives the same vector for every image; check its "
            "weights."
        )
    return mean, np.where(constant, 1.0, spread)


def _path_notes(
    path: list[LogisticFit], best: int, grid: tuple[float, ...], target: Target, seen: NDArray[np.int64]
) -> list[str]:
    """Say what is unusual about a path."""
    notes = []
    unseen = [name for k, name in enumerate(target.classes) if k not in seen]
    if unseen:
        notes.append(f"classes absent from train get probability 0: {', '.join(unseen)}")
    if len(grid) > 1 and best in (0, len(grid) - 1):
        end = "lower" if best == 0 else "upper"
        notes.append(f"the chosen C {path[best].c:g} lies at the {end} edge of the grid")
    late = [f"{one.c:g}" for one in path if not one.converged]
    if late:
        notes.append(f"the solver did not converge for C = {', '.join(late)}")
    return notes
