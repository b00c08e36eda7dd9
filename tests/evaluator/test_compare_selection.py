import numpy as np
import pandas as pd
import pytest
from comparing import PEOPLE, Study, faces, same, shuffled, study

from evaluator.compare import analyse, compare, select
from evaluator.compare.across import across
from evaluator.statistics.pareto import front_probability
from evaluator.tables import ACROSS, COMPARISONS, SELECTION

SEX = np.where(np.arange(PEOPLE) % 2, "female", "male")


def planted(seed=0, *, noise=0.01, val=True, seeds=(None,)):
    """Best overall: `high` (bad for women). Best worst group: `fair`. `poor` is worse than `fair` in everything."""
    rng = np.random.default_rng(seed)
    made = Study()
    levels = {"high": (0.60, 0.95), "fair": (0.70, 0.71), "poor": (0.50, 0.65)}
    for split in ("val", "test") if val else ("test",):
        hard = faces(rng, spread=0.05) - 0.7
        for model, (female, male) in levels.items():
            for run in seeds:
                dice = hard + np.where(SEX == "female", female, male) + noise * rng.normal(size=PEOPLE)
                made.add("d", model, dice, groups={"sex": SEX}, split=split, seed=run)
    return made


def chosen(found, rule):
    return found[found["rule"] == rule].iloc[0]


def test_rules_choose_on_val_and_report_test():
    made = planted()
    metrics = made.tables()[0]
    found = select(*made.tables())
    assert list(found.columns) == SELECTION.names
    assert chosen(found, "overall")["model"] == "high"
    assert chosen(found, "minimax")["model"] == "fair"
    assert chosen(found, "dto")["model"] in {"high", "fair"}
    fair = metrics[(metrics["model"] == "fair") & (metrics["split"] == "test")].set_index("group")["value"]
    val = metrics[(metrics["model"] == "fair") & (metrics["split"] == "val")].set_index("group")["value"]
    row = chosen(found, "minimax")
    assert (row["test_value"], row["val_value"]) == pytest.approx((fair["all"], val["all"]))
    assert row["test_worst"] == pytest.approx(min(fair["female"], fair["male"]))
    assert row["val_worst"] == pytest.approx(min(val["female"], val["male"]))
    assert row["test_gap"] == pytest.approx(0.9 * abs(fair["female"] - fair["male"]))
    assert np.isnan(row["probability"])


def test_gap_is_of_the_convention_that_the_values_are_of():
    metrics, gaps, replicates = planted().tables()
    others = [
        gaps.assign(convention=name, adjusted=gaps["adjusted"] + 5.0)
        for name in ("empty:fairseg", "mean:subject|std:age", "a:first_by_name")
    ]
    published = metrics.assign(convention="empty:fairseg", value=1.0 - metrics["value"])
    found = select(pd.concat([metrics, published]), pd.concat([*others, gaps]), replicates)
    same(found, select(metrics, gaps, replicates))
    assert found.query("rule == 'pareto'")["test_gap"].notna().all()


def test_arms_of_several_splits_that_count_as_test_all_keep_their_own_numbers():
    metrics, gaps, replicates = planted().tables()
    expected = select(metrics, gaps, replicates)
    prompted = [
        frame.assign(
            split=frame["split"].mask(
                (frame["model"] == "fair") & (frame["split"] == "test"), "train+val+test"
            )
        )
        for frame in (metrics, gaps, replicates)
    ]
    same(select(*prompted), expected)
    wider = [frame[frame["split"] == "test"].assign(split="train+val+test") for frame in (metrics, gaps)]
    wider = [wider[0].assign(value=0.1), wider[1].assign(adjusted=7.0)]
    both = [pd.concat([frame, more]) for frame, more in zip((metrics, gaps), wider, strict=True)]
    same(select(*both, replicates), expected)


def test_test_values_never_change_a_choice():
    metrics, gaps, replicates = planted().tables()
    other = metrics.assign(value=metrics["value"].where(metrics["split"] == "val", 1 - metrics["value"]))
    columns = ["rule", "model", "val_value", "val_worst"]
    first, second = (select(table, gaps, replicates).query("rule != 'pareto'") for table in (metrics, other))
    same(first[columns], second[columns])
    assert not np.allclose(first["test_value"], second["test_value"])


def test_without_val_rows_nothing_is_chosen_and_the_reason_is_said():
    found = select(*planted(val=False).tables())
    rules = found[found["rule"] != "pareto"]
    assert rules["model"].isna().all()
    assert rules[["val_value", "test_value", "test_worst"]].isna().all(axis=None)
    assert set(rules["reason"]) == {"chosen on val, and there is none"}


def test_choice_without_test_rows_says_so():
    metrics, gaps, replicates = planted().tables()
    found = select(*(frame[frame["split"] == "val"] for frame in (metrics, gaps, replicates)))
    assert chosen(found, "overall")["model"] == "high"
    assert chosen(found, "overall")["reason"] == "no value on test"
    assert not (found["rule"] == "pareto").any()


