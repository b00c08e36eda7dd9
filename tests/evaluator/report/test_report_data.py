"""What a report says of the data themselves."""

import dataclasses

import pytest

from evaluator.report.data_grids import audit_grid, people_grid
from evaluator.report.html import render


@pytest.fixture(scope="module")
def facts(study):
    return study.datasets[0]


def rows_of(grid):
    return {row.cells[0].text: row for section in grid.sections for row in section.rows}


def test_every_dataset_has_its_table_of_what_the_audit_found(study):
    page = render(study)
    assert '<section id="data"' in page
    assert "What the audit of phantom-cxr found" in page
    assert "What the audit of &lt;script&gt;alert(1)&lt;/script&gt; found" in page
    assert "<script>alert(1)" not in page


def test_a_study_without_audits_has_no_section_on_data(study):
    bare = tuple(dataclasses.replace(facts, audit=None) for facts in study.datasets)
    page = render(dataclasses.replace(study, datasets=bare))
    assert 'id="data"' not in page
    assert 'href="#data"' not in page
    assert audit_grid(bare[0]) is None
    assert people_grid(bare[0]) is None


def test_what_may_distort_a_comparison_is_marked(facts):
    rows = rows_of(audit_grid(facts))
    assert rows["Same pixels"].cells[0].note == "worth a look"
    assert "across splits" in rows["Same pixels"].cells[1].text
    assert rows["Contradictory labels"].cells[0].note == "worth a look"
    assert rows["Splits"].cells[0].note == rows["Look alike"].cells[0].note == ""


def test_findings_about_an_attribute_can_be_filtered_by_it(facts):
    rows = rows_of(audit_grid(facts))
    assert rows["Images by sex"].attribute == "sex"
    assert rows["Splits"].attribute == ""


def test_groups_are_told_with_people_samples_losses_and_the_share_of_the_class_of_interest(facts):
    grid = people_grid(facts)
    assert [column.text for column in grid.columns] == [
        "Group",
        "Subjects",
        "Samples",
        "Left out",
        "effusion: present",
    ]
    assert [section.title for section in grid.sections] == ["sex", "age", "race"]
    rows = rows_of(grid)
    assert [cell.order for cell in rows["male"].cells[1:]] == [24, 24, 1, 1.0]
    assert rows["unknown"].tone == "muted"


def test_classes_of_a_target_of_several_are_counted_in_words(facts):
    target = dataclasses.replace(facts.card.targets[0], positive=None)
    several = dataclasses.replace(facts, card=dataclasses.replace(facts.card, targets=(target,)))
    rows = rows_of(people_grid(several))
    assert rows["female"].cells[4].text == "absent 24"
    assert rows["male"].cells[4].text == "present 24"
