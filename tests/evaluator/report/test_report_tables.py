import csv
import io

import numpy as np
import pandas as pd
import pytest

from evaluator.report.grid import group_grid, ranking_grid
from evaluator.report.latex import escape, to_latex
from evaluator.report.tables import (
    ARM,
    Measure,
    group_table,
    ranking,
    split_by_question,
    threshold_table,
    to_csv,
    whole_counts,
)
from evaluator.report.words import clean, interval, number, p_value, plural, primary_metric
from evaluator.tables import GAPS, METRICS

AUC = Measure("auc", "auc:midrank")


def metric_frame(*rows):
    """Build metric rows from (model, seed, attribute, group, value, ci_low, ci_high, subjects)."""
    keys = {
        "dataset": "d", "usage": "linear_probe", "mitigation": "erm", "split": "test", "target": "t",
        "structure": None, "prompt": None, "metric": "auc", "convention": "auc:midrank", "n_pos": 1, "n_neg": 1,
        "n_failed": 0, "reason": None, "task": "t",
    }  # fmt: skip
    names = ("model", "seed", "attribute", "group", "value", "ci_low", "ci_high", "n_subjects")
    made = [{**keys, **dict(zip(names, row, strict=True))} for row in rows]
    for row in made:
        row |= {"n": row["n_subjects"], "status": "undefined" if row["value"] is None else "ok"}
    return pd.DataFrame(made, columns=METRICS.names)


def gap_frame(*rows):
    """Build gap rows from (model, seed, attribute, raw, null_mean, adjusted, p_value, p_adjusted)."""
    keys = {"dataset": "d", "usage": "linear_probe", "mitigation": "erm", "split": "test", "target": "t",
            "metric": "auc", "convention": "auc:midrank", "kind": "max-min", "status": "ok", "detectable": 0.1}  # fmt: skip
    names = ("model", "seed", "attribute", "raw", "null_mean", "adjusted", "p_value", "p_adjusted")
    return pd.DataFrame([{**keys, **dict(zip(names, r, strict=True))} for r in rows], columns=GAPS.names)


def rank(metrics, gaps=None, *, better="higher"):
    (part,) = split_by_question(metrics, gap_frame() if gaps is None else gaps)
    at = part.at(AUC)
    return ranking(at.metrics, at.gaps, better=better)


def overall(model, value, low=0.0, high=1.0, seed=0):
    return (model, seed, "all", "all", value, low, high, 100)


def test_ranking_puts_best_first_and_undefined_last_without_a_rank():
    table = rank(metric_frame(overall("b", 0.7), overall("none", None), overall("a", 0.9)))
    assert list(table["model"]) == ["a", "b", "none"]
    assert list(table["rank"].astype(object).where(table["rank"].notna(), None)) == [1, 2, None]


def test_ranking_of_a_distance_puts_the_smallest_first():
    table = rank(metric_frame(overall("far", 9.0, 8, 10), overall("near", 2.0, 1, 3)), better="lower")
    assert list(table["model"]) == ["near", "far"]


def test_equal_values_share_a_rank():
    table = rank(metric_frame(overall("a", 0.8), overall("b", 0.8), overall("c", 0.7)))
    assert list(table["rank"]) == [1, 1, 3]


def test_only_values_inside_the_leaders_interval_are_within_it():
    table = rank(
        metric_frame(overall("a", 0.9, 0.85, 0.95), overall("b", 0.86), overall("c", 0.84, 0.80, 0.94))
    )
    assert dict(zip(table["model"], table["within_leader"], strict=True)) == {
        "a": False,
        "b": True,
        "c": False,
    }


def test_nothing_is_within_an_interval_that_is_undefined():
    table = rank(metric_frame(overall("a", 0.9, None, None), overall("b", 0.9)))
    assert not table["within_leader"].any()


def test_seeds_count_with_their_mean_and_the_outermost_interval():
    rows = metric_frame(
        overall("lucky", 0.95, 0.9, 0.99, seed=0), overall("lucky", 0.75, 0.7, 0.8, seed=1), overall("b", 0.9)
    )
    table = rank(rows)
    assert list(table["model"]) == ["b", "lucky"]
    last = table.iloc[1]
    assert last["value"] == pytest.approx(0.85)
    assert (last["seeds"], last["ci_low"], last["ci_high"]) == (2, 0.7, 0.99)
    assert (last["seed_low"], last["seed_high"]) == (0.75, 0.95)


def test_worst_group_ignores_unknown_undefined_and_intersections():
    rows = metric_frame(
        overall("a", 0.9),
        ("a", 0, "sex", "female", 0.8, 0.7, 0.9, 50),
        ("a", 0, "sex", "male", 0.95, 0.9, 1.0, 50),
        ("a", 0, "sex", "unknown", 0.1, 0.0, 0.3, 3),
        ("a", 0, "age", "60+", None, None, None, 2),
        ("a", 0, "sex*age", "female*60+", 0.5, 0.3, 0.7, 20),
    )
    row = rank(rows).iloc[0]
    assert (row["worst_attribute"], row["worst_group"], row["worst_value"]) == ("sex", "female", 0.8)
    assert row["worst_n_subjects"] == 50


