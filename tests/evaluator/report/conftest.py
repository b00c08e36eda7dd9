"""A made-up study as a report gets it: numbers from a formula, names as nasty as data can have them."""

import dataclasses
import hashlib

import pandas as pd
import pytest

from evaluator.report.content import DatasetFacts, ModelFacts, StudyContent, TaskFacts
from evaluator.tables import ACROSS, COMPARISONS, CURVES, GAPS, METRICS, SELECTION
from shards.audit import audit
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
        "interval": ("delong-logit" if metric == "auc" else "percentile") if defined else None,
        "shrunk": value - 0.001 if defined and attribute != "all" else None,
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
        "interval": "simultaneous" if judged else None,
        "best_group": groups[1][0] if judged else None, "worst_group": groups[0][0] if judged else None,
        "excluded_groups": [name for name, n, _ in groups if n < 20],
        "status": "ok" if judged else "too_small",
        "reason": None if judged else "fewer than two groups are large enough",
    }  # fmt: skip


def other_kind(gap, kind, raw):
    """Return the same gap in another convention: never judged, never ranked by."""
    return {
        **gap, "kind": kind, "raw": raw, "null_mean": None, "adjusted": None, "p_value": 0.0001, "p_adjusted": 0.0001,
        "detectable": None, "ci_low": None, "ci_high": None, "worst_group": "nobody", "best_group": "nobody",
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
    told = {"finding": finding, "sentence": sentence, "detectable": gap["detectable"], "tests": 12}
    return {**{k: v for k, v in gap.items() if k in FINDING_KEYS}, **told}


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


def curves(metrics):
    """Return ROC and calibration of every group that has an AUC."""
    rows = []
    for row in metrics:
        if row["metric"] != "auc" or row["value"] is None or row["split"] == "val":
            continue
        key = {name: row[name] for name in CURVES.names if name in row}
        bend = max(0.02, 1 - row["value"])
        grid = [step / 10 for step in range(11)]
        rows.append({**key, "curve": "roc", "x": grid, "y": [x**bend for x in grid], "n": []})
        bins = [0.1, 0.3, 0.5, 0.7, 0.9]
        shift = 0.1 * noise(row["model"], row["group"])
        observed = [min(1.0, max(0.0, x + shift)) for x in bins]
        rows.append({**key, "curve": "calibration", "x": bins, "y": observed, "n": [row["n"] // 5] * 5})
    return pd.DataFrame(rows, columns=CURVES.names)


def comparisons(metrics):
    """Compare all arms by the primary metric with the first one of their question."""
    first, rows = {}, []
    for row in metrics:
        if row["metric"] not in {"auc", "dice"} or row["attribute"] != "all" or row["split"] == "val":
            continue
        question = (row["dataset"], row["target"], row["structure"])
        best = first.setdefault(
            question,
            max(
                (m for m in metrics if m["metric"] == row["metric"] and m["attribute"] == "all" and m["split"] == "test"
                 and (m["dataset"], m["target"], m["structure"]) == question),
                key=lambda m: m["value"],
            ),
        )  # fmt: skip
        if row is best:
            continue
        difference = row["value"] - best["value"]
        p = 0.4 if difference > -0.03 else 0.002
        arm = {name: row[name] for name in COMPARISONS.names if name in row and not name.startswith("ci_")}
        against = {
            f"against_{name}": best[name] for name in ("model", "usage", "mitigation", "seed", "prompt")
        }
        rows.append(
            {**arm, **against, "difference": difference, "ci_low": difference - 0.02, "ci_high": difference + 0.02,
             "p_value": p, "p_adjusted": p, "status": "ok"}
        )  # fmt: skip
    return pd.DataFrame(rows, columns=COMPARISONS.names)


def across():
    names = [
        f"{model} · {usage}" for model in ("tiny-clip", HOSTILE, LATEX) for usage in ("zero_shot", "lora")
    ]
    rows = [
        {"analysis": "friedman", "metric": "auc", "value": 11.2, "p_value": 0.02, "p_adjusted": 0.02, "n": 12}
    ]
    rows += [
        {"analysis": "rank", "metric": "auc", "item": name, "value": 1.4 + 0.7 * place, "ci_low": 1.0 + 0.7 * place,
         "ci_high": 2.0 + 0.7 * place, "n": 12}
        for place, name in enumerate(names)
    ]  # fmt: skip
    rows += [
        {"analysis": "wilcoxon", "metric": "auc", "item": name, "against": names[0], "value": 0.01 * place,
         "p_value": 0.01 * place, "p_adjusted": 0.05 * place, "n": 12}
        for place, name in enumerate(names[1:], start=1)
    ]  # fmt: skip
    rows += [
        {"analysis": "kendall", "metric": "auc", "attribute": "sex", "item": "models", "value": 0.61, "p_value": 0.01, "n": 12},
        {"analysis": "direction", "metric": "auc", "attribute": "sex", "item": "female", "value": 0.9, "n": 10},
        {"analysis": "direction", "metric": "auc", "attribute": "race", "reason": "fewer than five datasets", "n": 2},
        {"analysis": "variance", "metric": "auc", "item": "model", "value": 0.62, "n": 12},
        {"analysis": "variance", "metric": "auc", "item": "residual", "value": 0.38, "n": 12},
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=ACROSS.names)


def selection():
    keys = {
        "dataset": "phantom-cxr",
        "target": "effusion",
        "metric": "auc",
        "attribute": "sex",
        "mitigation": "erm",
    }
    rows = [
        {**keys, "rule": rule, "model": model, "usage": "lora", "val_value": 0.91, "val_worst": worst, "test_value": 0.9,
         "test_worst": worst - 0.02, "test_gap": 0.07}
        for rule, model, worst in (("overall", "biomedclip", 0.82), ("minimax", "tiny-clip", 0.84), ("dto", "tiny-clip", 0.84))
    ]  # fmt: skip
    rows += [
        {**keys, "rule": "pareto", "model": model, "usage": usage, "test_value": 0.9, "test_worst": 0.8, "test_gap": 0.07,
         "probability": probability}
        for model, usage, probability in (("biomedclip", "lora", 0.83), ("tiny-clip", "lora", 0.4), (LATEX, "zero_shot", 0.0))
    ]  # fmt: skip
    rows.append({**keys, "attribute": "age", "rule": "minimax", "reason": "no val rows of two groups"})
    return pd.DataFrame(rows, columns=SELECTION.names)


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
        DatasetFacts(
            cxr, {"train": 800, "val": 200, "test": 400}, {"decode_error": 2}, "ab" * 32, audit=audited(cxr)
        ),
        DatasetFacts(fundus, {"test": 400}, {}, "cd" * 32, audit=audited(fundus)),
    )


def audited(card):
    """Return the audit of a few dozen rows, the first two of which share a picture."""
    rows = []
    for number in range(48):
        row = {
            "sample_id": f"{HOSTILE}{number}", "subject_id": f"p{number}", "split": "test" if number % 3 else "train",
            "pixels_sha256": str(max(number, 1)), "phash": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
            "phash_fine": hashlib.sha256(str(number).encode()).hexdigest(),
            "original_width": 64, "original_height": 64, "intensity_mean": 90.0 + number % 2, "intensity_sd": 20.0,
            "sex": ("female", "male")[number % 2], "age": None if number == 5 else 20.0 + number,
            "race": (LATEX, HOSTILE)[number % 2],
        }  # fmt: skip
        rows.append({**row, **{t.name: t.classes[number % len(t.classes)] for t in card.targets}})
    rejected = [{"reason": "decode_error", "sex": "male", "age": 30.0, "race": HOSTILE}]
    return audit(card, rows, rejected)


@pytest.fixture(scope="session")
def study():
    metrics, gaps = [], []
    for rows, gap_rows in (*classification_arms(), *segmentation_arms()):
        metrics += rows
        gaps += gap_rows
    compared = comparisons(metrics)
    lines = curves(metrics)
    metrics += [
        {**row, "split": "val", "value": 0.999}
        for row in metrics
        if row["metric"] == "auc" and row["value"] is not None
    ]
    extra = [
        other_kind(gap, kind, raw) for gap in gaps[:4] for kind, raw in (("es:sum", 0.77), ("ratio", 0.9))
    ]
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
        gaps=pd.DataFrame([*gaps, *extra], columns=GAPS.names),
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
        curves=lines,
        comparisons=compared,
        across=across(),
        selection=selection(),
        methods_text="Gaps were corrected by Holm's method (Holm, 1979).",
    )


@pytest.fixture(scope="session")
def small_study(study):
    """The classification half with two metrics: enough where a whole page is made again."""
    metrics, gaps, findings = (
        frame[frame["target"].notna() & frame["metric"].isin(["auc", "brier"])].reset_index(drop=True)
        for frame in (study.metrics, study.gaps, study.findings)
    )
    metrics = metrics[metrics["split"] == "test"].reset_index(drop=True)
    nothing = {
        name: getattr(study, name).iloc[:0] for name in ("curves", "comparisons", "across", "selection")
    }
    return dataclasses.replace(
        study, metrics=metrics, gaps=gaps, findings=findings, tasks=study.tasks[:2], **nothing
    )
