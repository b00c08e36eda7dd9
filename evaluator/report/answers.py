"""The answer in words, for the first screen: which arm is best, and whom it fails, how certainly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from evaluator.report.grid import arm_name, records, why
from evaluator.report.tables import ARM, Measure, Question, Tally, gap_table
from evaluator.report.words import is_undefined, metric_words, number, plural

Finding = Literal["gap found", "no reliable gap", "cannot judge"]
FINDINGS: tuple[Finding, ...] = ("gap found", "no reliable gap", "cannot judge")


@dataclass(frozen=True)
class Claim:
    """One finding about one attribute."""

    finding: str
    attribute: str
    sentence: str


@dataclass(frozen=True)
class Answer:
    """What one question's rows say.

    Attributes
    ----------
    question
        What was asked.
    leader
        Name of the best arm; empty when no arm has a value.
    sentence
        Its value with interval and counts, or why there is none.
    caveats
        What to keep in mind, one sentence each.
    claims
        Findings about the leader, gaps that were found first.
    tallies
        Findings about all arms, per attribute.
    """

    question: Question
    leader: str
    sentence: str
    caveats: tuple[str, ...]
    claims: tuple[Claim, ...]
    tallies: tuple[Tally, ...]

    @property
    def overview(self) -> str:
        """Findings over all arms and seeds in one sentence; empty where there is but one or none."""
        most = max((tally.total for tally in self.tallies), default=0)
        if most < 2:
            return ""
        parts = [
            f"by {tally.attribute} in {tally.found} of {tally.total}"
            + (f", worst: {tally.worst}" if tally.worst else "")
            for tally in self.tallies
            if tally.found
        ]
        told = "; ".join(parts) if parts else "in none"
        return f"Over all {most} combinations, a gap was found {told}."


def answer(
    question: Question,
    table: pd.DataFrame,
    measure: Measure,
    *,
    gaps: pd.DataFrame,
    findings: pd.DataFrame,
    subject: str,
    level: float,
) -> Answer:
    """Say what a ranking and its findings mean.

    Parameters
    ----------
    question, measure
        What was asked, and by what it is ranked.
    table
        The ranking (see :func:`evaluator.report.tables.ranking`).
    gaps
        Gaps of this question and measure; they name the group that fares worst.
    findings
        All findings of the study, with empty text for null keys.
    subject
        What one subject is, e.g. ``"patient"``.
    level
        Level of the intervals in (0, 1).
    """
    mine = _about(findings, question, measure)
    tallies = _tallies(mine, gaps)
    if table.empty or is_undefined(table["value"].iloc[0]):
        reason = why(records(table)[0]) if len(table) else "nothing was measured"
        label = metric_words(measure.metric).label
        sentence = f"No combination of model and usage gave a defined {label}: {reason}."
        return Answer(question, "", sentence, (), (), tallies)
    row = records(table)[0]
    claims = _claims(mine, row)
    return Answer(
        question, arm_name(row), _value(row, measure, subject, level), _caveats(table, row), claims, tallies
    )


def _value(row: Mapping[str, Any], measure: Measure, subject: str, level: float) -> str:
    words = metric_words(measure.metric)
    value = f"{words.label} {number(row['value'], words.decimals)}"
    details = []
    if row["seeds"] > 1:
        low, high = (number(row[name], words.decimals) for name in ("seed_low", "seed_high"))
        details.append(f"mean of {row['seeds']} seeds, {low} to {high}")
    if not is_undefined(row["ci_low"]) and not is_undefined(row["ci_high"]):
        low, high = (number(row[name], words.decimals) for name in ("ci_low", "ci_high"))
        details.append(f"{100 * level:g} % interval {low} to {high}")
    details.append(f"{plural(int(row['n']), 'sample')} of {plural(int(row['n_subjects']), subject)}")
    return f"{value} ({'; '.join(details)})."


def _caveats(table: pd.DataFrame, leader: Mapping[str, Any]) -> tuple[str, ...]:
    told = []
    near = [arm_name(row) for row in records(table[table["within_leader"]])]
    if near:
        names = ", ".join(near[:3]) + (f" and {len(near) - 3} more" if len(near) > 3 else "")
        verb = "lies" if len(near) == 1 else "lie"
        told.append(
            f"{names} {verb} within the leader's interval and may be as good. "
            "This is a reading aid, not a test of difference."
        )
    if len(table) == 1:
        told.append("It is the only combination that was measured, so there is nothing to compare it with.")
    if leader["n_failed"] > 0:
        told.append(
            f"{plural(int(leader['n_failed']), 'sample')} could not be used: not part of this number."
        )
    return tuple(told)


def _about(findings: pd.DataFrame, question: Question, measure: Measure) -> pd.DataFrame:
    """Return the findings about a question and measure; keys that the table lacks are not compared."""
    wanted = {**question._asdict(), **measure._asdict()}
    for name, value in wanted.items():
        if name in findings.columns:
            findings = findings[findings[name] == value]
    return findings


def _claims(findings: pd.DataFrame, leader: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return one claim per attribute about the leader; seeds that differ are counted, not chosen from."""
    for name in ARM:
        if name in findings.columns:
            findings = findings[findings[name] == leader[name]]
    claims = []
    for attribute, rows in findings.groupby("attribute", sort=False):
        counts = Counter(rows["finding"])
        most = max(counts, key=lambda kind: counts[kind])
        sentence = str(rows.loc[rows["finding"] == most, "sentence"].iloc[0])
        # The attribute stands before the sentence already.
        sentence = sentence.removeprefix(f"{rows['metric'].iloc[0]} by {attribute}: ")
        if len(rows) > 1:
            sentence += f" ({counts[most]} of {len(rows)} seeds say so.)"
        claims.append(Claim(str(most), str(attribute), sentence))
    return tuple(sorted(claims, key=lambda claim: _place(claim.finding)))


def _tallies(findings: pd.DataFrame, gaps: pd.DataFrame) -> tuple[Tally, ...]:
    keys = [name for name in (*ARM, "seed", "attribute") if name in findings.columns]
    named = gap_table(gaps).drop_duplicates(keys)[[*keys, "worst_group"]]
    joined = (
        findings.drop_duplicates(keys)
        .drop(columns="worst_group", errors="ignore")
        .merge(named, on=keys, how="left")
    )
    tallies = []
    for attribute, rows in joined.groupby("attribute", sort=False):
        counts = Counter(rows["finding"])
        worst = Counter(rows.loc[rows["finding"] == "gap found", "worst_group"].dropna()).most_common(1)
        named_worst = f"{worst[0][0]} ({worst[0][1]} of {counts['gap found']})" if worst else ""
        found, none, unclear = (counts[kind] for kind in FINDINGS)
        tallies.append(Tally(str(attribute), found, none, unclear, named_worst))
    return tuple(tallies)


def _place(finding: str) -> int:
    return FINDINGS.index(finding) if finding in FINDINGS else len(FINDINGS)
