import itertools

import numpy as np
import pandas as pd
import pytest
from comparing import PEOPLE, Study, faces, same, shuffled, study
from measuring import SICK
from scipy.stats import ttest_rel

from evaluator.compare import compare, tied
from evaluator.compare.measures import independent_units
from evaluator.measure import MeasureSettings, ResultKeys, measure_predictions
from evaluator.metrics.directions import better
from evaluator.statistics.multiplicity import holm
from evaluator.tables import COMPARISONS
from shards.errors import UserError


def compared(made, **options):
    metrics, _, replicates = made.tables()
    return compare(metrics, replicates, alpha=0.05, **options)


def one_dataset(seed, quality, **options):
    return study(np.random.default_rng(seed), quality, datasets=1, **options)


def test_better_model_leads_and_a_clearly_worse_one_is_told_apart():
    found = compared(one_dataset(0, {"a": 0.0, "b": 0.05, "c": 0.045}))
    assert list(found.columns) == COMPARISONS.names
    assert found["model"].tolist() == ["a", "c"]
    assert set(found["against_model"]) == {"b"}
    assert found["difference"].iloc[0] == pytest.approx(-0.05, abs=0.02)
    assert found["ci_high"].iloc[0] < 0 < found["ci_high"].iloc[1]
    assert tied(found, alpha=0.05).tolist() == [False, True]
    assert found["n_subjects"].tolist() == [PEOPLE, PEOPLE]


def test_p_values_are_those_of_paired_tests_and_holm_over_all_pairs():
    rng = np.random.default_rng(1)
    hard = faces(rng)
    dice = {
        name: hard + 0.05 * rng.normal(size=PEOPLE) + shift
        for name, shift in (("a", 0.0), ("b", 0.02), ("c", 0.01))
    }
    made = Study(draws=6400)
    for name, values in dice.items():
        made.add("d", name, values)
    found = compared(made)
    pairs = list(itertools.combinations(dice, 2))
    exact = {frozenset(pair): ttest_rel(dice[pair[0]], dice[pair[1]]).pvalue for pair in pairs}
    family = dict(zip(exact, holm(list(exact.values())), strict=True))
    for row in found.to_dict("records"):
        pair = frozenset((row["model"], row["against_model"]))
        assert row["p_value"] == pytest.approx(exact[pair], rel=0.2)
        assert row["p_adjusted"] == pytest.approx(family[pair], rel=0.2)
        assert "over all 3 pairs" in row["reason"]


def test_order_of_rows_does_not_matter():
    metrics, _, replicates = one_dataset(2, {"a": 0.0, "b": 0.01, "c": 0.02}, seeds=(0, 1, 2)).tables()
    first = compare(metrics, replicates, alpha=0.05)
    same(first, compare(shuffled(metrics, 1), shuffled(replicates, 2), alpha=0.05))


def test_names_of_arms_do_not_matter():
    metrics, _, replicates = one_dataset(3, {"a": 0.0, "b": 0.01, "c": 0.02}).tables()
    names = {"a": "z", "b": "y", "c": "x"}
    renamed = [frame.assign(model=frame["model"].map(names)) for frame in (metrics, replicates)]
    first = compare(metrics, replicates, alpha=0.05)
    first = first.assign(model=first["model"].map(names), against_model=first["against_model"].map(names))
    again = compare(*renamed, alpha=0.05)
    same(first.sort_values("model", ignore_index=True), again)


def test_against_a_baseline_the_family_is_the_arms():
    found = compared(one_dataset(4, {"a": 0.0, "b": 0.02, "c": 0.01}), baseline="a")
    assert found["model"].tolist() == ["b", "c"]
    assert set(found["against_model"]) == {"a"}
    assert found["p_adjusted"].tolist() == pytest.approx(holm(found["p_value"].to_numpy()).tolist())
    assert found["reason"].isna().all()


def test_baseline_is_compared_by_its_arm_of_the_same_usage():
    rng = np.random.default_rng(5)
    hard, made = faces(rng), Study()
    for model, usage, shift in (
        ("a", "lora", 0.0),
        ("a", "probe", 0.1),
        ("b", "lora", 0.0),
        ("b", "zero_shot", 0.0),
    ):
        made.add("d", model, hard + shift + 0.05 * rng.normal(size=PEOPLE), usage=usage)
    found = compared(made, baseline="a")
    assert found["usage"].tolist() == ["lora", "zero_shot"]
    assert found["against_usage"].tolist() == ["lora", "probe"]


