import re

import pytest

from evaluator.report.grid import Cell, Column, Grid, Row, Section
from evaluator.report.markdown import escape, summary_markdown, to_markdown

GRID = Grid(
    "A | b",
    (Column("Name", "text"), Column("Value")),
    (
        Section("", (Row((Cell("x|y"), Cell("0.5", note="0.4 to 0.6"))),)),
        Section("*sex*", (Row((Cell("<b>"), Cell("–", reason="too small"))),)),
    ),
)


def cells(line):
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_table_has_as_many_cells_in_every_row_as_columns():
    lines = [line for line in to_markdown(GRID).splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert {len(cells(line)) for line in lines} == {2}


def test_columns_are_aligned_by_kind():
    assert "|:--|--:|" in to_markdown(GRID)


def test_notes_and_reasons_follow_their_cell():
    text = to_markdown(GRID)
    assert r"0.5 \(" not in text
    assert "0.5 (0.4 to 0.6)" in text
    assert "– (too small)" in text


@pytest.mark.parametrize("text", ["a|b", "*x*", "<script>", "[l](u)", "`c`", "# h", "~~s~~", "a_b_c", "&lt;"])
def test_nothing_in_a_text_means_anything_to_markdown(text):
    marked = escape(text)
    assert re.sub(r"\\(.)", r"\1", marked) == text
    assert not re.search(r"(?<!\\)[|*<>\[\]`#~_&]", marked)


def test_line_breaks_cannot_leave_a_cell():
    assert "\n" not in escape("a\nb\r\nc")


def test_summary_says_the_answers_with_groups_and_gaps(small_study):
    text = summary_markdown(small_study)
    assert "## phantom\\-cxr · effusion" in text
    assert r"**biomedclip · LoRA serves best: AUC 0.91 \(0.89 to 0.93\), 200 patients.**" in text
    assert r"It fails female \(sex\): AUC 0.85 against 0.95 for male." in text
    assert "- **age** (no reliable gap): No reliable difference between the 3 groups was found;" in text
    assert "**AUC of biomedclip · LoRA by group" in text
    assert "**Gaps in AUC between groups**" in text
    assert "<script>" not in text


def test_summary_begins_with_limits_violated_ones_first(small_study):
    import dataclasses

    limits = (("p(auc, sex) < 0.05", False, "0.2 is not."), ("worst(auc, age) < 0.7", True, "0.6 is."))
    lines = summary_markdown(dataclasses.replace(small_study, limits=limits)).splitlines()
    assert lines[2].startswith(r"- **violated**: worst\(auc, age\) \< 0.7: 0.6 is.")
    assert lines[3].startswith("- kept: ")


def test_summary_of_nothing_says_so(small_study):
    import dataclasses

    empty = dataclasses.replace(
        small_study,
        metrics=small_study.metrics.iloc[:0],
        gaps=small_study.gaps.iloc[:0],
        findings=small_study.findings.iloc[:0],
    )
    assert "Nothing has been measured yet" in summary_markdown(empty)
