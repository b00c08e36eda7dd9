"""Several findings of one question in a study: their mean is a result of its own, in tables, ranking and report."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from jobs.coverage import find_faults
from jobs.plan import PlanOptions, make_plan
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.card import PromptSet, Target
from shards.convert import ConvertOptions, convert
from shards.datasets.phantom_cxr import PhantomCxr

SERIAL = RunOptions(executor="serial", device="cpu")
WORDS = ("absent", "present")
FINDINGS = ("opacity_left", "opacity_right", "anything")


class ManyFindings(PhantomCxr):
    """The phantom's chests with a target for each finding, as multi-label datasets have them."""

    def card(self):
        targets = tuple(Target(name, WORDS, "present", "findings") for name in FINDINGS)
        prompts = tuple(
            PromptSet(name, "1", ("a chest x-ray with {}",), (("nothing",), (name.replace("_", " "),)))
            for name in FINDINGS[:2]
        )
        return replace(super().card(), name="many-findings", targets=targets, prompts=prompts)

    def manifest(self):
        rows = super().manifest()
        found = rows["finding"].astype(str)
        for name, present in zip(
            FINDINGS, (found == "opacity left", found == "opacity right", found != "none"), strict=True
        ):
            rows[name] = np.where(present, "present", "absent")
        return rows


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families") / "many"
    convert(ManyFindings(subjects=90), folder, ConvertOptions(workers=1, fractions=(0.3, 0.2, 0.5)))
    return folder


@pytest.fixture(scope="module")
def values(shards, tmp_path_factory):
    return {
        "study": "families",
        "store": str(tmp_path_factory.mktemp("families") / "store"),
        "datasets": {"cxr": {"shards": str(shards)}},
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {"linear_probe": {"grid": [0.1], "seeds": 2}, "zero_shot": {}},
        "attributes": {"sex": {}},
        "measure": {"bootstrap": 60, "permutations": 20, "minimum_subjects": 2, "minimum_positives": 1,
                    "minimum_negatives": 1},
    }  # fmt: skip


@pytest.fixture(scope="module")
def outcome(values):
    done = run_study(parse_study(values), SERIAL, Console(quiet=True))
    assert done.exit == Exit.COMPLETE
    return done


def predictions(outcome, seed=0, model="tiny-clip"):
    """Return labels and scores ``[n, 3]`` of the test rows of a probe, and each sample's sex."""
    store = Store(outcome.plan.study.store)
    tables = []
    for name in FINDINGS:
        (task,) = (
            task
            for task in outcome.plan.tasks
            if task.kind == "linear_probe" and task.inputs.target == name
            and (task.model, task.inputs.seed) == (model, seed)
        )  # fmt: skip
        rows = store.read(task).to_pandas().query("split == 'test'").set_index("sample_id").sort_index()
        tables.append(rows)
    labels = np.column_stack([rows["label"].eq("present") for rows in tables])
    scores = np.column_stack([rows["score"] for rows in tables])
    index = outcome.plan.datasets["cxr"].index.select(["sample_id", "sex"]).to_pandas()
    return labels, scores, index.set_index("sample_id")["sex"].reindex(tables[0].index)


