"""The mean over several findings of one model, in every group."""

import numpy as np
import pytest
from measuring import KEYS, cases, measurement, row
from scipy import stats

from evaluator import audit
from evaluator.measure import MeasureSettings, macro_average

SETTINGS = MeasureSettings(bootstrap=200, permutations=99)


def two_findings(**planted):
    first = measurement(*cases(400, seed=0, **planted), settings=SETTINGS)
    predictions, attributes = cases(400, seed=1)
    other = cases(400, seed=0)[1]
    # The same people with a second finding.
    second = measurement(
        predictions, attributes.assign(sex=other["sex"], age=other["age"]), settings=SETTINGS
    )
    return first, second


def test_the_mean_of_two_findings_has_the_mean_of_their_replicates_as_interval():
    first, second = two_findings()
    mean = macro_average([first, second], SETTINGS, KEYS, name="both")
    metrics = mean.metrics.to_pandas()
    for group in ("all", "female", "male"):
        parts = [row(m.metrics.to_pandas(), group=group, metric="auc")["value"] for m in (first, second)]
        found = row(metrics, group=group)
        assert found["value"] == pytest.approx(np.mean(parts))
        draws = [row(m.replicates.to_pandas(), group=group, metric="auc")["values"] for m in (first, second)]
        rarer = min(found["n_subjects_pos"], found["n_subjects_neg"])
        tail = stats.norm.cdf(np.sqrt(rarer / (rarer - 1)) * stats.t.ppf(0.025, rarer - 1))
        low, high = np.quantile(np.mean(draws, axis=0), [tail, 1 - tail])
        assert (found["ci_low"], found["ci_high"]) == (pytest.approx(low), pytest.approx(high))
    assert set(metrics["target"]) == {"both"}


def test_a_gap_in_every_finding_is_a_gap_of_the_mean_and_none_is_found_where_there_is_none():
    first, _ = two_findings(weaker="female", drop=0.9)
    planted = macro_average([first, first], SETTINGS, KEYS, name="both").gaps.to_pandas()
    assert row(planted, attribute="sex")["p_value"] < 0.01
    assert row(planted, attribute="sex")["worst_group"] == "female"
    fair = macro_average(
        [measurement(*cases(400, seed=5), settings=SETTINGS)] * 2, SETTINGS, KEYS, name="both"
    )
    gap = row(fair.gaps.to_pandas(), attribute="sex")
    assert gap["p_value"] > 0.05
    assert gap["adjusted"] < gap["raw"]


def test_a_finding_without_a_value_in_a_group_leaves_the_mean_undefined_and_is_named():
    predictions, attributes = cases(300)
    women = (attributes["sex"] == "female").to_numpy()
    healthy = predictions.assign(label=np.where(women, "healthy", predictions["label"]))
    parts = [measurement(p, attributes, settings=SETTINGS) for p in (predictions, healthy)]
    metrics = macro_average(parts, SETTINGS, KEYS, name="both").metrics.to_pandas()
    found = row(metrics, group="female")
    assert found["status"] == "undefined"
    assert found["reason"] == "disease: one_class"
    assert np.isnan(found["value"])


def test_an_audit_of_several_findings_also_has_their_mean():
    predictions, attributes = cases(300)
    sick = predictions["label"].eq("sick").astype(int)
    table = attributes[["subject_id", "sex"]].assign(
        nodule=sick, score_nodule=predictions["score"], mass=1 - sick, score_mass=1 - predictions["score"]
    )
    found = audit(table, bootstrap=50, permutations=20)
    assert "mean of 2 findings" in set(found.groups["target"])
    overall = found.groups[(found.groups["group"] == "all") & (found.groups["metric"] == "auc")]
    values = overall.set_index("target")["value"]
    assert values["mean of 2 findings"] == pytest.approx(values[["nodule", "mass"]].mean())
