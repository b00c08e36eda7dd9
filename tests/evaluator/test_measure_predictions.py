import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from measuring import KEYS, QUICK, SICK, cases, predicted, row
from sklearn.metrics import roc_auc_score

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, ResultKeys, measure_predictions
from evaluator.statistics.findings import findings
from evaluator.statistics.multiplicity import adjust
from evaluator.tables import GAPS, METRICS, PREDICTIONS
from shards.card import Target
from shards.errors import UserError

SEX_AGE = {"sex": {}, "age": {"bins": [60]}, "sex*age": {}}
COUNTS = ["n", "n_pos", "n_neg", "n_subjects", "n_failed"]


def test_tables_have_the_fixed_schemas_and_keys():
    predictions, attributes = cases(60)
    table = pa.Table.from_pandas(predictions, schema=PREDICTIONS, preserve_index=False)
    measured = measure_predictions(table, attributes, SICK, parse_groups(SEX_AGE), QUICK, KEYS)
    assert measured.metrics.schema == METRICS
    assert measured.gaps.schema == GAPS
    first = measured.metrics.to_pylist()[0]
    assert (first["dataset"], first["model"], first["task"], first["split"], first["target"]) == (
        "made-up", "m", "t1", "test", "disease",
    )  # fmt: skip
    assert (first["attribute"], first["group"], first["metric"]) == ("all", "all", "auc")


def test_every_metric_has_its_counts_and_an_interval_around_its_value():
    metrics, _ = predicted(*cases(400))
    numbers = metrics[metrics["metric"] != "threshold"]
    assert set(numbers["metric"]) == {
        "auc", "average_precision", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1",
        "selection_rate", "brier", "log_loss", "ece", "ce2",
    }  # fmt: skip
    assert (numbers["status"] == "ok").all()
    refused = numbers[numbers["metric"] == "ece"]
    assert refused[["ci_low", "ci_high", "interval"]].isna().all(axis=None)
    assert refused["reason"].str.contains("no interval: biased_upward").all()
    numbers = numbers.drop(refused.index)
    assert (numbers["ci_low"] < numbers["ci_high"]).all()
    methods = numbers.drop_duplicates("metric").set_index("metric")["interval"]
    assert (methods["auc"], methods["accuracy"], methods["f1"]) == (
        "delong-logit",
        "wilson",
        "percentile-expanded",
    )
    assert methods["ce2"] == "percentile-centred"
    assert ((numbers["ci_low"] <= numbers["value"]) & (numbers["value"] <= numbers["ci_high"])).all()
    overall = row(numbers, group="all", metric="auc")
    assert overall["n"] == overall["n_pos"] + overall["n_neg"] == overall["n_subjects"] == 400


def test_group_values_agree_with_scikit_learn():
    predictions, attributes = cases(300)
    metrics, gaps = predicted(predictions, attributes)
    found = {}
    for sex in ("female", "male"):
        rows = (attributes["sex"] == sex).to_numpy()
        y, p = predictions["label"][rows] == "sick", predictions["score"][rows]
        found[sex] = roc_auc_score(y, p)
        assert row(metrics, group=sex, metric="auc")["value"] == pytest.approx(found[sex], abs=1e-12)
    gap = row(gaps, metric="auc")
    assert gap["raw"] == pytest.approx(abs(found["female"] - found["male"]), abs=1e-12)
    assert gap["best_group"] == max(found, key=found.get)


