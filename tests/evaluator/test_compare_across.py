import numpy as np
import pandas as pd
import pytest
from comparing import PEOPLE, Study, faces, same, shuffled, study
from scipy.stats import friedmanchisquare, wilcoxon

from evaluator.compare import across
from evaluator.statistics.friedman import critical_difference
from evaluator.statistics.multiplicity import holm
from evaluator.tables import ACROSS
from shards.errors import UserError

QUALITY = {"a": 0.05, "b": 0.0, "c": 0.001, "d": -0.03}


def analysed(made, **options):
    return across(*made.tables(), alpha=0.05, **options)


def rows(found, analysis, item=None):
    kept = found[found["analysis"] == analysis]
    return kept if item is None else kept[kept["item"] == item].iloc[0]


@pytest.fixture(scope="module")
def planted():
    return study(np.random.default_rng(0), QUALITY, datasets=9, sex_gap=0.08)


@pytest.fixture(scope="module")
def found(planted):
    return analysed(planted)


def means(made):
    table = made.tables()[0]
    return table[table["attribute"] == "all"].pivot_table(index="dataset", columns="model", values="value")


def test_friedman_and_mean_ranks_are_those_of_the_table_of_means(planted, found):
    table = means(planted)
    reference = friedmanchisquare(*table.to_numpy().T)
    assert list(found.columns) == ACROSS.names
    row = rows(found, "friedman", "chi2")
    assert (row["value"], row["p_value"], row["n"]) == pytest.approx(
        (reference.statistic, reference.pvalue, 9)
    )
    assert rows(found, "friedman", "critical_difference")["value"] == pytest.approx(
        critical_difference(4, 9, 0.05)
    )
    assert rows(found, "friedman", "iman_davenport")["p_value"] < 0.01
    ranks = table.rank(axis=1, ascending=False).mean()
    got = rows(found, "rank").set_index("item")
    assert {f"{name} · segment": rank for name, rank in ranks.items()} == pytest.approx(
        got["value"].to_dict()
    )
    assert (got["ci_low"] <= got["ci_high"]).all()
    assert got.loc["a · segment", "ci_high"] < got.loc["d · segment", "ci_low"]


def test_signed_rank_tests_are_against_the_best_and_adjusted_over_all_pairs(planted, found):
    table, got = means(planted), rows(found, "wilcoxon")
    pairs = [(x, y) for x in QUALITY for y in QUALITY if x < y]
    exact = [wilcoxon(table[x] - table[y], method="exact").pvalue for x, y in pairs]
    adjusted = dict(zip(pairs, holm(exact), strict=True))
    assert set(got["against"]) == {"a · segment"}
    for row in got.to_dict("records"):
        pair = ("a", row["item"][0])
        assert row["p_value"] == pytest.approx(exact[pairs.index(pair)])
        assert row["p_adjusted"] == pytest.approx(adjusted[pair])
        assert "over all 6 pairs" in row["reason"]
    assert rows(found, "wilcoxon", "d · segment")["value"] == pytest.approx(-0.08, abs=0.02)


def test_named_baseline_makes_a_smaller_family(planted):
    got = rows(analysed(planted, baseline="b"), "wilcoxon")
    assert set(got["against"]) == {"b · segment"}
    assert got["p_adjusted"].tolist() == pytest.approx(holm(got["p_value"].to_numpy()).tolist())
    with pytest.raises(UserError, match="baseline model"):
        analysed(planted, baseline="bb")


def test_baseline_without_all_numbers_or_without_rivals_leaves_a_reason():
    made = study(np.random.default_rng(8), QUALITY, datasets=4)
    made.add("d0", "rare", faces(np.random.default_rng(4)))
    row = rows(analysed(made, baseline="rare"), "wilcoxon").iloc[0]
    assert row["reason"].startswith("no_baseline: rare lacks numbers")
    alone = study(np.random.default_rng(9), {"a": 0.0}, datasets=4)
    for dataset in range(4):
        alone.add(f"d{dataset}", "a", faces(np.random.default_rng(dataset)), usage="other")
    row = rows(analysed(alone, baseline="a"), "wilcoxon").iloc[0]
    assert row["reason"] == "single_model: nothing to compare a with"
    assert np.isnan(row["p_value"])


