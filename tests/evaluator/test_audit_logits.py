"""Logits keep their order when they become probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logsumexp, softmax
from sklearn.metrics import roc_auc_score

from evaluator.auditing.logits import ordered_sigmoid, ordered_softmax
from tests.evaluator.audited import audited, overall, table

LOGITS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(LOGITS)
def test_different_logits_give_different_probabilities_in_the_same_order(values):
    logits = np.array(values)
    found = ordered_sigmoid(logits)
    assert ((found > 0) & (found < 1)).all()
    assert np.array_equal(np.unique(found, return_inverse=True)[1], np.unique(logits, return_inverse=True)[1])
    assert np.abs(found - expit(logits)).max() < 1e-13


def test_a_missing_logit_stays_missing():
    found = ordered_sigmoid(np.array([np.nan, 0.0, 1000.0]))
    assert np.isnan(found[0])
    assert found[1] == 0.5


def test_classes_are_ranked_by_their_odds_though_softmax_saturates():
    logits = 100 * np.random.default_rng(0).normal(size=(200, 3))
    found = ordered_softmax(logits)
    np.testing.assert_allclose(found, softmax(logits, axis=1), atol=1e-12)
    odds = logits[:, 0] - logsumexp(logits[:, 1:], axis=1)
    assert np.array_equal(np.argsort(found[:, 0]), np.argsort(odds))


@pytest.mark.parametrize("scale", [1.0, 60.0, 5000.0])
def test_auc_is_that_of_the_raw_logits_however_large_they_are(scale):
    frame = table(300)
    raw = np.log(frame["score"] / (1 - frame["score"])) + np.random.default_rng(0).normal(size=300)
    result = audited(frame.assign(score=scale * raw), logits=True)
    assert overall(result, "auc")["value"] == pytest.approx(roc_auc_score(frame["label"], raw), abs=1e-12)
    beyond = any("logits are beyond 14 in size" in note for note in result.notes)
    assert beyond == (scale > 1)


@pytest.mark.parametrize(("sign", "word"), [(1, "positive"), (-1, "negative")])
def test_logits_of_one_sign_are_a_caution(sign, word):
    frame = table().assign(logit=lambda t: sign * (t["score"] + 0.1)).drop(columns="score")
    assert any(f"Caution: all logits are {word}" in note for note in audited(frame).notes)


def test_logits_of_both_signs_and_common_sizes_are_none():
    frame = table().assign(logit=lambda t: 4 * t["score"] - 2).drop(columns="score")
    assert not any("Caution" in note for note in audited(frame).notes)
