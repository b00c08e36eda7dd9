import numpy as np
import pandas as pd
import pytest
from measuring import SICK, cases, masks, measurement

from evaluator.groups import parse_groups
from evaluator.measure import MeasureSettings, measure_segmentations
from evaluator.measure.repertoire import repertoire
from evaluator.measure.scored import read_scored
from evaluator.measure.settings import ResultKeys
from evaluator.metrics.conventions import PRESETS, known_names
from evaluator.metrics.directions import better
from evaluator.metrics.thresholds import Threshold
from shards.card import Target

#: Presets, every name that stands for itself, and some of those that hold a number.
ASKED = (
    *(name for name in known_names() if not any(letter in name for letter in "KXFV")),
    "ece:fixed10", "ece:mass10", "fixed:0.3", "group:val:f1",
)  # fmt: skip
SETTINGS = MeasureSettings(bootstrap=0, permutations=0, conventions=ASKED)
GRADES = Target("disease", ("none", "mild", "severe"), None)


def graded():
    """The same people with one of three grades."""
    predictions, attributes = cases(240)
    rng = np.random.default_rng(1)
    scores = rng.dirichlet((1.0, 1.0, 1.0), len(predictions))
    grades = np.array(GRADES.classes)
    return predictions.assign(
        label=grades[[rng.choice(3, p=row) for row in scores]],
        predicted=grades[scores.argmax(axis=1)],
        scores=list(scores.astype("float32")),
        score=None,
    ), attributes


def segmentations():
    """Cup and disc of the same eyes, of other sizes and in millimetres."""
    rows, attributes = masks(120)
    parts = []
    for number, structure in enumerate(("cup", "disc")):
        rng = np.random.default_rng(number)
        true = rng.uniform(80, 120, len(rows)) * (1 + number)
        sizes = {"volume_true": true, "volume_predicted": true * rng.uniform(0.9, 1.1, len(rows))}
        in_mm = {"hd95_mm": rows["hd95_px"] / 2, "assd_mm": rows["assd_px"] / 2}
        parts.append(rows.assign(structure=structure, **sizes, **in_mm))
    return pd.concat(parts, ignore_index=True), attributes


def of_segmentations():
    return measure_segmentations(
        *segmentations(), parse_groups({"sex": {}}), SETTINGS, ResultKeys(dataset="d", model="m", usage="s")
    )


MADE = {
    "two classes": lambda: measurement(*cases(400, val=0.3), settings=SETTINGS),
    "decisions": lambda: measurement(
        cases(300)[0].drop(columns=["score", "scores"]), cases(300)[1], settings=SETTINGS
    ),
    "three classes": lambda: measurement(*graded(), settings=SETTINGS, target=GRADES),
    "segmentations": of_segmentations,
}


@pytest.fixture(scope="module", params=list(MADE))
def made(request):
    return MADE[request.param]()


def test_direction_of_every_metric_of_the_tables_is_known(made):
    names = set(made.metrics.to_pandas()["metric"])
    assert len(names) > 4
    assert {name for name in names if better(name) == "unknown"} == set()


def test_group_called_best_has_the_value_that_is_better(made):
    metrics, gaps = made.metrics.to_pandas(), made.gaps.to_pandas()
    keys = ["split", "target", "structure", "prompt", "attribute", "metric", "convention"]
    values = metrics[metrics["status"] == "ok"].fillna(dict.fromkeys(keys, ""))
    values = values.set_index([*keys, "group"])["value"].to_dict()
    gaps = gaps[(gaps["kind"] == "max-min") & (gaps["status"] == "ok")].fillna(dict.fromkeys(keys, ""))
    judged = set()
    for row in gaps.to_dict("records"):
        if better(row["metric"]) == "neither":
            continue
        key = tuple(row[name] for name in keys)
        best, worst = values[*key, row["best_group"]], values[*key, row["worst_group"]]
        if best != worst:
            assert ("higher" if best > worst else "lower") == better(row["metric"]), key
            judged.add(row["metric"])
    assert len(judged) > 3


@pytest.mark.parametrize("target", [SICK, GRADES])
def test_direction_of_every_metric_that_predictions_can_have_is_that_of_its_form(target):
    rows = (cases(240) if target is SICK else graded())[0]
    reading = read_scored(rows, target, np.ones(len(rows), bool), decided_only=False)
    thresholds = (Threshold(0.5, "fixed:0.5"),) if target is SICK else ()
    found = repertoire(reading, target, thresholds, SETTINGS)
    for metric in found:
        assert better(metric.name) in ("neither", "higher" if metric.higher_is_better else "lower"), (
            metric.name
        )
    names = {metric.name for metric in found}
    extra = {
        "fpr",
        "fnr",
        "underdiagnosis",
        "overdiagnosis",
        "generalised_entropy",
        "auprg",
        "calibration_slope",
    }
    assert names >= (extra if target is SICK else {"f1_variance"})


def test_presets_are_among_the_conventions_asked_for():
    assert set(PRESETS) <= set(ASKED)