def test_unknown_baseline_names_the_nearest_model():
    with pytest.raises(UserError, match="sam-vit-b"):
        compared(one_dataset(6, {"sam-vit-b": 0.0, "medsam": 0.0}), baseline="sam-vit-d")


def test_baseline_that_is_not_in_a_question_leaves_a_reason():
    made = study(np.random.default_rng(7), {"a": 0.0, "b": 0.0}, datasets=1)
    made.add("other", "b", faces(np.random.default_rng(8)))
    found = compared(made, baseline="a")
    other = found[found["dataset"] == "other"].iloc[0]
    assert (other["status"], other["reason"]) == ("undefined", "no_baseline: a has no value here")
    assert np.isnan(other["difference"])


def test_arms_on_other_subjects_are_never_compared():
    made = one_dataset(9, {"a": 0.0, "b": 0.01})
    made.add("d0", "fewer", faces(np.random.default_rng(10), PEOPLE - 3) + 0.5)
    found = compared(made).set_index("model")
    assert found.loc["a", "against_model"] == "b"
    assert found.loc["fewer", "status"] == "undefined"
    assert found.loc["fewer", "reason"] == "different_subjects: 117 and 120 subjects measured"
    assert found.loc["fewer", ["difference", "p_value", "p_adjusted"]].isna().all()


def test_different_numbers_of_replicates_are_never_paired():
    metrics, _, replicates = one_dataset(11, {"a": 0.0, "b": 0.01}).tables()
    short = (replicates["model"] == "a") & (replicates["attribute"] == "all")
    replicates["values"] = [v[:50] if cut else v for v, cut in zip(replicates["values"], short, strict=True)]
    found = compare(metrics, replicates, alpha=0.05)
    assert found["reason"].tolist() == ["different_replicates: 50 and 200"]
    assert found["status"].tolist() == ["undefined"]


def test_without_replicates_the_difference_stays_without_a_claim():
    metrics, _, replicates = one_dataset(12, {"a": 0.0, "b": 0.3}).tables()
    found = compare(metrics, replicates.iloc[:0], alpha=0.05).iloc[0]
    assert found["difference"] == pytest.approx(-0.3, abs=0.02)
    assert (found["status"], found["reason"]) == ("ok", "no interval: no_replicates")
    assert np.isnan(found["p_value"])
    assert tied(compare(metrics, replicates.iloc[:0], alpha=0.05), alpha=0.05).all()


def test_single_arm_is_a_row_with_a_reason():
    found = compared(one_dataset(13, {"a": 0.0}))
    assert found["reason"].tolist() == ["single_arm: nothing to compare with"]
    assert found["status"].tolist() == ["undefined"]
    assert found["against_model"].isna().all()
    same(found, compared(one_dataset(13, {"a": 0.0}), baseline="a"))


def test_undefined_value_keeps_its_row_and_its_reason():
    metrics, _, replicates = one_dataset(14, {"a": 0.0, "b": 0.01, "c": 0.02}).tables()
    gone = metrics["model"] == "c"
    metrics = metrics.assign(
        value=metrics["value"].mask(gone),
        status=metrics["status"].mask(gone, "undefined"),
        reason=gone.map({True: "one_class"}),
    )
    found = compare(metrics, replicates, alpha=0.05).set_index("model")
    assert found.loc["c", "reason"] == "one_class"
    assert found.loc["c", "status"] == "undefined"
    assert found.loc["a", "against_model"] == "b"


def test_empty_tables_give_an_empty_table():
    metrics, _, replicates = one_dataset(15, {"a": 0.0}).tables()
    found = compare(metrics.iloc[:0], replicates.iloc[:0], alpha=0.05)
    assert list(found.columns) == COMPARISONS.names
    assert not len(found)


def test_seeds_are_averaged_and_widen_the_interval():
    found = compared(one_dataset(16, {"a": 0.0, "b": 0.01}, seeds=(0, 1, 2), training=0.03)).iloc[0]
    single = compared(one_dataset(16, {"a": 0.0, "b": 0.01}, seeds=(0,), training=0.03)).iloc[0]
    assert np.isnan(found["seed"])
    assert single["seed"] == 0
    assert found["ci_high"] - found["ci_low"] > 1.5 * (single["ci_high"] - single["ci_low"])
    assert "subjects and seeds combined" in found["reason"]
    assert "variance of training not known" in single["reason"]


