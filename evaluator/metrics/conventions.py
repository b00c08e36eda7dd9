"""Names of formulas that a study may ask for beside the defaults, and the peers whose tables use them.

A token belongs to one family:

=============== ====================================================================================================
``threshold``   a rule of :mod:`evaluator.metrics.thresholds`; adds the metrics of decisions under it
``calibration`` ``ece:fixedK``, ``ece:massK`` (K bins), ``ece:range10``, ``ce2:debiased``, ``calibration:line``
``disparity``   a kind of :mod:`evaluator.metrics.disparity`; adds rows of that kind to the gaps
``metric``      a metric that is not in the default set
``empty``       what an empty mask means
=============== ====================================================================================================

A preset (:data:`PRESETS`) stands for all tokens that one peer's tables need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from evaluator.metrics.disparity import disparity, kinds
from evaluator.metrics.thresholds import RULE_FORMS, chooses_on_measured_rows, describe_rule, is_rule
from shards.errors import unknown_name

Family = Literal["threshold", "calibration", "disparity", "metric", "empty"]

#: Tokens that a peer's published tables need, by the peer's name.
PRESETS: dict[str, tuple[str, ...]] = {
    "fairmedfm": (
        "test:f1:legacy",
        "fixed:0.5",
        "ece:range10",
        "bce:clamp100",
        "max-min",
        "worst",
        "std",
        "ser",
        "es:popstd",
        "eqopp:tpr_gap",
        "eqodds:one_minus_mean",
    ),
    "fairseg": ("empty:fairseg", "max-min", "es:sum", "es:std"),
    "fairclip": (
        "fixed:0.5",
        "max-min",
        "worst",
        "dp:diff",
        "eqodds:max",
        "es:sum",
        "psd:std",
        "psd:max",
        "psd:std_half",
        "psd:max_half",
    ),
    "medfair": (
        "test:f1:legacy",
        "fixed:0.5",
        "test:tnr=0.8:medfair",
        "test:tpr=0.8:medfair",
        "ece:range10",
        "bce:clamp100",
        "fpr",
        "fnr",
        "tpr_at_tnr80",
        "diagnosis:rates",
        "max-min",
        "worst",
        "dp:one_minus",
        "eqopp:one_minus",
        "eqopp0:one_minus",
        "eqodds:medfair",
    ),
    "fairlearn": (
        "fixed:0.5",
        "fpr",
        "fnr",
        "max-min",
        "ratio",
        "dp:diff",
        "dp:ratio",
        "eqopp:tpr_gap",
        "eqopp:ratio",
        "eqodds:max",
        "eqodds:mean",
        "eqodds:ratio",
    ),
}

_CALIBRATION = {
    "ece:range10": (
        "Calibration error over ten bins of the range of the scores at hand (FairMedFM, MEDFAIR); every group has other bins,"
        " so groups cannot be compared by it."
    ),
    "ce2:debiased": (
        "Squared calibration error in bins of equal numbers of samples less what chance adds to it (Bröcker 2012); around 0,"
        " also below, when calibrated."
    ),
    "calibration:line": (
        "Calibration in the large (mean probability - share positive) and calibration slope of each group (Cox 1958)."
    ),
}
_METRICS = {
    "fpr": "False positive rate: share of negative samples decided positive.",
    "fnr": "Miss rate: share of positive samples decided negative.",
    "auprc:adjusted": (
        "Average precision freed of prevalence, 1 - ln(AUPRC) / ln(prevalence) (Sourget et al. 2025); 0 is guessing, 1 perfect."
    ),
    "auprg": "Area under the precision-recall-gain curve (Flach and Kull 2015); comparable between groups of other prevalence.",
    "bce:clamp100": "Log loss with logarithms no lower than -100 (torch; FairMedFM, MEDFAIR).",
    "diagnosis:rates": (
        "Underdiagnosis: miss rate of a disease, false positive rate of 'no finding' (Seyyed-Kalantari et al. 2021, MEDFAIR)."
    ),
    "ge:2": "Generalised entropy (alpha 2) of the benefits 1 + decision - truth (Speicher et al. 2018); 0 is fair.",
    "var_f1": "Variance of F1 over the diseases, divided by their number (Sun et al. 2025).",
    "tpr_at_tnr80": (
        "Sensitivity where each group's own ROC curve has specificity 0.8 (MEDFAIR); chosen on the measured rows, so"
        " optimistic."
    ),
}
_EMPTY = {
    "empty:exclude": "Images without the structure are left out; a missed structure scores 0.",
    "empty:fairseg": (
        "FairSeg's code: any mask where there is nothing scores 1, nothing where there is nothing scores 0, a total miss has"
        " distance 0; it rewards false alarms, for comparison with published numbers only."
    ),
}
_FAMILIES: tuple[tuple[Family, tuple[str, ...]], ...] = (
    ("calibration", tuple(_CALIBRATION)),
    ("disparity", kinds()),
    ("metric", tuple(_METRICS)),
    ("empty", tuple(_EMPTY)),
)
_BINNED = re.compile(r"ece:(fixed|mass)([1-9][0-9]{0,3})")
_LEGACY = {"ece:range10", "tpr_at_tnr80", "empty:fairseg"}


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Replace presets by their tokens.

    Parameters
    ----------
    names
        Presets and tokens, as users write them.

    Returns
    -------
    tuple of str
        Tokens, each once, in the order in which they were first named.

    Raises
    ------
    UserError
        If a name is neither; names the nearest.

    Examples
    --------
    >>> expand(["fairseg", "es:sum", "val:f1"])
    ('empty:fairseg', 'max-min', 'es:sum', 'es:std', 'val:f1')
    """
    tokens = [token for name in names for token in PRESETS.get(name, (name,))]
    for token in tokens:
        family_of(token)
    return tuple(dict.fromkeys(tokens))