def rows_of(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


def test_the_mean_is_scikit_learns_macro_average_over_all_samples_and_in_every_group(outcome):
    labels, scores, sex = predictions(outcome)
    mine = rows_of(outcome.tables.metrics, target="findings", model="tiny-clip", usage="linear_probe", seed=0,
                   split="test", metric="auc").set_index("group")  # fmt: skip
    assert set(mine["convention"]) == {"auc:macro_labels"}
    assert mine.loc["all", "value"] == pytest.approx(roc_auc_score(labels, scores, average="macro"), abs=1e-6)
    for group in ("female", "male"):
        inside = (sex == group).to_numpy()
        expected = roc_auc_score(labels[inside], scores[inside], average="macro")
        assert mine.loc[group, "value"] == pytest.approx(expected, abs=1e-6)


def test_the_mean_has_an_interval_a_gap_and_a_row_on_val(outcome):
    overall = rows_of(outcome.tables.metrics, target="findings", model="tiny-clip", seed=0, group="all",
                      usage="linear_probe").set_index("split")  # fmt: skip
    test = overall.loc["test"]
    assert test["ci_low"] < test["value"] < test["ci_high"]
    assert not np.isnan(overall.loc["val", "value"])
    gaps = rows_of(outcome.tables.gaps, target="findings", kind="max-min", usage="linear_probe", seed=0)
    assert set(gaps["model"]) == {"tiny-clip", "tiny-sam"}
    assert gaps["raw"].notna().all()
    assert gaps["p_adjusted"].notna().all()


def test_a_mean_of_fewer_findings_is_called_by_what_it_is_of(outcome):
    targets = outcome.tables.metrics.groupby("usage")["target"].unique()
    assert "findings" in set(targets["linear_probe"])
    assert "findings (2 of 3)" in set(targets["zero_shot"])  # the third has no prompts
    assert "findings" not in set(targets["zero_shot"])


def test_models_are_compared_and_chosen_by_the_mean_as_by_any_target(outcome):
    compared = rows_of(outcome.tables.comparisons, target="findings", metric="auc")
    assert len(compared)
    assert compared["difference"].notna().any()
    chosen = rows_of(outcome.tables.selection, target="findings", rule="overall")
    assert len(chosen)
    assert chosen["test_value"].notna().all()


def test_the_report_shows_the_mean_beside_the_findings(outcome):
    page = outcome.report.read_text()
    assert "findings (2 of 3)" in page
    assert ">findings<" in page


def test_the_means_tasks_are_covered_and_a_second_run_does_nothing(outcome, values):
    assert list(find_faults(outcome.plan, Store(outcome.plan.study.store))) == []
    again = run_study(parse_study(values), SERIAL, Console(quiet=True))
    assert again.tally is None
    pd.testing.assert_frame_equal(again.tables.metrics, outcome.tables.metrics)


def family_tasks(values, **changes):
    plan = make_plan(parse_study({**values, **changes}), PlanOptions())
    return [task for task in plan.tasks if task.kind == "family"]


def test_there_is_a_mean_for_every_model_usage_and_seed(values):
    found = {(task.model, task.usage, task.inputs.seed) for task in family_tasks(values)}
    assert found == {
        *((model, "linear_probe", seed) for model in ("tiny-clip", "tiny-sam") for seed in (0, 1)),
        ("tiny-clip", "zero_shot", 0),
    }


def test_one_finding_alone_has_no_mean_and_neither_have_targets_without_a_family(values, converted):
    one = {"cxr": {**values["datasets"]["cxr"], "targets": ["anything"]}}
    assert family_tasks(values, datasets=one) == []
    assert family_tasks(values, datasets={"cxr": {"shards": str(converted["cxr"])}}) == []


def test_no_mean_is_planned_when_no_auc_is_asked_for(values):
    assert family_tasks(values, measure={**values["measure"], "metrics": ["accuracy"]}) == []


def test_the_mean_changes_its_identity_with_what_is_measured(values):
    one, other = (
        {task.id for task in family_tasks(values, measure={**values["measure"], "bootstrap": number})}
        for number in (60, 61)
    )
    assert not one & other


def test_probes_of_attributes_have_no_mean(values):
    usages = {"representation": {"grid": [0.1]}}
    assert family_tasks(values, usages=usages) == []


def test_the_mean_of_findings_on_a_balanced_view_is_of_its_samples(values, outcome, tmp_path):
    measured = {**values["measure"], "view": "balanced:sex"}
    usages = {"linear_probe": {"grid": [0.1]}}
    study = {**values, "models": ["tiny-clip"], "usages": usages, "measure": measured, "study": "viewed"}
    done = run_study(parse_study(study), SERIAL, Console(quiet=True))
    assert done.exit == Exit.COMPLETE
    mine = rows_of(done.tables.metrics, target="findings", metric="auc", split="test|balanced:sex")
    parts = rows_of(done.tables.metrics, metric="auc", split="test|balanced:sex", attribute="all")
    parts = parts[parts["target"].isin(FINDINGS)]
    assert rows_of(mine, group="all")["value"].item() == pytest.approx(parts["value"].mean())
    groups = rows_of(mine, attribute="sex").set_index("group")["n"]
    assert groups["female"] == groups["male"]
    assert set(done.tables.metrics["split"]) == {"val", "test|balanced:sex"}
