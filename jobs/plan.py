"""From a study to its tasks: what to do, what cannot be done and why, and what it will cost.

Planning reads descriptions only (cards, ``dataset.json``, the index): it imports no torch and starts nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluator.models.registry import Registry, default_registry
from evaluator.models.weights import LocatedWeights, MissingWeights, locate
from jobs.combination import Combination
from jobs.kinds import USAGES, family, measure
from jobs.study import DatasetEntry, ModelEntry, Study
from jobs.task import Task
from shards.card import Target
from shards.dataset import Dataset, Shard, open_dataset
from shards.errors import UserError, unknown_name

if TYPE_CHECKING:
    from evaluator.groups import GroupRule
    from evaluator.measure import MeasureSettings
    from evaluator.models.card import ModelCard


@dataclass(frozen=True)
class PlanOptions:
    """What the command line adds to a study. Nothing here changes a result that is computed.

    Attributes
    ----------
    limit
        Use only whole shards of each split up to this many samples. The results are those of another study,
        ``<study>-limit-<n>``, so that a trial never replaces the tables and the report of the whole.
    models, datasets
        Globs; only matching entries of the study are planned.
    offline
        Never ask a hub for weights.
    batch_size
        Images decoded and moved to the device at once.
    """

    limit: int | None = None
    models: str = "*"
    datasets: str = "*"
    offline: bool = True
    batch_size: int = 32


@dataclass(frozen=True)
class Plan:
    """The tasks of a study.

    Attributes
    ----------
    study
        What was planned; under another name if it was limited (see :class:`PlanOptions`).
    tasks
        In an order in which every task comes after those it reads.
    datasets
        The opened datasets, by their name in the study.
    cards
        The models that take part, by name.
    skipped
        Combinations that make no sense, one line each.
    blocked
        Models whose weights are missing or wrong and datasets that could not be converted, one message each; the rest of
        the study runs.
    groups
        The rules that form the groups, as they apply to each dataset.
    """

    study: Study
    tasks: tuple[Task, ...]
    datasets: Mapping[str, Dataset]
    cards: Mapping[str, tuple[ModelCard, LocatedWeights]]
    skipped: tuple[str, ...]
    blocked: tuple[str, ...]
    groups: Mapping[str, tuple[GroupRule, ...]]


def check_names(study: Study, options: PlanOptions) -> None:
    """Refuse unknown models, also as the baseline, and globs that match nothing, before anything is converted.

    Raises
    ------
    UserError
        Names the nearest names that exist.
    """
    registry = default_registry()
    models = [_model_name(registry, entry) for entry in study.models]
    if study.measure.baseline not in (None, *models):
        raise unknown_name("model of measure.baseline:", str(study.measure.baseline), models)
    for name in study.measure.standardize:
        if name.casefold() not in {"target", *(attribute.casefold() for attribute in study.attributes)}:
            raise unknown_name("attribute of measure.standardize:", name, ["target", *study.attributes])
    for what, glob, names in (
        ("models", options.models, models),
        ("datasets", options.datasets, list(study.datasets)),
    ):
        if not any(fnmatch.fnmatch(name, glob) for name in names):
            raise UserError(f"--{what} {glob!r} matches none of the study's {what}: {', '.join(names)}.")


def make_plan(
    study: Study, options: PlanOptions, *, hashes: Path | None = None, leave_out: Collection[str] = ()
) -> Plan:
    """Plan a study whose datasets are converted.

    Parameters
    ----------
    study
        The study.
    options
        Limits and filters.
    hashes
        File that remembers the hashes of weight files, so that large ones are read once.
    leave_out
        Names of datasets that are not planned, because they are not converted yet.

    Raises
    ------
    UserError
        For an unknown model, a dataset that is not converted, an attribute or target that a dataset lacks, or a study in
        which no combination is possible.
    """
    datasets = {
        name: open_dataset(entry.shards)
        for name, entry in study.datasets.items()
        if fnmatch.fnmatch(name, options.datasets) and name not in leave_out
    }
    _refuse_twins(datasets)
    cards, blocked = _models(study, options, hashes)
    skipped: list[str] = []
    groups = {name: _groups(study, name, datasets, skipped) for name in datasets}
    if study.measure.view is not None:
        for name, dataset in datasets.items():
            skipped += _told_of_view(name, dataset, groups[name], study.measure)
    tasks: dict[str, Task] = {}
    for name, dataset in datasets.items():
        for card, weights in cards.values():
            combination = Combination(
                name=name,
                dataset=dataset,
                shards=_limited(dataset, options.limit),
                card=card,
                weights=weights,
                precision=study.precision,
                targets=_targets(name, study.datasets[name], dataset),
                groups=groups[name],
                batch_size=options.batch_size,
            )
            for task in _of_combination(study, combination, skipped, blocked):
                tasks[task.id] = _joined(tasks.get(task.id), task)
    for task in measure.plan(list(tasks.values()), groups, study.measure):
        tasks[task.id] = task
    for task in family.plan(list(tasks.values()), datasets, study.measure):
        tasks[task.id] = task
    if not tasks and not blocked:
        raise UserError(
            "nothing to do: no model of the study can do any of its usages.\n" + "\n".join(skipped)
        )
    if options.limit is not None:
        study = study.model_copy(update={"study": f"{study.study}-limit-{options.limit}"})
    said = tuple(dict.fromkeys(skipped))
    return Plan(study, tuple(tasks.values()), datasets, cards, said, tuple(blocked), groups)


def _of_combination(
    study: Study, combination: Combination, skipped: list[str], blocked: list[str]
) -> Iterator[Task]:
    for name, options in study.usages.items():
        usage = USAGES[name]
        if usage.ability not in combination.card.abilities:
            skipped.append(f"{combination.card.name} cannot do {name}: {usage.lacking}.")
        elif not getattr(combination.dataset.card, usage.field):
            skipped.append(f"{combination.name} has no {usage.field}: {name} is left out.")
        else:
            skipped += usage.left_out(combination, options)
            try:
                yield from usage.plan(combination, options)
            except MissingWeights as error:  # of the text tower: what needs no texts runs
                blocked.append(str(error))


def _joined(old: Task | None, new: Task) -> Task:
    """Unite two plans of one task that cover different parts (embeddings for zero-shot and for a probe)."""
    if old is None or set(new.parts) <= set(old.parts):
        return old or new
    if set(old.parts) <= set(new.parts):
        return new
    return replace(new, parts=tuple(dict.fromkeys([*old.parts, *new.parts])))


def _model_name(registry: Registry, entry: ModelEntry) -> str:
    """Return the model's own name; one that is described by files which are not here keeps the study's, see :func:`_models`."""
    try:
        return registry.card(entry.name).name
    except MissingWeights:
        return entry.name


def _models(
    study: Study, options: PlanOptions, hashes: Path | None
) -> tuple[dict[str, tuple[ModelCard, LocatedWeights]], list[str]]:
    registry = default_registry()
    found: dict[str, tuple[ModelCard, LocatedWeights]] = {}
    blocked: list[str] = []
    for entry in study.models:
        try:
            card = _with_file(registry.card(entry.name), entry)
        except MissingWeights as error:  # a repository that is described by its files, which are not here
            if fnmatch.fnmatch(entry.name, options.models):
                blocked.append(str(error))
            continue
        if not fnmatch.fnmatch(card.name, options.models):
            continue
        if card.name in found:
            raise UserError(f"model {card.name!r} appears twice in the study. Name it once.")
        try:
            found[card.name] = (
                card,
                _located(locate(card, study.weights, offline=options.offline, hashes=hashes)),
            )
        except UserError as error:
            blocked.append(str(error))
    return found, blocked


def _located(weights: LocatedWeights) -> LocatedWeights:
    """Make the paths absolute: a worker may run in another folder."""
    if weights.path is None:
        return weights
    tokenizer = None if weights.tokenizer is None else weights.tokenizer.absolute()
    return replace(weights, path=weights.path.absolute(), tokenizer=tokenizer)


def _refuse_twins(datasets: Mapping[str, Dataset]) -> None:
    """Refuse one content under two names: its results are the same tasks, and one name would vanish from the tables."""
    names: dict[str, str] = {}
    for name, dataset in datasets.items():
        other = names.setdefault(dataset.fingerprint, name)
        if other != name:
            raise UserError(
                f"datasets {other!r} and {name!r} hold the same samples (fingerprint {dataset.fingerprint[:16]}). "
                "Name them once, with the targets of both."
            )


def _with_file(card: ModelCard, entry: ModelEntry) -> ModelCard:
    if entry.weights is None:
        return card
    return replace(card, weights=replace(card.weights, file=str(entry.weights.absolute()), shipped=False))


def _limited(dataset: Dataset, limit: int | None) -> tuple[Shard, ...]:
    """Take whole shards of each split until `limit` samples are reached."""
    if limit is None:
        return dataset.shards
    kept: list[Shard] = []
    for split in dict.fromkeys(shard.split for shard in dataset.shards):
        samples = 0
        for shard in (s for s in dataset.shards if s.split == split):
            if samples >= limit:
                break
            kept.append(shard)
            samples += shard.samples
    return tuple(kept)


def _targets(name: str, entry: DatasetEntry, dataset: Dataset) -> tuple[Target, ...]:
    if entry.targets is None:
        return dataset.card.targets
    known = {target.name: target for target in dataset.card.targets}
    for wanted in entry.targets:
        if wanted not in known:
            raise unknown_name(f"target of dataset {name!r}", wanted, known)
    return tuple(known[wanted] for wanted in entry.targets)


def _groups(
    study: Study, name: str, datasets: Mapping[str, Dataset], skipped: list[str]
) -> tuple[GroupRule, ...]:
    """Return the rules as they apply to a dataset; what no dataset of the study has is an error.

    When some datasets of the study are left out, they may have it.
    """
    from evaluator.presets import NotRecorded, fit, refuse_unknown

    card = datasets[name].card
    kept: dict[str, GroupRule] = {}
    for rule in study.groups():
        if len(datasets) == len(study.datasets):
            refuse_unknown(rule, [dataset.card for dataset in datasets.values()])
        try:
            fitted = fit(rule, card)
        except NotRecorded as why:
            skipped.append(f"{name} {why}: no groups by {rule.name}.")
            continue
        if fitted.name in kept:
            raise UserError(f"attribute {fitted.name!r} of {name} is named twice in the study. Name it once.")
        kept[fitted.name] = fitted
        skipped += _without_gap(name, datasets[name], fitted, study.measure.split)
    return tuple(kept.values())


def _without_gap(name: str, dataset: Dataset, rule: GroupRule, split: str) -> Iterator[str]:
    """Say that the measured samples are all in one group, so that nobody takes a missing gap for fairness."""
    from evaluator.usages.representation import groups_with_samples

    index = dataset.index
    try:
        present = groups_with_samples(rule, index, split)
    except UserError as error:
        raise UserError(f"dataset {name!r}: {error}") from None
    if len(present) < 2 and split in index["split"].to_pylist():
        found = f"all known {split} samples are in group {present[0]!r}" if present else "no group is known"
        yield f"{name}: {found} of {rule.name}; there are no gaps by it, which says nothing about fairness."


def _told_of_view(
    name: str, dataset: Dataset, groups: tuple[GroupRule, ...], settings: MeasureSettings
) -> Iterator[str]:
    """Say where a view is not possible, or so small that nothing can be judged on it."""
    from evaluator.groups import assign_groups
    from evaluator.views import parse_view, smallest

    view = parse_view(settings.view or "")
    rule = measure.view_rule(view, groups)
    if rule is None:
        yield f"{name} has no groups by {view.attribute}: nothing is measured on view {view.name}."
        return
    columns = dict.fromkeys(["subject_id", "split", *rule.columns])
    frame = dataset.index.select(list(columns)).to_pandas()
    measured = (frame["split"] == settings.split).to_numpy(bool)
    grouping = assign_groups(rule, frame)
    inside = replace(grouping, codes=grouping.codes[measured])
    least = smallest(view, frame.loc[measured, "subject_id"].tolist(), inside)
    if least is not None and least[1] < settings.minimum_subjects:
        yield (
            f"{name}: view {view.name} keeps {least[1]} {view.units} of each group, as many as {least[0]!r} has. Put"
            " small groups together (values), or leave them out (otherwise: unknown)."
        )


def find_tasks(plan: Plan, kinds: Sequence[str]) -> tuple[Task, ...]:
    """Return the tasks of some kinds, in plan order."""
    return tuple(task for task in plan.tasks if task.kind in kinds)
