"""Which columns are taken for what, in every layout that people have, and the numbers that come of it."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from shards.errors import UserError
from tests.evaluator.audited import audited, classes, findings, overall, role, table


def test_one_score_column_gives_the_auc_of_scikit_learn_in_all_and_in_each_group():
    frame = table()
    result = audited(frame)
    assert overall(result, "auc")["value"] == pytest.approx(
        roc_auc_score(frame["label"], frame["score"]), abs=1e-10
    )
    groups = result.groups[(result.groups["attribute"] == "sex") & (result.groups["metric"] == "auc")]
    for sex, rows in frame.groupby("sex"):
        value = groups.loc[groups["group"] == sex, "value"].item()
        assert value == pytest.approx(roc_auc_score(rows["label"], rows["score"]), abs=1e-10)
    assert role(result, "subject") == ("patient_id",)
    assert role(result, "attributes") == ("sex", "age")


def test_dataframe_arrow_table_and_csv_give_the_same_numbers(tmp_path):
    frame = table()
    frame.to_csv(tmp_path / "t.csv", index=False)
    results = [audited(given) for given in (frame, pa.Table.from_pandas(frame), tmp_path / "t.csv")]
    values = [result.groups.drop(columns="dataset") for result in results]
    pd.testing.assert_frame_equal(values[0], values[1])
    pd.testing.assert_frame_equal(values[0], values[2])


def test_the_number_of_workers_and_the_order_of_rows_change_nothing():
    frame = findings()
    one, two = audited(frame, workers=1), audited(frame, workers=4)
    pd.testing.assert_frame_equal(one.groups, two.groups)
    pd.testing.assert_frame_equal(one.gaps, two.gaps)
    turned = audited(frame.iloc[::-1].reset_index(drop=True))
    pd.testing.assert_frame_equal(one.gaps, turned.gaps)


def test_score_columns_called_like_the_classes_are_classes():
    frame = classes()
    result = audited(frame)
    scores = frame[["p_bcc", "p_mel", "p_nev"]].to_numpy()
    expected = roc_auc_score(frame["dx"], scores, multi_class="ovr", labels=["bcc", "mel", "nev"])
    assert overall(result, "auc")["value"] == pytest.approx(expected, abs=1e-10)
    predicted = np.array(["bcc", "mel", "nev"])[scores.argmax(axis=1)]
    expected = balanced_accuracy_score(frame["dx"], predicted)
    rows = result.groups[
        (result.groups["attribute"] == "all") & (result.groups["metric"] == "balanced_accuracy")
    ]
    assert rows["value"].iloc[0] == pytest.approx(expected, abs=1e-10)


def test_one_class_can_be_measured_against_all_others():
    frame = classes()
    result = audited(frame, positive="mel")
    expected = roc_auc_score(frame["dx"] == "mel", frame["p_mel"])
    assert overall(result, "auc")["value"] == pytest.approx(expected, abs=1e-10)
    assert any(
        "against nev, bcc together" in note or "against bcc, nev together" in note for note in result.notes
    )


def test_score_columns_called_otherwise_are_several_models():
    frame = table().rename(columns={"score": "score_resnet"})
    frame["score_vit"] = 1 - frame["score_resnet"]
    result = audited(frame)
    resnet, vit = (overall(result, "auc", model=name)["value"] for name in ("resnet", "vit"))
    assert resnet + vit == pytest.approx(1.0)
    assert role(result, "model") == ("resnet", "vit")


def test_pairs_of_finding_and_score_are_several_targets():
    frame = findings()
    result = audited(frame)
    for name in ("nodule", "mass"):
        expected = roc_auc_score(frame[name], frame[f"score_{name}"])
        assert overall(result, "auc", target=name)["value"] == pytest.approx(expected, abs=1e-10)
    assert audited(frame, target="mass").groups["target"].unique().tolist() == ["mass"]


def test_given_targets_and_scores_pair_by_name_and_else_by_order():
    frame = findings().rename(columns={"score_nodule": "a", "score_mass": "b"})
    result = audited(frame, target=["nodule", "mass"], score="a,b")
    assert overall(result, "auc", target="mass")["value"] == pytest.approx(
        roc_auc_score(frame["mass"], frame["b"])
    )
    with pytest.raises(UserError, match="Give as many --score as --target"):
        audited(frame, target=["nodule", "mass"], score="a")


def test_a_long_table_of_models_and_targets_is_split_and_paired():
    frame = findings()
    parts = []
    for model, noise in (("a", 0.0), ("b", 0.4)):
        for name in ("nodule", "mass"):
            rng = np.random.default_rng(len(parts))
            score = np.clip(frame[f"score_{name}"] + noise * rng.random(len(frame)), 0, 1)
            parts.append(
                frame[["image_id", "patient_id", "sex"]].assign(
                    model=model, target=name, label=frame[name], score=score
                )
            )
    long = pd.concat(parts, ignore_index=True)
    result = audited(long)
    for (model, name), rows in long.groupby(["model", "target"]):
        expected = roc_auc_score(rows["label"], rows["score"])
        assert overall(result, "auc", model=model, target=name)["value"] == pytest.approx(expected, abs=1e-10)
    single = result.groups[result.groups["target"].isin(["nodule", "mass"])]
    assert len(single.drop_duplicates(["model", "target"])) == 4


@pytest.mark.parametrize("shuffled", [False, True])
def test_one_row_per_class_is_unfolded(shuffled):
    frame = classes()
    long = frame.melt(["image_id", "patient_id", "sex", "dx"], ["p_nev", "p_mel", "p_bcc"], "class", "score")
    long["class"] = long["class"].str.removeprefix("p_")
    long = long.sample(frac=1, random_state=0) if shuffled else long
    result = audited(long.rename(columns={"dx": "label"}))
    assert overall(result, "auc")["value"] == pytest.approx(
        overall(audited(frame), "auc")["value"], abs=1e-12
    )


def test_one_row_per_class_with_a_truth_of_0_and_1_gives_one_target_per_class():
    frame = classes()
    long = frame.melt(["image_id", "patient_id", "sex", "dx"], ["p_nev", "p_mel"], "class", "score")
    long["class"] = long["class"].str.removeprefix("p_")
    long["label"] = (long["class"] == long["dx"]).astype(int)
    result = audited(long.drop(columns="dx"))
    expected = roc_auc_score(frame["dx"] == "mel", frame["p_mel"])
    assert overall(result, "auc", target="mel")["value"] == pytest.approx(expected, abs=1e-10)


def test_a_class_without_a_row_is_an_error():
    long = classes().melt(
        ["image_id", "patient_id", "sex", "dx"], ["p_nev", "p_mel", "p_bcc"], "class", "score"
    )
    long["class"] = long["class"].str.removeprefix("p_")
    with pytest.raises(UserError, match="one row for each of the classes"):
        audited(long.iloc[1:].rename(columns={"dx": "label"}))


def stored_rows(frame):
    score = frame["score"].to_numpy()
    return pd.DataFrame(
        {
            "sample_id": frame["image_id"],
            "subject_id": frame["patient_id"],
            "split": "test",
            "target": "disease",
            "label": np.where(frame["label"] == 1, "sick", "healthy"),
            "predicted": np.where(score >= 0.5, "sick", "healthy"),
            "score": score,
            "scores": [[1 - s, s] for s in score],
            "logits": None,
            "status": "ok",
            "reason": None,
            "dataset": "mine",
            "model": "m",
            "usage": "linear_probe",
            "task": "t1",
            "sex": frame["sex"],
            "width": 224,
        }
    )


@pytest.mark.parametrize("as_text", [False, True])
def test_fairrays_own_predictions_are_recognised_at_once(as_text, tmp_path):
    frame = table()
    rows = stored_rows(frame)
    if as_text:
        rows["scores"] = [json.dumps(list(values)) for values in rows["scores"]]
        rows.to_csv(tmp_path / "flat.csv", index=False)
    result = audited(tmp_path / "flat.csv" if as_text else rows)
    row = overall(result, "auc", model="m", usage="linear_probe", target="disease", dataset="mine")
    assert row["value"] == pytest.approx(roc_auc_score(frame["label"], frame["score"]), abs=1e-10)
    assert row["task"] == "t1"
    assert any("'sick'" in note for note in result.notes)


def test_a_failed_row_of_fairrays_predictions_stays_a_failure():
    rows = stored_rows(table())
    rows.loc[3, ["status", "reason"]] = ["decode_error", "truncated"]
    rows.at[3, "scores"] = None
    rows.loc[3, ["score", "predicted"]] = [np.nan, None]
    result = audited(rows)
    assert overall(result, "auc")["n_failed"] == 1
    assert "119 measured, 1 left out (decode error)" in result.summary


def test_masks_scores_are_means_over_subjects():
    base = table(subjects=60, images=2)
    dice = np.random.default_rng(0).uniform(0.5, 1, len(base))
    frame = base[["image_id", "patient_id", "sex"]].assign(dice=dice, iou=dice / (2 - dice))
    result = audited(frame)
    expected = frame.groupby("patient_id")["dice"].mean().mean()
    assert overall(result, "dice")["value"] == pytest.approx(expected, abs=1e-10)
    assert set(result.groups["metric"]) == {"dice", "iou"}


def test_masks_of_several_structures_stand_side_by_side_or_in_rows():
    base = table(subjects=60)[["image_id", "patient_id", "sex"]]
    rng = np.random.default_rng(0)
    wide = base.assign(dice_cup=rng.uniform(0, 1, 60), dice_disc=rng.uniform(0, 1, 60))
    long = pd.concat([base.assign(structure=s, dice=wide[f"dice_{s}"]) for s in ("cup", "disc")])
    for result in (audited(wide), audited(long)):
        assert overall(result, "dice", structure="cup")["value"] == pytest.approx(wide["dice_cup"].mean())


def test_logits_become_probabilities_where_they_are_called_so_or_told():
    frame = table()
    logit = np.log(frame["score"] / (1 - frame["score"]))
    named = audited(frame.drop(columns="score").assign(logit=logit))
    told = audited(frame.assign(score=logit), logits=True)
    for result in (named, told):
        assert overall(result, "brier")["value"] == pytest.approx(
            ((frame["score"] - frame["label"]) ** 2).mean(), abs=1e-9
        )
    assert np.allclose(expit(logit), frame["score"])
    with pytest.raises(UserError, match="If they are logits, say --logits"):
        audited(frame.assign(score=logit))


def test_logits_of_two_columns_go_through_softmax():
    frame = table()
    logits = np.random.default_rng(0).normal(size=(len(frame), 2)) + 2 * np.eye(2)[frame["label"]]
    two = frame.drop(columns="score").assign(logit_0=logits[:, 0], logit_1=logits[:, 1])
    expected = roc_auc_score(frame["label"], softmax(logits, axis=1)[:, 1])
    assert overall(audited(two), "auc")["value"] == pytest.approx(expected, abs=1e-10)


def test_labels_alone_give_decisions_and_no_auc():
    frame = table()
    pred = (frame["score"] > 0.4).astype(int)
    result = audited(frame.drop(columns="score").assign(pred=pred), fail_if="value(auc)<0.9")
    sensitivity = overall(result, "sensitivity")
    assert sensitivity["value"] == pytest.approx(recall_score(frame["label"], pred), abs=1e-10)
    assert sensitivity["convention"] == "decisions:given"
    row = overall(result, "auc")
    assert row["status"] == "undefined"
    assert "labels_only" in row["reason"]
    assert np.isnan(row["value"])
    assert "brier" not in set(result.groups["metric"])
    assert (
        result.gaps.loc[result.gaps["metric"] == "auc", ["raw", "p_value", "p_adjusted"]]
        .isna()
        .all(axis=None)
    )
    assert result.violated


def test_predictions_with_fractions_are_scores():
    frame = table().rename(columns={"score": "y_pred", "label": "y_true"})
    assert overall(audited(frame), "auc")["value"] == pytest.approx(
        roc_auc_score(frame["y_true"], frame["y_pred"])
    )


def test_thresholds_are_chosen_on_val_rows_and_only_test_rows_are_measured():
    frame = table(300)
    frame["split"] = np.resize(["train", "valid", "test"], len(frame))
    result = audited(frame)
    assert overall(result, "auc")["n"] == 100
    assert overall(result, "threshold")["convention"] == "val:youden"
    assert any("100 train rows are left out" in note for note in result.notes)
    chosen = audited(frame.rename(columns={"split": "part"}), val="part=valid", threshold="val:f1")
    assert overall(chosen, "auc")["n"] == 100
    every = audited(frame, val="none")
    assert overall(every, "auc")["n"] == 300


def test_without_val_nothing_is_tuned_and_it_says_so():
    result = audited(table())
    assert overall(result, "threshold")["convention"] == "fixed:0.5"
    assert any("Nothing was tuned" in note for note in result.notes)
    with pytest.raises(UserError, match="names none"):
        audited(table(), threshold="val:f1")


def test_intersections_and_bins_form_groups():
    result = audited(table(400), bins={"age": [50]}, intersections="sex*age")
    assert set(result.groups.loc[result.groups["attribute"] == "sex*age", "group"]) == {
        "female*<50", "female*50+", "male*<50", "male*50+"
    }  # fmt: skip


def test_ages_without_bins_get_the_documented_ones_and_it_says_so():
    result = audited(table())
    assert set(result.groups.loc[result.groups["attribute"] == "age", "group"]) == {
        "<40",
        "40-60",
        "60-80",
        "80+",
    }
    assert any("--bins age=" in note for note in result.notes)


def test_more_images_of_the_same_subjects_do_not_count_as_more_subjects():
    row = overall(audited(table(subjects=80, images=3)), "auc")
    assert (row["n"], row["n_subjects"]) == (240, 80)


def test_two_tables_join_by_a_shared_id_or_row_by_row(tmp_path):
    frame = table()
    scores, people = frame[["image_id", "label", "score"]], frame[["image_id", "patient_id", "sex"]]
    people.iloc[::-1].to_csv(tmp_path / "people.csv", index=False)
    expected = audited(frame[["image_id", "label", "score", "patient_id", "sex"]])
    joined = audited(scores, join=tmp_path / "people.csv")
    pd.testing.assert_frame_equal(joined.groups, expected.groups)
    people.drop(columns="image_id").to_csv(tmp_path / "plain.csv", index=False)
    pd.testing.assert_frame_equal(
        audited(scores, join=tmp_path / "plain.csv", on="order").groups, expected.groups
    )
    people.iloc[1:].to_csv(tmp_path / "people.csv", index=False)
    with pytest.raises(UserError, match="have no row in 'people'"):
        audited(scores, join=tmp_path / "people.csv")


def test_models_are_compared_on_the_same_people_with_the_best_or_a_baseline():
    frame = table(300, seed=4).rename(columns={"score": "score_good"})
    frame["score_bad"] = np.random.default_rng(0).random(len(frame))
    best = audited(frame, bootstrap=200)
    assert "bad against good: AUC difference" in best.summary
    assert "reliably worse" in best.summary
    against = audited(frame, bootstrap=200, baseline="bad")
    assert "good against bad: AUC difference" in against.summary
    with pytest.raises(UserError, match="good"):
        audited(frame, baseline="goood")


def test_names_with_commas_are_one_column_where_there_is_such_a_column():
    frame = table().rename(columns={"sex": "sex, as recorded"})
    result = audited(frame, attributes=["sex, as recorded"])
    assert set(result.groups["attribute"]) == {"all", "sex, as recorded"}


def test_categories_and_named_indexes_are_read_as_their_values():
    frame = table()
    other = frame.assign(sex=frame["sex"].astype("category")).set_index("patient_id")
    pd.testing.assert_frame_equal(audited(frame).groups, audited(other).groups)


def test_a_stored_table_may_hold_targets_of_different_numbers_of_classes():
    rng = np.random.default_rng(3)
    rows = []
    for target, names in (("malignant", ("benign", "malignant")), ("dx", ("mel", "nv", "bkl"))):
        for number in range(150):
            label = names[number % len(names)]
            scores = rng.dirichlet(np.ones(len(names)) + 3 * (np.array(names) == label))
            rows.append(
                {
                    "sample_id": f"s{number}", "subject_id": f"p{number}", "split": "test", "target": target,
                    "label": label, "predicted": names[int(scores.argmax())], "scores": scores.tolist(),
                    "score": scores[1] if len(names) == 2 else None, "logits": None, "status": "ok", "reason": None,
                    "dataset": "d", "model": "m", "usage": "u", "sex": ["f", "m"][number // 3 % 2],
                }
            )  # fmt: skip
    result = audited(pd.DataFrame(rows))
    for target in ("malignant", "dx"):
        assert overall(result, "auc", target=target)["status"] == "ok"


def test_attributes_are_found_in_any_case_and_called_as_in_the_table():
    frame = table().rename(columns={"sex": "Sex"})
    result = audited(frame, attributes=["sex", "AGE"], bins={"Age": [50]}, intersections="sex*AGE")
    assert {"Sex", "age", "Sex*age"} <= set(result.groups["attribute"])
    assert {"<50", "50+"} <= set(result.groups.loc[result.groups["attribute"] == "age", "group"])


def test_an_attribute_that_no_column_is_called_like_is_an_error_that_lists_the_columns():
    with pytest.raises(UserError, match=r"unknown column 'gender'.*Known: .*sex"):
        audited(table(), attributes="gender")


def test_of_two_columns_that_differ_in_case_only_the_exact_one_is_meant():
    frame = table().assign(SEX="x")
    assert "SEX" not in set(audited(frame, attributes=["sex"]).groups["attribute"])


def test_nameless_column_of_row_numbers_changes_nothing(tmp_path):
    path = tmp_path / "with_index.csv"
    table().to_csv(path)
    found = audited(path)
    assert role(found, "score") == ("score",)
    assert overall(found, "auc")["value"] == overall(audited(table()), "auc")["value"]
