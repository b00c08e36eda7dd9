"""The linear probe: agrees with scikit-learn, sees train and val only, and says what is unusual."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as log_loss_of_scikit_learn
from sklearn.utils.class_weight import compute_class_weight
from usage_fakes import embeddings

from evaluator.tables import PREDICTIONS
from evaluator.usages.linear_probe import fit, from_safetensors, predict_table, to_safetensors
from evaluator.usages.logistic import fit_path, log_loss
from evaluator.usages.options import LinearProbeOptions
from evaluator.usages.predictions import labels_of
from shards.card import Target
from shards.errors import UserError

CLASSES = ("a", "b", "c")


def problem(size=240, dimension=6, classes=3, seed=0, images_per_subject=2):
    """Features with signal, splits by subject, labels by sample id."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(size, dimension)) * np.geomspace(1, 30, dimension) + 5
    direction = random.normal(size=(dimension, classes)) / np.geomspace(1, 30, dimension)[:, None]
    label = (features @ direction + random.gumbel(size=(size, classes))).argmax(axis=1)
    subject = np.arange(size) // images_per_subject
    split = np.array(["train", "train", "val", "test"])[subject % 4]
    table = embeddings(features, split, subjects=[f"p{k:05d}" for k in subject])
    target = Target("t", CLASSES[:classes], "b" if classes == 2 else None)
    return table, {f"s{k:05d}": CLASSES[c] for k, c in enumerate(label)}, target


def arrays(table, labels, target, split):
    rows = table.filter(pa.compute.equal(table["split"], split))
    features = np.array(rows["embedding"].to_pylist(), dtype=np.float64)
    return features, np.array([target.classes.index(labels[s]) for s in rows["sample_id"].to_pylist()])


def scores(predictions):
    return np.array(predictions["scores"].to_pylist())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_probe_is_scikit_learns_logistic_regression_on_standardised_features(classes, c, class_weight):
    table, labels, target = problem(classes=classes)
    probe = fit(table, labels, target, LinearProbeOptions(grid=(c,), class_weight=class_weight))
    train, y = arrays(table, labels, target, "train")
    mean, scale = train.mean(axis=0), train.std(axis=0)
    model = LogisticRegression(
        C=c, solver="newton-cholesky", tol=1e-12, class_weight=None if class_weight == "none" else "balanced"
    ).fit((train - mean) / scale, y)
    for split in ("val", "test"):
        features, _ = arrays(table, labels, target, split)
        rows = predict_table(probe, table, labels, target)
        mine = scores(rows.filter(pa.compute.equal(rows["split"], split)))
        np.testing.assert_allclose(mine, model.predict_proba((features - mean) / scale), atol=2e-7)
    if classes == 3:
        np.testing.assert_allclose(probe.coef, model.coef_ - model.coef_.mean(axis=0), atol=1e-6)
    else:
        np.testing.assert_allclose(probe.coef[1] - probe.coef[0], model.coef_[0], atol=1e-6)


def test_no_solver_finds_a_lower_objective():
    random = np.random.default_rng(3)
    features = random.normal(size=(300, 40)) @ random.normal(size=(40, 40))
    classes = random.integers(0, 4, 300)
    weights = random.uniform(0.2, 3, 300)
    for one in fit_path(features, classes, weights=weights, grid=(1e-3, 0.1, 10.0, 1e3)):
        model = LogisticRegression(C=one.c, solver="newton-cholesky", tol=1e-12, max_iter=1000)
        model.fit(features, classes, sample_weight=weights)
        chances = np.log(model.predict_proba(features))[np.arange(300), classes]
        theirs = 0.5 * (model.coef_**2).sum() - one.c * (weights * chances).sum()
        assert one.converged
        assert one.objective <= theirs * (1 + 1e-9)
        assert one.objective == pytest.approx(theirs, rel=1e-8)


