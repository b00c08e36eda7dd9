"""Training of heads: reproducible to the bit, chosen on val, blind for test."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from training_rows import RECIPE, embeddings, linear_head, mlp_head, unfair_rows

from evaluator.mitigation.method import Method
from evaluator.mitigation.options import Erm
from evaluator.training.loop import batches, logits_of, train
from evaluator.usages import mlp_probe
from evaluator.usages.trained import SampleGroups, fit, predict_table
from evaluator.usages.training_options import MlpProbeOptions
from shards.card import Target
from shards.errors import UserError

TARGET = Target("disease", ("healthy", "sick"), "sick")
ROWS, VAL = unfair_rows(300, seed=0), unfair_rows(200, seed=1)


def trained(seed=0, method=None, recipe=RECIPE, make=mlp_head):
    return train(make, ROWS, VAL, recipe, method or Method(), seed=seed)


def same(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_seed_gives_the_same_bits_whatever_threads_and_random_numbers_there_were_before():
    first = trained()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.rand(17)
    again = trained()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert same(first.head, again.head)
    assert first.val_losses == again.val_losses
    assert not same(first.head, trained(seed=1).head)


def test_training_leaves_the_global_stream_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    trained()
    assert torch.equal(torch.rand(4), expected)


def test_the_epoch_with_the_lowest_validation_loss_is_kept():
    found = trained(recipe=replace(RECIPE, learning_rate=0.3, epochs=25))
    assert found.epoch == int(np.argmin(found.val_losses)) + 1
    logits = logits_of(found.head, VAL.features, VAL.groups)
    chances = torch.softmax(torch.from_numpy(logits), dim=1)[:, 1]
    assert log_loss(VAL.classes, chances) == pytest.approx(min(found.val_losses), abs=1e-5)


def test_training_ends_when_the_validation_loss_stays_up():
    found = trained(recipe=replace(RECIPE, learning_rate=0.3, epochs=200, patience=4))
    assert len(found.val_losses) == found.epoch + 4 < 200


def test_a_training_that_diverges_is_an_error_and_no_result():
    rows = replace(ROWS, features=ROWS.features * np.float32(np.nan))
    with pytest.raises(UserError, match=r"diverged.*learning_rate"):
        train(linear_head, rows, rows, RECIPE, Method(), seed=0)


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own():
    def seen(epoch, seed=0):
        parts = [b.features for b in batches(ROWS, Method(), 32, seed=seed, epoch=epoch)]
        assert [len(part) for part in parts] == [32] * 9 + [12]
        return torch.cat(parts)

    first = seen(1)
    assert torch.equal(first.sort(dim=0).values, torch.from_numpy(ROWS.features).sort(dim=0).values)
    assert torch.equal(first, seen(1))
    assert not torch.equal(first, seen(2))
    assert not torch.equal(first, seen(1, seed=1))


def test_a_rows_logits_do_not_depend_on_the_other_rows():
    head = trained().head
    whole = logits_of(head, ROWS.features, ROWS.groups)
    for start, stop in ((0, 1), (5, 12), (290, 300)):
        part = logits_of(head, ROWS.features[start:stop], ROWS.groups[start:stop])
        assert np.array_equal(part, whole[start:stop])


def exclusive_or(count=600, seed=0):
    stream = np.random.default_rng(seed)
    features = stream.normal(size=(count, 4))
    sick = (features[:, 0] > 0) ^ (features[:, 1] > 0)
    splits = np.array(["train", "val", "test"])[np.arange(count) % 3]
    return features, sick, splits


def probe(features, sick, splits, *, seed=0, flip_test=False, order=None, status=None, **options):
    table = embeddings(features, splits, status=status)
    shown = [bool(s) != (flip_test and split == "test") for s, split in zip(sick, splits, strict=True)]
    names = ["sick" if one else "healthy" for one in shown]
    labels = dict(zip(table["sample_id"].to_pylist(), names, strict=True))
    if order is not None:
        table = table.take(order)
    small = {"hidden": 32, "epochs": 60, "batch_size": 32, "learning_rate": 0.02, "patience": 60}
    options = MlpProbeOptions(**small | options)
    made = fit(table, labels, TARGET, mlp_probe.plan(options), options, Erm(), SampleGroups(), seed=seed)
    return made, predict_table(made, table, labels, TARGET, SampleGroups())


def test_a_hidden_layer_learns_what_a_line_cannot():
    features, sick, splits = exclusive_or()
    _, rows = probe(features, sick, splits)
    found = rows.to_pandas().query("split == 'test'")
    truth = (found["label"] == "sick").astype(int)
    assert roc_auc_score(truth, found["score"]) > 0.9
    assert set(rows["split"].to_pylist()) == {"val", "test"}


def test_neither_test_labels_nor_the_order_of_rows_change_a_bit():
    features, sick, splits = exclusive_or(150)
    made, rows = probe(features, sick, splits, epochs=5)
    flipped, _ = probe(features, sick, splits, epochs=5, flip_test=True)
    assert same(made.head, flipped.head)
    order = np.random.default_rng(5).permutation(150)
    shuffled, other = probe(features, sick, splits, epochs=5, order=order)
    assert same(made.head, shuffled.head)
    assert rows.sort_by("sample_id").equals(other.sort_by("sample_id"))


def test_failed_samples_take_no_part_and_keep_their_rows():
    features, sick, splits = exclusive_or(150)
    status = ["decode_error" if k % 10 == 0 else "ok" for k in range(150)]
    made, rows = probe(features, sick, splits, epochs=3, status=status)
    kept = np.array([one == "ok" for one in status])
    alone, _ = probe(features[kept], sick[kept], splits[kept], epochs=3)
    assert same(made.head, alone.head)
    failed = rows.to_pandas().query("status == 'decode_error'")
    assert len(failed) == 10
    assert failed["score"].isna().all()


def test_the_weights_are_kept_with_how_they_came_to_be():
    made, _ = probe(*exclusive_or(90), epochs=3)
    tensors = made.to_tensors()
    assert tensors["classify.weight"].shape == (2, 32)
    told = bytes(tensors["details_json"]).decode()
    assert '"mitigation":"erm"' in told
    assert '"epoch":' in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mitigation": "group_dro"}, "needs 'mitigate'"),
        ({"mitigation": ["erm", "ERM"]}, "'erm' twice"),
        ({"mitigation": ["grup_dro"]}, "group_dro"),
        ({"mitigation": [{"name": "group_dro", "eta": -1}], "mitigate": "sex"}, "greater than 0"),
    ],
)
def test_methods_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MlpProbeOptions(**options)


def test_a_method_is_called_by_what_is_not_its_default():
    options = MlpProbeOptions(
        mitigation=["erm", "group-dro", {"name": "group_dro", "eta": 0.1}], mitigate="sex"
    )
    assert [one.label for one in options.mitigation] == ["erm", "group_dro", "group_dro:eta=0.1"]
