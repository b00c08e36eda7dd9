"""Prototype tuning, CLIP-Adapter and Tip-Adapter: their papers' formulas in NumPy, choices on val, the zero-shot start."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from training_rows import embeddings

from evaluator.mitigation.options import DomainInd, Erm
from evaluator.models.interfaces import Similarity
from evaluator.usages.text_heads import clip_adapter, prototype_tuning, tip_adapter, tip_adapter_f
from evaluator.usages.trained import SampleGroups, fit, predict_table
from evaluator.usages.training_options import (
    ClipAdapterOptions,
    PrototypeTuningOptions,
    TipAdapterFOptions,
    TipAdapterOptions,
)
from evaluator.usages.zero_shot import TextClassifier, predict
from shards.card import Target
from shards.errors import UserError

TARGET = Target("finding", ("none", "mass", "cyst"))
COUNT, WIDTH = 300, 8


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


STREAM = np.random.default_rng(0)
CENTRES = unit(STREAM.normal(size=(3, WIDTH)))
CLASSES = STREAM.integers(0, 3, COUNT)
FEATURES = (2.0 * CENTRES[CLASSES] + STREAM.normal(size=(COUNT, WIDTH))).astype(np.float32)
SPLITS = np.array(["train", "val", "test"])[np.arange(COUNT) % 3]
TABLE = embeddings(FEATURES[:, :2], SPLITS, projected=FEATURES)
LABELS = {f"s{k:05d}": TARGET.classes[c] for k, c in enumerate(CLASSES)}
#: Texts that point roughly where the classes are.
TEXTS = TextClassifier(unit(CENTRES + 0.4 * STREAM.normal(size=CENTRES.shape)), Similarity("softmax", 10.0))
SMALL = {"epochs": 20, "batch_size": 32, "learning_rate": 0.02, "warmup": 1}


def fitted(plan, options, *, table=TABLE, labels=LABELS, seed=0):
    made = fit(table, labels, TARGET, plan, options, Erm(), SampleGroups(), seed=seed)
    return made, predict_table(made, table, labels, TARGET, SampleGroups())


def logits_of(rows, split):
    frame = rows.to_pandas()
    return np.stack(frame[frame["split"] == split]["logits"])


def loss_of(logits, split):
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    return log_loss(CLASSES[split == SPLITS], chances / chances.sum(axis=1, keepdims=True), labels=[0, 1, 2])


def zero_shot(split):
    return logits_of(predict(TABLE, LABELS, TARGET, TEXTS), split)


def test_prototypes_start_at_the_texts_and_end_nearer_to_the_classes():
    options = PrototypeTuningOptions(**{**SMALL, "epochs": 1, "learning_rate": 1e-9})
    _, rows = fitted(prototype_tuning(options, TEXTS), options)
    np.testing.assert_allclose(logits_of(rows, "test"), zero_shot("test"), rtol=1e-4, atol=1e-4)
    options = PrototypeTuningOptions(**SMALL)
    made, rows = fitted(prototype_tuning(options, TEXTS), options)
    assert loss_of(logits_of(rows, "test"), "test") < loss_of(zero_shot("test"), "test") - 0.05
    prototypes = unit(made.to_tensors()["classify.weights"])
    np.testing.assert_allclose(
        logits_of(rows, "test"), 10.0 * unit(FEATURES[SPLITS == "test"]) @ prototypes.T, rtol=1e-4, atol=1e-4
    )


def test_the_adapter_is_a_residual_bottleneck_before_fixed_texts():
    options = ClipAdapterOptions(**SMALL, alpha=0.3, reduction=2)
    made, rows = fitted(clip_adapter(options, TEXTS), options)
    tensors = made.to_tensors()
    assert tensors["represent.down.weight"].shape == (WIDTH // 2, WIDTH)
    np.testing.assert_allclose(tensors["classify.weights"], TEXTS.weights, rtol=1e-6)
    f = unit(FEATURES[SPLITS == "test"])
    hidden = np.maximum(f @ tensors["represent.down.weight"].T, 0.0)
    adapted = np.maximum(hidden @ tensors["represent.up.weight"].T, 0.0)
    expected = 10.0 * unit(0.3 * adapted + 0.7 * f) @ unit(TEXTS.weights).T
    np.testing.assert_allclose(logits_of(rows, "test"), expected, rtol=1e-4, atol=1e-4)


def test_val_chooses_the_adapters_share():
    options = ClipAdapterOptions(**SMALL, alpha=[0.05, 0.5, 0.9])
    made, rows = fitted(clip_adapter(options, TEXTS), options)
    among = made.details["among"]
    assert set(among) == {"alpha=0.05", "alpha=0.5", "alpha=0.9"}
    assert among[made.details["chosen"]] == min(among.values())
    assert loss_of(logits_of(rows, "val"), "val") == pytest.approx(min(among.values()), rel=1e-4)


def cache(alpha, beta, split):
    keys, train = unit(FEATURES[SPLITS == "train"]), CLASSES[SPLITS == "train"]
    f = unit(FEATURES[split == SPLITS])
    affinity = np.exp(-beta * (1.0 - f @ keys.T))
    return 10.0 * f @ unit(TEXTS.weights).T + alpha * affinity @ np.eye(3)[train]


def test_the_cache_is_that_of_the_paper_and_val_chooses_its_numbers():
    options = TipAdapterOptions(shots=None, alpha=[0.1, 1.0], beta=[1.0, 5.5])
    made, rows = fitted(tip_adapter(options, TEXTS), options)
    losses = {(a, b): loss_of(cache(a, b, "val"), "val") for a in (0.1, 1.0) for b in (1.0, 5.5)}
    alpha, beta = min(losses, key=losses.get)
    assert made.details["chosen"] == f"alpha={alpha:g}, beta={beta:g}"
    assert made.details["epoch"] == 0
    np.testing.assert_allclose(logits_of(rows, "test"), cache(alpha, beta, "test"), rtol=1e-4, atol=1e-4)


def test_the_cache_holds_so_many_samples_of_each_class_drawn_by_the_seed():
    def keys(seed, shots):
        options = TipAdapterOptions(shots=shots, alpha=1.0, beta=1.0)
        tensors = fitted(tip_adapter(options, TEXTS), options, seed=seed)[0].to_tensors()
        return tensors["classify.keys"], tensors["classify.values"]

    first, values = keys(0, 4)
    assert values.sum(axis=0).tolist() == [4.0, 4.0, 4.0]
    assert np.array_equal(first, keys(0, 4)[0])
    assert not np.array_equal(first, keys(1, 4)[0])
    assert keys(0, 10_000)[1].sum() == (SPLITS == "train").sum()


def test_keys_are_trained_from_the_cache_that_val_chose():
    numbers = {"shots": 8, "alpha": [0.1, 1.0], "beta": [1.0, 5.5]}
    plain, _ = fitted(tip_adapter(TipAdapterOptions(**numbers), TEXTS), TipAdapterOptions(**numbers))
    options = TipAdapterFOptions(**SMALL, **numbers)
    made, rows = fitted(tip_adapter_f(options, TEXTS), options)
    assert made.details["chosen"] == plain.details["chosen"]
    before, after = plain.to_tensors(), made.to_tensors()
    assert before["classify.keys"].shape == after["classify.keys"].shape
    assert not np.allclose(before["classify.keys"], after["classify.keys"])
    assert np.array_equal(before["classify.texts.weights"], after["classify.texts.weights"])
    assert min(made.details["val_losses"]) < min(plain.details["among"].values())
    assert np.isfinite(logits_of(rows, "test")).all()


def test_a_method_that_puts_classifiers_in_place_of_the_cache_starts_from_the_chosen_one():
    options = TipAdapterFOptions(**{**SMALL, "epochs": 2}, shots=4, alpha=[0.1, 1.0], beta=1.0)
    groups = SampleGroups(("a", "b"), {sample: k % 2 for k, sample in enumerate(sorted(LABELS))})
    plan = tip_adapter_f(options, TEXTS)
    made = fit(TABLE, LABELS, TARGET, plan, options, DomainInd(), groups)
    assert {"classify.of.0.keys", "classify.of.1.keys"} <= set(made.to_tensors())
    plain, _ = fitted(plan, options)
    assert made.details["among"] == plain.details["among"]
    assert np.isfinite(logits_of(predict_table(made, TABLE, LABELS, TARGET, groups), "test")).all()


@pytest.mark.parametrize("name", ["prototype_tuning", "clip_adapter", "tip_adapter"])
def test_a_class_without_training_samples_keeps_its_text(name):
    makers = {
        "prototype_tuning": (prototype_tuning, PrototypeTuningOptions(**SMALL)),
        "clip_adapter": (clip_adapter, ClipAdapterOptions(**SMALL)),
        "tip_adapter": (tip_adapter, TipAdapterOptions()),
    }
    make, options = makers[name]
    hidden = (SPLITS == "train") & (CLASSES == 2)
    labels = {k: None if hidden[int(k[1:])] else v for k, v in LABELS.items()}
    made, rows = fitted(make(options, TEXTS), options, labels=labels)
    assert made.details["notes"] == ["classes absent from train: cyst"]
    assert np.isfinite(logits_of(rows, "test")).all()
    assert (rows.to_pandas()["predicted"] == "cyst").any()


def test_a_model_with_several_vectors_of_an_image_is_refused():
    texts = TextClassifier(TEXTS.weights, Similarity("softmax", 10.0, vectors=2))
    with pytest.raises(UserError, match="needs one vector of an image"):
        prototype_tuning(PrototypeTuningOptions(), texts)


def test_a_sigmoid_models_bias_cancels_in_what_is_trained():
    options = TipAdapterOptions(shots=None, alpha=1.0, beta=1.0)
    biased = TextClassifier(TEXTS.weights, Similarity("sigmoid", 10.0, -7.0))
    _, rows = fitted(tip_adapter(options, biased), options)
    _, plain = fitted(tip_adapter(options, TEXTS), options)
    np.testing.assert_allclose(
        np.stack(rows["scores"].to_pylist()), np.stack(plain["scores"].to_pylist()), atol=1e-5
    )