def test_same_arm_run_twice_with_one_seed_is_said():
    made = one_dataset(17, {"a": 0.0, "b": 0.0})
    made.add("d0", "a", faces(np.random.default_rng(18)), task="other")
    metrics, _, replicates = made.tables()
    found = compare(metrics, replicates, alpha=0.05)
    assert found["reason"].str.contains("several results of one seed, averaged").all()
    same(found, compare(metrics[::-1], replicates[::-1], alpha=0.05))


def test_prompts_are_arms_of_their_own():
    rng = np.random.default_rng(19)
    hard, made = faces(rng), Study()
    for prompt, shift in (("bbox", 0.1), ("center", 0.0)):
        made.add("d", "sam", hard + shift + 0.05 * rng.normal(size=PEOPLE), prompt=prompt)
    found = compared(made)
    assert found[["prompt", "against_prompt"]].to_numpy().tolist() == [["center", "bbox"]]


def lower_is_better(made, metric):
    return [frame.assign(metric=metric, convention=metric) for frame in (made.tables()[0], made.tables()[2])]


def test_of_errors_the_smallest_leads():
    found = compare(*lower_is_better(one_dataset(20, {"a": 0.0, "b": 0.1}), "brier"), alpha=0.05)
    assert found["against_model"].tolist() == ["a"]
    assert found["difference"].iloc[0] > 0


def test_metric_of_unknown_direction_has_no_leader_but_can_have_a_baseline():
    tables = lower_is_better(one_dataset(21, {"a": 0.0, "b": 0.1}), "made_up")
    found = compare(*tables, alpha=0.05)
    assert set(found["status"]) == {"undefined"}
    assert found["reason"].str.startswith("no_direction").all()
    assert compare(*tables, alpha=0.05, baseline="a")["p_adjusted"].iloc[0] < 0.05


def test_metric_that_does_not_judge_is_compared_with_a_baseline_only():
    tables = lower_is_better(one_dataset(21, {"a": 0.0, "b": 0.1}), "selection_rate")
    assert not len(compare(*tables, alpha=0.05))
    assert compare(*tables, alpha=0.05, baseline="a")["p_adjusted"].iloc[0] < 0.05


def test_plain_calibration_errors_differ_without_interval_and_test():
    tables = lower_is_better(one_dataset(21, {"a": 0.0, "b": 0.1, "c": 0.2}, seeds=(0, 1)), "ece")
    for baseline in (None, "a"):
        found = compare(*tables, alpha=0.05, baseline=baseline)
        assert set(found["status"]) == {"ok"}
        assert (found["difference"] > 0.05).all()
        assert found[["ci_low", "ci_high", "p_value", "p_adjusted"]].isna().all(axis=None)
        assert found["reason"].str.startswith("no interval: biased_upward").all()
        assert not found["reason"].str.contains("p adjusted|subjects and seeds combined").any()
        assert tied(found, alpha=0.05).all()


def moved(replicates, model, by):
    values = zip(replicates["model"], replicates["values"], strict=True)
    return replicates.assign(values=[np.asarray(v) + by * (name == model) for name, v in values])


@pytest.mark.parametrize("seeds", [(None,), (0, 1)])
def test_replicates_of_a_debiased_square_are_brought_back_to_the_value(seeds):
    metrics, replicates = lower_is_better(one_dataset(23, {"a": 0.0, "b": 0.02}, seeds=seeds), "ce2")
    found, biased = (
        compare(metrics, draws, alpha=0.05) for draws in (replicates, moved(replicates, "a", 0.4))
    )
    same(found, biased)
    assert (found["ci_low"] < found["difference"]).all()
    assert (found["difference"] < found["ci_high"]).all()


def test_replicates_of_other_metrics_are_taken_as_they_are():
    metrics, replicates = lower_is_better(one_dataset(23, {"a": 0.0, "b": 0.02}), "brier")
    found, biased = (
        compare(metrics, draws, alpha=0.05) for draws in (replicates, moved(replicates, "a", 0.4))
    )
    assert abs(found["ci_low"].iloc[0] - biased["ci_low"].iloc[0]) == pytest.approx(0.4)


