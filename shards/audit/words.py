"""An audit in plain words, the same for the command line and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from shards.audit.findings import UNKNOWN, Alike, AttributeAudit, Audit, Difference, Group
from shards.card import DatasetCard, Target

#: Shares of rejected samples are compared where the larger one is of so many samples, and told where it is twice the other.
_REJECTED, _TIMES = 10, 2
#: Targets of which the shares by group are told; where there are more, the table of groups has them.
_MOST_TARGETS = 3
_MEASURES = {
    "original_width": "width of the image",
    "original_height": "height of the image",
    "intensity_mean": "mean intensity",
    "intensity_sd": "spread of intensities",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    topic
        What was looked at.
    text
        What was found.
    notable
        Whether a reader of results should think about it.
    attribute
        The attribute that it is about; empty for none.
    """

    topic: str
    text: str
    notable: bool = False
    attribute: str = ""


def findings(audit: Audit, card: DatasetCard) -> tuple[Finding, ...]:
    """Put an audit into words.

    Parameters
    ----------
    audit
        What was found.
    card
        Of the same dataset.
    """
    return (
        *_splits(audit, card),
        *_duplicates(audit, card),
        *(
            replace(finding, attribute=attribute.name)
            for attribute in audit.attributes
            for finding in _attribute(attribute, audit, card)
        ),
    )


def _splits(audit: Audit, card: DatasetCard) -> Iterator[Finding]:
    torn = audit.subjects_across_splits
    text = f"No {card.subject} is in two splits ({_n(audit.subjects, card.subject)})."
    if torn:
        text = f"{_n(len(torn), card.subject)} in two splits: {_some(torn)}."
    yield Finding("Splits", text, bool(torn))


def _duplicates(audit: Audit, card: DatasetCard) -> Iterator[Finding]:
    found = audit.duplicates
    yield Finding("Same pixels", _alike(found.same, card, "have the same pixels"), found.same.pairs > 0)
    bound = "" if found.near_complete else " The search was given up early: there are more."
    text = _alike(found.near, card, "look alike, though their pixels differ") + bound
    yield Finding("Look alike", text, found.near.pairs > 0 or not found.near_complete)
    if found.conflicts:
        shown = "; ".join(
            f"{_some(one.samples)}: {one.target} is {' and '.join(one.classes)}"
            for one in found.conflict_examples[:3]
        )
        text = f"{_n(found.conflicts, 'picture')} with the same pixels and different labels, e.g. {shown}."
        yield Finding("Contradictory labels", text, True)
    if found.within_subjects:
        text = f"{_n(found.within_subjects, 'sample')} of a {card.subject} that has the same pixels already."
        yield Finding("Repeated images", text)
    if found.blank:
        yield Finding("Blank images", f"{_n(found.blank, 'sample')} of hardly any contrast.", True)


def _alike(alike: Alike, card: DatasetCard, what: str) -> str:
    if not alike.pairs:
        return f"No images of different {card.subject}s {what}."
    pairs = "; ".join(
        f"{' and '.join(pair.samples)} ({' and '.join(pair.splits)})" for pair in alike.examples[:3]
    )
    return (
        f"Images of different {card.subject}s {what}: {_n(alike.pairs, 'pair')} of {_n(alike.samples, 'sample')}, "
        f"{alike.across_splits:,} across splits, e.g. {pairs}."
    )


def _attribute(attribute: AttributeAudit, audit: Audit, card: DatasetCard) -> Iterator[Finding]:
    name = attribute.name
    splits = ", ".join(f"{split} {amount:,}" for split, amount in attribute.unknown_by_split.items())
    text = "Known for all samples."
    if attribute.unknown:
        text = f"Unknown for {_n(attribute.unknown, 'sample')} ({_share(attribute.unknown, audit.samples)}): {splits}."
    of_images = attribute.contradictory > 0.5 * audit.subjects  # the eye, the view, the camera
    if attribute.contradictory:
        text += f" {_n(attribute.contradictory, card.subject)} with more than one value"
        text += f": it is a property of images rather than of {card.subject}s." if of_images else "."
    doubtful = attribute.contradictory > 0 and not of_images
    yield Finding(name, text, doubtful or attribute.unknown > 0.05 * audit.samples)
    binary = [target for target in card.targets if target.positive is not None]
    for target in binary if len(binary) <= _MOST_TARGETS else ():
        yield from _positives(attribute, target)
    yield from _rejected(attribute)
    for difference in attribute.differences:
        if difference.notable:
            yield Finding(f"Images by {name}", _difference(difference, card), True)


def _positives(attribute: AttributeAudit, target: Target) -> Iterator[Finding]:
    shares = {
        group.name: positive_share(group, target) for group in attribute.groups if group.name != UNKNOWN
    }
    known = {name: share for name, share in shares.items() if share is not None}
    if len(known) < 2:
        return
    low, high = (pick(known, key=lambda name: known[name]) for pick in (min, max))
    text = f"Share of {target.positive}: from {known[low]:.1%} ({low}) to {known[high]:.1%} ({high}) of the samples."
    yield Finding(f"{target.name} by {attribute.name}", text)


def positive_share(group: Group, target: Target) -> float | None:
    """Return the share of the class of interest among a group's samples of known class; None where there are none."""
    classes = group.classes[target.name]
    known = sum(amount for name, amount in classes.items() if name)
    return classes.get(target.positive or "", 0) / known if known else None


def _rejected(attribute: AttributeAudit) -> Iterator[Finding]:
    """Tell where one group lost far more samples than another."""
    shares = {group.name: _lost(group) for group in attribute.groups if group.samples or group.rejected}
    if not any(shares.values()):
        return
    counts = {group.name: sum(group.rejected.values()) for group in attribute.groups}
    low, high = (pick(shares, key=lambda name: shares[name]) for pick in (min, max))
    text = f"Left out: from {shares[low]:.1%} ({low}) to {shares[high]:.1%} ({high}) of the samples."
    apart = counts[high] >= _REJECTED and shares[high] >= _TIMES * shares[low]
    yield Finding(f"Left out by {attribute.name}", text, apart)


def _lost(group: Group) -> float:
    lost = sum(group.rejected.values())
    return lost / (lost + group.samples)


def _difference(difference: Difference, card: DatasetCard) -> str:
    low, high = difference.groups
    measure, (few, many) = _MEASURES[difference.measure], difference.means
    size = "without any overlap"
    if difference.smd is not None:
        size = f"{difference.smd:.2f} standard deviations, interval {difference.ci_low:.2f} to {difference.ci_high:.2f}"
    subjects = " and ".join(f"{amount:,}" for amount in difference.subjects)
    chance = difference.ci_low is not None and difference.ci_low <= 0
    return (
        f"The {measure} is {few:,.4g} for {low} and {many:,.4g} for {high} ({size}; {subjects} {card.subject}s)"
        f"{', which may be chance' if chance else ''}."
    )


def class_counts(classes: Mapping[str, int]) -> str:
    """Return counts of classes as text, those of unknown class last."""
    told = [f"{name} {amount:,}" for name, amount in classes.items() if name]
    return ", ".join([*told, *([f"unknown {classes['']:,}"] if classes.get("") else [])]) or "none"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _n(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