def test_tables_keep_every_bit_for_any_order_of_rows():
    predictions, attributes = cases(150, images=2, val=0.3)
    ordered = predicted(predictions, attributes, SEX_AGE)
    shuffled = predicted(
        predictions.sample(frac=1, random_state=1), attributes.sample(frac=1, random_state=2), SEX_AGE
    )
    for one, two in zip(ordered, shuffled, strict=True):
        pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_renaming_groups_renames_rows_and_changes_no_number():
    predictions, attributes = cases(200)
    metrics, gaps = predicted(predictions, attributes)
    swapped = attributes.assign(sex=attributes["sex"].map({"female": "z", "male": "a"}))
    renamed, renamed_gaps = predicted(predictions, swapped)
    for old, new in (("female", "z"), ("male", "a")):
        one = metrics[metrics["group"] == old].drop(columns="group").reset_index(drop=True)
        two = renamed[renamed["group"] == new].drop(columns="group").reset_index(drop=True)
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    numbers = ["raw", "null_mean", "adjusted", "p_value", "detectable"]
    pd.testing.assert_frame_equal(gaps[numbers], renamed_gaps[numbers], check_exact=True)


def test_models_share_replicates_so_that_a_copy_has_the_same_interval():
    predictions, attributes = cases(150)
    other = ResultKeys(dataset="made-up", model="another")
    one, _ = predicted(predictions, attributes)
    two, _ = predicted(predictions, attributes, keys=other)
    columns = ["value", "ci_low", "ci_high"]
    pd.testing.assert_frame_equal(one[columns], two[columns], check_exact=True)


def test_duplicating_every_image_of_each_subject_does_not_narrow_intervals():
    predictions, attributes = cases(150)
    copies = [table.assign(sample_id=table["sample_id"] + "b") for table in (predictions, attributes)]
    once, gaps = predicted(predictions, attributes)
    twice, twice_gaps = predicted(pd.concat([predictions, copies[0]]), pd.concat([attributes, copies[1]]))
    columns = ["value", "n_subjects"]
    pd.testing.assert_frame_equal(once[columns], twice[columns], check_exact=False, atol=1e-9)
    widths = [(table["ci_high"] - table["ci_low"]).dropna() for table in (once, twice)]
    ratio = widths[1] / widths[0]
    assert ratio.between(1 - 1e-9, 1.15).all()  # shares of clustered rows are a little more careful
    assert row(twice, group="all", metric="auc")["n"] == 2 * row(once, group="all", metric="auc")["n"]
    numbers = ["raw", "null_mean", "p_value"]
    pd.testing.assert_frame_equal(gaps[numbers], twice_gaps[numbers], check_exact=False, atol=1e-9)


def test_duplicating_subjects_does_narrow_them():
    predictions, attributes = cases(150)
    copies = [
        table.assign(sample_id=table["sample_id"] + "b", subject_id=table["subject_id"] + "b")
        for table in (predictions, attributes)
    ]
    once, _ = predicted(predictions, attributes)
    twice, _ = predicted(pd.concat([predictions, copies[0]]), pd.concat([attributes, copies[1]]))
    width = [row(t, group="all", metric="auc")[["ci_low", "ci_high"]].diff().iloc[-1] for t in (once, twice)]
    assert width[1] < 0.85 * width[0]


def test_unknown_is_its_own_row_and_takes_no_part_in_gaps():
    predictions, attributes = cases(300, unknown=0.3)
    metrics, gaps = predicted(predictions, attributes)
    unknown = row(metrics, group="unknown", metric="auc")
    assert unknown["n"] == attributes["sex"].isna().sum()
    gap = row(gaps, metric="auc")
    values = [row(metrics, group=sex, metric="auc")["value"] for sex in ("female", "male")]
    assert gap["raw"] == pytest.approx(abs(values[0] - values[1]), abs=1e-12)
    assert list(gap["excluded_groups"]) == ["unknown"]
    assert row(metrics, group="all", metric="auc")["n"] == 300


def test_unknown_subjects_change_no_number_of_the_gap_but_through_the_draws():
    predictions, attributes = cases(300, unknown=0.3)
    known = attributes["sex"].notna().to_numpy()
    _, gaps = predicted(predictions, attributes)
    _, without = predicted(predictions[known], attributes[known])
    # The bins of equal mass are those of all rows, whoever they are of.
    gaps, without = (table[table["metric"] != "ce2"] for table in (gaps, without))
    assert gaps["raw"].tolist() == pytest.approx(without["raw"].tolist(), abs=1e-12)


