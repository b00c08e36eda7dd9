"""What conventions, kinds of gaps, curves, replicates, val rows and re-weighting add to a measurement."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from entropy import benefits, entropy_between_groups
from fairlearn.metrics import (
    demographic_parity_difference,
    demographic_parity_ratio,
    equal_opportunity_difference,
    equalized_odds_difference,
)
from measuring import KEYS, QUICK, cases, masks, measurement, predicted, row, segmented

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, measure_segmentations
from evaluator.metrics.legacy import fairclip_report, fairmedfm_report, medfair_report
from shards.card import Target
from shards.errors import UserError


def settings(*conventions, **more):
    return MeasureSettings(**{"bootstrap": 100, "permutations": 99, "conventions": conventions, **more})


def gaps_of(*conventions, data=None, **more):
    data = cases(300) if data is None else data
    return measurement(*data, settings=settings(*conventions, **more)).gaps.to_pandas()


def arrays(predictions, attributes):
    return (
        predictions["score"].to_numpy(float),
        predictions["label"].eq("sick").to_numpy(),
        attributes["sex"].to_numpy(str),
    )


def test_gaps_of_decisions_agree_with_fairlearn():
    data = cases(300)
    table = gaps_of("fairlearn", data=data, threshold="fixed:0.5")
    score, sick, sex = arrays(*data)
    told = {"y_true": sick, "y_pred": score >= 0.5, "sensitive_features": sex}
    expected = {
        ("demographic_parity", "dp:diff"): demographic_parity_difference(**told),
        ("demographic_parity", "dp:ratio"): demographic_parity_ratio(**told),
        ("equal_opportunity", "eqopp:tpr_gap"): equal_opportunity_difference(**told),
        ("equalized_odds", "eqodds:max"): equalized_odds_difference(**told),
        ("equalized_odds", "eqodds:mean"): equalized_odds_difference(**told, agg="mean"),
    }
    for (metric, kind), value in expected.items():
        found = row(table, metric=metric, kind=kind, convention="fixed:0.5")
        assert found["raw"] == pytest.approx(value, abs=1e-10)


def test_the_fairmedfm_preset_reproduces_its_report():
    data = cases(300, seed=3)
    score, sick, sex = arrays(*data)
    expected = fairmedfm_report(score, sick, sex)
    measured = measurement(*data, settings=settings("fairmedfm"))
    metrics, gaps = measured.metrics.to_pandas(), measured.gaps.to_pandas()
    value = lambda **where: row(metrics, group="all", **where)["value"]  # noqa: E731
    gap = lambda **where: row(gaps, **where)["raw"]  # noqa: E731
    assert value(metric="auc") == pytest.approx(expected["overall-auc"], abs=1e-10)
    assert value(metric="log_loss", convention="bce:clamp100") == pytest.approx(
        expected["overall-bce"], abs=1e-8
    )
    assert value(metric="ece", convention="ece:range10") == pytest.approx(expected["overall-ece"], abs=1e-10)
    assert value(metric="accuracy", convention="test:f1:legacy") == pytest.approx(
        expected["overall-acc"], abs=1e-10
    )
    assert gap(metric="auc", kind="worst") == pytest.approx(expected["worst-auc"], abs=1e-10)
    assert gap(metric="auc", kind="max-min") == pytest.approx(expected["auc-gap"], abs=1e-10)
    of_legacy = {"convention": "test:f1:legacy"}
    assert gap(metric="equal_opportunity", kind="eqopp:tpr_gap", **of_legacy) == pytest.approx(
        expected["eo"], abs=1e-10
    )
    odds = gap(metric="equalized_odds", kind="eqodds:one_minus_mean", **of_legacy)
    assert odds == pytest.approx(expected["eod"], abs=1e-10)
    told = metrics[metrics["convention"] == "test:f1:legacy"]["reason"]
    assert told.str.contains("optimistic").all()


def test_the_medfair_and_fairclip_presets_reproduce_their_reports():
    data = cases(300, seed=4)
    score, sick, sex = arrays(*data)
    gaps = gaps_of("medfair", "fairclip", data=data)
    medfair, fairclip = medfair_report(score, sick, sex), fairclip_report(score, sick, sex)
    fixed, best = {"convention": "fixed:0.5"}, {"convention": "test:f1:legacy"}
    for expected, metric, kind, where in (
        (fairclip["ES-AUC"], "auc", "es:sum", {}),
        (fairclip["PSD-std"], "auc", "psd:std", {}),
        (fairclip["PSD-max"], "auc", "psd:max", {}),
        (fairclip["ES-Acc"], "accuracy", "es:sum", fixed),
        (fairclip["DPD"], "demographic_parity", "dp:diff", fixed),
        (fairclip["DEOdds"], "equalized_odds", "eqodds:max", fixed),
        (medfair["EqOdd"], "equalized_odds", "eqodds:medfair", best),
        (medfair["DP"], "demographic_parity", "dp:one_minus", best),
        (
            medfair["EqOdd_specificity_0.8"],
            "equalized_odds",
            "eqodds:medfair",
            {"convention": "test:tnr=0.8:medfair"},
        ),
    ):
        assert row(gaps, metric=metric, kind=kind, **where)["raw"] == pytest.approx(expected, abs=1e-10)


def test_every_kind_has_chance_taken_off_it_and_shares_the_p_value_of_its_gap():
    gaps = gaps_of("es:popstd", "psd:std", "std", data=cases(400, weaker="female", drop=0.6))
    auc = gaps[gaps["metric"] == "auc"].set_index("kind")
    assert (
        auc.loc[["max-min", "ratio", "worst", "es:sum", "es:popstd", "psd:std", "std"], "p_value"].nunique()
        == 1
    )
    assert auc.loc["max-min", "adjusted"] <= auc.loc["max-min", "raw"]
    assert auc.loc["es:sum", "raw"] <= auc.loc["es:sum", "adjusted"] <= 1.0
    assert auc.loc["worst", "adjusted"] >= auc.loc["worst", "raw"]
    assert auc.loc["variance:corrected", "raw"] < auc.loc["max-min", "raw"] ** 2


def test_groups_that_are_compared_have_an_overall_value_without_unknown():
    predictions, attributes = cases(400, unknown=0.4)
    known = attributes["sex"].notna().to_numpy()
    whole = gaps_of(data=(predictions, attributes))
    part = gaps_of(data=(predictions[known], attributes[known]))
    for kind in ("es:sum", "worst"):
        assert row(whole, metric="auc", kind=kind)["raw"] == pytest.approx(
            row(part, metric="auc", kind=kind)["raw"], abs=1e-12
        )


def test_fewer_than_two_groups_leave_every_kind_undefined():
    predictions, attributes = cases(60)
    gaps = gaps_of("fairclip", data=(predictions, attributes.assign(sex="female")))
    assert set(gaps["status"]) == {"undefined"}
    assert gaps["raw"].isna().all()


def test_optional_metrics_appear_where_they_are_asked_for():
    asked = (
        "fpr",
        "fnr",
        "auprc:adjusted",
        "auprg",
        "ge:2",
        "tpr_at_tnr80",
        "calibration:line",
        "ece:mass10",
        "ece:range10",
    )
    metrics, _ = predicted(*cases(300), settings=settings(*asked))
    named = set(zip(metrics["metric"], metrics["convention"], strict=True))
    assert {
        ("fpr", "fixed:0.5"), ("fnr", "fixed:0.5"), ("average_precision", "auprc:adjusted"), ("auprg", "auprg"),
        ("generalised_entropy", "fixed:0.5"), ("sensitivity", "tpr_at_tnr80"), ("calibration_slope", "calibration:line"),
        ("calibration_intercept", "calibration:line"), ("ece", "ece:mass10"), ("ece", "ece:range10"),
    } <= named  # fmt: skip
    overall = metrics[metrics["group"] == "all"].set_index(["metric", "convention"])
    sensitivity = overall.loc[("sensitivity", "fixed:0.5"), "value"]
    assert overall.loc[("fnr", "fixed:0.5"), "value"] == pytest.approx(1 - sensitivity)
    pointwise = overall.loc[("ece", "ece:range10")]
    assert pointwise["status"] == "ok"
    assert "no interval" in pointwise["reason"]


@pytest.mark.parametrize(
    ("classes", "missed"), [(("healthy", "sick"), "sick"), (("sick", "No Finding"), "No Finding")]
)
def test_underdiagnosis_is_the_miss_of_disease_whichever_class_is_positive(classes, missed):
    predictions, attributes = cases(300)
    ill = predictions["label"].eq("sick")
    target = Target("disease", classes, missed)
    named = predictions.assign(
        label=np.where(ill, "sick", "healthy" if missed == "sick" else "No Finding"),
        score=predictions["score"] if missed == "sick" else 1 - predictions["score"],
        scores=None,
    )
    metrics, _ = predicted(named, attributes, settings=settings("diagnosis:rates"), target=target)
    found = row(metrics, group="all", metric="underdiagnosis")["value"]
    decided_ill = predictions["score"] >= 0.5
    assert found == pytest.approx((ill & ~decided_ill).sum() / ill.sum())


def test_val_rows_are_measured_for_choosing_models_and_only_the_primary_metric():
    measured = measurement(*cases(500, val=0.4), settings=settings()).metrics.to_pandas()
    val = measured[measured["split"] == "val"]
    assert set(val["metric"]) == {"auc"}
    assert set(val["group"]) == {"all", "female", "male"}
    assert (val["value"].notna() & val["ci_low"].notna()).all()
    assert "val" not in set(measurement(*cases(100), settings=settings()).metrics.to_pandas()["split"])


def test_thresholds_of_groups_are_chosen_on_val_rows_of_the_group_and_marked():
    predictions, attributes = cases(900, val=0.5)
    predictions = predictions.assign(
        scores=None,
        score=np.where(
            attributes["sex"].to_numpy() == "female", 0.5 * predictions["score"], predictions["score"]
        ),
    )
    measured = measurement(predictions, attributes, settings=settings("group:val:youden"))
    metrics = measured.metrics.to_pandas()
    own = metrics[metrics["convention"] == "group:val:youden"]
    assert set(own["attribute"]) == {"sex"}
    assert own["reason"].str.contains("analysis of sensitivity").all()
    women = {"group": "female", "metric": "balanced_accuracy", "split": "test"}
    assert (
        row(metrics, convention="group:val:youden", **women)["value"]
        > row(metrics, convention="val:youden", **women)["value"]
    )
    gaps = measured.gaps.to_pandas()
    assert (gaps["convention"] == "group:val:youden").any()


def test_curves_are_points_of_each_group():
    predictions, attributes = cases(300)
    curves = measurement(predictions, attributes).curves.to_pandas()
    assert set(curves["curve"]) == {"roc", "calibration"}
    for group in ("female", "male"):
        roc = row(curves, curve="roc", group=group)
        x, y = roc["x"], roc["y"]
        assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all()
        metrics, _ = predicted(predictions, attributes)
        area = np.trapezoid(y, x)
        assert area == pytest.approx(row(metrics, group=group, metric="auc")["value"], abs=0.01)
        bins = row(curves, curve="calibration", group=group)
        assert bins["n"].sum() == (attributes["sex"] == group).sum()
        assert ((bins["y"] >= 0) & (bins["y"] <= 1)).all()
    small = measurement(*cases(30)).curves.to_pandas()
    assert set(small["group"]) == {"all"}


def test_replicates_are_kept_for_comparing_models():
    other = dataclasses.replace(KEYS, model="other")
    one, two = (measurement(*cases(200, seed=0), keys=keys).replicates.to_pandas() for keys in (KEYS, other))
    assert set(one[one["attribute"] == "sex"]["metric"]) == {"auc"}
    assert {"auc", "accuracy", "brier"} <= set(one[one["attribute"] == "all"]["metric"])
    assert all(len(values) == QUICK.bootstrap for values in one["values"])
    np.testing.assert_array_equal(np.stack(one["values"]), np.stack(two["values"]))


def test_standardised_values_take_a_difference_in_case_mix_out():
    rng = np.random.default_rng(0)
    predictions, attributes = cases(3000)
    old = attributes["age"] >= 60
    sick = predictions["label"].eq("sick").to_numpy()
    sex = np.where(rng.random(3000) < np.where(old, 0.8, 0.2), "female", "male")
    noise = rng.normal(size=3000)
    score = 1 / (1 + np.exp(-(noise + np.where(old, 0.6, 2.2) * (sick - 0.5))))
    predictions = predictions.assign(score=score, scores=None)
    attributes = attributes.assign(sex=sex)
    measured = measurement(
        predictions, attributes, {"sex": {}, "age": {"bins": [60]}}, settings(standardize=("age",))
    )
    gaps = measured.gaps.to_pandas()
    raw = row(gaps, attribute="sex", metric="auc", kind="max-min", convention="auc:midrank")
    fair = row(gaps, attribute="sex", metric="auc", convention="auc:midrank|age-standardised")
    assert raw["p_value"] < 0.05
    assert fair["raw"] < 0.4 * raw["raw"]
    assert fair["p_value"] > 0.05
    assert fair["adjusted"] < fair["raw"]
    assert not (gaps["convention"].str.contains("standardised") & (gaps["attribute"] == "age")).any()


def test_a_group_that_lacks_a_stratum_has_no_standardised_value():
    predictions, attributes = cases(400)
    women = attributes["sex"] == "female"
    attributes = attributes.assign(age=attributes["age"].where(~women, 30.0))
    measured = measurement(
        predictions, attributes, {"sex": {}, "age": {"bins": [60]}}, settings(standardize=("age",))
    )
    metrics = measured.metrics.to_pandas()
    found = row(metrics, group="female", metric="auc", convention="auc:midrank|age-standardised")
    assert found["status"] == "undefined"
    assert "60+" in found["reason"]


def test_standardising_by_what_is_no_attribute_is_an_error_that_names_the_near_one():
    with pytest.raises(UserError, match="did you mean 'sex'"):
        measurement(*cases(60), settings=settings(standardize=("sx",)))


def test_prevalence_can_be_standardised():
    measured = measurement(*cases(400), settings=settings(standardize=("target",)))
    found = row(measured.gaps.to_pandas(), convention="auc:midrank|target-standardised")
    plain = row(measured.gaps.to_pandas(), metric="auc", kind="max-min", convention="auc:midrank")
    assert found["raw"] == pytest.approx(plain["raw"], abs=1e-12)  # AUC does not depend on prevalence


def test_decisions_without_scores_have_no_auc_and_no_calibration():
    predictions, attributes = cases(300)
    labels = predictions.drop(columns=["score", "scores", "logits"])
    metrics, gaps = predicted(labels, attributes)
    auc = row(metrics, group="all", metric="auc")
    assert (auc["status"], auc["reason"]) == (
        "undefined",
        "labels_only: the table holds decisions and no scores",
    )
    scored, _ = predicted(predictions, attributes, settings=settings(threshold="fixed:0.5"))
    for metric in ("accuracy", "sensitivity", "ppv"):
        mine = row(metrics, group="female", metric=metric)
        assert mine["convention"] == "decisions:given"
        assert mine["value"] == pytest.approx(row(scored, group="female", metric=metric)["value"])
    assert not {"brier", "ece", "log_loss", "average_precision"} & set(metrics["metric"])
    assert row(gaps, metric="auc")["status"] == "undefined"


@pytest.mark.parametrize("method", ["percentile", "bca", "t"])
def test_one_method_of_intervals_can_be_asked_for(method):
    metrics, _ = predicted(*cases(300, images=2), settings=settings(interval=method, bootstrap=400))
    found = row(metrics, group="all", metric="auc")
    assert found["interval"] == method
    automatic, _ = predicted(*cases(300, images=2), settings=settings(bootstrap=400))
    reference = row(automatic, group="all", metric="auc")
    assert found["ci_low"] == pytest.approx(reference["ci_low"], abs=0.02)
    assert found["ci_high"] == pytest.approx(reference["ci_high"], abs=0.02)


def test_small_groups_are_pulled_toward_the_others_and_keep_an_estimate_where_their_value_is_suppressed():
    predictions, attributes = cases(600, images=1)
    rare = attributes["sex"].mask(np.arange(600) % 50 == 0, "other")
    metrics, _ = predicted(predictions, attributes.assign(sex=rare))
    found = row(metrics, group="other", metric="accuracy")
    assert found["status"] == "suppressed"
    assert np.isnan(found["value"])
    values = [row(metrics, group=sex, metric="accuracy")["value"] for sex in ("female", "male")]
    assert abs(found["shrunk"] - np.mean(values)) < 0.05
    large = row(metrics, group="female", metric="accuracy")
    assert large["shrunk"] == pytest.approx(large["value"], abs=0.02)
    assert metrics[metrics["attribute"] == "all"]["shrunk"].isna().all()


def test_few_subjects_get_student_intervals_for_means():
    segmentations, attributes = masks(15)
    metrics, _ = segmented(segmentations, attributes)
    assert row(metrics, group="all", metric="dice")["interval"] == "t"
    metrics, _ = segmented(*masks(200))
    assert row(metrics, group="all", metric="dice")["interval"] == "percentile-expanded"


def test_hundreds_of_groups_and_single_subjects_never_become_numbers():
    predictions, attributes = cases(300)
    attributes = attributes.assign(site=[f"s{i % 150}" for i in range(300)])
    metrics, gaps = predicted(predictions, attributes, {"site": {}})
    sites = metrics[metrics["attribute"] == "site"]
    assert set(sites["status"]) == {"suppressed"}
    assert sites["value"].isna().all()
    assert set(gaps["status"]) == {"undefined"}


def test_constant_and_tied_scores_have_an_auc_of_one_half_and_no_gap():
    predictions, attributes = cases(200)
    constant = predictions.assign(score=0.3, scores=None)
    metrics, gaps = predicted(constant, attributes)
    assert row(metrics, group="all", metric="auc")["value"] == 0.5
    gap = row(gaps, metric="auc")
    assert (gap["raw"], gap["p_value"]) == (0.0, 1.0)
    sensitivity = row(metrics, group="all", metric="ppv")
    assert (sensitivity["status"], sensitivity["value"]) == ("undefined", pytest.approx(np.nan, nan_ok=True))


def test_scores_that_are_not_numbers_are_counted_in_their_group():
    predictions, attributes = cases(200)
    women = (attributes["sex"] == "female").to_numpy()
    broken = predictions.assign(
        score=predictions["score"].mask(women & (np.arange(200) % 10 == 0)), scores=None
    )
    metrics, _ = predicted(broken, attributes)
    lost = int((women & (np.arange(200) % 10 == 0)).sum())
    assert row(metrics, group="female", metric="auc")["n_failed"] == lost
    assert row(metrics, group="male", metric="auc")["n_failed"] == 0
    assert row(metrics, group="female", metric="auc")["n"] == women.sum() - lost


def test_names_may_hold_anything():
    predictions, attributes = cases(200)
    strange = attributes.assign(sex=attributes["sex"].map({"female": "<b>女性</b>", "male": "=1+1"}))
    metrics, gaps = predicted(predictions, strange)
    assert {"<b>女性</b>", "=1+1"} <= set(metrics["group"])
    assert pd.notna(row(gaps, metric="auc")["p_value"])


def test_measuring_again_gives_the_same_bits():
    one, two = (measurement(*cases(200, val=0.3), settings=settings("fairclip")) for _ in range(2))
    assert one.metrics.equals(two.metrics)
    assert one.gaps.equals(two.gaps)


def test_standardised_dice_counts_subjects_and_not_images():
    rng = np.random.default_rng(0)
    people = 800
    sex, old = rng.choice(["female", "male"], people), rng.random(people) < 0.5
    images = np.where((sex == "female") == old, 6, 1)
    person = np.repeat(np.arange(people), images)
    segmentations = pd.DataFrame(
        {
            "sample_id": [f"s{i:05d}" for i in range(len(person))],
            "subject_id": [f"p{i:05d}" for i in person],
            "split": "test", "structure": "cup", "prompt": "bbox", "status": "ok",
            "dice": np.where(old, 0.6, 0.9)[person] + 0.02 * rng.normal(size=len(person)),
        }
    )  # fmt: skip
    attributes = segmentations[["sample_id"]].assign(sex=sex[person], age=np.where(old, 70.0, 30.0)[person])
    rules = parse_groups({"sex": {}, "age": {"bins": [60]}})
    measured = measure_segmentations(segmentations, attributes, rules, settings(standardize=("age",)), KEYS)
    gaps = measured.gaps.to_pandas()
    mine = gaps[gaps["convention"].str.contains("age-standardised") & (gaps["metric"] == "dice")]
    assert (mine["raw"] < 0.01).all()
    assert (mine["p_value"] > 0.05).all()


def test_a_group_without_errors_does_not_get_the_smallest_p_value_of_standard_errors():
    predictions, attributes = cases(300)
    sick, women = predictions["label"].eq("sick"), (attributes["sex"] == "female").to_numpy()
    perfect = predictions["score"].where(~women, 0.9 * sick + 0.05)
    measured = measurement(
        predictions.assign(score=perfect, scores=None), attributes, settings=settings(standardize=("target",))
    )
    gaps = measured.gaps.to_pandas()
    by_errors = row(gaps, convention="auc:midrank|target-standardised")["p_value"]
    by_permutation = row(gaps, metric="auc", kind="max-min", convention="auc:midrank")["p_value"]
    assert by_errors > 0
    assert by_permutation / 100 < by_errors < 1


@pytest.mark.parametrize("preset", ["fairmedfm", "fairseg", "fairclip", "es:mean"])
def test_scores_are_scaled_and_what_is_no_score_is_left_alone(preset):
    gaps = gaps_of(preset, "calibration:line", "ge:2", "group:val:youden")
    scaled = gaps[gaps["kind"].str.startswith("es:")]
    assert "auc" in set(scaled["metric"])
    assert not {"calibration_slope", "mean_benefit", "selection_rate"} & set(scaled["metric"])


def test_values_that_are_neither_good_nor_bad_have_no_worst_group():
    gaps = gaps_of("calibration:line")
    found = row(gaps, metric="selection_rate", kind="max-min")
    assert found["raw"] >= 0
    assert pd.isna(found["best_group"])
    assert "neither is better" in found["reason"]
    assert gaps[(gaps["metric"] == "calibration_slope") & (gaps["kind"] == "worst")].empty


def test_a_group_without_a_threshold_of_its_own_is_undefined_and_leaves_the_gap():
    predictions, attributes = cases(600, val=0.5)
    women = (attributes["sex"] == "female").to_numpy()
    label = predictions["label"].mask(women & (predictions["split"] == "val"), "healthy")
    measured = measurement(predictions.assign(label=label), attributes, settings=settings("group:val:youden"))
    metrics, gaps = measured.metrics.to_pandas(), measured.gaps.to_pandas()
    own = {"convention": "group:val:youden", "metric": "accuracy"}
    found = row(metrics, group="female", **own)
    assert (found["status"], found["reason"].split(":")[0]) == ("undefined", "no_threshold")
    assert row(metrics, group="male", **own)["status"] == "ok"
    assert row(gaps, kind="max-min", **own)["status"] == "undefined"


def test_a_predictive_value_of_a_handful_of_decisions_is_suppressed():
    predictions, attributes = cases(400)
    women = (attributes["sex"] == "female").to_numpy()
    few = women & (np.cumsum(women) > 12)
    metrics, gaps = predicted(
        predictions.assign(score=predictions["score"].where(~few, 0.1), scores=None), attributes
    )
    found = row(metrics, group="female", metric="ppv")
    assert found["status"] == "suppressed"
    assert "denominator" in found["reason"]
    assert row(gaps, metric="ppv")["status"] == "undefined"
    shown = gaps[gaps["raw"].notna()]
    assert shown["null_mean"].notna().all()


def test_entropy_between_groups_is_that_of_samples():
    predictions, attributes = cases(200, images=3)
    keep = (attributes["sex"] == "male").to_numpy() | (np.arange(600) % 3 == 0)
    predictions, attributes = predictions[keep], attributes[keep]
    found = row(gaps_of("ge:2", "ge:between", data=(predictions, attributes)), kind="ge:between")
    score, sick, sex = arrays(predictions, attributes)
    assert found["raw"] == pytest.approx(entropy_between_groups(benefits(sick, score >= 0.5), sex), abs=1e-12)
