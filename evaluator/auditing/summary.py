"""The audit in plain words, for the terminal and for ``summary.md``: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evaluator.auditing.defaults import TUNED, is_tuned, of_default
from evaluator.auditing.limits import RESULT_KEYS
from evaluator.auditing.summary_rows import (
    result_name,
    tell_coverage,
    tell_detectable,
    tell_failures,
    tell_left_out,
    tell_limits,
    tell_roles,
)
from evaluator.auditing.wording import claim_words, metric_name
from evaluator.report.grid import records, why
from evaluator.report.words import clean, interval, is_undefined, metric_words, number, p_value, plural
from evaluator.statistics.multiplicity import PRIMARY, TESTED

if TYPE_CHECKING:
    import pandas as pd

    from evaluator.auditing.result import AuditResult

#: With more results than this each has one line; the tables hold the groups.
DETAILED = 4
#: More differences between models than this are left to the tables.
MOST_DIFFERENCES = 10
#: End of the convention of gaps whose groups were re-weighted.
STANDARDISED = "-standardised"
_HEADLINES = (*PRIMARY, "balanced_accuracy", "accuracy", "iou")
_DECIDED = ("accuracy", "balanced_accuracy", "sensitivity", "specificity")
_ALSO = (*_DECIDED, "ece", "iou", "hd95_mm")


class Result(NamedTuple):
    """The rows of one model's answers to one question.

    Attributes
    ----------
    name
        Model, target, structure, as far as there are any.
    metric, convention
        What it is judged by.
    metrics, claims
        Rows of the metrics and findings tables about that.
    gaps
        Tested gaps of that metric, re-weighted ones too.
    """

    name: str
    metric: str
    convention: str
    metrics: pd.DataFrame
    claims: pd.DataFrame
    gaps: pd.DataFrame

    @property
    def overall(self) -> pd.Series[Any]:
        """The row of all samples."""
        return self.metrics[self.metrics["attribute"] == "all"].iloc[0]

    def gap(self, attribute: str) -> Mapping[str, Any] | None:
        """Return the gap behind the claim about an attribute."""
        rows = self.gaps[(self.gaps["attribute"] == attribute) & (self.gaps["convention"] == self.convention)]
        return next(iter(records(rows)), None)


def results_of(metrics: pd.DataFrame, findings: pd.DataFrame, gaps: pd.DataFrame, rule: str) -> list[Result]:
    """Return the results of an audit in the order of its table, each by its headline metric.

    That is AUC or Dice; where they are not defined, the first of balanced accuracy, accuracy and IoU that is; always under its
    default convention (`rule` is that of decisions), whatever other formulas were asked for.
    """
    keys = RESULT_KEYS
    rows = metrics[metrics["metric"] != "threshold"]
    filled, claims, between = (
        t.assign(**{k: t[k].astype(object).where(t[k].notna(), "") for k in keys})
        for t in (rows, findings, gaps)
    )
    several = ("dataset",) if filled["dataset"].nunique() > 1 else ()
    told = (*several, "target", "structure", "prompt", "model", "usage", "mitigation", "seed")
    found = []
    for values, mine in filled.groupby(keys, sort=False):
        named = dict(zip(keys, values, strict=True))
        overall = mine[mine["attribute"] == "all"]
        metric, convention = _headline(overall, rule)
        chosen = mine[(mine["metric"] == metric) & (mine["convention"] == convention)]
        about = claims[(claims["metric"] == metric) & (claims["convention"] == convention)]
        apart = between[(between["metric"] == metric) & (between["kind"] == TESTED)]
        for key, value in named.items():
            about, apart = about[about[key] == value], apart[apart[key] == value]
        shown = [str(named[key]) for key in told if named[key] != ""]
        found.append(Result(", ".join(shown), metric, convention, chosen, about, apart))
    return found


def _headline(overall: pd.DataFrame, rule: str) -> tuple[str, str]:
    names = [name for name in _HEADLINES if (overall["metric"] == name).any()]
    for name in names or overall["metric"].head(1).tolist():
        row = of_default(overall[overall["metric"] == name], rule).iloc[0]
        if row["status"] == "ok":
            return name, str(row["convention"])
    first = of_default(overall[overall["metric"] == overall["metric"].iloc[0]], rule).iloc[0]
    return str(first["metric"]), str(first["convention"])


def write_summary(result: AuditResult) -> str:
    """Say what an audit found, in words and small tables of plain text: verdicts on limits first, then the answer."""
    alpha, rule = result.settings.alpha, result.settings.threshold
    results = results_of(result.groups, result.findings, result.gaps, rule)
    parts: list[tuple[str, Iterable[str]]] = [
        ("Limits", tell_limits(result.limits)),
        ("In short", _short(results, result)),
    ]
    if len(results) > DETAILED:
        parts.append(("Results", _lines(results, result)))
    else:
        parts += [
            (f"Result: {one.name}" if one.name else "Result", _detail(one, result.groups, alpha, rule))
            for one in results
        ]
    parts += [
        ("Models compared", _differences(results, result.comparisons, alpha)),
        ("Not measured", tell_failures(result.tables.failures)),
        ("How the table was read", tell_roles(result.roles)),
        ("What to know", (f"- {note}" for note in result.notes)),
    ]
    lines = [f"# Audit of {result.name}"]
    for title, body in parts:
        told = list(body)
        if told:
            lines += ["", f"## {title}", "", *told]
    return "\n".join(clean(line) for line in lines) + "\n"


def _short(results: Sequence[Result], audit: AuditResult) -> Iterator[str]:
    import pandas as pd

    yield from tell_coverage(audit.coverage, DETAILED)
    yield from tell_left_out(audit.left_out)
    names = [f"({r.name}) " if r.name and len(results) > 1 else "" for r in results]
    claims = pd.concat(
        [r.claims.assign(words=_sentences(r, name)) for r, name in zip(results, names, strict=True)],
        ignore_index=True,
    )
    if not len(claims):
        yield "There was nothing to compare."
        return
    several = len(results) > 1
    parts = [claims[claims["finding"] == kind] for kind in ("gap found", "no reliable gap", "cannot judge")]
    gaps, none, unclear = (len(part) for part in parts)
    yield (
        f"{plural(len(claims), 'comparison')} of groups: {gaps} with a gap that chance does not explain, {none} without one,"
        f" {unclear} that this table cannot decide."
    )
    for row in parts[0].to_dict("records"):
        yield f"- GAP {row['words']}"
    if none and not several:
        yield f"- no reliable gap by {tell_detectable(parts[1])}"
    if unclear and not several:
        yield f"- not decided: by {', '.join(parts[2]['attribute'])}; that no gap was found does not show that there is none"
    elif unclear:
        yield "- where it cannot be decided, that no gap was found does not show that there is none"


def _sentences(result: Result, where: str) -> list[str]:
    """Say each claim in words, after the result's name."""
    return [
        f"{where}{metric_name(claim['metric'])} by {claim['attribute']}: {claim_words(claim)}"
        for claim in records(result.claims)
    ]