def test_absent_group_stays_in_table_as_null():
    metrics, gaps = predicted(*cases(100), {"sex": {"groups": ["female", "male", "other"]}})
    absent = metrics[metrics["group"] == "other"]
    assert set(absent["status"]) == {"absent"}
    assert absent["value"].isna().all()
    assert (absent[COUNTS[:1]] == 0).all().all()
    assert list(row(gaps, metric="auc")["excluded_groups"]) == ["other"]


def test_group_that_only_other_splits_have_stays_as_absent():
    predictions, attributes = cases(100)
    attributes = pd.concat(
        [
            attributes,
            pd.DataFrame({"sample_id": ["t1"], "subject_id": ["q"], "sex": ["other"], "age": [50.0]}),
        ]
    )
    metrics, _ = predicted(predictions, attributes)
    assert row(metrics, group="other", metric="auc")["status"] == "absent"


def test_small_group_is_shown_without_values_and_left_out_of_gaps():
    predictions, attributes = cases(200)
    small = attributes["sex"].where(attributes.index >= 12, "other")
    metrics, gaps = predicted(predictions, attributes.assign(sex=small))
    found = row(metrics, group="other", metric="accuracy")
    assert (found["status"], found["n"]) == ("suppressed", 12)
    assert np.isnan(found["value"])
    assert found["reason"] == "too_small: 12 subjects (minimum 20)"
    assert "other" in row(gaps, metric="accuracy")["excluded_groups"]


def test_minimum_counts_subjects_and_not_images():
    predictions, attributes = cases(30, images=10)
    metrics, _ = predicted(predictions, attributes)
    female = row(metrics, group="female", metric="accuracy")
    assert female["n"] >= 100
    assert female["status"] == ("ok" if female["n_subjects"] >= 20 else "suppressed")
    assert row(metrics, group="all", metric="accuracy")["status"] == "ok"


def one_class_women(predictions, attributes):
    women = (attributes["sex"] == "female").to_numpy()
    return predictions.assign(label=np.where(women, "healthy", predictions["label"]))


def test_group_with_one_class_is_null_with_a_reason():
    predictions, attributes = cases(300)
    metrics, gaps = predicted(one_class_women(predictions, attributes), attributes)
    auc = row(metrics, group="female", metric="auc")
    assert (auc["status"], auc["reason"], auc["n_pos"]) == ("undefined", "one_class", 0)
    assert np.isnan(auc["value"])
    assert row(metrics, group="female", metric="sensitivity")["reason"] == "no_positives"
    assert row(metrics, group="female", metric="specificity")["status"] == "ok"
    gap = row(gaps, metric="auc")
    assert gap["status"] == "undefined"
    assert gap["reason"].startswith("single_group: 1 of 2")
    assert np.isnan(gap["raw"])
    assert row(gaps, metric="specificity")["status"] == "ok"


def test_too_few_positives_suppress_only_metrics_that_need_them():
    predictions, attributes = cases(300)
    women = np.flatnonzero((attributes["sex"] == "female").to_numpy())
    label = predictions["label"].to_numpy(dtype=object).copy()
    label[women], label[women[:4]] = "healthy", "sick"
    metrics, _ = predicted(predictions.assign(label=label), attributes)
    found = {
        name: row(metrics, group="female", metric=name)
        for name in ("auc", "sensitivity", "accuracy", "brier")
    }
    assert found["auc"]["reason"] == "too_small: 4 subjects with positives (minimum 10)"
    assert {name: r["status"] for name, r in found.items()} == {
        "auc": "suppressed", "sensitivity": "suppressed", "accuracy": "ok", "brier": "ok",
    }  # fmt: skip


