"""Studies measured on a balanced view of the test split."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from evaluator.groups import assign_groups, parse_groups
from evaluator.measure import MeasureSettings
from evaluator.views import draw, parse_view
from jobs.commands.summary import summary_rows
from jobs.kinds import measure
from jobs.plan import PlanOptions, make_plan
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.errors import UserError

SERIAL = RunOptions(executor="serial", device="cpu")
SPLIT = "test|balanced:race"


def with_view(values, view="balanced:race", **measured):
    return {
        **values,
        "attributes": {"race": {}, "sex": {}},
        "measure": {**values["measure"], "view": view, **measured},
    }


@pytest.fixture(scope="module")
def outcome(converted, tmp_path_factory):
    values = {
        "study": "viewed",
        "store": str(tmp_path_factory.mktemp("viewed") / "store"),
        "datasets": {
            "cxr": {"shards": str(converted["cxr"]), "targets": ["opacity"]},
            "fundus": {"shards": str(converted["fundus"])},
        },
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {"zero_shot": {}, "linear_probe": {"grid": [0.1]},
                   "segment": {"prompts": ["bbox"], "structures": ["disc"]}, "representation": {"grid": [0.1]}},
        "measure": {"bootstrap": 20, "permutations": 20, "minimum_subjects": 2, "minimum_positives": 1,
                    "minimum_negatives": 1},
    }  # fmt: skip
    done = run_study(parse_study(with_view(values)), SERIAL, Console(quiet=True))
    assert done.exit == Exit.COMPLETE
    return done


def rows_of(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


def views_of(outcome, folder="metrics"):
    path = outcome.plan.study.store / folder / "viewed.parquet"
    return json.loads(pq.read_schema(path).metadata[b"views"])


def test_measured_rows_carry_the_view_in_their_split_and_no_row_is_of_the_whole_test_set(outcome):
    results = rows_of(outcome.tables.metrics, dataset="cxr")
    results = results[results["usage"] != "representation"]
    assert set(results["split"]) == {"val", SPLIT}
    for table in (outcome.tables.gaps, outcome.tables.curves, outcome.tables.comparisons):
        assert set(rows_of(table, dataset="cxr").query("usage != 'representation'")["split"]) == {SPLIT}


def test_every_group_of_the_attribute_has_the_same_number_of_samples(outcome):
    groups = rows_of(outcome.tables.metrics, dataset="cxr", usage="zero_shot", metric="auc", split=SPLIT)
    sizes = rows_of(groups, attribute="race").set_index("group")["n"]
    index = outcome.plan.datasets["cxr"].index.to_pandas().query("split == 'test'")
    assert set(sizes) == {index["race"].value_counts().min()}
    assert len(sizes) == index["race"].nunique()
    assert rows_of(groups, attribute="all")["n"].item() == sizes.sum()


def test_the_numbers_are_those_of_the_views_samples(outcome):
    (task,) = (t for t in outcome.plan.tasks if t.kind == "zero_shot" and t.dataset == "cxr")
    store = Store(outcome.plan.study.store)
    rows = store.read(task).to_pandas().query("split == 'test'").sort_values("sample_id")
    attributes = outcome.plan.datasets["cxr"].index.select(["sample_id", "race"]).to_pandas()
    rows = rows.merge(attributes, on="sample_id")
    (measured,) = (t for t in outcome.plan.tasks if t.kind == "measure" and t.requires == (task.id,))
    view = store.read(measured, name="view").to_pylist()
    grouping = assign_groups(parse_groups({"race": {}})[0], rows)
    drawn = draw(parse_view("balanced:race"), rows["sample_id"], rows["subject_id"], grouping, seed=0)
    assert {row["ids_sha256"] for row in view} == {drawn.digest()}
    kept = rows[rows["sample_id"].isin(drawn.ids)]
    found = rows_of(
        outcome.tables.metrics, dataset="cxr", usage="zero_shot", metric="auc", split=SPLIT, group="all"
    )
    expected = roc_auc_score(kept["label"] == "opacity", kept["score"])
    assert found["value"].item() == pytest.approx(expected, abs=1e-6)


def test_models_share_one_view_and_thresholds_still_come_from_all_of_val(outcome):
    hashes = {(row["dataset"], row["split"]): set() for row in views_of(outcome)}
    for row in views_of(outcome):
        hashes[row["dataset"], row["split"]].add(row["ids_sha256"])
    assert all(len(found) == 1 for found in hashes.values())
    index = outcome.plan.datasets["cxr"].index.to_pandas()
    chosen = rows_of(outcome.tables.metrics, dataset="cxr", metric="threshold", usage="zero_shot")
    assert set(chosen["n"]) == {(index["split"] == "val").sum()}


def test_tables_and_report_record_seed_version_sizes_and_the_hash_of_the_ids(outcome):
    for folder in ("metrics", "gaps"):
        first = views_of(outcome, folder)[0]
        assert (first["view"], first["version"], first["seed"], first["units"]) == (
            "balanced:race",
            1,
            0,
            "samples",
        )
        assert first["kept"] <= first["available"]
        assert len(first["ids_sha256"]) == 64
    page = outcome.report.read_text()
    assert first["ids_sha256"] in page
    assert "view balanced:race, version 1" in page


def test_masks_are_measured_on_a_view_of_all_rows_that_are_measured(outcome):
    dice = rows_of(outcome.tables.metrics, dataset="fundus", metric="dice", attribute="race")
    assert {split.partition("|")[2] for split in dice["split"]} == {"balanced:race"}
    assert dice.groupby("convention")["n"].nunique().max() == 1


def test_probes_of_attributes_are_measured_on_all_rows(outcome):
    probes = rows_of(outcome.tables.metrics, usage="representation")
    assert set(probes["split"]) == {"test", "val"}


def test_models_are_ranked_compared_and_summed_up_on_the_view(outcome):
    rows = [
        row for row in summary_rows(outcome.tables, outcome.plan.study.measure) if row["dataset"] == "cxr"
    ]
    assert {(row["model"], row["usage"]) for row in rows} == {
        ("tiny-clip", "zero_shot"), ("tiny-clip", "linear_probe"), ("tiny-sam", "linear_probe"),
    }  # fmt: skip
    assert len(rows_of(outcome.tables.selection, dataset="cxr", rule="overall"))
    assert rows_of(outcome.tables.selection, dataset="cxr", rule="overall")["test_value"].notna().all()


def planned(values, **options):
    return make_plan(parse_study(values), PlanOptions(**options))


def measured_ids(values):
    return {task.id for task in planned(values).tasks if task.kind == "measure"}


def test_the_default_is_no_view_and_keeps_its_identity(study_values):
    plain = {**study_values, "attributes": {"race": {}, "sex": {}}}
    assert measured_ids(plain) == measured_ids({**plain, "measure": {**plain["measure"], "view": None}})
    assert "view" not in measure._dumped(MeasureSettings())


def test_views_units_and_seeds_have_identities_of_their_own_and_share_predictions(study_values):
    plain = {**study_values, "attributes": {"race": {}, "sex": {}}}
    studies = [
        plain,
        with_view(study_values),
        with_view(study_values, "balanced:sex"),
        with_view(study_values, "balanced-subjects:race"),
        with_view(study_values, seed=1),
    ]
    ids = [measured_ids(values) for values in studies]
    assert all(not one & other for place, one in enumerate(ids) for other in ids[:place])
    others = [{t.id for t in planned(values).tasks if t.kind != "measure"} for values in studies]
    assert all(other == others[0] for other in others)


def test_an_attribute_is_found_in_any_case_and_an_unknown_one_is_refused(study_values):
    assert measured_ids(with_view(study_values, "balanced:RACE")) == measured_ids(with_view(study_values))
    with pytest.raises(UserError, match=r"unknown attribute of measure\.view: 'rase'; did you mean 'race'"):
        parse_study(with_view(study_values, "balanced:rase"))


def test_the_plan_says_where_a_view_is_tiny(study_values):
    index = planned(study_values).datasets["cxr"].index.to_pandas().query("split == 'test'")
    samples = index["race"].value_counts().min()
    people = index.drop_duplicates("subject_id")["race"].value_counts().min()
    for view, told in (
        ("balanced:race", f"{samples} samples"),
        ("balanced-subjects:race", f"{people} subjects"),
    ):
        lines = planned(with_view(study_values, view, minimum_subjects=1000)).skipped
        assert any(line.startswith(f"cxr: view {view} keeps {told} of each group") for line in lines)


def test_a_dataset_without_the_attribute_is_not_measured_and_said(study_values, converted, tmp_path):
    folder = tmp_path / "fundus"
    shutil.copytree(converted["fundus"], folder)
    path = folder / "dataset.json"
    value = json.loads(path.read_text())
    value["card"]["attributes"] = [a for a in value["card"]["attributes"] if a["name"] != "race"]
    path.chmod(0o644)
    path.write_text(json.dumps(value))
    datasets = {**study_values["datasets"], "fundus": {"shards": str(folder)}}
    plan = planned({**with_view(study_values), "datasets": datasets})
    assert {task.dataset for task in plan.tasks if task.kind == "measure"} == {"cxr"}
    assert "fundus has no groups by race: nothing is measured on view balanced:race." in plan.skipped