def _detail(result: Result, metrics: pd.DataFrame, alpha: float, rule: str) -> Iterator[str]:
    words = metric_words(result.metric)
    row = result.overall
    yield f"{_value(row, result.metric, alpha)}; {_counts(row)}"
    if words.meaning:
        yield f"({words.label}: {words.meaning})"
    yield from _others(result, metrics, rule)
    for attribute, rows in result.metrics[result.metrics["attribute"] != "all"].groupby(
        "attribute", sort=False
    ):
        yield ""
        yield from _grid(str(attribute), rows, result.metric, alpha)
        claims = result.claims[result.claims["attribute"] == attribute]
        yield from (f"-> {_told(claim)}" for claim in records(claims))
        yield from _standardised(result, str(attribute), result.gap(str(attribute)))


def _standardised(result: Result, attribute: str, plain: Mapping[str, Any] | None) -> Iterator[str]:
    """Say what is left of a gap when groups are re-weighted, for each attribute that they were made alike in."""
    words = metric_words(result.metric)
    for row in records(result.gaps[result.gaps["attribute"] == attribute]):
        base, _, derived = str(row["convention"]).partition("|")
        if base != result.convention or not derived.endswith(STANDARDISED):
            continue
        about = f"-> re-weighted to the same {derived.removesuffix(STANDARDISED)} in all groups:"
        if is_undefined(row["raw"]):
            yield f"{about} the gap is not defined ({why(row)})"
            continue
        was = "" if plain is None else f" (was {number(plain['raw'], words.decimals)})"
        yield f"{about} gap {number(row['raw'], words.decimals)}{was}, adjusted p {p_value(row['p_adjusted'])}"


