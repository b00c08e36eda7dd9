import csv
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evaluator.report.comparison_grids import (
    across_grids,
    across_notes,
    front_grid,
    over_several,
    selection_grid,
)
from evaluator.report.group_grids import group_grid
from evaluator.report.latex import escape, to_latex
from evaluator.report.ranking_grids import ranking_grid
from evaluator.report.standing import with_standing
from evaluator.report.tables import (
    ARM,
    Measure,
    group_table,
    rank_all,
    ranking,
    split_by_question,
    threshold_table,
    tidy,
    to_csv,
    whole_counts,
)
from evaluator.report.words import (
    clean,
    convention_words,
    interval,
    listing,
    metric_words,
    number,
    p_value,
    plain,
    plural,
    primary_metric,
)
from evaluator.tables import ACROSS, COMPARISONS, GAPS, METRICS, SELECTION

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
    table = ranking(at.metrics, at.gaps, better=better)
    return with_standing(table, at.comparisons, arm=ARM, alpha=0.05)


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


def stand(metrics, *differences, alpha=0.05):
    """Return how each model stands, with differences of (model, against_model, difference, low, high, p_adjusted)."""
    keys = {
        "dataset": "d", "split": "test", "target": "t", "structure": None, "metric": "auc",
        "convention": "auc:midrank", "status": "ok",
    }  # fmt: skip
    arm = {"usage": "linear_probe", "mitigation": "erm", "prompt": None}
    names = ("model", "against_model", "difference", "ci_low", "ci_high", "p_adjusted")
    rows = [
        {**keys, **arm, **{f"against_{k}": v for k, v in arm.items()}, **dict(zip(names, row, strict=True))}
        for row in differences
    ]
    (ranked,) = rank_all(metrics, gap_frame(), pd.DataFrame(rows, columns=COMPARISONS.names), alpha=alpha)
    return ranked.rankings[AUC].set_index("model")


def test_without_paired_differences_closeness_is_a_place_inside_the_leaders_interval():
    table = stand(
        metric_frame(overall("a", 0.9, 0.85, 0.95), overall("b", 0.86), overall("c", 0.84, 0.80, 0.94))
    )
    assert table["standing"].to_dict() == {"a": "leader", "b": "within", "c": "outside"}


def test_nothing_is_within_an_interval_that_is_undefined():
    table = stand(metric_frame(overall("a", 0.9, None, None), overall("b", 0.9), overall("c", None)))
    assert table["standing"].tolist() == ["leader", "outside", ""]


def test_paired_differences_decide_even_where_intervals_overlap():
    rows = metric_frame(
        overall("a", 0.9, 0.8, 1.0), overall("b", 0.89, 0.8, 1.0), overall("c", 0.88, 0.8, 1.0)
    )
    table = stand(rows, ("b", "a", -0.01, -0.015, -0.005, 0.01), ("c", "a", -0.02, -0.06, 0.02, 0.3))
    assert table["standing"].to_dict() == {"a": "leader", "b": "worse", "c": "tied"}
    assert table.loc["b", ["difference", "difference_low", "difference_p"]].tolist() == [-0.01, -0.015, 0.01]


def test_difference_written_the_other_way_round_is_turned():
    table = stand(metric_frame(overall("a", 0.9), overall("b", 0.8)), ("a", "b", 0.1, 0.02, 0.19, 0.04))
    assert table.loc["b", ["difference", "difference_low", "difference_high"]].tolist() == [
        -0.1,
        -0.19,
        -0.02,
    ]
    assert table.loc["b", "standing"] == "worse"


def test_differences_between_others_say_nothing_about_the_leader():
    rows = metric_frame(overall("a", 0.9, 0.85, 0.95), overall("b", 0.86), overall("c", 0.84))
    table = stand(rows, ("c", "b", -0.02, -0.03, -0.01, 0.001))
    assert table["standing"].tolist() == ["leader", "within", "outside"]
    assert table["difference"].isna().all()


def test_difference_column_is_there_only_with_differences():
    rows = metric_frame(overall("a", 0.9), overall("b", 0.8))
    for differences, expected in (((), False), ((("b", "a", -0.1, -0.2, 0.01, 0.06),), True)):
        grid = ranking_grid(stand(rows, *differences).reset_index(), AUC, caption="c")
        assert ("Difference" in [column.text for column in grid.columns]) == expected


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


def test_worst_group_is_said_to_be_of_single_attributes():
    table = stand(
        metric_frame(
            overall("a", 0.8), ("a", 0, "sex", "female", 0.7, 0.6, 0.8, 50), ("a", 0, "sex*age", "f*old", 0.5, 0.4, 0.6, 30)
        )
    ).reset_index()  # fmt: skip
    headings = [column.text for column in ranking_grid(table, AUC, caption="c").columns]
    assert "Worst group of single attributes" in headings


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


def test_derived_conventions_are_never_what_a_question_is_opened_with():
    derived = metric_frame(overall("a", 0.99)).assign(convention="auc:midrank|age")
    (part,) = split_by_question(pd.concat([derived, metric_frame(overall("a", 0.9))]), gap_frame())
    assert part.measures() == (AUC, Measure("auc", "auc:midrank|age"))


def test_metric_without_any_value_opens_a_question_only_where_none_has_one():
    nothing = metric_frame(overall("a", None))
    decided = metric_frame(overall("a", 0.8)).assign(metric="sensitivity", convention="decisions:given")
    (part,) = split_by_question(pd.concat([nothing, decided]), gap_frame())
    assert part.measures()[0] == Measure("sensitivity", "decisions:given")
    (part,) = split_by_question(nothing, gap_frame())
    assert part.measures() == (AUC,)


