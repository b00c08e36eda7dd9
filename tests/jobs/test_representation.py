"""Probing representations as part of a study: rows like those of any target, and no part in what is said of a disease."""

import pytest
from rich.console import Console

from jobs.assemble import content_of, report_path
from jobs.coverage import find_faults
from jobs.plan import PlanOptions, find_tasks, make_plan
from jobs.query import connect
from jobs.run import Exit, RunOptions, run_study
from jobs.store import Store
from jobs.study import parse_study
from shards.errors import UserError

SERIAL = RunOptions(executor="serial", device="cpu")


def values(converted, store, **changes):
    return {
        "study": "probed",
        "store": str(store),
        "datasets": {
            "cxr": {"shards": str(converted["cxr"]), "adapter": "phantom-cxr", "targets": ["opacity"]}
        },
        "models": ["tiny-clip"],
        "usages": {"linear_probe": {"grid": [0.1]}, "representation": {"grid": [0.1]}},
        "attributes": {"sex": {}, "age": {"bins": [60]}, "sex*age": {}},
        "measure": {
            "bootstrap": 20,
            "permutations": 20,
            "minimum_subjects": 2,
            "minimum_positives": 1,
            "minimum_negatives": 1,
        },
        **changes,
    }


@pytest.fixture(scope="module")
def finished(converted, tmp_path_factory):
    given = values(converted, tmp_path_factory.mktemp("probed") / "store")
    outcome = run_study(parse_study(given), SERIAL, Console(quiet=True))
    assert outcome.exit == Exit.COMPLETE
    return outcome


def probes(table):
    return table[table["usage"] == "representation"]


def test_every_single_attribute_of_the_study_is_probed(finished):
    tasks = find_tasks(finished.plan, ["representation"])
    assert [task.inputs.target for task in tasks] == ["attribute:sex", "attribute:age"]


def test_embeddings_are_computed_once_for_all_probes(finished):
    assert len(find_tasks(finished.plan, ["embed"])) == 1


def test_coverage_of_probes_is_checked_like_that_of_any_fit(finished):
    assert list(find_faults(finished.plan, Store(finished.plan.study.store))) == []


def test_auc_of_reading_an_attribute_has_an_interval_and_counts(finished):
    found = probes(finished.tables.metrics)
    overall = found[(found["metric"] == "auc") & (found["attribute"] == "all") & (found["split"] == "test")]
    assert sorted(overall["target"]) == ["attribute:age", "attribute:sex"]
    for row in overall.to_dict("records"):
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert row["n"] == row["n_pos"] + row["n_neg"] > 0


def test_an_attribute_is_measured_in_the_groups_of_the_others_only(finished):
    found = probes(finished.tables.metrics)
    assert set(found.loc[found["target"] == "attribute:sex", "attribute"]) == {"all", "age"}
    assert set(found.loc[found["target"] == "attribute:age", "attribute"]) == {"all", "sex"}


def test_reading_an_attribute_is_tested_for_no_gap_and_enlarges_no_family(finished, converted, tmp_path):
    assert probes(finished.tables.gaps).empty
    alone = values(converted, tmp_path / "store", usages={"linear_probe": {"grid": [0.1]}})
    without = run_study(parse_study(alone), SERIAL, Console(quiet=True)).tables.gaps
    assert without["p_adjusted"].tolist() == pytest.approx(
        finished.tables.gaps["p_adjusted"].tolist(), nan_ok=True
    )


def test_reading_an_attribute_takes_no_part_in_comparisons_and_selection(finished):
    for table in (finished.tables.comparisons, finished.tables.selection):
        assert "representation" not in set(table["usage"])
        assert not table["target"].astype(str).str.startswith("attribute:").any()


def test_report_shows_what_the_features_give_away_apart_from_the_rankings(finished):
    content = content_of(Store(finished.plan.study.store), finished.plan, finished.tables)
    assert set(content.representation["target"]) == {"attribute:sex", "attribute:age"}
    assert {"all", "sex", "age"} == set(content.representation["attribute"])
    assert probes(content.metrics).empty
    page = report_path(Store(finished.plan.study.store), "probed").read_text(encoding="utf-8")
    assert '<section id="features"' in page


def test_predictions_of_an_attribute_are_stored_like_any_others(finished):
    with connect(Store(finished.plan.study.store)) as connection:
        rows = connection.execute(
            "select target, count(*), count(distinct sample_id) from predictions "
            "where usage = 'representation' group by target order by target"
        ).fetchall()
    assert [row[0] for row in rows] == ["attribute:age", "attribute:sex"]
    assert all(count == distinct > 0 for _, count, distinct in rows)


def test_attribute_that_the_study_does_not_group_is_refused(converted, tmp_path):
    given = values(converted, tmp_path, usages={"representation": {"attributes": ["sx"]}})
    with pytest.raises(
        UserError, match=r"unknown attribute of usages\.representation: 'sx'; did you mean 'sex'"
    ):
        parse_study(given)


def test_study_without_attributes_has_nothing_to_probe(converted, tmp_path):
    given = values(converted, tmp_path, usages={"representation": {}}, attributes={})
    with pytest.raises(UserError, match="the study names none"):
        parse_study(given)


def test_group_definition_grid_and_seed_are_identity(converted, tmp_path):
    def ids(**changes):
        study = parse_study(values(converted, tmp_path, **changes))
        return {
            task.inputs.target: task.id
            for task in find_tasks(make_plan(study, PlanOptions()), ["representation"])
        }

    plain = ids()
    older = ids(attributes={"sex": {}, "age": {"bins": [70]}})
    assert older["attribute:sex"] == plain["attribute:sex"]
    assert older["attribute:age"] != plain["attribute:age"]
    other_grid = ids(usages={"representation": {"grid": [0.2]}})
    assert set(other_grid.values()).isdisjoint(plain.values())
