"""The tables of a study beside those of its tasks: written once, compared, offered as views, and told in words."""

import copy

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import evaluator.tables as schemas
from jobs import run as running
from jobs.changes import claim_changes
from jobs.commands.summary import print_summary, summary_rows, ties
from jobs.plan import find_tasks
from jobs.query import connect
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from jobs.study_tables import TABLES
from shards.errors import UserError

SERIAL = RunOptions(executor="serial", device="cpu")


def run(values):
    outcome = run_study(parse_study(values), SERIAL, Console(quiet=True))
    assert outcome.exit == Exit.COMPLETE
    return outcome


@pytest.fixture(scope="module")
def values(converted, tmp_path_factory):
    return {
        "study": "compared",
        "store": str(tmp_path_factory.mktemp("compared") / "store"),
        "datasets": {"cxr": {"shards": str(converted["cxr"]), "targets": ["opacity"]}},
        "models": ["tiny-clip", "tiny-sam"],
        "usages": {"linear_probe": {"grid": [0.1]}},
        "attributes": {"sex": {}},
        "measure": {
            "bootstrap": 40,
            "permutations": 20,
            "minimum_subjects": 2,
            "minimum_positives": 1,
            "minimum_negatives": 1,
        },
    }


@pytest.fixture(scope="module")
def finished(values):
    return run(values)


def of_auc(table):
    return table[(table["metric"] == "auc") & (table["split"] == "test")]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_a_study_has_its_schema(finished, name):
    path = finished.plan.study.store / name / "compared.parquet"
    assert pq.read_schema(path).equals(getattr(schemas, name.upper()))


def test_measurements_keep_curves_and_replicates(finished):
    store = Store(finished.plan.study.store)
    for task in find_tasks(finished.plan, ["measure"]):
        replicates = store.read(task, name="replicates")
        assert replicates.schema.equals(schemas.REPLICATES)
        assert {len(values) for values in replicates["values"].to_pylist()} == {40}
        assert store.read(task, name="curves").num_rows > 0


def test_models_are_compared_on_the_same_draws(finished):
    store = Store(finished.plan.study.store)
    draws = {}
    for task in find_tasks(finished.plan, ["measure"]):
        rows = store.read(task, name="replicates").to_pandas()
        rows = rows[(rows["attribute"] == "all") & (rows["metric"] == "auc") & (rows["split"] == "test")]
        draws[task.model] = np.asarray(rows["values"].iloc[0])
    (row,) = of_auc(finished.tables.comparisons).to_dict("records")
    spread = np.nanstd(draws[row["model"]] - draws[row["against_model"]])
    half = (row["ci_high"] - row["ci_low"]) / 2
    assert half == pytest.approx(2.0 * spread, rel=0.5)  # about two standard errors of the paired difference


def test_tables_are_views_of_the_query(finished):
    with connect(Store(finished.plan.study.store)) as connection:
        for name in ("comparisons", "across", "selection"):
            studies = connection.execute(f"select distinct study from {name}").fetchall()
            assert studies == [("compared",)]
        for name in ("curves", "replicates"):
            models = connection.execute(f"select distinct model from {name} order by 1").fetchall()
            assert models == [("tiny-clip",), ("tiny-sam",)]


def test_comparisons_are_readable_with_duckdb_alone(finished):
    path = finished.plan.study.store / "comparisons" / "compared.parquet"
    ((found,),) = duckdb.sql(
        f"select count(*) from '{path}' where metric = 'auc' and split = 'test'"
    ).fetchall()
    assert found == 1


def test_tables_that_are_up_to_date_are_read_and_say_the_same(finished, values, monkeypatch):
    monkeypatch.setattr(running, "_executor", lambda *_: pytest.fail("a worker was started"))
    again = run(values)
    assert again.changes == ()
    for name in (*TABLES, "curves", "failures"):
        first, second = (getattr(outcome.tables, name) for outcome in (finished, again))
        assert list(first.columns) == list(second.columns)
        assert len(first) == len(second)
    assert ties(again.tables, again.plan.study.measure) == ties(finished.tables, finished.plan.study.measure)


def test_another_baseline_compares_anew_and_measures_nothing(finished, values, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_executor", lambda *_: pytest.fail("a worker was started"))
    changed = copy.deepcopy(values)
    changed["measure"]["baseline"] = "tiny-sam"
    against = run(changed)
    assert set(of_auc(against.tables.comparisons)["against_model"]) == {"tiny-sam"}
    (tie,) = ties(against.tables, against.plan.study.measure)
    assert (tie.against, tie.is_baseline) == ("tiny-sam · linear_probe · erm", True)
    assert "is the baseline (auc)" in tie.sentence


def test_baseline_that_is_no_model_of_the_study_is_refused_before_anything_runs(values, tmp_path):
    wrong = {**values, "store": str(tmp_path / "none"), "measure": {"baseline": "tiny-clop"}}
    with pytest.raises(
        UserError, match=r"unknown model of measure\.baseline: 'tiny-clop'; did you mean 'tiny-clip'"
    ):
        run(wrong)
    assert not (tmp_path / "none").exists()


def test_summary_has_one_row_per_model_of_the_measured_split(finished):
    rows = summary_rows(finished.tables, finished.plan.study.measure)
    assert sorted(row["model"] for row in rows) == ["tiny-clip", "tiny-sam"]
    assert {row["metric"] for row in rows} == {"auc"}


def test_every_arm_is_tied_with_better_or_worse_than_the_best(finished):
    (tie,) = ties(finished.tables, finished.plan.study.measure)
    arms = {tie.against, *tie.tied, *tie.better, *tie.worse}
    assert arms == {"tiny-clip · linear_probe · erm", "tiny-sam · linear_probe · erm"}
    assert tie.better == ()
    assert "has the best value (auc)" in tie.sentence


def test_summary_prints_ties_and_changes(finished, capsys):
    print_summary(finished.tables, finished.plan, ["cxr, by sex: cannot judge before, gap found now"])
    printed = capsys.readouterr().out
    assert "has the best value (auc)" in printed
    assert "changed since the last run: cxr, by sex: cannot judge before, gap found now" in printed


def test_a_claim_that_changed_is_named_and_one_that_did_not_is_not(finished, tmp_path):
    settings, gaps = finished.plan.study.measure, finished.tables.gaps
    first = gaps["metric"].eq("auc") & gaps["kind"].eq("max-min") & gaps["model"].eq("tiny-clip")
    found = gaps.assign(
        p_adjusted=gaps["p_adjusted"].where(~first, 1e-4), status=gaps["status"].where(~first, "ok")
    )
    before = tmp_path / "gaps.parquet"
    pq.write_table(pa.Table.from_pandas(gaps, schema=schemas.GAPS, preserve_index=False), before)
    assert claim_changes(before, gaps, settings) == ()
    (change,) = claim_changes(before, found, settings)
    assert change.startswith("cxr, opacity, tiny-clip, linear_probe, erm, by sex: ")
    assert change.endswith(" before, gap found now")


def test_tables_of_another_version_or_none_give_no_changes(finished, tmp_path):
    settings, gaps = finished.plan.study.measure, finished.tables.gaps
    old = tmp_path / "old.parquet"
    pq.write_table(pa.table({"raw": [0.1]}), old)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for path in (old, tmp_path / "none.parquet", tmp_path / "broken.parquet"):
        assert claim_changes(path, gaps, settings) == ()


def test_report_has_a_methods_paragraph(finished):
    assert "The unit of resampling and testing was the" in finished.report.read_text()