def test_planted_direction_is_found_over_datasets(found):
    female, male = rows(found, "direction", "female"), rows(found, "direction", "male")
    assert female["attribute"] == "sex"
    assert female["value"] > 0.9
    assert female["value"] + male["value"] == pytest.approx(1.0)
    assert female["p_adjusted"] == female["p_value"] < 0.05
    assert female["n"] == 9
    datasets = rows(found, "kendall", "datasets")
    assert datasets["value"] == pytest.approx(1.0)
    assert datasets["p_value"] < 0.05
    assert 0 < rows(found, "kendall", "models")["value"] <= 1


def test_sources_of_variance_add_up_and_the_planted_one_leads(found):
    got = rows(found, "variance").set_index("item")
    assert got["value"].sum() == pytest.approx(1.0)
    assert got.loc["model", "value"] > 0.6
    assert got.loc["usage", "reason"].startswith("single_level")
    assert np.isnan(got.loc["usage", "value"])


def test_order_of_rows_does_not_matter(planted, found):
    tables = [shuffled(frame, number) for number, frame in enumerate(planted.tables())]
    same(across(*tables, alpha=0.05), found)


def test_names_of_models_do_not_matter(planted, found):
    names = {"a": "z", "b": "y", "c": "x", "d": "w"}
    again = across(*(frame.assign(model=frame["model"].map(names)) for frame in planted.tables()), alpha=0.05)
    for analysis in ("friedman", "direction", "kendall"):
        columns = ["item", "value", "p_value", "p_adjusted", "n"]
        same(*(rows(table, analysis)[columns].reset_index(drop=True) for table in (found, again)))
    ranks = (
        rows(again, "rank").assign(item=rows(again, "rank")["item"].str[1:]).iloc[::-1].reset_index(drop=True)
    )
    same(rows(found, "rank").assign(item=rows(found, "rank")["item"].str[1:]).reset_index(drop=True), ranks)


def test_more_attributes_targets_and_prompts_are_no_more_datasets():
    rng = np.random.default_rng(1)
    made = Study()
    for dataset in ("x", "y", "z", "w"):
        hard = faces(rng)
        groups = {
            "sex": np.where(np.arange(PEOPLE) % 2, "f", "m"),
            "site": np.where(np.arange(PEOPLE) % 5, "u", "v"),
        }
        for model in "abc":
            for structure in ("cup", "rim"):
                for prompt in ("bbox", "center"):
                    dice = hard + 0.05 * rng.normal(size=PEOPLE)
                    made.add(dataset, model, dice, groups=groups, structure=structure, prompt=prompt)
    found = analysed(made)
    assert set(found["n"]) == {4}
    assert rows(found, "rank")["item"].tolist() == ["a · segment", "b · segment", "c · segment"]
    assert set(rows(found, "direction")["attribute"]) == {"sex", "site"}


def test_only_questions_that_all_arms_answered_are_averaged():
    rng = np.random.default_rng(2)
    made = Study()
    for dataset in ("x", "y", "z"):
        hard = faces(rng)
        for shift, model in enumerate("abc"):
            made.add(dataset, model, hard + 0.1 * shift, prompt="bbox")
        made.add(dataset, "a", hard + 0.9, prompt="easy")
    got = rows(analysed(made), "rank").set_index("item")["value"]
    assert got.to_dict() == {"a · segment": 3.0, "b · segment": 2.0, "c · segment": 1.0}


def test_arm_that_misses_datasets_is_left_out_and_named():
    made = study(np.random.default_rng(3), QUALITY, datasets=5)
    made.add("d0", "rare", faces(np.random.default_rng(4)))
    found = analysed(made)
    chi2 = rows(found, "friedman", "chi2")
    assert (chi2["n"], chi2["reason"]) == (5, "left out as incomplete: rare · segment")
    assert "rare · segment" not in set(rows(found, "rank")["item"])


