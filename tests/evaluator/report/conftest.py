"""A made-up study as a report gets it: numbers from a formula, names as nasty as data can have them."""

import dataclasses
import hashlib

import pandas as pd
import pytest

from evaluator.report.content import DatasetFacts, ModelFacts, StudyContent, TaskFacts
from evaluator.tables import GAPS, METRICS
from shards.card import Attribute, DatasetCard, Structure, Target

HOSTILE = "<script>alert(1)</script>"
FORMULA = "=cmd()"
LATEX = "A & B_%"
GROUPS = {
    "sex": [("female", 96, -0.06), ("male", 101, 0.03), ("unknown", 3, -0.1)],
    "age": [("0-40", 60, 0.0), ("40-60", 90, 0.01), ("60+", 45, -0.01), ("unknown", 5, 0.02)],
    "race": [
        (LATEX, 150, 0.01), (HOSTILE, 38, -0.02), (FORMULA, 7, 0.3), ("asian", 0, 0.0), ("unknown", 5, 0.0)
    ],
    "sex*age": [
        (f"{sex}*{age}", n, shift)
        for sex, age, n, shift in (
            ("female", "0-40", 30, -0.05), ("female", "40-60", 44, -0.06), ("female", "60+", 20, -0.08),
            ("male", "0-40", 30, 0.03), ("male", "40-60", 46, 0.02), ("male", "60+", 6, 0.1),
        )
    ],
}  # fmt: skip
SKILL = {"tiny-clip": 0.84, "biomedclip": 0.9, LATEX: 0.78}
HIGHER, LOWER = ("auc", "balanced_accuracy", "sensitivity"), ("brier", "ece")


def noise(*parts):
    """Return a reproducible number in [-0.5, 0.5) that depends on all parts."""
    return int(hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:8], 16) / 16**8 - 0.5


def keys(dataset, model, usage, *, target=None, structure=None, prompt=None, seed=0):
    return {
        "dataset": dataset, "model": model, "usage": usage, "mitigation": "erm", "seed": seed, "split": "test",
        "target": target, "structure": structure, "prompt": prompt,
        "task": hashlib.sha256(f"{dataset}{model}{usage}{seed}".encode()).hexdigest(),
    }  # fmt: skip


def metric_row(key, attribute, group, metric, value, subjects):
    row = {**key, "attribute": attribute, "group": group, "metric": metric, "convention": "default"}
    width = 0.35 / max(subjects, 1) ** 0.5
    status, reason = "ok", None
    if subjects == 0:
        status, reason = "absent", "no subject of this group in the test split"
    elif subjects < 10 and group != "unknown":
        status, reason = (
            "too_small",
            f"{subjects} subjects (minimum 20): value not shown, takes no part in gaps",
        )
    elif subjects < 4:
        status, reason = "undefined", "only one class among 3 subjects"
    defined = status == "ok"
    positives = round(subjects * 0.6) if metric in (*HIGHER, *LOWER) else None
    return {
        **row,
        "value": value if defined else None,
        "ci_low": max(0.0, value - width) if defined else None,
        "ci_high": min(1.0, value + width * 0.8) if defined else None,
        "n": 2 * subjects,
        "n_pos": positives,
        "n_neg": None if positives is None else 2 * subjects - positives,
        "n_subjects": subjects,
        "n_failed": 1 if group == "male" else 2 if attribute == "all" else 0,
        "status": status,
        "reason": reason,
    }


def gap_row(key, attribute, metric, size):
    judged = attribute != "race"
    adjusted = max(0.0, size - 0.02)
    groups = GROUPS[attribute]
    return {
        **key, "attribute": attribute, "metric": metric, "convention": "default", "kind": "max-min",
        "raw": size if judged else None, "null_mean": 0.03 if judged else None,
        "adjusted": adjusted if judged else None,
        "p_value": (0.0005 if size > 0.08 else 0.31) if judged else None,
        "p_adjusted": (0.0009 if size > 0.08 else 0.62) if judged else None,
        "detectable": 0.08 if judged else None,
        "ci_low": max(0.0, size - 0.05) if judged else None, "ci_high": size + 0.05 if judged else None,
        "best_group": groups[1][0] if judged else None, "worst_group": groups[0][0] if judged else None,
        "excluded_groups": [name for name, n, _ in groups if n < 20],
        "status": "ok" if judged else "too_small",
        "reason": None if judged else "fewer than two groups are large enough",
    }  # fmt: skip


def finding_row(gap):
    if gap["adjusted"] is None:
        finding, sentence = "cannot judge", "fewer than two groups have 20 subjects or more."
    elif gap["p_adjusted"] < 0.05:
        finding = "gap found"
        sentence = (
            f"{gap['metric'].upper()} {gap['raw']:.3f} lower for {gap['worst_group']} than {gap['best_group']} "
            f"(adjusted {gap['adjusted']:.3f}, p <0.001)."
        )
    else:
        finding = "no reliable gap"
        sentence = f"no reliable difference found; this test set could have seen {gap['detectable']:.3f}."
    return {**{k: v for k, v in gap.items() if k in FINDING_KEYS}, "finding": finding, "sentence": sentence}