def family_of(token: str) -> Family:
    """Return the family of a token.

    Raises
    ------
    UserError
        If there is no such token; names the nearest.
    """
    if is_rule(token):
        return "threshold"
    if ece_bins(token) is not None:
        return "calibration"
    for family, names in _FAMILIES:
        if token in names:
            return family
    raise unknown_name(
        "convention",
        token,
        known_names(),
        hint="K is a number of bins, X a fraction; a preset stands for the tables of one peer.",
    )


def known_names() -> tuple[str, ...]:
    """List every preset and token; ``K``, ``X``, ``FP`` and ``FN`` stand for numbers."""
    named = (name for _, names in _FAMILIES for name in names)
    return (*PRESETS, "ece:fixedK", "ece:massK", *RULE_FORMS, *named)


def ece_bins(token: str) -> tuple[str, int] | None:
    """Return how (``"fixed"`` or ``"mass"``) and into how many bins a calibration token divides; None for others.

    Examples
    --------
    >>> ece_bins("ece:mass10")
    ('mass', 10)
    """
    match = _BINNED.fullmatch(token)
    return (match[1], int(match[2])) if match else None


def is_legacy(token: str) -> bool:
    """Say whether a token exists only to compare with published numbers: optimistic, or known to mislead."""
    family_of(token)
    return token in _LEGACY or chooses_on_measured_rows(token)


def words(token: str) -> str:
    """Say in one sentence what a token means and where it is from.

    Raises
    ------
    UserError
        If there is no such token.
    """
    family = family_of(token)
    if family == "threshold":
        return describe_rule(token)
    if family == "disparity":
        return disparity(token).meaning
    binned = ece_bins(token)
    if binned is not None:
        how = "of equal width on [0, 1], the same for every group"
        if binned[0] == "mass":
            how = "that hold equally many of all samples, the same for every group"
        return f"Expected calibration error with {binned[1]} bins {how}; too high in small groups."
    return {**_CALIBRATION, **_METRICS, **_EMPTY}[token]
