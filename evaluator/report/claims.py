"""One claim per attribute about one arm, said plainly: worse for whom, or how much could have been seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from evaluator.report.grid import records, why
from evaluator.report.tables import UNKNOWN, Measured, gap_table
from evaluator.report.words import MetricWords, is_undefined, metric_words, plain, plural

Finding = Literal["gap found", "no reliable gap", "cannot judge"]
FINDINGS: tuple[Finding, ...] = ("gap found", "no reliable gap", "cannot judge")


@dataclass(frozen=True)
class Claim:
    """One finding about one attribute.

    Attributes
    ----------
    finding
        One of :data:`FINDINGS`.
    attribute
        What was compared.
    worst, best
        The groups that fare worst and best, where a gap was found; else empty.
    headline
        The finding in one plain sentence.
    details
        The numbers it rests on; empty where the headline has them all.
    numbers
        What fits below a badge: both values, or how small a difference could have been seen; may be empty.
    """

    finding: str
    attribute: str
    worst: str
    best: str
    headline: str
    details: str
    numbers: str


def claims_of(findings: pd.DataFrame, arm: Measured, subject: str) -> tuple[Claim, ...]:
    """Return one claim per attribute about an arm, gaps that were found first.

    Seeds are not chosen from: what most of them say is claimed, and counted.

    Parameters
    ----------
    findings
        Tidy findings about the arm by one measure, one per attribute and seed.
    arm
        Its rows by that measure.
    subject
        What one subject is called.
    """
    claims = [
        _claim(str(attribute), rows, arm, subject)
        for attribute, rows in findings.groupby("attribute", sort=False)
    ]
    return tuple(sorted(claims, key=lambda claim: _place(claim.finding)))


def _claim(attribute: str, findings: pd.DataFrame, arm: Measured, subject: str) -> Claim:
    counts = Counter(findings["finding"])
    most = str(max(counts, key=lambda kind: counts[kind]))
    told = records(findings[findings["finding"] == most])[0]
    # The attribute stands before the sentence already.
    sentence = str(told["sentence"]).removeprefix(f"{told['metric']} by {attribute}: ")
    counted = f"({counts[most]} of {len(findings)} seeds say so.)" if len(findings) > 1 else ""
    gap = _gap_behind(arm, attribute, told)
    worst, best = (
        str(gap[name]) if gap and most == "gap found" and gap[name] else ""
        for name in ("worst_group", "best_group")
    )
    headline = _headline(most, told, gap, arm, subject)
    # A finding without a plain form speaks for itself; one that says no more than its plain form is not repeated.
    unjudged = "cannot be judged" in sentence
    alone = sentence if most != "cannot judge" or unjudged else f"Cannot be judged: {sentence}"
    behind = _sentence_case(sentence, gap) if headline and not unjudged else ""
    return Claim(
        most,
        attribute,
        worst,
        best,
        headline or alone,
        " ".join(text for text in (behind, counted) if text),
        _numbers(most, told, gap, arm) if headline else "",
    )


def _sentence_case(sentence: str, gap: dict[str, Any] | None) -> str:
    """Begin with a capital, unless it is the name of a group: those keep their spelling."""
    named = gap is not None and gap["best_group"] and sentence.startswith(gap["best_group"])
    return sentence if named else sentence[:1].upper() + sentence[1:]


def _numbers(finding: str, told: dict[str, Any], gap: dict[str, Any] | None, arm: Measured) -> str:
    words = metric_words(str(told["metric"]))
    if gap is None or is_undefined(gap["raw"]):
        return ""
    if finding == "gap found":
        return _both_values(gap, arm, words)
    if is_undefined(told.get("detectable")):
        return ""
    size = plain(told["detectable"], words.decimals)
    return f"could have seen {size}" if finding == "no reliable gap" else f"could see only {size} or more"


def _gap_behind(arm: Measured, attribute: str, told: dict[str, Any]) -> dict[str, Any] | None:
    """Find the gap that a finding is about, of the same seed where both say one."""
    gaps = gap_table(arm.gaps)
    gaps = gaps[gaps["attribute"] == attribute]
    if not is_undefined(told.get("seed")):
        gaps = gaps[gaps["seed"] == told["seed"]]
    return records(gaps.head(1))[0] if len(gaps) else None


def _headline(
    finding: str, told: dict[str, Any], gap: dict[str, Any] | None, arm: Measured, subject: str
) -> str:
    """Return the plain sentence; empty where the tables do not hold what it needs."""
    if gap is None:
        return ""
    words = metric_words(str(told["metric"]))
    if finding == "gap found":
        return _worse_for(gap, arm, words)
    if gap["status"] != "ok" or is_undefined(gap["raw"]):
        return f"Cannot be judged: {why(gap) or 'not tested'}."
    detectable = told.get("detectable")
    if is_undefined(detectable):
        return ""
    size = plain(detectable, words.decimals)
    if finding == "no reliable gap":
        between = _between(gap, arm)
        return (
            f"No reliable difference between {between} was found; "
            f"this test set could have seen a difference of {size}."
        )
    many = plural(2, subject).removeprefix("2 ")
    if words.bounds[1] is not None and float(str(detectable)) >= words.bounds[1]:
        return f"Cannot be judged: with so few {many} no difference could have been seen."
    return f"Cannot be judged: with so few {many} only a difference of {size} or more could have been seen."


def _worse_for(gap: dict[str, Any], arm: Measured, words: MetricWords) -> str:
    worst, best = gap["worst_group"], gap["best_group"]
    if not worst or not best:
        return f"Groups differ by {plain(gap['raw'], words.decimals)}; {why(gap)}." if why(gap) else ""
    numbers = _both_values(gap, arm, words)
    if not numbers:
        return f"Worse for {worst} than for {best}, by {plain(gap['raw'], words.decimals)}."
    many = len(_judged(arm, gap["attribute"])) > 2
    return (
        f"Worst for {worst}, best for {best}: {numbers}."
        if many
        else f"Worse for {worst} than for {best}: {numbers}."
    )


def _both_values(gap: dict[str, Any], arm: Measured, words: MetricWords) -> str:
    """Return the values of the worst and the best group; empty where one is undefined."""
    low, high = (_group_value(arm, gap["attribute"], gap[name]) for name in ("worst_group", "best_group"))
    if is_undefined(low) or is_undefined(high):
        return ""
    return f"{words.label} {plain(low, words.decimals)} against {plain(high, words.decimals)}"


def _between(gap: dict[str, Any], arm: Measured) -> str:
    groups = _judged(arm, gap["attribute"])
    return " and ".join(groups) if len(groups) == 2 else f"the {len(groups)} groups" if groups else "groups"


def _judged(arm: Measured, attribute: str) -> list[str]:
    """Return the groups that take part in the gap of an attribute."""
    rows = arm.metrics[(arm.metrics["attribute"] == attribute) & (arm.metrics["status"] == "ok")]
    names = dict.fromkeys(str(group) for group in rows.loc[rows["value"].notna(), "group"])
    return [name for name in names if name != UNKNOWN]


def _group_value(arm: Measured, attribute: str, group: str) -> float:
    rows = arm.metrics[(arm.metrics["attribute"] == attribute) & (arm.metrics["group"] == group)]
    return float(rows["value"].astype(float).mean())


def _place(finding: str) -> int:
    return next((place for place, known in enumerate(FINDINGS) if known == finding), len(FINDINGS))