@pytest.mark.parametrize(
    ("datasets", "quality"), [(1, QUALITY), (2, QUALITY), (4, {"a": 0.0}), (1, {"a": 0.0})]
)
def test_too_few_datasets_or_models_give_reasons_and_no_tests(datasets, quality):
    found = analysed(study(np.random.default_rng(5), quality, datasets=datasets))
    for analysis in ("friedman", "rank"):
        got = rows(found, analysis)
        assert got["value"].isna().all()
        assert got["reason"].str.startswith("too_few").all()
    assert rows(found, "wilcoxon")["p_value"].isna().all()
    if datasets < 3:
        assert rows(found, "direction")["p_value"].isna().all()
        assert rows(found, "kendall", "datasets")["reason"].startswith("too_few")
    assert rows(found, "variance")["reason"].notna().any()


def test_datasets_too_few_for_the_level_are_said_to_be():
    found = analysed(study(np.random.default_rng(6), QUALITY, datasets=4))
    assert (
        "4 datasets cannot give an adjusted p below 0.125 in 1 tests"
        in rows(found, "direction", "female")["reason"]
    )
    assert (
        "4 datasets cannot give an adjusted p below 0.75 in 6 tests"
        in rows(found, "wilcoxon", "d · segment")["reason"]
    )


def test_table_without_primary_metrics_is_empty(planted):
    metrics, gaps, replicates = (frame.assign(metric="iou") for frame in planted.tables())
    empty = across(metrics, gaps, replicates, alpha=0.05)
    assert not len(empty)
    assert list(empty.columns) == ACROSS.names
    assert not len(across(metrics.iloc[:0], gaps.iloc[:0], replicates.iloc[:0], alpha=0.05))


def test_val_rows_and_unknown_groups_take_no_part(planted, found):
    metrics, gaps, replicates = planted.tables()
    doubled = [
        pd.concat([frame, frame.assign(split="val")], ignore_index=True)
        for frame in (metrics, gaps, replicates)
    ]
    same(across(*doubled, alpha=0.05), found)
    unknown = [
        pd.concat([f, f[f.get("group", "") == "male"].assign(group="unknown")]) for f in (metrics, replicates)
    ]
    same(across(unknown[0], gaps, unknown[1], alpha=0.05), found)


def test_published_conventions_do_not_stand_for_the_metric(planted, found):
    metrics, gaps, replicates = planted.tables()
    other = {"value": 1.0 - metrics["value"], "convention": "empty:fairseg"}
    both = pd.concat([metrics, metrics.assign(**other)])
    drawn = pd.concat([replicates, replicates.assign(convention="empty:fairseg")])
    same(across(both, gaps, drawn, alpha=0.05), found)


def test_gaps_of_other_conventions_and_splits_judge_nothing(planted, found):
    metrics, gaps, replicates = planted.tables()
    unjudged = gaps.assign(status="undefined")
    others = [
        gaps.assign(convention="empty:fairseg"),
        gaps.assign(split="val"),
        gaps.assign(attribute="x", split="val"),
    ]
    got = across(metrics, pd.concat([unjudged, *others]), replicates, alpha=0.05)
    assert rows(got, "direction")["reason"].tolist() == ["no_gap: no dataset has two groups to compare"]
    same(
        across(metrics, pd.concat([others[0].assign(status="undefined"), gaps]), replicates, alpha=0.05),
        found,
    )


def on_others(made, people, split="test", datasets=range(5)):
    """Add a model that is best by far, on other people."""
    rng = np.random.default_rng(30)
    for dataset in datasets:
        sex = np.where(np.arange(people) % 3 == 0, "female", "male")
        made.add(f"d{dataset}", "else", faces(rng, people) + 0.2, groups={"sex": sex}, split=split)
    return made


@pytest.mark.parametrize(("people", "split"), [(PEOPLE - 3, "test"), (PEOPLE + 300, "train+val+test")])
def test_arm_measured_on_other_people_is_not_ranked_with_the_others(people, split):
    expected = analysed(study(np.random.default_rng(31), QUALITY, datasets=5))
    made = on_others(study(np.random.default_rng(31), QUALITY, datasets=5), people, split)
    got = analysed(made)
    told = "left out as measured on other people: else · segment (d0, d1, d2, d3, d4)"
    assert got["reason"].str.endswith(told).all()
    same(got.drop(columns="reason"), expected.drop(columns="reason"))


