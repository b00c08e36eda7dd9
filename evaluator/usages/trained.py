"""Fit a head on frozen features and predict with it: what all trained usages share.

Guarantees: fitted on train, the epoch chosen on val, test never seen; rows are sorted by sample id, so neither shards nor row
order change a bit. Failed samples take no part and keep a row with nulls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from evaluator.mitigation.options import Erm, MitigationOptions
from evaluator.training.rows import TrainingRows
from evaluator.usages.labelled import LabelledRows, check_fit, held_out_rows, labelled_rows
from evaluator.usages.predictions import PredictionRows, true_labels
from evaluator.usages.training_options import FitOptions
from shards.card import Target
from shards.files import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

    from evaluator.training.head import Head

#: Group code of a sample whose group is unknown.
_UNKNOWN = -1


@dataclass(frozen=True)
class SampleGroups:
    """Which group each sample is in, for methods that use groups.

    Attributes
    ----------
    names
        All groups, also those without a sample.
    code
        Position in `names` by sample id; a sample that is not in it has no known group.
    """

    names: tuple[str, ...] = ()
    code: Mapping[str, int] | None = None

    def of(self, samples: tuple[str, ...] | list[str]) -> NDArray[np.int64]:
        """Return the codes ``[n]`` of some samples, -1 where unknown."""
        known = self.code or {}
        return np.array([known.get(sample, _UNKNOWN) for sample in samples], dtype=np.int64)


@dataclass(frozen=True)
class HeadPlan:
    """What a usage trains.

    Attributes
    ----------
    usage
        Its name, for messages.
    column
        Which features it reads.
    makes
        Builds a head for training rows, by what tells it from the others: the one with the lowest validation loss is taken.
        Random weights come from torch's global stream, which the loop seeds.
    every_class
        Whether the head knows all classes of the target (those made of texts do) or only those that train has.
    refine
        Makes something trainable of the head that was taken; None where it is done then.
    """

    usage: str
    column: Literal["embedding", "projected"]
    makes: Mapping[str, Callable[[TrainingRows], Head]]
    every_class: bool = False
    refine: Callable[[Head], Head] | None = None


@dataclass(frozen=True)
class TrainedHead:
    """A fitted head with what a reader must know of it.

    Attributes
    ----------
    head
        In evaluation mode.
    seen
        Positions of the target's classes that its outputs stand for.
    plan
        What it was made by.
    details
        Plain values: chosen epoch, validation losses, notes.
    groups_at_test
        Whether predictions are told the samples' groups; no other method sees them.
    """

    head: Head
    seen: tuple[int, ...]
    plan: HeadPlan
    details: Mapping[str, object]
    groups_at_test: bool = False

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the weights as named arrays; what is no array is UTF-8 JSON in ``details_json`` (uint8)."""
        state = {name: tensor.numpy() for name, tensor in self.head.state_dict().items()}
        details = {**self.details, "seen": list(self.seen)}
        return {**state, "details_json": np.frombuffer(canonical_json(details).encode(), dtype=np.uint8)}


def fit(
    embeddings: pa.Table,
    labels: Mapping[str, str | None],
    target: Target,
    plan: HeadPlan,
    options: FitOptions,
    method: MitigationOptions,
    groups: SampleGroups,
    *,
    seed: int = 0,
) -> TrainedHead:
    """Train heads on the train split and choose among them, and among epochs, on the val split.

    Parameters
    ----------
    embeddings
        Table of :func:`evaluator.tables.embeddings_schema`; rows in any order.
    labels
        True class name by sample id, None where unknown (such samples take no part).
    target
        What to predict.
    plan, options, method, groups, seed
        What is trained, how, and for whom.

    Raises
    ------
    UserError
        If train or val have no usable labelled sample, train has a single class, the method cannot work with these groups, or
        training diverges.
    """
    from evaluator.mitigation.registry import make_method
    from evaluator.training.loop import Trained, train

    rows, val = (labelled_rows(embeddings, labels, target, split, plan.column) for split in ("train", "val"))
    check_fit(plan.usage, rows, val, target)
    present = np.unique(rows.classes)
    seen = np.arange(len(target.classes)) if plan.every_class else present
    notes: list[str] = []
    usable = np.isin(val.classes, seen)
    if not usable.all():
        notes.append(
            f"{int((~usable).sum())} val samples of classes absent from train took no part in choosing the epoch"
        )
    if len(present) < len(target.classes):
        unseen = [name for k, name in enumerate(target.classes) if k not in present]
        notes.append(f"classes absent from train: {', '.join(unseen)}")
    training = _rows(rows, seen, target, groups)
    validation = _kept(_rows(val, seen, target, groups), usable)

    def trained_from(make: Callable[[], Head], by: MitigationOptions = method) -> Trained:
        return train(make, training, validation, options.recipe(), make_method(by), seed=seed)

    # What is only trained once it is chosen is chosen as it is: a method has nothing to change yet.
    first = method if plan.refine is None else Erm()
    found = {
        name: trained_from(functools.partial(make, training), first) for name, make in plan.makes.items()
    }
    chosen = min(found, key=lambda name: found[name].val_loss)
    trained = found[chosen]
    if plan.refine is not None:
        trained = trained_from(functools.partial(plan.refine, trained.head))
    details = {
        "target": target.name,
        "classes": list(target.classes),
        "mitigation": method.label,
        "chosen": chosen,
        "among": {name: one.val_loss for name, one in found.items()},
        "epoch": trained.epoch,
        "val_losses": list(trained.val_losses),
        "seed": seed,
        "notes": [*notes, *trained.notes],
    }
    return TrainedHead(trained.head, tuple(int(k) for k in seen), plan, details, method.groups_at_test)


def predict_table(
    trained: TrainedHead,
    embeddings: pa.Table,
    labels: Mapping[str, str | None],
    target: Target,
    groups: SampleGroups,
) -> pa.Table:
    """Predict the val and test rows.

    Parameters
    ----------
    trained
        From :func:`fit`.
    embeddings, labels, target, groups
        As for :func:`fit`.

    Returns
    -------
    pyarrow.Table
        Schema :data:`evaluator.tables.PREDICTIONS`, val and test rows in the table's order. A class that the head has never
        seen has probability 0 and a null logit.
    """
    from evaluator.training.loop import logits_of

    rows = held_out_rows(embeddings)
    builder = PredictionRows(rows, true_labels(rows, labels, target), target)
    features = builder.features(trained.plan.column).astype(np.float32)
    usable = [status == "ok" for status in rows["status"].to_pylist()]
    samples = [one for one, ok in zip(rows["sample_id"].to_pylist(), usable, strict=True) if ok]
    told = groups if trained.groups_at_test else SampleGroups()
    logits = np.zeros((len(features), len(target.classes)))
    if len(features):
        logits[:, list(trained.seen)] = logits_of(trained.head, features, told.of(samples))
    absent = sorted(set(range(len(target.classes))) - set(trained.seen))
    return builder.table(logits, absent)


def _rows(rows: LabelledRows, seen: NDArray[np.int64], target: Target, groups: SampleGroups) -> TrainingRows:
    """Return rows with classes numbered among those that the head knows; others get a number that is then left out."""
    return TrainingRows(
        features=rows.features.astype(np.float32),
        classes=np.searchsorted(seen, rows.classes),
        groups=groups.of(rows.samples),
        class_names=tuple(target.classes[k] for k in seen),
        group_names=groups.names,
    )


def _kept(rows: TrainingRows, usable: NDArray[np.bool_]) -> TrainingRows:
    return replace(
        rows, features=rows.features[usable], classes=rows.classes[usable], groups=rows.groups[usable]
    )
