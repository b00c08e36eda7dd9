"""Probing features for an attribute: the groups become classes, unknown stays unknown, the probe is the linear probe."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score
from usage_fakes import embeddings

from evaluator.groups import parse_groups
from evaluator.usages.linear_probe import fit, predict_table
from evaluator.usages.options import RepresentationOptions
from evaluator.usages.representation import groups_with_samples, probe_options, probed, probing
from shards.errors import UserError

OPTIONS = RepresentationOptions(grid=(0.01, 1.0))


def rule(name="sex", **options):
    return parse_groups({name: options})[0]


def people(size=400, *, strength=0.0, unknown=0.1, seed=0):
    """Features of which the first carries the sex with some strength, and the index of their samples."""
    random = np.random.default_rng(seed)
    sex = random.choice(["female", "male"], size)
    features = random.normal(size=(size, 5))
    features[:, 0] += strength * (sex == "male")
    split = np.array(["train", "train", "val", "test"])[np.arange(size) % 4]
    table = embeddings(features, split)
    seen = np.where(random.random(size) < unknown, None, sex)
    index = pa.table(
        {
            "sample_id": table["sample_id"],
            "sex": pa.array(seen.tolist(), pa.string()),
            "age": pa.array(random.uniform(20, 90, size)),
        }
    )
    return table, index, sex


def auc_of_sex(strength):
    table, index, sex = people(1200, strength=strength)
    asked = probing(rule(), index)
    probe = fit(table, asked.labels, asked.target, probe_options(OPTIONS))
    rows = predict_table(probe, table, asked.labels, asked.target).to_pandas()
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    assert (test["label"] == sex[test["sample_id"].str[1:].astype(int)]).all()
    return roc_auc_score(test["label"] == "male", test["score"])


def test_an_attribute_that_features_carry_is_read_and_one_they_do_not_is_not():
    assert auc_of_sex(2.0) == pytest.approx(0.92, abs=0.04)  # two unit normals two apart: 0.921
    assert auc_of_sex(0.0) == pytest.approx(0.5, abs=0.08)


def test_groups_become_classes_in_the_order_of_the_tables():
    _, index, _ = people()
    sex, age = probing(rule(), index).target, probing(rule("age", bins=[40, 60]), index).target
    assert (sex.name, sex.classes, sex.positive) == ("attribute:sex", ("female", "male"), "male")
    assert (age.name, age.classes, age.positive) == ("attribute:age", ("<40", "40-60", "60+"), None)


def test_unknown_group_is_no_class_and_no_label_but_keeps_its_row():
    table, index, _ = people(unknown=0.3)
    asked = probing(rule(), index)
    unknown = {s for s, v in zip(*(index[c].to_pylist() for c in ("sample_id", "sex")), strict=True) if not v}
    assert {sample for sample, group in asked.labels.items() if group is None} == unknown
    probe = fit(table, asked.labels, asked.target, probe_options(OPTIONS))
    rows = predict_table(probe, table, asked.labels, asked.target).to_pandas()
    assert set(rows.loc[rows["label"].isna(), "sample_id"]) == unknown & set(rows["sample_id"])
    assert rows["score"].notna().all()


def test_declared_group_without_anyone_is_no_class():
    _, index, _ = people()
    declared = rule(groups=["female", "intersex", "male"])
    assert probing(declared, index).target.classes == ("female", "male")
    assert groups_with_samples(declared, index) == ("female", "male")


def test_intersections_are_probed_only_when_named():
    rules = parse_groups({"sex": {}, "age": {"bins": [60]}, "sex*age": {}})
    assert [r.name for r in probed(OPTIONS, rules)] == ["sex", "age"]
    named = RepresentationOptions(attributes=("sex*age",))
    (chosen,) = probed(named, rules)
    _, index, _ = people()
    assert probing(chosen, index).target.classes == ("female*<60", "female*60+", "male*<60", "male*60+")


def test_attribute_with_a_single_group_cannot_be_probed():
    _, index, _ = people()
    only = index.filter(pa.compute.equal(index["sex"], "female"))
    with pytest.raises(UserError, match=r"needs samples of at least two groups, found female\. Leave it out"):
        probing(rule(), only)


def test_number_without_bins_says_that_it_needs_them():
    _, index, _ = people()
    with pytest.raises(UserError, match=r"is a number .* and needs bins"):
        probing(rule("age"), index)
