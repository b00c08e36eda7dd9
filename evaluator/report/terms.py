"""What the report's terms mean: kinds of gaps, methods of intervals, the glossary."""

from __future__ import annotations

from typing import Any

_INTERVALS = {
    "percentile": "percentile bootstrap",
    "percentile-expanded": "percentile bootstrap, expanded",
    "percentile-centred": "percentile bootstrap, centred",
    "bca": "BCa bootstrap",
    "basic": "basic bootstrap",
    "t": "t over subjects",
    "wilson": "Wilson",
    "clopper-pearson": "Clopper-Pearson",
    "delong-logit": "DeLong, logit",
    "newcombe": "Newcombe",
    "recovered": "from both groups' intervals",
    "simultaneous": "simultaneous bootstrap",
}


def method_words(method: Any) -> str:
    """Return how a method of intervals is called; empty text for none."""
    return _INTERVALS.get(method, method) if isinstance(method, str) else ""


def kind_words(kind: str) -> str:
    """Return in a sentence what a kind of gap means; empty text for one that is not known.

    Examples
    --------
    >>> kind_words("dp:ratio")
    'Demographic parity: smallest over largest share decided positive (fairlearn); 1 is fair.'
    """
    from evaluator.metrics.disparity import disparity, kinds

    return disparity(kind).meaning if kind in kinds() else ""


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
    ("Shrunk value", "A group's value pulled toward the mean of its attribute, the more so the less certain it is."),
    ("Difference from the best", "On the same subjects for both, so that it can be told where intervals overlap."),
    ("Cannot be told from it", "The paired test found no difference from the best; there may be one."),
    ("Not beaten in both", "No other combination has both a better value and a smaller gap."),
    ("Combination", "A model with its usage, mitigation and prompt. Seeds are averaged, never chosen from."),
    ("Critical difference", "How far two mean ranks over datasets must lie apart to be told from each other."),
    ("Usage", "How a model was used: zero-shot from texts, a linear probe, prompted segmentation, ..."),
)  # fmt: skip
#: Terms of the glossary that only several models need.
OF_SEVERAL = frozenset({
    "Difference from the best", "Cannot be told from it", "Not beaten in both", "Combination", "Critical difference", "Usage",
})  # fmt: skip