@pytest.mark.parametrize("null", [None, np.nan])
def test_attribute_that_is_all_null_is_one_unknown_row_and_an_undefined_gap(null):
    predictions, attributes = cases(80)
    metrics, gaps = predicted(predictions, attributes.assign(race=null), {"race": {}})
    assert set(metrics["group"]) == {"all", "unknown"}
    gap = row(gaps, metric="auc")
    assert (gap["status"], gap["reason"]) == ("undefined", "all_unknown: no subject has a known value")


def test_failed_rows_are_counted_in_their_group_and_not_measured():
    predictions, attributes = cases(200)
    status = np.where(np.arange(200) < 9, "decode_error", "ok")
    scores = [None if s != "ok" else v for s, v in zip(status, predictions["scores"], strict=True)]
    broken = predictions.assign(
        status=status, scores=scores, score=predictions["score"].where(status == "ok")
    )
    metrics, _ = predicted(broken, attributes)
    overall = row(metrics, group="all", metric="auc")
    assert (overall["n"], overall["n_failed"]) == (191, 9)
    by_sex = [row(metrics, group=sex, metric="auc")["n_failed"] for sex in ("female", "male")]
    assert sum(by_sex) == 9
    assert by_sex[0] == (attributes["sex"][:9] == "female").sum()


def test_score_that_is_not_a_number_is_a_failure():
    predictions, attributes = cases(200)
    scores = list(predictions["scores"])
    scores[3] = np.array([np.nan, np.nan])
    metrics, _ = predicted(predictions.assign(scores=scores), attributes)
    assert row(metrics, group="all", metric="auc")[["n", "n_failed"]].tolist() == [199, 1]


def test_rows_without_a_label_are_neither_measured_nor_failures():
    predictions, attributes = cases(200)
    label = predictions["label"].where(predictions.index >= 20, None)
    metrics, _ = predicted(predictions.assign(label=label), attributes)
    assert row(metrics, group="all", metric="auc")[["n", "n_failed"]].tolist() == [180, 0]


def test_result_with_nothing_measurable_is_null_everywhere():
    predictions, attributes = cases(30)
    nothing = predictions.assign(status="decode_error", scores=None, score=None)
    metrics, gaps = predicted(nothing, attributes)
    numbers = metrics[metrics["metric"] != "threshold"]
    assert numbers["value"].isna().all()
    assert set(numbers["status"]) <= {"undefined", "suppressed"}
    assert (gaps["status"] == "undefined").all()


def test_threshold_comes_from_val_rows_only():
    predictions, attributes = cases(400, val=0.4)
    metrics, _ = predicted(predictions, attributes)
    threshold = row(metrics, metric="threshold")
    assert (threshold["convention"], threshold["n"]) == ("val:youden", (predictions["split"] == "val").sum())
    flipped = predictions.copy()
    test = flipped["split"] == "test"
    flipped.loc[test, "label"] = flipped.loc[test, "label"].map({"sick": "healthy", "healthy": "sick"})
    again, _ = predicted(flipped, attributes)
    assert row(again, metric="threshold")["value"] == threshold["value"]
    decided = predictions["score"][test] >= threshold["value"]
    right = (predictions["label"][test] == "sick") == decided
    assert row(metrics, group="all", metric="accuracy")["value"] == pytest.approx(right.mean(), abs=1e-12)


def test_without_val_labels_the_convention_says_that_one_half_was_used():
    metrics, _ = predicted(*cases(100))
    found = row(metrics, group="all", metric="accuracy")
    assert found["convention"] == "fixed:0.5"
    assert "no threshold from val" in found["reason"]


def test_further_conventions_add_rows():
    settings = MeasureSettings(
        bootstrap=50, permutations=50, conventions=("fixed:0.5", "val:f1", "ece:fixed10")
    )
    metrics, gaps = predicted(*cases(200, val=0.4), settings=settings)
    conventions = set(metrics[metrics["metric"] == "accuracy"]["convention"])
    assert conventions == {"val:youden", "val:f1", "fixed:0.5"}
    assert set(metrics[metrics["metric"] == "ece"]["convention"]) == {"ece:fixed15", "ece:fixed10"}
    assert len(gaps[gaps["metric"] == "sensitivity"]) == 3


