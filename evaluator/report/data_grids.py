"""Tables about the data themselves: what the conversion's audit found, and who is in the dataset."""

from __future__ import annotations

from collections.abc import Iterator

from evaluator.report.content import DatasetFacts
from evaluator.report.grid import Cell, Column, Grid, Row, Section, number_cell, simple, text_cell
from evaluator.report.words import count, share
from shards.audit.findings import UNKNOWN, Audit, Group
from shards.audit.words import class_counts, findings, positive_share
from shards.card import DatasetCard, Target


def audit_grid(facts: DatasetFacts) -> Grid | None:
    """Lay out what was noticed, one row each; None where there was no audit."""
    if facts.audit is None:
        return None
    rows = [
        Row(
            (text_cell(found.topic, "worth a look" if found.notable else ""), Cell(found.text)),
            attribute=found.attribute,
        )
        for found in findings(facts.audit, facts.card)
    ]
    columns = (Column("What was looked at", "text"), Column("What was found", "text"))
    return simple(f"What the audit of {facts.name} found", columns, rows)


def people_grid(facts: DatasetFacts) -> Grid | None:
    """Lay out the groups with their subjects, samples, classes and losses; None where there are none."""
    if facts.audit is None or not facts.audit.attributes:
        return None
    targets = facts.card.targets
    columns = (
        Column("Group", "text"),
        Column("Subjects"),
        Column("Samples"),
        Column("Left out", hint="samples that the conversion could not use"),
        *(_column(target) for target in targets),
    )
    return Grid(f"Who is in {facts.name}", columns, tuple(_sections(facts.audit, facts.card)))


def _column(target: Target) -> Column:
    if target.positive is None:
        return Column(target.name, "text", hint="samples by class")
    return Column(f"{target.name}: {target.positive}", hint="share of the samples of known class")


def _sections(audit: Audit, card: DatasetCard) -> Iterator[Section]:
    for attribute in audit.attributes:
        rows = tuple(_row(group, card) for group in attribute.groups)
        yield Section(attribute.name, rows, attribute.name)


def _row(group: Group, card: DatasetCard) -> Row:
    cells = (
        text_cell(group.name),
        number_cell(group.subjects, count),
        number_cell(group.samples, count),
        number_cell(sum(group.rejected.values()), count),
        *(_classes(group, target) for target in card.targets),
    )
    return Row(cells, "muted" if group.name == UNKNOWN else "")


def _classes(group: Group, target: Target) -> Cell:
    if target.positive is None:
        return Cell(class_counts(group.classes[target.name]))
    return number_cell(positive_share(group, target), share, reason="no sample of known class")