def _told(claim: Mapping[str, Any]) -> str:
    """Say a claim below its group table, without repeating what stands there."""
    text = claim_words(claim)
    finding = str(claim["finding"])
    return text if text.startswith((finding, "cannot be judged")) else f"{finding}: {text}"


def _value(row: Any, metric: str, alpha: float) -> str:
    words = metric_words(metric)
    if is_undefined(row["value"]):
        return f"{words.label} is not defined ({why(row)})"
    text = f"{words.label} {number(row['value'], words.decimals)}"
    if is_undefined(row["ci_low"]):
        return text
    return (
        f"{text} ({100 * (1 - alpha):g} % interval {interval(row['ci_low'], row['ci_high'], words.decimals)})"
    )


def _counts(row: Any) -> str:
    text = f"{plural(int(row['n']), 'sample')} of {plural(int(row['n_subjects']), 'subject')}"
    if not is_undefined(row["n_pos"]):
        text += f", {int(row['n_pos']):,} positive"
    return text


def _others(result: Result, metrics: pd.DataFrame, rule: str) -> Iterator[str]:
    """Say the other common metrics of a result: under their default conventions, then under each threshold asked for."""
    rows = metrics[metrics["attribute"] == "all"]
    row = result.overall
    for key in RESULT_KEYS:
        rows = rows[rows[key].isna() if row[key] == "" else rows[key] == row[key]]
    cuts = rows[rows["metric"] == "threshold"]
    own = of_default(cuts, rule)
    told = _values(
        rows, [name for name in _ALSO if name != result.metric], lambda some: of_default(some, rule)
    )
    if told:
        decided = "".join(f" (decisions: {_decision(cut)})" for cut in records(own))
        yield f"Also, over all samples: {told}{decided}"
    for cut in records(cuts[~cuts["convention"].isin(own["convention"])]):
        name = cut["convention"]
        told = _values(rows, _DECIDED, _under(name))
        if told:
            yield f"By {name}: {told} (decisions: {_decision(cut)})"


