"""Zero-shot classification against computation by hand."""

import math

import numpy as np
import pytest
from usage_fakes import FakeVlm, embeddings

from evaluator.models.interfaces import Similarity
from evaluator.tables import PREDICTIONS
from evaluator.usages.options import ZeroShotOptions
from evaluator.usages.zero_shot import choose_prompts, classifier, predict
from shards.card import DatasetCard, PromptSet, Target
from shards.errors import UserError

TARGET = Target("disease", ("healthy", "sick"), positive="sick")
PROMPTS = PromptSet("disease", "v1", ("a {}", "the {}"), (("healthy eye",), ("sick eye", "ill eye")))
TEXTS = {
    "a healthy eye": [2.0, 0.0],
    "the healthy eye": [0.0, 1.0],
    "a sick eye": [0.0, -3.0],
    "the sick eye": [0.0, -1.0],
    "a ill eye": [1.0, 0.0],
    "the ill eye": [0.0, -5.0],
}
LABELS = {f"s{k:05d}": label for k, label in enumerate(["healthy", "sick", None])}


def table(projected=((3.0, 4.0), (0.0, -2.0), (1.0, 0.0)), status=None):
    size = len(projected)
    return embeddings(np.zeros((size, 2)), ["test"] * size, projected=np.array(projected), status=status)


def card(*prompts):
    return DatasetCard("eyes", "1", "fundus", "none", "none", targets=(TARGET,), prompts=prompts)


def predictions(similarity, **more):
    texts = classifier(FakeVlm(TEXTS, similarity), PROMPTS, TARGET)
    return predict(table(**more), LABELS, TARGET, texts)


def test_class_weights_are_means_over_templates_and_names_of_unit_vectors_renormalised():
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 10.0)), PROMPTS, TARGET)
    healthy = np.array([1.0, 1.0]) / math.sqrt(2)
    sick = np.array([1.0, -3.0]) / math.sqrt(10)
    np.testing.assert_allclose(texts.weights, [healthy, sick], rtol=1e-15)


def test_softmax_model_agrees_with_computation_by_hand():
    first = predictions(Similarity("softmax", 10.0, 0.5)).to_pylist()[0]
    cosines = [7 / (5 * math.sqrt(2)), (3 - 12) / (5 * math.sqrt(10))]
    logits = [10 * c + 0.5 for c in cosines]
    sick = 1 / (1 + math.exp(logits[0] - logits[1]))
    assert first["logits"] == pytest.approx(logits, rel=1e-6)
    assert first["scores"] == pytest.approx([1 - sick, sick], rel=1e-6)
    assert first["score"] == pytest.approx(sick, rel=1e-6)
    assert (first["label"], first["predicted"], first["target"]) == ("healthy", "healthy", "disease")


def test_sigmoid_model_gives_the_chance_of_each_class_if_exactly_one_is_true():
    row = predictions(Similarity("sigmoid", 4.0, -3.0)).to_pylist()[0]
    own = [1 / (1 + math.exp(-logit)) for logit in row["logits"]]
    exactly = [own[0] * (1 - own[1]), own[1] * (1 - own[0])]
    assert row["scores"] == pytest.approx([e / sum(exactly) for e in exactly], rel=1e-5)


def test_of_several_vectors_of_an_image_the_most_similar_counts():
    similarity = Similarity("softmax", 10.0, vectors=2)
    texts = classifier(FakeVlm(TEXTS, similarity), PROMPTS, TARGET)
    vectors = np.random.default_rng(1).normal(size=(3, 2, 2))
    found = predict(table(vectors.reshape(3, 4)), LABELS, TARGET, texts)
    cosine = (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)) @ texts.weights.T
    np.testing.assert_allclose(found["logits"].to_pylist(), 10 * cosine.max(axis=1), rtol=1e-5)


def test_every_row_is_kept_in_order_with_scores_that_sum_to_one():
    rows = predictions(Similarity("softmax", 100.0))
    assert rows.schema == PREDICTIONS
    assert rows["sample_id"].to_pylist() == list(LABELS)
    assert rows["label"].to_pylist() == ["healthy", "sick", None]
    np.testing.assert_allclose([sum(s) for s in rows["scores"].to_pylist()], 1, atol=1e-6)


def test_failed_sample_keeps_its_row_and_status_with_nulls():
    rows = predictions(Similarity("softmax", 10.0), status=["ok", "decode_error", "ok"]).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "decode_error", "ok"]
    assert rows[1]["reason"] == "broken"
    assert [rows[1][name] for name in ("predicted", "score", "scores", "logits")] == [None] * 4
    assert rows[1]["label"] == "sick"


