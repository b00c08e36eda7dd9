import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from evaluator.report.answers import answers
from evaluator.report.content import FAILURE_COLUMNS, FINDING_COLUMNS, StudyContent
from evaluator.report.figures import forest, ranking_chart, trade_off
from evaluator.report.html import render, write
from evaluator.report.pictures import forests
from evaluator.report.svg import Scale, breadth, scale_over
from evaluator.report.tables import Measure, ranking, split_by_question
from evaluator.report.words import MINUS, metric_words
from evaluator.tables import GAPS, METRICS, SELECTION
from shards.errors import UserError

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "br", "img", "hr", "input", "path", "line", "rect"}


class Page(HTMLParser):
    """What a page is made of: elements with attributes and text, and whether they are nested rightly."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.broken = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.elements[self.open[-1]][0] != tag:
            self.broken.append(tag)
            return
        self.open.pop()

    def handle_data(self, data):
        for place in self.open:
            self.elements[place][2].append(data)

    def all(self, tag, **wanted):
        return [
            (attrs, "".join(text).strip())
            for name, attrs, text in self.elements
            if name == tag and all(attrs.get(key) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def text(study):
    return render(study)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def empty_study(**changes):
    content = StudyContent(
        name="nothing",
        created=None,
        metrics=pd.DataFrame(columns=METRICS.names),
        gaps=pd.DataFrame(columns=GAPS.names),
        findings=pd.DataFrame(columns=FINDING_COLUMNS),
        failures=pd.DataFrame(columns=FAILURE_COLUMNS),
    )
    return dataclasses.replace(content, **changes)


def test_elements_are_nested_rightly(page):
    assert page.broken == []
    assert page.open == []


def test_every_section_of_the_contents_exists(page):
    targets = [attrs["href"][1:] for attrs, _ in page.all("a") if attrs["href"].startswith("#")]
    identifiers = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert {
        "answer",
        "run",
        "failures",
        "methods",
        "provenance",
        "glossary",
        "dataset-1",
        "dataset-2",
    } <= set(targets)
    assert set(targets) <= set(identifiers)
    assert len(identifiers) == len(set(identifiers))
    labelled = {attrs["aria-labelledby"] for _, attrs, _ in page.elements if "aria-labelledby" in attrs}
    assert labelled <= set(identifiers)


def test_there_is_one_main_landmark_and_one_title(page):
    for tag in ("main", "nav", "header", "h1"):
        assert len(page.all(tag)) == 1, tag


def test_nothing_is_loaded_from_anywhere(page, text):
    for _, attrs, _ in page.elements:
        for name in ("src", "href", "action", "data", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:,")), attrs
    assert not re.search(r"@import|url\(", text)
    (policy,) = [
        a["content"] for a, _ in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy


def test_only_our_own_script_is_a_script(page):
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)


def test_hostile_names_are_shown_as_they_are(page):
    assert any(HOSTILE in text for _, text in page.all("h1"))
    assert any(HOSTILE in text for _, text in page.all("h2"))
    assert any(HOSTILE in text for _, text in page.all("svg"))
    assert any("A & B_%" in text for _, text in page.all("th"))


def shown(page, tag, css):
    return [text for attrs, text in page.all(tag) if attrs.get("class") == css]


def test_first_screen_names_the_best_with_interval_and_people(page):
    best = shown(page, "p", "best")
    assert best[0] == "biomedclip · LoRA serves best: AUC 0.91 (0.89 to 0.93), 200 patients."
    assert len(best) == 3


def test_first_screen_says_in_one_sentence_whom_the_best_fails(page):
    assert shown(page, "p", "verdict")[0].startswith("It fails female (sex): AUC 0.85 against 0.95 for male.")
    assert shown(page, "p", "verdict")[1].startswith(
        "No reliable difference was found by sex and age; race cannot be judged."
    )


def test_first_screen_says_what_could_have_been_seen_found_gaps_first(page):
    claims = shown(page, "ul", "claims")
    assert re.match(r"▲ gap found\s*sex: Worse for female than for male: AUC 0.85 against 0.95.", claims[0])
    assert (
        "age: No reliable difference between the 3 groups was found; this test set could have seen a "
        "difference of 0.08."
    ) in claims[0]
    assert "race: Cannot be judged: fewer than two groups are large enough." in claims[0]
    assert claims[0].index("gap found") < claims[0].index("no reliable gap") < claims[0].index("cannot judge")


def test_several_questions_are_answered_at_a_glance_first(page, text):
    rows = re.search(r'<table class="overview">.*?</table>', text, flags=re.S).group(0)
    assert rows.count("<tr>") == 5
    assert "<strong>biomedclip · LoRA</strong>" in rows
    assert "▲ female" in rows
    assert "could have seen 0.08" in rows
    assert text.index('class="overview"') < text.index('class="answer"')


def test_one_question_needs_no_overview(small_study):
    text = render(small_study)
    assert '<table class="overview">' not in text
    assert text.count('<article class="answer"') == 1


def test_first_screen_says_how_certain_the_best_is(page, small_study):
    assert "Best: ≈ cannot be told from 1 of 8 others" in shown(page, "p", "verdict")[0]
    assert "May be as good, no reliable difference was found: biomedclip · linear probe." in [
        text for _, text in page.all("p")
    ]
    assert "within its interval; not tested" in render(small_study)


def test_leader_that_was_tested_against_a_few_only_is_not_called_clear(study):
    few = study.comparisons[study.comparisons["model"] == "tiny-clip"]
    said = answers(dataclasses.replace(study, comparisons=few))[0]
    assert said.certainty == "untested"
    assert said.standing == "reliably better than 3 of 8 others; the rest not tested"


def test_leader_that_beats_all_is_clear(study):
    said = answers(study)[1]
    assert (said.certainty, said.standing) == ("clear", "reliably better than the other")
    assert said.caveats == ("2 samples could not be used: not part of this number.",)


def test_first_screen_tells_how_often_a_gap_was_found_over_all_combinations(text):
    assert "Over all 9 combinations, a gap was found by sex in 9 of 9, worst: female (9 of 9)." in text
    assert "Over all 2 combinations, a gap was found in none." in text


def test_closeness_to_the_leader_without_a_test_is_called_what_it_is(small_study):
    text = render(small_study)
    assert "Within the leader&#39;s interval, so perhaps as good: biomedclip · linear probe." in text
    assert "not a test of difference" in text


def audited(study, **changes):
    """Return the content of an audit: one arm without any name, no cards, no tasks."""
    bare = dict.fromkeys(
        ("dataset", "model", "usage", "mitigation", "seed", "split", "structure", "prompt", "task")
    )
    frames = {
        name: frame[(frame["usage"] == "lora") & (frame["model"] == "tiny-clip")].assign(**bare)
        for name, frame in (
            ("metrics", study.metrics),
            ("gaps", study.gaps),
            ("findings", study.findings),
        )
    }
    return dataclasses.replace(
        study,
        **frames,
        datasets=(),
        models=(),
        tasks=(),
        skipped=(),
        failures=study.failures.iloc[:0],
        **changes,
    )


def test_audit_of_one_nameless_table_reads_as_one_answer(small_study):
    page = Page(render(audited(small_study, subject="eye")))
    assert page.broken == []
    assert shown(page, "p", "best") == ["Overall AUC 0.86 (0.83 to 0.88), 200 eyes."]
    assert "How well does it serve, and whom does it fail?" in [text for _, text in page.all("h2")]
    assert "Results" in [text for _, text in page.all("h2")]
    assert not [text for _, text in page.all("a") if not text]


def test_audit_of_one_table_claims_nothing_that_does_not_apply(small_study):
    frames = {
        name: getattr(audited(small_study), name).assign(dataset="predictions")
        for name in ("metrics", "gaps", "findings")
    }
    frames["metrics"] = (
        frames["metrics"].assign(split="test").query("group != 'asian'")
    )  # "of the test split"
    alone = [
        {"rule": "pareto", "attribute": a, "reason": "single_arm: nothing to compare with"}
        for a in ("sex", "age")
    ]
    front = pd.DataFrame(alone, columns=SELECTION.names).assign(
        dataset="predictions", target="effusion", metric="auc"
    )
    text = render(dataclasses.replace(audited(small_study), selection=front, **frames))
    body = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    for claim in (
        "split", "best combination", "Model and usage", "Not beaten in both", "Serves best", "Clear lead", "Over all datasets",
        "The ranking orders", "Critical difference", "single_arm", "models and usages", "all combinations",
    ):  # fmt: skip
        assert claim not in body, claim
    assert "<h4>Groups</h4>" in body
    assert Page(text).broken == []
    assert "AUC on the test split" in render(small_study)


def test_several_targets_of_one_table_are_not_called_datasets_nor_is_one_served_best(small_study):
    one = audited(small_study)
    frames = {
        name: pd.concat([getattr(one, name), getattr(one, name).assign(target="nodule")], ignore_index=True)
        for name in ("metrics", "gaps", "findings")
    }
    page = Page(render(dataclasses.replace(one, **frames)))
    headings = [text for tag in ("h2", "th") for _, text in page.all(tag)]
    assert "Taken together" in headings
    assert "Result" in headings
    assert not {"Over all datasets", "Serves best"} & set(headings)
    assert "Clear lead" not in "".join(page.elements[0][2])


def test_limits_stand_at_the_very_top_violated_ones_first(small_study):
    limits = (("adjusted_gap(auc, sex) > 0.2", False, "0.1 is not."), (HOSTILE, True, "0.6 is below 0.7."))
    text = render(dataclasses.replace(small_study, limits=limits))
    page = Page(text)
    assert text.index('id="limits"') < text.index('id="answer"')
    assert "Limits: 1 of 2 violated" in [told for _, told in page.all("h2")]
    (told,) = [told for _, told in page.all("ul", **{"class": "claims limits"})]
    assert re.search(rf"violated\s*{re.escape(HOSTILE)}0.6 is below 0.7.\s*✓ kept", told)
    assert 'id="limits"' not in render(small_study)


def test_samples_without_a_true_class_are_counted_in_words(study):
    lost = study.failures.assign(status="no_true_class", model=None, usage=None, target="effusion")
    text = render(dataclasses.replace(study, failures=lost))
    (table,) = [
        told for _, told in Page(text).all("table") if told.startswith("Samples that could not be used")
    ]
    assert "effusion" in table
    assert "no true class" in table
    assert "Model" not in table
    assert "Usage" not in table
    assert "no_true_class" not in text
    assert "it is not counted here" not in text
    assert "it is not counted here" in render(study)


def test_reasons_are_told_in_words_and_once(small_study):
    reason = "single_group: 1 of 2 groups can be compared, two are needed"
    gaps = small_study.gaps.assign(status="undefined", reason=reason, raw=None)
    findings = small_study.findings.assign(
        finding="cannot judge",
        sentence="auc by sex: cannot be judged (1 of 2 groups can be compared, two are needed).",
    )
    (said,) = answers(dataclasses.replace(small_study, gaps=gaps, findings=findings))
    assert said.claims[0].headline == "Cannot be judged: 1 of 2 groups can be compared, two are needed."
    assert said.claims[0].details == ""


def test_groups_only_differ_where_neither_direction_is_good(small_study):
    gaps = small_study.gaps.assign(
        best_group=None, worst_group=None, reason="highest in f, lowest in m; neither is better"
    )
    (said,) = answers(dataclasses.replace(small_study, gaps=gaps))
    claim = said.claims[0]
    assert claim.headline == "Groups differ by 0.12; highest in f, lowest in m; neither is better."
    assert said.verdict == "Groups differ by sex; neither high nor low is better."


def probes():
    """Rows of probes: sex read from the features of two models, over all samples and by age and sex."""
    rows = []
    for model, value in (("tiny-clip", 0.9), ("biomedclip", 0.8)):
        key = {
            "dataset": "phantom-cxr", "model": model, "usage": "representation", "split": "test", "seed": 0,
            "target": "attribute:sex", "metric": "auc", "convention": "auc:midrank", "status": "ok", "n": 200,
            "n_subjects": 100, "n_failed": 0,
        }  # fmt: skip
        rows += [
            {**key, "attribute": "all", "group": "all", "value": value, "ci_low": value - 0.05, "ci_high": value + 0.05},
            {**key, "attribute": "age", "group": "60+", "value": value - 0.1},
            {**key, "attribute": "age", "group": "unknown", "status": "suppressed", "reason": "too_small: 3 subjects"},
            {**key, "attribute": "sex", "group": "female", "status": "undefined", "reason": "one_class"},
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=METRICS.names)


def test_what_features_give_away_is_a_table_of_its_own(small_study, tmp_path):
    study = dataclasses.replace(small_study, representation=probes())
    page = Page(render(study))
    assert page.broken == []
    tables = {
        text.splitlines()[0]: text for _, text in page.all("table") if text.startswith("What the features")
    }
    assert len(tables) == 2
    (whole,) = [text for text in tables.values() if "0.850 to 0.950" in text]
    assert "tiny-clip" in whole
    assert "attribute:" not in whole
    (grouped,) = [text for text in tables.values() if "60+" in text]
    assert "not recorded, takes no part in gaps; too small: 3 subjects" in grouped
    assert "female" not in grouped
    write(study, tmp_path)
    assert "tiny-clip" in (tmp_path / "tables" / "features.tex").read_text()
    assert 'id="features"' not in render(small_study)


def test_comparisons_and_selection_are_written_as_latex_and_markdown(study, tmp_path):
    small = study.metrics["metric"].isin(["auc", "dice"])
    write(dataclasses.replace(study, metrics=study.metrics[small]), tmp_path)
    for suffix, mark in ((".tex", "\\toprule"), (".md", "|:--|")):
        for name in ("comparisons", "selection"):
            text = (tmp_path / "tables" / f"{name}{suffix}").read_text(encoding="utf-8")
            assert mark in text
            assert "biomedclip" in text
    assert "nearest to the ideal of both" in (tmp_path / "tables" / "selection.md").read_text(
        encoding="utf-8"
    )


def test_val_rows_are_not_ranked(text):
    assert "0.999" not in text


def test_other_kinds_of_gaps_are_shown_apart_and_rank_nothing(text):
    table = re.search(r"<summary>Other fairness measures</summary>.*?</table>", text, flags=re.S).group(0)
    assert "es:sum" in table
    assert "(FairSeg, FairCLIP; Tian et al. 2024)" in table
    assert text.count("nobody") == 0


def test_choices_comparisons_and_results_over_datasets_are_shown(page):
    captions = [text for _, text in page.all("caption")]
    for told in (
        "What each rule chooses on val, and what that is worth on test, for effusion",
        "How probably each combination is not beaten in both utility and gap, for effusion",
        "Paired differences in AUC for effusion",
        "Mean rank over datasets; 1 is best",
        "Against the best or the baseline, over datasets (Wilcoxon signed-rank test)",
    ):
        assert told in captions


def test_roc_and_calibration_of_the_best_are_drawn_by_attribute(page):
    drawn = [attrs["aria-label"] for attrs, _ in page.all("svg")]
    for attribute in ("sex", "age"):
        assert f"ROC of biomedclip · LoRA by {attribute}" in drawn
        assert f"Calibration of biomedclip · LoRA by {attribute}" in drawn


def test_groups_that_took_no_part_are_listed_with_the_reason(page):
    (captioned,) = [
        text for _, text in page.all("table") if text.startswith("Groups that took no part in comparisons")
    ]
    assert "no subject of this group in the test split" in captioned
    assert "not recorded" in captioned


def test_methods_for_a_paper_come_with_the_references_they_cite(page, small_study):
    (told,) = [text for _, text in page.all("blockquote")]
    assert told == "Gaps were corrected by Holm's method (Holm, 1979)."
    references = [text for attrs, text in page.all("ul") if attrs.get("id") == "references"]
    assert len(references) == 1
    assert references[0].startswith("Holm S.")
    assert "blockquote id" not in render(dataclasses.replace(small_study, methods_text=""))


def test_headings_and_rows_of_tables_say_their_scope(page):
    assert all(attrs.get("scope") in {"col", "colgroup", "row", "rowgroup"} for attrs, _ in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_every_row_has_a_cell_for_every_column(text):
    for table in re.findall(r'<table class="sortable">.*?</table>', text, flags=re.S):
        columns = table.split("</thead>")[0].count("<th ")
        for row in re.findall(r"<tr.*?</tr>", table.split("</thead>")[1], flags=re.S):
            assert "colspan" in row or len(re.findall(r"<t[hd][ >]", row)) == columns


def test_undefined_values_carry_their_reason(text):
    assert 'title="no subject of this group in the test split"' in text
    assert "(no subject of this group in the test split)" in text


def test_only_the_best_combination_is_unfolded(page):
    details = page.all("details")
    assert sum("open" in attrs for attrs, _ in details) == 4  # three questions, and the curves of one of them
    assert len(details) > 20


def test_skipped_lines_failures_and_provenance_are_shown(page):
    whole = "".join(page.elements[0][2])
    for told in ("tiny-sam cannot do zero_shot: it has no text tower", "decode error", "16.7 %", "12" * 32,
                 "percentile bootstrap over subjects", "generated by this project", "fairray run study.yaml"):  # fmt: skip
        assert told in whole, told


def test_drawings_are_well_formed_and_say_what_they_show(text):
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.S)
    assert len(drawings) > 10
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img"
        assert root.get("aria-label")


def test_equal_content_gives_equal_bytes(small_study):
    assert render(small_study) == render(small_study)


def test_page_without_results_says_so():
    text = render(empty_study(skipped=("tiny-sam cannot do zero_shot: it has no text tower",)))
    page = Page(text)
    assert page.broken == []
    assert "Nothing has been measured yet" in text
    assert "tiny-sam cannot do zero_shot" in text


def test_dataset_without_any_defined_value_says_why(small_study):
    metrics = small_study.metrics.assign(
        value=np.nan, ci_low=np.nan, ci_high=np.nan, status="undefined", reason="one class"
    )
    text = render(dataclasses.replace(small_study, metrics=metrics, gaps=small_study.gaps.iloc[:0]))
    assert "No combination of model and usage gave a defined AUC: one class." in text
    assert Page(text).broken == []


def test_study_without_findings_does_not_claim_fairness(small_study):
    text = render(dataclasses.replace(small_study, findings=small_study.findings.iloc[:0]))
    assert "No attribute was compared for it, so nobody can say whom it fails." in text
    assert 'class="claims"' not in text


def test_findings_repeat_neither_metric_nor_attribute(small_study):
    findings = small_study.findings.assign(sentence="auc by sex: male is better.", attribute="sex")
    text = render(
        dataclasses.replace(small_study, findings=findings.drop_duplicates(["model", "usage", "metric"]))
    )
    assert "<small>male is better.</small>" in text


def test_finding_without_what_a_plain_sentence_needs_speaks_for_itself(small_study):
    text = render(dataclasses.replace(small_study, gaps=small_study.gaps.iloc[:0]))
    assert "<strong>age:</strong> no reliable difference found; this test set could have seen 0.080." in text


def test_keys_that_are_null_everywhere_do_not_lose_rows(small_study):
    bare = dict.fromkeys(("usage", "mitigation", "seed", "split", "target", "structure", "prompt", "task"))
    frames = {
        name: getattr(small_study, name).query("usage == 'lora'").assign(**bare)
        for name in ("metrics", "gaps", "findings")
    }
    text = render(dataclasses.replace(small_study, **frames))
    assert "biomedclip serves best: AUC 0.9" in text
    assert "Over all 3 combinations, a gap was found by sex in 3 of 3" in text
    assert "<summary>tiny-clip</summary>" in text


def test_seeds_are_shown_one_by_one_and_answered_together(small_study):
    frames = {}
    for name in ("metrics", "gaps", "findings"):
        frame = getattr(small_study, name)
        frame = frame[frame["usage"] == "lora"]
        frames[name] = pd.concat([frame, frame.assign(seed=1)], ignore_index=True)
    text = render(dataclasses.replace(small_study, **frames))
    assert "AUC 0.914; mean of 2 seeds, 0.914 to 0.914; 95 % interval 0.890 to 0.934;" in text
    assert "(2 of 2 seeds say so.)" in text
    assert "<summary>biomedclip · LoRA · seed 1</summary>" in text


def test_many_combinations_are_cut_with_a_word_where_the_rest_is(small_study):
    many = [small_study.metrics.assign(model=small_study.metrics["model"] + f"-{copy}") for copy in range(3)]
    metrics = pd.concat(many, ignore_index=True)
    text = render(dataclasses.replace(small_study, metrics=metrics))
    assert "15 further combinations in detail: see tables/groups.csv beside this page." in text
    assert "The first 15 of 27 are drawn; the table has them all." in text


def test_missing_column_is_named():
    with pytest.raises(UserError, match=r"'gaps' of the report lacks column adjusted, p_value"):
        empty_study(gaps=pd.DataFrame(columns=[n for n in GAPS.names if n not in {"adjusted", "p_value"}]))


def test_writing_gives_page_and_tables_and_no_leftovers(small_study, tmp_path):
    path = write(small_study, tmp_path / "report")
    assert path == tmp_path / "report" / "report.html"
    assert path.read_text(encoding="utf-8") == render(small_study)
    names = sorted(
        p.relative_to(tmp_path / "report").as_posix() for p in path.parent.rglob("*") if p.is_file()
    )
    assert names == ["report.html", *sorted(
        ["tables/failures.csv", "tables/findings.csv", "tables/gaps.csv", "tables/gaps.md", "tables/gaps.tex",
         "tables/groups.csv", "tables/groups.md", "tables/groups.tex", "tables/ranking.csv", "tables/ranking.md",
         "tables/ranking.tex", "tables/tasks.csv"]
    )]  # fmt: skip


def test_optional_tables_are_written_where_they_hold_something(study, tmp_path):
    small = study.metrics["metric"].isin(["auc", "dice"])
    write(dataclasses.replace(study, metrics=study.metrics[small]), tmp_path)
    back = pd.read_csv(tmp_path / "tables" / "curves.csv")
    assert len(back) == len(study.curves)
    assert back["x"].iloc[0].startswith("0.0; 0.1")
    assert len(pd.read_csv(tmp_path / "tables" / "comparisons.csv")) == len(study.comparisons)


def test_written_groups_read_back_to_the_same_values(small_study, tmp_path):
    write(small_study, tmp_path)
    back = pd.read_csv(tmp_path / "tables" / "groups.csv")
    assert list(back.columns) == list(small_study.metrics.columns)
    np.testing.assert_array_equal(
        back["value"].to_numpy(), small_study.metrics["value"].astype(float).to_numpy()
    )
    assert "=cmd()" not in set(back["group"])
    assert "'=cmd()" in set(back["group"])


def test_writing_a_study_without_results_works(tmp_path):
    assert write(empty_study(), tmp_path).exists()


@pytest.fixture(scope="module")
def classified(study):
    part = split_by_question(study.metrics, study.gaps)[0]
    return part.at(part.measures()[0])


def coordinates(picture, css):
    root = ElementTree.fromstring(picture)
    return [element for element in root.iter() if css in element.get("class", "").split()]


def test_forest_has_a_mark_for_every_defined_group_and_a_line_at_all_samples(classified):
    arm = classified.of_arm(("tiny-clip", "zero_shot", "erm", ""))
    picture = forest(arm.metrics, metric_words("auc"), label="forest")
    marks = [
        e for e in coordinates(picture, "solid") + coordinates(picture, "hollow") if e.tag.endswith("path")
    ]
    assert len(marks) == arm.metrics["value"].notna().sum()
    assert len(coordinates(picture, "reference")) == 1


def test_forests_of_one_arm_share_their_axis(classified):
    rows = classified.of_arm(("tiny-clip", "zero_shot", "erm", "")).metrics
    drawn = forests(rows, Measure("auc", "default"), "tiny-clip", "effusion")
    (single,), (crossed,) = ([float(e.get("x1")) for e in coordinates(f.picture, "reference")] for f in drawn)
    assert single == crossed
    ticks = [[e.text for e in coordinates(f.picture, "middle")] for f in drawn]
    assert ticks[0] == ticks[1]


def test_why_a_group_has_no_value_stands_in_the_column_of_values(classified):
    arm = classified.of_arm(("tiny-clip", "zero_shot", "erm", "")).metrics
    root = ElementTree.fromstring(forest(arm, metric_words("auc"), label="forest"))
    notes = [
        e
        for e in root.iter()
        if e.tag.endswith("text") and "".join(e.itertext()).endswith(("no samples", "not recorded"))
    ]
    assert notes
    assert {e.get("x") for e in notes} == {"498"}
    assert "asian: no subject of this group in the test split" in [
        "".join(e.itertext()) for e in root.iter() if e.tag.endswith("title")
    ]


def test_headings_of_pictures_fit_for_the_longest_metric(classified):
    arm = classified.of_arm(("tiny-clip", "zero_shot", "erm", "")).metrics
    table = ranking(classified.metrics, classified.gaps, better="higher")
    for picture in (
        forest(arm, metric_words("tpr_at_tnr80"), label="x"),
        ranking_chart(table, metric_words("tpr_at_tnr80"), label="x"),
    ):
        root = ElementTree.fromstring(picture)
        for text in (e for e in root.iter() if e.tag.endswith("text") and e.get("y") == "16"):
            ends = float(text.get("x")) + (
                0 if "end" in text.get("class") else breadth("".join(text.itertext()))
            )
            assert ends <= float(root.get("width"))


def test_forest_orders_marks_as_their_values(classified):
    arm = classified.of_arm(("biomedclip", "zero_shot", "erm", "")).metrics
    rows = arm[arm["attribute"].isin(["all", "sex"]) & arm["value"].notna()]
    picture = forest(rows, metric_words("auc"), label="forest")
    marks = coordinates(picture, "solid")
    across = [float(re.match(r"M(-?[\d.]+)", mark.get("d")).group(1)) for mark in marks]
    values = rows["value"].to_list()
    assert np.argsort(across).tolist() == np.argsort(values).tolist()


def test_pictures_of_nothing_are_none(classified):
    nothing = classified.metrics.assign(value=np.nan, ci_low=np.nan, ci_high=np.nan)
    table = ranking(nothing, classified.gaps, better="higher")
    assert forest(nothing, metric_words("auc"), label="x") is None
    assert ranking_chart(table, metric_words("auc"), label="x") is None
    points = table.assign(adjusted=np.nan)
    assert trade_off(points, metric_words("auc"), label="x", usages=["lora"], tallest=0.1) is None


def test_hostile_label_cannot_leave_its_attribute(classified):
    table = ranking(classified.metrics, classified.gaps, better="higher")
    label = '"><script>alert(1)</script>'
    root = ElementTree.fromstring(ranking_chart(table, metric_words("auc"), label=label))
    assert root.get("aria-label") == label
    assert not [element for element in root.iter() if element.tag.endswith("script")]


@pytest.mark.parametrize("values", [[0.5], [0.0, 1.0], [0.7, 0.7004], [1.0, 1.0], [0.0], [-3.0, 250.0]])
def test_scale_holds_all_values_and_has_readable_ticks(values):
    scale = scale_over(values, (None, None), start=10, end=110)
    assert all(10 <= scale(value) <= 110 for value in values)
    labels = [scale.tick_text(tick) for tick in scale.ticks()]
    assert 2 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)
    assert [float(label.replace(MINUS, "-")) for label in labels] == pytest.approx(scale.ticks(), abs=1e-9)


def test_scale_stays_inside_what_is_possible():
    scale = scale_over([0.99, 0.2], (0.0, 1.0), start=0, end=1)
    assert (scale.low >= 0.0, scale.high) == (True, 1.0)
    assert Scale(0.0, 1.0, 0.0, 100.0)(7.0) == 100.0
