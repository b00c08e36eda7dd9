"""A planted leak: features tell the group, which goes with the class in training and not in the test rows."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from training_rows import RECIPE, mlp_head

from evaluator.mitigation.registry import make_method
from evaluator.training.loop import logits_of, train
from evaluator.training.rows import TrainingRows


def leaking_rows(count, *, seed, together=0.85, unknown=0.1, groups=2) -> TrainingRows:
    """Feature 0 tells the class a little, feature 2 the group well; group 1 goes with class 1 in a share of `together`."""
    stream = np.random.default_rng(seed)
    classes = stream.integers(0, 2, count)
    codes = np.where(stream.random(count) < together, classes, 1 - classes)
    codes = np.where(stream.random(count) < (groups - 2) / groups, stream.integers(0, groups, count), codes)
    features = stream.normal(size=(count, 6)).astype(np.float32)
    features[:, 0] += 2.0 * classes - 1.0
    features[:, 2] += 4.0 * codes - 2.0
    codes = np.where(stream.random(count) < unknown, -1, codes)
    return TrainingRows(features, classes, codes, ("healthy", "sick"), tuple("abcdef"[:groups]))


def rest(groups):
    """Rows to train, choose and, with groups that do not go with classes, to read the group on and to test on."""
    known = {"together": 0.5, "unknown": 0.0, "groups": groups}
    return (
        leaking_rows(600, seed=0, groups=groups),
        leaking_rows(300, seed=1, groups=groups),
        leaking_rows(1000, seed=2, **known),
        leaking_rows(2000, seed=3, **known),
    )


PARTS = {groups: rest(groups) for groups in (2, 3)}


def narrow_head():
    """A representation of four units: one that must choose what to keep."""
    return mlp_head(hidden=4)


def represent(head, rows):
    with torch.no_grad():
        return head.represent(torch.from_numpy(rows.features)).numpy()


def how_well_the_group_is_read(head, groups=2):
    """Return the AUC of group 0 against the others, read by logistic regression from the representation."""
    *_, fit, test = PARTS[groups]
    reader = LogisticRegression(max_iter=1000).fit(represent(head, fit), fit.groups == 0)
    return roc_auc_score(test.groups == 0, reader.decision_function(represent(head, test)))


def gap_of_rates(head):
    """Return the mean difference between two groups' true and false positive rates."""
    test = PARTS[2][3]
    called = logits_of(head, test.features, test.groups).argmax(axis=1)
    rates = [[called[(test.groups == g) & (test.classes == y)].mean() for g in (0, 1)] for y in (0, 1)]
    return float(np.abs(np.diff(rates, axis=1)).mean())


def trained(options, *, groups=2, seed=0, make=narrow_head, recipe=RECIPE):
    """Return a head trained with a method, and the method."""
    method = make_method(options)
    return train(make, *PARTS[groups][:2], recipe, method, seed=seed).head, method
