"""How the report says things: names and meanings of metrics, the form of numbers, the glossary.

An undefined number is always :data:`UNDEFINED`, never 0.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

UNDEFINED = "–"
MINUS = "\u2212"
NO_BREAK = "\u00a0"
Better = Literal["higher", "lower"]
_BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@dataclass(frozen=True)
class MetricWords:
    """How a metric is called and read.

    Attributes
    ----------
    label
        Name in headings and axes.
    meaning
        One sentence for a reader who does not know it.
    better
        Which direction is good.
    decimals
        Digits shown after the point.
    bounds
        Smallest and largest possible value; None where there is none. Axes stay inside.
    """

    label: str
    meaning: str
    better: Better = "higher"
    decimals: int = 3
    bounds: tuple[float | None, float | None] = (0.0, 1.0)


_METRICS = {
    "auc": MetricWords(
        "AUC",
        "Chance that a positive sample gets a higher score than a negative one; 0.5 is guessing.",
    ),
    "average_precision": MetricWords(
        "Average precision", "Precision averaged over recall; moves with the share of positives."
    ),
    "accuracy": MetricWords("Accuracy", "Share of samples whose predicted class is right."),
    "balanced_accuracy": MetricWords(
        "Balanced accuracy",
        "Mean over the classes of the share that is predicted right; blind to how common a class is.",
    ),
    "f1": MetricWords("F1", "Harmonic mean of precision and sensitivity at the threshold."),
    "sensitivity": MetricWords("Sensitivity", "Share of positive samples that are found at the threshold."),
    "specificity": MetricWords(
        "Specificity", "Share of negative samples that are left alone at the threshold."
    ),
    "ppv": MetricWords(
        "PPV", "Share of positive predictions that are right; moves with the share of positives."
    ),
    "npv": MetricWords(
        "NPV", "Share of negative predictions that are right; moves with the share of positives."
    ),
    "brier": MetricWords(
        "Brier score", "Mean squared distance of the predicted probability from the truth.", "lower"
    ),
    "log_loss": MetricWords(
        "Log loss", "Mean negative log of the probability given to the truth.", "lower", bounds=(0.0, None)
    ),
    "ece": MetricWords(
        "Calibration error",
        "Mean distance between the predicted probability and how often it came true.",
        "lower",
    ),
    "dice": MetricWords(
        "Dice", "Overlap of predicted and true mask: 1 is the same mask, 0 is none in common."
    ),
    "iou": MetricWords("IoU", "Intersection of predicted and true mask divided by their union."),
    "hd95_mm": MetricWords(
        "HD95 (mm)",
        "Distance below which 95 % of the two outlines lie from each other.",
        "lower",
        2,
        (0.0, None),
    ),
    "hd95_px": MetricWords(
        "HD95 (pixels)",
        "Distance below which 95 % of the two outlines lie from each other.",
        "lower",
        2,
        (0.0, None),
    ),
    "nsd": MetricWords(
        "Surface Dice", "Share of the outline that lies within the tolerance of the true one."
    ),
}
_FIRST_CHOICES = ("auc", "auc_macro", "auc_ovr", "dice", "balanced_accuracy", "accuracy")


def metric_words(metric: str) -> MetricWords:
    """Return how a metric is called and read; a metric that is not known here keeps its own name."""
    return _METRICS.get(metric) or MetricWords(metric, "", bounds=(None, None))


def primary_metric(metrics: Iterable[str]) -> str:
    """Return the metric that a report opens with: AUC, or Dice for masks, else the first one given.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> primary_metric(["accuracy", "brier", "auc"])
    'auc'
    """
    names = list(dict.fromkeys(metrics))
    if not names:
        raise ValueError("there is no metric to choose from")
    return next((name for name in _FIRST_CHOICES if name in names), names[0])


def is_undefined(value: Any) -> bool:
    """Return whether a value is null or not a finite number."""
    if value is None:
        return True
    try:
        return not math.isfinite(value)
    except TypeError:
        return True


def number(value: Any, decimals: int = 3) -> str:
    """Return a number with fixed decimals, or an en dash where it is undefined.

    Examples
    --------
    >>> number(0.51249), number(-0.0001), number(None)
    ('0.512', '0.000', '–')
    """
    if is_undefined(value):
        return UNDEFINED
    text = f"{float(value):.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def interval(low: Any, high: Any, decimals: int = 3) -> str:
    """Return ``"low to high"``, or an en dash where an end is undefined."""
    if is_undefined(low) or is_undefined(high):
        return UNDEFINED
    return f"{number(low, decimals)} to {number(high, decimals)}"


def p_value(value: Any) -> str:
    """Return a p-value: three decimals, ``<0.001`` below that, an en dash where it is undefined.

    Examples
    --------
    >>> p_value(0.0004), p_value(0.0312), p_value(float("nan"))
    ('<0.001', '0.031', '–')
    """
    if is_undefined(value):
        return UNDEFINED
    return "<0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def count(value: Any) -> str:
    """Return a whole number with thousands separated, or an en dash where it is undefined."""
    return UNDEFINED if is_undefined(value) else f"{int(value):,}"


def share(value: Any) -> str:
    """Return a share in [0, 1] as per cent with one decimal, or an en dash where it is undefined."""
    return UNDEFINED if is_undefined(value) else f"{100 * float(value):.1f} %"


def plural(amount: int, noun: str) -> str:
    """Return ``"1 patient"``, ``"2 patients"``, ``"3 studies"``."""
    if amount == 1:
        return f"1 {noun}"
    many = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
    return f"{amount:,} {many}"


def clean(text: str) -> str:
    """Return a text without characters that cannot be shown or that reorder what stands around them.

    Control characters, surrogates and bidirectional overrides become U+FFFD; line breaks and tabs become
    spaces.
    """
    if text.isascii() and text.isprintable():
        return text
    spaced = "".join(" " if char in "\t\r\n" else char for char in text)
    return "".join("\ufffd" if _unprintable(char) else char for char in spaced)


def _unprintable(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs"} or unicodedata.bidirectional(char) in _BIDI_CONTROLS


def readable(name: str) -> str:
    """Return the name of a usage, mitigation or status as words.

    Examples
    --------
    >>> readable("linear_probe"), readable("zero_shot"), readable("lora")
    ('linear probe', 'zero-shot', 'LoRA')
    """
    return _SPELLINGS.get(name) or name.replace("_", " ")


_SPELLINGS = {
    "zero_shot": "zero-shot",
    "lora": "LoRA",
    "clip_adapter": "CLIP-Adapter",
    "segment": "prompted segmentation",
    "finetune": "full fine-tuning",
    "group_dro": "GroupDRO",
    "laftr": "LAFTR",
    "febs": "FEBS",
}


_CONVENTIONS = {
    "auc:midrank": "ties count half",
    "auc:macro_ovr": "mean over the classes of each one against the rest; ties count half",
    "brier:binary": "squared error of the probability of the positive class",
    "brier:multiclass": "squared errors summed over the classes, 0 to 2",
    "class:argmax": "the class with the highest probability is the prediction",
    "mean:subject": "mean over the samples of a subject, then over subjects",
    "val:youden": "threshold with the highest sensitivity + specificity on the validation split",
    "val:f1": "threshold with the highest F1 on the validation split",
}
_NUMBERED_CONVENTIONS = {
    "fixed:": "threshold fixed at {}",
    "ece:fixed": "{} bins of equal width over the probability of the positive class",
    "ece:top": "{} bins of equal width over the highest probability",
}


def convention_words(convention: str) -> str:
    """Return what a convention means; empty text for one that is not known here.

    Examples
    --------
    >>> convention_words("fixed:0.5")
    'threshold fixed at 0.5'
    """
    for start, words in _NUMBERED_CONVENTIONS.items():
        if convention.startswith(start):
            return words.format(convention.removeprefix(start))
    return _CONVENTIONS.get(convention, "")


GLOSSARY = (
    ("Subject", "The person (or lesion, eye, ...) behind the samples. Intervals and tests count these."),
    ("Group", "Subjects that share a value of an attribute. An intersection (sex*age) combines several."),
    ("Unknown", "Subjects whose attribute was not recorded: a row of their own, no part in gaps."),
    ("Too small, absent", "Groups with too few subjects, or none: listed with the reason, never a number."),
    ("Interval", "The range of values that fit the data, were other subjects of the same kind sampled."),
    ("Raw gap", "Distance between the best and the worst group. Chance alone makes it larger than zero."),
    ("Chance gap", "The gap one would see on average in this test set if groups did not differ at all."),
    ("Adjusted gap", "The raw gap with the part that chance explains taken off."),
    ("p", "How often chance alone would give a gap this large, corrected for how many were tested."),
    ("Detectable gap", "The smallest true gap this test set would probably have found; smaller may exist."),
    ("Usage", "How a model was used: zero-shot from texts, a linear probe, prompted segmentation, ..."),
)  # fmt: skip