FINDING_KEYS = (
    "dataset", "model", "usage", "mitigation", "seed", "split", "target", "structure", "prompt", "attribute",
    "metric", "convention",
)  # fmt: skip


def one_arm(key, metrics, skill):
    """Return all group rows and gap rows of one arm."""
    rows, gaps = [], []
    for metric in metrics:
        base = skill if metric not in LOWER else 1.05 - skill
        rows.append(metric_row(key, "all", "all", metric, base, 200))
        for attribute, groups in GROUPS.items():
            for group, subjects, shift in groups:
                jitter = 0.02 * noise(*key.values(), group, metric)
                rows.append(
                    metric_row(key, attribute, group, metric, min(0.995, base + shift + jitter), subjects)
                )
            planted = 0.12 if attribute == "sex" and key["target"] else 0.05
            gaps.append(
                gap_row(key, attribute, metric, planted + 0.03 * noise(*key.values(), attribute, metric))
            )
    return rows, gaps


def classification_arms():
    for model, skill in SKILL.items():
        for usage, gain in (("zero_shot", -0.15), ("linear_probe", 0.0), ("lora", 0.015)):
            key = keys("phantom-cxr", model, usage, target="effusion")
            yield one_arm(key, (*HIGHER, *LOWER), skill + gain + 0.01 * noise(model, usage))


def segmentation_arms():
    for structure, gain in (("cup", -0.08), ("rim", 0.0)):
        for prompt, help_ in (("bbox", 0.1), ("center", -0.05)):
            key = keys(HOSTILE, "tiny-sam", "segment", structure=structure, prompt=prompt)
            yield one_arm(key, ("dice", "iou", "hd95_mm"), 0.75 + gain + help_)


def failures():
    rows = [("all", "all", 2, 0.005), ("sex", "male", 1, 0.005), ("sex", "unknown", 1, 0.1667)]
    return pd.DataFrame(
        [
            ("phantom-cxr", "tiny-clip", "zero_shot", attribute, group, "decode_error", n, part)
            for attribute, group, n, part in rows
        ],
        columns=["dataset", "model", "usage", "attribute", "group", "status", "rows", "share"],
    )


def dataset_facts():
    attributes = (Attribute("sex"), Attribute("age", "number", "years"), Attribute("race"))
    cxr = DatasetCard(
        "phantom-cxr", "1", "chest X-ray", "CC0-1.0", "generated by this project",
        targets=(Target("effusion", ("absent", "present"), "present"),), attributes=attributes,
        notes=("Generated images: test equipment, not evidence about people.",),
    )  # fmt: skip
    fundus = DatasetCard(
        HOSTILE, "2", "fundus & friends", LATEX, FORMULA,
        structures=(Structure("cup", (2,)), Structure("rim", (1,))), attributes=attributes,
    )  # fmt: skip
    return (
        DatasetFacts(cxr, {"train": 800, "val": 200, "test": 400}, {"decode_error": 2}, "ab" * 32),
        DatasetFacts(fundus, {"test": 400}, {}, "cd" * 32),
    )


@pytest.fixture(scope="session")
def study():
    metrics, gaps = [], []
    for rows, gap_rows in (*classification_arms(), *segmentation_arms()):
        metrics += rows
        gaps += gap_rows
    tasks = [
        TaskFacts(task, "predict", dataset, model, usage, 0, 400, 2, 12.3456, "node-1")
        for task, dataset, model, usage in {
            (m["task"], m["dataset"], m["model"], m["usage"]) for m in metrics
        }
    ]
    return StudyContent(
        name=f"phantom demo {HOSTILE}",
        created="2026-01-31 12:00 UTC",
        metrics=pd.DataFrame(metrics, columns=METRICS.names),
        gaps=pd.DataFrame(gaps, columns=GAPS.names),
        findings=pd.DataFrame([finding_row(gap) for gap in gaps]),
        failures=failures(),
        datasets=dataset_facts(),
        models=(
            ModelFacts("tiny-clip", "Apache-2.0", "12" * 32, ("Trained by this project.",), ("phantom-cxr",)),
            ModelFacts("biomedclip", "MIT", "34" * 32, (HOSTILE,)),
            ModelFacts(LATEX, "none & unknown", None),
            ModelFacts("tiny-sam", "Apache-2.0", "56" * 32),
        ),
        tasks=tuple(sorted(tasks, key=lambda task: task.task)),
        skipped=("tiny-sam cannot do zero_shot: it has no text tower", f"{HOSTILE} cannot do lora"),
        provenance=(
            ("FairRay", "0.1.0"),
            ("Command", "fairray run study.yaml"),
            ("Seed", "0"),
            ("Store", FORMULA),
        ),
        methods=("Intervals: percentile bootstrap over subjects, 2,000 replicates shared by all models.",),
    )


@pytest.fixture(scope="session")
def small_study(study):
    """The classification half with two metrics: enough where a whole page is made again."""
    metrics, gaps, findings = (
        frame[frame["target"].notna() & frame["metric"].isin(["auc", "brier"])].reset_index(drop=True)
        for frame in (study.metrics, study.gaps, study.findings)
    )
    return dataclasses.replace(study, metrics=metrics, gaps=gaps, findings=findings, tasks=study.tasks[:2])