def test_warm_starts_along_the_path_change_nothing():
    random = np.random.default_rng(5)
    features, classes = random.normal(size=(120, 10)), random.integers(0, 3, 120)
    path = list(fit_path(features, classes, weights=np.ones(120), grid=(0.001, 0.1, 10.0)))
    for one in path:
        (alone,) = fit_path(features, classes, weights=np.ones(120), grid=(one.c,))
        np.testing.assert_allclose(one.coef, alone.coef, atol=1e-7)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_c_is_the_one_with_the_lowest_validation_log_loss(class_weight):
    table, labels, target = problem(size=160, dimension=30)
    probe = fit(table, labels, target, LinearProbeOptions(class_weight=class_weight))
    rule = None if class_weight == "none" else "balanced"
    train, y = arrays(table, labels, target, "train")
    val, y_val = arrays(table, labels, target, "val")
    mean, scale = train.mean(axis=0), train.std(axis=0)
    for c, loss in zip(probe.grid, probe.val_log_loss, strict=True):
        model = LogisticRegression(C=c, tol=1e-9, max_iter=10_000, class_weight=rule)
        chances = model.fit((train - mean) / scale, y).predict_proba((val - mean) / scale)
        weights = compute_class_weight(rule, classes=np.unique(y), y=y)[y_val]
        expected = log_loss_of_scikit_learn(y_val, chances, sample_weight=weights, labels=np.unique(y))
        assert loss == pytest.approx(expected, abs=1e-5)
    assert probe.c == probe.grid[int(np.argmin(probe.val_log_loss))]
    assert probe.c < 1e4
    assert probe.notes == ()


def test_test_rows_never_influence_the_fit():
    table, labels, target = problem()
    options = LinearProbeOptions(grid=(0.1, 1.0))
    split = dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    changed = {s: CLASSES[0] if split[s] == "test" else label for s, label in labels.items()}
    without = table.filter(pa.compute.not_equal(table["split"], "test"))
    first = to_safetensors(fit(table, labels, target, options))
    assert to_safetensors(fit(table, changed, target, options)) == first
    assert to_safetensors(fit(without, labels, target, options)) == first


def test_val_labels_choose_c_and_nothing_else():
    table, labels, target = problem()
    split = dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    changed = {s: CLASSES[0] if split[s] == "val" else label for s, label in labels.items()}
    options = LinearProbeOptions(grid=(0.1,))
    first, second = (fit(table, known, target, options) for known in (labels, changed))
    np.testing.assert_array_equal(first.coef, second.coef)
    assert first.val_log_loss != second.val_log_loss


def test_order_of_rows_and_chunks_changes_no_bit():
    table, labels, target = problem()
    options = LinearProbeOptions(grid=(0.1, 1.0))
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    chunked = pa.concat_tables([shuffled.slice(0, 7), shuffled.slice(7)])
    for seed in (0, 2):
        first, second = (fit(rows, labels, target, options, seed=seed) for rows in (table, chunked))
        assert to_safetensors(first) == to_safetensors(second)
        one, two = predict_table(first, table, labels, target), predict_table(second, chunked, labels, target)
        assert one.sort_by("sample_id").equals(two.sort_by("sample_id"))


def test_predictions_hold_val_and_test_rows_with_scores_that_sum_to_one():
    table, labels, target = problem()
    rows = predict_table(fit(table, labels, target, LinearProbeOptions(grid=(1.0,))), table, labels, target)
    kept = table.filter(pa.compute.not_equal(table["split"], "train"))
    assert rows.schema == PREDICTIONS
    assert rows["sample_id"].to_pylist() == kept["sample_id"].to_pylist()
    np.testing.assert_allclose(scores(rows).sum(axis=1), 1, atol=1e-6)
    logits = np.array(rows["logits"].to_pylist())
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores(rows), chances, atol=1e-6)


def test_two_classes_give_the_score_of_the_positive_class():
    table, labels, target = problem(classes=2)
    rows = predict_table(fit(table, labels, target, LinearProbeOptions(grid=(1.0,))), table, labels, target)
    np.testing.assert_array_equal(rows["score"].to_numpy(), scores(rows)[:, 1].astype(np.float32))


def test_seeds_refit_on_subject_bootstraps_that_differ_and_repeat():
    table, labels, target = problem()
    options = LinearProbeOptions(grid=(1.0,))
    fits = [fit(table, labels, target, options, seed=seed) for seed in (0, 1, 2, 1)]
    assert to_safetensors(fits[1]) == to_safetensors(fits[3])
    assert not np.allclose(fits[0].coef, fits[1].coef)
    assert not np.allclose(fits[1].coef, fits[2].coef)