def test_worst_group_of_a_distance_is_the_largest():
    rows = metric_frame(
        overall("a", 5.0), ("a", 0, "sex", "f", 9.0, 8, 10, 9), ("a", 0, "sex", "m", 1.0, 0, 2, 9)
    )
    assert rank(rows, better="lower")["worst_group"].iloc[0] == "f"


def test_gap_shown_is_the_one_with_the_smallest_adjusted_p():
    gaps = gap_frame(
        ("a", 0, "age", 0.3, 0.1, 0.25, 0.001, 0.2),
        ("a", 0, "sex", 0.1, 0.03, 0.09, 0.01, 0.02),
        ("a", 0, "race", 0.4, None, None, None, None),
    )
    row = rank(metric_frame(overall("a", 0.9)), gaps).iloc[0]
    assert (row["gap_attribute"], row["adjusted"], row["p"]) == ("sex", 0.09, 0.02)


def test_gap_over_seeds_is_the_mean_with_the_weakest_p():
    gaps = gap_frame(
        ("a", 0, "sex", 0.1, 0.02, 0.08, 0.001, 0.001), ("a", 1, "sex", 0.2, 0.04, 0.18, 0.3, 0.3)
    )
    rows = metric_frame(overall("a", 0.9, seed=0), overall("a", 0.9, seed=1))
    row = rank(rows, gaps).iloc[0]
    assert (row["adjusted"], row["p"]) == (pytest.approx(0.13), 0.3)


def test_only_the_test_split_is_ranked_where_there_is_one():
    rows = metric_frame(overall("a", 0.9), overall("b", 0.8))
    val = rows.assign(split="val", value=0.99)
    (part,) = split_by_question(pd.concat([val, rows]), gap_frame())
    assert part.question.split == "test"
    (part,) = split_by_question(val, gap_frame())
    assert part.question.split == "val"


def test_thresholds_are_not_ranked_but_kept():
    rows = pd.concat(
        [metric_frame(overall("a", 0.9)), metric_frame(overall("a", 0.3)).assign(metric="threshold")]
    )
    (part,) = split_by_question(rows, gap_frame())
    assert part.measures() == (AUC,)
    assert list(threshold_table(rows)["value"]) == [0.3]


def test_structures_and_targets_are_separate_questions(study):
    questions = [part.question for part in split_by_question(study.metrics, study.gaps)]
    assert [q.subject_matter for q in questions] == ["effusion", "cup", "rim"]


def test_group_table_keeps_every_row_and_puts_unknown_last():
    rows = metric_frame(
        ("a", 0, "sex", "unknown", None, None, None, 3), ("a", 0, "sex", "f", 0.8, 0.7, 0.9, 9),
        overall("a", 0.9), ("a", 0, "age", "60+", None, None, None, 0),
    )  # fmt: skip
    table = group_table(rows)
    assert list(zip(table["attribute"], table["group"], strict=True)) == [
        ("all", "all"), ("sex", "f"), ("sex", "unknown"), ("age", "60+")
    ]  # fmt: skip


def test_absent_group_stays_in_the_group_grid_as_a_dash_with_its_reason(study):
    part = split_by_question(study.metrics, study.gaps)[0]
    measure = part.measures()[0]
    arm = part.at(measure).of_arm(("tiny-clip", "zero_shot", "erm", ""))
    grid = group_grid(arm.metrics, measure, caption="groups")
    (race,) = [section for section in grid.sections if section.title == "race"]
    (asian,) = [row for row in race.rows if row.cells[0].text == "asian"]
    assert asian.tone == "muted"
    assert asian.cells[1].text == "–"
    assert asian.cells[1].order is None
    assert asian.cells[-1].text == "no subject of this group in the test split"


def test_positives_are_left_out_where_no_group_has_them(study):
    part = split_by_question(study.metrics, study.gaps)[1]
    grid = group_grid(part.at(part.measures()[0]).metrics, part.measures()[0], caption="groups")
    assert "Positive" not in [column.text for column in grid.columns]


def test_model_that_saw_the_dataset_is_marked_in_the_ranking(study):
    part = split_by_question(study.metrics, study.gaps)[0]
    at = part.at(part.measures()[0])
    table = ranking(at.metrics, at.gaps, better="higher")
    grid = ranking_grid(table, part.measures()[0], caption="ranking", seen=("tiny-clip",))
    for row in grid.sections[0].rows:
        assert ("saw this dataset" in row.cells[0].note) == (row.cells[0].text == "tiny-clip")


