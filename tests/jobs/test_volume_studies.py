"""Volumes from end to end: a generated CT dataset through image models, planned, computed, measured and reported."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console
from store_bytes import table_bytes

from jobs.coverage import find_faults
from jobs.plan import PlanOptions, make_plan
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.convert import ConvertOptions, convert
from shards.datasets import make_adapter

FAIRRAY = Path(sys.executable).with_name("fairray")


@pytest.fixture(scope="module")
def converted_ct(tmp_path_factory):
    """36 volumes of 16 slices in shards of 10."""
    folder = tmp_path_factory.mktemp("ct") / "phantom-ct"
    convert(
        make_adapter("phantom-ct", {"subjects": 36}),
        folder,
        ConvertOptions(workers=1, samples_per_shard=10, fractions=(0.5, 0.2, 0.3)),
    )
    return folder


def study_of(folder, store, **more):
    return {
        "study": "volumes",
        "store": str(store),
        "datasets": {"ct": {"shards": str(folder), "adapter": "phantom-ct"}},
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {
            "zero_shot": {"pool": "max"},
            "linear_probe": {"grid": [0.1], "pool": "max", "slices": {"policy": "resampled", "count": 5}},
            "representation": {"grid": [0.1], "slices": "foreground"},
            "segment": {"prompts": ["bbox", "rand"]},
        },
        "attributes": {"sex": {}},
        "measure": {
            "bootstrap": 10,
            "permutations": 10,
            "minimum_subjects": 2,
            "minimum_positives": 1,
            "minimum_negatives": 1,
        },
        **more,
    }


def run(values, **options):
    batch_size = options.pop("batch_size", 32)
    settings = RunOptions(
        executor="serial", device="cpu", workers=1, plan=PlanOptions(batch_size=batch_size), **options
    )
    return run_study(parse_study(values), settings, Console(quiet=True))


@pytest.fixture(scope="module")
def finished(converted_ct, tmp_path_factory):
    outcome = run(study_of(converted_ct, tmp_path_factory.mktemp("volumes") / "store"))
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    return outcome


def test_every_volume_is_covered_once_in_every_table(finished):
    store = Store(finished.plan.study.store)
    assert list(find_faults(finished.plan, store)) == []
    index = finished.plan.datasets["ct"].index.to_pandas()
    embedded = [task for task in finished.plan.tasks if task.kind == "embed"]
    assert len(embedded) == 5
    for task in embedded:
        splits = {part.split("-")[0] for part in task.parts}
        expected = sorted(index[index.split.isin(splits)].sample_id)
        assert sorted(store.read(task)["sample_id"].to_pylist()) == expected
    (segmented,) = [task for task in finished.plan.tasks if task.kind == "segment"]
    rows = store.read(segmented).to_pandas()
    test = index[index.split == "test"]
    assert len(rows) == 4 * len(test)
    labels = test.set_index("sample_id").lesion
    lesions = rows[rows.structure == "lesion"]
    assert (lesions.status.eq("ok") == lesions.sample_id.map(labels).eq("lesion")).all()
    assert set(lesions.status) == {"ok", "no_target"}
    organs = rows[rows.structure == "organ"]
    assert organs.hd95_mm.notna().all()
    assert organs[organs.prompt == "bbox"].dice.min() > 0.5
    assert organs.volume_true.between(3e5, 3e6).all()


def test_embeddings_are_those_of_the_policy_each_usage_asked_for(finished):
    store = Store(finished.plan.study.store)
    shown = {
        tuple(task.identity["slices"].items()): store.read(task)["slice_place"].to_pylist()
        for task in finished.plan.tasks
        if task.kind == "embed" and task.model == "tiny-clip"
    }
    assert set(shown) == {
        (("policy", "all"), ("count", None)),
        (("policy", "resampled"), ("count", 5)),
        (("policy", "foreground"), ("count", None)),
    }
    assert all(row == list(range(16)) for row in shown[("policy", "all"), ("count", None)])
    resampled = shown[("policy", "resampled"), ("count", 5)]
    assert all(row == pytest.approx([1.1, 4.3, 7.5, 10.7, 13.9]) for row in resampled)
    assert all(2 < len(row) < 16 for row in shown[("policy", "foreground"), ("count", None)])


def test_there_are_results_of_every_usage_and_the_report_says_how_volumes_were_used(finished):
    overall = finished.tables.metrics.query("attribute == 'all' and split == 'test'")
    assert {"zero_shot", "linear_probe", "representation", "segment"} == set(overall.usage)
    assert overall[overall.metric.isin(["auc", "dice"])]["value"].notna().all()
    page = finished.report.read_text()
    assert "every slice that holds the structure is prompted from its true mask" in page
    assert "zero_shot: all slices, the logits of the slice" in page


def test_batch_size_changes_no_byte_of_volumes(finished, converted_ct, tmp_path):
    values = study_of(converted_ct, tmp_path / "store", usages={"zero_shot": {"pool": "max"}, "segment": {}})
    expected = table_bytes(finished.plan.study.store)
    assert run(values, batch_size=7).exit == Exit.COMPLETE
    found = {
        name: held for name, held in table_bytes(tmp_path / "store").items() if name.startswith("embeddings")
    }
    assert found
    assert found == {name: expected[name] for name in found}


def planned(folder, tmp_path, usages):
    values = study_of(folder, tmp_path / "store", models=["tiny-clip", "tiny-sam"], usages=usages)
    return {(task.kind, task.model): task for task in make_plan(parse_study(values), PlanOptions()).tasks}


def test_costs_count_slices_and_fits_count_volumes(converted_ct, tmp_path):
    cost = {}
    for name, slices in {
        "all": "all",
        "central": {"policy": "central", "count": 3},
        "resampled": {"policy": "resampled", "count": 40},
    }.items():
        tasks = planned(converted_ct, tmp_path, {"linear_probe": {"slices": slices}, "segment": {}})
        cost[name] = tasks["embed", "tiny-clip"].cost
        fit = tasks["linear_probe", "tiny-clip"].cost
        assert fit.bytes == 60 * 36
    assert {name: one.images for name, one in cost.items()} == {
        "all": 36 * 16,
        "central": 36 * 3,
        "resampled": 36 * 40,
    }
    assert cost["all"].gflop == pytest.approx(36 * 16 * 0.06)
    assert cost["all"].bytes == (36 * 16 + 36) * 4 * (96 + 64)
    assert tasks["segment", "tiny-sam"].cost.images == 16 * 11


def test_slices_and_pool_name_the_tasks_they_change_and_no_others(converted_ct, tmp_path):
    def ids(**options):
        tasks = planned(converted_ct, tmp_path, {"zero_shot": options})
        return {kind: task.id for (kind, _), task in tasks.items()}

    plain = ids()
    assert ids(slices="all", pool="mean") == plain
    pooled = ids(pool="max")
    assert pooled["embed"] == plain["embed"]
    assert pooled["zero_shot"] != plain["zero_shot"]
    fewer = ids(slices={"policy": "central", "count": 4})
    assert fewer["embed"] != plain["embed"]
    assert fewer["zero_shot"] != plain["zero_shot"]
    assert ids(slices="central")["embed"] == ids(slices={"policy": "central", "count": 16})["embed"]


def test_on_images_slices_and_pool_name_nothing(converted, tmp_path):
    def ids(options):
        values = study_of(converted["fundus"], tmp_path / "store", usages={"linear_probe": options})
        return [task.id for task in make_plan(parse_study(values), PlanOptions()).tasks]

    assert ids({"slices": "foreground", "pool": "max"}) == ids({})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_planted_gap_is_found_and_no_other_is_claimed(tmp_path):
    values = study_of(
        tmp_path / "ct",
        tmp_path / "store",
        models=["tiny-clip"],
        usages={"linear_probe": {"grid": [0.1, 1.0, 10.0], "slices": {"policy": "central", "count": 10}}},
        attributes={"sex": {}, "age": {"bins": [60]}, "race": {}},
        measure={"bootstrap": 200, "permutations": 1000},
    )
    values["datasets"]["ct"]["options"] = {
        "subjects": 500,
        "disparity": 0.8,
        "attribute": "sex",
        "group": "female",
    }
    outcome = run(values)
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    gaps = outcome.tables.gaps.query("metric == 'auc' and kind == 'max-min'").set_index("attribute")
    assert gaps.loc["sex", "worst_group"] == "female"
    assert gaps.loc["sex", "p_adjusted"] < 0.05
    assert (gaps.loc[["age", "race"], "p_adjusted"] > 0.05).all()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_with_two_ray_workers_gives_the_same_bytes(finished, converted_ct, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study_of(converted_ct, tmp_path / "store")))
    command = [FAIRRAY, "run", file, "--workers", "2", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert table_bytes(tmp_path / "store") == table_bytes(finished.plan.study.store)
    sql = "select count(*) as n from embeddings where slice_place is not null"
    queried = subprocess.run(
        [FAIRRAY, "query", tmp_path / "store", sql], capture_output=True, text=True, check=False
    )
    assert queried.returncode == 0, queried.stderr


def test_embeddings_of_images_and_volumes_are_one_view(converted, converted_ct, tmp_path):
    values = study_of(converted_ct, tmp_path / "store", models=["tiny-clip"], usages={"zero_shot": {}})
    values["datasets"]["fundus"] = {"shards": str(converted["fundus"]), "adapter": "phantom-fundus"}
    outcome = run(values)
    assert outcome.exit == Exit.COMPLETE, outcome.messages
    from jobs.query import connect

    connection = connect(Store(tmp_path / "store"))
    found = connection.execute(
        "select dataset, count(*), count(slice_embedding), count(embedding) from embeddings group by all order by all"
    ).fetchall()
    counts = {name: dataset.counts.samples for name, dataset in outcome.plan.datasets.items()}
    held = {name: count["val"] + count["test"] for name, count in counts.items()}
    assert found == [
        ("ct", held["ct"], held["ct"], held["ct"]),
        ("fundus", held["fundus"], 0, held["fundus"]),
    ]
    part = next((tmp_path / "store" / "embeddings" / "dataset=fundus").rglob("*.parquet"))
    assert "slice_place" not in pq.read_schema(part).names
