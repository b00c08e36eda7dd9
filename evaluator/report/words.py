"""How the report says things: names and meanings of metrics, the form of numbers, the glossary.

An undefined number is always :data:`UNDEFINED`, never 0.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shards.errors import UserError

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
    "auprg": MetricWords(
        "AUPRG", "Area under the precision-recall-gain curve; does not move with the share of positives."
    ),
    "fpr": MetricWords("False positive rate", "Share of negative samples that are called positive.", "lower"),
    "fnr": MetricWords("Miss rate", "Share of positive samples that are missed.", "lower"),
    "selection_rate": MetricWords(
        "Selection rate", "Share of samples that are called positive; neither high nor low is good by itself."
    ),
    "tpr_at_tnr80": MetricWords(
        "Sensitivity at specificity 0.8", "Share of positive samples found where specificity is 0.8."
    ),
    "ce2": MetricWords(
        "Squared calibration error",
        "Squared distance between probability and how often it came true, freed of chance; can be below 0.",
        "lower",
        4,
        (None, None),
    ),
    "calibration_intercept": MetricWords(
        "Calibration in the large",
        "Mean probability minus share of positives; 0 is right.",
        bounds=(None, None),
    ),
    "calibration_slope": MetricWords(
        "Calibration slope",
        "1 is right; below 1, probabilities are too extreme.",
        bounds=(None, None),
    ),
    "generalised_entropy": MetricWords(
        "Generalised entropy",
        "Inequality of benefits between individuals; 0 is none.",
        "lower",
        bounds=(0.0, None),
    ),
    "mean_benefit": MetricWords("Mean benefit", "Mean of 1 + decision − truth.", bounds=(0.0, 2.0)),
    "f1_variance": MetricWords(
        "Variance of F1", "Variance of F1 over the classes.", "lower", bounds=(0.0, None)
    ),
    "dice_size_slope": MetricWords(
        "Slope of Dice on size",
        "How much Dice rises with the logarithm of the structure's size.",
        bounds=(None, None),
    ),
    "assd_mm": MetricWords(
        "Mean surface distance (mm)", "Mean distance between the two outlines.", "lower", 2, (0.0, None)
    ),
    "assd_px": MetricWords(
        "Mean surface distance (pixels)", "Mean distance between the two outlines.", "lower", 2, (0.0, None)
    ),
    "volume_error": MetricWords(
        "Volume error", "Relative distance between predicted and true volume.", "lower", bounds=(0.0, None)
    ),
    "volume_bias": MetricWords(
        "Volume bias", "Predicted minus true volume, relative; 0 is right.", bounds=(None, None)
    ),
    "cdr_distance": MetricWords(
        "Cup-to-disc error",
        "Distance between predicted and true cup-to-disc ratio of areas.",
        "lower",
        bounds=(0.0, None),
    ),
    "underdiagnosis": MetricWords("Underdiagnosis", "Share of the sick who are called healthy.", "lower"),
    "overdiagnosis": MetricWords("Overdiagnosis", "Share of the healthy who are called sick.", "lower"),
    "nsd": MetricWords(
        "Surface Dice", "Share of the outline that lies within the tolerance of the true one."
    ),
}
_FIRST_CHOICES = ("auc", "auc_macro", "auc_ovr", "dice", "balanced_accuracy", "accuracy")


def metric_words(metric: str) -> MetricWords:
    """Return how a metric is called and read; a metric that is not known here keeps its name."""
    from evaluator.metrics.directions import better

    known = _METRICS.get(metric)
    if known is not None:
        return known
    direction: Better = "lower" if better(metric) == "lower" else "higher"
    return MetricWords(readable(metric), "", direction, bounds=(None, None))


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


def plain(value: Any, decimals: int = 3) -> str:
    """Return a number in one digit less than :func:`number`, for sentences; small ones keep their digits.

    Examples
    --------
    >>> plain(0.8134), plain(0.0042), plain(0.004), plain(12.34, 2)
    ('0.81', '0.004', '0.004', '12.3')
    """
    short = number(value, decimals - 1)
    vanished = (
        not is_undefined(value) and float(value) != 0 and abs(float(value)) < 0.95 * 10.0 ** (1 - decimals)
    )
    return number(value, decimals) if vanished else short


def listing(names: Sequence[str], most: int | None = None) -> str:
    """Return names as they are listed in a sentence; those beyond `most` are counted.

    Examples
    --------
    >>> listing(["a", "b", "c"]), listing(["a", "b", "c", "d"], 2)
    ('a, b and c', 'a, b and 2 more')
    """
    shown = (
        list(names) if most is None or len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    )
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


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
    >>> readable("linear_probe"), readable("zero_shot"), readable("group_dro:eta=0.1")
    ('linear probe', 'zero-shot', 'GroupDRO (eta=0.1)')
    """
    method, _, numbers = name.partition(":")
    if numbers and method in _SPELLINGS:
        return f"{_SPELLINGS[method]} ({numbers.replace(':', ', ')})"
    return _SPELLINGS.get(name) or name.replace("_", " ")


def readable_arm(name: str) -> str:
    """Return an arm's name, parts joined by a middle dot, as words; training without mitigation is not named.

    Examples
    --------
    >>> readable_arm("tiny-clip · linear_probe · erm")
    'tiny-clip · linear probe'
    """
    return " · ".join(readable(part) for part in name.split(" · ") if part != "erm")


_SPELLINGS = {
    "zero_shot": "zero-shot",
    "lora": "LoRA",
    "mlp_probe": "MLP probe",
    "clip_adapter": "CLIP-Adapter",
    "tip_adapter": "Tip-Adapter",
    "tip_adapter_f": "Tip-Adapter-F",
    "segment": "prompted segmentation",
    "finetune": "full fine-tuning",
    "resampling": "resampling",
    "group_dro": "GroupDRO",
    "domain_ind": "domain-independent",
    "laftr": "LAFTR",
    "cfair": "CFair",
    "lnl": "LNL",
    "end": "EnD",
    "odr": "ODR",
    "swad": "SWAD",
    "sam": "SAM",
    "fin": "FIN",
    "fis": "FIS",
    "fairclip": "FairCLIP",
    "febs": "FEBS",
}


_CONVENTIONS = {
    "auc:midrank": "ties count half",
    "auc:macro_ovr": "mean over the classes of each one against the rest; ties count half",
    "auc:macro_labels": "mean over the findings of each one's AUC",
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
    base, bar, rest = convention.partition("|")
    if bar:
        return "; ".join(text for text in (convention_words(base), _derived(rest)) if text)
    for start, words in _NUMBERED_CONVENTIONS.items():
        if convention.startswith(start):
            return words.format(convention.removeprefix(start))
    return _CONVENTIONS.get(convention) or _asked_for(convention)


def _derived(suffix: str) -> str:
    """Return what a suffix of a convention says: groups made alike, or another rule for empty masks."""
    if suffix == "size-adjusted":
        return "after the size of the structure is taken out"
    return _asked_for(suffix) or f"groups made alike ({suffix})"


def _asked_for(convention: str) -> str:
    from evaluator.metrics.conventions import words

    try:
        return words(convention).removesuffix(".")
    except UserError:  # not one that a study can ask for
        return ""