def test_perfect_group_has_an_interval_and_not_a_point():
    predictions, attributes = cases(100)
    sick = (predictions["label"] == "sick").to_numpy()
    perfect = predictions.assign(scores=[np.array([1 - s, s], float) for s in sick * 0.8 + 0.1])
    metrics, gaps = predicted(perfect, attributes)
    found = row(metrics, group="all", metric="accuracy")
    assert found["value"] == 1.0
    assert 0.95 < found["ci_low"] < found["ci_high"] == 1.0
    assert found["interval"] == "clopper-pearson"
    auc = row(metrics, group="all", metric="auc")
    assert 0.9 < auc["ci_low"] < auc["ci_high"] == 1.0
    assert auc["interval"] == "newcombe"
    gap = row(gaps, metric="auc")
    assert (gap["raw"], gap["p_value"]) == (0.0, 1.0)
    assert np.isnan(gap["detectable"])


def many_classes(subjects=400, seed=0):
    predictions, attributes = cases(subjects, seed=seed)
    rng = np.random.default_rng(seed + 100)
    label = rng.integers(0, 3, subjects)
    scores = 0.8 * rng.dirichlet(np.ones(3), subjects) + 0.2 * np.eye(3)[label]
    names = np.array(["a", "b", "c"])
    return predictions.assign(label=names[label], scores=list(scores), score=None), attributes


def test_many_classes_are_measured_without_positives():
    metrics, gaps = predicted(*many_classes(), target=Target("disease", ("a", "b", "c")))
    overall = metrics[metrics["group"] == "all"]
    assert overall["convention"].tolist() == [
        "auc:macro_ovr", "class:argmax", "class:argmax", "f1:macro", "brier:multiclass", "log_loss:clip1e-7",
        "ece:top15", "ce2:debiased",
    ]  # fmt: skip
    assert overall["n_pos"].isna().all()
    assert (gaps["status"] == "ok").all()


def test_missing_class_in_a_group_is_named():
    predictions, attributes = many_classes()
    women = (attributes["sex"] == "female").to_numpy()
    label = np.where(women & (predictions["label"] == "c"), "a", predictions["label"])
    metrics, _ = predicted(
        predictions.assign(label=label), attributes, target=Target("disease", ("a", "b", "c"))
    )
    assert row(metrics, group="female", metric="auc")["reason"] == "missing_class: no sample of c"
    assert row(metrics, group="female", metric="accuracy")["status"] == "ok"


def test_rare_class_of_many_suppresses_what_needs_every_class():
    predictions, attributes = many_classes()
    women = (attributes["sex"] == "female").to_numpy()
    rare = np.flatnonzero(women & (predictions["label"] == "c"))[9:]
    label = predictions["label"].mask(predictions.index.isin(rare), "a")
    target = Target("disease", ("a", "b", "c"))
    metrics, gaps = predicted(predictions.assign(label=label), attributes, target=target)
    found = row(metrics, group="female", metric="auc")
    assert (found["status"], found["reason"]) == ("suppressed", "too_small: 9 subjects of c (minimum 10)")
    assert np.isnan(found["value"])
    assert row(metrics, group="female", metric="balanced_accuracy")["status"] == "suppressed"
    assert row(metrics, group="female", metric="accuracy")["status"] == "ok"
    assert row(metrics, group="all", metric="auc")["status"] == "ok"
    assert row(gaps, metric="auc")["excluded_groups"].tolist() == ["female"]


def test_without_replicates_and_permutations_intervals_are_analytic_and_gaps_untested():
    metrics, gaps = predicted(*cases(100), settings=MeasureSettings(bootstrap=0, permutations=0))
    methods = metrics[metrics["group"] == "all"].set_index("metric")["interval"]
    assert (methods["auc"], methods["brier"]) == ("delong-logit", "t")
    gap = row(gaps, metric="auc")
    assert gap["reason"] == "no_permutations"
    assert np.isnan(gap["p_value"])
    assert gap["interval"] == "recovered"
    assert gap["ci_low"] < gap["raw"] < gap["ci_high"]


