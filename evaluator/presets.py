"""Fits a study's rules of groups to one dataset: spelling of attributes, and the papers' groups by name.

A study names a preset once (``age: {preset: fairmedfm}``); what it means is on each dataset's card. A preset with the same
edges as written bins becomes the very same rule, so both are measured once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from evaluator.group_rules import UNKNOWN, GroupRule, GroupSpec, own_labels
from shards.card import DatasetCard, GroupPreset
from shards.errors import FairRayError, UserError, unknown_name


class NotRecorded(FairRayError):
    """A dataset lacks what a rule needs; the message is a clause without the dataset's name."""


def fit(rule: GroupRule, card: DatasetCard) -> GroupRule:
    """Return a rule as it applies to a dataset: attributes spelled as on the card, presets replaced by what they stand for.

    Raises
    ------
    NotRecorded
        If the dataset does not record an attribute, or its card has no preset of that name for it.
    UserError
        If the card's preset contradicts itself.

    Examples
    --------
    >>> from shards.card import Attribute
    >>> from evaluator.group_rules import parse_groups
    >>> card = DatasetCard("d", "1", "none", "none", "none", attributes=(Attribute("sex"),))
    >>> fit(parse_groups({"Sex": {}})[0], card).name
    'sex'
    """
    lacking = sorted(
        {p.attribute for p in rule.parts if p.preset is None and _recorded(p.attribute, card) is None}
    )
    if lacking:
        raise NotRecorded(f"does not record {' and '.join(lacking)}")
    parts = tuple(_fit_spec(part, card) for part in rule.parts)
    return GroupRule("*".join(part.attribute for part in parts), parts)


def presets_of(rule: GroupRule, card: DatasetCard) -> tuple[GroupPreset, ...]:
    """Return the presets of a card that a rule names, in its order."""
    return tuple(_preset(part, card) for part in rule.parts if part.preset is not None)


def refuse_unknown(rule: GroupRule, cards: Iterable[DatasetCard]) -> None:
    """Refuse an attribute or a preset that none of a study's datasets has.

    Raises
    ------
    UserError
        Names the attributes or the presets that there are.
    """
    cards = list(cards)
    for part in rule.parts:
        if part.preset is None:
            known = {attribute.name for card in cards for attribute in card.attributes}
            if all(_recorded(part.attribute, card) is None for card in cards):
                raise unknown_name("attribute", part.attribute, known)
        elif not any(_named(part, card) for card in cards):
            raise UserError(_no_preset_anywhere(part, cards))


def _no_preset_anywhere(part: GroupSpec, cards: list[DatasetCard]) -> str:
    there = {card.name: [f"{p.name} of {p.attribute}" for p in card.presets] for card in cards}
    told = "; ".join(f"{name}: {', '.join(presets) or 'none'}" for name, presets in sorted(there.items()))
    return (
        f"attribute {part.attribute!r}: no dataset of the study has a preset {part.preset!r} for it (presets: {told}). Name one"
        " of these, or form the groups with bins, groups or values."
    )


def _recorded(attribute: str, card: DatasetCard) -> str | None:
    """Return an attribute as the card spells it; None where there is none."""
    names = [known.name for known in card.attributes]
    if attribute in names:
        return attribute
    alike = [name for name in names if name.casefold() == attribute.casefold()]
    return alike[0] if len(alike) == 1 else None


def _fit_spec(spec: GroupSpec, card: DatasetCard) -> GroupSpec:
    if spec.preset is None:
        return replace(spec, attribute=_recorded(spec.attribute, card) or spec.attribute)
    preset = _preset(spec, card)
    column = None if preset.column == preset.attribute else preset.column
    _refuse_misfit(preset, card)
    if preset.bins:
        labels = own_labels(preset.labels, preset.bins, preset.closed)
        return GroupSpec(preset.attribute, preset.bins, closed=preset.closed, labels=labels, column=column)
    return GroupSpec(
        preset.attribute,
        labels=preset.labels,
        values=preset.values + ((),) * (len(preset.labels) - len(preset.values)),
        otherwise=preset.otherwise or UNKNOWN,
        column=column,
    )


def _preset(spec: GroupSpec, card: DatasetCard) -> GroupPreset:
    found = _named(spec, card)
    if found is None:
        others = [preset.name for preset in card.presets if _same(preset.attribute, spec.attribute)]
        has = f"it has {', '.join(others)}" if others else "it has none for it"
        raise NotRecorded(f"has no preset {spec.preset} of {spec.attribute} ({has})")
    return found


def _named(spec: GroupSpec, card: DatasetCard) -> GroupPreset | None:
    mine = [preset for preset in card.presets if _same(preset.attribute, spec.attribute)]
    return next((preset for preset in mine if _same(preset.name, spec.preset or "")), None)


def _same(one: str, other: str) -> bool:
    return one.casefold().replace("-", "_") == other.casefold().replace("-", "_")


def _refuse_misfit(preset: GroupPreset, card: DatasetCard) -> None:
    """Refuse a preset whose labels are not those of its bins or values."""
    bins = len(preset.bins) + 1 if preset.bins else 0
    groups = bins or max(len(preset.values), 1)
    rest = preset.otherwise in preset.labels  # its values are all others
    if len(preset.labels) == groups or (not bins and rest and len(preset.labels) == groups + 1):
        return
    raise UserError(
        f"preset {preset.name!r} of {preset.attribute!r} of dataset {card.name!r} has {len(preset.labels)} labels for"
        f" {groups} groups. Correct the dataset's adapter and convert again."
    )
