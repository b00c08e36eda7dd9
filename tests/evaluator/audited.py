"""Small made-up tables of predictions for the tests of audits."""

import numpy as np
import pandas as pd

from evaluator import audit

QUICK = {"bootstrap": 20, "permutations": 19}


def table(subjects=120, *, images=1, seed=0, unknown=0.0):
    """One binary target with scores: image_id, patient_id, sex, age, label, score."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["female", "male"], subjects).astype(object)
    age = rng.integers(20, 90, subjects)
    sick = rng.random(subjects) < 0.4
    person = np.repeat(np.arange(subjects), images)
    signal = 1.5 * sick[person] + rng.normal(size=len(person))
    sex[rng.random(subjects) < unknown] = None
    return pd.DataFrame(
        {
            "image_id": [f"i{row:04d}" for row in range(len(person))],
            "patient_id": [f"p{p:04d}" for p in person],
            "sex": sex[person],
            "age": age[person],
            "label": sick[person].astype(int),
            "score": (1 / (1 + np.exp(-signal + 0.7))).round(4),
        }
    )


def classes(names=("nev", "mel", "bcc"), subjects=150, seed=1):
    """Several classes with one score column each, p_<class>; true class in `dx`."""
    rng = np.random.default_rng(seed)
    base = table(subjects, seed=100 + seed).drop(columns=["label", "score"])
    truth = rng.integers(0, len(names), subjects)
    raw = rng.normal(size=(subjects, len(names))) + 1.5 * np.eye(len(names))[truth]
    scores = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    columns = {f"p_{name}": scores[:, place] for place, name in enumerate(names)}
    return base.assign(dx=np.array(names, dtype=object)[truth], **columns)


def findings(names=("nodule", "mass"), subjects=120, seed=2):
    """Several findings per sample, each with `score_<finding>`."""
    rng = np.random.default_rng(seed)
    base = table(subjects, seed=100 + seed).drop(columns=["label", "score"])
    for name in names:
        there = rng.random(subjects) < 0.4
        base[name] = there.astype(int)
        base[f"score_{name}"] = np.clip(0.3 * there + 0.7 * rng.random(subjects), 0, 1)
    return base


def audited(frame, **options):
    """Audit with few replicates."""
    return audit(frame, **{**QUICK, **options})


def overall(result, metric, **where):
    """The value over all samples."""
    rows = result.groups[(result.groups["attribute"] == "all") & (result.groups["metric"] == metric)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1, f"{len(rows)} rows of {metric} with {where}"
    return rows.iloc[0]


def role(result, name):
    """The columns that were taken for something."""
    return next(r.columns for r in result.roles if r.role == name)