def test_planted_gap_is_found_and_none_is_claimed_where_none_was_planted():
    planted, fair = cases(900, weaker="male", drop=0.8), cases(900, seed=1)
    claims = []
    for data in (planted, fair):
        _, gaps = predicted(*data)
        table = findings(adjust(gaps), permutations=199)
        claims.append(row(table, metric="auc"))
    assert claims[0]["finding"] == "gap found"
    assert "female is better than male" in claims[0]["sentence"]
    assert claims[1]["finding"] == "no reliable gap"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda p: p.drop(columns="label"), "missing: label"),
        (lambda p: p.assign(label="ill"), "unknown class of target 'disease': 'ill'"),
        (lambda p: p.assign(scores=[s * 100 for s in p["scores"]]), "must be fractions"),
        (lambda p: p.assign(scores=[np.array([0.5])] * len(p)), "must have 2 numbers per row"),
        (lambda p: pd.concat([p, p.head(1)]), "occur more than once, e.g. 's00000'"),
        (
            lambda p: p.assign(sample_id=p["sample_id"].replace("s00000", "zz")),
            "no row in the attributes, e.g. 'zz'",
        ),
    ],
)
def test_tables_that_do_not_fit_are_errors(change, text):
    predictions, attributes = cases(60)
    with pytest.raises(UserError, match=text):
        predicted(change(predictions), attributes)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"threshold": "best"}, "threshold must be"),
        ({"conventions": ["ece:fixd"]}, "did you mean 'ece:fixedK"),
        ({"threshold": "test:f1:legacy"}, "chosen on val"),
    ],
)
def test_unknown_rules_and_conventions_are_errors(settings, text):
    with pytest.raises(UserError, match=text):
        MeasureSettings(**settings)


def test_interval_of_a_perfect_sensitivity_counts_the_subjects_it_rests_on():
    predictions, attributes = cases(200)
    sick = predictions["label"].eq("sick")
    right = predictions.assign(
        scores=[np.array([1 - s, s], "float32") for s in sick], score=sick.astype("float32")
    )
    metrics, _ = predicted(right, attributes)
    for metric, n in (("accuracy", 200), ("sensitivity", sick.sum()), ("specificity", (~sick).sum())):
        found = row(metrics, group="all", metric=metric)
        # Clopper and Pearson's lower limit of n out of n.
        assert found["ci_low"] == pytest.approx(0.025 ** (1 / n), abs=1e-9)


@pytest.mark.parametrize("dtype", ["Float32", "object"])
def test_missing_single_score_is_a_failed_row_whatever_stands_for_missing(dtype):
    predictions, attributes = cases(60)
    score = predictions["score"].astype(dtype)
    score[3] = pd.NA if dtype == "Float32" else None
    metrics, _ = predicted(predictions.assign(scores=None, score=score), attributes)
    found = row(metrics, group="all", metric="auc")
    assert (found["n"], found["n_failed"]) == (59, 1)


def test_gap_to_a_small_group_that_luck_made_perfect_is_no_certain_one():
    predictions, attributes = cases(220)
    small = np.arange(len(predictions)) < 24
    attributes = attributes.assign(sex=np.where(small, "male", "female"))
    sick = np.arange(len(predictions)) % 2 == 1
    right = np.where(small, True, np.arange(len(predictions)) % 20 > 1)
    score = np.where(sick == right, 0.9, 0.1) + 0.001 * (np.arange(len(predictions)) % 7)
    predictions = predictions.assign(label=np.where(sick, "sick", "healthy"), score=score)
    _, gaps = predicted(predictions, attributes)
    gap = row(gaps, metric="sensitivity")
    assert (gap["best_group"], gap["p_value"] > 0.05) == ("male", True)
    assert gap["ci_low"] < 0.0 < gap["ci_high"]