def _under(convention: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda rows: rows[rows["convention"] == convention]


def _values(rows: pd.DataFrame, metrics: Iterable[str], under: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    told = []
    for metric in metrics:
        first = under(rows[rows["metric"] == metric]).head(1)
        if len(first) and first["status"].iloc[0] == "ok":
            decimals = metric_words(metric).decimals
            told.append(f"{metric_name(metric)} {number(first['value'].iloc[0], decimals)}")
    return ", ".join(told)


def _decision(cut: Mapping[str, Any]) -> str:
    """Say from where on a score is positive, and how that was chosen."""
    rule = str(cut["convention"])
    chosen = "fixed beforehand"
    if is_tuned(rule):
        chosen = f"{TUNED}: optimistic"
    elif rule.startswith("val:"):
        chosen = f"chosen on val by {rule}"
    elif isinstance(cut["reason"], str):
        chosen = str(cut["reason"])
    return f"positive from a score of {number(cut['value'])}, {chosen}"


def _grid(attribute: str, rows: pd.DataFrame, metric: str, alpha: float) -> Iterator[str]:
    words = metric_words(metric)
    head = (f"by {attribute}", "samples", "subjects", words.label, f"{100 * (1 - alpha):g} % interval", "")
    body = [head]
    for row in records(rows):
        value = "-" if is_undefined(row["value"]) else number(row["value"], words.decimals)
        span = "-" if is_undefined(row["value"]) else interval(row["ci_low"], row["ci_high"], words.decimals)
        told = why(row) if is_undefined(row["value"]) else ""
        failed = f"{int(row['n_failed']):,} not measured" if row["n_failed"] else ""
        note = "; ".join(text for text in (told, failed) if text)
        body.append(
            (clean(str(row["group"])), f"{int(row['n']):,}", f"{int(row['n_subjects']):,}", value, span, note)
        )
    widths = [max(len(cells[place]) for cells in body) for place in range(5)]
    for cells in body:
        first = f"  {cells[0]:<{widths[0]}}"
        middle = "  ".join(f"{cells[place]:>{widths[place]}}" for place in range(1, 4))
        yield f"  {first}  {middle}  {cells[4]:<{widths[4]}}  {cells[5]}".rstrip()


def _lines(results: Sequence[Result], audit: AuditResult) -> Iterator[str]:
    rows = {result_name(item, audit.coverage): item for item in audit.coverage}
    for result in results:
        found = result.claims.loc[result.claims["finding"] == "gap found", "attribute"].tolist()
        unclear = result.claims.loc[result.claims["finding"] == "cannot judge", "attribute"].tolist()
        told = f"gap by {', '.join(found)}" if found else "no gap found"
        more = f"; cannot judge {', '.join(unclear)}" if unclear else ""
        lost = rows[result.name].sentence if result.name in rows and rows[result.name].lacking else ""
        value = _value(result.overall, result.metric, audit.settings.alpha)
        yield f"- {result.name}: {value}; {_counts(result.overall)}{lost and f' ({lost})'}; {told}{more}"
    yield ""
    if audit.settings.standardize:
        made_alike = " and ".join(audit.settings.standardize)
        yield f"Gaps re-weighted to the same {made_alike} are in gaps.csv (convention ...{STANDARDISED})."
    yield "The groups of each result are in groups.csv and in the report."


def _differences(results: Sequence[Result], comparisons: pd.DataFrame, alpha: float) -> Iterator[str]:
    """Say how far each model is from the one it is compared with, by the headline metrics."""
    measures = {(result.metric, result.convention) for result in results}
    known = comparisons[comparisons["difference"].notna()]
    told = [row for row in records(known) if (row["metric"], row["convention"]) in measures]
    for row in told[:MOST_DIFFERENCES]:
        words = metric_words(row["metric"])
        about = ", ".join(str(row[key]) for key in ("target", "structure") if _there(row[key]))
        span = interval(row["ci_low"], row["ci_high"], words.decimals)
        yield (
            f"- {f'{about}: ' if about else ''}{_arm(row, '')} against {_arm(row, 'against_')}: {words.label} difference"
            f" {number(row['difference'], words.decimals)} ({100 * (1 - alpha):g} % interval {span}, adjusted p"
            f" {p_value(row['p_adjusted'])}): {_standing(row, words.better, alpha)}"
        )
    if len(told) > MOST_DIFFERENCES:
        yield f"- ... {len(told) - MOST_DIFFERENCES:,} more are in tables/comparisons.csv and in the report"


def _standing(row: Mapping[str, Any], direction: str, alpha: float) -> str:
    if is_undefined(row["p_adjusted"]) or row["p_adjusted"] >= alpha:
        return "cannot be told apart"
    return "reliably better" if (row["difference"] > 0) == (direction == "higher") else "reliably worse"


def _arm(row: Mapping[str, Any], prefix: str) -> str:
    names = (row[f"{prefix}{key}"] for key in ("model", "usage", "mitigation", "prompt"))
    return " ".join(str(name) for name in names if _there(name)) or "the unnamed model"


def _there(value: Any) -> bool:
    return isinstance(value, str) and value != ""
