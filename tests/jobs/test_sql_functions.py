import duckdb
import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from jobs.sql_functions import functions


def ask(table, sql):
    with functions(duckdb.connect(":memory:")) as connection:
        connection.register("rows", table)
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("digits", [1, 8])
def test_auc_of_each_group_agrees_with_scikit_learn(digits):
    rng = np.random.default_rng(digits)
    score, sick = rng.random(3000).round(digits), rng.random(3000) < 0.3
    sex = rng.choice(["a", "b", "c"], 3000)
    table = pa.table({"score": score.astype("float32"), "label": np.where(sick, "sick", "well"), "sex": sex})
    found = dict(ask(table, "select sex, auc(score, label = 'sick') from rows group by sex"))
    assert set(found) == {"a", "b", "c"}
    for name, area in found.items():
        expected = roc_auc_score(sick[sex == name], score[sex == name].astype("float32"))
        assert area == pytest.approx(expected, abs=1e-12)


def test_rows_without_a_number_or_label_take_no_part_and_one_class_is_null():
    table = pa.table(
        {
            "score": [0.2, 0.8, None, float("nan"), 0.9, 0.4],
            "sick": [False, True, True, True, None, True],
            "sex": ["a", "a", "a", "a", "a", "b"],
        }
    )
    assert ask(table, "select sex, auc(score, sick) from rows group by sex order by sex") == [
        ("a", 1.0),
        ("b", None),
    ]