def test_arm_measured_on_other_people_somewhere_is_named_with_the_dataset():
    made = on_others(study(np.random.default_rng(32), QUALITY, datasets=5), PEOPLE, datasets=range(4))
    made = on_others(made, PEOPLE - 1, datasets=[4])
    chi2 = rows(analysed(made), "friedman", "chi2")
    assert chi2["reason"] == (
        "left out as incomplete: else · segment; left out as measured on other people: else · segment (d4)"
    )


def test_arm_with_rows_of_two_splits_takes_part_with_those_that_the_others_have(planted, found):
    metrics, gaps, replicates = planted.tables()
    wider = [
        frame[frame["model"] == "a"].assign(split="train+val+test") for frame in (metrics, gaps, replicates)
    ]
    wider[0] = wider[0].assign(value=0.0, n_subjects=900)
    both = [pd.concat([frame, more]) for frame, more in zip((metrics, gaps, replicates), wider, strict=True)]
    same(across(*both, alpha=0.05), found)


def test_seed_changes_permutations_alone():
    made = study(np.random.default_rng(33), QUALITY, datasets=4, sex_gap=0.08)
    first, again, other = (analysed(made, seed=seed) for seed in (0, 0, 1))
    same(first, analysed(made))
    same(first, again)
    permuted = (first["analysis"] == "kendall") & (first["item"] == "datasets")
    assert first[permuted]["p_value"].item() != other[permuted]["p_value"].item()
    same(first[~permuted], other[~permuted])


def test_datasets_without_a_difference_are_said_to_be_among_those_too_few():
    rng, made = np.random.default_rng(34), Study()
    for dataset in range(7):
        hard = faces(rng)
        sex = np.where(np.arange(PEOPLE) % 2, "f", "m")
        for shift, model in enumerate("ab"):
            dice = hard + 0.1 * shift * (dataset < 4)
            made.add(f"d{dataset}", model, dice, groups={"sex": sex})
    reason = rows(analysed(made), "wilcoxon").iloc[0]["reason"]
    assert "7 datasets (3 without a difference) cannot give an adjusted p below 0.125 in 1 tests" in reason


def test_attribute_without_a_judged_gap_has_a_reason(planted):
    metrics, gaps, replicates = planted.tables()
    found = across(metrics, gaps.assign(status="undefined"), replicates, alpha=0.05)
    row = rows(found, "direction").iloc[0]
    assert row["reason"].startswith("no_gap")
    assert np.isnan(row["value"])


def test_seeds_are_a_source_of_variance_and_not_more_arms():
    found = analysed(study(np.random.default_rng(7), QUALITY, datasets=4, seeds=(0, 1, 2), training=0.05))
    assert len(rows(found, "rank")) == 4
    seed = rows(found, "variance", "seed")
    assert seed["ci_low"] > 0.1
    assert seed["ci_high"] < 1.0


def found_by_chance(runs):
    hits = []
    for run in range(runs):
        made = study(np.random.default_rng(100 + run), dict.fromkeys("abcd", 0.0), datasets=8, draws=64)
        found = analysed(made)
        hits.append(
            [
                rows(found, "friedman", "chi2")["p_value"] < 0.05,
                rows(found, "wilcoxon")["p_adjusted"].min() < 0.05,
                rows(found, "direction")["p_adjusted"].min() < 0.05,
                rows(found, "kendall", "models")["p_value"] < 0.05,
                rows(found, "kendall", "datasets")["p_value"] < 0.05,
            ]
        )
    return np.mean(hits, axis=0)


def test_equal_models_and_groups_are_rarely_told_apart():
    assert (found_by_chance(16) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 16)).all()


@pytest.mark.slow
def test_size_of_every_test_over_datasets_is_at_most_six_percent():
    assert (found_by_chance(250) <= 0.06 + 3.1 * np.sqrt(0.06 * 0.94 / 250) / 2).all()
