"""Studies with trained heads: an arm per mitigation, a fit per seed, and what cannot be trained is said."""

import json

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from evaluator.mitigation.registry import _METHODS
from jobs.commands.summary import print_summary, summary_rows
from jobs.plan import PlanOptions, make_plan
from jobs.run import Exit, RunOptions, run_study
from jobs.study import parse_study
from shards.errors import UserError


def run(values):
    options = RunOptions(
        plan=PlanOptions(datasets="cxr", models="tiny-clip"), executor="serial", device="cpu"
    )
    return run_study(parse_study(values), options, Console(quiet=True))


@pytest.fixture
def values(study_values):
    study_values["usages"] = {
        "mlp_probe": {
            "hidden": 8,
            "epochs": 3,
            "seeds": 2,
            "mitigation": ["erm", "resampling", {"name": "group_dro", "eta": 0.1}],
            "mitigate": "sex",
        }
    }
    return study_values


def test_every_method_is_an_arm_and_every_seed_a_fit(values, tmp_path):
    assert run(values).exit == Exit.COMPLETE
    table = pq.read_table(tmp_path / "store" / "metrics" / "small.parquet").to_pandas()
    overall = table[(table["group"] == "all") & (table["metric"] == "auc") & (table["split"] == "test")]
    arms = set(zip(overall["usage"], overall["mitigation"], overall["seed"], strict=True))
    methods = ("erm", "resampling", "group_dro:eta=0.1")
    assert arms == {("mlp_probe", method, seed) for method in methods for seed in (0, 1)}
    assert overall["value"].nunique() > 1
    again = run(values)
    assert again.tally is None


def tasks(values):
    plan = make_plan(parse_study(values), PlanOptions(datasets="cxr", models="tiny-clip"))
    return {(t.inputs.mitigation.label, t.inputs.seed): t for t in plan.tasks if t.kind == "mlp_probe"}, plan


def test_plain_training_does_not_depend_on_the_groups_that_others_use(values):
    before, _ = tasks(values)
    values["usages"]["mlp_probe"]["mitigate"] = "age"
    after, _ = tasks(values)
    assert before["erm", 0].id == after["erm", 0].id
    assert before["resampling", 0].id != after["resampling", 0].id
    assert len({task.id for task in before.values()}) == 6


def test_attributes_and_what_is_trained_on_them_are_in_the_identity(values):
    found, _ = tasks(values)
    identity = json.dumps(found["resampling", 1].identity)
    assert '"sex"' in identity
    assert '"resampling"' in identity
    assert '"hidden": 8' in identity


def test_a_dataset_without_the_groups_is_trained_without_the_methods_that_need_them(values):
    values["usages"]["mlp_probe"]["mitigate"] = "handedness"
    found, plan = tasks(values)
    assert {label for label, _ in found} == {"erm"}
    (told,) = [line for line in plan.skipped if "handedness" in line]
    assert "cxr has no groups of 'handedness'" in told
    assert "resampling, group_dro:eta=0.1" in told


def test_a_method_that_is_told_groups_when_it_predicts_runs_and_is_said_to_be(values, tmp_path):
    values["usages"]["mlp_probe"] |= {"seeds": 1, "mitigation": ["erm", "fin"]}
    _, plan = tasks(values)
    (said,) = [line for line in plan.skipped if "fin" in line]
    assert said.startswith("cxr: mitigation fin is told the group (by sex) of every sample that it predicts")
    assert run(values).exit == Exit.COMPLETE
    table = pq.read_table(tmp_path / "store" / "metrics" / "small.parquet")
    assert set(table["mitigation"].to_pylist()) == {"erm", "fin"}
    values["usages"]["mlp_probe"] |= {"mitigation": ["erm", "domain_ind"]}
    assert not [line for line in tasks(values)[1].skipped if "predicts" in line]


def test_every_method_runs_in_a_study_by_its_name(values, tmp_path):
    for_texts = ["domain_ind", "fairclip", "fin"]
    small = {"epochs": 2, "seeds": 1, "mitigate": "sex"}
    names = sorted(set(_METHODS) - {"fairclip"})
    values["attributes"] = {"sex": {}}
    values["usages"] = {
        "mlp_probe": {**small, "hidden": 8, "mitigation": names},
        "prototype_tuning": {**small, "mitigation": for_texts},
    }
    assert run(values).exit == Exit.COMPLETE
    table = pq.read_table(tmp_path / "store" / "metrics" / "small.parquet").to_pandas()
    areas = table[(table["group"] == "all") & (table["metric"] == "auc") & (table["split"] == "test")]
    assert set(areas.loc[areas["usage"] == "mlp_probe", "mitigation"]) == set(names)
    assert set(areas.loc[areas["usage"] == "prototype_tuning", "mitigation"]) == set(for_texts)
    assert areas["value"].between(0, 1).all()


def test_a_misspelt_method_is_refused_with_its_place(values):
    values["usages"]["mlp_probe"]["mitigation"] = ["resampling", "grup_dro"]
    with pytest.raises(UserError, match=r"usages\.mlp_probe.*mitigation.*group_dro"):
        parse_study(values)


def test_heads_made_of_texts_run_in_a_study_and_need_a_text_tower(values, tmp_path):
    small = {"epochs": 2, "seeds": 1}
    values["usages"] = {
        "prototype_tuning": small,
        "clip_adapter": small,
        "tip_adapter": {"seeds": 2, "shots": 4, "alpha": [0.1, 1.0], "beta": 1.0},
        "tip_adapter_f": {**small, "shots": 4, "alpha": 1.0, "beta": 1.0},
    }
    outcome = run(values)
    assert outcome.exit == Exit.COMPLETE
    table = pq.read_table(tmp_path / "store" / "metrics" / "small.parquet").to_pandas()
    overall = table[(table["group"] == "all") & (table["metric"] == "auc") & (table["split"] == "test")]
    assert set(overall["usage"]) == set(values["usages"])
    assert overall["value"].between(0, 1).all()
    values["models"] = ["tiny-sam"]
    with pytest.raises(UserError, match="tiny-sam cannot do prototype_tuning: it has no text tower"):
        make_plan(parse_study(values), PlanOptions(datasets="cxr"))


def test_other_texts_are_another_task(values):
    values["usages"] = {"prototype_tuning": {"seeds": 1}}

    def planned():
        plan = make_plan(parse_study(values), PlanOptions(datasets="cxr", models="tiny-clip"))
        return {task.id for task in plan.tasks if task.kind == "prototype_tuning"}

    before = planned()
    values["usages"]["prototype_tuning"]["templates"] = ["an image of {}"]
    assert len(before) == len(planned()) == 1
    assert before != planned()


def test_the_summary_names_mitigations_and_counts_seeds_instead_of_listing_them(values, capsys):
    values["usages"]["mlp_probe"]["mitigation"] = ["erm", "resampling"]
    outcome = run(values)
    print_summary(outcome.tables, outcome.plan, ())
    table = [line for line in capsys.readouterr().out.splitlines() if "mlp_probe" in line and "│" in line]
    assert len(table) == 2
    assert "mlp_probe · resampling" in table[1]
    assert all("2 seeds, " in line for line in table)
    arms = [
        (row["mitigation"], row["seed"]) for row in summary_rows(outcome.tables, outcome.plan.study.measure)
    ]
    assert arms == [("erm", 0), ("erm", 1), ("resampling", 0), ("resampling", 1)]