def read_back(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1 year", "@here", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    frame = pd.DataFrame({"group": [text], text: [1.5]})
    header, row = read_back(to_csv(frame))
    assert header == ["group", "'" + text]
    assert row == ["'" + text, "1.5"]


def test_numbers_keep_sign_and_digits_in_csv():
    values = [-0.1, 1 / 3, -1e-12, np.float64(2.5)]
    rows = read_back(to_csv(pd.DataFrame({"x": values})))[1:]
    assert [float(row[0]) for row in rows] == values


def test_csv_leaves_undefined_cells_empty_and_joins_lists():
    frame = pd.DataFrame(
        {"a": [None, "x"], "b": [np.nan, 1.0], "c": [["=x", "y"], []], "d": pd.array([1, None], "Int64")}
    )
    assert read_back(to_csv(frame))[1:] == [["", "", "'=x; y", "1"], ["x", "1.0", "", ""]]


def test_csv_keeps_commas_quotes_and_line_breaks_in_one_cell():
    text = 'a, "b"\nc\r=cmd()'
    assert read_back(to_csv(pd.DataFrame({"x": [text]})))[1] == [text]


def test_counts_are_whole_numbers_beside_a_null():
    frame = whole_counts(pd.DataFrame({"n_pos": [4.0, np.nan], "value": [0.5, 1.0]}))
    assert read_back(to_csv(frame))[1:] == [["4", "0.5"], ["", "1.0"]]


def test_latex_escapes_everything_that_means_something_there():
    text = escape(r"A & B_% #1 $x$ {y} ~ ^ \end <z> | [60,70) *")
    for special in "&%$#_{}":
        places = [i for i, char in enumerate(text) if char == special]
        assert places, special
    assert r"A \& B\_\% \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{}end" in text
    assert r"\textless{}z\textgreater{} \textbar{} {[}60,70) {*}" in text


def test_latex_table_has_as_many_cells_in_every_row_as_columns(study):
    part = split_by_question(study.metrics, study.gaps)[0]
    at = part.at(part.measures()[0])
    table = ranking(at.metrics, at.gaps, better="higher")
    text = to_latex(ranking_grid(table, part.measures()[0], caption="A & B"), label="tab:x y_1")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(table)
    assert all(line.replace(r"\&", "").count("&") == 8 for line in body)
    assert r"\caption{A \& B}" in text
    assert r"\label{tab:xy1}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_undefined_values_are_explained_below_a_latex_table():
    table = rank(metric_frame(overall("a", 0.9), overall("none", None)))
    text = to_latex(ranking_grid(table, AUC, caption="c"), label="l")
    assert "none: undefined" in text
    assert " -- " in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.51249, "0.512"), (-0.0004, "0.000"), (-0.5, "−0.500"), (None, "–"), (float("nan"), "–"), (0, "0.000"),
     (float("inf"), "–"), (pd.NA, "–")],
)  # fmt: skip
def test_numbers_have_three_decimals_and_undefined_is_a_dash(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0009, "<0.001"), (0.001, "0.001"), (1.0, "1.000"), (None, "–"), (np.nan, "–")]
)
def test_p_is_never_zero(value, text):
    assert p_value(value) == text


def test_interval_with_an_undefined_end_is_a_dash():
    assert interval(0.1, None) == "–"
    assert interval(0.1, 0.25) == "0.100 to 0.250"


def test_unprintable_and_reordering_characters_are_replaced():
    assert clean("a\x00b\u202ec\nd") == "a\ufffdb\ufffdc d"
    assert clean("naïve 年齢 \u200d") == "naïve 年齢 \u200d"


def test_primary_metric_is_auc_then_dice_then_the_first():
    assert primary_metric(["brier", "auc"]) == "auc"
    assert primary_metric(["iou", "dice"]) == "dice"
    assert primary_metric(["mine", "other"]) == "mine"
    with pytest.raises(ValueError, match="no metric"):
        primary_metric([])


def test_plurals_read_well():
    assert [plural(1, "patient"), plural(2, "patient"), plural(1200, "study"), plural(2, "eye")] == [
        "1 patient", "2 patients", "1,200 studies", "2 eyes"
    ]  # fmt: skip


def test_ranking_does_not_depend_on_the_order_of_rows(study):
    shuffled = study.metrics.sample(frac=1, random_state=1), study.gaps.sample(frac=1, random_state=2)
    by_question = {part.question: part for part in split_by_question(*shuffled)}
    for part in split_by_question(study.metrics, study.gaps):
        measure = part.measures()[0]
        one, other = part.at(measure), by_question[part.question].at(measure)
        pd.testing.assert_frame_equal(
            ranking(one.metrics, one.gaps, better="higher")[[*ARM, "rank", "value", "worst_group", "p"]],
            ranking(other.metrics, other.gaps, better="higher")[[*ARM, "rank", "value", "worst_group", "p"]],
        )