def measured_calibration(rng, names):
    """Two well-calibrated models on the same people, measured by the engine."""
    people = 150
    hidden = rng.normal(size=people)
    sick = rng.random(people) < 1 / (1 + np.exp(-1.5 * hidden))
    ids = [f"p{person}" for person in range(people)]
    settings = MeasureSettings(bootstrap=150, permutations=0, metrics=names)
    measured = []
    for model in ("a", "b"):
        score = 1 / (1 + np.exp(-1.5 * (hidden + 0.3 * rng.normal(size=people))))
        table = pd.DataFrame({"sample_id": ids, "subject_id": ids, "split": "test", "target": "disease"})
        table = table.assign(
            label=np.where(sick, "sick", "healthy"), score=score, status="ok", scores=None, predicted=None
        )
        attributes = table[["sample_id", "subject_id"]]
        keys = ResultKeys(dataset="d", model=model, usage="probe")
        measured.append(measure_predictions(table, attributes, SICK, (), settings, keys))
    return (
        pd.concat([getattr(one, name).to_pandas() for one in measured]) for name in ("metrics", "replicates")
    )


def test_equally_calibrated_models_are_rarely_told_apart():
    rng, found = np.random.default_rng(24), []
    for _ in range(60):
        metrics, replicates = measured_calibration(rng, ("ece", "ce2"))
        table = compare(metrics, replicates, alpha=0.05, baseline="a").set_index("metric")
        assert np.isnan(table.loc["ece", "p_value"])
        row = table.loc["ce2"]
        found.append((row["p_value"] <= 0.05, row["ci_low"] <= 0 <= row["ci_high"]))
    rejected, covered = np.mean(found, axis=0)
    assert rejected <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 60)
    assert covered >= 0.95 - 3.1 * np.sqrt(0.05 * 0.95 / 60)


def test_degrees_of_freedom_count_subjects_of_a_class_and_not_their_images():
    made = one_dataset(25, {"a": 0.0, "b": 0.005})
    metrics, replicates = (
        frame.assign(metric="auc", convention="auc:midrank") for frame in (made.tables()[0], made.tables()[2])
    )
    metrics = metrics.assign(n_pos=40, n_neg=400)

    def p_of(pos, neg):
        counted = metrics.assign(
            n_subjects_pos=pd.array([pos] * len(metrics), "Int64").to_numpy(float, na_value=np.nan),
            n_subjects_neg=pd.array([neg] * len(metrics), "Int64").to_numpy(float, na_value=np.nan),
        )
        return compare(counted, replicates, alpha=0.05)["p_value"].iloc[0]

    by_images = compare(metrics, replicates, alpha=0.05)["p_value"].iloc[0]
    old = metrics.drop(columns=["n_subjects_pos", "n_subjects_neg"])
    assert compare(old, replicates, alpha=0.05)["p_value"].iloc[0] == by_images == p_of(40, 80)
    assert p_of(5, 80) == p_of(80, 5) > p_of(20, 80) > by_images


def test_values_of_val_are_compared_only_where_they_have_replicates():
    metrics, _, replicates = one_dataset(22, {"a": 0.0, "b": 0.1}).tables()
    both = pd.concat([metrics, metrics.assign(split="val")])
    assert compare(both, replicates, alpha=0.05)["split"].tolist() == ["test"]
    drawn = pd.concat([replicates, replicates.assign(split="val")])
    assert compare(both, drawn, alpha=0.05)["split"].tolist() == ["test", "val"]


def test_area_under_a_curve_rests_on_the_rarer_class():
    assert independent_units("auc", subjects=500, positives=12, negatives=700) == 12
    assert independent_units("specificity", subjects=500, positives=12, negatives=700) == 500
    assert independent_units("fnr", subjects=500, positives=12, negatives=700) == 12
    assert independent_units("fpr", subjects=500, positives=12, negatives=90) == 90
    assert independent_units("auc", subjects=500, positives=None, negatives=None) == 500
    assert independent_units("dice", subjects=500, positives=12, negatives=700) == 500


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("auc", "higher"), ("hd95_mm", "lower"), ("threshold", "neither"), ("no_such_metric", "unknown")],
)
def test_direction_of_metrics(metric, expected):
    assert better(metric) == expected


def leaders_found(runs, models=6):
    found = []
    for run in range(runs):
        made = one_dataset(1000 + run, {f"m{number}": 0.0 for number in range(models)}, draws=128)
        table = compared(made)
        found.append((table["p_adjusted"].min() < 0.05, holm(table["p_value"].to_numpy()).min() < 0.05))
    return np.mean(found, axis=0)


def test_equal_models_are_rarely_told_from_the_luckiest_of_them():
    ours, naive = leaders_found(150)
    assert ours <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 150)
    assert naive > ours