def test_lower_is_better_also_for_distances_without_words_of_their_own():
    assert metric_words("cdr_distance").better == "lower"
    assert metric_words("generalised_entropy").better == "lower"
    assert metric_words("somebody_elses_score").better == "higher"


def test_ranking_of_one_arm_has_no_places():
    table = stand(metric_frame(overall("a", 0.9))).reset_index()
    headings = [column.text for column in ranking_grid(table, AUC, caption="c").columns]
    assert headings == ["Model and usage", "AUC", "Worst group", "Adjusted gap", "p of the gap", "Samples"]


def across_frame(*rows):
    names = ("analysis", "attribute", "item", "value", "reason")
    return tidy(
        pd.DataFrame(
            [{"metric": "auc", **dict(zip(names, row, strict=True))} for row in rows], columns=ACROSS.names
        )
    )


def test_analyses_over_datasets_without_any_number_are_said_not_tabled():
    frame = across_frame(
        ("friedman", None, "chi2", None, "too_few: 2 datasets"),
        ("direction", "sex", "female", 0.75, None),
        ("direction", "race", "asian", None, "no test"),
    )
    (grid,) = across_grids(frame)
    assert [section.title for section in grid.sections] == ["AUC, by sex", "AUC, by race"]
    (note,) = across_notes(frame)
    assert (
        note == "Do the combinations differ at all? (Friedman test over datasets), AUC: too few: 2 datasets."
    )


def test_metric_of_one_dataset_says_nothing_over_datasets():
    frame = across_frame(
        ("direction", "sex", "female", 0.75, None), ("direction", "sex", "female", 1.0, None)
    ).assign(metric=["auc", "dice"], n=[4, 1])
    kept, told = over_several(frame)
    assert kept["metric"].tolist() == ["auc"]
    assert told == ("Dice was measured on one dataset only: nothing holds over datasets.",)


def test_rule_without_a_choice_says_why_and_names_nobody():
    row = {
        "dataset": "d", "metric": "auc", "attribute": "sex", "rule": "minimax", "mitigation": "erm",
        "reason": "chosen on val, and there is none",
    }  # fmt: skip
    grid = selection_grid(tidy(pd.DataFrame([row], columns=SELECTION.names)), AUC, caption="c")
    (laid,) = grid.sections[0].rows
    assert [cell.text for cell in laid.cells] == ["best worst group", *["–"] * 6]
    assert laid.cells[0].note == "chosen on val, and there is none"


def test_fronts_are_ordered_by_probability():
    rows = [
        {"dataset": "d", "metric": "auc", "attribute": "sex", "rule": "pareto", "model": m, "probability": p}
        for m, p in (("a", 0.1), ("b", None), ("c", 0.9))
    ]
    grid = front_grid(tidy(pd.DataFrame(rows, columns=SELECTION.names)), AUC, caption="c")
    assert [row.cells[0].text for row in grid.sections[0].rows] == ["c", "a", "b"]
    assert grid.sections[0].rows[0].cells[1].text == "90.0 %"


def test_one_method_of_intervals_stands_in_the_caption_several_in_the_rows():
    rows = metric_frame(overall("a", 0.9), ("a", 0, "sex", "f", 0.8, 0.7, 0.9, 9))
    one = group_grid(tidy(rows.assign(interval="wilson")), AUC, caption="groups")
    assert one.caption == "groups (intervals: Wilson)"
    two = group_grid(tidy(rows.assign(interval=["wilson", "newcombe"])), AUC, caption="groups")
    assert two.caption == "groups"
    notes = [row.cells[2].note for section in two.sections for row in section.rows]
    assert notes == ["Wilson", "Newcombe"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.8134, "0.81"), (0.0042, "0.004"), (-0.004, "−0.004"), (0.0, "0.00"), (0.0096, "0.01"), (None, "–")],
)
def test_numbers_in_sentences_have_two_decimals_unless_that_hides_them(value, text):
    assert plain(value) == text


def test_lists_in_sentences_read_well():
    assert [listing([]), listing(["a"]), listing(["a", "b"]), listing(["a", "b", "c"], 1)] == [
        "", "a", "a and b", "a and 2 more"
    ]  # fmt: skip


def test_conventions_are_explained_with_what_was_done_to_the_groups():
    assert "threshold fixed at 0.5" in convention_words("fixed:0.5")
    assert convention_words("mean:subject|size-adjusted").endswith(
        "after the size of the structure is taken out"
    )
    assert convention_words("auc:midrank|age") == "ties count half; groups made alike (age)"
    assert "FairSeg" in convention_words("mean:subject|empty:fairseg")
    assert convention_words("nobody:knows") == ""


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
    table = rank_all(study.metrics, study.gaps)[0].rankings[part.measures()[0]]
    grid = ranking_grid(table, part.measures()[0], caption="ranking", seen=("tiny-clip",))
    for row in grid.sections[0].rows:
        assert ("saw this dataset" in row.cells[0].note) == (row.cells[0].text == "tiny-clip")


def test_a_dataset_is_known_by_the_studys_own_name_for_it(study):
    first = study.datasets[0]
    assert study.contaminated(first.card.name)
    renamed = replace(study, datasets=(replace(first, named="mine"), *study.datasets[1:]))
    assert renamed.contaminated("mine") == study.contaminated(first.card.name)
    assert renamed.subject_of("mine") == first.card.subject
    assert renamed.has_splits("mine")
    assert not renamed.has_splits("yours")


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
    table = rank_all(study.metrics, study.gaps)[0].rankings[part.measures()[0]]
    text = to_latex(ranking_grid(table, part.measures()[0], caption="A & B"), label="tab:x y_1")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(table)
    assert all(line.replace(r"\&", "").count("&") == 6 for line in body)
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