def test_shrunk_group_values_decide_so_that_a_tiny_group_does_not():
    metrics, gaps, replicates = planted().tables()
    tiny = (metrics["group"] == "female") & (metrics["model"] == "high") & (metrics["split"] == "val")
    metrics = metrics.assign(shrunk=metrics["value"].mask(tiny, 0.9))
    row = chosen(select(metrics, gaps, replicates), "minimax")
    assert row["model"] == "high"
    assert "shrunk" in row["reason"]


def test_groups_that_are_not_ok_for_every_arm_take_no_part():
    metrics, gaps, replicates = planted().tables()
    small = (metrics["group"] == "female") & (metrics["model"] == "poor")
    metrics = metrics.assign(
        status=metrics["status"].mask(small, "suppressed"), value=metrics["value"].mask(small)
    )
    found = select(metrics, gaps, replicates)
    assert (
        chosen(found, "minimax")["reason"]
        == "chosen on val, where 1 groups have a value for every arm; two are needed"
    )
    assert chosen(found, "minimax")["model"] is None or pd.isna(chosen(found, "minimax")["model"])
    assert found[found["rule"] == "pareto"]["reason"].str.startswith("single_group").all()


def test_probability_of_the_front_is_the_share_of_replicates():
    made = planted(noise=0.2)
    _, _, replicates = made.tables()
    found = select(*made.tables())
    front = found[found["rule"] == "pareto"].set_index("model")
    drawn = replicates[replicates["split"] == "test"].set_index(["model", "group"])["values"]
    models = sorted(front.index)
    utility = np.array([drawn[model, "all"] for model in models])
    gap = np.array([np.abs(drawn[model, "female"] - drawn[model, "male"]) for model in models])
    assert front.loc[models, "probability"].tolist() == pytest.approx(
        front_probability(utility, gap).tolist()
    )
    assert front.loc["high", "probability"] == 1.0
    assert front.loc["poor", "probability"] < front.loc["fair", "probability"]


def test_single_arm_is_on_no_front():
    metrics, gaps, replicates = (frame[frame["model"] == "fair"] for frame in planted().tables())
    row = chosen(select(metrics, gaps, replicates), "pareto")
    assert row["reason"] == "single_arm: nothing to compare with"
    assert np.isnan(row["probability"])
    assert row["test_value"] > 0


def test_arms_on_other_subjects_share_no_front():
    metrics, gaps, replicates = planted().tables()
    fewer = metrics["n_subjects"].where(metrics["model"] != "poor", metrics["n_subjects"] - 1)
    found = select(metrics.assign(n_subjects=fewer), gaps, replicates)
    assert found[found["rule"] == "pareto"]["reason"].str.startswith("different_subjects: 119 to 120").all()


def test_without_replicates_there_is_no_probability():
    metrics, gaps, replicates = planted().tables()
    found = select(metrics, gaps, replicates.iloc[:0])
    assert set(found[found["rule"] == "pareto"]["reason"]) == {"no_replicates"}


def test_seeds_are_averaged_never_chosen_from():
    found = select(*planted(noise=0.1, seeds=(0, 1, 2)).tables())
    assert found[found["rule"] == "pareto"]["model"].tolist() == ["fair", "high", "poor"]
    metrics = (
        planted(noise=0.1, seeds=(0, 1, 2))
        .tables()[0]
        .query("split == 'val' and group == 'all' and model == 'high'")
    )
    assert chosen(found, "overall")["val_value"] == pytest.approx(metrics["value"].mean())


def test_without_attributes_the_overall_rule_stays():
    made = Study()
    for split in ("val", "test"):
        for model in "ab":
            made.add("d", model, faces(np.random.default_rng(ord(model))), split=split)
    found = select(*made.tables())
    assert found["rule"].tolist() == ["overall"]
    assert found["attribute"].isna().all()
    assert found["model"].notna().all()


def test_order_of_rows_does_not_matter():
    tables = planted(seeds=(0, 1)).tables()
    same(select(*(shuffled(frame, number) for number, frame in enumerate(tables))), select(*tables))


def test_analysis_holds_the_three_tables():
    tables = study(np.random.default_rng(1), {"a": 0.02, "b": 0.0, "c": 0.0}, datasets=3, draws=64).tables()
    found = analyse(*tables, alpha=0.05, baseline="b")
    same(found.comparisons, compare(tables[0], tables[2], alpha=0.05, baseline="b"))
    same(found.across, across(*tables, alpha=0.05, baseline="b"))
    same(found.selection, select(*tables))
    same(analyse(*tables, alpha=0.05, seed=3).across, across(*tables, alpha=0.05, seed=3))


def test_analysis_of_nothing_is_three_empty_tables():
    tables = [frame.iloc[:0] for frame in planted().tables()]
    found = analyse(*tables, alpha=0.05)
    for table, schema in (
        (found.comparisons, COMPARISONS),
        (found.across, ACROSS),
        (found.selection, SELECTION),
    ):
        assert list(table.columns) == schema.names
        assert not len(table)