def test_image_without_direction_becomes_a_row_with_nan_output():
    rows = predictions(
        Similarity("softmax", 10.0), projected=((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    ).to_pylist()
    assert [row["status"] for row in rows] == ["nan_output", "ok", "ok"]
    assert rows[0]["scores"] is None


def test_score_is_null_where_no_class_is_the_positive_one():
    target = Target("disease", ("healthy", "sick"))
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 10.0)), PROMPTS, target)
    assert predict(table(), LABELS, target, texts)["score"].null_count == 3


def test_rows_do_not_depend_on_each_other():
    similarity = Similarity("softmax", 10.0)
    texts = classifier(FakeVlm(TEXTS, similarity), PROMPTS, TARGET)
    random = np.random.default_rng(0).normal(size=(101, 2))
    labels = {f"s{k:05d}": None for k in range(101)}
    whole = predict(table(random), labels, TARGET, texts)
    for start, stop in ((0, 1), (1, 8), (50, 101)):
        part = predict(table(random).slice(start, stop - start), labels, TARGET, texts)
        assert part.equals(whole.slice(start, stop - start))


def test_first_prompt_set_is_the_default_and_others_go_by_version():
    other = PromptSet("disease", "v2", ("x {}",), (("a",), ("b",)))
    assert choose_prompts(card(PROMPTS, other), TARGET, ZeroShotOptions()) == PROMPTS
    assert choose_prompts(card(PROMPTS, other), TARGET, ZeroShotOptions(prompts="v2")) == other
    with pytest.raises(UserError, match=r"'v3'.*did you mean 'v"):
        choose_prompts(card(PROMPTS, other), TARGET, ZeroShotOptions(prompts="v3"))


def test_templates_replace_those_of_the_prompt_set_and_keep_its_names():
    chosen = choose_prompts(card(PROMPTS), TARGET, ZeroShotOptions(templates=("no {}",)))
    assert (chosen.templates, chosen.names) == (("no {}",), PROMPTS.names)
    assert chosen.version != PROMPTS.version


def test_without_prompts_the_class_names_need_templates():
    chosen = choose_prompts(card(), TARGET, ZeroShotOptions(templates=("a {}",)))
    assert chosen.names == (("healthy",), ("sick",))
    with pytest.raises(UserError, match=r"'disease'.*'eyes'.*zero_shot.templates"):
        choose_prompts(card(), TARGET, ZeroShotOptions())


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (PromptSet("disease", "v1", ("a {}",), (("healthy eye",),)), "2 classes, got 1"),
        (PromptSet("disease", "v1", (), (("a",), ("b",))), "at least one template"),
        (PromptSet("disease", "v1", ("a {}",), (("a",), ())), "one name per class"),
        (PromptSet("disease", "v1", ("a",), (("a",), ("b",))), "exactly one"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(prompts, words):
    with pytest.raises(UserError, match=words):
        classifier(FakeVlm(TEXTS, Similarity("softmax", 1.0)), prompts, TARGET)


def test_names_with_braces_are_taken_literally():
    prompts = PromptSet("disease", "v1", ("a {}",), (("{0}",), ("{x}",)))
    texts = {"a {0}": [1.0, 0.0], "a {x}": [0.0, 1.0]}
    weights = classifier(FakeVlm(texts, Similarity("softmax", 1.0)), prompts, TARGET).weights
    np.testing.assert_array_equal(weights, np.eye(2))


@pytest.mark.parametrize("broken", [[float("nan"), 0.0], [0.0, 0.0]])
def test_text_without_a_direction_is_an_error_that_names_the_class(broken):
    prompts = PromptSet("disease", "v1", ("a {}",), (("good",), ("bad",)))
    texts = {"a good": [1.0, 0.0], "a bad": broken}
    with pytest.raises(UserError, match=r"class 'sick'.*'a bad'"):
        classifier(FakeVlm(texts, Similarity("softmax", 1.0)), prompts, TARGET)


def test_embeddings_of_another_model_are_refused():
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 1.0)), PROMPTS, TARGET)
    with pytest.raises(UserError, match=r"length 2.*got 3"):
        predict(table(np.ones((3, 3))), LABELS, TARGET, texts)
    with pytest.raises(UserError, match="no text tower"):
        predict(embeddings(np.ones((3, 2)), ["test"] * 3), LABELS, TARGET, texts)


def test_labels_must_cover_the_samples_and_be_classes_of_the_target():
    texts = classifier(FakeVlm(TEXTS, Similarity("softmax", 1.0)), PROMPTS, TARGET)
    with pytest.raises(UserError, match=r"'s00002'.*no entry"):
        predict(table(), {"s00000": None, "s00001": None}, TARGET, texts)
    with pytest.raises(UserError, match=r"healthy, sick.*got 'Sick'"):
        predict(table(), {**LABELS, "s00001": "Sick"}, TARGET, texts)
