"""The answer in words, for the first screen: which arm is best, whom it fails, and how certain both are.

Each sentence stands alone. What was found leads; the numbers it rests on follow in smaller text, as
:mod:`evaluator.statistics.findings` says them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from evaluator.report.claims import FINDINGS, Claim, claims_of
from evaluator.report.content import StudyContent
from evaluator.report.grid import NAMELESS, arm_name, records, why
from evaluator.report.standing import TIED, WITHIN, WORSE
from evaluator.report.tables import ARM, Measure, Question, Ranked, Tally, gap_table, rank_all, tidy
from evaluator.report.words import is_undefined, listing, metric_words, number, plain, plural

Certainty = Literal["clear", "tied", "untested", "single", "none"]


@dataclass(frozen=True)
class Answer:
    """What one question's rows say.

    Attributes
    ----------
    question, measure
        What was asked, and by what it is ranked.
    leader
        Name of the best arm; empty when no arm has a value.
    value
        Its value with interval, in few digits; empty without a leader.
    headline
        Who is best, how good, on how many subjects; or why there is no answer.
    verdict
        Whom it fails, in one sentence.
    certainty
        Of being best: ``clear`` (all others are reliably worse), ``tied``, ``untested``, ``single`` (nothing to
        compare with) or ``none``.
    standing
        The same in a few words.
    details
        Numbers behind the headline: seeds, interval, counts.
    caveats
        What to keep in mind, one sentence each.
    claims
        Findings about the leader, gaps that were found first.
    tallies
        Findings about all arms, per attribute.
    """

    question: Question
    measure: Measure
    leader: str
    value: str
    headline: str
    verdict: str
    certainty: Certainty
    standing: str
    details: str
    caveats: tuple[str, ...]
    claims: tuple[Claim, ...]
    tallies: tuple[Tally, ...]

    @property
    def badge(self) -> str:
        """How certain it is that the leader is best, in a word or two; empty with nothing to compare."""
        return {"clear": "clear lead", "tied": "tied", "untested": "not tested"}.get(self.certainty, "")

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


def answers(content: StudyContent) -> tuple[Answer, ...]:
    """Return the answer to each question of a study or audit, in the order of its tables."""
    ranked = rank_all(content.metrics, content.gaps, content.comparisons, alpha=content.alpha)
    findings = tidy(content.findings)
    return tuple(answer(question, findings, content) for question in ranked)


def answer(ranked: Ranked, findings: pd.DataFrame, content: StudyContent) -> Answer:
    """Say what a ranking and its findings mean.

    Parameters
    ----------
    ranked
        The question with its rankings.
    findings
        All findings of the study, tidy.
    content
        What one subject is called, and the level of intervals.
    """
    question, measure, table = ranked.part.question, ranked.primary, ranked.rankings[ranked.primary]
    at = ranked.part.at(measure)
    mine = _about(findings, question, measure)
    tallies = _tallies(mine, at.gaps)
    if table.empty or is_undefined(table["value"].iloc[0]):
        reason = why(records(table)[0]) if len(table) else "nothing was measured"
        label = metric_words(measure.metric).label
        headline = (
            f"No combination of model and usage gave a defined {label}: {reason}."
            if len(table) > 1
            else f"{label} is not defined: {reason}."
        )
        return Answer(question, measure, "", "", headline, "", "none", "", "", (), (), tallies)
    row = records(table)[0]
    subject = content.subject_of(question.dataset)
    claims = claims_of(_of_arm(mine, row), at.of_arm(tuple(str(row[name]) for name in ARM)), subject)
    certainty, standing = _certainty(table)
    name, value = arm_name(row), _value(row, measure)
    many = plural(int(row["n_subjects"]), subject)
    headline = f"{name} serves best: {value}, {many}."
    if certainty == "single":
        headline = f"Overall {value}, {many}." if name == NAMELESS else f"{name}: overall {value}, {many}."
    return Answer(
        question, measure, name, value, headline, _verdict(claims), certainty, standing,
        _details(row, measure, 1 - content.alpha), _caveats(table, row), claims, tallies,
    )  # fmt: skip


def _value(row: Mapping[str, Any], measure: Measure) -> str:
    words = metric_words(measure.metric)
    value = f"{words.label} {plain(row['value'], words.decimals)}"
    if is_undefined(row["ci_low"]) or is_undefined(row["ci_high"]):
        return value
    return f"{value} ({plain(row['ci_low'], words.decimals)} to {plain(row['ci_high'], words.decimals)})"


def _details(row: Mapping[str, Any], measure: Measure, level: float) -> str:
    words = metric_words(measure.metric)
    parts = [f"{words.label} {number(row['value'], words.decimals)}"]
    if row["seeds"] > 1:
        low, high = (number(row[name], words.decimals) for name in ("seed_low", "seed_high"))
        parts.append(f"mean of {row['seeds']} seeds, {low} to {high}")
    if not is_undefined(row["ci_low"]) and not is_undefined(row["ci_high"]):
        low, high = (number(row[name], words.decimals) for name in ("ci_low", "ci_high"))
        parts.append(f"{100 * level:g} % interval {low} to {high}")
    parts.append(plural(int(row["n"]), "sample"))
    return "; ".join(parts) + "."


def _certainty(table: pd.DataFrame) -> tuple[Certainty, str]:
    """Say how sure it is that the leader is best."""
    others = table["standing"].iloc[1:]
    rivals = int((others != "").sum())
    if not rivals:
        return "single", "only one was measured"
    tied, worse, within = (int((others == kind).sum()) for kind in (TIED, WORSE, WITHIN))
    if worse == rivals:
        return (
            "clear",
            "reliably better than the other" if rivals == 1 else f"reliably better than all {rivals} others",
        )
    if tied:
        return (
            "tied",
            "cannot be told from the other"
            if rivals == 1
            else f"cannot be told from {tied} of {rivals} others",
        )
    if worse:
        return "untested", f"reliably better than {worse} of {rivals} others; the rest not tested"
    near = (
        f"{within} of {rivals} others within its interval"
        if within
        else "the others lie outside its interval"
    )
    return "untested", f"{near}; not tested"


def _caveats(table: pd.DataFrame, leader: Mapping[str, Any]) -> tuple[str, ...]:
    told = []
    tied, near = (
        [arm_name(row) for row in records(table[table["standing"] == kind])] for kind in (TIED, WITHIN)
    )
    if tied:
        told.append(f"May be as good, no reliable difference was found: {listing(tied, 3)}.")
    if near:
        told.append(
            f"Within the leader's interval, so perhaps as good: {listing(near, 3)}. "
            "This is a reading aid, not a test of difference."
        )
    if leader["n_failed"] > 0:
        told.append(
            f"{plural(int(leader['n_failed']), 'sample')} could not be used: not part of this number."
        )
    return tuple(told)


def _verdict(claims: Sequence[Claim]) -> str:
    """Say in one sentence whom the leader fails; intersections speak only where no single attribute was compared."""
    single = [claim for claim in claims if "*" not in claim.attribute] or list(claims)
    by_kind = {kind: [claim for claim in single if claim.finding == kind] for kind in FINDINGS}
    found, none, unclear = by_kind["gap found"], by_kind["no reliable gap"], by_kind["cannot judge"]
    if not single:
        return "No attribute was compared for it, so nobody can say whom it fails."
    if len(found) == 1 and found[0].worst and found[0].numbers:
        only = found[0]
        return f"It fails {only.worst} ({only.attribute}): {only.numbers} for {only.best}."
    if any(claim.worst for claim in found):
        named = [f"{claim.worst} ({claim.attribute})" if claim.worst else claim.attribute for claim in found]
        return f"It fails {listing(named)}."
    if found:
        return f"Groups differ by {listing([claim.attribute for claim in found])}; neither high nor low is better."
    unjudged = f"{listing([claim.attribute for claim in unclear])} cannot be judged" if unclear else ""
    if not none:
        return f"Whom it fails is open: {unjudged}."
    clear = f"No reliable difference was found by {listing([claim.attribute for claim in none])}"
    return f"{clear}; {unjudged}." if unclear else f"{clear}."


def _about(findings: pd.DataFrame, question: Question, measure: Measure) -> pd.DataFrame:
    """Return the findings about a question and measure; keys that the table lacks are not compared."""
    wanted = {**question._asdict(), **measure._asdict()}
    for name, value in wanted.items():
        if name in findings.columns:
            findings = findings[findings[name] == value]
    return findings


def _of_arm(findings: pd.DataFrame, arm: Mapping[str, Any]) -> pd.DataFrame:
    for name in ARM:
        if name in findings.columns:
            findings = findings[findings[name] == arm[name]]
    return findings


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
