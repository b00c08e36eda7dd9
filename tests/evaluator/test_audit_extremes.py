"""Whole audits of tables that are tiny, lopsided or full of groups: no crash, and no number for what is undefined."""

import numpy as np
import pandas as pd
import pytest

from evaluator import audit


def table(rows, groups, images):
    rng = np.random.default_rng(rows + groups)
    sick = rng.integers(0, 2, rows)
    columns = {
        "patient_id": np.repeat(np.arange(rows), images)[:rows],
        "sex": rng.choice(list("abcdefgh")[:groups], rows),
        "label": sick,
    }
    for model in ("one", "two"):
        columns[f"score_{model}"] = np.clip(0.4 + 0.2 * sick + 0.25 * rng.normal(size=rows), 0, 1)
    return pd.DataFrame(columns)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("groups", [2, 8])
@pytest.mark.parametrize(
    "options",
    [
        {"bootstrap": 0, "permutations": 0},
        {"bootstrap": 0, "permutations": 20},
        {"bootstrap": 20, "permutations": 20, "minimum_subjects": 1},
        {
            "bootstrap": 20,
            "permutations": 20,
            "minimum_subjects": 2,
            "conventions": "fairmedfm,fairclip,medfair,fairlearn",
        },
    ],
)
def test_small_tables_with_many_groups_are_measured_or_say_why_not(options, groups, images):
    found = audit(table(40, groups, images), **options)
    undefined = found.groups["status"] != "ok"
    assert found.groups.loc[undefined, "value"].isna().all()
    assert found.groups.loc[undefined, "reason"].notna().all()
    assert found.groups.loc[~undefined, "value"].notna().all()
    assert (found.gaps["raw"].notna() == (found.gaps["status"] == "ok")).all()
    assert found.gaps.loc[found.gaps["raw"].isna(), "reason"].notna().all()


def test_gaps_of_large_tables_without_replicates_or_permutations_have_values_and_no_p():
    found = audit(table(400, 3, 2), bootstrap=0, permutations=0)
    gaps = found.gaps[(found.gaps["kind"] == "max-min") & (found.gaps["metric"] == "auc")]
    assert gaps["raw"].notna().all()
    assert gaps["p_value"].isna().all()


def test_groups_can_be_re_weighted_to_the_same_mix_of_another_attribute():
    frame = table(400, 2, 1)
    frame["age"] = np.random.default_rng(1).uniform(20, 80, 400).round()
    found = audit(frame, bins={"age": [50]}, standardize="age", bootstrap=50, permutations=20)
    rows = found.gaps[found.gaps["convention"].str.contains("age-standardised", regex=False)]
    assert set(rows["attribute"]) == {"sex"}
    assert rows["raw"].notna().all()
