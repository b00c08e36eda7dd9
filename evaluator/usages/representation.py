"""Representation: how well the groups of a sensitive attribute can be read off frozen features.

The groups of an attribute become the classes of a target, ``attribute:sex``, which a linear probe predicts as it would a
disease (:mod:`evaluator.usages.linear_probe`, with all its guarantees: fitted on train, C chosen on val). Its AUC says how much
of the attribute a linear reader finds in the features: 0.5 is nothing.

Scope: that an attribute can be read is no harm by itself, and that it can be read better in one group than in another is none
either. These predictions are a question of their own: no ranking of models for a disease and no family of tests holds them.
A sample whose group is unknown takes no part in the fit and in the numbers; it keeps its row.

References
----------
Glocker et al. 2023, "Algorithmic encoding of protected characteristics in chest X-ray disease detection models"; Gichoya et
al. 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from evaluator.groups import Grouping, GroupRule, assign_groups
from evaluator.usages.options import LinearProbeOptions, RepresentationOptions
from shards.card import Target
from shards.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "attribute:"


@dataclass(frozen=True)
class Probing:
    """An attribute as something to predict.

    Attributes
    ----------
    target
        Named ``attribute:<rule>``; its classes are the groups that some sample is in, in the order of the tables. Of two groups
        the last is the positive one (the AUC is the same for either).
    labels
        Group by sample id; None where unknown.
    """

    target: Target
    labels: dict[str, str | None]


def target_name(rule: GroupRule) -> str:
    """Return the name of an attribute's target.

    Examples
    --------
    >>> from evaluator.groups import parse_groups
    >>> target_name(parse_groups({"sex": {}})[0])
    'attribute:sex'
    """
    return f"{PREFIX}{rule.name}"


def probing(rule: GroupRule, index: pa.Table) -> Probing:
    """Turn an attribute into a target.

    Parameters
    ----------
    rule
        The attribute and its groups.
    index
        The dataset's index: all samples, with `sample_id` and the raw attributes.

    Raises
    ------
    UserError
        If fewer than two groups have a sample, or the attribute cannot be grouped.
    """
    grouping = _grouping(rule, index)
    classes = _used(grouping)
    if len(classes) < 2:
        raise UserError(
            f"representation of {rule.name!r} needs samples of at least two groups, found {', '.join(classes) or 'none'}."
            " Leave it out of representation.attributes."
        )
    names = [grouping.groups[code] if code >= 0 else None for code in grouping.codes]
    target = Target(target_name(rule), classes, classes[-1] if len(classes) == 2 else None)
    return Probing(target, dict(zip(index["sample_id"].to_pylist(), names, strict=True)))


def groups_with_samples(rule: GroupRule, index: pa.Table, split: str | None = None) -> tuple[str, ...]:
    """Return the groups of a rule that some sample (of a split) is in, in the order of the tables.

    Raises
    ------
    UserError
        If the attribute cannot be grouped.
    """
    grouping = _grouping(rule, index)
    if split is None:
        return _used(grouping)
    inside = np.array([value == split for value in index["split"].to_pylist()], bool)
    return _used(replace(grouping, codes=grouping.codes[inside]))


def _grouping(rule: GroupRule, index: pa.Table) -> Grouping:
    return assign_groups(rule, index.select(["sample_id", *dict.fromkeys(rule.columns)]).to_pandas())


def _used(grouping: Grouping) -> tuple[str, ...]:
    return tuple(grouping.groups[code] for code in np.unique(grouping.codes[grouping.codes >= 0]))


def probe_options(options: RepresentationOptions) -> LinearProbeOptions:
    """Return what the linear probe is fitted with."""
    return LinearProbeOptions(grid=options.grid, class_weight=options.class_weight)


def probed(options: RepresentationOptions, rules: tuple[GroupRule, ...]) -> tuple[GroupRule, ...]:
    """Choose the rules that are probed: those named, by default every single attribute (no intersection)."""
    if options.attributes is None:
        return tuple(rule for rule in rules if len(rule.parts) == 1)
    wanted = {name.casefold() for name in options.attributes}
    return tuple(rule for rule in rules if rule.name.casefold() in wanted)