def test_bootstrap_equals_a_fit_on_repeated_subjects():
    table, labels, target = problem(size=120)
    options = LinearProbeOptions(grid=(1.0,))
    probe = fit(table, labels, target, options, seed=4)
    train = table.filter(pa.compute.equal(table["split"], "train"))
    names = sorted(set(train["subject_id"].to_pylist()))
    drawn = np.random.Philox(key=4).random_raw(len(names)) % np.uint64(len(names))
    rows, more = [table.filter(pa.compute.not_equal(table["split"], "train"))], dict(labels)
    for k, name in enumerate(drawn):
        own = train.filter(pa.compute.equal(train["subject_id"], names[int(name)]))
        ids = [f"x{k:03d}-{sample}" for sample in own["sample_id"].to_pylist()]
        more |= {new: labels[new.partition("-")[2]] for new in ids}
        rows.append(own.set_column(0, own.schema.field(0), pa.array(ids)))
    repeated = fit(pa.concat_tables(rows), more, target, options)
    np.testing.assert_allclose(probe.mean, repeated.mean, rtol=1e-12)
    np.testing.assert_allclose(probe.coef, repeated.coef, atol=1e-7)


def test_class_absent_from_train_gets_probability_zero_and_a_note():
    table, labels, target = problem()
    split = dict(zip(table["sample_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    kept = {s: None if split[s] == "train" and label == "b" else label for s, label in labels.items()}
    probe = fit(table, kept, target, LinearProbeOptions(grid=(1.0,)))
    rows = predict_table(probe, table, kept, target)
    assert any("absent from train get probability 0: b" in note for note in probe.notes)
    assert any("took no part in choosing C" in note for note in probe.notes)
    assert set(scores(rows)[:, 1]) == {0.0}
    assert {row[1] for row in rows["logits"].to_pylist()} == {None}
    assert "b" not in rows["predicted"].to_pylist()
    assert "b" in rows["label"].to_pylist()
    np.testing.assert_allclose(scores(rows).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("grid", "edge"), [((1e-6, 1e-5), "upper"), ((1e3, 1e4), "lower")])
def test_c_at_the_edge_of_the_grid_is_noted(grid, edge):
    table, labels, target = problem(size=80, dimension=20, seed=1)
    probe = fit(table, labels, target, LinearProbeOptions(grid=grid))
    assert any(f"at the {edge} edge of the grid" in note for note in probe.notes)


def test_unknown_labels_take_no_part_and_keep_their_prediction():
    table, labels, target = problem()
    unknown = {s: None if int(s[1:]) % 5 == 0 else label for s, label in labels.items()}
    options = LinearProbeOptions(grid=(1.0,))
    known = table.filter(pa.array([unknown[s] is not None for s in table["sample_id"].to_pylist()]))
    first = fit(table, unknown, target, options)
    assert to_safetensors(first) == to_safetensors(fit(known, unknown, target, options))
    rows = predict_table(first, table, unknown, target).to_pylist()
    assert all(row["scores"] is not None for row in rows)
    assert {row["label"] for row in rows} >= {None, "a"}


def test_failed_samples_take_no_part_and_keep_a_row_with_nulls():
    table, labels, target = problem()
    status = ["decode_error" if k % 7 == 0 else "ok" for k in range(len(table))]
    features = np.array(table["embedding"].to_pylist())
    broken = embeddings(
        features, table["split"].to_pylist(), subjects=table["subject_id"].to_pylist(), status=status
    )
    usable = broken.filter(pa.compute.equal(broken["status"], "ok"))
    options = LinearProbeOptions(grid=(1.0,))
    probe = fit(broken, labels, target, options)
    assert to_safetensors(probe) == to_safetensors(fit(usable, labels, target, options))
    rows = predict_table(probe, broken, labels, target).to_pylist()
    assert len(rows) == sum(split != "train" for split in table["split"].to_pylist())
    failed = [row for row in rows if row["status"] == "decode_error"]
    assert failed
    assert all(row["scores"] is None and row["predicted"] is None for row in failed)


def test_constant_features_among_others_are_harmless():
    table, labels, target = problem()
    features = np.array(table["embedding"].to_pylist())
    features[:, 2] = 0.1
    constant = embeddings(features, table["split"].to_pylist(), subjects=table["subject_id"].to_pylist())
    probe = fit(constant, labels, target, LinearProbeOptions(grid=(1.0,)))
    assert probe.scale[2] == 1.0
    np.testing.assert_allclose(probe.coef[:, 2], 0, atol=1e-7)


def test_separable_data_converge_with_a_weak_penalty():
    random = np.random.default_rng(0)
    features, split = random.normal(size=(60, 100)), ["train"] * 40 + ["val"] * 20
    labels = {f"s{k:05d}": "ab"[k % 2] for k in range(60)}
    probe = fit(
        embeddings(features, split), labels, Target("t", ("a", "b"), "b"), LinearProbeOptions(grid=(1e4,))
    )
    assert probe.converged


def test_probe_survives_safetensors_bit_for_bit():
    table, labels, target = problem()
    probe = fit(table, labels, target, LinearProbeOptions(grid=(0.1, 1.0)), seed=1)
    data = to_safetensors(probe)
    back = from_safetensors(data)
    assert to_safetensors(back) == data
    assert predict_table(back, table, labels, target).equals(predict_table(probe, table, labels, target))
    assert (back.grid, back.classes, back.notes, back.seed) == (probe.grid, probe.classes, probe.notes, 1)


@pytest.mark.parametrize("data", [b"", b"no safetensors file at all"])
def test_file_that_is_no_probe_is_a_user_error(data):
    with pytest.raises(UserError, match="not a linear probe"):
        from_safetensors(data)


def test_what_cannot_be_fitted_is_refused_with_the_reason():
    table, labels, target = problem()
    options = LinearProbeOptions(grid=(1.0,))

    def split_only(*names):
        return table.filter(pa.compute.is_in(table["split"], value_set=pa.array(names)))

    with pytest.raises(UserError, match="needs val samples"):
        fit(split_only("train", "test"), labels, target, options)
    with pytest.raises(UserError, match="needs train samples"):
        fit(split_only("val", "test"), labels, target, options)
    with pytest.raises(UserError, match="needs train samples with a label"):
        fit(table, dict.fromkeys(labels), target, options)
    with pytest.raises(UserError, match="two classes in train, found only 'a'"):
        fit(table, dict.fromkeys(labels, "a"), target, options)
    same = embeddings(np.ones((len(table), 3)), table["split"].to_pylist())
    with pytest.raises(UserError, match="all 3 features are constant"):
        fit(same, labels, target, options)
    holes = np.ones((len(table), 3))
    holes[5, 1] = np.nan
    with pytest.raises(UserError, match="finite numbers"):
        fit(embeddings(holes, table["split"].to_pylist()), labels, target, options)
    with pytest.raises(UserError, match="got 'z'"):
        fit(table, {**labels, "s00000": "z"}, target, options)


def test_bootstrap_that_cannot_hold_every_class_says_so():
    size = 40
    split = ["train"] * 36 + ["val"] * 4
    labels = {f"s{k:05d}": f"c{k}" if k < 36 else "c0" for k in range(size)}
    target = Target("t", tuple(f"c{k}" for k in range(36)))
    table = embeddings(np.random.default_rng(0).normal(size=(size, 3)), split)
    with pytest.raises(UserError, match="too few subjects"):
        fit(table, labels, target, LinearProbeOptions(grid=(1.0,)), seed=1)


def test_probe_of_another_model_is_refused():
    table, labels, target = problem()
    probe = fit(table, labels, target, LinearProbeOptions(grid=(1.0,)))
    other, _, _ = problem(dimension=5)
    with pytest.raises(UserError, match=r"length 6.*got 5"):
        predict_table(probe, other, labels, target)


def test_labels_come_from_the_index_and_a_missing_column_is_named():
    index = pa.table({"sample_id": ["x", "y"], "t": ["a", None]})
    assert labels_of(index, Target("t", ("a", "b"))) == {"x": "a", "y": None}
    with pytest.raises(UserError, match="no column 'u'"):
        labels_of(index, Target("u", ("a", "b")))


def test_log_loss_has_no_clipping():
    assert log_loss(np.array([[0.0, 1000.0]]), np.array([0])) == 1000.0


def test_bad_features_name_the_first_bad_sample():
    table, labels, target = problem()
    vectors = table["embedding"].to_pylist()
    vectors[4] = [float("nan"), *vectors[4][1:]]
    place = table.schema.get_field_index("embedding")
    column = pa.array(vectors, table.schema.field("embedding").type)
    broken = table.set_column(place, table.schema.field("embedding"), column)
    name = broken["sample_id"].to_pylist()[4]
    with pytest.raises(UserError, match=rf"first of 1 such samples: '{name}'"):
        fit(broken, labels, target, LinearProbeOptions(grid=(1.0,)))
